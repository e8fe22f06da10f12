//! A model with the recipe that its scans must go through.

use std::path::Path;
use std::time::Instant;

use brainage_pipelines::batch::{ScanOutcome, ScanReport};
use brainage_pipelines::cache::CacheEntry;
use brainage_pipelines::recipe::Recipe;
use brainage_pipelines::template::Template;
use burn::tensor::{Tensor, TensorData};

use crate::Error;
use crate::data::brain::network_input;
use crate::engine::device::Lane;
use crate::model_file::Model;

use super::table::PredictionRow;

/// Predicts ages from cache entries of its model's recipe.
pub struct AgePredictor {
    /// The model.
    pub model: Model,
    /// Its recipe.
    pub recipe: Recipe,
    lane: Lane,
}

/// What a model says of one scan.
#[derive(Clone, Debug, PartialEq)]
pub struct AgeEstimates {
    /// Estimate of each block's head, years; the last one is the prediction.
    pub block_ages_years: Vec<f64>,
}

/// Who was scanned and when, as far as it is known.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Visit {
    /// Who.
    pub participant_id: Option<String>,
    /// At which visit, where there can be several.
    pub session_id: Option<String>,
    /// Chronological age at the scan.
    pub age_years: Option<f64>,
}

impl AgeEstimates {
    /// The predicted age, years.
    pub fn predicted_age_years(&self) -> Option<f64> {
        self.block_ages_years.last().copied()
    }
}

impl AgePredictor {
    /// Loads a model onto a device.
    ///
    /// # Errors
    /// [`Error::Model`] where the file is not whole, or asks for another recipe or template than this program has.
    pub fn load(path: &Path, template: &Template, lane: Lane) -> Result<Self, Error> {
        let refuse = |message: String| Error::Model {
            path: path.to_path_buf(),
            message,
        };
        let model = Model::load(path, &lane.device)?;
        let recipe = Recipe::parse(&model.description.facts.recipe, &path.display().to_string())
            .map_err(|error| refuse(error.to_string()))?;
        if recipe.hash().to_hex().as_str() != model.description.facts.recipe_hash {
            return Err(refuse("recipe and its hash differ".into()));
        }
        if template.hash.to_hex().as_str() != model.description.facts.template_hash {
            return Err(refuse(
                "trained with another template than this program has".into(),
            ));
        }
        if recipe.grid.shape.0 != model.description.facts.grid {
            return Err(refuse(
                "grid of the recipe is not that of the network".into(),
            ));
        }
        Ok(Self {
            model,
            recipe,
            lane,
        })
    }

    /// Predicts from a volume in the cache.
    ///
    /// # Errors
    /// Where the entry is of another recipe or cannot be read, or the network's answer is no number.
    pub fn predict(&self, entry: &CacheEntry) -> Result<AgeEstimates, Error> {
        let [x, y, z] = self.model.description.facts.grid;
        let voxels = network_input(entry)?;
        if voxels.len() != x * y * z {
            return Err(Error::Data(format!("volume is not {x}×{y}×{z} voxels")));
        }
        let data = TensorData::new(voxels, [1, 1, x, y, z]);
        let block_ages_years: Vec<f64> = self.lane.pool.install(|| {
            let input = Tensor::<5>::from_data(data, &self.lane.device);
            let outputs = self.model.network.outputs(input).into_iter();
            let target = self.model.description.facts.target;
            outputs
                .flat_map(|outputs| target.estimates(outputs))
                .map(|estimate| estimate.age_years)
                .collect()
        });
        if block_ages_years.iter().all(|age| age.is_finite()) {
            Ok(AgeEstimates { block_ages_years })
        } else {
            Err(Error::Data("the network's answer is no number".into()))
        }
    }

    /// The row of a scan that was preprocessed or refused. Where the age is known the gap is there too, and the
    /// corrected gap if the model has an age-bias correction that covers the age.
    pub fn row(&self, report: &ScanReport, visit: Visit) -> PredictionRow {
        let started = Instant::now();
        let mut row = PredictionRow {
            scan: report.scan.display().to_string(),
            participant_id: visit.participant_id,
            session_id: visit.session_id,
            age_years: visit.age_years,
            recipe: self.recipe.name.clone(),
            model: self.model.short_name(),
            ..PredictionRow::default()
        };
        match &report.outcome {
            ScanOutcome::Done(entry) | ScanOutcome::Cached(entry) => {
                row.qc = Some(entry.header.qc.verdict);
                row.qc_reasons.clone_from(&entry.header.qc.reasons);
                match self.predict(entry) {
                    Ok(estimates) => {
                        row.predicted_age_years = estimates.predicted_age_years();
                        row.block_ages_years = estimates.block_ages_years;
                    }
                    Err(error) => row.error = Some(error.to_string()),
                }
            }
            ScanOutcome::Refused { reason } => row.error = Some(reason.clone()),
        }
        if let (Some(predicted), Some(age)) = (row.predicted_age_years, row.age_years) {
            let correction = self.model.description.facts.bias_correction;
            row.gap_years = Some(predicted - age);
            row.corrected_gap_years =
                correction.and_then(|line| line.corrected_gap_years(age, predicted));
        }
        row.seconds = Some(report.seconds + started.elapsed().as_secs_f64());
        row
    }
}
