//! Calibrated intervals of predicted ages: split conformal prediction.
//!
//! Fitted on validation participants, one scan each, and stored in the model file. Of people like those, at least the
//! stated share has an age inside the interval, whatever the distribution of errors (Vovk, Gammerman & Shafer 2005,
//! Algorithmic Learning in a Random World; Lei et al. 2018, J Am Stat Assoc 113:1094). Nothing is promised for people
//! who are not like them: another scanner, a patient, another age range. The validation set also chooses among epochs
//! where `train.selection` says so, which makes its errors a little smaller than those to come; the test set's coverage
//! in the evaluation shows by how much.

use serde::{Deserialize, Serialize};

use super::{Case, one_scan_each};

/// Shares for which an interval is stored.
pub const COVERAGES: [f64; 4] = [0.5, 0.8, 0.9, 0.95];
/// Fewest participants: with fewer there is no interval of the usual share, and of smaller shares a poor one.
pub const MIN_PARTICIPANTS: usize = 9;
/// The share whose interval is written unless another one is asked for.
pub const DEFAULT_COVERAGE: f64 = 0.9;

/// What an interval's half width is a multiple of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scale {
    /// Years: the same width for everybody.
    Years,
    /// The standard deviation of the head's own distribution: wider where the head is unsure.
    HeadSd,
}

/// Half widths of the intervals around the predicted age.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConformalInterval {
    /// What the half widths are multiples of.
    pub scale: Scale,
    /// Participants behind it.
    pub n: usize,
    /// Coverage and half width, for every share of [`COVERAGES`] that `n` allows.
    pub half_widths: Vec<HalfWidth>,
}

/// The half width for one share.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HalfWidth {
    /// Share of people whose age lies in the interval.
    pub coverage: f64,
    /// In units of the interval's [`Scale`].
    pub width: f64,
}

/// Why there is no interval.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum NoInterval {
    /// Too few validation participants.
    #[error("{n} validation participants, a calibrated interval needs {MIN_PARTICIPANTS}")]
    TooFew {
        /// Those there are.
        n: usize,
    },
    /// An age or a prediction is no number.
    #[error("an age or a prediction among {n} validation participants is no number")]
    NotFinite {
        /// Those there are.
        n: usize,
    },
}

impl ConformalInterval {
    /// Fits half widths: of the n scores |ŷ − y| (over σ where every head says a distribution), the ⌈(n + 1)·share⌉-th
    /// smallest.
    ///
    /// # Errors
    /// [`NoInterval`] says why the cases allow none.
    pub fn fit(validation: &[Case]) -> Result<Self, NoInterval> {
        let cases: Vec<&Case> = one_scan_each(validation).collect();
        let n = cases.len();
        let positive = |sd: Option<f64>| sd.is_some_and(|sd| sd.is_finite() && sd > 0.0);
        let scale = if n > 0 && cases.iter().all(|case| positive(case.head_sd_years)) {
            Scale::HeadSd
        } else {
            Scale::Years
        };
        let score = |case: &&Case| match (scale, case.head_sd_years) {
            (Scale::HeadSd, Some(sd)) => case.gap_years().abs() / sd,
            _ => case.gap_years().abs(),
        };
        let mut scores: Vec<f64> = cases.iter().map(score).collect();
        if scores.iter().any(|score| !score.is_finite()) {
            return Err(NoInterval::NotFinite { n });
        }
        scores.sort_unstable_by(f64::total_cmp);
        if n < MIN_PARTICIPANTS {
            return Err(NoInterval::TooFew { n });
        }
        let half_width = |coverage: f64| {
            // The small number takes back what rounding adds to products such as 10 · 0.9.
            let rank = ((n + 1) as f64 * coverage - 1e-9).ceil() as usize;
            let width = *scores.get(rank.checked_sub(1)?)?;
            Some(HalfWidth { coverage, width })
        };
        Ok(Self {
            scale,
            n,
            half_widths: COVERAGES.into_iter().filter_map(half_width).collect(),
        })
    }

    /// The interval around a predicted age, years; `None` where this share was not fitted, or the scale is the head's
    /// and it says none.
    pub fn around(
        &self,
        predicted_age_years: f64,
        head_sd_years: Option<f64>,
        coverage: f64,
    ) -> Option<[f64; 2]> {
        let mut fitted = self.half_widths.iter();
        let found = fitted.find(|half| (half.coverage - coverage).abs() < 1e-9)?;
        let unit = match self.scale {
            Scale::Years => 1.0,
            Scale::HeadSd => head_sd_years?,
        };
        let half = found.width * unit;
        Some([predicted_age_years - half, predicted_age_years + half])
    }

    /// The share whose interval is written unless another one is asked for: [`DEFAULT_COVERAGE`], or the largest one that
    /// was fitted.
    pub fn usual_coverage(&self) -> Option<f64> {
        let usual = self
            .coverages()
            .find(|share| (share - DEFAULT_COVERAGE).abs() < 1e-9);
        usual.or_else(|| self.coverages().max_by(f64::total_cmp))
    }

    /// The shares that were fitted.
    pub fn coverages(&self) -> impl Iterator<Item = f64> {
        self.half_widths.iter().map(|half| half.coverage)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::SeedableRng as _;
    use rand_distr::{Distribution as _, StandardNormal};

    fn case(id: usize, gap_years: f64, head_sd_years: Option<f64>) -> Case {
        Case {
            participant_id: format!("p{id}"),
            age_years: 50.0,
            predicted_age_years: 50.0 + gap_years,
            head_sd_years,
            ..Case::default()
        }
    }

    fn width(interval: &ConformalInterval, coverage: f64) -> Option<f64> {
        let [low, high] = interval.around(60.0, None, coverage)?;
        assert!((low + high - 120.0).abs() < 1e-9);
        Some((high - low) / 2.0)
    }

    #[test]
    fn the_half_width_is_the_rank_that_the_theorem_names() {
        // Scores 1 … 19: ⌈20 · 0.5⌉ = 10, ⌈20 · 0.8⌉ = 16, ⌈20 · 0.9⌉ = 18, ⌈20 · 0.95⌉ = 19.
        let cases: Vec<Case> = (1..=19).map(|i| case(i, -(i as f64), None)).collect();
        let interval = ConformalInterval::fit(&cases).unwrap();
        let found = COVERAGES.map(|coverage| width(&interval, coverage).unwrap());
        assert_eq!(found, [10.0, 16.0, 18.0, 19.0]);
        assert_eq!(interval.n, 19);
        assert_eq!(width(&interval, 0.99), None);
    }

    #[test]
    fn shares_that_need_more_participants_are_left_out() {
        let of = |n: usize| {
            let cases: Vec<Case> = (0..n).map(|i| case(i, 1.0, None)).collect();
            ConformalInterval::fit(&cases).map(|interval| interval.coverages().collect::<Vec<_>>())
        };
        let interval = ConformalInterval {
            scale: Scale::Years,
            n: 8,
            half_widths: [0.5, 0.8]
                .map(|coverage| HalfWidth {
                    coverage,
                    width: 1.0,
                })
                .into(),
        };
        assert_eq!(interval.usual_coverage(), Some(0.8));
        assert_eq!(of(18).unwrap(), [0.5, 0.8, 0.9]);
        assert_eq!(of(9).unwrap(), [0.5, 0.8, 0.9]);
        assert_eq!(of(8), Err(NoInterval::TooFew { n: 8 }));
    }

    #[test]
    fn a_head_that_says_how_sure_it_is_gets_wider_intervals_where_it_is_unsure() {
        let cases: Vec<Case> = (1..=19)
            .map(|i| case(i, 2.0 * i as f64, Some(2.0)))
            .collect();
        let interval = ConformalInterval::fit(&cases).unwrap();
        assert_eq!(interval.scale, Scale::HeadSd);
        assert_eq!(
            interval.around(60.0, Some(0.5), 0.5),
            Some([60.0 - 5.0, 60.0 + 5.0])
        );
        assert_eq!(interval.around(60.0, None, 0.5), None);
    }

    #[test]
    fn scans_of_one_participant_count_once_and_what_is_no_number_is_refused() {
        let mut cases: Vec<Case> = (1..=19).map(|i| case(i, i as f64, None)).collect();
        cases.extend((0..50).map(|_| case(1, 99.0, None)));
        assert_eq!(ConformalInterval::fit(&cases).unwrap().n, 19);
        cases[3].predicted_age_years = f64::NAN;
        assert_eq!(
            ConformalInterval::fit(&cases),
            Err(NoInterval::NotFinite { n: 19 })
        );
    }

    #[test]
    fn ninety_of_a_hundred_new_people_lie_in_the_ninety_percent_interval() {
        // Averaged over fits on n = 49 the coverage is ⌈50 · 0.9⌉ / 50 = 0.9 exactly. 400 fits, each judged on 50 new people:
        // the coverage of one fit has the standard deviation of a Beta(45, 5), 0.042, and its estimate another
        // √(0.09 / 50) = 0.042: √(0.042² + 0.042²) / √400 = 0.003, of which four are allowed.
        let mut normal = StandardNormal.sample_iter(ChaCha8Rng::seed_from_u64(5));
        let mut draw = |id| case(id, 4.0 * normal.next().unwrap_or(0.0), None);
        let mut covered = 0;
        for _ in 0..400 {
            let cases: Vec<Case> = (0..49).map(&mut draw).collect();
            let interval = ConformalInterval::fit(&cases).unwrap();
            let inside = |case: &Case| {
                let around = interval.around(case.predicted_age_years, None, 0.9);
                around.is_some_and(|[low, high]| (low..=high).contains(&case.age_years))
            };
            covered += (0..50).filter(|id| inside(&draw(*id))).count();
        }
        let share = covered as f64 / 20_000.0;
        assert!((share - 0.9).abs() < 0.012, "{share}");
    }
}
