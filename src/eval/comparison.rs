//! Two models on the same scans.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Case, bootstrap};

/// The mean absolute errors of two models and their difference, by the paired bootstrap over group keys.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// Scans that both predicted.
    pub n: usize,
    /// Mean absolute error of the first, years.
    pub mae_first: f64,
    /// Of the second.
    pub mae_second: f64,
    /// First less second, years: negative where the first is better.
    pub difference: f64,
    /// 95 % interval of the difference: where it holds 0, the two are not told apart.
    pub difference_ci: Option<[f64; 2]>,
    /// Twice the smaller share of resamples on one side of 0.
    pub p_two_sided: Option<f64>,
}

impl Comparison {
    /// Of the scans that both have; `None` where there are none.
    pub fn of(first: &[Case], second: &[Case], seed: u64) -> Option<Self> {
        let by_scan: BTreeMap<&str, &Case> = second
            .iter()
            .map(|case| (case.scan.as_str(), case))
            .collect();
        let both: Vec<(&Case, f64, f64)> = first
            .iter()
            .filter_map(|case| {
                let other = by_scan.get(case.scan.as_str())?;
                Some((case, case.gap_years().abs(), other.gap_years().abs()))
            })
            .collect();
        let n = both.len();
        if n == 0 {
            return None;
        }
        let mean = |of: fn(&(&Case, f64, f64)) -> f64| both.iter().map(of).sum::<f64>() / n as f64;
        let (mae_first, mae_second) = (mean(|both| both.1), mean(|both| both.2));
        let keyed = || {
            let both = both.iter();
            both.map(|(case, a, b)| (case.group_key.as_str(), a - b))
        };
        let share = |means: Vec<f64>| {
            let below = means.iter().filter(|mean| **mean <= 0.0).count() as f64;
            let above = means.iter().filter(|mean| **mean >= 0.0).count() as f64;
            (2.0 * below.min(above) / means.len() as f64).min(1.0)
        };
        Some(Self {
            n,
            mae_first,
            mae_second,
            difference: mae_first - mae_second,
            difference_ci: bootstrap::mean_interval(keyed(), seed),
            p_two_sided: bootstrap::means(keyed(), seed).map(share),
        })
    }

    /// One line for the terminal.
    pub fn to_text(&self) -> String {
        let interval = self.difference_ci.map_or_else(String::new, |[low, high]| {
            format!(" [{low:+.2}, {high:+.2}]")
        });
        let p = self
            .p_two_sided
            .map_or_else(String::new, |p| format!(", p = {p:.3}"));
        format!(
            "MAE {:.2} against {:.2} years on the same {} scans: difference {:+.2}{interval} (95 %, paired bootstrap{p})",
            self.mae_first, self.mae_second, self.n, self.difference
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn case(id: usize, gap: f64) -> Case {
        Case {
            scan: format!("s{id}"),
            age_years: 50.0,
            predicted_age_years: 50.0 + gap,
            group_key: format!("p{id}"),
            ..Case::default()
        }
    }

    fn wave(id: usize) -> f64 {
        (id * 7 % 11) as f64 - 5.0
    }

    #[test]
    fn a_model_that_errs_by_a_year_more_on_every_scan_is_worse_by_a_year() {
        let first: Vec<Case> = (0..40).map(|id| case(id, wave(id).abs() + 1.0)).collect();
        let second: Vec<Case> = (0..40).map(|id| case(id, wave(id))).collect();
        let found = Comparison::of(&first, &second, 1).unwrap();
        assert_eq!(found.n, 40);
        assert!((found.difference - 1.0).abs() < 1e-12);
        // Paired: the difference does not vary, however much the errors do.
        let [low, high] = found.difference_ci.unwrap();
        assert!((low - 1.0).abs() < 1e-12 && (high - 1.0).abs() < 1e-12);
        assert_eq!(found.p_two_sided, Some(0.0));
    }

    #[test]
    fn a_model_against_itself_is_no_different_and_without_common_scans_there_is_nothing() {
        let cases: Vec<Case> = (0..40).map(|id| case(id, wave(id))).collect();
        let same = Comparison::of(&cases, &cases, 1).unwrap();
        assert_eq!((same.difference, same.p_two_sided), (0.0, Some(1.0)));
        let others: Vec<Case> = (100..140).map(|id| case(id, 0.0)).collect();
        assert_eq!(Comparison::of(&cases, &others, 1), None);
    }
}
