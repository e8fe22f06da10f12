//! `brainage train`: cohorts become a run folder with a model and its evaluation.

use std::path::{Path, PathBuf};

use brainage_cohorts::{Cohort, CohortIndex, SplitProtocol};
use brainage_pipelines::cache::Cache;

use crate::Error;
use crate::config::project::Project;
use crate::config::train::{BRAIN_CNN, TrainConfig};
use crate::engine::device::DeviceName;
use crate::run::dir::RunDir;

use super::review::Rejected;
use super::training::place::{place, with_cuts};
use super::training::{Trained, index_cohorts, split_index, warn_of_empty};
use super::{CliError, Context, ExitStatus, training};

/// Train a model on cohorts
///
/// Indexes the cohorts, preprocesses what is missing, trains, and evaluates on the test set. Ctrl-C saves;
/// --resume continues as if nothing had happened.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  brainage train --cohorts ukbb,hcp\n  \
    brainage train --cohorts camcan --set train.epochs=30 --devices cpu:0,cpu:1\n  \
    brainage train --resume runs/2026-11-25-ukbb-hcp")]
pub struct Args {
    #[command(flatten)]
    source: Source,
    /// Training config; otherwise the project's, or the one inside the program
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Change one key of the config; repeatable
    #[arg(long, value_name = "SECTION.KEY=VALUE")]
    set: Vec<String>,
    /// Passes over the training set; the same as --set train.epochs=N
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    epochs: Option<u64>,
    /// Devices of the blocks, such as cpu, cpu:0,cpu:1 or cuda:0
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    devices: Vec<DeviceName>,
    /// Run folder that is made; otherwise runs/DATE-COHORTS
    #[arg(long, value_name = "RUN")]
    out: Option<PathBuf>,
    /// Run folder that is continued from its last checkpoint
    #[arg(long, value_name = "RUN",
        conflicts_with_all = ["cohorts", "split", "review", "config", "set", "epochs", "out"])]
    resume: Option<PathBuf>,
}

/// Where scans are found, and which of them are tested on.
#[derive(Debug, clap::Args)]
pub(super) struct Source {
    /// Cohorts of the project file; otherwise all
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    cohorts: Vec<String>,
    /// Who is tested on: hash (a share of every cohort), kfold:5:0 (the first of five parts), loco:adni (a whole cohort)
    #[arg(long, value_name = "HOW", default_value = "hash")]
    pub(super) split: SplitProtocol,
    /// Judgments of scans whose rejected ones are left out; otherwise qc_review.csv beside the project file, if it is there
    #[arg(long, value_name = "FILE")]
    pub(super) review: Option<PathBuf>,
    /// Folder of the cache; otherwise the project's, or the user's
    #[arg(long, value_name = "DIR")]
    pub(super) cache: Option<PathBuf>,
}

impl Source {
    /// The cohorts of a project that are asked for.
    pub(super) fn cohorts(&self, project: &Project) -> Result<Vec<Cohort>, CliError> {
        if self.cohorts.is_empty() {
            return Ok(project.cohorts.clone());
        }
        let of_name = |name: &String| {
            let found = project.cohorts.iter().find(|cohort| &cohort.name == name);
            found.cloned().ok_or_else(|| {
                let known: Vec<&str> = project.cohorts.iter().map(|c| c.name.as_str()).collect();
                let hint = format!("`{}` has: {}", project.path.display(), known.join(", "));
                CliError::usage(format!("unknown cohort `{name}`"), hint)
            })
        };
        self.cohorts.iter().map(of_name).collect()
    }
}

/// Trains and says what came of it.
///
/// # Errors
/// Where the project, the config, a cohort or a device is not usable, or a file cannot be written.
pub fn run(args: &Args, context: &Context) -> anyhow::Result<ExitStatus> {
    let cache = context.cache(args.source.cache.as_deref())?;
    let (config, run, index) = match &args.resume {
        Some(folder) => resumed(folder)?,
        None => started(args, &cache, context)?,
    };
    let trained = execute(&config, (&run, &index), (&cache, &args.devices), context)?;
    training::say(&trained.evaluation, &run, &context.printer)?;
    Ok(ExitStatus::from_refused(trained.n_refused))
}

/// Trains what a run's config says on what its index names, from its last checkpoint if there is one, and judges it. Where no
/// devices are named, those of the config are taken.
pub(super) fn execute(
    config: &TrainConfig,
    (run, index): (&RunDir, &CohortIndex),
    (cache, devices): (&Cache, &[DeviceName]),
    context: &Context,
) -> anyhow::Result<Trained> {
    let devices = if devices.is_empty() {
        config.train.devices.as_slice()
    } else {
        devices
    };
    let placement = place(config, run, devices, &context.printer)?;
    let config = TrainConfig {
        model: with_cuts(&config.model, placement.cuts.clone()),
        ..config.clone()
    };
    training::train(&training::Request {
        config: &config,
        run,
        index,
        cache,
        placement: &placement,
        context,
    })
}

/// The config in a file, else the project's, else the one inside the program, with changes.
pub(super) fn changed_config(
    named: Option<&Path>,
    project: &Project,
    changes: &[String],
) -> Result<TrainConfig, Error> {
    match named.or(project.train_config.as_deref()) {
        Some(path) => TrainConfig::parse(&fs_err::read_to_string(path)?, path, changes),
        None => TrainConfig::parse(BRAIN_CNN, Path::new("brain-cnn.toml"), changes),
    }
}

fn resumed(folder: &Path) -> anyhow::Result<(TrainConfig, RunDir, CohortIndex)> {
    let run = RunDir::open(folder.to_path_buf())?;
    let text = fs_err::read_to_string(run.config())?;
    let config = TrainConfig::parse(&text, &run.config(), &[])?;
    let index = CohortIndex::read_csv(&run.index())?;
    Ok((config, run, index))
}

fn started(
    args: &Args,
    cache: &Cache,
    context: &Context,
) -> anyhow::Result<(TrainConfig, RunDir, CohortIndex)> {
    let project = context.required_project()?;
    let cohorts = args.source.cohorts(&project)?;
    let mut changes = args.set.clone();
    changes.extend(args.epochs.map(|epochs| format!("train.epochs={epochs}")));
    let config = changed_config(args.config.as_deref(), &project, &changes)?;
    let names: Vec<&str> = cohorts.iter().map(|cohort| cohort.name.as_str()).collect();
    let today: String = jiff::Timestamp::now()
        .to_string()
        .chars()
        .take(10)
        .collect();
    let folder = args
        .out
        .clone()
        .unwrap_or_else(|| PathBuf::from("runs").join(format!("{today}-{}", names.join("-"))));
    // Before the run folder is made: a table that cannot be read leaves none behind.
    let rejected = Rejected::read(args.source.review.as_deref(), context)?;
    let run = RunDir::create(folder)?;
    let (mut index, left_out) = index_cohorts(&cohorts, (cache, &rejected), context)?;
    let (shares, seed) = (config.data.split, config.train.seed);
    let empty = split_index(&mut index, shares, &args.source.split, seed)?;
    warn_of_empty(&empty, &context.printer);
    index.write_csv(&run.index())?;
    training::left_out::write(&run, &left_out)?;
    run.write_config(&config.to_toml()?)?;
    Ok((config, run, index))
}
