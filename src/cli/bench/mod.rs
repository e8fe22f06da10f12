//! `brainage bench`: our own speed figures, one sub-command for each kind.

pub mod pipeline;

use super::{Context, ExitStatus};

/// Measure speed on this machine
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  brainage bench pipeline --devices cpu:0,cpu:1 --json")]
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
}

/// Measures and prints.
///
/// # Errors
/// What the benchmark refuses.
pub fn run(args: &Args, context: &Context) -> anyhow::Result<ExitStatus> {
    match &args.benchmark {
        Benchmark::Pipeline(args) => pipeline::run(args, context),
    }
}
