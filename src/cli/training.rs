//! The way from an index to a trained and judged model, step by step; `brainage train` goes it.

use std::path::PathBuf;

use brainage_cohorts::{Cohort, CohortIndex, IndexRow, Split, SplitFractions};
use brainage_cohorts::{assign_splits, check_leakage, list_cohort};
use brainage_pipelines::atomic::write_atomically;
use brainage_pipelines::batch::{Batch, ScanOutcome, ScanReport, preprocess_scans};
use brainage_pipelines::cache::{Cache, CacheEntry};
use brainage_pipelines::qc::QcVerdict;
use brainage_pipelines::recipe::Recipe;
use brainage_pipelines::template::template;
use burn::tensor::Device;

use crate::Error;
use crate::config::train::TrainConfig;
use crate::data::batch::{AgeScaling, BatchPlan, SampleSource as _};
use crate::data::brain::{BrainSample, BrainSamples};
use crate::engine::checkpoint::Checkpoints;
use crate::engine::device::{self, DeviceName};
use crate::engine::event::{Event, EventSink};
use crate::engine::executor::Pipelined;
use crate::engine::trainer::{Outcome, Training, workers};
use crate::engine::worker::Objective;
use crate::eval::{Case, Evaluation, bias::BiasCorrection, evaluate};
use crate::model_file::{Model, ModelFacts, TrainingSummary};
use crate::models::{Block, Network};
use crate::predict::predictor::AgePredictor;
use crate::predict::table::{PredictionRow, PredictionWriter};
use crate::run::dir::RunDir;
use crate::run::metrics_log::MetricsLog;

use super::{CliError, Context, Printer, Progress};

/// What a training starts from.
pub struct Request<'a> {
    /// Resolved.
    pub config: &'a TrainConfig,
    /// Where everything goes.
    pub run: &'a RunDir,
    /// With splits.
    pub index: &'a CohortIndex,
    /// Volumes.
    pub cache: &'a Cache,
    /// Where the blocks live.
    pub devices: &'a [DeviceName],
    /// Printer and stop flag.
    pub context: &'a Context,
}

/// Lists cohorts and splits their participants.
///
/// # Errors
/// Where a cohort cannot be listed, or one participant came into two splits.
pub fn index_cohorts(
    cohorts: &[Cohort],
    config: &TrainConfig,
    printer: &Printer,
) -> anyhow::Result<CohortIndex> {
    let mut index = CohortIndex { rows: Vec::new() };
    for cohort in cohorts {
        let listing = list_cohort(cohort)?;
        printer.status(&format!(
            "{}: {} scans indexed of {}",
            cohort.name,
            listing.rows.len(),
            listing.scans
        ));
        for (reason, n) in &listing.skipped {
            printer.warning(&format!("{}: {n} skipped: {reason}", cohort.name));
        }
        index.rows.extend(listing.rows);
    }
    let split = config.data.split;
    let fractions = SplitFractions {
        validation: split.validation,
        test: split.test,
    };
    let summary = assign_splits(&mut index, config.train.seed.0, fractions)?;
    for empty in summary.empty_splits() {
        printer.warning(&format!(
            "no scan is in the {empty:?} split: with so few participants that happens"
        ));
    }
    check_leakage(&index)?;
    Ok(index)
}

/// Preprocesses what is missing, trains, predicts the test set and judges; answers how many scans were refused.
///
/// # Errors
/// Where nothing can be learned, a worker stopped or a file cannot be written; [`Error::Stopped`] after Ctrl-C.
pub fn train(request: &Request<'_>) -> anyhow::Result<usize> {
    let Request {
        config,
        run,
        index,
        context,
        ..
    } = request;
    let template = template()?;
    let recipe = Recipe::named(&config.data.recipe)?;
    config.model.feature_sides(recipe.grid.shape.0)?;
    let reports = preprocess(request, &recipe)?;
    let refused = reports
        .iter()
        .filter(|report| report.outcome.entry().is_none());
    let n_refused = refused
        .inspect(|report| warn_of(report, &context.printer))
        .count();

    let of = |split| samples(index, &reports, split, recipe.grid.shape.0);
    let (training, validation) = (of(Split::Train), of(Split::Validation));
    let ages: Vec<f64> = training
        .samples()
        .iter()
        .map(|sample| sample.age_years)
        .collect();
    let scaling = AgeScaling::of(&ages)?;
    let blocks = fit(request, &training, &validation, scaling)?;

    let ages_end = |f: fn(f64, f64) -> f64, start| ages.iter().copied().fold(start, f);
    let summary = TrainingSummary {
        cohorts: cohort_names(index),
        n_training: training.len(),
        n_validation: validation.len(),
        n_test: in_split(index, &reports, Split::Test).count(),
        age_range_years: [ages_end(f64::min, f64::MAX), ages_end(f64::max, f64::MIN)],
        validation_mae_years: None,
        epochs: config.train.epochs,
        seed: config.train.seed,
        code_version: env!("CARGO_PKG_VERSION").into(),
    };
    let facts = |bias_correction, training| ModelFacts {
        model: config.model.clone(),
        regime: config.train.regime,
        grid: recipe.grid.shape.0,
        recipe: recipe.to_toml(),
        recipe_hash: recipe.hash().to_hex().to_string(),
        template_hash: template.hash.to_hex().to_string(),
        scaling,
        bias_correction,
        training,
    };
    Model::new(facts(None, summary.clone()), &blocks).save(&run.model())?;
    let watched = judge(request, &reports, Split::Validation, None)?;
    let correction = BiasCorrection::fit(&watched)
        .map_err(|reason| {
            let said = format!("no age-bias correction: {reason}");
            context.printer.status(&said);
        })
        .ok();
    let validation_mae_years = evaluate(&watched, None, 0).mae;
    let summary = TrainingSummary {
        validation_mae_years,
        ..summary
    };
    Model::new(facts(correction, summary), &blocks).save(&run.model())?;

    let judged = judge(request, &reports, Split::Test, correction.as_ref())?;
    let evaluation = evaluate(&judged, Some(scaling.mean_years), config.train.seed.0);
    write_atomically(&run.evaluation(), |out| {
        Ok(serde_json::to_writer_pretty(out, &evaluation)?)
    })?;
    say(&evaluation, run, &context.printer)?;
    Ok(n_refused)
}

/// Brings all scans of the index into the cache.
fn preprocess(request: &Request<'_>, recipe: &Recipe) -> anyhow::Result<Vec<ScanReport>> {
    let Request {
        index,
        cache,
        run,
        context,
        ..
    } = request;
    let scans: Vec<PathBuf> = index.rows.iter().map(|row| row.scan.clone()).collect();
    let batch = Batch {
        recipe,
        template: template()?,
        cache,
        stop: context.stop.flag(),
    };
    let n_total = Some(scans.len() as u64);
    let progress = context.printer.progress("preprocess", "scans", n_total);
    let reports = preprocess_scans(&scans, &batch, &|_, _| progress.advance(1));
    // What was not begun must not count as refused: the model would be trained on a part of the index.
    if context.stop.is_set() {
        let hint = format!(
            "continue with `brainage train --resume {}`",
            run.path().display()
        );
        let said = "stopped while preprocessing; what is done is in the cache";
        return Err(CliError::failed(said, hint).into());
    }
    Ok(reports)
}

fn say(evaluation: &Evaluation, run: &RunDir, printer: &Printer) -> std::io::Result<()> {
    if evaluation.n > 0 {
        printer.line(&evaluation.to_text())?;
    }
    printer.object(evaluation)?;
    printer.line(&format!("model: `{}`", run.model().display()))
}

fn warn_of(report: &ScanReport, printer: &Printer) {
    if let ScanOutcome::Refused { reason } = &report.outcome {
        printer.warning(&format!("refused: {reason}"));
    }
}

fn cohort_names(index: &CohortIndex) -> Vec<String> {
    let mut names: Vec<String> = index.rows.iter().map(|row| row.cohort.clone()).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// Rows of a split that are in the cache.
fn in_split<'a>(
    index: &'a CohortIndex,
    reports: &'a [ScanReport],
    split: Split,
) -> impl Iterator<Item = (&'a IndexRow, &'a CacheEntry)> {
    let pairs = index
        .rows
        .iter()
        .zip(reports)
        .filter(move |(row, _)| row.split == Some(split));
    pairs.filter_map(|(row, report)| Some((row, report.outcome.entry()?)))
}

/// Samples of a split; what failed quality control neither trains nor watches.
fn samples(
    index: &CohortIndex,
    reports: &[ScanReport],
    split: Split,
    sides: [usize; 3],
) -> BrainSamples {
    let usable = in_split(index, reports, split)
        .filter(|(_, entry)| entry.header.qc.verdict != QcVerdict::Fail);
    let sample = usable.map(|(row, entry)| BrainSample {
        scan: row.scan.clone(),
        entry: entry.clone(),
        age_years: row.age_years.years(),
    });
    BrainSamples::new(sample.collect(), sides)
}

fn fit(
    request: &Request<'_>,
    training: &BrainSamples,
    validation: &BrainSamples,
    scaling: AgeScaling,
) -> anyhow::Result<Vec<Block>> {
    let Request {
        config,
        run,
        devices,
        context,
        ..
    } = request;
    let section = &config.train;
    let checkpoints = Checkpoints::new(run.checkpoints(), section.checkpoint.keep);
    let network = Network::new(&config.model, section.regime, section.seed, &Device::flex())?;
    let n_blocks = network.blocks.len();
    let latest = checkpoints.load_latest(n_blocks)?;
    let (start, states) = latest.map_or_else(Default::default, |c| (c.progress, Some(c.blocks)));
    let objective = Objective {
        seed: section.seed,
        orthogonality: section.orthogonality,
        optimizer: section.optimizer.clone(),
    };
    let executor = Pipelined::start(workers(
        network,
        device::open(devices)?,
        &objective,
        states,
    )?)?;
    let plan = BatchPlan {
        n_samples: training.len(),
        batch_size: section.batch_size,
        seed: section.seed,
    };
    let loop_ = Training {
        training,
        validation,
        scaling,
        augmentation: config.data.augmentation,
        plan,
        epochs: section.epochs,
        learning_rate: section.optimizer.learning_rate,
        schedule: section.schedule,
        checkpoints: &checkpoints,
        checkpoint: section.checkpoint,
        stop: context.stop.flag(),
    };
    let mut sink = RunSink {
        log: MetricsLog::open(&run.metrics(), start.step)?,
        progress: context
            .printer
            .progress("train", "steps", Some(loop_.n_steps())),
    };
    match loop_.run(Box::new(executor), n_blocks, start, &mut sink)? {
        Outcome::Finished(blocks) => Ok(blocks),
        Outcome::Stopped { step } => Err(Error::Stopped {
            step,
            run: run.path().to_path_buf(),
        }
        .into()),
    }
}

/// Events into the log, and a few words of them to the screen.
struct RunSink {
    log: MetricsLog,
    progress: Progress,
}

impl EventSink for RunSink {
    fn emit(&mut self, event: &Event) -> std::io::Result<()> {
        match event {
            Event::Step { step, .. } => self.progress.set(step + 1),
            Event::Epoch { mae_years, .. } => {
                let maes: Vec<String> = mae_years.iter().map(|mae| format!("{mae:.1}")).collect();
                self.progress
                    .note(&format!("MAE by block {} years", maes.join(" ")));
            }
            Event::Validation { .. } | Event::Checkpoint { .. } => {}
        }
        self.log.emit(event)
    }
}

/// Predicts a split, for the test split also what failed quality control; the test split's predictions become the run's table.
fn judge(
    request: &Request<'_>,
    reports: &[ScanReport],
    split: Split,
    correction: Option<&BiasCorrection>,
) -> anyhow::Result<Vec<Case>> {
    let Request { run, index, .. } = request;
    let lane = device::open(&[DeviceName::Cpu])?.pop();
    let lane = lane.ok_or_else(|| Error::Data("no device could be opened".into()))?;
    let predictor = AgePredictor::load(&run.model(), template()?, lane)?;
    let n_blocks = predictor.model.network.blocks.len();
    let mut cases = Vec::new();
    let mut rows = Vec::new();
    let counts =
        |entry: &CacheEntry| split == Split::Test || entry.header.qc.verdict != QcVerdict::Fail;
    for (row, entry) in in_split(index, reports, split).filter(|(_, entry)| counts(entry)) {
        let started = std::time::Instant::now();
        let estimates = predictor.predict(entry)?;
        let Some(predicted_age_years) = estimates.predicted_age_years() else {
            continue;
        };
        let age_years = row.age_years.years();
        let mut case = Case {
            scan: row.scan.display().to_string(),
            participant_id: row.participant_id.to_string(),
            age_years,
            predicted_age_years,
            corrected_age_years: None,
            group_key: row.group_key.clone(),
            cohort: row.cohort.clone(),
            sex: row.sex.to_string(),
        };
        if let Some(correction) = correction {
            case.correct(correction);
        }
        rows.push(PredictionRow {
            scan: case.scan.clone(),
            participant_id: Some(case.participant_id.clone()),
            session_id: row.session_id.as_ref().map(ToString::to_string),
            age_years: Some(age_years),
            predicted_age_years: Some(predicted_age_years),
            gap_years: Some(case.gap_years()),
            corrected_gap_years: case
                .corrected_age_years
                .map(|corrected| corrected - age_years),
            block_ages_years: estimates.block_ages_years,
            qc: Some(entry.header.qc.verdict),
            qc_reasons: entry.header.qc.reasons.clone(),
            recipe: predictor.recipe.name.clone(),
            model: predictor.model.short_name(),
            seconds: Some(started.elapsed().as_secs_f64()),
            error: None,
        });
        cases.push(case);
    }
    if split == Split::Test {
        let mut table = PredictionWriter::create(&run.predictions(), n_blocks)?;
        rows.iter().try_for_each(|row| table.write(row))?;
        table.finish()?;
    }
    Ok(cases)
}
