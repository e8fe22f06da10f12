//! A model with the recipe that its scans must go through.

use std::path::Path;

use brainage_pipelines::cache::CacheEntry;
use brainage_pipelines::recipe::Recipe;
use brainage_pipelines::template::Template;
use burn::tensor::{Tensor, TensorData};

use crate::Error;
use crate::data::brain::network_input;
use crate::engine::device::Lane;
use crate::model_file::Model;

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
            let estimates = self.model.network.estimates(input).into_iter();
            let scaling = self.model.description.facts.scaling;
            estimates
                .map(|estimate| scaling.years(estimate.into_scalar::<f32>()))
                .collect()
        });
        if block_ages_years.iter().all(|age| age.is_finite()) {
            Ok(AgeEstimates { block_ages_years })
        } else {
            Err(Error::Data("the network's answer is no number".into()))
        }
    }
}
