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
mod tests {
    use super::*;
    use crate::index::tests::row;
    use proptest::prelude::*;

    const FRACTIONS: SplitFractions = SplitFractions {
        validation: 0.1,
        test: 0.2,
    };

    fn index_of(n: usize) -> CohortIndex {
        let rows =
            (0..n).map(|i| row("ukbb", &(1_000_000 + i).to_string(), 45.0 + (i % 40) as f64));
        CohortIndex {
            rows: rows.collect(),
        }
    }

    #[test]
    fn large_cohorts_come_close_to_the_fractions_in_every_stratum() {
        let mut index = index_of(20_000);
        let summary = assign_splits(&mut index, 7, FRACTIONS).unwrap();
        assert_eq!(summary.strata.len(), 8);
        for (stratum, counts) in &summary.strata {
            // 2 500 groups: the standard deviation of a share of 0.2 is 0.008.
            assert!(
                (counts.test as f64 / 2500.0 - 0.2).abs() < 0.035,
                "{stratum:?} {counts:?}"
            );
            assert!(
                (counts.validation as f64 / 2500.0 - 0.1).abs() < 0.03,
                "{stratum:?} {counts:?}"
            );
        }
        assert_eq!(summary.empty_splits(), []);
        check_leakage(&index).unwrap();
    }

    #[test]
    fn the_split_of_a_key_is_the_same_in_every_version() {
        let parts = ["ukbb:1000223", "camcan:CC110033", "ixi:IXI012"]
            .map(|key| Positions::new(SPLIT_CONTEXT, 1).of(key));
        assert_eq!(
            parts.map(|part| (part * 1000.0).floor()),
            [275.0, 636.0, 501.0]
        );
    }

    #[test]
    fn few_subjects_can_leave_a_split_empty_and_the_summary_says_so() {
        let mut index = index_of(1);
        let summary = assign_splits(&mut index, 1, FRACTIONS).unwrap();
        assert_eq!(summary.empty_splits().len(), 2);
    }

    #[test]
    fn fractions_that_leave_nothing_to_train_on_are_refused() {
        for (validation, test) in [
            (0.5, 0.5),
            (-0.1, 0.2),
            (f64::NAN, 0.1),
            (0.1, f64::INFINITY),
        ] {
            let fractions = SplitFractions { validation, test };
            assert!(
                assign_splits(&mut index_of(1), 1, fractions).is_err(),
                "{fractions:?}"
            );
        }
    }

    #[test]
    fn shared_groups_participants_and_scans_are_found() {
        let check = |change: fn(&mut IndexRow), expected: &str| {
            let mut index = index_of(2);
            index.rows[0].split = Some(Split::Train);
            index.rows[1].split = Some(Split::Test);
            check_leakage(&index).unwrap();
            change(&mut index.rows[1]);
            let message = check_leakage(&index).unwrap_err().to_string();
            assert!(message.starts_with(expected), "{message}");
            assert!(
                message.ends_with("is in splits train and test, expected one"),
                "{message}"
            );
        };
        check(|row| row.group_key = "ukbb:1000000".to_owned(), "the group");
        check(
            |row| row.participant_id = "1000000".to_owned().try_into().unwrap(),
            "the data",
        );
        check(
            |row| row.scan = "/data/ukbb/1000000.nii.gz".into(),
            "a scan",
        );
    }

    #[test]
    fn protocols_are_read_as_they_are_shown() {
        for text in ["hash", "kfold:5:0", "kfold:5:4", "loco:adni"] {
            assert_eq!(text.parse::<SplitProtocol>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "kfold",
            "kfold:5",
            "kfold:5:5",
            "kfold:1:0",
            "kfold:-1:0",
            "loco:",
            "adni",
        ] {
            assert!(text.parse::<SplitProtocol>().is_err(), "{text}");
        }
    }

    #[test]
    fn every_group_is_tested_on_in_exactly_one_fold() {
        let mut times_tested = vec![0; 3000];
        for fold in 0..5 {
            let mut index = index_of(3000);
            let protocol = SplitProtocol::Fold { n: 5, fold };
            let summary = assign_splits_by(&mut index, 3, FRACTIONS, &protocol).unwrap();
            // 600 expected, standard deviation 22; of the other 2400 a tenth validates, standard deviation 15.
            assert!(
                summary.groups.test.abs_diff(600) < 90,
                "{:?}",
                summary.groups
            );
            assert!(
                summary.groups.validation.abs_diff(240) < 60,
                "{:?}",
                summary.groups
            );
            for (row, times) in index.rows.iter().zip(&mut times_tested) {
                *times += usize::from(row.split == Some(Split::Test));
            }
            check_leakage(&index).unwrap();
        }
        assert!(times_tested.iter().all(|&times| times == 1));
    }

    #[test]
    fn a_cohort_that_is_left_out_is_tested_on_whole_and_no_other_is() {
        let mut index = index_of(1000);
        index
            .rows
            .extend((0..50).map(|i| row("adni", &i.to_string(), 70.0)));
        let protocol = SplitProtocol::LeaveCohortOut("adni".to_owned());
        assign_splits_by(&mut index, 3, FRACTIONS, &protocol).unwrap();
        for row in &index.rows {
            assert_eq!(row.split == Some(Split::Test), row.cohort == *"adni");
        }
        let unknown = SplitProtocol::LeaveCohortOut("adnl".to_owned());
        let error = assign_splits_by(&mut index, 3, FRACTIONS, &unknown).unwrap_err();
        assert_eq!(
            error.to_string(),
            "no scan of cohort `adnl` in the index, expected one of adni, ukbb"
        );
    }

    proptest! {
        #[test]
        fn scans_of_a_group_stay_together_whatever_the_order_and_whoever_is_added(
            people in proptest::collection::vec((0_u16..60, 0_u16..20, 18.0_f64..90.0), 1..80),
            added in proptest::collection::vec((60_u16..120, 20_u16..40, 0.0_f64..120.0), 0..40),
            seed in any::<u64>(),
            validation in 0.0_f64..0.5,
            test in 0.0_f64..0.49,
        ) {
            let fractions = SplitFractions { validation, test };
            let rows = |people: &[(u16, u16, f64)]| -> Vec<IndexRow> {
                let made = people.iter().map(|&(person, family, age)| {
                    let mut row = row("hcp", &person.to_string(), age);
                    row.group_key = format!("hcp:family-{family}");
                    row
                });
                made.collect()
            };
            let mut first = CohortIndex { rows: rows(&people) };
            assign_splits(&mut first, seed, fractions).unwrap();
            let split_of_group: BTreeMap<_, _> =
                first.rows.iter().map(|row| (row.group_key.clone(), row.split)).collect();
            for row in &first.rows {
                prop_assert_eq!(split_of_group[&row.group_key], row.split);
            }

            let mut more = CohortIndex { rows: rows(&added) };
            more.rows.extend(first.rows.iter().rev().cloned());
            assign_splits(&mut more, seed, fractions).unwrap();
            for row in &more.rows {
                prop_assert!(row.split.is_some());
                if let Some(&split) = split_of_group.get(&row.group_key) {
                    prop_assert_eq!(split, row.split);
                }
            }
        }
    }
}
