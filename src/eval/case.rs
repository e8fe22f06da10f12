//! What is judged: a prediction whose true age is known.

use std::collections::BTreeSet;

use super::bias::BiasCorrection;
use super::metrics::Pair;

/// A scan whose participant's age is known, and the age that was predicted from it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Case {
    /// The scan as the user knows it, for tables of the worst cases.
    pub scan: String,
    /// Who was scanned; unique within a cohort; empty if unknown.
    pub participant_id: String,
    /// At which visit; empty if unknown.
    pub session_id: String,
    /// Chronological age at the scan.
    pub age_years: f64,
    /// What the model said.
    pub predicted_age_years: f64,
    /// The predicted age after age-bias correction; `None` where there is no correction or the age is outside its range.
    pub corrected_age_years: Option<f64>,
    /// Standard deviation of the head's own distribution of ages, where it says one.
    pub head_sd_years: Option<f64>,
    /// Calibrated interval of the age, where the model has one.
    pub interval_years: Option<[f64; 2]>,
    /// The share of people whose age the interval should hold.
    pub coverage: Option<f64>,
    /// The unit that is resampled: the family where it is known, else the participant; unique over all cohorts.
    pub group_key: String,
    /// Cohort, as in the index.
    pub cohort: String,
    /// Where it was scanned, as in the index; empty if unknown.
    pub site: String,
    /// Sex, as in the index.
    pub sex: String,
}

impl Case {
    /// Brain-age gap: predicted minus chronological age. Positive: looks older.
    pub fn gap_years(&self) -> f64 {
        self.predicted_age_years - self.age_years
    }

    /// Fills in the corrected age; `None` stays where the correction does not reach.
    pub fn correct(&mut self, correction: &BiasCorrection) {
        let gap_years = correction.corrected_gap_years(self.age_years, self.predicted_age_years);
        self.corrected_age_years = gap_years.map(|gap_years| self.age_years + gap_years);
    }

    pub(super) fn raw_pair(&self) -> Pair {
        Pair {
            age_years: self.age_years,
            predicted_age_years: self.predicted_age_years,
        }
    }

    pub(super) fn corrected_pair(&self) -> Option<Pair> {
        let predicted_age_years = self.corrected_age_years?;
        Some(Pair {
            age_years: self.age_years,
            predicted_age_years,
        })
    }
}

/// The first scan of each participant: cases of one participant are no independent evidence for a fit. Where it is not
/// known who was scanned, each scan counts.
pub fn one_scan_each(cases: &[Case]) -> impl Iterator<Item = &Case> {
    let mut seen = BTreeSet::new();
    cases.iter().filter(move |case| {
        case.participant_id.is_empty()
            || seen.insert((case.cohort.as_str(), case.participant_id.as_str()))
    })
}
