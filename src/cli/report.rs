//! `brainage report`: a run as one page, judged on its test set or on other predictions of its model.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use brainage_cohorts::{CohortIndex, Split};
use burn::tensor::Device;
use serde::Serialize;

use crate::config::train::TrainConfig;
use crate::engine::event::Event;
use crate::eval::Evaluation;
use crate::model_file::{Description, Model};
use crate::predict::row::PredictionRow;
use crate::predict::table::read_predictions;
use crate::report::{BlockCurve, CohortCounts, Report, ScanQuality, write_report};
use crate::run::dir::RunDir;
use crate::run::metrics_log;

use super::ages::{AgeTable, Joined, join};
use super::evaluate::evaluate_of_model;
use super::{CliError, Context, ExitStatus};

/// Write a run as one HTML page
///
/// What was trained on what, how training went, how good the model is, which scans were refused. The page needs no
/// network and no other file.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  brainage report runs/2026-11-25-ukbb\n  \
    brainage report runs/2026-11-25-ukbb --predictions predictions.csv --ages ages.csv --out report.html")]
pub struct Args {
    /// Run folder
    run: PathBuf,
    /// Judge these predictions of the run's model instead of its test set
    #[arg(long, value_name = "FILE", requires = "out")]
    predictions: Option<PathBuf>,
    /// Table with age_years and scan or participant_id; otherwise the ages among the predictions
    #[arg(long, value_name = "FILE", requires = "predictions")]
    ages: Option<PathBuf>,
    /// Page that is written; otherwise report.html in the run folder
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Writes the page.
///
/// # Errors
/// Where the run is not whole, or the predictions are of another model.
pub fn run(args: &Args, context: &Context) -> anyhow::Result<ExitStatus> {
    let run = RunDir::open(args.run.clone())?;
    let report = match &args.predictions {
        Some(predictions) => of_predictions(&run, predictions, args.ages.as_deref())?,
        None => of_run(&run)?,
    };
    let out = args.out.clone().unwrap_or_else(|| run.report());
    write_report(&out, &report)?;
    let answer = serde_json::json!({ "report": out, "n": report.evaluation.n, "mae": report.evaluation.mae });
    context.printer.object(&answer)?;
    context
        .printer
        .line(&format!("report: `{}`", out.display()))?;
    Ok(ExitStatus::Done)
}

/// What a finished run says of itself.
///
/// # Errors
/// Where a file of the run is missing or damaged.
pub fn of_run(run: &RunDir) -> anyhow::Result<Report> {
    let parts = Parts::read(run)?;
    let rows = read_predictions(&run.predictions())?;
    let joined = join(&rows, Some(&AgeTable::read(&run.index())?));
    let evaluation = read_evaluation(&run.evaluation())?;
    Ok(parts.report("test set", evaluation, joined, &rows))
}

/// Reads an `evaluation.json`.
///
/// # Errors
/// Where there is none, or it is damaged.
pub fn read_evaluation(path: &Path) -> anyhow::Result<Evaluation> {
    let text = fs_err::read_to_string(path)?;
    serde_json::from_str(&text).with_context(|| format!("no evaluation: `{}`", path.display()))
}

/// A run judged on a table of predictions of its model.
fn of_predictions(run: &RunDir, predictions: &Path, ages: Option<&Path>) -> anyhow::Result<Report> {
    let parts = Parts::read(run)?;
    let rows = read_predictions(predictions)?;
    let ages = ages.map(AgeTable::read).transpose()?;
    let joined = join(&rows, ages.as_ref());
    let model = (&parts.model, parts.model_name.as_str());
    let evaluation = evaluate_of_model(&rows, &joined, model, predictions)?;
    Ok(parts.report("table of predictions", evaluation, joined, &rows))
}

/// What a report takes from the run folder whatever it is judged on.
struct Parts {
    folder: String,
    config: TrainConfig,
    index: CohortIndex,
    model: Description,
    model_name: String,
    curves: Vec<BlockCurve>,
}

impl Parts {
    fn read(run: &RunDir) -> anyhow::Result<Self> {
        if !run.model().is_file() {
            let message = format!("no model in this run yet: `{}`", run.path().display());
            let hint =
                "a training writes it at its end; continue it with `brainage train --resume RUN`";
            return Err(CliError::failed(message, hint).into());
        }
        let text = fs_err::read_to_string(run.config())?;
        let model = Model::load(&run.model(), &Device::flex())?;
        Ok(Self {
            folder: run.path().display().to_string(),
            config: TrainConfig::parse(&text, &run.config(), &[])?,
            index: CohortIndex::read_csv(&run.index())?,
            model_name: model.short_name(),
            model: model.description,
            curves: curves(&metrics_log::read(&run.metrics())?),
        })
    }

    fn report(
        self,
        judged: &str,
        evaluation: Evaluation,
        joined: Joined,
        rows: &[PredictionRow],
    ) -> Report {
        let facts = &self.model.facts;
        let recipe = facts.recipe_hash.get(..12).unwrap_or(&facts.recipe_hash);
        Report {
            synthetic: facts.training.n_synthetic > 0,
            recipe: format!("{} ({recipe})", self.config.data.recipe),
            model: format!("{}, file {}", in_toml(&facts.model.name), self.model_name),
            seed: facts.training.seed.0,
            settings: settings(&self),
            cohorts: cohort_counts(&self.index),
            judged: judged.into(),
            evaluation,
            cases: joined.cases,
            correction: facts.bias_correction,
            scans: rows.iter().map(ScanQuality::from).collect(),
            curves: self.curves,
            title: format!("Brain age: {}", facts.training.cohorts.join(", ")),
        }
    }
}

fn settings(parts: &Parts) -> Vec<(String, String)> {
    let Parts { config, model, .. } = parts;
    let (train, parameters) = (&config.train, &model.parameters);
    let [youngest, oldest] = model.facts.training.age_range_years;
    let [x, y, z] = model.facts.grid;
    let devices: Vec<String> = train.devices.iter().map(ToString::to_string).collect();
    let settings = [
        ("Input", format!("{x} × {y} × {z} voxels")),
        ("Regime", in_toml(&train.regime)),
        ("Weights", in_toml(&config.model.weights)),
        (
            "Parameters",
            format!(
                "{} stored, {} degrees of freedom, {} in the model file",
                parameters.stored, parameters.degrees_of_freedom, parameters.composed
            ),
        ),
        ("Epochs", train.epochs.to_string()),
        ("Batch size", train.batch_size.to_string()),
        (
            "Optimizer",
            format!("learning rate {}", train.optimizer.learning_rate),
        ),
        ("Devices in the config", devices.join(", ")),
        (
            "Training ages",
            format!("{youngest:.1} to {oldest:.1} years"),
        ),
        ("Run folder", parts.folder.clone()),
        ("brainage", model.facts.training.code_version.clone()),
    ];
    settings
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

/// The word by which a config calls a choice.
fn in_toml(choice: &impl Serialize) -> String {
    let word = serde_json::to_value(choice).ok();
    let word = word.as_ref().and_then(|value| value.as_str());
    word.unwrap_or_default().to_owned()
}

fn cohort_counts(index: &CohortIndex) -> Vec<CohortCounts> {
    let names = index.cohort_names();
    let n_in = |name: &String, split| {
        let rows = index.rows.iter();
        rows.filter(|row| row.cohort == *name && row.split == Some(split))
            .count()
    };
    names
        .into_iter()
        .map(|name| CohortCounts {
            train: n_in(&name, Split::Train),
            validation: n_in(&name, Split::Validation),
            test: n_in(&name, Split::Test),
            name,
        })
        .collect()
}

/// One curve a block, a point an epoch.
fn curves(events: &[Event]) -> Vec<BlockCurve> {
    let mut curves: Vec<BlockCurve> = Vec::new();
    for event in events {
        let (epoch, mae_years, is_training) = match event {
            Event::Epoch {
                epoch, mae_years, ..
            } => (epoch, mae_years, true),
            Event::Validation {
                epoch, mae_years, ..
            } => (epoch, mae_years, false),
            Event::Step { .. } | Event::Checkpoint { .. } => continue,
        };
        curves.resize(curves.len().max(mae_years.len()), BlockCurve::default());
        for (curve, mae) in curves.iter_mut().zip(mae_years) {
            let points = if is_training {
                &mut curve.train
            } else {
                &mut curve.validation
            };
            points.push([(epoch + 1) as f64, *mae]);
        }
    }
    curves
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_has_a_point_an_epoch_for_every_block() {
        let epoch = |epoch, mae_years: [f64; 2]| Event::Epoch {
            epoch,
            step: 4 * (epoch + 1),
            mae_years: mae_years.into(),
            error_percent: Vec::new(),
            orthogonality_error: vec![Vec::new(); 2],
            data_wait_share: 0.0,
            busy_share: Vec::new(),
            queue_fill: Vec::new(),
            seconds_per_step: None,
        };
        let validation = Event::Validation {
            epoch: 1,
            step: 8,
            n: 3,
            mae_years: vec![9.0, 8.0],
            error_percent: Vec::new(),
        };
        let events = [
            epoch(0, [20.0, 19.0]),
            Event::Checkpoint { step: 4 },
            epoch(1, [10.0, 9.5]),
            validation,
        ];
        let curves = curves(&events);
        assert_eq!(curves.len(), 2);
        assert_eq!(curves[0].train, [[1.0, 20.0], [2.0, 10.0]]);
        assert_eq!(curves[1].train, [[1.0, 19.0], [2.0, 9.5]]);
        assert_eq!(curves[1].validation, [[2.0, 8.0]]);
    }
}
