//! `brainage train`: cohorts become a run folder with a model and its evaluation.

use std::path::{Path, PathBuf};

use brainage_cohorts::{Cohort, CohortIndex, SplitProtocol};
use brainage_pipelines::cache::Cache;

use crate::config::train::{BRAIN_CNN, TrainConfig};
use crate::engine::device::DeviceName;
use crate::run::dir::RunDir;

use super::review::Rejected;
use super::training::place::{place, with_cuts};
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
    /// Cohorts of the project file; otherwise all
    #[arg(
        long,
        value_name = "NAMES",
        value_delimiter = ',',
        conflicts_with = "resume"
    )]
    pub cohorts: Vec<String>,
    /// Training config; otherwise the project's, or the one inside the program
    #[arg(long, value_name = "FILE", conflicts_with = "resume")]
    pub config: Option<PathBuf>,
    /// Change one key of the config; repeatable
    #[arg(long, value_name = "SECTION.KEY=VALUE", conflicts_with = "resume")]
    pub set: Vec<String>,
    /// Passes over the training set; the same as --set train.epochs=N
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..), conflicts_with = "resume")]
    pub epochs: Option<u64>,
    /// Who is tested on: hash (a share of every cohort), kfold:5:0 (the first of five parts), loco:adni (a whole cohort)
    #[arg(
        long,
        value_name = "HOW",
        default_value = "hash",
        conflicts_with = "resume"
    )]
    pub split: SplitProtocol,
    /// Devices of the blocks, such as cpu, cpu:0,cpu:1 or cuda:0
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub devices: Vec<DeviceName>,
    /// Run folder that is made; otherwise runs/DATE-COHORTS
    #[arg(long, value_name = "RUN", conflicts_with = "resume")]
    pub out: Option<PathBuf>,
    /// Run folder that is continued from its last checkpoint
    #[arg(long, value_name = "RUN")]
    pub resume: Option<PathBuf>,
    /// Judgments of scans whose rejected ones are left out; otherwise qc_review.csv beside the project file, if it is there
    #[arg(long, value_name = "FILE", conflicts_with = "resume")]
    pub review: Option<PathBuf>,
    /// Folder of the cache; otherwise the project's, or the user's
    #[arg(long, value_name = "DIR")]
    pub cache: Option<PathBuf>,
}

/// Trains and says what came of it.
///
/// # Errors
/// Where the project, the config, a cohort or a device is not usable, or a file cannot be written.
pub fn run(args: &Args, context: &Context) -> anyhow::Result<ExitStatus> {
    let cache = context.cache(args.cache.as_deref())?;
    let (config, run, index) = match &args.resume {
        Some(folder) => resumed(folder)?,
        None => started(args, &cache, context)?,
    };
    let devices = if args.devices.is_empty() {
        config.train.devices.clone()
    } else {
        args.devices.clone()
    };
    let placement = place(&config, &run, &devices, &context.printer)?;
    let config = TrainConfig {
        model: with_cuts(&config.model, placement.cuts.clone()),
        ..config
    };
    let n_refused = training::train(&training::Request {
        config: &config,
        run: &run,
        index: &index,
        cache: &cache,
        placement: &placement,
        context,
    })?;
    Ok(ExitStatus::from_refused(n_refused))
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
    let mut cohorts: Vec<Cohort> = Vec::new();
    for name in &args.cohorts {
        let found = project.cohorts.iter().find(|cohort| &cohort.name == name);
        let Some(cohort) = found else {
            let known: Vec<&str> = project.cohorts.iter().map(|c| c.name.as_str()).collect();
            let hint = format!("`{}` has: {}", project.path.display(), known.join(", "));
            return Err(CliError::usage(format!("unknown cohort `{name}`"), hint).into());
        };
        cohorts.push(cohort.clone());
    }
    if args.cohorts.is_empty() {
        cohorts.clone_from(&project.cohorts);
    }
    let mut changes = args.set.clone();
    changes.extend(args.epochs.map(|epochs| format!("train.epochs={epochs}")));
    let config = match args.config.as_ref().or(project.train_config.as_ref()) {
        Some(path) => TrainConfig::parse(&fs_err::read_to_string(path)?, path, &changes)?,
        None => TrainConfig::parse(BRAIN_CNN, Path::new("brain-cnn.toml"), &changes)?,
    };
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
    let rejected = Rejected::read(args.review.as_deref(), context)?;
    let run = RunDir::create(folder)?;
    let of = (cache, &rejected);
    let (index, left_out) = training::index_cohorts(&cohorts, &config, &args.split, of, context)?;
    index.write_csv(&run.index())?;
    training::left_out::write(&run, &left_out)?;
    run.write_config(&config.to_toml()?)?;
    Ok((config, run, index))
}
