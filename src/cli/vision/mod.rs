//! `brainage vision`: image classification on the engine that trains brain networks.

pub mod ablate;
pub mod curves;
pub mod eval;
pub mod inspect;
mod opened;
pub mod quantize;
pub mod search;
pub mod study;
pub mod table;
pub mod train;

use super::{Context, ExitStatus};

/// Train and compare image classifiers on the same engine
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  brainage vision train --config configs/vision/cifar10-resnet18-small.toml --data cifar-10-batches-bin --out runs/one\n  \
    brainage vision eval --run runs/one --json\n  \
    brainage vision table runs/*"
)]
pub struct Args {
    /// What to do
    #[command(subcommand)]
    pub action: Action,
}

/// What can be done.
#[derive(Debug, clap::Subcommand)]
pub enum Action {
    /// Train a classifier and judge it on the test images
    ///
    /// Ctrl-C saves; --resume continues as if nothing had happened.
    Train(train::Args),
    /// Train what a study asks for, run after run, and compare
    ///
    /// The same command goes on where it was stopped, and leaves finished runs alone.
    Study(study::Args),
    /// Train with other penalties on bases, numbers of blocks or cuts, and compare
    ///
    /// A study of one or two settings; it goes on where it was stopped, too.
    Ablate(ablate::Args),
    /// Look for the cuts and the head that suit local training best, by validation error after a tenth of the epochs
    ///
    /// Tries all pairs of a list of cuts and one of heads, in the place of SEDONA's search (Pyeon et al., ICLR 2021), and writes
    /// a config with the best one. The same command goes on where it was stopped.
    Search(search::Args),
    /// Judge the model of a run on the test images, each block's head by itself
    Eval(eval::Args),
    /// Judge the model of a run with fewer bits a weight, by rounding and by COMQ
    Quantize(quantize::Args),
    /// Singular values by layer, correlation of channels by head, and how orthonormal bases are, of the model of a run
    Inspect(inspect::Args),
    /// Losses and errors of each head of runs, epoch by epoch, as comma-separated values
    Curves(curves::Args),
    /// Error by method, network and data set, with published figures beside those of runs
    Table(table::Args),
}

impl Args {
    /// Whether Ctrl-C lets the command finish and save what is in hand.
    pub(super) fn stops_cleanly(&self) -> bool {
        match self.action {
            Action::Train(_) | Action::Study(_) | Action::Ablate(_) | Action::Search(_) => true,
            Action::Eval(_)
            | Action::Quantize(_)
            | Action::Inspect(_)
            | Action::Curves(_)
            | Action::Table(_) => false,
        }
    }
}

/// Does what was asked for.
///
/// # Errors
/// Where a config, a data set, a run or a device is not usable, or a file cannot be written.
pub fn run(args: &Args, context: &Context) -> anyhow::Result<ExitStatus> {
    match &args.action {
        Action::Train(args) => train::run(args, context),
        Action::Study(args) => study::run(args, context),
        Action::Ablate(args) => ablate::run(args, context),
        Action::Search(args) => search::run(args, context),
        Action::Inspect(args) => inspect::run(args, context),
        Action::Curves(args) => curves::run(args, context),
        Action::Eval(args) => eval::run(args, context),
        Action::Quantize(args) => quantize::run(args, context),
        Action::Table(args) => table::run(args, context),
    }
}
