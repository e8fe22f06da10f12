//! `brainage vision study`: the runs of a study, one after the other, their table and their curves.

use std::path::PathBuf;

use brainage_pipelines::atomic::write_atomically;

use crate::Error;
use crate::engine::device::DeviceName;
use crate::run::dir::RunDir;
use crate::study::Grid;
use crate::vision::config::VisionConfig;
use crate::vision::curves::{self, curve_points};
use crate::vision::evaluation::ClassifierEvaluation;
use crate::vision::table::Table;

use super::super::study::Answer;
use super::super::study::runs::{Kind, Sweep, carry_out};
use super::super::training::events;
use super::super::{Context, ExitStatus};
use super::table::entry;
use super::train::execute;

/// Options of `vision study`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  brainage vision study --config configs/vision/cifar10-resnet18-small.toml --data cifar-10-batches-bin \\\n    \
    --vary 'model.weights=dense|eigen' --vary 'train.regime=backprop|local' --seeds 1,2,3 --out studies/four\n  \
    brainage vision study … --variant train.regime=backprop --variant 'train.regime=local; model.head=gap-linear' --out studies/heads\n  \
    brainage vision study … --vary 'train.method=backprop|dgl' --tune 'train.optimizer.learning_rate=5e-4|2e-3|8e-3' --seeds 1,2,3 \\\n    \
    --out studies/tuned"
)]
pub struct Args {
    #[command(flatten)]
    base: Base,
    #[command(flatten)]
    sweep: Sweep,
}

/// What all runs of a study have alike, and where they go.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Base {
    /// Training config that all runs start from
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Change one key of the config for all runs; repeatable
    #[arg(long, value_name = "SECTION.KEY=VALUE")]
    set: Vec<String>,
    /// Folder of the data set; the same as --set data.root=DIR
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Devices of the blocks
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    devices: Vec<DeviceName>,
    /// Folder of the study: runs that are there are continued, or left alone where they are finished
    #[arg(long, value_name = "DIR")]
    pub(super) out: PathBuf,
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

    /// The same with one more change for all runs.
    pub(super) fn with(&self, change: String) -> Self {
        let mut changed = self.clone();
        changed.set.push(change);
        changed
    }
}

/// Trains what is not trained yet, prints the table, and leaves it and the curves of all runs in the folder of the study.
///
/// # Errors
/// Where a config or the data set is not usable, a run of the same name has another recipe, or a training ends early.
pub fn run(args: &Args, context: &Context) -> anyhow::Result<ExitStatus> {
    compare(&args.base, &args.sweep.grid(), context)
}

/// The same for any grid.
pub(super) fn compare(
    base: &Base,
    grid: &Grid<'_>,
    context: &Context,
) -> anyhow::Result<ExitStatus> {
    let (printer, out) = (&context.printer, &base.out);
    let done = carry_out(&Images { base, context }, grid, out, printer)?;
    let (mut points, mut entries) = (Vec::new(), Vec::with_capacity(done.runs.len()));
    for (name, run) in &done.runs {
        entries.push(entry(run)?);
        points.extend(curve_points(name, &events(run)?));
    }
    let table = &Table::of(&entries);
    let markdown = table.to_markdown();
    for (file, text) in [
        ("table.md", &markdown),
        ("table.csv", &table.to_csv()?),
        ("table.svg", &table.to_svg()?),
        ("curves.csv", &curves::to_csv(&points)?),
    ] {
        write_atomically(&out.join(file), |out| out.write_all(text.as_bytes()))?;
    }
    let tuning = done.tuning.as_ref();
    printer.object(&Answer { table, tuning })?;
    if let Some(tuning) = tuning {
        printer.line(&tuning.to_markdown())?;
    }
    printer.line(markdown.trim_end())?;
    Ok(ExitStatus::Done)
}

/// Trainings of classifiers.
pub(super) struct Images<'a> {
    pub(super) base: &'a Base,
    pub(super) context: &'a Context,
}

impl Kind for Images<'_> {
    type Config = VisionConfig;

    fn config(&self, changes: &[String]) -> Result<VisionConfig, Error> {
        self.base.changed(changes)
    }

    fn begin(&self, _: &RunDir, _: &VisionConfig) -> anyhow::Result<()> {
        Ok(())
    }

    /// Which images learn, watch and test, the config alone says.
    fn check(&self, _: &RunDir, _: &VisionConfig) -> anyhow::Result<()> {
        Ok(())
    }

    fn execute(&self, run: &RunDir, config: &VisionConfig) -> anyhow::Result<usize> {
        execute(config, run, &self.base.devices, self.context)?;
        Ok(0)
    }

    fn told(&self, run: &RunDir) -> anyhow::Result<String> {
        let evaluation = ClassifierEvaluation::read(&run.evaluation())?;
        Ok(format!("{:.2} % wrong", evaluation.error_percent))
    }
}
