//! `model.safetensors`: everything that prediction needs, in one file.
//!
//! Tensors are the folded network, dense, named `block.K.path`; the metadata key `brainage` holds a [`Description`] as
//! JSON. Version 1. What is loaded is checked: version, hash of the weights, name and shape of every tensor.

mod images;

use std::path::Path;

pub use images::TrainingImages;

use burn::tensor::Device;
use serde::{Deserialize, Serialize};

use crate::engine::seed::Seed;
use crate::engine::target::AgeTarget;
use crate::eval::bias::BiasCorrection;
use crate::eval::conformal::ConformalInterval;
use crate::models::parameters::{self, NamedTensors};
use crate::models::{Block, ModelConfig, Network, ParameterCounts, Regime};
use crate::nn::weight::WeightForm;
use crate::{Error, tensor_file};

const VERSION: u32 = 1;
/// What every model file says of its use.
const INTENDED_USE: &str = "research only; not a medical device, not for diagnosis or treatment";

/// What a model file says about itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Description {
    /// Format of the file.
    pub version: u32,
    /// What its training knew.
    pub facts: ModelFacts,
    /// How many numbers the network has.
    pub parameters: ParameterCounts,
    /// BLAKE3 of the tensors.
    pub weights_hash: String,
    /// What it is for, and what not.
    pub intended_use: String,
}

/// How a model came about.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainingSummary {
    /// Names of the cohorts.
    pub cohorts: Vec<String>,
    /// Scans that trained it.
    pub n_training: usize,
    /// How many of those were made by a program; the ages of a model that learned from any mean nothing for people.
    pub n_synthetic: usize,
    /// Scans that watched it and fitted the age-bias correction.
    pub n_validation: usize,
    /// Scans that only judged it.
    pub n_test: usize,
    /// Youngest and oldest training age, years.
    pub age_range_years: [f64; 2],
    /// Mean absolute error on the validation set, years.
    pub validation_mae_years: Option<f64>,
    /// Passes over the training set.
    pub epochs: u64,
    /// Seed of everything random.
    pub seed: Seed,
    /// Version of the program.
    pub code_version: String,
}

/// What a training knows about its model, besides the weights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelFacts {
    /// Architecture as it was trained; the tensors are folded to dense weights.
    pub model: ModelConfig,
    /// Regime of the training; it decides the blocks.
    pub regime: Regime,
    /// Sides x, y, z of the input.
    pub grid: [usize; 3],
    /// The whole recipe, as TOML: scans must go through it.
    pub recipe: String,
    /// BLAKE3 of the recipe.
    pub recipe_hash: String,
    /// BLAKE3 of the template that scans were registered to.
    pub template_hash: String,
    /// From what the heads say to years.
    pub target: AgeTarget,
    /// Fitted on the validation set only; `None` where it was too small.
    pub bias_correction: Option<BiasCorrection>,
    /// Calibrated interval, fitted on the validation set only; `None` where it was too small.
    #[serde(default)]
    pub interval: Option<ConformalInterval>,
    /// Which images trained it; empty in files of earlier versions.
    #[serde(default)]
    pub training_images: TrainingImages,
    /// How it was trained.
    pub training: TrainingSummary,
}

/// A model that can predict.
#[derive(Clone, Debug)]
pub struct Model {
    /// What the file says.
    pub description: Description,
    /// Dense, for inference.
    pub network: Network,
}

impl Model {
    /// From the blocks of a training.
    pub fn new(facts: ModelFacts, blocks: &[Block]) -> Self {
        let trained = Network {
            blocks: blocks.to_vec(),
        };
        let parameters = trained.parameter_counts();
        let network = trained.fold();
        let weights_hash = tensor_file::hash(&tensors(&network)).to_hex().to_string();
        let description = Description {
            version: VERSION,
            facts,
            parameters,
            weights_hash,
            intended_use: INTENDED_USE.into(),
        };
        Self {
            description,
            network,
        }
    }

    /// The first digits of the weights' hash: how tables of predictions call the model.
    pub fn short_name(&self) -> String {
        self.description.weights_hash.chars().take(12).collect()
    }

    /// Writes the file.
    ///
    /// # Errors
    /// What the file system answered.
    pub fn save(&self, path: &Path) -> Result<(), Error> {
        tensor_file::write(path, &self.description, &tensors(&self.network))
            .map_err(|error| refuse(path, error.to_string()))
    }

    /// Reads and checks a file; the network lives on `device`.
    ///
    /// # Errors
    /// [`Error::Model`] where the file is none of ours, damaged, of another version, or doesn't fit its own
    /// description.
    pub fn load(path: &Path, device: &Device) -> Result<Self, Error> {
        if !path.is_file() {
            return Err(refuse(path, "no such file".into()));
        }
        let (value, tensors) = tensor_file::read::<serde_json::Value>(path)
            .map_err(|error| refuse(path, error.to_string()))?;
        let version = value.get("version").and_then(serde_json::Value::as_u64);
        if version != Some(u64::from(VERSION)) {
            let found = version.map_or("none".to_owned(), |version| version.to_string());
            return Err(refuse(
                path,
                format!("version of the model file is {found}, expected {VERSION}"),
            ));
        }
        let description: Description = serde_json::from_value(value)
            .map_err(|error| refuse(path, format!("not a model file ({error})")))?;
        let found = tensor_file::hash(&tensors).to_hex().to_string();
        if found != description.weights_hash {
            return Err(refuse(
                path,
                "weights are damaged (their hash is not the one in the file)".into(),
            ));
        }
        let network =
            network_of(&description, tensors, device).map_err(|message| refuse(path, message))?;
        Ok(Self {
            description,
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

fn tensors(network: &Network) -> NamedTensors {
    let mut all = NamedTensors::new();
    for (number, block) in network.blocks.iter().enumerate() {
        let named = parameters::take(block).into_iter();
        all.extend(named.map(|(name, data)| (format!("block.{number}.{name}"), data)));
    }
    all
}

fn network_of(
    description: &Description,
    tensors: NamedTensors,
    device: &Device,
) -> Result<Network, String> {
    let dense = ModelConfig {
        weights: WeightForm::Dense,
        ..description.facts.model.clone()
    };
    dense
        .feature_sides(description.facts.grid)
        .map_err(|error| error.to_string())?;
    let network = Network::new(
        &dense,
        description.facts.target.n_outputs(),
        description.facts.regime,
        description.facts.training.seed,
        device,
    )
    .map_err(|error| error.to_string())?;
    let mut by_block: Vec<NamedTensors> = vec![NamedTensors::new(); network.blocks.len()];
    for (name, data) in tensors {
        let rest = name
            .strip_prefix("block.")
            .and_then(|rest| rest.split_once('.'));
        let place = rest.and_then(|(number, rest)| {
            Some((by_block.get_mut(number.parse::<usize>().ok()?)?, rest))
        });
        match place {
            Some((block, rest)) => block.insert(rest.to_owned(), data),
            None => return Err(format!("tensor `{name}` is not part of this network")),
        };
    }
    let blocks = network
        .blocks
        .into_iter()
        .zip(by_block)
        .map(|(block, tensors)| {
            parameters::put(block, tensors).map_err(|misfit| misfit.to_string())
        });
    Ok(Network {
        blocks: blocks.collect::<Result<_, _>>()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::train::{BRAIN_CNN_SMALL, TrainConfig};
    use crate::engine::target::Loss;
    use burn::tensor::{Tensor, Tolerance};

    fn trained(folder: &Path) -> (Network, std::path::PathBuf) {
        trained_as(Regime::Local, &[], folder)
    }

    fn trained_as(
        regime: Regime,
        changes: &[&str],
        folder: &Path,
    ) -> (Network, std::path::PathBuf) {
        let changes: Vec<String> = changes.iter().map(|change| (*change).to_owned()).collect();
        let config =
            TrainConfig::parse(BRAIN_CNN_SMALL, Path::new("small.toml"), &changes).unwrap();
        let network = Network::new(&config.model, 1, regime, Seed(3), &Device::flex()).unwrap();
        let network = config.train.prepared(network, config.model.weights);
        let facts = ModelFacts {
            model: config.model,
            regime,
            grid: [16; 3],
            recipe: "name = \"coarse\"".into(),
            recipe_hash: "0".into(),
            template_hash: "1".into(),
            target: AgeTarget::of(Loss::Mae, &[30.0, 70.0]).unwrap(),
            bias_correction: None,
            interval: None,
            training_images: TrainingImages::default(),
            training: TrainingSummary {
                cohorts: vec!["bids".into()],
                n_training: 8,
                n_synthetic: 8,
                n_validation: 0,
                n_test: 0,
                age_range_years: [20.0, 80.0],
                validation_mae_years: None,
                epochs: 1,
                seed: Seed(3),
                code_version: "0".into(),
            },
        };
        let path = folder.join("model.safetensors");
        Model::new(facts, &network.blocks).save(&path).unwrap();
        (network, path)
    }

    #[test]
    fn a_loaded_model_says_what_the_trained_network_says() {
        check_loaded(Regime::Local, &[]);
    }

    #[test]
    fn so_does_one_of_every_regime_and_design_of_heads_without_what_only_trained() {
        let augmented = "model.head={ augmented = { depth = 1 } }";
        let similarity = "train.auxiliary.similarity=0.5";
        check_loaded(Regime::Backprop, &[augmented, similarity]);
        check_loaded(Regime::Local, &[augmented, similarity]);
        check_loaded(Regime::DeepSupervision, &[augmented, "model.cuts=[1, 3]"]);
        check_loaded(Regime::DeepSupervision, &[similarity]);
        check_loaded(Regime::LocalTogether, &["train.method=man"]);
        check_loaded(Regime::Local, &["train.method=bll"]);
        check_loaded(Regime::Local, &["train.method=infopro-contrast"]);
        check_loaded(Regime::NoProp { blocks: 2 }, &["train.method=no-prop"]);
        check_loaded(Regime::ForwardForward, &[]);
    }

    fn check_loaded(regime: Regime, changes: &[&str]) {
        let folder = tempfile::tempdir().unwrap();
        let (network, path) = trained_as(regime, changes, folder.path());
        let loaded = Model::load(&path, &Device::flex()).unwrap();
        let values: Vec<f32> = (0..4096)
            .map(|i| ((i * 31) % 101) as f32 / 50.0 - 1.0)
            .collect();
        let input = Tensor::<5>::from_data(
            burn::tensor::TensorData::new(values, [1, 1, 16, 16, 16]),
            &Device::flex(),
        );
        let (before, after) = (
            network.outputs(input.clone()),
            loaded.network.outputs(input),
        );
        assert_eq!(before.len(), after.len());
        for (a, b) in before.into_iter().zip(after) {
            // Folding composes the same factors by the same product.
            a.into_data()
                .assert_approx_eq::<f32>(&b.into_data(), Tolerance::absolute(1e-5));
        }
    }

    #[test]
    fn a_file_with_one_byte_changed_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let (_, path) = trained(folder.path());
        let mut bytes = fs_err::read(&path).unwrap();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        fs_err::write(&path, &bytes).unwrap();
        let refused = Model::load(&path, &Device::flex()).unwrap_err().to_string();
        assert!(
            refused.contains("damaged") && refused.contains("model.safetensors"),
            "{refused}"
        );
    }

    #[test]
    fn a_file_of_another_program_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("other.safetensors");
        fs_err::write(&path, b"not safetensors at all").unwrap();
        let refused = Model::load(&path, &Device::flex()).unwrap_err().to_string();
        assert!(refused.contains("other.safetensors"), "{refused}");
        let missing = Model::load(&folder.path().join("none"), &Device::flex()).unwrap_err();
        assert!(missing.to_string().contains("none"));
    }
}
