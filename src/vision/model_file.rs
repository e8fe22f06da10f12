//! `model.safetensors` of a classifier: everything that answers need, in one file; weights are folded to dense ones.

use std::path::Path;

use burn::tensor::Device;
use serde::{Deserialize, Serialize};

use super::dataset::{Dataset, Normalization};
use crate::engine::seed::Seed;
use crate::models::{Block, ImageModelConfig, Network, NetworkDraw, ParameterCounts, Regime};
use crate::nn::weight::WeightForm;
use crate::{Error, tensor_file};

const VERSION: u32 = 1;

/// What the file says of the model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClassifierFacts {
    /// Shapes of the network, as it was trained.
    pub model: ImageModelConfig,
    /// How it was trained.
    pub regime: Regime,
    /// Names of the classes.
    pub classes: Vec<String>,
    /// Side of the images, pixels.
    pub side: usize,
    /// What made their colors numbers around 0.
    pub normalization: Normalization,
    /// What it was trained on.
    pub dataset: Dataset,
    /// Images that it learned from.
    pub n_training: usize,
    /// Passes over them.
    pub epochs: u64,
    /// Seed of the run.
    pub seed: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Description {
    classifier: u32,
    facts: ClassifierFacts,
    parameters: ParameterCounts,
    weights_hash: String,
}

/// A classifier.
#[derive(Clone, Debug)]
pub struct Classifier {
    /// What the file says.
    pub facts: ClassifierFacts,
    /// Numbers of the network as it was trained.
    pub parameters: ParameterCounts,
    /// Dense, for inference.
    pub network: Network,
}

impl Classifier {
    /// From the blocks of a training.
    pub fn new(facts: ClassifierFacts, blocks: Vec<Block>) -> Self {
        let trained = Network { blocks };
        Self {
            facts,
            parameters: trained.parameter_counts(),
            network: trained.fold(),
        }
    }

    /// Writes the file.
    ///
    /// # Errors
    /// What the file system answered.
    pub fn save(&self, path: &Path) -> Result<(), Error> {
        let tensors = self.network.tensors();
        let description = Description {
            classifier: VERSION,
            facts: self.facts.clone(),
            parameters: self.parameters,
            weights_hash: tensor_file::hash(&tensors).to_hex().to_string(),
        };
        tensor_file::write(path, &description, &tensors)
            .map_err(|error| refuse(path, error.to_string()))
    }

    /// Reads and checks a file; the network lives on `device`.
    ///
    /// # Errors
    /// [`Error::Model`] where it is no classifier of ours, damaged, or doesn't fit its own description.
    pub fn load(path: &Path, device: &Device) -> Result<Self, Error> {
        let (value, tensors) = tensor_file::read::<serde_json::Value>(path)
            .map_err(|error| refuse(path, error.to_string()))?;
        if value.get("classifier").and_then(serde_json::Value::as_u64) != Some(u64::from(VERSION)) {
            return Err(refuse(path, format!("no classifier of version {VERSION}")));
        }
        let description: Description = serde_json::from_value(value)
            .map_err(|error| refuse(path, format!("not a model file ({error})")))?;
        if tensor_file::hash(&tensors).to_hex().to_string() != description.weights_hash {
            let message = "weights are damaged (their hash is not the one in the file)";
            return Err(refuse(path, message.into()));
        }
        let facts = description.facts;
        let dense = ImageModelConfig {
            weights: WeightForm::Dense,
            ..facts.model.clone()
        };
        let draw = NetworkDraw {
            n_outputs: facts.classes.len(),
            regime: facts.regime,
            seed: Seed(facts.seed),
            device,
        };
        let network = dense.network(facts.side, draw)?;
        let network = network
            .with_tensors(tensors)
            .map_err(|misfit| refuse(path, misfit.to_string()))?;
        Ok(Self {
            facts,
            parameters: description.parameters,
            network,
        })
    }
}

fn refuse(path: &Path, message: String) -> Error {
    Error::Model {
        path: path.to_path_buf(),
        message,
    }
}
