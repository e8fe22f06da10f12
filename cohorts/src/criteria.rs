//! Which scans are used: filters asked for by the user, and every reason for leaving a scan out.

use crate::index::IndexRow;

/// Filters of the project file; `None` lets everything pass.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Criteria {
    /// Youngest and oldest age in years, both included.
    pub age: Option<[f64; 2]>,
    /// Diagnoses that are used, compared without regard to case.
    pub diagnosis: Option<Vec<String>>,
}

impl Criteria {
    /// Why a row is not used, if it is not.
    pub fn refusal(&self, row: &IndexRow) -> Option<SkipReason> {
        if let Some([youngest, oldest]) = self.age
            && !(youngest..=oldest).contains(&row.age_years.years())
        {
            return Some(SkipReason::AgeOutsideRange);
        }
        let wanted = self.diagnosis.as_ref()?;
        let found = row.diagnosis.trim();
        if wanted
            .iter()
            .any(|name| name.trim().eq_ignore_ascii_case(found))
        {
            None
        } else {
            Some(SkipReason::DiagnosisExcluded)
        }
    }
}

/// Why a scan is not in the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SkipReason {
    /// The participant has withdrawn.
    Withdrawn,
    /// The cohort itself marked the scan unusable.
    Unusable,
    /// The scan is inside an archive.
    Zipped,
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
    /// The age is not a number of years within 0 to 125, or 0.
    BadAge,
    /// Dates and reported age contradict each other.
    AgeConflict,
    /// The participant stands in the table twice, with different values.
    DuplicateParticipant,
    /// The identifier is empty or cannot be one.
    BadId,
    /// The path is not UTF-8.
    BadPath,
    /// Younger or older than asked for.
    AgeOutsideRange,
    /// None of the diagnoses asked for.
    DiagnosisExcluded,
}

impl SkipReason {
    /// The key under which the reason is counted.
    pub fn code(self) -> &'static str {
        match self {
            Self::Withdrawn => "withdrawn",
            Self::Unusable => "unusable",
            Self::Zipped => "zipped",
            Self::BrainExtractedOnly => "brain_extracted_only",
            Self::NotDownloaded => "not_downloaded",
            Self::NoScan => "no_scan",
            Self::AmbiguousScan => "ambiguous_scan",
            Self::OtherScanOfSession => "other_scan_of_session",
            Self::NotInDemographics => "not_in_demographics",
            Self::NoAge => "no_age",
            Self::BadAge => "bad_age",
            Self::AgeConflict => "age_conflict",
            Self::DuplicateParticipant => "duplicate_participant",
            Self::BadId => "bad_id",
            Self::BadPath => "bad_path",
            Self::AgeOutsideRange => "age_outside_range",
            Self::DiagnosisExcluded => "diagnosis_excluded",
        }
    }

    /// The reason as a sentence, and what can be done.
    pub fn explanation(self) -> &'static str {
        match self {
            Self::Withdrawn => "the participant has withdrawn",
            Self::Unusable => "the cohort marked the scan unusable",
            Self::Zipped => "the scan is in a zip archive; unpack it",
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
            Self::AgeConflict => "the age from dates and the reported age differ by over a year",
            Self::DuplicateParticipant => {
                "the participant is in the table twice, with different values"
            }
            Self::BadId => "the identifier is empty or too long",
            Self::BadPath => "the path is not UTF-8",
            Self::AgeOutsideRange => "the age is outside the range asked for",
            Self::DiagnosisExcluded => "the diagnosis is none of those asked for",
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
            diagnosis: None,
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
            age: None,
            diagnosis: Some(vec!["CN".to_owned()]),
        };
        let mut person = row("a", "1", 70.0);
        assert_eq!(
            criteria.refusal(&person),
            Some(SkipReason::DiagnosisExcluded)
        );
        person.diagnosis = "cn".to_owned();
        assert_eq!(criteria.refusal(&person), None);
    }
}
