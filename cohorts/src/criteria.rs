//! Which scans are used: filters asked for by the user, and every reason for leaving a scan out.

use std::path::PathBuf;
use std::str::FromStr;

use crate::error::ValueError;
use crate::index::{AgeSource, IndexRow};

/// Filters of the project file; the default lets everything pass but ages that are known too coarsely.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Criteria {
    /// Youngest and oldest age in years, both included.
    pub age: Option<[f64; 2]>,
    /// Diagnoses that are used, compared without regard to case.
    pub diagnosis: Option<Vec<String>>,
    /// Sites that are used, compared without regard to case.
    pub sites: Option<Vec<String>>,
    /// Which visits are used.
    pub sessions: Sessions,
    /// Whether ages that stand for a range of ages are used.
    pub coarse_ages: CoarseAges,
    /// Lists of identifiers, one a line: only these participants are used. None: all.
    pub participants: Vec<PathBuf>,
    /// Lists of identifiers, one a line: these participants are not used.
    pub exclude: Vec<PathBuf>,
}

/// Which visits of a participant are used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sessions {
    /// All of them.
    #[default]
    All,
    /// Of those that pass every other filter, the one at the youngest age.
    First,
}

impl FromStr for Sessions {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        match text {
            "all" => Ok(Self::All),
            "first" => Ok(Self::First),
            _ => Err(ValueError {
                what: "sessions",
                found: text.to_owned(),
                expected: "all or first",
            }),
        }
    }
}

/// What becomes of ages known only as a range (`26-30`) or a bound (`90+`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CoarseAges {
    /// Left out and counted: an error of years in the label is no error of the model.
    #[default]
    Exclude,
    /// Used with the middle of the range, or the bound.
    Include,
}

impl Criteria {
    /// Why a row is not used, if it is not. Lists and [`Sessions::First`] need more than a row and are not looked at.
    pub fn refusal(&self, row: &IndexRow) -> Option<SkipReason> {
        match (self.coarse_ages, row.age_source) {
            (CoarseAges::Exclude, AgeSource::BinMid) => return Some(SkipReason::AgeBinned),
            (CoarseAges::Exclude, AgeSource::Capped) => return Some(SkipReason::AgeCapped),
            _ => {}
        }
        if let Some([youngest, oldest]) = self.age
            && !(youngest..=oldest).contains(&row.age_years.years())
        {
            return Some(SkipReason::AgeOutsideRange);
        }
        let excludes = |wanted: &Option<Vec<String>>, found: &str| {
            let is_found = |name: &String| name.trim().eq_ignore_ascii_case(found.trim());
            wanted
                .as_ref()
                .is_some_and(|names| !names.iter().any(is_found))
        };
        if excludes(&self.diagnosis, &row.diagnosis) {
            return Some(SkipReason::DiagnosisExcluded);
        }
        excludes(&self.sites, &row.site).then_some(SkipReason::SiteExcluded)
    }
}

/// Why a scan is left out, with the values that show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) reason: SkipReason,
    /// Such as "65.2 from dates, 60 reported"; may be empty.
    pub(crate) detail: String,
}

impl Refusal {
    pub(crate) fn new(reason: SkipReason, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        Self { reason, detail }
    }
}

impl From<SkipReason> for Refusal {
    fn from(reason: SkipReason) -> Self {
        Self::new(reason, "")
    }
}

/// Why a scan is not in the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SkipReason {
    /// The participant has withdrawn.
    Withdrawn,
    /// The cohort itself marked the scan unusable.
    Unusable,
    /// The archive of the scan is cut off or damaged.
    BrokenArchive,
    /// The archive, or the folder of the visit, holds no T1 image.
    NoT1,
    /// The visit has DICOM files only.
    NotConverted,
    /// Only the extracted brain is there.
    BrainExtractedOnly,
    /// The file is a pointer that was never replaced by its content.
    NotDownloaded,
    /// The table names a scan that is not there, or none fits the row.
    NoScan,
    /// Several scans fit one row.
    AmbiguousScan,
    /// Another scan of the same visit is used.
    OtherScanOfSession,
    /// No table knows the participant.
    NotInDemographics,
    /// The participant has no age for this visit.
    NoAge,
    /// The age is only known as a range of years.
    AgeBinned,
    /// The age is only known to be above a bound.
    AgeCapped,
    /// The age is not a number of years within 0 to 125, or 0.
    BadAge,
    /// Two sources of the age contradict each other.
    AgeConflict,
    /// The participant stands in the table twice, with different values.
    DuplicateParticipant,
    /// The visit was already there, under another path.
    DuplicateSession,
    /// The identifier is empty or cannot be one.
    BadId,
    /// The path is not UTF-8.
    BadPath,
    /// Younger or older than asked for.
    AgeOutsideRange,
    /// None of the diagnoses asked for.
    DiagnosisExcluded,
    /// None of the sites asked for.
    SiteExcluded,
    /// Not the first visit, where only that was asked for.
    LaterSession,
    /// Not on the lists of participants asked for.
    NotOnList,
    /// On a list of participants to leave out.
    OnExcludeList,
}

impl SkipReason {
    /// The key under which the reason is counted.
    pub fn code(self) -> &'static str {
        match self {
            Self::Withdrawn => "withdrawn",
            Self::Unusable => "unusable",
            Self::BrokenArchive => "broken_archive",
            Self::NoT1 => "no_t1",
            Self::NotConverted => "not_converted",
            Self::BrainExtractedOnly => "brain_extracted_only",
            Self::NotDownloaded => "not_downloaded",
            Self::NoScan => "no_scan",
            Self::AmbiguousScan => "ambiguous_scan",
            Self::OtherScanOfSession => "other_scan_of_session",
            Self::NotInDemographics => "not_in_demographics",
            Self::NoAge => "no_age",
            Self::BadAge => "bad_age",
            Self::AgeConflict => "age_conflict",
            Self::AgeBinned => "age_binned",
            Self::AgeCapped => "age_capped",
            Self::DuplicateParticipant => "duplicate_participant",
            Self::DuplicateSession => "duplicate_session",
            Self::BadId => "bad_id",
            Self::BadPath => "bad_path",
            Self::AgeOutsideRange => "age_outside_range",
            Self::DiagnosisExcluded => "diagnosis_excluded",
            Self::SiteExcluded => "site_excluded",
            Self::LaterSession => "later_session",
            Self::NotOnList => "not_on_list",
            Self::OnExcludeList => "on_exclude_list",
        }
    }

    /// The reason as a sentence, and what can be done.
    pub fn explanation(self) -> &'static str {
        match self {
            Self::Withdrawn => "the participant has withdrawn",
            Self::Unusable => "the cohort marked the scan unusable",
            Self::BrokenArchive => "the zip archive cannot be read; download it again",
            Self::NoT1 => "the visit has no T1 image that is used",
            Self::NotConverted => {
                "the visit has DICOM files only; convert them, e.g. with dcm2niix"
            }
            Self::BrainExtractedOnly => {
                "only the extracted brain is there; the whole head is needed"
            }
            Self::NotDownloaded => "the file is a pointer to data that were not downloaded",
            Self::NoScan => "no scan fits the row of the table",
            Self::AmbiguousScan => "several scans fit the row; name one in a column `scan`",
            Self::OtherScanOfSession => "another scan of the same visit is used",
            Self::NotInDemographics => "no table knows the participant",
            Self::NoAge => "the age at this visit is not known",
            Self::BadAge => "the age is not a number of years above 0 and up to 125",
            Self::AgeConflict => "two ages of the same visit contradict each other",
            Self::AgeBinned => {
                "the age is only known as a range; name a table with exact ages, or set coarse_ages = true"
            }
            Self::AgeCapped => {
                "the age is only known as a bound such as 90+; to use it set coarse_ages = true"
            }
            Self::DuplicateParticipant => {
                "the participant is in the table twice, with different values"
            }
            Self::DuplicateSession => "the same visit of the same participant is there twice",
            Self::BadId => "the identifier is empty or too long",
            Self::BadPath => "the path is not UTF-8",
            Self::AgeOutsideRange => "the age is outside the range asked for",
            Self::DiagnosisExcluded => "the diagnosis is none of those asked for",
            Self::SiteExcluded => "the site is none of those asked for",
            Self::LaterSession => "only the first visit of each participant was asked for",
            Self::NotOnList => "the participant is not on the lists of those asked for",
            Self::OnExcludeList => "the participant is on a list of those to leave out",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::tests::row;

    #[test]
    fn both_ends_of_the_age_range_are_included() {
        let criteria = Criteria {
            age: Some([18.0, 90.0]),
            ..Criteria::default()
        };
        for (age, expected) in [
            (18.0, None),
            (90.0, None),
            (17.99, Some(SkipReason::AgeOutsideRange)),
            (90.01, Some(SkipReason::AgeOutsideRange)),
        ] {
            assert_eq!(criteria.refusal(&row("a", "1", age)), expected, "{age}");
        }
    }

    #[test]
    fn only_the_diagnoses_asked_for_pass() {
        let criteria = Criteria {
            diagnosis: Some(vec!["CN".to_owned()]),
            ..Criteria::default()
        };
        let mut person = row("a", "1", 70.0);
        assert_eq!(
            criteria.refusal(&person),
            Some(SkipReason::DiagnosisExcluded)
        );
        person.diagnosis = "cn".into();
        assert_eq!(criteria.refusal(&person), None);
    }

    #[test]
    fn ranges_and_bounds_of_ages_are_used_only_if_asked_for() {
        let mut criteria = Criteria::default();
        let mut person = row("a", "1", 28.5);
        person.age_source = AgeSource::BinMid;
        assert_eq!(criteria.refusal(&person), Some(SkipReason::AgeBinned));
        person.age_source = AgeSource::Capped;
        assert_eq!(criteria.refusal(&person), Some(SkipReason::AgeCapped));
        criteria.coarse_ages = CoarseAges::Include;
        assert_eq!(criteria.refusal(&person), None);
    }

    #[test]
    fn only_the_sites_asked_for_pass() {
        let criteria = Criteria {
            sites: Some(vec!["Guys".to_owned()]),
            ..Criteria::default()
        };
        let mut person = row("a", "1", 28.5);
        assert_eq!(criteria.refusal(&person), Some(SkipReason::SiteExcluded));
        person.site = "guys".into();
        assert_eq!(criteria.refusal(&person), None);
    }
}
