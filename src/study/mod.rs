//! Studies: runs that differ in a few settings and in their seeds, each in a folder of its own under one folder.
//!
//! ```text
//! STUDY/
//!   dense_backprop_seed-1/     a run folder, named after what varies
//!   dense_local_seed-1/
//!   …
//!   tuning.csv                 values of a tuned key with their validation errors
//!   table.md  table.csv        a row for each combination of settings
//! ```
//!
//! The runs of one seed come before those of the next, so that a study which is not done yet compares alike many of each.
//! Configs of any kind can be studied ([`recipe::StudyConfig`]); how a run is trained, nothing here knows.

pub mod ages;
pub mod cost;
pub(crate) mod figures;
pub(crate) mod names;
pub mod recipe;
pub(crate) mod settings;
pub mod tuning;

use std::fmt;
use std::str::FromStr;

use crate::Error;
use crate::engine::seed::Seed;
use recipe::StudyConfig;

/// One or more changes of a config that belong together, such as `train.regime=local; model.head=gap-linear`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variant(Vec<String>);

/// A key with several values, such as `model.weights=dense|eigen`; studies try all combinations of several such keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variation(Vec<String>);

/// What a study tries.
#[derive(Clone, Debug)]
pub struct Grid<'a> {
    /// Keys with values, of which all combinations are tried.
    pub variations: &'a [Variation],
    /// Changes that belong together, each with every combination; none: as if there were one without changes.
    pub variants: &'a [Variant],
    /// Values of a key, or other changes, of which the best is sought for each combination; none: nothing is tuned.
    pub tuned: Vec<Variant>,
    /// Seeds that everything is tried with.
    pub seeds: Vec<Seed>,
}

/// A run of a study.
#[derive(Clone, Debug, PartialEq)]
pub struct StudyRun<C> {
    /// Name of its folder.
    pub name: String,
    /// Its changes of the config without that of the tuned key, such as `model.weights=dense; train.regime=local`.
    pub combination: String,
    /// Its change of what is tuned; empty where nothing is.
    pub tuned: String,
    /// Its whole config.
    pub config: C,
}

impl FromStr for Variant {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let changes = text
            .split(';')
            .map(str::trim)
            .filter(|part| !part.is_empty());
        let changes: Vec<String> = changes.map(str::to_owned).collect();
        match changes.iter().find(|change| !change.contains('=')) {
            Some(change) => Err(format!("no `=` in `{change}`, expected section.key=value")),
            None if changes.is_empty() => Err("empty, expected section.key=value".into()),
            None => Ok(Self(changes)),
        }
    }
}

impl FromStr for Variation {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (key, values) = text
            .split_once('=')
            .ok_or_else(|| format!("no `=` in `{text}`, expected section.key=value|value"))?;
        let values = values.split('|').map(str::trim);
        let changes: Vec<String> = values
            .map(|value| format!("{}={value}", key.trim()))
            .collect();
        Ok(Self(changes))
    }
}

impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("; "))
    }
}

impl Variant {
    /// Changes of a config.
    pub fn of(changes: impl IntoIterator<Item = String>) -> Self {
        Self(changes.into_iter().collect())
    }

    /// What is changed, as `--set` takes it.
    pub fn changes(&self) -> &[String] {
        &self.0
    }
}

impl Variation {
    /// Each value by itself.
    pub fn variants(&self) -> Vec<Variant> {
        let each = self.0.iter();
        each.map(|change| Variant(vec![change.clone()])).collect()
    }

    /// A key with values as TOML writes them.
    pub fn of(key: &str, values: impl IntoIterator<Item = String>) -> Self {
        let changes = values.into_iter().map(|value| format!("{key}={value}"));
        Self(changes.collect())
    }
}

/// Numbers of the units that begin a new block, for so many blocks of about as many units each.
///
/// # Errors
/// [`Error::Config`] where there are no blocks, or more than units.
pub fn even_cuts(n_units: usize, n_blocks: usize) -> Result<Vec<usize>, Error> {
    if !(1..=n_units).contains(&n_blocks) {
        return Err(Error::Config {
            key: "model.cuts".into(),
            message: format!("{n_units} units don't make {n_blocks} blocks"),
        });
    }
    Ok((1..n_blocks).map(|i| i * n_units / n_blocks).collect())
}

/// All runs of a study: each combination of the variations with each variant, each value of the tuned key and each seed.
/// `config` makes a config of changes; those of a variant come last, after that of the tuned key.
///
/// # Errors
/// [`Error::Config`] where a change cannot be, or two runs would have one name.
pub fn runs<C: StudyConfig>(
    grid: &Grid<'_>,
    config: impl Fn(&[String]) -> Result<C, Error>,
) -> Result<Vec<StudyRun<C>>, Error> {
    let mut values: Vec<Vec<String>> = vec![Vec::new()];
    for Variation(of_key) in grid.variations {
        let longer = values.iter().flat_map(|known| {
            let with = |change: &String| [known.clone(), vec![change.clone()]].concat();
            of_key.iter().map(with)
        });
        values = longer.collect();
    }
    let (tuned, variants) = (or_unchanged(&grid.tuned), or_unchanged(grid.variants));
    let mut runs: Vec<StudyRun<C>> = Vec::new();
    for seed in &grid.seeds {
        for values in &values {
            for tuned in &tuned {
                for variant in &variants {
                    let changes = [values.as_slice(), &tuned.0, &variant.0].concat();
                    let name = name_of(&changes, *seed);
                    if runs.iter().any(|run| run.name == name) {
                        return Err(Error::Config {
                            key: "study".into(),
                            message: format!("two runs would be called `{name}`"),
                        });
                    }
                    runs.push(StudyRun {
                        name,
                        combination: [values.as_slice(), &variant.0].concat().join("; "),
                        tuned: tuned.to_string(),
                        config: config(&changes)?.with_seed(*seed),
                    });
                }
            }
        }
    }
    Ok(runs)
}

/// Of nothing to try, one that changes nothing.
fn or_unchanged(variants: &[Variant]) -> Vec<Variant> {
    if variants.is_empty() {
        vec![Variant(Vec::new())]
    } else {
        variants.to_vec()
    }
}

/// `dense_local_augmented-depth-2_seed-1`.
fn name_of(changes: &[String], seed: Seed) -> String {
    let values = changes
        .iter()
        .filter_map(|change| change.split_once('='))
        .map(|(_, value)| in_letters(value));
    let mut parts: Vec<String> = values.collect();
    parts.push(format!("seed-{}", seed.0));
    parts.join("_")
}

/// A value with what may not stand in the name of a folder as `-`; an empty list is `none`.
fn in_letters(value: &str) -> String {
    let letters = |c: char| c.is_ascii_alphanumeric() || c == '.';
    let parts = value.split(|c| !letters(c)).filter(|part| !part.is_empty());
    let text = parts.collect::<Vec<_>>().join("-");
    if text.is_empty() { "none".into() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    use crate::vision::config::VisionConfig;

    const SMALL: &str = include_str!("../../configs/vision/cifar10-resnet18-small.toml");

    /// With seed 1, where no other is given.
    fn grid<'a>(variations: &'a [Variation], variants: &'a [Variant]) -> Grid<'a> {
        Grid {
            variations,
            variants,
            tuned: Vec::new(),
            seeds: vec![Seed(1)],
        }
    }

    fn names(runs: &[StudyRun<VisionConfig>]) -> Vec<&str> {
        runs.iter().map(|run| run.name.as_str()).collect()
    }

    fn config(changes: &[String]) -> Result<VisionConfig, Error> {
        VisionConfig::parse(SMALL, Path::new("small.toml"), changes)
    }

    #[test]
    fn a_study_has_each_combination_of_values_and_variants_seed_after_seed() {
        let weights: Variation = "model.weights=dense|eigen".parse().unwrap();
        let variants: Vec<Variant> = [
            "train.regime=backprop",
            "train.regime=local; model.head={ augmented = { depth = 2 } }",
        ]
        .map(|text| text.parse().unwrap())
        .into();
        let weights = [weights];
        let grid = Grid {
            seeds: vec![Seed(1), Seed(2)],
            ..grid(&weights, &variants)
        };
        let runs = runs(&grid, config).unwrap();
        assert_eq!(
            names(&runs)[..5],
            [
                "dense_backprop_seed-1",
                "dense_local_augmented-depth-2_seed-1",
                "eigen_backprop_seed-1",
                "eigen_local_augmented-depth-2_seed-1",
                "dense_backprop_seed-2",
            ]
        );
        assert_eq!(runs.len(), 8);
        let last = &runs[7].config;
        let expected = [
            "model.weights=eigen",
            "model.head={ augmented = { depth = 2 } }",
            "train.seed=2",
        ];
        let expected = config(&expected.map(str::to_owned)).unwrap();
        assert_eq!(*last, expected);
    }

    #[test]
    fn a_tuned_key_names_folders_as_one_more_variation_before_the_variant() {
        let method: Variation = "train.method=backprop|dgl".parse().unwrap();
        let rate: Variation = "train.optimizer.learning_rate=5e-4|2e-3".parse().unwrap();
        let head: Variant = "train.average=0.9".parse().unwrap();
        let (varied, both, heads) = ([method.clone()], [method, rate.clone()], [head]);
        let tuned = Grid {
            tuned: rate.variants(),
            ..grid(&varied, &heads)
        };
        let tuned = runs(&tuned, config).unwrap();
        let varied = runs(&grid(&both, &heads), config).unwrap();
        assert_eq!(names(&tuned)[1], "backprop_2e-3_0.9_seed-1");
        assert_eq!(names(&tuned), names(&varied));
        assert_eq!(tuned[1].config, varied[1].config);
        assert_eq!(
            tuned[1].combination,
            "train.method=backprop; train.average=0.9"
        );
        assert_eq!(tuned[1].tuned, "train.optimizer.learning_rate=2e-3");
        assert_eq!(varied[1].tuned, "");
    }

    #[test]
    fn what_is_no_change_and_runs_of_one_name_are_refused() {
        assert!("train.regime".parse::<Variant>().is_err());
        assert!(" ; ".parse::<Variant>().is_err());
        assert!("model.weights".parse::<Variation>().is_err());
        let twice: Variation = "train.epochs=1|1".parse().unwrap();
        let refused = runs(&grid(&[twice], &[]), config).unwrap_err();
        assert!(refused.to_string().contains("1_seed-1"), "{refused}");
        let unknown: Variation = "train.wings=1|2".parse().unwrap();
        let refused = runs(&grid(&[unknown], &[]), config).unwrap_err();
        assert!(refused.to_string().contains("train.wings"), "{refused}");
    }

    #[test]
    fn even_cuts_make_blocks_whose_units_differ_by_one_at_most() {
        for n_units in 1..20 {
            for n_blocks in 1..=n_units {
                let cuts = even_cuts(n_units, n_blocks).unwrap();
                let ends: Vec<usize> = [vec![0], cuts, vec![n_units]].concat();
                let sizes = ends.windows(2).map(|pair| pair[1] - pair[0]);
                let (least, most) = (sizes.clone().min().unwrap(), sizes.clone().max().unwrap());
                assert_eq!(sizes.count(), n_blocks);
                assert!(least >= 1 && most - least <= 1, "{n_units} {n_blocks}");
            }
        }
        assert_eq!(even_cuts(9, 4).unwrap(), [2, 4, 6]);
        assert!(even_cuts(9, 0).is_err() && even_cuts(9, 10).is_err());
    }

    #[test]
    fn a_variation_of_cuts_names_its_runs_after_them() {
        let values = [Vec::new(), vec![4], vec![3, 6]].map(|cuts: Vec<usize>| format!("{cuts:?}"));
        let cuts = Variation::of("model.cuts", values);
        let runs = runs(&grid(&[cuts], &[]), config).unwrap();
        assert_eq!(names(&runs), ["none_seed-1", "4_seed-1", "3-6_seed-1"]);
        assert_eq!(
            runs[2].config.model.cuts,
            crate::models::Cuts::Before(vec![3, 6])
        );
    }
}
