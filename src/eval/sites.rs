//! Do sites differ in what is predicted of people of the same age?

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Case;
use super::groups::FEW_CASES;
use super::metrics::{self, Pair};

/// One-way analysis of variance of the gaps by site, after a common line on age was taken out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SiteEffect {
    /// Sites.
    pub n_sites: usize,
    /// Share of the variance of the gaps that sites account for, η².
    pub eta_squared: f64,
    /// F of the analysis of variance.
    pub f: f64,
    /// Its degrees of freedom, between and within sites.
    pub degrees_of_freedom: [usize; 2],
    /// Difference between the largest and the smallest mean gap among sites of ten cases and more, years.
    pub spread_years: Option<f64>,
}

impl SiteEffect {
    /// Of the cases whose site is known; `None` where they have fewer than two sites, or no line on age.
    pub(super) fn of(cases: &[Case]) -> Option<Self> {
        let known: Vec<&Case> = cases.iter().filter(|case| !case.site.is_empty()).collect();
        let pairs: Vec<Pair> = known.iter().map(|case| case.raw_pair()).collect();
        let line = metrics::line(&pairs)?;
        let mut by_site: BTreeMap<[&str; 2], Vec<f64>> = BTreeMap::new();
        for case in &known {
            let expected = line.slope * case.age_years + line.intercept;
            let key = [case.cohort.as_str(), case.site.as_str()];
            let left = case.predicted_age_years - expected;
            by_site.entry(key).or_default().push(left);
        }
        let (n, n_sites) = (known.len(), by_site.len());
        if n_sites < 2 || n <= n_sites {
            return None;
        }
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        let square = |values: &[f64], middle: f64| -> f64 {
            values.iter().map(|value| (value - middle).powi(2)).sum()
        };
        let all: Vec<f64> = by_site.values().flatten().copied().collect();
        let total = square(&all, mean(&all));
        let within: f64 = by_site.values().map(|site| square(site, mean(site))).sum();
        let between = total - within;
        let degrees_of_freedom = [n_sites - 1, n - n_sites];
        let [of_sites, of_cases] = degrees_of_freedom.map(|degrees| degrees as f64);
        let means = by_site.values().filter(|site| site.len() >= FEW_CASES);
        let means: Vec<f64> = means.map(|site| mean(site)).collect();
        let largest = means.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let smallest = means.iter().copied().fold(f64::INFINITY, f64::min);
        let (eta_squared, f) = (between / total, between / of_sites / (within / of_cases));
        (eta_squared.is_finite() && f.is_finite()).then_some(Self {
            n_sites,
            eta_squared,
            f,
            degrees_of_freedom,
            spread_years: (means.len() >= 2).then_some(largest - smallest),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn case(site: &str, age_years: f64, gap: f64) -> Case {
        Case {
            age_years,
            predicted_age_years: age_years + gap,
            site: site.to_owned(),
            ..Case::default()
        }
    }

    #[test]
    fn the_analysis_of_variance_is_that_of_the_textbook() {
        // Gaps that carry no trend on age: both sites have the same ages, and gaps a: 1, 3, 3, 1, b: −2, 0, 0, −2. Means 2 and
        // −1: between 4 · 1.5² · 2 = 18, within 4 + 4 = 8: η² = 18/26, F = 18 / (8/6) = 13.5.
        let ages = [30.0, 40.0, 50.0, 60.0];
        let site = |name, gaps: [f64; 4]| -> Vec<Case> {
            ages.into_iter()
                .zip(gaps)
                .map(|(age, gap)| case(name, age, gap))
                .collect()
        };
        let cases = [
            site("a", [1.0, 3.0, 3.0, 1.0]),
            site("b", [-2.0, 0.0, 0.0, -2.0]),
        ]
        .concat();
        let effect = SiteEffect::of(&cases).unwrap();
        assert!((effect.eta_squared - 18.0 / 26.0).abs() < 1e-9);
        assert!((effect.f - 13.5).abs() < 1e-9);
        assert_eq!(effect.degrees_of_freedom, [1, 6]);
        assert_eq!(effect.spread_years, None, "fewer than ten cases a site");
        assert_eq!(SiteEffect::of(&cases[..4]), None);
    }

    #[test]
    fn sites_of_different_ages_do_not_differ_by_the_age_bias_alone() {
        // ŷ = 0.5 · y + 25 everywhere; the young are at site a, the old at site b.
        let mut cases: Vec<Case> = (0..20)
            .map(|i| {
                let age = 20.0 + 3.0 * f64::from(i);
                let site = if i < 10 { "a" } else { "b" };
                case(site, age, 25.0 - 0.5 * age + f64::from(i % 2))
            })
            .collect();
        let effect = SiteEffect::of(&cases).unwrap();
        assert!(effect.eta_squared < 0.05, "{effect:?}");
        for case in cases.iter_mut().filter(|case| case.site == "b") {
            case.predicted_age_years += 5.0;
        }
        let shifted = SiteEffect::of(&cases).unwrap();
        assert!(shifted.eta_squared > effect.eta_squared + 0.1);
    }
}
