//! `brainage vision eval`: how good the classifier of a run is, and how fast.

use std::path::PathBuf;

use crate::vision::evaluation::{ClassifierEvaluation, Heads};

use super::super::{Context, ExitStatus, Printer};
use super::opened::{Opened, Place};
use super::train::judge;

/// Options of `vision eval`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  brainage vision eval --run runs/one --json\n  brainage vision eval --run runs/one --heads ensemble"
)]
pub struct Args {
    /// Run folder
    #[arg(long, value_name = "RUN")]
    run: PathBuf,
    #[command(flatten)]
    place: Place,
    /// Whose answer counts: the last head's, or that of all heads by the mean of what they give each class. How each head
    /// does, alone and with all later ones, is said either way; the run keeps the last head's
    #[arg(long, value_enum, default_value_t = Heads::Last)]
    heads: Heads,
}

/// Classifies the test images and says how many were wrong.
///
/// # Errors
/// Where the run has no model, the data set is not usable, or a device is not there.
pub fn run(args: &Args, context: &Context) -> anyhow::Result<ExitStatus> {
    let Opened {
        run,
        config,
        splits,
        lane,
    } = args.place.open(&args.run)?;
    let evaluation = judge((&run, &splits), config.train.batch_size, args.heads, &lane)?;
    if args.heads == Heads::Last {
        // What the run keeps, and tables quote, is the network's own answer.
        evaluation.write(&run.evaluation())?;
    }
    say(&evaluation, &context.printer)?;
    Ok(ExitStatus::Done)
}

/// Prints an evaluation.
pub(super) fn say(evaluation: &ClassifierEvaluation, printer: &Printer) -> anyhow::Result<()> {
    printer.object(evaluation)?;
    let ClassifierEvaluation {
        n,
        error_percent,
        heads,
        error_percent_by_block,
        error_percent_from_block,
        images_per_second,
        ..
    } = evaluation;
    let numbers = |errors: &[f64]| -> String {
        let texts: Vec<String> = errors.iter().map(|error| format!("{error:.2}")).collect();
        texts.join(" ")
    };
    let whose = match heads {
        Heads::Last => "",
        Heads::Ensemble => " by all heads together",
    };
    printer.line(&format!(
        "{error_percent:.2} % of {n} test images are taken for another class{whose} (by block {} %, each with all later ones {} %); \
         {images_per_second:.0} images/s",
        numbers(error_percent_by_block),
        numbers(error_percent_from_block),
    ))?;
    Ok(())
}
