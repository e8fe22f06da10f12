//! The way from an index to a trained and judged model, step by step; `brainage train` goes it.

pub(super) mod fit;
pub(super) mod judge;
pub mod left_out;
pub mod place;
mod same_image;
mod watch;

use std::path::PathBuf;

use brainage_cohorts::{Cohort, CohortIndex, Split, SplitFractions, SplitProtocol};
use brainage_cohorts::{assign_splits_by, check_leakage, list_cohort};
use brainage_pipelines::batch::{Batch, ScanOutcome, ScanReport, preprocess_scans};
use brainage_pipelines::cache::Cache;
use brainage_pipelines::format::ReadOptions;
use brainage_pipelines::qc::QcVerdict;
use brainage_pipelines::recipe::{OutputGrid, Recipe};
use brainage_pipelines::template::template;
use burn::tensor::Device;

use crate::Error;
use crate::config::train::{SplitConfig, TrainConfig};
use crate::data::batch::Volumes;
use crate::data::brain::{BrainSample, BrainSamples};
use crate::data::sampling::Draw;
use crate::engine::event::Event;
use crate::engine::seed::Seed;
use crate::engine::target::AgeTarget;
use crate::eval::bias::BiasCorrection;
use crate::eval::conformal::ConformalInterval;
use crate::eval::{Evaluation, evaluate};
use crate::model_file::{Model, ModelFacts, TrainingImages, TrainingSummary};
use crate::models::{Block, Network};
use crate::report::{LeftOut, write_report};
use crate::run::dir::RunDir;
use crate::run::metrics_log;

use super::review::Rejected;
use super::withdrawn::forget_withdrawn;
use super::{CliError, Context, Printer, report};
use place::Placement;

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
    /// Where the blocks live; the config's cuts are those of it.
    pub placement: &'a Placement,
    /// Printer and stop flag.
    pub context: &'a Context,
}

/// Lists cohorts; what the cache holds of withdrawn participants is removed, and scans that a person rejected are left out.
/// What the cohorts hold and the index does not is counted by reason.
///
/// # Errors
/// Where a cohort cannot be listed.
pub(super) fn index_cohorts(
    cohorts: &[Cohort],
    (cache, rejected): (&Cache, &Rejected),
    context: &Context,
) -> anyhow::Result<(CohortIndex, Vec<LeftOut>)> {
    let printer = &context.printer;
    let mut index = CohortIndex { rows: Vec::new() };
    let mut left_out = Vec::new();
    let mut n_rejected = 0;
    for cohort in cohorts {
        let mut listing = list_cohort(cohort)?;
        n_rejected += rejected.leave_out_of(&mut listing);
        printer.status(&format!(
            "{}: {} scans indexed of {}",
            cohort.name,
            listing.rows.len(),
            listing.scans
        ));
        for seen in &listing.recognized_by {
            printer.status(&format!("{}: {seen}", cohort.name));
        }
        for (reason, n) in &listing.skipped {
            printer.warning(&format!("{}: {n} skipped: {reason}", cohort.name));
            left_out.push(LeftOut {
                cohort: cohort.name.clone(),
                reason: reason.clone(),
                n: *n,
            });
        }
        for warning in &listing.warnings {
            printer.warning(&format!("{}: {warning}", cohort.name));
        }
        forget_withdrawn(std::slice::from_ref(&listing), cache, context)?;
        index.rows.extend(listing.rows);
    }
    if let Some(said) = rejected.summary(n_rejected) {
        printer.status(&said);
    }
    Ok((index, left_out))
}

/// Splits the participants of an index; answers which splits are empty.
///
/// # Errors
/// Where the cohort to leave out is none of the index, or one participant came into two splits.
pub(super) fn split_index(
    index: &mut CohortIndex,
    shares: SplitConfig,
    protocol: &SplitProtocol,
    seed: Seed,
) -> anyhow::Result<Vec<Split>> {
    let fractions = SplitFractions {
        validation: shares.validation,
        test: shares.test,
    };
    let summary = assign_splits_by(index, seed.0, fractions, protocol)?;
    check_leakage(index)?;
    Ok(summary.empty_splits())
}

/// Says which splits are empty.
pub(super) fn warn_of_empty(splits: &[Split], printer: &Printer) {
    for empty in splits {
        printer.warning(&format!(
            "no scan is in the {empty:?} split: with so few participants that happens"
        ));
    }
}

/// What came of a training.
pub struct Trained {
    /// Of the model on the test scans.
    pub evaluation: Evaluation,
    /// Scans that preprocessing refused.
    pub n_refused: usize,
}

/// Preprocesses what is missing, trains, predicts the test set and judges.
///
/// # Errors
/// Where nothing can be learned, a worker stopped or a file cannot be written; [`Error::Stopped`] after Ctrl-C.
///
/// [`Error::Stopped`]: crate::Error::Stopped
pub fn train(request: &Request<'_>) -> anyhow::Result<Trained> {
    let Request {
        config,
        run,
        index,
        context,
        ..
    } = request;
    let recipe = Recipe::named(&config.data.recipe)?;
    config.model.feature_sides(recipe.grid.shape.0)?;
    let go_on = format!(
        "continue with `brainage train --resume {}`",
        run.path().display()
    );
    let reports = preprocess(index, &recipe, request.cache, context, &go_on)?;
    let refused = reports
        .iter()
        .filter(|report| report.outcome.entry().is_none());
    let n_refused = refused
        .inspect(|report| warn_of(report, &context.printer))
        .count();

    left_out::add_unusable(run, index, &reports)?;
    same_image::check_images(index, &reports, &context.printer)?;
    let of = |split| samples(index, &reports, split, &recipe.grid);
    let (training, validation) = (of(Split::Train), of(Split::Validation));
    let ages = training
        .samples()
        .iter()
        .map(|sample| sample.age_years)
        .collect::<Vec<f64>>();
    let target = AgeTarget::of(config.train.loss, &ages)?;
    let blocks = fit_blocks(request, &training, &validation, target)?;

    let facts = facts(request, &recipe, target, &training, &reports)?;
    Model::new(facts.clone(), &blocks).save(&run.model())?;
    let watched = judge::validation_cases(request, &reports)?;
    let correction = BiasCorrection::fit(&watched);
    if let Err(reason) = &correction {
        let said = format!("no age-bias correction: {reason}");
        context.printer.status(&said);
    }
    let interval = ConformalInterval::fit(&watched);
    if let Err(reason) = &interval {
        context
            .printer
            .status(&format!("no calibrated interval: {reason}"));
    }
    let facts = ModelFacts {
        bias_correction: correction.ok(),
        interval: interval.ok(),
        training: TrainingSummary {
            validation_mae_years: evaluate(&watched, None, 0).mae,
            ..facts.training
        },
        ..facts
    };
    Model::new(facts, &blocks).save(&run.model())?;

    judge::predict_test(request, &reports)?;
    let evaluation = judge::evaluate_test(request, target.scaling)?;
    write_report(&run.report(), &report::of_run(run, Some(request.cache))?)?;
    Ok(Trained {
        evaluation,
        n_refused,
    })
}

/// Trains the network of the config.
fn fit_blocks(
    request: &Request<'_>,
    training: &BrainSamples,
    validation: &BrainSamples,
    target: AgeTarget,
) -> anyhow::Result<Vec<Block>> {
    let Request {
        config,
        run,
        placement,
        context,
        ..
    } = *request;
    let section = &config.train;
    let (n_outputs, seed) = (target.n_outputs(), section.seed);
    let device = Device::flex();
    let network = Network::new(&config.model, n_outputs, section.regime, seed, &device)?;
    let network = section.prepared(network, config.model.weights);
    let augmentation = config.data.augmentation;
    let (training_volumes, validation_volumes) = (
        Volumes {
            source: training,
            augmentation,
        },
        Volumes {
            source: validation,
            augmentation,
        },
    );
    fit::fit(fit::Fit {
        section,
        network: &network,
        objective: section.objective(target),
        training: &training_volumes,
        validation: &validation_volumes,
        draw: Draw::new(config.data.sampling.balance, training),
        run,
        placement,
        context,
    })
}

/// What the model file says of the training, as far as it is known before the model is judged.
fn facts(
    request: &Request<'_>,
    recipe: &Recipe,
    target: AgeTarget,
    training: &BrainSamples,
    reports: &[ScanReport],
) -> anyhow::Result<ModelFacts> {
    let Request { config, index, .. } = request;
    let n_in = |split| judge::in_split(index, reports, split).count();
    let ages = || training.samples().iter().map(|sample| sample.age_years);
    let synthetic = |sample: &&BrainSample| sample.entry.header.synthetic;
    let samples = training.samples().iter();
    let hashes = samples.map(|sample| sample.entry.header.file_hash.as_str());
    Ok(ModelFacts {
        model: config.model.clone(),
        regime: config.train.regime,
        grid: recipe.grid.shape.0,
        recipe: recipe.to_toml(),
        recipe_hash: recipe.hash().to_hex().to_string(),
        template_hash: template()?.hash.to_hex().to_string(),
        target,
        bias_correction: None,
        interval: None,
        training_images: TrainingImages::of(hashes),
        training: TrainingSummary {
            cohorts: index.cohort_names(),
            n_training: training.samples().len(),
            n_synthetic: training.samples().iter().filter(synthetic).count(),
            n_validation: n_in(Split::Validation),
            n_test: n_in(Split::Test),
            age_range_years: [
                ages().fold(f64::INFINITY, f64::min),
                ages().fold(f64::NEG_INFINITY, f64::max),
            ],
            validation_mae_years: None,
            epochs: config.train.epochs,
            seed: config.train.seed,
            code_version: env!("CARGO_PKG_VERSION").into(),
        },
    })
}

/// Brings all scans of an index into the cache; `go_on` says how to continue where it is stopped.
///
/// # Errors
/// Where it was stopped, or this program has no template.
pub(super) fn preprocess(
    index: &CohortIndex,
    recipe: &Recipe,
    cache: &Cache,
    context: &Context,
    go_on: &str,
) -> anyhow::Result<Vec<ScanReport>> {
    let scans: Vec<PathBuf> = index.rows.iter().map(|row| row.scan.clone()).collect();
    let batch = Batch {
        read: ReadOptions::default(),
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
        let said = "stopped while preprocessing; what is done is in the cache";
        return Err(CliError::failed(said, go_on).into());
    }
    Ok(reports)
}

/// What a run's log tells; nothing where it has none.
///
/// # Errors
/// Where it cannot be read, or a line is no event.
pub(super) fn events(run: &RunDir) -> Result<Vec<Event>, Error> {
    let path = run.metrics();
    if path.is_file() {
        metrics_log::read(&path)
    } else {
        Ok(Vec::new())
    }
}

/// Prints an evaluation, and where model and report are.
pub(super) fn say(evaluation: &Evaluation, run: &RunDir, printer: &Printer) -> std::io::Result<()> {
    if evaluation.n > 0 {
        printer.line(&evaluation.to_text())?;
    }
    printer.object(evaluation)?;
    printer.line(&format!("model: `{}`", run.model().display()))?;
    printer.line(&format!("report: `{}`", run.report().display()))
}

fn warn_of(report: &ScanReport, printer: &Printer) {
    if let ScanOutcome::Refused { reason } = &report.outcome {
        printer.warning(&format!("refused: {reason}"));
    }
}

/// Samples of a split; what failed quality control neither trains nor watches.
pub(super) fn samples(
    index: &CohortIndex,
    reports: &[ScanReport],
    split: Split,
    grid: &OutputGrid,
) -> BrainSamples {
    let samples = judge::in_split(index, reports, split).filter_map(|(row, report)| {
        let entry = report.outcome.entry()?;
        (entry.header.qc.verdict != QcVerdict::Fail).then(|| BrainSample {
            scan: row.scan.clone(),
            entry: entry.clone(),
            age_years: row.age_years.years(),
            cohort: row.cohort.to_string(),
        })
    });
    BrainSamples::new(samples.collect(), grid.shape.0, grid.voxel_size_mm)
}
