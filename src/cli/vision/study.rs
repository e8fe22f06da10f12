//! `brainage vision study`: the runs of a study, one after the other, their table and their curves.

use std::path::{Path, PathBuf};

use brainage_pipelines::atomic::write_atomically;

use crate::Error;
use crate::engine::device::DeviceName;
use crate::engine::seed::Seed;
use crate::run::dir::RunDir;
use crate::vision::config::VisionConfig;
use crate::vision::curves::{self, curve_points};
use crate::vision::study::{StudyRun, Variant, Variation, runs};
use crate::vision::table::{Table, same_recipe};

use super::super::{CliError, Context, ExitStatus};
use super::table::{entry, events};
use super::train::{execute, read_config};

/// Options of `vision study`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  brainage vision study --config configs/vision/cifar10-resnet18-small.toml --data cifar-10-batches-bin \\\n    \
    --vary 'model.weights=dense|eigen' --vary 'train.regime=backprop|local' --seeds 1,2,3 --out studies/four\n  \
    brainage vision study … --variant train.regime=backprop --variant 'train.regime=local; model.head=gap-linear' --out studies/heads"
)]
pub struct Args {
    #[command(flatten)]
    base: Base,
    /// Values of a key, each of which is tried; repeatable, for all combinations
    #[arg(long, value_name = "SECTION.KEY=VALUE|VALUE")]
    vary: Vec<Variation>,
    /// Changes that belong together, tried beside those of the other --variant; repeatable
    #[arg(long, value_name = "SECTION.KEY=VALUE; …")]
    variant: Vec<Variant>,
}

/// What all runs of a study have alike, and where they go.
#[derive(Debug, clap::Args)]
pub(super) struct Base {
    /// Training config that all runs start from
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Change one key of the config for all runs; repeatable
    #[arg(long, value_name = "SECTION.KEY=VALUE")]
    set: Vec<String>,
    /// Seeds, each of which is tried with everything
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "1")]
    seeds: Vec<u64>,
    /// Folder of the data set; the same as --set data.root=DIR
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Devices of the blocks
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    devices: Vec<DeviceName>,
    /// Folder of the study: runs that are there are continued, or left alone where they are finished
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

impl Base {
    /// The config of all runs with some more changes.
    pub(super) fn changed(&self, changes: &[String]) -> Result<VisionConfig, Error> {
        let text = fs_err::read_to_string(&self.config)?;
        let changes = [self.set.as_slice(), changes].concat();
        let mut config = VisionConfig::parse(&text, &self.config, &changes)?;
        if let Some(root) = &self.data {
            config.data.root.clone_from(root);
        }
        Ok(config)
    }
}

/// Trains what is not trained yet, prints the table, and leaves it and the curves of all runs in the folder of the study.
///
/// # Errors
/// Where a config or the data set is not usable, a run of the same name has another recipe, or a training ends early.
pub fn run(args: &Args, context: &Context) -> anyhow::Result<ExitStatus> {
    compare(&args.base, (&args.vary, &args.variant), context)
}

/// The same for all combinations of variations and variants.
pub(super) fn compare(
    base: &Base,
    (variations, variants): (&[Variation], &[Variant]),
    context: &Context,
) -> anyhow::Result<ExitStatus> {
    let printer = &context.printer;
    let seeds: Vec<Seed> = base.seeds.iter().copied().map(Seed).collect();
    let planned = runs(variations, variants, &seeds, |changes| {
        base.changed(changes)
    })?;
    let mut points = Vec::new();
    let mut entries = Vec::with_capacity(planned.len());
    for (number, planned_run) in planned.iter().enumerate() {
        let name = &planned_run.name;
        let of = format!("run {} of {}", number + 1, planned.len());
        printer.status(&format!("study: {of}, {name}"));
        let run = open(&base.out, planned_run)?;
        if !run.evaluation().is_file() {
            execute(&planned_run.config, &run, &base.devices, context)?;
        }
        if !run.evaluation().is_file() {
            let hint = "a study compares errors on test images";
            return Err(CliError::failed("the data set has no test images here", hint).into());
        }
        let entry = entry(&run)?;
        let error_percent = entry.evaluation.error_percent;
        printer.status(&format!("{name}: {error_percent:.2} % wrong"));
        entries.push(entry);
        points.extend(curve_points(name, &events(&run)?));
    }
    let table = Table::of(&entries);
    let markdown = table.to_markdown();
    for (file, text) in [
        ("table.md", &markdown),
        ("table.csv", &table.to_csv()?),
        ("table.svg", &table.to_svg()?),
        ("curves.csv", &curves::to_csv(&points)?),
    ] {
        write_atomically(&base.out.join(file), |out| out.write_all(text.as_bytes()))?;
    }
    printer.object(&table)?;
    printer.line(markdown.trim_end())?;
    Ok(ExitStatus::Done)
}

/// The folder of a run: a new one, or the one that is there if its recipe is the same.
fn open(study: &Path, planned: &StudyRun) -> anyhow::Result<RunDir> {
    let path = study.join(&planned.name);
    let Ok(run) = RunDir::open(path.clone()) else {
        let run = RunDir::create(path)?;
        run.write_config(&planned.config.to_toml()?)?;
        return Ok(run);
    };
    let kept = read_config(&run)?;
    if kept.train.seed != planned.config.train.seed || !same_recipe(&kept, &planned.config) {
        let said = format!(
            "the run in `{}` has another recipe than the study asks for",
            run.path().display()
        );
        let hint = "name another --out, or ask for what the run's config.toml says";
        return Err(CliError::failed(said, hint).into());
    }
    Ok(run)
}
