//! The predictor as the viewer asks for it: a scan file in, a prediction out.

use std::path::Path;
use std::sync::Arc;

use brainage_pipelines::batch::{Batch, preprocess_scan};
use brainage_pipelines::cache::Cache;
use brainage_pipelines::format::ReadOptions;
use brainage_pipelines::preprocess::Stage;
use brainage_pipelines::recipe::Recipe;
use brainage_pipelines::template::template;
use brainage_viewer::{Prediction, Predictor, Watch, share_after, words};

use super::predictor::{AgePredictor, PredictSettings, Visit};
use super::row::PredictionRow;
use crate::Error;
use crate::engine::device::{DeviceName, open_one};

/// Share of the whole that preprocessing is; the rest is the network.
const PREPROCESSING: f32 = 0.9;

struct ViewPredictor {
    predictor: AgePredictor,
    cache: Cache,
}

/// A predictor for the viewer, on the CPU, with the recipe that its scans go through; volumes go through the cache in
/// `cache`.
///
/// # Errors
/// Where the model is unusable or the cache cannot be opened.
pub fn view_predictor(model: &Path, cache: &Path) -> Result<(Arc<dyn Predictor>, Recipe), Error> {
    let data = |error: brainage_pipelines::Error| Error::Data(error.to_string());
    let lane = open_one(DeviceName::Cpu)?;
    let predictor = AgePredictor::load(&[model.to_path_buf()], lane, PredictSettings::default())?;
    let recipe = predictor.recipe.clone();
    let cache = Cache::open(cache).map_err(data)?;
    Ok((Arc::new(ViewPredictor { predictor, cache }), recipe))
}

/// A row of `predictions.csv` as the viewer shows it.
pub fn prediction_of(row: PredictionRow) -> Prediction {
    Prediction {
        predicted_age_years: row.predicted_age_years,
        interval_years: row.interval_years(),
        corrected_gap_years: row.corrected_gap_years,
        block_ages_years: row.block_ages_years,
        qc: row.qc.map(|qc| qc.to_string()).unwrap_or_default(),
        qc_reasons: row.qc_reasons,
        model: row.model,
        error: row.error,
    }
}

impl Predictor for ViewPredictor {
    fn name(&self) -> String {
        self.predictor.name()
    }

    fn predict(
        &self,
        path: &Path,
        age_years: Option<f64>,
        watch: Watch<'_>,
    ) -> Result<Prediction, String> {
        let template = template().map_err(|error| error.to_string())?;
        let batch = Batch {
            read: ReadOptions::default(),
            recipe: &self.predictor.recipe,
            template,
            cache: &self.cache,
            stop: watch.canceled,
        };
        watch.tell(words(None), 0.0);
        let (sender, stages) = std::sync::mpsc::channel();
        let report = std::thread::scope(|scope| {
            let batch = &batch;
            let made = scope.spawn(move || {
                let after = |stage: Stage| {
                    // Nobody listens any more only if the viewer is closing.
                    sender.send(stage).ok();
                };
                preprocess_scan(path, batch, &after)
            });
            for stage in stages {
                watch.tell(words(Some(stage)), PREPROCESSING * share_after(stage));
            }
            made.join()
        });
        let report = report.map_err(|_panic| "preprocessing stopped unexpectedly".to_owned())?;
        if watch.is_canceled() {
            return Err("the prediction was canceled".to_owned());
        }
        watch.tell("predicting", PREPROCESSING);
        let visit = Visit {
            age_years,
            ..Visit::default()
        };
        let mut prediction = prediction_of(self.predictor.row(&report, visit));
        let is_real = report
            .outcome
            .entry()
            .is_some_and(|entry| !entry.header.synthetic);
        let models = self.predictor.models().iter();
        let n_synthetic: usize = models
            .map(|model| model.description.facts.training.n_synthetic)
            .sum();
        if is_real && n_synthetic > 0 {
            prediction.qc_reasons.push(format!(
                "{n_synthetic} training scans of this model were synthetic heads: its age of a real scan means nothing"
            ));
        }
        match prediction.error {
            Some(reason) => Err(reason),
            None => Ok(prediction),
        }
    }
}
