//! `brainage bench`: our own speed figures, one sub-command for each kind.

pub mod conv;
pub mod memory;
pub mod pipeline;
pub mod predict;
pub mod preprocess;
pub mod vision;

use std::path::Path;

use crate::config::train::{BRAIN_CNN_SMALL, TrainConfig};

use super::{Context, ExitStatus};

/// Measure speed on this machine
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  brainage bench pipeline --devices cpu:0,cpu:1 --json\n  brainage bench conv\n  brainage bench vision\n  \
    brainage bench preprocess scan.nii.gz --recipe standard\n  brainage bench predict --model model.safetensors"
)]
pub struct Args {
    /// What to measure
    #[command(subcommand)]
    pub benchmark: Benchmark,
}

/// What can be measured.
#[derive(Debug, clap::Subcommand)]
pub enum Benchmark {
    /// Block-local training on several devices against backprop on one
    Pipeline(pipeline::Args),
    /// Peak memory of a training step, local against backprop
    Memory(memory::Args),
    /// Each stage of preprocessing a scan
    Preprocess(preprocess::Args),
    /// Batch prediction, and its parts alone
    Predict(predict::Args),
    /// The convolutions of brain networks and of ResNet-50, each algorithm and Burn's own, and whole networks
    Conv(conv::Args),
    /// Training steps and answers of image classifiers, and the loading of images
    Vision(vision::Args),
}

/// Measures and prints.
///
/// # Errors
/// What the benchmark refuses.
pub fn run(args: &Args, context: &Context) -> anyhow::Result<ExitStatus> {
    match &args.benchmark {
        Benchmark::Pipeline(args) => pipeline::run(args, context),
        Benchmark::Memory(args) => memory::run(args, context),
        Benchmark::Preprocess(args) => preprocess::run(args, context),
        Benchmark::Predict(args) => predict::run(args, context),
        Benchmark::Conv(args) => conv::run(args, context),
        Benchmark::Vision(args) => vision::run(args, context),
    }
}

pub(super) fn at_least_one(text: &str) -> Result<usize, String> {
    let number: Option<usize> = text.parse().ok().filter(|number| *number > 0);
    number.ok_or_else(|| "not a whole number of at least 1".into())
}

/// The config that is measured: a file, or the small one inside the program, with changes.
fn config(path: Option<&Path>, changes: &[String]) -> anyhow::Result<TrainConfig> {
    Ok(match path {
        Some(path) => TrainConfig::parse(&fs_err::read_to_string(path)?, path, changes)?,
        None => TrainConfig::parse(BRAIN_CNN_SMALL, Path::new("brain-cnn-small.toml"), changes)?,
    })
}
