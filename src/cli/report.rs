//! `brainage report`: a run as one page, judged on its test set or on other predictions of its model; or a table of
//! predictions alone.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use brainage_cohorts::{CohortIndex, Split};
use brainage_pipelines::batch::keys_in_use;
use brainage_pipelines::cache::Cache;
use brainage_pipelines::format::ReadOptions;
use brainage_pipelines::middle_slices::middle_slices_png;
use brainage_pipelines::recipe::Recipe;
use brainage_pipelines::template::template;
use brainage_viewer::review::REVIEW_FILE;
use burn::tensor::Device;
use serde::Serialize;

use crate::config::train::TrainConfig;
use crate::engine::event::Event;
use crate::eval::conformal::Scale;
use crate::eval::{Case, Evaluation};
use crate::model_file::{Description, Model};
use crate::predict::row::PredictionRow;
use crate::predict::table::read_predictions;
use crate::report::{
    BlockCurve, CohortCounts, LeftOut, Report, ScanQuality, largest_gaps, write_report,
};
use crate::run::dir::RunDir;
use crate::run::metrics_log;

use super::ages::{AgeTable, Joined, join};
use super::evaluate::evaluate_of_model;
use super::review::Rejected;
use super::training::left_out;
use super::{CliError, Context, ExitStatus};

/// Write a run, or a table of predictions, as one HTML page
///
/// What was trained on what, how training went, how good the model is, which scans were refused, and the worst cases with
/// their slices where they are in the cache. The page needs no network and no other file.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  brainage report runs/2026-11-25-ukbb\n  \
    brainage report --predictions predictions.csv --model model.safetensors --ages ages.csv --out report.html\n  \
    brainage report runs/2026-11-25-ukbb --predictions predictions.csv --ages ages.csv --out report.html")]
pub struct Args {
    /// Run folder
    #[arg(required_unless_present = "model")]
    run: Option<PathBuf>,
    /// Judge these predictions of the model instead of the run's test set
    #[arg(long, value_name = "FILE", requires = "out")]
    predictions: Option<PathBuf>,
    /// The model of the predictions, where there is no run folder
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with = "run",
        requires = "predictions"
    )]
    model: Option<PathBuf>,
    /// Table with age_years and scan or participant_id; otherwise the ages among the predictions
    #[arg(long, value_name = "FILE", requires = "predictions")]
    ages: Option<PathBuf>,
    /// Page that is written; otherwise report.html in the run folder
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Folder of the cache with the slices; otherwise the project's, or the user's
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,
}

/// Writes the page.
///
/// # Errors
/// Where the run is not whole, or the predictions are of another model.
pub fn run(args: &Args, context: &Context) -> anyhow::Result<ExitStatus> {
    // Slices are a help, not a need: without a cache the page has none.
    let cache = context.cache(args.cache.as_deref()).ok();
    let cache = cache.as_ref();
    let ages = args.ages.as_deref();
    let run = args.run.clone().map(RunDir::open).transpose()?;
    let mut report = match (&run, &args.model, &args.predictions) {
        (Some(run), _, None) => of_run(run, cache)?,
        (Some(run), _, Some(table)) => of_predictions(Parts::read(run)?, table, ages, cache)?,
        (None, Some(model), Some(table)) => {
            of_predictions(Parts::of_model(model)?, table, ages, cache)?
        }
        (None, ..) => {
            let hint = "give a run folder, or --predictions with --model and --out";
            return Err(CliError::usage("nothing to report", hint).into());
        }
    };
    note_rejected(
        &mut report,
        run.as_ref(),
        args.predictions.as_deref(),
        context,
    )?;
    let beside_the_run = run.map(|run| run.report());
    let Some(out) = args.out.clone().or(beside_the_run) else {
        return Err(CliError::usage("no page is named", "name one with --out").into());
    };
    write_report(&out, &report)?;
    let answer = serde_json::json!({ "report": out, "n": report.evaluation.n, "mae": report.evaluation.mae });
    context.printer.object(&answer)?;
    context
        .printer
        .line(&format!("report: `{}`", out.display()))?;
    Ok(ExitStatus::Done)
}

/// Names the scans that a person rejected since, by the project's judgments or those beside the predictions. The figures
/// stay as they are: leaving out test scans after their errors were seen would flatter the model.
fn note_rejected(
    report: &mut Report,
    run: Option<&RunDir>,
    predictions: Option<&Path>,
    context: &Context,
) -> anyhow::Result<()> {
    let beside = predictions.and_then(Path::parent).map(Path::to_path_buf);
    let beside = beside.or_else(|| run.map(|run| run.path().to_path_buf()));
    let mut tables = vec![Rejected::read(None, context)?];
    if let Some(folder) = beside {
        tables.push(Rejected::read_if_there(&folder.join(REVIEW_FILE))?);
    }
    for scan in &mut report.scans {
        let path = Path::new(&scan.scan);
        let mut reasons = tables.iter().filter_map(|table| table.reason(path));
        scan.rejected = reasons.next().map(ToOwned::to_owned);
    }
    Ok(())
}

/// What a finished run says of itself.
///
/// # Errors
/// Where a file of the run is missing or damaged.
pub fn of_run(run: &RunDir, cache: Option<&Cache>) -> anyhow::Result<Report> {
    let parts = Parts::read(run)?;
    let rows = read_predictions(&run.predictions())?;
    let joined = join(&rows, Some(&AgeTable::read(&run.index())?));
    let evaluation = read_evaluation(&run.evaluation())?;
    Ok(parts.report("test set", evaluation, joined, &rows, cache))
}

/// Reads an `evaluation.json`.
///
/// # Errors
/// Where there is none, or it is damaged.
pub fn read_evaluation(path: &Path) -> anyhow::Result<Evaluation> {
    let text = fs_err::read_to_string(path)?;
    serde_json::from_str(&text).with_context(|| format!("no evaluation: `{}`", path.display()))
}

/// A model judged on a table of its predictions. Without ages there are no figures, but the scans and their quality.
fn of_predictions(
    parts: Parts,
    predictions: &Path,
    ages: Option<&Path>,
    cache: Option<&Cache>,
) -> anyhow::Result<Report> {
    let rows = read_predictions(predictions)?;
    let ages = ages.map(AgeTable::read).transpose()?;
    let joined = join(&rows, ages.as_ref());
    let model = (&parts.model, parts.model_name.as_str());
    let evaluation = evaluate_of_model(&rows, &joined, model, predictions)?;
    Ok(parts.report("table of predictions", evaluation, joined, &rows, cache))
}

/// Slices of the cases with the largest gaps, as far as the cache has their volumes.
fn pictures(cases: &[Case], recipe: &str, cache: Option<&Cache>) -> BTreeMap<String, Vec<u8>> {
    let (Some(cache), Ok(template)) = (cache, template()) else {
        return BTreeMap::new();
    };
    let Ok(recipe) = Recipe::parse(recipe, "the model's recipe") else {
        return BTreeMap::new();
    };
    let recipes = [recipe];
    let picture = |case: &&Case| {
        let scan = [PathBuf::from(&case.scan)];
        let found = keys_in_use(&scan, ReadOptions::default(), &recipes, template);
        let entry = cache.get(found.keys.iter().next()?).ok()??;
        let png = middle_slices_png(&entry.volume().ok()?).ok()?;
        Some((case.scan.clone(), png))
    };
    largest_gaps(cases).iter().filter_map(picture).collect()
}

/// What a report takes from the model, and from the run folder where there is one, whatever it is judged on.
struct Parts {
    model: Description,
    model_name: String,
    run: Option<RunParts>,
}

/// What a run folder adds.
struct RunParts {
    folder: String,
    config: TrainConfig,
    config_text: String,
    index: CohortIndex,
    left_out: Vec<LeftOut>,
    curves: Vec<BlockCurve>,
    seconds: Option<f64>,
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
        let events = metrics_log::read(&run.metrics())?;
        let parts = Self::of_model(&run.model())?;
        Ok(Self {
            run: Some(RunParts {
                folder: run.path().display().to_string(),
                config: TrainConfig::parse(&text, &run.config(), &[])?,
                config_text: text,
                index: CohortIndex::read_csv(&run.index())?,
                left_out: left_out::read(run)?,
                curves: curves(&events),
                seconds: seconds(&events),
            }),
            ..parts
        })
    }

    fn of_model(path: &Path) -> anyhow::Result<Self> {
        let model = Model::load(path, &Device::flex())?;
        Ok(Self {
            model_name: model.short_name(),
            model: model.description,
            run: None,
        })
    }

    fn report(
        self,
        judged: &str,
        evaluation: Evaluation,
        joined: Joined,
        rows: &[PredictionRow],
        cache: Option<&Cache>,
    ) -> Report {
        let facts = &self.model.facts;
        let hash = facts.recipe_hash.get(..12).unwrap_or(&facts.recipe_hash);
        let recipe = Recipe::parse(&facts.recipe, "the model's recipe");
        let recipe = recipe.map_or_else(|_| "unknown".to_owned(), |recipe| recipe.name);
        let cohorts = self.run.as_ref().map(|run| cohort_counts(&run.index));
        let settings = settings(&self, rows);
        let pictures = pictures(&joined.cases, &facts.recipe, cache);
        let run = self.run;
        let title = format!("Brain age: {}", facts.training.cohorts.join(", "));
        Report {
            synthetic: facts.training.n_synthetic > 0,
            recipe: format!("{recipe} ({hash})"),
            model: format!("{}, file {}", in_toml(&facts.model.name), self.model_name),
            seed: facts.training.seed.0,
            settings,
            cohorts: cohorts.unwrap_or_default(),
            judged: judged.into(),
            evaluation,
            pictures,
            cases: joined.cases,
            correction: facts.bias_correction,
            scans: rows.iter().map(ScanQuality::from).collect(),
            title,
            curves: run
                .as_ref()
                .map(|run| run.curves.clone())
                .unwrap_or_default(),
            left_out: run
                .as_ref()
                .map(|run| run.left_out.clone())
                .unwrap_or_default(),
            config: run.map(|run| run.config_text),
        }
    }
}

fn settings(parts: &Parts, rows: &[PredictionRow]) -> Vec<(String, String)> {
    let facts = &parts.model.facts;
    let parameters = &parts.model.parameters;
    let [youngest, oldest] = facts.training.age_range_years;
    let [x, y, z] = facts.grid;
    let mut settings = vec![
        ("Input", format!("{x} × {y} × {z} voxels")),
        ("Regime", in_toml(&facts.regime)),
        ("Weights", in_toml(&facts.model.weights)),
        (
            "Parameters",
            format!(
                "{} stored, {} degrees of freedom, {} in the model file",
                parameters.stored, parameters.degrees_of_freedom, parameters.composed
            ),
        ),
        ("Epochs", facts.training.epochs.to_string()),
        (
            "Training",
            format!(
                "{} scans aged {youngest:.1} to {oldest:.1} years, {} of them synthetic",
                facts.training.n_training, facts.training.n_synthetic
            ),
        ),
    ];
    if let Some(interval) = &facts.interval {
        let shares = interval.half_widths.iter();
        let shares: Vec<String> = shares
            .map(|half| format!("{:.0} %: ±{:.1}", 100.0 * half.coverage, half.width))
            .collect();
        let unit = match interval.scale {
            Scale::Years => "years",
            Scale::HeadSd => "standard deviations of the head",
        };
        let text = format!("{} {unit}, from {} people", shares.join(", "), interval.n);
        settings.push(("Calibrated intervals", text));
    }
    if let Some(run) = &parts.run {
        let train = &run.config.train;
        let devices: Vec<String> = train.devices.iter().map(ToString::to_string).collect();
        settings.push(("Batch size", train.batch_size.to_string()));
        let rate = format!("learning rate {}", train.optimizer.learning_rate);
        settings.push(("Optimizer", rate));
        settings.push(("Devices in the config", devices.join(", ")));
        if let Some(seconds) = run.seconds {
            settings.push(("Training time", duration(seconds)));
        }
        settings.push(("Run folder", run.folder.clone()));
    }
    let mut seconds: Vec<f64> = rows.iter().filter_map(|row| row.seconds).collect();
    seconds.sort_unstable_by(f64::total_cmp);
    if let Some(middle) = seconds.get(seconds.len() / 2) {
        let text =
            format!("{middle:.2} s a scan (median), preprocessing included where it was new");
        settings.push(("Prediction time", text));
    }
    settings.push(("brainage", facts.training.code_version.clone()));
    settings
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

/// Time of all steps, as far as epochs tell it.
fn seconds(events: &[Event]) -> Option<f64> {
    let mut last_step = 0;
    let mut sum = None;
    for event in events {
        if let Event::Epoch {
            step,
            seconds_per_step,
            ..
        } = event
        {
            let n = step.saturating_sub(last_step) as f64;
            last_step = *step;
            if let Some(each) = seconds_per_step {
                sum = Some(sum.unwrap_or(0.0) + n * each);
            }
        }
    }
    sum
}

fn duration(seconds: f64) -> String {
    if seconds < 120.0 {
        return format!("{seconds:.0} s");
    }
    let minutes = (seconds / 60.0).round() as u64;
    if minutes < 120 {
        return format!("{minutes} min");
    }
    format!("{} h {} min", minutes / 60, minutes % 60)
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
            cpu_seconds_per_step: None,
            peak_memory_bytes: None,
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
