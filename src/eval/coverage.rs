//! Whether calibrated intervals hold what they state.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Case, bootstrap};

/// How many ages lay in their intervals.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Coverage {
    /// The share that the intervals state.
    pub stated: f64,
    /// The share of ages inside.
    pub covered: f64,
    /// 95 % bootstrap interval of it over group keys.
    pub covered_ci: Option<[f64; 2]>,
    /// Cases with an interval.
    pub n: usize,
    /// Mean width of the intervals, years.
    pub mean_width_years: f64,
    /// The share of ages inside, by cohort: a promise for the validation set's people is none for a new scanner's.
    pub by_cohort: BTreeMap<String, f64>,
}

impl Coverage {
    /// Of the cases that have an interval; `None` without one, or where they state different shares.
    pub(super) fn of(cases: &[Case], seed: u64) -> Option<Self> {
        let inside: Vec<(&Case, f64, f64)> = cases
            .iter()
            .filter_map(|case| {
                let [low, high] = case.interval_years?;
                let is_inside = (low..=high).contains(&case.age_years);
                Some((case, f64::from(u8::from(is_inside)), high - low))
            })
            .collect();
        let stated = inside.first()?.0.coverage?;
        if inside
            .iter()
            .any(|(case, ..)| case.coverage != Some(stated))
        {
            return None;
        }
        let n = inside.len();
        let mut by_cohort: BTreeMap<String, [f64; 2]> = BTreeMap::new();
        for (case, inside, _) in &inside {
            let counts = by_cohort.entry(case.cohort.clone()).or_default();
            counts[0] += inside;
            counts[1] += 1.0;
        }
        let keyed = inside
            .iter()
            .map(|(case, inside, _)| (case.group_key.as_str(), *inside));
        Some(Self {
            stated,
            covered: inside.iter().map(|(_, inside, _)| inside).sum::<f64>() / n as f64,
            covered_ci: bootstrap::mean_interval(keyed, seed),
            n,
            mean_width_years: inside.iter().map(|(.., width)| width).sum::<f64>() / n as f64,
            by_cohort: by_cohort
                .into_iter()
                .map(|(cohort, [inside, n])| (cohort, inside / n))
                .collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn case(id: usize, gap: f64, cohort: &str) -> Case {
        Case {
            age_years: 50.0,
            interval_years: Some([50.0 + gap - 5.0, 50.0 + gap + 5.0]),
            coverage: Some(0.9),
            group_key: format!("p{id}"),
            cohort: cohort.to_owned(),
            ..Case::default()
        }
    }

    #[test]
    fn the_share_inside_is_counted_in_all_and_by_cohort() {
        let mut cases: Vec<Case> = (0..8).map(|id| case(id, 1.0, "a")).collect();
        cases.push(case(8, 6.0, "b"));
        cases.push(case(9, -5.0, "b"));
        cases.push(Case::default());
        let coverage = Coverage::of(&cases, 1).unwrap();
        assert_eq!((coverage.n, coverage.stated), (10, 0.9));
        assert!((coverage.covered - 0.9).abs() < 1e-12);
        assert_eq!(coverage.by_cohort["a"], 1.0);
        assert_eq!(coverage.by_cohort["b"], 0.5);
        assert_eq!(coverage.mean_width_years, 10.0);
    }

    #[test]
    fn without_intervals_or_with_mixed_ones_there_is_none() {
        assert_eq!(Coverage::of(&[Case::default()], 1), None);
        let mut other = case(1, 0.0, "a");
        other.coverage = Some(0.8);
        assert_eq!(Coverage::of(&[case(0, 0.0, "a"), other], 1), None);
    }
}
