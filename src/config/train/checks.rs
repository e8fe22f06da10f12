//! What the types of a config don't say: values that cannot be, with their keys.

use super::{TrainSection, refusal};
use crate::Error;
use crate::data::augment::AugmentationConfig;
use crate::models::Regime;
use crate::models::head::HeadKind;
use crate::nn::weight::WeightForm;

/// Keys, whether their values can be, and why not.
pub(crate) type Check = (&'static str, bool, &'static str);

/// The factor on all channels.
pub(crate) fn width_check(width: f64) -> Check {
    let holds = width.is_finite() && width > 0.0;
    ("model.width", holds, "not above 0")
}

/// The heads of a config.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HeadChoice {
    /// Of all parts but the last.
    pub(crate) inner: HeadKind,
    /// Of the last.
    pub(crate) last: HeadKind,
}

/// The share that filters hold.
pub(crate) fn weights_check(weights: WeightForm) -> Check {
    let holds = match weights {
        WeightForm::EigenFilters { percent } => (1..=100).contains(&percent),
        WeightForm::Dense | WeightForm::Eigen => true,
    };
    ("model.weights", holds, "percent not from 1 to 100")
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
        ]
        .into_iter()
        .chain(self.checks_of_auxiliary())
        .chain(self.checks_of_steps())
        .collect()
    }

    /// Heads that are none, or that the regime has no use for.
    pub(crate) fn checks_of_heads(&self, heads: HeadChoice) -> Vec<Check> {
        let HeadChoice { inner, last } = heads;
        vec![
            (
                "model.head",
                inner.is_valid(),
                "no such head: a depth of 0, fewer than 2 states, or a decay not from 0 to 1",
            ),
            (
                "model.last_head",
                last.is_valid() && last.can_be_last(),
                "nothing follows the last head, expected gap-linear, gap-mlp, mlp-sr, drop-cov or latent",
            ),
            (
                "model.head",
                !matches!(inner, HeadKind::Momentum { .. })
                    || matches!(self.regime, Regime::LocalTogether | Regime::DeepSupervision),
                "momentum heads look at the unit that follows, expected train.regime=local-together",
            ),
            (
                "model.last_head",
                !matches!(self.regime, Regime::NoProp { .. })
                    || matches!(last, HeadKind::GapLinear | HeadKind::GapMlp),
                "blocks that read a code of the label have gap-linear or gap-mlp",
            ),
            (
                "train.regime",
                !matches!(self.regime, Regime::NoProp { blocks: 0 | 1 }),
                "fewer than 2 blocks from noise to the label",
            ),
        ]
    }

    /// What heads that only train learn besides, and from what.
    fn checks_of_auxiliary(&self) -> Vec<Check> {
        vec![
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
                "train.auxiliary.reconstruction",
                self.auxiliary
                    .reconstruction
                    .iter()
                    .all(|factor| factor.is_finite() && *factor >= 0.0),
                "a factor below 0",
            ),
            (
                "train.auxiliary.contrast",
                self.auxiliary.contrast.is_finite() && self.auxiliary.contrast >= 0.0,
                "below 0",
            ),
            (
                "train.auxiliary.contrast",
                self.auxiliary.contrast == 0.0 || self.batch_size >= 2 * self.accumulate,
                "members of a batch are compared, and a part of it has one member alone",
            ),
            (
                "train.replay",
                self.replay == 0 || self.regime == Regime::Local,
                "a buffer stands between blocks, expected train.regime=local",
            ),
            (
                "train.auxiliary.weight",
                self.auxiliary.weight.is_finite() && self.auxiliary.weight >= 0.0,
                "below 0",
            ),
        ]
    }

    /// How parameters move, and what they move by.
    fn checks_of_steps(&self) -> Vec<Check> {
        let share = |v: f64| (0.0..1.0).contains(&v);
        let positive = |v: f64| v.is_finite() && v > 0.0;
        vec![
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

pub(super) fn augmentation_checks(config: &AugmentationConfig) -> [Check; 9] {
    let share = |v: f64| (0.0..1.0).contains(&v);
    let not_negative = |v: f64| v.is_finite() && v >= 0.0;
    [
        (
            "data.augmentation.flip",
            (0.0..=1.0).contains(&config.flip),
            "not a share from 0 to 1",
        ),
        (
            "data.augmentation.moved",
            (0.0..=1.0).contains(&config.moved),
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
