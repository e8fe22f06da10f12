//! `brainage vision eval`: how good the classifier of a run is, and how fast.

use std::path::PathBuf;

use crate::engine::device::{DeviceName, open_one};
use crate::run::dir::RunDir;
use crate::vision::evaluation::ClassifierEvaluation;

use super::super::{Context, ExitStatus, Printer};
use super::train::{first, judge, read_config};

/// Options of `vision eval`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  brainage vision eval --run runs/one --json")]
pub struct Args {
    /// Run folder
    #[arg(long, value_name = "RUN")]
    run: PathBuf,
    /// Folder of the data set; otherwise the run's
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Device; otherwise the first of the run's
    #[arg(long, value_name = "NAME")]
    device: Option<DeviceName>,
}

/// Classifies the test images and says how many were wrong.
///
/// # Errors
/// Where the run has no model, the data set is not usable, or a device is not there.
pub fn run(args: &Args, context: &Context) -> anyhow::Result<ExitStatus> {
    let run = RunDir::open(args.run.clone())?;
    let mut config = read_config(&run)?;
    if let Some(root) = &args.data {
        config.data.root.clone_from(root);
    }
    let splits = config.data.open()?;
    let device = match args.device {
        Some(device) => device,
        None => first(&config.train.devices)?,
    };
    let lane = open_one(device)?;
    let evaluation = judge(&run, &splits, config.train.batch_size, &lane)?;
    evaluation.write(&run.evaluation())?;
    say(&evaluation, &context.printer)?;
    Ok(ExitStatus::Done)
}

/// Prints an evaluation.
pub(super) fn say(evaluation: &ClassifierEvaluation, printer: &Printer) -> anyhow::Result<()> {
    printer.object(evaluation)?;
    let ClassifierEvaluation {
        n,
        error_percent,
        error_percent_by_block,
        images_per_second,
        ..
    } = evaluation;
    let by_block: Vec<String> = error_percent_by_block
        .iter()
        .map(|e| format!("{e:.2}"))
        .collect();
    printer.line(&format!(
        "{error_percent:.2} % of {n} test images are taken for another class (by block {} %); {images_per_second:.0} images/s",
        by_block.join(" ")
    ))?;
    Ok(())
}
