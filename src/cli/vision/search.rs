//! `brainage vision search`: cuts and heads for local training, by what they come to in a tenth of the epochs.
//!
//! In the place of SEDONA (Pyeon et al., ICLR 2021, "Search for Decoupled Neural Networks toward Greedy Block-wise Learning"),
//! which learns where to cut and which heads to take by gradients on a relaxation of both: here each pair of a short list is
//! trained for a while, and the validation error decides.

use brainage_pipelines::atomic::write_atomically;
use serde_json::json;

use crate::Error;
use crate::models::{Cuts, NamedCuts, Regime};
use crate::study::{Grid, Variant, even_cuts};
use crate::vision::config::VisionConfig;

use super::super::study::runs::carry_out;
use super::super::{CliError, Context, ExitStatus};
use super::study::{Base, Images};

/// Heads that are tried where none are named, as far as the network can have them.
const HEADS: [&str; 4] = [
    "gap-linear",
    "conv-gap-mlp",
    "mlp-sr",
    "{ augmented = { depth = 2 } }",
];
/// Part of the epochs that a pair is tried for, one epoch at least.
const SHARE: u64 = 10;

/// Options of `vision search`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  brainage vision search --config configs/vision/cifar10-resnet18-small.toml --data cifar-10-batches-bin --out search\n  \
    brainage vision search … --cuts published --cuts '[3, 6]' --heads gap-linear --heads '{ augmented = { depth = 2 } }' --out search\n  \
    brainage vision train --config search/config.toml --out runs/found"
)]
pub struct Args {
    #[command(flatten)]
    base: Base,
    /// Cuts as the config writes them; repeatable. Otherwise the published ones, and as many blocks of about as many units each
    #[arg(long, value_name = "CUTS")]
    cuts: Vec<String>,
    /// Heads of all blocks but the last as the config writes them; repeatable. Otherwise gap-linear, conv-gap-mlp, mlp-sr and
    /// { augmented = { depth = 2 } }, as far as the network can have them
    #[arg(long, value_name = "HEAD")]
    heads: Vec<String>,
}

/// Trains each pair of cuts and head for a while, prints their validation errors, and writes the config with the best pair
/// and all epochs.
///
/// # Errors
/// Where the config has no blocks, a pair cannot be, or all losses cease to be numbers; and as `vision study`.
pub fn run(args: &Args, context: &Context) -> anyhow::Result<ExitStatus> {
    let (base, printer) = (&args.base, &context.printer);
    let config = base.changed(&[])?;
    if !config.train.regime.is_cut() {
        let said = "the network has one head, so cuts and inner heads change nothing";
        return Err(CliError::usage(said, "--set train.regime=local").into());
    }
    let epochs = (config.train.epochs / SHARE).max(1);
    let short = base.with(format!("train.epochs={epochs}"));
    let (cuts, heads) = (cuts(&args.cuts, &config)?, heads(&args.heads, base)?);
    let pairs = cuts.iter().flat_map(|cuts| {
        let with = move |head: &String| {
            Variant::of([format!("model.cuts={cuts}"), format!("model.head={head}")])
        };
        heads.iter().map(with)
    });
    let pairs: Vec<Variant> = pairs.collect();
    let grid = Grid {
        variations: &[],
        variants: &[],
        tuned: pairs.clone(),
        seeds: vec![config.train.seed],
    };
    let images = Images {
        base: &short,
        context,
    };
    let tuning = carry_out(&images, &grid, &base.out, printer)?
        .tuning
        .unwrap_or_default();
    printer.line(&tuning.to_markdown())?;
    let found = pairs
        .iter()
        .find(|pair| tuning.has_chosen("", &pair.to_string()));
    let found = found.ok_or_else(|| {
        let hint = "lower train.optimizer.learning_rate";
        CliError::failed("with no cuts and head the loss stays a number", hint)
    })?;
    let (path, text) = (
        base.out.join("config.toml"),
        base.changed(found.changes())?.to_toml()?,
    );
    write_atomically(&path, |out| out.write_all(text.as_bytes()))?;
    printer.object(&json!({ "tuning": tuning, "found": found.to_string(), "config": path }))?;
    printer.line(&format!(
        "{found}\nafter {epochs} of {} epochs; to train it to the end: brainage vision train --config {} --out RUN",
        config.train.epochs,
        path.display()
    ))?;
    Ok(ExitStatus::Done)
}

/// Those that were named, or the published ones and even ones of as many blocks.
fn cuts(named: &[String], config: &VisionConfig) -> Result<Vec<String>, Error> {
    if !named.is_empty() {
        return Ok(named.to_vec());
    }
    let mut model = config.model.clone();
    model.cuts = Cuts::Named(NamedCuts::Published);
    let published = model.part_starts(Regime::Local)?;
    let even = even_cuts(model.n_units(), published.len())?;
    let mut cuts = vec!["published".to_owned()];
    if published.get(1..) != Some(even.as_slice()) {
        cuts.push(format!("{even:?}"));
    }
    Ok(cuts)
}

/// Those that were named, or those of [`HEADS`] that the network can have.
fn heads(named: &[String], base: &Base) -> Result<Vec<String>, Error> {
    if !named.is_empty() {
        return Ok(named.to_vec());
    }
    let mut able = Vec::with_capacity(HEADS.len());
    for head in HEADS {
        match base.changed(&[format!("model.head={head}")]) {
            Ok(_) => able.push(head.to_owned()),
            Err(Error::Config { key, .. }) if key == "model.head" => {}
            Err(error) => return Err(error),
        }
    }
    Ok(able)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser as _;

    #[derive(clap::Parser)]
    struct Cli {
        #[command(flatten)]
        args: Args,
    }

    /// What is tried where nothing is named.
    fn tried(config: &str) -> (Vec<String>, Vec<String>) {
        let path = format!("{}/configs/vision/{config}", env!("CARGO_MANIFEST_DIR"));
        let words = ["search", "--config", &path, "--out", "search"];
        let args = Cli::try_parse_from(words).unwrap().args;
        let config = args.base.changed(&[]).unwrap();
        let cuts = cuts(&args.cuts, &config).unwrap();
        (cuts, heads(&args.heads, &args.base).unwrap())
    }

    #[test]
    fn published_and_even_cuts_are_tried_with_all_heads_that_the_network_can_have() {
        let (cuts, heads) = tried("cifar10-resnet18-small.toml");
        // A stem and four stages of two units: nine units in four blocks.
        assert_eq!(cuts, ["published", "[2, 4, 6]"]);
        assert_eq!(heads, HEADS);
        // Tokens cannot be convolved.
        let (_, heads) = tried("cifar10-vit-ti-small.toml");
        assert_eq!(heads, [HEADS[0], HEADS[3]]);
    }
}
