//! Which scans are trained on, validated on and tested on.
//!
//! Rows of an index go in, the same rows with their split come out. The unit is the group key (the family where
//! known, else the participant), so no one is ever on both sides.
//!
//! The split of a group depends on its key and the seed alone: adding, removing or reordering subjects, or adding
//! a later scan of someone, moves nobody. A rule with this property cannot fill exact quotas. Every stratum (cohort ×
//! sex × age bin) is divided in the asked fractions *in expectation*, so large strata come close and small ones vary
//! by chance: with few subjects a split can be empty. [`SplitSummary`] has the counts; look at
//! [`SplitSummary::empty_splits`] before relying on one.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::str::FromStr;

use crate::error::{Error, ValueError};
use crate::index::{CohortIndex, IndexRow, Split};
use crate::participant::Sex;

/// Width of an age bin, years.
pub const AGE_BIN_YEARS: f64 = 5.0;

/// Shares of the groups that are not trained on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SplitFractions {
    /// Share of validation, 0 to 1.
    pub validation: f64,
    /// Share of test, 0 to 1.
    pub test: f64,
}

/// People of one cohort, sex and age bin.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stratum {
    /// The cohort's name.
    pub cohort: String,
    /// Sex of the group's youngest scan.
    pub sex: Sex,
    /// Where the age bin begins, years.
    pub from_age_years: u32,
}

/// How many groups went where.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SplitCounts {
    /// Groups that are trained on.
    pub train: usize,
    /// Groups of validation.
    pub validation: usize,
    /// Groups of test.
    pub test: usize,
}

impl SplitCounts {
    /// Groups of one split.
    pub fn of(&self, split: Split) -> usize {
        match split {
            Split::Train => self.train,
            Split::Validation => self.validation,
            Split::Test => self.test,
        }
    }

    fn add(&mut self, split: Split) {
        match split {
            Split::Train => self.train += 1,
            Split::Validation => self.validation += 1,
            Split::Test => self.test += 1,
        }
    }
}

/// What [`assign_splits`] did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SplitSummary {
    /// Groups of all strata.
    pub groups: SplitCounts,
    /// Groups of each stratum.
    pub strata: BTreeMap<Stratum, SplitCounts>,
}

impl SplitSummary {
    /// Splits without a single group, as happens by chance when there are few.
    pub fn empty_splits(&self) -> Vec<Split> {
        let splits = [Split::Train, Split::Validation, Split::Test];
        splits
            .into_iter()
            .filter(|&split| self.groups.of(split) == 0)
            .collect()
    }
}

/// Which groups are tested on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum SplitProtocol {
    /// A share of the groups of every cohort: `hash`.
    #[default]
    Hash,
    /// One of `n` equal parts: `kfold:5:0` to `kfold:5:4`. Every group is tested on in exactly one of them.
    Fold {
        /// How many parts, at least 2.
        n: u32,
        /// Which of them, from 0.
        fold: u32,
    },
    /// A whole cohort, which nothing is learned from: `loco:adni`.
    LeaveCohortOut(String),
}

impl FromStr for SplitProtocol {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let parts: Vec<_> = text.split(':').collect();
        let found = match parts.as_slice() {
            ["hash"] => Some(Self::Hash),
            ["kfold", n, fold] => n
                .parse()
                .ok()
                .zip(fold.parse().ok())
                .filter(|&(n, fold)| n >= 2 && fold < n)
                .map(|(n, fold)| Self::Fold { n, fold }),
            ["loco", cohort] if !cohort.is_empty() => {
                Some(Self::LeaveCohortOut((*cohort).to_owned()))
            }
            _ => None,
        };
        found.ok_or_else(|| ValueError {
            what: "split",
            found: text.to_owned(),
            expected: "hash, kfold:N:I with I from 0 to N - 1, or loco:COHORT",
        })
    }
}

impl fmt::Display for SplitProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hash => f.write_str("hash"),
            Self::Fold { n, fold } => write!(f, "kfold:{n}:{fold}"),
            Self::LeaveCohortOut(cohort) => write!(f, "loco:{cohort}"),
        }
    }
}

/// Gives every row its split, over what it had: the share `fractions.test` of the groups is tested on.
///
/// # Errors
/// [`Error::Fractions`] unless both are at least 0 and their sum is below 1.
pub fn assign_splits(
    index: &mut CohortIndex,
    seed: u64,
    fractions: SplitFractions,
) -> Result<SplitSummary, Error> {
    assign_splits_by(index, seed, fractions, &SplitProtocol::Hash)
}

/// Gives every row its split, over what it had. With folds, or a cohort left out, `fractions.test` is not looked at and
/// `fractions.validation` is a share of the groups that are not tested on.
///
/// # Errors
/// [`Error::Fractions`] unless both are at least 0 and their sum is below 1; [`Error::UnknownCohort`] if the cohort to be
/// left out has no row.
pub fn assign_splits_by(
    index: &mut CohortIndex,
    seed: u64,
    fractions: SplitFractions,
    protocol: &SplitProtocol,
) -> Result<SplitSummary, Error> {
    let SplitFractions { validation, test } = fractions;
    if !(validation >= 0.0 && test >= 0.0 && validation + test < 1.0) {
        return Err(Error::Fractions { validation, test });
    }
    if let SplitProtocol::LeaveCohortOut(name) = protocol
        && !index.rows.iter().any(|row| row.cohort == *name)
    {
        return Err(Error::UnknownCohort {
            name: name.clone(),
            expected: index.cohort_names().join(", "),
        });
    }
    let rule = Rule {
        fractions,
        protocol,
        split_positions: Positions::new(SPLIT_CONTEXT, seed),
        validation_positions: Positions::new(VALIDATION_CONTEXT, seed),
    };
    for row in &mut index.rows {
        row.split = Some(rule.split_of(row));
    }
    // Sorted by group instead of collected in a map: an index may have a million of them.
    let mut rows: Vec<&IndexRow> = index.rows.iter().collect();
    rows.sort_unstable_by(|a, b| {
        let order = a.group_key.cmp(&b.group_key);
        order.then_with(|| row_order(a).cmp(&row_order(b)))
    });
    rows.dedup_by(|later, first| later.group_key == first.group_key);
    let mut summary = SplitSummary::default();
    for row in rows {
        let Some(split) = row.split else { continue };
        summary.groups.add(split);
        summary
            .strata
            .entry(stratum_of(row))
            .or_default()
            .add(split);
    }
    Ok(summary)
}

/// Age first; the rest only makes the order complete. Ages are not negative, so their bits sort as they do.
fn row_order(row: &IndexRow) -> (u64, &str, Sex, &Path) {
    (
        row.age_years.years().to_bits(),
        &row.cohort,
        row.sex,
        &row.scan,
    )
}

fn stratum_of(row: &IndexRow) -> Stratum {
    let bin = (row.age_years.years() / AGE_BIN_YEARS).floor();
    Stratum {
        cohort: row.cohort.to_string(),
        sex: row.sex,
        from_age_years: (bin * AGE_BIN_YEARS) as u32,
    }
}

/// What decides on which side a group is.
struct Rule<'a> {
    fractions: SplitFractions,
    protocol: &'a SplitProtocol,
    split_positions: Positions,
    validation_positions: Positions,
}

impl Rule<'_> {
    fn split_of(&self, row: &IndexRow) -> Split {
        let position = self.split_positions.of(&row.group_key);
        let is_test = match self.protocol {
            // Test lies at the low end of the unit interval and validation at the high end, so that changing one
            // fraction moves only groups between that split and training.
            SplitProtocol::Hash => {
                return if position < self.fractions.test {
                    Split::Test
                } else if position >= 1.0 - self.fractions.validation {
                    Split::Validation
                } else {
                    Split::Train
                };
            }
            SplitProtocol::Fold { n, fold } => (position * f64::from(*n)) as u32 == *fold,
            SplitProtocol::LeaveCohortOut(cohort) => row.cohort == *cohort,
        };
        // Another number than the one that made the folds, else validation would be a whole fold.
        let within = self.validation_positions.of(&row.group_key);
        if is_test {
            Split::Test
        } else if within < self.fractions.validation {
            Split::Validation
        } else {
            Split::Train
        }
    }
}

const SPLIT_CONTEXT: &str = "brainage 2026 split by group key";
const VALIDATION_CONTEXT: &str = "brainage 2026 validation among what is not tested on";

/// Places groups within 0 (included) to 1 (excluded), spread evenly over keys. Part of the contract: changing it moves
/// people between the splits of runs that are compared.
struct Positions {
    /// Context and seed, which all keys have in common.
    begun: blake3::Hasher,
}

impl Positions {
    fn new(context: &str, seed: u64) -> Self {
        let mut begun = blake3::Hasher::new_derive_key(context);
        begun.update(&seed.to_le_bytes());
        Self { begun }
    }

    fn of(&self, group_key: &str) -> f64 {
        let mut hasher = self.begun.clone();
        hasher.update(group_key.as_bytes());
        let mut bytes = [0; 8];
        hasher.finalize_xof().fill(&mut bytes);
        (u64::from_le_bytes(bytes) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// Makes sure that nothing is on two sides: no group, no participant and no scan file.
///
/// Rows without a split are not looked at.
///
/// # Errors
/// [`Error::Leakage`] names the first participant concerned. Group keys are not shown, since they may be the ids of
/// families, which some cohorts restrict.
pub fn check_leakage(index: &CohortIndex) -> Result<(), Error> {
    check_shared(index, "the group", |row| row.group_key.as_str())?;
    check_shared(index, "the data", |row| {
        (&*row.cohort, row.participant_id.as_str())
    })?;
    check_shared(index, "a scan", |row| row.scan.as_os_str())
}

fn check_shared<'a, K: Ord>(
    index: &'a CohortIndex,
    what: &'static str,
    key_of: impl Fn(&'a IndexRow) -> K,
) -> Result<(), Error> {
    let mut rows: Vec<&IndexRow> = index
        .rows
        .iter()
        .filter(|row| row.split.is_some())
        .collect();
    rows.sort_by_key(|row| key_of(row));
    let leak = rows.windows(2).find_map(|pair| match pair {
        [a, b] if a.split != b.split && key_of(a) == key_of(b) => Some((*a, *b)),
        _ => None,
    });
    match leak {
        None => Ok(()),
        Some((a, b)) => Err(Error::Leakage {
            what,
            cohort: b.cohort.to_string(),
            participant: b.participant_id.to_string(),
            splits: format!(
                "{} and {}",
                a.split.map_or("none", Split::name),
                b.split.map_or("none", Split::name)
            ),
        }),
    }
}

#[cfg(test)]
mod tests;
