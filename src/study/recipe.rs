//! What of a config makes runs alike: they may differ by seed, devices, checkpoints and place of the data, and stand in one
//! row of a table.

use std::path::Path;

use crate::Error;
use crate::config::method::Method;
use crate::config::train::{TrainConfig, TrainSection};
use crate::engine::objective::AuxiliaryConfig;
use crate::engine::seed::Seed;
use crate::models::head::HeadKind;
use crate::models::{Cuts, NamedCuts};

use super::names::of_method;

/// A config that studies vary.
pub trait StudyConfig: Clone + PartialEq {
    /// What errors of its runs are in.
    const ERROR_UNIT: &'static str;

    /// Reads a config; see [`TrainConfig::parse`].
    ///
    /// # Errors
    /// As there.
    fn parse(text: &str, origin: &Path, changes: &[String]) -> Result<Self, Error>;

    /// The config as TOML, every key present.
    ///
    /// # Errors
    /// [`Error::Config`] where a value has no TOML form.
    fn to_toml(&self) -> Result<String, Error>;

    /// Seed of the run.
    fn seed(&self) -> Seed;

    /// The same config with another seed.
    fn with_seed(self, seed: Seed) -> Self;

    /// The config without what may differ between runs of one recipe.
    fn recipe(&self) -> Self;
}

/// Whether two runs may stand in one row.
pub fn same_recipe<C: StudyConfig>(a: &C, b: &C) -> bool {
    a.recipe() == b.recipe()
}

/// Entries of one recipe together, with it, in the order of the first of each.
pub(crate) fn by_recipe<'a, C: StudyConfig, E>(
    entries: &'a [E],
    config: impl Fn(&E) -> &C,
) -> Vec<(C, Vec<&'a E>)> {
    let mut groups: Vec<(C, Vec<&'a E>)> = Vec::new();
    for entry in entries {
        let recipe = config(entry).recipe();
        match groups.iter_mut().find(|(known, _)| *known == recipe) {
            Some((_, members)) => members.push(entry),
            None => groups.push((recipe, vec![entry])),
        }
    }
    groups
}

/// Takes from a training what may differ between runs of one recipe, and the settings of heads that it does not have.
pub(crate) fn forget_seed_and_place<L>(
    train: &mut TrainSection<L>,
    (cuts, head): (&mut Cuts, &mut HeadKind),
) {
    train.seed = Seed(0);
    train.devices.clear();
    train.checkpoint.every_steps = 1;
    train.checkpoint.every_minutes = 0.0;
    train.checkpoint.keep = 1;
    if of_method(train.method).is_none() {
        // The name says nothing that the keys don't say.
        train.method = Method::Custom;
    }
    if !train.regime.is_cut() {
        // Without heads that only train their settings have no effect.
        *cuts = Cuts::Named(NamedCuts::Published);
        *head = HeadKind::GapLinear;
        train.auxiliary = AuxiliaryConfig::task_alone();
    }
}

impl StudyConfig for TrainConfig {
    const ERROR_UNIT: &'static str = "years";

    fn parse(text: &str, origin: &Path, changes: &[String]) -> Result<Self, Error> {
        Self::parse(text, origin, changes)
    }

    fn to_toml(&self) -> Result<String, Error> {
        self.to_toml()
    }

    fn seed(&self) -> Seed {
        self.train.seed
    }

    fn with_seed(mut self, seed: Seed) -> Self {
        self.train.seed = seed;
        self
    }

    fn recipe(&self) -> Self {
        let mut same = self.clone();
        let model = &mut same.model;
        forget_seed_and_place(&mut same.train, (&mut model.cuts, &mut model.head));
        same
    }
}
