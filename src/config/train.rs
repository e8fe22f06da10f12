//! The training config: TOML with every key present, changed by `--set section.key=value`, parsed into checked types.
//!
//! There are no defaults in the code: a config says everything, so a run folder's `config.toml` is the whole truth.

use std::path::Path;

use burn::tensor::Device;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

mod checks;

use super::method::{self, Method};
use crate::Error;
use crate::data::augment::AugmentationConfig;
use crate::data::sampling::SamplingConfig;
use crate::engine::checkpoint::CheckpointConfig;
use crate::engine::device::DeviceName;
use crate::engine::objective::{AuxiliaryConfig, Objective, OrthogonalityConfig};
use crate::engine::optimizer::OptimizerConfig;
use crate::engine::placement::PlacementRule;
use crate::engine::schedule::ScheduleConfig;
use crate::engine::seed::Seed;
use crate::engine::target::{Loss, Target};
use crate::engine::trainer::SelectionConfig;

use crate::models::{ModelConfig, Network, Regime};
use crate::nn::weight::WeightForm;
use crate::nn::weight_penalty::WeightPenalty;
use checks::augmentation_checks;
pub(crate) use checks::{Check, HeadChoice, refuse_first, weights_check, width_check};

/// The config that `train` takes where none is named.
pub const BRAIN_CNN: &str = include_str!("../../configs/brain-cnn.toml");
/// The small sibling that `demo` takes.
pub const BRAIN_CNN_SMALL: &str = include_str!("../../configs/brain-cnn-small.toml");

/// A whole training config.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainConfig {
    /// What is trained on.
    pub data: DataConfig,
    /// What is trained.
    pub model: ModelConfig,
    /// How it is trained.
    pub train: TrainSection,
}

/// The `[data]` part.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataConfig {
    /// Name of the preprocessing recipe.
    pub recipe: String,
    /// Changes of training volumes.
    pub augmentation: AugmentationConfig,
    /// Which scans an epoch shows.
    pub sampling: SamplingConfig,
    /// Shares of the participants that don't train.
    pub split: SplitConfig,
}

/// The `[data.split]` part.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SplitConfig {
    /// Share for the age-bias correction and for watching the training.
    pub validation: f64,
    /// Share for the evaluation.
    pub test: f64,
}

/// The `[train]` part; `L` is what can be minimized.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainSection<L = Loss> {
    /// A name for what other keys say; none in configs of earlier versions.
    #[serde(default)]
    pub method: Method,
    /// Whether gradients cross from block to block.
    pub regime: Regime,
    /// Passes over the training set.
    pub epochs: u64,
    /// Scans in a batch.
    pub batch_size: usize,
    /// Seed of everything random.
    pub seed: Seed,
    /// Where the blocks live.
    pub devices: Vec<DeviceName>,
    /// How the blocks are placed on them.
    pub placement: PlacementRule,
    /// What is minimized.
    pub loss: L,
    /// Parts of a batch that go through a block one after the other, for one update: less memory, more time.
    pub accumulate: usize,
    /// Decay of a running mean of the weights that is used for inference; 0: none.
    pub average: f64,
    /// What heads that only train learn besides; the task alone in configs of earlier versions.
    #[serde(default = "AuxiliaryConfig::task_alone")]
    pub auxiliary: AuxiliaryConfig,
    /// Batches in a buffer between blocks, out of which they draw; 0: none. Not kept in checkpoints: a training that goes on
    /// fills it anew.
    #[serde(default)]
    pub replay: usize,
    /// How bases are kept orthonormal.
    pub orthogonality: OrthogonalityConfig,
    /// What is minimized of weights besides; nothing in configs of earlier versions.
    #[serde(default)]
    pub penalty: WeightPenalty,
    /// How parameters move.
    pub optimizer: OptimizerConfig,
    /// How the learning rate changes.
    pub schedule: ScheduleConfig,
    /// When the state is saved.
    pub checkpoint: CheckpointConfig,
    /// Which epoch becomes the model, and when to give up.
    pub selection: SelectionConfig,
}

impl<L> TrainSection<L> {
    /// What all blocks have in common, for heads that learn `target`.
    pub fn objective(&self, target: impl Into<Target>) -> Objective {
        Objective {
            seed: self.seed,
            target: target.into(),
            auxiliary: self.auxiliary,
            orthogonality: self.orthogonality,
            penalty: self.penalty,
            regime: self.regime,
            replay: self.replay,
            n_steps: None,
            optimizer: self.optimizer.clone(),
            accumulate: self.accumulate,
            average: self.average,
        }
    }

    /// A network as it starts, with what the objective needs of its heads.
    pub fn prepared(&self, network: Network, form: WeightForm) -> Network {
        let branches = self.auxiliary.branches();
        network.with_branches(branches, form, self.seed, &Device::flex())
    }
}

impl TrainConfig {
    /// Reads a config; `origin` names it in errors. `changes` are `section.key=value`, values as in TOML (a bare word
    /// counts as a string); only keys that exist can be changed. A change of `train.method` changes what the method decides, too.
    ///
    /// # Errors
    /// [`Error::Toml`] with the line of the file, [`Error::Config`] with the key of a change or of a value that
    /// cannot be.
    pub fn parse(text: &str, origin: &Path, changes: &[String]) -> Result<Self, Error> {
        let config: Self = parse(text, origin, changes)?;
        config.check()?;
        Ok(config)
    }

    /// The config as TOML, every key present.
    ///
    /// # Errors
    /// [`Error::Config`] where a value has no TOML form.
    pub fn to_toml(&self) -> Result<String, Error> {
        to_toml(self)
    }

    /// What the types don't say.
    fn check(&self) -> Result<(), Error> {
        let Self { data, train, .. } = self;
        train.method.check(self)?;
        let share = |v: f64| (0.0..1.0).contains(&v);
        let checks = [
            (
                "train.loss",
                train.loss.is_valid(),
                "a number that is not above 0, or bins above 20 years",
            ),
            (
                "data.split",
                share(data.split.validation)
                    && share(data.split.test)
                    && data.split.validation + data.split.test < 1.0,
                "validation and test are no shares that leave something to train on",
            ),
            width_check(self.model.width),
            weights_check(self.model.weights),
            (
                "train.loss",
                train.regime != Regime::ForwardForward
                    || matches!(train.loss, Loss::SoftLabels { .. }),
                "the Forward-Forward rule asks for each answer, and one number has too many; expected soft-labels",
            ),
        ];
        let heads = HeadChoice {
            inner: self.model.head,
            last: self.model.last_head,
        };
        refuse_first(
            checks
                .into_iter()
                .chain(train.checks())
                .chain(train.checks_of_heads(heads))
                .chain(augmentation_checks(&data.augmentation)),
        )?;
        let starts = || self.model.part_starts(train.regime);
        let n_blocks = train.regime.n_blocks_of(&self.model.cuts, starts)?;
        train.check_block_factors(n_blocks)
    }
}

/// A config of any kind, with changes `section.key=value` of keys that it has.
pub(crate) fn parse<C: Serialize + DeserializeOwned>(
    text: &str,
    origin: &Path,
    changes: &[String],
) -> Result<C, Error> {
    let written: C = toml::from_str(text).map_err(|error| toml_error(text, origin, &error))?;
    let mut config = written;
    for change in changes {
        config = with(&config, change)?;
        let key = change.split_once('=').map(|(key, _)| key.trim());
        if key == Some(method::KEY) {
            for setting in method::named_in(&config).settings() {
                config = with(&config, setting)?;
            }
        }
    }
    Ok(config)
}

/// A config of any kind as TOML.
pub(crate) fn to_toml(config: &impl Serialize) -> Result<String, Error> {
    toml::to_string_pretty(config).map_err(|error| refusal("config", error.to_string()))
}

pub(super) fn with<C: Serialize + DeserializeOwned>(config: &C, change: &str) -> Result<C, Error> {
    let refuse = |key: &str, message: &str| Err(refusal(&format!("--set {key}"), message));
    let Some((key, value)) = change.split_once('=') else {
        return refuse(change, "no `=`, expected section.key=value");
    };
    let (key, value) = (key.trim(), value.trim());
    let mut root =
        toml::Value::try_from(config).map_err(|error| refusal(key, error.to_string()))?;
    let mut at = &mut root;
    for part in key.split('.') {
        let Some(next) = at.as_table_mut().and_then(|table| table.get_mut(part)) else {
            return refuse(key, "no such key in the config");
        };
        at = next;
    }
    *at = value_of(value);
    root.try_into()
        .map_err(|error: toml::de::Error| refusal(&format!("--set {key}"), error.message()))
}

pub(crate) fn refusal(key: &str, message: impl Into<String>) -> Error {
    Error::Config {
        key: key.to_owned(),
        message: message.into(),
    }
}

/// A TOML value; what is none is a string.
fn value_of(text: &str) -> toml::Value {
    let table: Result<toml::Table, _> = toml::from_str(&format!("value = {text}"));
    let value = table.ok().and_then(|mut table| table.remove("value"));
    value.unwrap_or_else(|| toml::Value::String(text.to_owned()))
}

/// Where in the file the parser stumbled, on one line.
pub(crate) fn toml_error(text: &str, origin: &Path, error: &toml::de::Error) -> Error {
    let start = error.span().map_or(0, |span| span.start).min(text.len());
    let before = text.get(..start).unwrap_or_default();
    let line = 1 + before.matches('\n').count();
    let message = error
        .message()
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ");
    Error::Toml {
        path: origin.to_path_buf(),
        line,
        message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str, changes: &[&str]) -> Result<TrainConfig, Error> {
        let changes: Vec<String> = changes.iter().map(|change| (*change).to_owned()).collect();
        TrainConfig::parse(text, Path::new("x.toml"), &changes)
    }

    #[test]
    fn the_configs_that_ship_are_whole_and_come_back_from_their_own_toml() {
        for text in [BRAIN_CNN, BRAIN_CNN_SMALL] {
            let config = parse(text, &[]).unwrap();
            assert_eq!(parse(&config.to_toml().unwrap(), &[]).unwrap(), config);
        }
    }

    #[test]
    fn an_unknown_key_is_refused_with_file_line_and_key() {
        let text = BRAIN_CNN.replacen("epochs = 100", "epochs = 100\nepoch = 3", 1);
        let line = 1 + text.lines().position(|l| l == "epoch = 3").unwrap();
        let refused = parse(&text, &[]).unwrap_err().to_string();
        assert!(
            refused.contains("x.toml") && refused.contains("`epoch`"),
            "{refused}"
        );
        assert!(
            refused.contains(&format!("line {line}")),
            "{refused} {line}"
        );
    }

    #[test]
    fn a_set_changes_one_existing_key_and_nothing_else() {
        let changed = parse(
            BRAIN_CNN,
            &[
                "train.regime=backprop",
                "train.optimizer.learning_rate = 0.5",
            ],
        )
        .unwrap();
        let mut expected = parse(BRAIN_CNN, &[]).unwrap();
        expected.train.regime = Regime::Backprop;
        expected.train.optimizer.learning_rate = 0.5;
        assert_eq!(changed, expected);
    }

    #[test]
    fn a_set_of_an_unknown_key_or_an_impossible_value_names_the_key() {
        for (change, key) in [
            ("train.epoch=3", "train.epoch"),
            ("train.epochs=many", "train.epochs"),
            ("train.epochs=0", "train.epochs"),
            ("epochs", "epochs"),
            ("model.cuts=[3, 2]", "model.cuts"),
            (
                "data.augmentation.max_scale=1",
                "data.augmentation.max_scale",
            ),
            ("data.sampling.balance=sex", "data.sampling.balance"),
            ("train.devices=[\"gpu\"]", "train.devices"),
        ] {
            let refused = parse(BRAIN_CNN, &[change]).unwrap_err().to_string();
            assert!(refused.contains(key), "{change}: {refused}");
        }
    }
}
