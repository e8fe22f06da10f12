//! Age-bias correction: models predict the young too old and the old too young; a line fitted on validation takes it out.
//!
//! Fitted on cases that trained no weights and are not judged afterwards (the validation split, healthy participants),
//! stored in the model file, applied to new predictions. It never extrapolates beyond the ages it was fitted on.

use serde::{Deserialize, Serialize};

use super::metrics::{self, Pair};
use super::{Case, one_scan_each};

/// Participants needed for a fit: below, the line is noise.
pub const MIN_PARTICIPANTS: usize = 10;

/// The smallest slope that is still a trend: dividing by less would amplify the noise of a prediction tenfold.
pub const MIN_SLOPE: f64 = 0.1;

/// The line ŷ = α · y + β of predicted on chronological age in the validation set.
///
/// # References
/// de Lange & Cole 2020, NeuroImage Clin 26:102229; Cole et al. 2018, Mol Psychiatry 23:1385.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BiasCorrection {
    /// α, years of prediction per year of age.
    pub slope: f64,
    /// β, years.
    pub intercept: f64,
    /// Participants in the fit, one scan each.
    pub n: usize,
    /// Youngest and oldest of them, years; nothing is corrected outside.
    pub age_range_years: [f64; 2],
}

/// Why there is no correction.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum NoCorrection {
    /// Too few validation participants.
    #[error("{n} validation participants, age-bias correction needs {MIN_PARTICIPANTS}")]
    TooFew {
        /// Those there are.
        n: usize,
    },
    /// All validation participants have one age, or an age or prediction is no number.
    #[error(
        "no line can be fitted to {n} validation participants: their ages are constant or not finite"
    )]
    NoLine {
        /// Those there are.
        n: usize,
    },
    /// The model hardly follows age: a correction would only amplify noise.
    #[error(
        "predictions rise by {slope:.3} years per year of age, age-bias correction needs more than {MIN_SLOPE}"
    )]
    TooFlat {
        /// α.
        slope: f64,
    },
}

impl BiasCorrection {
    /// Fits the line on validation cases, the first scan of each participant.
    ///
    /// # Errors
    /// [`NoCorrection`] says why the cases allow none.
    pub fn fit(validation: &[Case]) -> Result<Self, NoCorrection> {
        let pairs: Vec<Pair> = one_scan_each(validation).map(Case::raw_pair).collect();
        let n = pairs.len();
        if n < MIN_PARTICIPANTS {
            return Err(NoCorrection::TooFew { n });
        }
        let line = metrics::line(&pairs).ok_or(NoCorrection::NoLine { n })?;
        if line.slope <= MIN_SLOPE {
            return Err(NoCorrection::TooFlat { slope: line.slope });
        }
        let ages = || pairs.iter().map(|pair| pair.age_years);
        let age_range_years = [
            ages().fold(f64::INFINITY, f64::min),
            ages().fold(f64::NEG_INFINITY, f64::max),
        ];
        Ok(Self {
            slope: line.slope,
            intercept: line.intercept,
            n,
            age_range_years,
        })
    }

    /// The gap that is not explained by age, ŷ − (α · y + β), years; `None` if the age is outside the fitted range.
    ///
    /// # References
    /// de Lange & Cole 2020; the same as Beheshti et al. 2019, NeuroImage Clin 24:102063.
    pub fn corrected_gap_years(&self, age_years: f64, predicted_age_years: f64) -> Option<f64> {
        self.covers(age_years)
            .then_some(predicted_age_years - (self.slope * age_years + self.intercept))
    }

    /// The age that usually gives this prediction, (ŷ − β) / α, years, for participants whose age is unknown; `None` if
    /// it is outside the fitted range. Its noise is that of ŷ divided by α.
    ///
    /// # References
    /// Cole et al. 2018.
    pub fn corrected_age_years(&self, predicted_age_years: f64) -> Option<f64> {
        let age_years = (predicted_age_years - self.intercept) / self.slope;
        self.covers(age_years).then_some(age_years)
    }

    fn covers(&self, age_years: f64) -> bool {
        let [youngest, oldest] = self.age_range_years;
        (youngest..=oldest).contains(&age_years)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn case(participant_id: &str, age_years: f64, predicted_age_years: f64) -> Case {
        Case {
            scan: format!("{participant_id}.nii"),
            participant_id: participant_id.to_owned(),
            age_years,
            predicted_age_years,
            corrected_age_years: None,
            group_key: participant_id.to_owned(),
            cohort: "bids".to_owned(),
            sex: "F".to_owned(),
            ..Case::default()
        }
    }

    /// Ages 20, 25, …, with predictions on ŷ = slope · y + intercept and gaps of ±noise around it that carry no trend.
    fn on_line(n: usize, slope: f64, intercept: f64, noise: f64) -> Vec<Case> {
        let signs = [1.0, -1.0, -1.0, 1.0];
        (0..n)
            .map(|i| {
                let age_years = 20.0 + 5.0 * i as f64;
                let predicted = slope * age_years + intercept + noise * signs[i % 4];
                case(&format!("p{i}"), age_years, predicted)
            })
            .collect()
    }

    #[test]
    fn a_known_line_is_recovered() {
        // In groups of four equally spaced ages the signs + − − + are orthogonal to a line, so the noise cancels exactly.
        let correction = BiasCorrection::fit(&on_line(12, 0.7, 15.0, 3.0)).unwrap();
        assert!((correction.slope - 0.7).abs() < 1e-12);
        assert!((correction.intercept - 15.0).abs() < 1e-10);
        assert_eq!(correction.n, 12);
        assert_eq!(correction.age_range_years, [20.0, 75.0]);
    }

    #[test]
    fn the_corrected_gap_is_what_the_line_leaves() {
        let correction = BiasCorrection::fit(&on_line(12, 0.7, 15.0, 3.0)).unwrap();
        // α · 50 + β = 50: at this age nothing changes; at 70 the line says 64.
        assert!((correction.corrected_gap_years(50.0, 53.0).unwrap() - 3.0).abs() < 1e-9);
        assert!((correction.corrected_gap_years(70.0, 64.0).unwrap()).abs() < 1e-9);
    }

    #[test]
    fn the_corrected_age_inverts_the_line_without_knowing_the_age() {
        let correction = BiasCorrection::fit(&on_line(12, 0.7, 15.0, 0.0)).unwrap();
        assert!((correction.corrected_age_years(0.7 * 63.0 + 15.0).unwrap() - 63.0).abs() < 1e-9);
    }

    #[test]
    fn nothing_is_extrapolated() {
        let correction = BiasCorrection::fit(&on_line(12, 0.7, 15.0, 3.0)).unwrap();
        assert_eq!(correction.corrected_gap_years(19.9, 30.0), None);
        assert_eq!(correction.corrected_gap_years(75.1, 70.0), None);
        assert_eq!(correction.corrected_gap_years(f64::NAN, 70.0), None);
        assert_eq!(correction.corrected_age_years(0.7 * 80.0 + 15.0), None);
    }

    #[test]
    fn each_participant_counts_once() {
        let mut cases = on_line(12, 0.7, 15.0, 0.0);
        cases.extend((0..50).map(|_| case("p0", 20.0, 99.0)));
        let correction = BiasCorrection::fit(&cases).unwrap();
        assert_eq!(correction.n, 12);
        assert!((correction.slope - 0.7).abs() < 1e-12);
    }

    #[test]
    fn too_few_too_flat_or_constant_cases_are_refused_with_the_reason() {
        assert_eq!(
            BiasCorrection::fit(&on_line(9, 0.7, 15.0, 3.0)),
            Err(NoCorrection::TooFew { n: 9 })
        );
        let flat = BiasCorrection::fit(&on_line(12, 0.05, 50.0, 0.0)).unwrap_err();
        assert!(matches!(flat, NoCorrection::TooFlat { slope } if (slope - 0.05).abs() < 1e-9));
        assert_eq!(
            flat.to_string(),
            "predictions rise by 0.050 years per year of age, age-bias correction needs more than 0.1"
        );
        let one_age: Vec<Case> = (0..12)
            .map(|i| case(&format!("p{i}"), 63.2, 60.0))
            .collect();
        assert_eq!(
            BiasCorrection::fit(&one_age),
            Err(NoCorrection::NoLine { n: 12 })
        );
        let mut not_finite = on_line(12, 0.7, 15.0, 0.0);
        not_finite[3].predicted_age_years = f64::NAN;
        assert_eq!(
            BiasCorrection::fit(&not_finite),
            Err(NoCorrection::NoLine { n: 12 })
        );
    }

    #[test]
    fn a_stored_correction_reads_back_bit_for_bit() {
        let correction = BiasCorrection::fit(&on_line(13, 0.731, 15.37, 2.9)).unwrap();
        let text = serde_json::to_string(&correction).unwrap();
        assert_eq!(
            serde_json::from_str::<BiasCorrection>(&text).unwrap(),
            correction
        );
    }
}
