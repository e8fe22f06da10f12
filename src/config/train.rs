//! The training config: TOML with every key present, changed by `--set section.key=value`, parsed into checked types.
//!
//! There are no defaults in the code: a config says everything, so a run folder's `config.toml` is the whole truth.

use std::path::Path;

use burn::tensor::Device;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

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

use crate::models::{Cuts, ModelConfig, NamedCuts, Network, Regime};
use crate::nn::weight::WeightForm;
use crate::nn::weight_penalty::WeightPenalty;

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
            direct_feedback: self.regime == Regime::DirectFeedback,
            optimizer: self.optimizer.clone(),
            accumulate: self.accumulate,
            average: self.average,
        }
    }

    /// A network as it starts, with what the objective needs of its heads.
    pub fn prepared(&self, network: Network, form: WeightForm) -> Network {
        if self.auxiliary.similarity > 0.0 {
            network.with_similarity(form, self.seed, &Device::flex())
        } else {
            network
        }
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
            (
                "model.head",
                self.model.head.is_valid(),
                "augmented with a depth of 0, expected at least 1",
            ),
        ];
        refuse_first(
            checks
                .into_iter()
                .chain(train.checks())
                .chain(augmentation_checks(&data.augmentation)),
        )?;
        // How many blocks balanced cuts make is known once they are measured.
        let balanced = self.model.cuts == Cuts::Named(NamedCuts::Balanced);
        let n_blocks = match (train.regime, balanced) {
            (Regime::Local, true) => None,
            (Regime::Backprop | Regime::DeepSupervision | Regime::DirectFeedback, true) => Some(1),
            (regime, false) => Some(regime.n_blocks(self.model.part_starts(regime)?.len())),
        };
        train.check_block_factors(n_blocks)
    }
}

/// Keys, whether their values can be, and why not.
pub(crate) type Check = (&'static str, bool, &'static str);

/// The factor on all channels.
pub(crate) fn width_check(width: f64) -> Check {
    let holds = width.is_finite() && width > 0.0;
    ("model.width", holds, "not above 0")
}

/// Refuses the first value that cannot be.
pub(crate) fn refuse_first(checks: impl IntoIterator<Item = Check>) -> Result<(), Error> {
    match checks.into_iter().find(|(_, holds, _)| !holds) {
        Some((key, _, message)) => Err(refusal(key, message)),
        None => Ok(()),
    }
}

impl<L> TrainSection<L> {
    /// What the types don't say, the loss apart.
    pub(crate) fn checks(&self) -> Vec<Check> {
        let share = |v: f64| (0.0..1.0).contains(&v);
        let positive = |v: f64| v.is_finite() && v > 0.0;
        vec![
            ("train.epochs", self.epochs > 0, "0, expected at least 1"),
            (
                "train.batch_size",
                self.batch_size > 0,
                "0, expected at least 1",
            ),
            (
                "train.devices",
                !self.devices.is_empty(),
                "empty, expected at least one device",
            ),
            (
                "train.checkpoint.every_steps",
                self.checkpoint.every_steps > 0,
                "0, expected at least 1",
            ),
            (
                "train.optimizer.learning_rate",
                positive(self.optimizer.learning_rate),
                "not above 0",
            ),
            (
                "train.optimizer.max_gradient_norm",
                positive(self.optimizer.max_gradient_norm),
                "not above 0",
            ),
            (
                "train.accumulate",
                self.accumulate > 0,
                "0, expected at least 1",
            ),
            (
                "train.average",
                share(self.average),
                "not from 0 to below 1",
            ),
            ("train.penalty", self.penalty.is_valid(), "a weight below 0"),
            (
                "train.auxiliary.similarity",
                (0.0..=1.0).contains(&self.auxiliary.similarity),
                "not a share from 0 to 1",
            ),
            (
                "train.auxiliary.similarity",
                self.auxiliary.similarity == 0.0 || self.batch_size >= 2 * self.accumulate,
                "members of a batch are compared, and a part of it has one member alone",
            ),
            (
                "train.auxiliary.weight",
                self.auxiliary.weight.is_finite() && self.auxiliary.weight >= 0.0,
                "below 0",
            ),
            (
                "train.optimizer.momentum",
                share(self.optimizer.momentum),
                "not from 0 to below 1",
            ),
            (
                "train.optimizer.block_factors",
                self.optimizer
                    .block_factors
                    .iter()
                    .all(|factor| positive(*factor)),
                "not above 0",
            ),
            (
                "train.schedule.milestones",
                self.schedule.milestones.is_sorted()
                    && self.schedule.milestones.iter().all(|m| share(*m)),
                "no rising shares from 0 to below 1",
            ),
            (
                "train.schedule.factor",
                positive(self.schedule.factor),
                "not above 0",
            ),
            (
                "train.checkpoint.every_minutes",
                self.checkpoint.every_minutes >= 0.0,
                "below 0",
            ),
            (
                "train.orthogonality.weight",
                self.orthogonality.weight >= 0.0,
                "below 0",
            ),
            (
                "train.schedule.warmup",
                share(self.schedule.warmup),
                "not a share from 0 to below 1",
            ),
        ]
    }

    /// Refuses factors that are none for each block; `None`: not known yet how many there are.
    pub(crate) fn check_block_factors(&self, n_blocks: Option<usize>) -> Result<(), Error> {
        let n_factors = self.optimizer.block_factors.len();
        if n_factors > 0 && n_blocks != Some(n_factors) {
            let n_blocks = n_blocks.map_or("a number not known before".into(), |n| n.to_string());
            return Err(refusal(
                "train.optimizer.block_factors",
                format!("{n_factors} factors, expected none or one for each block ({n_blocks})"),
            ));
        }
        Ok(())
    }
}

fn augmentation_checks(config: &AugmentationConfig) -> [Check; 8] {
    let share = |v: f64| (0.0..1.0).contains(&v);
    let not_negative = |v: f64| v.is_finite() && v >= 0.0;
    [
        (
            "data.augmentation.flip",
            (0.0..=1.0).contains(&config.flip),
            "not a share from 0 to 1",
        ),
        (
            "data.augmentation.max_rotation_degrees",
            (0.0..=180.0).contains(&config.max_rotation_degrees),
            "not from 0 to 180",
        ),
        (
            "data.augmentation.max_scale",
            share(config.max_scale),
            "not from 0 to below 1",
        ),
        (
            "data.augmentation.max_shift_mm",
            not_negative(config.max_shift_mm),
            "below 0",
        ),
        (
            "data.augmentation.gain_sd",
            share(config.gain_sd),
            "not from 0 to below 1",
        ),
        (
            "data.augmentation.gamma_sd",
            share(config.gamma_sd),
            "not from 0 to below 1",
        ),
        (
            "data.augmentation.noise_sd",
            not_negative(config.noise_sd),
            "below 0",
        ),
        (
            "data.augmentation.max_bias",
            share(config.max_bias),
            "not from 0 to below 1",
        ),
    ]
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
