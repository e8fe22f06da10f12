//! The predictor as the viewer asks for it: a scan file in, a prediction out.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use brainage_pipelines::batch::{Batch, ScanOutcome, preprocess_scans};
use brainage_pipelines::cache::Cache;
use brainage_pipelines::format::ReadOptions;
use brainage_pipelines::template::template;
use brainage_viewer::{Prediction, Predictor};

use super::predictor::{AgePredictor, PredictSettings};
use crate::Error;
use crate::engine::device::{DeviceName, open_one};

struct ViewPredictor {
    predictor: AgePredictor,
    cache: Cache,
}

/// A predictor for the viewer, on the CPU; volumes go through the cache in `cache`.
///
/// # Errors
/// Where the model is unusable or the cache cannot be opened.
pub fn view_predictor(model: &Path, cache: &Path) -> Result<Arc<dyn Predictor>, Error> {
    let data = |error: brainage_pipelines::Error| Error::Data(error.to_string());
    let lane = open_one(DeviceName::Cpu)?;
    let predictor = AgePredictor::load(
        &[model.to_path_buf()],
        template().map_err(data)?,
        lane,
        PredictSettings::default(),
    )?;
    let cache = Cache::open(cache).map_err(data)?;
    Ok(Arc::new(ViewPredictor { predictor, cache }))
}

impl Predictor for ViewPredictor {
    fn name(&self) -> String {
        self.predictor.name()
    }

    fn predict(&self, path: &Path, progress: &dyn Fn(&str)) -> Result<Prediction, String> {
        progress("preprocessing");
        let (never, template) = (
            AtomicBool::new(false),
            template().map_err(|e| e.to_string())?,
        );
        let batch = Batch {
            read: ReadOptions::default(),
            recipe: &self.predictor.recipe,
            template,
            cache: &self.cache,
            stop: &never,
        };
        let reports = preprocess_scans(&[path.to_path_buf()], &batch, &|_, _| {});
        let entry = match reports.into_iter().next().map(|report| report.outcome) {
            Some(ScanOutcome::Done(entry) | ScanOutcome::Cached(entry)) => entry,
            Some(ScanOutcome::Refused { reason }) => return Err(reason),
            None => return Err("the scan was not preprocessed".into()),
        };
        progress("predicting");
        let estimates = self
            .predictor
            .predict(&entry)
            .map_err(|error| error.to_string())?;
        Ok(Prediction {
            predicted_age_years: estimates.predicted_age_years(),
            block_ages_years: estimates.block_ages_years,
            qc: entry.header.qc.verdict.to_string(),
            qc_reasons: entry.header.qc.reasons.clone(),
            model: self.name(),
            ..Prediction::default()
        })
    }
}
