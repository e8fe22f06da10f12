//! `brainage evaluate`: how good predictions are.

use std::path::{Path, PathBuf};

use burn::tensor::Device;
use serde::Serialize;

use crate::eval::comparison::Comparison;
use crate::eval::{Evaluation, evaluate};
use crate::model_file::{Description, Model};
use crate::predict::row::PredictionRow;
use crate::predict::table::read_predictions;

use super::ages::{AgeTable, Joined, join};
use super::report::read_evaluation;
use super::{CliError, Context, ExitStatus};

/// Seed of the bootstrap: the same predictions give the same intervals.
const BOOTSTRAP_SEED: u64 = 1;

/// Say how good predictions are
///
/// MAE with a 95 % bootstrap interval, RMSE, r, R² and the slope of the gap on age; by cohort, age, sex and site; before
/// and after age-bias correction; coverage of calibrated intervals; agreement of repeat scans; two models compared.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  brainage evaluate --run runs/2026-11-25-ukbb\n  \
    brainage evaluate --predictions ours.csv --versus theirs.csv --ages ages.csv\n  \
    brainage evaluate --predictions predictions.csv --ages ages.csv --model model.safetensors"
)]
#[command(group = clap::ArgGroup::new("what").required(true).args(["run", "predictions"]))]
pub struct Args {
    /// Run folder: its evaluation on the test set
    #[arg(long, value_name = "RUN")]
    run: Option<PathBuf>,
    /// Table of predictions
    #[arg(long, value_name = "FILE")]
    predictions: Option<PathBuf>,
    /// Table with age_years and scan or participant_id; otherwise the ages among the predictions
    #[arg(long, value_name = "FILE", conflicts_with = "run")]
    ages: Option<PathBuf>,
    /// Another model's table of the same scans: their errors are compared by the paired bootstrap
    #[arg(long, value_name = "FILE", conflicts_with = "run")]
    versus: Option<PathBuf>,
    /// The model that predicted; predicting the mean age of its training is then the baseline
    #[arg(long, value_name = "FILE", conflicts_with = "run")]
    model: Option<PathBuf>,
}

/// Reads or computes the evaluation, and shows it.
///
/// # Errors
/// Where a table cannot be read, or no prediction has an age.
pub fn run(args: &Args, context: &Context) -> anyhow::Result<ExitStatus> {
    let evaluation = match (&args.run, &args.predictions) {
        (Some(run), _) => of_run(run)?,
        (None, Some(predictions)) => of_predictions(predictions, args, context)?,
        (None, None) => {
            return Err(
                CliError::usage("nothing to evaluate", "give --run or --predictions").into(),
            );
        }
    };
    let versus = match (&args.versus, &args.predictions) {
        (Some(other), Some(predictions)) => Some(compare(predictions, other, args)?),
        _ => None,
    };
    context.printer.object(&Answer {
        evaluation: &evaluation,
        versus: versus.as_ref(),
    })?;
    context.printer.line(evaluation.to_text().trim_end())?;
    if let Some(comparison) = &versus {
        context.printer.line(&comparison.to_text())?;
    }
    Ok(ExitStatus::Done)
}

/// The answer for machines.
#[derive(Serialize)]
struct Answer<'a> {
    #[serde(flatten)]
    evaluation: &'a Evaluation,
    #[serde(skip_serializing_if = "Option::is_none")]
    versus: Option<&'a Comparison>,
}

fn compare(first: &Path, second: &Path, args: &Args) -> anyhow::Result<Comparison> {
    let ages = args.ages.as_deref().map(AgeTable::read).transpose()?;
    let cases = |path: &Path| anyhow::Ok(join(&read_predictions(path)?, ages.as_ref()).cases);
    let found = Comparison::of(&cases(first)?, &cases(second)?, BOOTSTRAP_SEED);
    found.ok_or_else(|| {
        let message = format!(
            "no scan with an age is in both tables: `{}` and `{}`",
            first.display(),
            second.display()
        );
        CliError::failed(
            message,
            "compare predictions of the same scans, named alike",
        )
        .into()
    })
}

fn of_run(run: &Path) -> anyhow::Result<Evaluation> {
    let path = run.join("evaluation.json");
    if !path.is_file() {
        let message = format!("no evaluation in this folder: `{}`", run.display());
        let hint = "a training writes evaluation.json at its end; continue it with `brainage train --resume RUN`";
        return Err(CliError::failed(message, hint).into());
    }
    read_evaluation(&path)
}

fn of_predictions(
    predictions: &Path,
    args: &Args,
    context: &Context,
) -> anyhow::Result<Evaluation> {
    let rows = read_predictions(predictions)?;
    let ages = args.ages.as_deref().map(AgeTable::read).transpose()?;
    let joined = join(&rows, ages.as_ref());
    if joined.n_refused > 0 {
        let said = format!("{} scans have no prediction", joined.n_refused);
        context.printer.status(&said);
    }
    if joined.n_without_age > 0 {
        context.printer.warning(&format!(
            "{} predictions have no age and are left out: `{}`",
            joined.n_without_age,
            predictions.display()
        ));
    }
    if let Some(path) = &args.model {
        let model = Model::load(path, &Device::flex())?;
        let named = (&model.description, &*model.short_name());
        evaluate_of_model(&rows, &joined, named, predictions)
    } else {
        refuse_without_cases(&joined, predictions)?;
        Ok(evaluate(&joined.cases, None, BOOTSTRAP_SEED))
    }
}

/// Judges predictions of a model whose description and short name are known, against its mean training age.
///
/// # Errors
/// Where a prediction is of another model, or none has an age; `predictions` is the table.
pub fn evaluate_of_model(
    rows: &[PredictionRow],
    joined: &Joined,
    (model, name): (&Description, &str),
    predictions: &Path,
) -> anyhow::Result<Evaluation> {
    let predicted = |row: &&PredictionRow| row.predicted_age_years.is_some();
    if let Some(other) = rows.iter().filter(predicted).find(|row| row.model != name) {
        let message = format!(
            "predictions are of model {}, expected {name}: `{}`",
            other.model,
            predictions.display()
        );
        let hint = "give the model that made the table, or predict anew with this one";
        return Err(CliError::failed(message, hint).into());
    }
    refuse_without_cases(joined, predictions)?;
    let mean_years = model.facts.target.scaling.mean_years;
    Ok(evaluate(&joined.cases, Some(mean_years), BOOTSTRAP_SEED))
}

fn refuse_without_cases(joined: &Joined, predictions: &Path) -> Result<(), CliError> {
    if joined.cases.is_empty() {
        let message = format!("no prediction has an age: `{}`", predictions.display());
        let hint =
            "give --ages with the scans as the predictions name them, or with their participant_id";
        return Err(CliError::failed(message, hint));
    }
    Ok(())
}
