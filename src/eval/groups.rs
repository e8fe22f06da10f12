//! The same figures for parts of the cases: by cohort, by ten years of age, by sex.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::Case;
use super::bootstrap;
use super::metrics::{self, Pair};
use super::sums::Center;

/// Width of an age bin.
pub const AGE_BIN_YEARS: u32 = 10;

/// Groups with fewer cases are marked in tables: too few to read anything from.
pub const FEW_CASES: usize = 10;

/// The figures of one group. One that cannot be computed is null.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    /// Number of cases.
    pub n: usize,
    /// Youngest and oldest, years.
    pub age_range_years: Option<[f64; 2]>,
    /// Mean absolute error, years.
    pub mae: Option<f64>,
    /// 95 % bootstrap interval of `mae` over group keys, years.
    pub mae_ci: Option<[f64; 2]>,
    /// Root mean squared error, years.
    pub rmse: Option<f64>,
    /// Mean gap, years; positive: predicted too old.
    pub bias: Option<f64>,
    /// Pearson correlation of predicted with chronological age.
    pub r: Option<f64>,
    /// 1 − SSE / SST.
    pub r2: Option<f64>,
    /// Slope of the gap on age, years per year.
    pub bias_slope: Option<f64>,
    /// Gap at age 0 on that line, years.
    #[serde(default)]
    pub bias_intercept: Option<f64>,
    /// 95 % bootstrap intervals of the other figures.
    #[serde(default, flatten)]
    pub intervals: ScoreIntervals,
}

/// 95 % bootstrap intervals over group keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ScoreIntervals {
    /// Of the root mean squared error, years.
    pub rmse_ci: Option<[f64; 2]>,
    /// Of the mean gap, years.
    pub bias_ci: Option<[f64; 2]>,
    /// Of Pearson's correlation.
    pub r_ci: Option<[f64; 2]>,
    /// Of R².
    pub r2_ci: Option<[f64; 2]>,
    /// Of the slope of the gap on age.
    pub bias_slope_ci: Option<[f64; 2]>,
    /// Of the gap at age 0 on that line.
    pub bias_intercept_ci: Option<[f64; 2]>,
}

impl Scores {
    /// The figures of some cases, with the prediction that `pair` takes from each.
    pub(super) fn of(cases: &[&Case], pair: impl Fn(&Case) -> Pair, seed: u64) -> Self {
        let pairs: Vec<Pair> = cases.iter().map(|case| pair(case)).collect();
        let keyed = cases.iter().zip(&pairs);
        let keyed = keyed.map(|(case, pair)| (case.group_key.as_str(), *pair));
        let found = bootstrap::figure_intervals(keyed, Center::of(&pairs), seed);
        Self {
            n: pairs.len(),
            age_range_years: age_range_years(&pairs),
            mae: metrics::mae(&pairs),
            mae_ci: found.mae,
            rmse: metrics::rmse(&pairs),
            bias: metrics::bias(&pairs),
            r: metrics::pearson_r(&pairs),
            r2: metrics::r2(&pairs),
            bias_slope: metrics::bias_slope(&pairs),
            bias_intercept: metrics::line(&pairs).map(|line| line.intercept),
            intervals: ScoreIntervals {
                rmse_ci: found.rmse,
                bias_ci: found.bias,
                r_ci: found.r,
                r2_ci: found.r2,
                bias_slope_ci: found.bias_slope,
                bias_intercept_ci: found.bias_intercept,
            },
        }
    }
}

fn age_range_years(pairs: &[Pair]) -> Option<[f64; 2]> {
    let ages = || pairs.iter().map(|pair| pair.age_years);
    let range = [
        ages().fold(f64::INFINITY, f64::min),
        ages().fold(f64::NEG_INFINITY, f64::max),
    ];
    (range[0].is_finite() && range[1].is_finite()).then_some(range)
}

/// Figures of each group of cases with one key, in the keys' order.
pub(super) fn scores_by<K: Ord>(
    cases: &[Case],
    key: impl Fn(&Case) -> K,
    seed: u64,
) -> BTreeMap<K, Scores> {
    let mut groups: BTreeMap<K, Vec<&Case>> = BTreeMap::new();
    for case in cases {
        groups.entry(key(case)).or_default().push(case);
    }
    groups
        .into_iter()
        .map(|(key, cases)| (key, Scores::of(&cases, Case::raw_pair, seed)))
        .collect()
}

/// Ten years of age, written by its whole years: `60-69` is 60 ≤ age < 70.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct AgeBin {
    start_years: u32,
}

impl AgeBin {
    /// The bin of an age; ages below 0 (and what is no number) fall into the first.
    pub fn of(age_years: f64) -> Self {
        // `as` saturates: NaN and negative ages become 0.
        let whole_years = age_years as u32;
        Self {
            start_years: whole_years - whole_years % AGE_BIN_YEARS,
        }
    }

    /// Its youngest age, years.
    pub fn start_years(self) -> u32 {
        self.start_years
    }
}

impl fmt::Display for AgeBin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let last = u64::from(self.start_years) + u64::from(AGE_BIN_YEARS) - 1;
        write!(f, "{}-{last}", self.start_years)
    }
}

impl From<AgeBin> for String {
    fn from(bin: AgeBin) -> Self {
        bin.to_string()
    }
}

impl TryFrom<String> for AgeBin {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let start = text.split('-').next().and_then(|start| start.parse().ok());
        let bin = start.map(|start_years| Self { start_years });
        bin.filter(|bin| bin.to_string() == text && bin.start_years % AGE_BIN_YEARS == 0)
            .ok_or_else(|| format!("found age bin `{text}`, expected one like `60-69`"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn age_bins_start_at_whole_tens() {
        for (age_years, expected) in [
            (0.0, "0-9"),
            (9.99, "0-9"),
            (60.0, "60-69"),
            (69.999, "60-69"),
            (101.5, "100-109"),
        ] {
            assert_eq!(AgeBin::of(age_years).to_string(), expected);
        }
        assert_eq!(AgeBin::of(f64::NAN), AgeBin::of(0.0));
        assert_eq!(AgeBin::of(-3.0), AgeBin::of(0.0));
        assert_eq!(
            AgeBin::of(f64::INFINITY).to_string(),
            "4294967290-4294967299"
        );
    }

    #[test]
    fn age_bins_sort_by_age_and_not_by_text() {
        assert!(AgeBin::of(25.0) < AgeBin::of(101.0));
    }

    #[test]
    fn an_age_bin_reads_back_and_other_text_is_refused() {
        assert_eq!(AgeBin::try_from("60-69".to_owned()), Ok(AgeBin::of(65.0)));
        for text in [
            "", "60", "60-70", "65-74", "060-069", "60-69-79", "-60", "x-y",
        ] {
            assert!(AgeBin::try_from(text.to_owned()).is_err(), "{text}");
        }
    }
}
