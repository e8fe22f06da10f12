//! `brainage vision ablate`: studies of single settings of the method.

use crate::engine::objective::OrthogonalityMode;
use crate::nn::weight::WeightForm;
use crate::study::{Grid, Variation, even_cuts};
use crate::vision::config::VisionConfig;

use super::super::study::runs::Seeds;
use super::super::{CliError, Context, ExitStatus};
use super::study::{Base, compare};

/// Options of `vision ablate`.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("sweep").required(true).multiple(true).args(["lambda", "blocks", "cuts"]))]
#[command(
    after_help = "Examples:\n  brainage vision ablate --config configs/vision/cifar10-resnet18-small.toml --data cifar-10-batches-bin \\\n    \
    --lambda 0,1e-6,1e-5,1e-4,1e-3,1e-2 --seeds 1,2,3 --out studies/lambda\n  \
    brainage vision ablate … --blocks 1,2,4,9 --out studies/blocks\n  \
    brainage vision ablate … --cuts published --cuts units --cuts '[3, 6]' --out studies/cuts"
)]
pub struct Args {
    #[command(flatten)]
    base: Base,
    #[command(flatten)]
    seeds: Seeds,
    /// Weights of the penalty that keeps bases orthonormal
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    lambda: Vec<f64>,
    /// Numbers of blocks, each of about as many units
    #[arg(
        long,
        value_name = "LIST",
        value_delimiter = ',',
        conflicts_with = "cuts"
    )]
    blocks: Vec<usize>,
    /// Cuts as the config writes them; repeatable
    #[arg(long, value_name = "CUTS")]
    cuts: Vec<String>,
}

/// Trains with each value, or each pair of them, and prints the table of the study.
///
/// # Errors
/// Where the settings have no effect on what the config trains, and as `vision study`.
pub fn run(args: &Args, context: &Context) -> anyhow::Result<ExitStatus> {
    let config = args.base.changed(&[])?;
    refuse_without_effect(args, &config)?;
    let mut variations = Vec::new();
    if !args.lambda.is_empty() {
        let values = args.lambda.iter().map(|lambda| format!("{lambda:?}"));
        variations.push(Variation::of("train.orthogonality.weight", values));
    }
    if !args.blocks.is_empty() {
        let n_units = config.model.n_units();
        let cuts = args.blocks.iter();
        let cuts = cuts.map(|n_blocks| even_cuts(n_units, *n_blocks));
        let cuts: Vec<Vec<usize>> = cuts.collect::<Result<_, _>>()?;
        let values = cuts.iter().map(|cuts| format!("{cuts:?}"));
        variations.push(Variation::of("model.cuts", values));
    }
    if !args.cuts.is_empty() {
        variations.push(Variation::of("model.cuts", args.cuts.iter().cloned()));
    }
    let grid = Grid {
        variations: &variations,
        variants: &[],
        tuned: Vec::new(),
        seeds: args.seeds.in_order(),
    };
    compare(&args.base, &grid, context)
}

/// Refuses sweeps whose runs would all be the same.
fn refuse_without_effect(args: &Args, config: &VisionConfig) -> Result<(), CliError> {
    let train = &config.train;
    let is_penalized = config.model.weights == WeightForm::Eigen
        && train.orthogonality.mode != OrthogonalityMode::Retract;
    if !args.lambda.is_empty() && !is_penalized {
        return Err(CliError::usage(
            "no penalty keeps bases orthonormal here, so its weight changes nothing",
            "--set model.weights=eigen --set train.orthogonality.mode=penalty",
        ));
    }
    let asks_for_cuts = !args.blocks.is_empty() || !args.cuts.is_empty();
    if asks_for_cuts && !train.regime.is_cut() {
        return Err(CliError::usage(
            "the network is trained as one block with one head, so cuts change nothing",
            "--set train.regime=local",
        ));
    }
    Ok(())
}
