//! `brainage model`: what is in a model file, and whether it is whole.

use std::path::{Path, PathBuf};

use burn::tensor::Device;

use crate::engine::device::{DeviceName, open_one};
use crate::eval::conformal::{HalfWidth, Scale};
use crate::model_file::{Description, Model, ModelFacts};
use crate::models::parameters::take;
use crate::predict::predictor::{AgePredictor, PredictSettings};

use super::{CliError, Context, ExitStatus};

/// Show or verify a model file
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  brainage model show model.safetensors --json\n  \
    brainage model verify model.safetensors"
)]
pub struct Args {
    /// What to do with it
    #[command(subcommand)]
    pub action: Action,
}

/// What can be done with a model file.
#[derive(Debug, clap::Subcommand)]
pub enum Action {
    /// Say what is in it
    Show {
        /// Model file
        model: PathBuf,
    },
    /// Check its hash, name and shape of every tensor, its recipe and what it says of its training
    Verify {
        /// Model file
        model: PathBuf,
    },
}

/// Shows or verifies a model file; loading checks its hash and every tensor.
///
/// # Errors
/// Where the file is not a whole model.
pub fn run(args: &Args, context: &Context) -> anyhow::Result<ExitStatus> {
    match &args.action {
        Action::Show { model } => show(model, context),
        Action::Verify { model } => verify(model, context),
    }
}

fn show(path: &Path, context: &Context) -> anyhow::Result<ExitStatus> {
    let model = Model::load(path, &Device::flex())?;
    let description = &model.description;
    for (name, value) in lines(description, &model.short_name()) {
        context.printer.line(&format!("{name:<22}{value}"))?;
    }
    let mut answer = serde_json::to_value(description)?;
    // Runs of digits say nothing to a reader; how many there are does.
    answer["facts"]["training_images"] = description.facts.training_images.len().into();
    context.printer.object(&answer)?;
    Ok(ExitStatus::Done)
}

/// What is said of a model, as (name, value).
fn lines(description: &Description, name: &str) -> Vec<(&'static str, String)> {
    let facts = &description.facts;
    let training = &facts.training;
    let [x, y, z] = facts.grid;
    let [youngest, oldest] = training.age_range_years;
    let word = |choice: serde_json::Result<serde_json::Value>| {
        let value = choice.unwrap_or_default();
        value
            .as_str()
            .map_or_else(|| value.to_string(), ToOwned::to_owned)
    };
    let recipe = facts
        .recipe
        .lines()
        .find_map(|line| line.strip_prefix("name = "));
    let recipe = recipe.unwrap_or("unknown").trim_matches('"');
    let mae = training
        .validation_mae_years
        .map_or_else(|| "unknown".to_owned(), |mae| format!("{mae:.2} years"));
    vec![
        ("name", name.to_owned()),
        ("architecture", word(serde_json::to_value(facts.model.name))),
        (
            "weights in training",
            word(serde_json::to_value(facts.model.weights)),
        ),
        ("regime", word(serde_json::to_value(facts.regime))),
        (
            "input",
            format!(
                "{x}×{y}×{z} voxels, recipe {recipe} ({:.12})",
                facts.recipe_hash
            ),
        ),
        (
            "parameters",
            format!(
                "{} in the file, {} stored in training",
                description.parameters.composed, description.parameters.stored
            ),
        ),
        ("trained on", training.cohorts.join(", ")),
        (
            "training scans",
            format!(
                "{}, {} of them synthetic, aged {youngest:.1} to {oldest:.1} years",
                training.n_training, training.n_synthetic
            ),
        ),
        (
            "training",
            format!(
                "{} epochs, seed {}, brainage {}",
                training.epochs, training.seed.0, training.code_version
            ),
        ),
        (
            "validation error",
            format!("{mae}, from {} scans", training.n_validation),
        ),
        ("age-bias correction", correction_of(facts)),
        ("calibrated interval", interval_of(facts)),
        ("intended use", description.intended_use.clone()),
    ]
}

fn correction_of(facts: &ModelFacts) -> String {
    facts.bias_correction.map_or_else(
        || "none: the validation set was too small".to_owned(),
        |line| {
            let (slope, intercept, n) = (line.slope, line.intercept, line.n);
            format!("predicted = {slope:.3} · age + {intercept:.2}, from {n} people")
        },
    )
}

fn interval_of(facts: &ModelFacts) -> String {
    facts.interval.as_ref().map_or_else(
        || "none: the validation set was too small".to_owned(),
        |interval| {
            let half =
                |half: &HalfWidth| format!("{:.0} % ±{:.1}", 100.0 * half.coverage, half.width);
            let halves: Vec<String> = interval.half_widths.iter().map(half).collect();
            let unit = match interval.scale {
                Scale::Years => "years",
                Scale::HeadSd => "sd of the head",
            };
            format!("{} {unit}, from {} people", halves.join(", "), interval.n)
        },
    )
}

/// Loading checks hash, name and shape of every tensor; what it does not need is checked here.
fn verify(path: &Path, context: &Context) -> anyhow::Result<ExitStatus> {
    let lane = open_one(DeviceName::Cpu)?;
    let settings = PredictSettings::default();
    let paths = [path.to_path_buf()];
    // Recipe, template, grid, training.
    let predictor = AgePredictor::load(&paths, lane, settings)?;
    let Some(model) = predictor.models().first() else {
        return Err(CliError::failed("no model", "name a model file").into());
    };
    let refuse = |message: &str| {
        let message = format!("{message}: `{}`", path.display());
        CliError::failed(message, "train it again, or take another copy of the file")
    };
    let numbers = model
        .network
        .blocks
        .iter()
        .flat_map(|block| take(block).into_values());
    let mut numbers = numbers.flat_map(|data| data.iter::<f32>().collect::<Vec<f32>>());
    if !numbers.all(f32::is_finite) {
        return Err(refuse("a weight is no number").into());
    }
    let facts = &model.description.facts;
    let [youngest, oldest] = facts.training.age_range_years;
    if !(youngest.is_finite() && youngest < oldest && facts.target.scaling.sd_years > 0.0) {
        return Err(refuse("the training ages are no range").into());
    }
    let answer = serde_json::json!({ "whole": true, "name": model.short_name() });
    context.printer.object(&answer)?;
    context
        .printer
        .line(&format!("whole: `{}`", path.display()))?;
    Ok(ExitStatus::Done)
}
