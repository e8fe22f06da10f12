//! Seconds a scan of batch prediction, next to its parts alone on one core.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use brainage_pipelines::batch::{Batch, ScanReport, preprocess_scans};
use brainage_pipelines::cache::Cache;
use brainage_pipelines::format::ReadOptions;
use brainage_pipelines::template::Template;
use serde::Serialize;

use crate::Error;
use crate::engine::device::{Lane, cpu_with_threads, n_cores};
use crate::predict::predictor::{AgePredictor, PredictSettings, Visit};
use crate::predict::stream::predict_stream;
use crate::process::{forget_peak, peak};

/// One measurement over all scans.
#[derive(Clone, Debug, Serialize)]
pub struct PredictBench {
    /// `predict/WHAT`.
    pub name: String,
    /// What was measured.
    pub what: &'static str,
    /// Threads that preprocess, and threads of the network.
    pub threads: [usize; 2],
    /// Seconds a scan.
    pub seconds: f64,
    /// Scans that were measured.
    pub scans: usize,
    /// Most resident memory of the process meanwhile, 10^6 bytes; where the system tells it.
    pub peak_mb: Option<f64>,
}

/// Takes the scans through preprocessing alone on one thread, through the network alone on one thread, and through both at
/// once on all cores; past any cache but new ones in `folder`.
///
/// # Errors
/// Where the model or a scan is refused, or a cache cannot be made.
pub fn measure_prediction(
    scans: &[PathBuf],
    model: &Path,
    template: &Template,
    folder: &Path,
) -> Result<Vec<PredictBench>, Error> {
    let load =
        |lane: Lane| AgePredictor::load(&[model.to_path_buf()], lane, PredictSettings::default());
    let never = AtomicBool::new(false);
    let cache = |name: &str| {
        Cache::open(&folder.join(name)).map_err(|error| Error::Data(error.to_string()))
    };
    let alone = load(cpu_with_threads(1)?)?;
    let (warm_up, first, second) = (cache("warm")?, cache("alone")?, cache("together")?);
    let batch = |cache| Batch {
        read: ReadOptions::default(),
        recipe: &alone.recipe,
        template,
        cache,
        stop: &never,
    };
    let row = |what, threads, seconds: f64| PredictBench {
        name: format!("predict/{what}"),
        what,
        threads,
        seconds: seconds / scans.len().max(1) as f64,
        scans: scans.len(),
        peak_mb: peak().map(|peak| peak as f64 / 1e6),
    };

    // The template's pyramid and all else that is made once.
    let warm = scans.get(..1).unwrap_or_default();
    preprocess_scans(warm, &batch(&warm_up), &|_, _| {});
    forget_peak().ok();
    let begun = Instant::now();
    let one = rayon::ThreadPoolBuilder::new().num_threads(1).build();
    let one = one.map_err(|error| Error::Data(error.to_string()))?;
    let reports = one.install(|| preprocess_scans(scans, &batch(&first), &|_, _| {}));
    let mut rows = vec![row("preprocessing", [1, 0], begun.elapsed().as_secs_f64())];
    refuse_refused(&reports)?;

    forget_peak().ok();
    if let Some(report) = reports.first() {
        alone.row(report, Visit::default());
    }
    let begun = Instant::now();
    for report in &reports {
        alone.row(report, Visit::default());
    }
    rows.push(row("network", [0, 1], begun.elapsed().as_secs_f64()));

    let cores = n_cores();
    let together = load(cpu_with_threads(cores)?)?;
    forget_peak().ok();
    let begun = Instant::now();
    let told = predict_stream(
        scans,
        &batch(&second),
        cores,
        &mut |report| together.row(report, Visit::default()),
        &mut |_| Ok::<(), Error>(()),
    )?;
    let seconds = begun.elapsed().as_secs_f64();
    if told < scans.len() {
        return Err(Error::Data("not every scan was predicted".into()));
    }
    rows.push(row("together", [cores, cores], seconds));
    Ok(rows)
}

fn refuse_refused(reports: &[ScanReport]) -> Result<(), Error> {
    let refused = reports
        .iter()
        .find(|report| report.outcome.entry().is_none());
    match refused {
        None => Ok(()),
        Some(report) => Err(Error::Data(format!(
            "a scan was refused, give whole ones: `{}`",
            report.scan.display()
        ))),
    }
}
