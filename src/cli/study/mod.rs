//! `brainage study`: trainings on ages that differ in settings and seeds, and their table.

pub(super) mod runs;

use std::path::{Path, PathBuf};

use brainage_cohorts::{CohortIndex, Split};
use brainage_pipelines::atomic::write_atomically;
use brainage_pipelines::cache::Cache;
use burn::tensor::Device;
use serde::Serialize;

use crate::Error;
use crate::config::project::Project;
use crate::config::train::TrainConfig;
use crate::engine::device::DeviceName;
use crate::engine::event::Event;
use crate::engine::seed::Seed;
use crate::model_file::Model;
use crate::report::LeftOut;
use crate::run::dir::RunDir;
use crate::study::ages::{Entry, Table};
use crate::study::cost::Cost;
use crate::study::tuning::Tuning;

use super::report::read_evaluation;
use super::review::Rejected;
use super::train::{Source, changed_config, execute};
use super::training::{events, index_cohorts, left_out, split_index, warn_of_empty};
use super::{CliError, Context, ExitStatus};
use runs::{Kind, Sweep, carry_out, read_config};

/// The seed that splits the participants of all runs: what differs by seed differs by training alone.
const SPLIT_SEED: Seed = Seed(0);

/// Train with several settings and seeds on the same scans, and compare
///
/// Each run is a folder of its own, as `train` makes it. All runs have the same split, whatever their seeds. The same command
/// goes on where it was stopped, and leaves finished runs alone.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  brainage study --config configs/brain-cnn-small.toml --vary 'train.method=backprop|enn-local' \\\n    \
    --seeds 1,2,3 --out studies/ages\n  \
    brainage study … --vary 'train.method=backprop|dgl' --tune 'train.optimizer.learning_rate=5e-4|2e-3|8e-3' --out studies/tuned"
)]
pub struct Args {
    #[command(flatten)]
    source: Source,
    /// Training config that all runs start from; otherwise the project's, or the one inside the program
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Change one key of the config for all runs; repeatable
    #[arg(long, value_name = "SECTION.KEY=VALUE")]
    set: Vec<String>,
    #[command(flatten)]
    sweep: Sweep,
    /// Devices of the blocks
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    devices: Vec<DeviceName>,
    /// Folder of the study: runs that are there are continued, or left alone where they are finished
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

/// The answer for machines: a table, with what was tuned.
#[derive(Serialize)]
pub(in crate::cli) struct Answer<'a, T> {
    #[serde(flatten)]
    pub(in crate::cli) table: &'a T,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::cli) tuning: Option<&'a Tuning>,
}

/// Trains what is not trained yet, prints the table, and leaves it in the folder of the study.
///
/// # Errors
/// Where the project, a config or a cohort is not usable, a run of the same name has another recipe or other scans, or a
/// training ends early.
pub fn run(args: &Args, context: &Context) -> anyhow::Result<ExitStatus> {
    let printer = &context.printer;
    let project = context.required_project()?;
    let cohorts = args.source.cohorts(&project)?;
    let rejected = Rejected::read(args.source.review.as_deref(), context)?;
    let cache = context.cache(args.source.cache.as_deref())?;
    // Before anything is listed: a config that cannot be is told at once.
    changed_config(args.config.as_deref(), &project, &args.set)?;
    let (index, left_out) = index_cohorts(&cohorts, (&cache, &rejected), context)?;
    let ages = Ages {
        args,
        project: &project,
        cache: &cache,
        index,
        left_out,
        context,
    };
    let out = &args.out;
    let done = carry_out(&ages, &args.sweep.grid(), out, printer)?;
    let entries = done.runs.iter().map(|(_, run)| entry(run));
    let entries: Vec<Entry> = entries.collect::<anyhow::Result<_>>()?;
    let table = Table::of(&entries);
    let markdown = table.to_markdown();
    for (file, text) in [("table.md", &markdown), ("table.csv", &table.to_csv()?)] {
        write_atomically(&out.join(file), |out| out.write_all(text.as_bytes()))?;
    }
    let tuning = done.tuning.as_ref();
    let table = &table;
    printer.object(&Answer { table, tuning })?;
    if let Some(tuning) = tuning {
        printer.line(&tuning.to_markdown())?;
    }
    printer.line(markdown.trim_end())?;
    Ok(ExitStatus::from_refused(done.n_refused))
}

/// A finished run.
fn entry(run: &RunDir) -> anyhow::Result<Entry> {
    let evaluation = read_evaluation(&run.evaluation())?;
    let description = Model::load(&run.model(), &Device::flex())?.description;
    let training = description.facts.training;
    let events = events(run)?;
    Ok(Entry {
        config: read_config(run)?,
        mae_years: mae_years(run)?,
        validation_mae_years: training.validation_mae_years,
        validation_by_block: last_validation(&events),
        baseline_mae_years: evaluation.baseline_mae,
        n_training: training.n_training,
        n_test: evaluation.n,
        parameters: description.parameters,
        cost: Cost::of(&events),
    })
}

/// Error of each block's head after the last epoch.
fn last_validation(events: &[Event]) -> Vec<f64> {
    let of_event = |event: &Event| match event {
        Event::Validation { mae_years, .. } => Some(mae_years.clone()),
        _ => None,
    };
    events.iter().rev().find_map(of_event).unwrap_or_default()
}

/// On the test scans.
fn mae_years(run: &RunDir) -> anyhow::Result<f64> {
    let mae_years = read_evaluation(&run.evaluation())?.mae;
    Ok(mae_years.ok_or_else(|| {
        let said = format!("no test scan was judged in `{}`", run.path().display());
        CliError::failed(said, "a study compares errors on test scans")
    })?)
}

/// Trainings on ages.
struct Ages<'a> {
    args: &'a Args,
    project: &'a Project,
    cache: &'a Cache,
    /// All scans, without splits.
    index: CohortIndex,
    left_out: Vec<LeftOut>,
    context: &'a Context,
}

impl Ages<'_> {
    /// All scans with the splits of a config, and which splits are empty.
    fn split(&self, config: &TrainConfig) -> anyhow::Result<(CohortIndex, Vec<Split>)> {
        let mut index = self.index.clone();
        let protocol = &self.args.source.split;
        let empty = split_index(&mut index, config.data.split, protocol, SPLIT_SEED)?;
        Ok((index, empty))
    }
}

impl Kind for Ages<'_> {
    type Config = TrainConfig;

    fn config(&self, changes: &[String]) -> Result<TrainConfig, Error> {
        let changes = [&self.args.set, changes].concat();
        changed_config(self.args.config.as_deref(), self.project, &changes)
    }

    fn begin(&self, run: &RunDir, config: &TrainConfig) -> anyhow::Result<()> {
        let (index, empty) = self.split(config)?;
        warn_of_empty(&empty, &self.context.printer);
        index.write_csv(&run.index())?;
        Ok(left_out::write(run, &self.left_out)?)
    }

    fn check(&self, run: &RunDir, config: &TrainConfig) -> anyhow::Result<()> {
        let kept = CohortIndex::read_csv(&run.index())?;
        if same_scans(&kept, &self.split(config)?.0) {
            return Ok(());
        }
        let said = format!(
            "the run in `{}` has other scans, or other splits of them, than the study",
            run.path().display()
        );
        let hint = "name another --out, or bring back cohorts and --split as they were";
        Err(CliError::failed(said, hint).into())
    }

    fn execute(&self, run: &RunDir, config: &TrainConfig) -> anyhow::Result<usize> {
        let index = CohortIndex::read_csv(&run.index())?;
        let how = (self.cache, self.args.devices.as_slice());
        Ok(execute(config, (run, &index), how, self.context)?.n_refused)
    }

    fn told(&self, run: &RunDir) -> anyhow::Result<String> {
        Ok(format!("{:.2} years off on average", mae_years(run)?))
    }
}

/// Whether two indices have the same scans in the same splits.
fn same_scans(a: &CohortIndex, b: &CohortIndex) -> bool {
    let whole = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
    let of = |index: &CohortIndex| -> Vec<(PathBuf, Option<Split>)> {
        let rows = index.rows.iter();
        rows.map(|row| (whole(&row.scan), row.split)).collect()
    };
    of(a) == of(b)
}
