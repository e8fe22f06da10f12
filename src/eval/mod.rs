//! How good predictions are: errors with intervals, by cohort, age and sex, before and after age-bias correction.
//!
//! The data come as [`Case`]s (a scan whose participant's age is known, with the age that was predicted for it), from
//! the predictions of a run or from a table of predictions joined with a table of ages. They leave as [`Evaluation`],
//! which is `evaluation.json`, a table for the terminal and a part of the report. Nothing here opens a file, and
//! nothing here is fitted on the cases that are judged: a [`bias::BiasCorrection`] comes from validation cases.

pub mod bias;
pub mod bootstrap;
pub mod comparison;
pub mod conformal;
pub mod coverage;
pub mod groups;
pub mod metrics;
pub mod retest;
pub mod sites;

mod case;
mod sums;
mod text;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use case::{Case, one_scan_each};

use coverage::Coverage;
use groups::{AgeBin, ScoreIntervals, Scores};
use metrics::Pair;
use retest::Retest;
use sites::SiteEffect;

/// What `evaluation.json` holds. A figure that cannot be computed (too few cases, constant ages) is null.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Number of cases.
    pub n: usize,
    /// Mean absolute error, years.
    pub mae: Option<f64>,
    /// 95 % bootstrap interval of `mae` over group keys, years.
    pub mae_ci: Option<[f64; 2]>,
    /// Root mean squared error, years.
    pub rmse: Option<f64>,
    /// Pearson correlation of predicted with chronological age.
    pub r: Option<f64>,
    /// 1 − SSE / SST: negative if worse than the cases' own mean age. Not the square of `r`.
    pub r2: Option<f64>,
    /// Slope of the gap on age, years per year: 0 without age bias, −1 if the prediction ignores the brain.
    pub bias_slope: Option<f64>,
    /// Gap at age 0 on that line, years.
    #[serde(default)]
    pub bias_intercept: Option<f64>,
    /// 95 % bootstrap intervals of these figures.
    #[serde(default, flatten)]
    pub intervals: ScoreIntervals,
    /// Mean absolute error of predicting the mean age of the training set for everybody, years.
    pub baseline_mae: Option<f64>,
    /// The cases that have a corrected age. The correction uses the age itself: these figures describe corrected
    /// gaps and are no measure of accuracy (Butler et al. 2021, Hum Brain Mapp 42:4092).
    pub corrected: Option<Scores>,
    /// By cohort.
    pub by_cohort: BTreeMap<String, Scores>,
    /// By ten years of age.
    pub by_age_bin: BTreeMap<AgeBin, Scores>,
    /// By sex.
    pub by_sex: BTreeMap<String, Scores>,
    /// By site, as `cohort, site`, of the cases whose site is known.
    #[serde(default)]
    pub by_site: BTreeMap<String, Scores>,
    /// Whether sites differ; `None` where fewer than two are known.
    #[serde(default)]
    pub site_effect: Option<SiteEffect>,
    /// Whether calibrated intervals hold what they state; `None` without intervals.
    #[serde(default)]
    pub coverage: Option<Coverage>,
    /// Agreement of repeat scans; `None` where nobody was scanned twice.
    #[serde(default)]
    pub retest: Option<Retest>,
}

/// Judges predictions.
///
/// The result depends on the cases, their order and the seed, never on the number of threads.
///
/// # Units
/// `train_mean_age_years`: mean age of the training set, if it is known.
/// # References
/// Metrics and what to say beside them: de Lange et al. 2022, Hum Brain Mapp 43:3113.
pub fn evaluate(cases: &[Case], train_mean_age_years: Option<f64>, seed: u64) -> Evaluation {
    let all: Vec<&Case> = cases.iter().collect();
    let raw = Scores::of(&all, Case::raw_pair, seed);
    let corrected: Vec<&Case> = cases
        .iter()
        .filter(|c| c.corrected_pair().is_some())
        .collect();
    let pairs: Vec<Pair> = cases.iter().map(Case::raw_pair).collect();
    let with_site = cases.iter().filter(|case| !case.site.is_empty());
    let with_site: Vec<Case> = with_site.cloned().collect();
    Evaluation {
        n: raw.n,
        mae: raw.mae,
        mae_ci: raw.mae_ci,
        rmse: raw.rmse,
        r: raw.r,
        r2: raw.r2,
        bias_slope: raw.bias_slope,
        bias_intercept: raw.bias_intercept,
        intervals: raw.intervals,
        baseline_mae: train_mean_age_years.and_then(|mean| metrics::baseline_mae(&pairs, mean)),
        corrected: (!corrected.is_empty()).then(|| {
            Scores::of(
                &corrected,
                |c| c.corrected_pair().unwrap_or_else(|| c.raw_pair()),
                seed,
            )
        }),
        by_cohort: groups::scores_by(cases, |case| case.cohort.clone(), seed),
        by_age_bin: groups::scores_by(cases, |case| AgeBin::of(case.age_years), seed),
        by_sex: groups::scores_by(cases, |case| case.sex.clone(), seed),
        by_site: groups::scores_by(&with_site, site_name, seed),
        site_effect: SiteEffect::of(cases),
        coverage: Coverage::of(cases, seed),
        retest: Retest::of(cases),
    }
}

fn site_name(case: &Case) -> String {
    format!("{}, {}", case.cohort, case.site)
}

impl Evaluation {
    /// Mean of the age bins' MAE: the same weight for every age, however many were scanned at it.
    pub fn macro_mae(&self) -> Option<f64> {
        let maes: Vec<f64> = self
            .by_age_bin
            .values()
            .filter_map(|scores| scores.mae)
            .collect();
        (!maes.is_empty()).then(|| maes.iter().sum::<f64>() / maes.len() as f64)
    }

    /// Mean gap, years: that of the cohorts, each weighted with its number of cases.
    pub fn bias(&self) -> Option<f64> {
        let sums = self
            .by_cohort
            .values()
            .map(|scores| Some(scores.bias? * scores.n as f64));
        let sum = sums.sum::<Option<f64>>()?;
        (self.n > 0).then(|| sum / self.n as f64)
    }

    /// The figures of all cases together, as those of a group.
    pub fn overall(&self) -> Scores {
        Scores {
            n: self.n,
            age_range_years: None,
            mae: self.mae,
            mae_ci: self.mae_ci,
            rmse: self.rmse,
            bias: self.bias(),
            r: self.r,
            r2: self.r2,
            bias_slope: self.bias_slope,
            bias_intercept: self.bias_intercept,
            intervals: self.intervals,
        }
    }

    /// A table for the terminal, 88 columns, without color.
    pub fn to_text(&self) -> String {
        text::table(self)
    }
}

#[cfg(test)]
mod tests {
    use super::bias::BiasCorrection;
    use super::*;

    fn case(age_years: f64, predicted_age_years: f64, cohort: &str, sex: &str, key: &str) -> Case {
        Case {
            scan: format!("{key}.nii.gz"),
            participant_id: key.to_owned(),
            age_years,
            predicted_age_years,
            corrected_age_years: None,
            group_key: format!("{cohort}:{key}"),
            cohort: cohort.to_owned(),
            sex: sex.to_owned(),
            ..Case::default()
        }
    }

    fn four_cases() -> Vec<Case> {
        vec![
            case(20.0, 24.0, "camcan", "F", "a"),
            case(40.0, 41.0, "camcan", "M", "b"),
            case(60.0, 58.0, "ukbb", "F", "c"),
            case(80.0, 73.0, "ukbb", "M", "d"),
        ]
    }

    #[test]
    fn an_evaluation_holds_the_figures_computed_by_hand() {
        // Gaps 4, 1, −2, −7: MAE 14/4, SSE 70, SST 2·(30² + 10²) = 2000, Σ(y−ȳ)e = −30·4 −10·1 + 10·−2 + 30·−7 = −360.
        let evaluation = evaluate(&four_cases(), Some(45.0), 1);
        assert_eq!(evaluation.n, 4);
        let close = |found: Option<f64>, expected: f64| (found.unwrap() - expected).abs() < 1e-12;
        assert!(close(evaluation.mae, 3.5));
        assert!(close(evaluation.rmse, (70.0_f64 / 4.0).sqrt()));
        assert!(close(evaluation.r2, 1.0 - 70.0 / 2000.0));
        assert!(close(evaluation.bias_slope, -360.0 / 2000.0));
        assert!(close(
            evaluation.baseline_mae,
            (25.0 + 5.0 + 15.0 + 35.0) / 4.0
        ));
        assert!(close(evaluation.by_cohort["ukbb"].mae, 4.5));
        assert!(close(evaluation.by_cohort["ukbb"].bias, -4.5));
        assert!(close(evaluation.by_sex["F"].mae, 3.0));
        assert!(close(evaluation.by_age_bin[&AgeBin::of(80.0)].mae, 7.0));
        assert!(close(evaluation.macro_mae(), 3.5));
    }

    #[test]
    fn the_json_has_the_contracted_keys_and_reads_back_the_same() {
        let evaluation = evaluate(&four_cases(), Some(45.0), 1);
        let text = serde_json::to_string(&evaluation).unwrap();
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        let object = json.as_object().unwrap();
        let contracted = [
            "baseline_mae",
            "bias_slope",
            "by_age_bin",
            "by_cohort",
            "by_sex",
            "corrected",
            "mae",
            "mae_ci",
            "n",
            "r",
            "r2",
            "rmse",
        ];
        for key in contracted {
            assert!(object.contains_key(key), "{key}");
        }
        assert!(json["corrected"].is_null());
        assert!(json["by_age_bin"]["80-89"]["mae"].is_number());
        assert_eq!(
            serde_json::from_str::<Evaluation>(&text).unwrap(),
            evaluation
        );
    }

    #[test]
    fn without_cases_every_figure_is_null() {
        let evaluation = evaluate(&[], Some(50.0), 1);
        assert_eq!(evaluation.n, 0);
        assert_eq!(evaluation.mae, None);
        assert_eq!(evaluation.mae_ci, None);
        assert_eq!(evaluation.baseline_mae, None);
        assert_eq!(evaluation.corrected, None);
        assert!(evaluation.by_cohort.is_empty());
    }

    #[test]
    fn a_correction_fitted_on_the_trend_of_other_cases_takes_the_slope_away() {
        // 20 validation cases on ŷ = 0.8·y + 10 exactly; the judged ones follow it too, with gaps of ±1 around it.
        let validation: Vec<Case> = (0..20)
            .map(|i| {
                let age_years = 20.0 + 3.0 * f64::from(i);
                case(
                    age_years,
                    0.8 * age_years + 10.0,
                    "bids",
                    "F",
                    &format!("v{i}"),
                )
            })
            .collect();
        let correction = BiasCorrection::fit(&validation).unwrap();
        let mut judged: Vec<Case> = (0..40)
            .map(|i| {
                let age_years = 20.0 + f64::from(i / 2);
                let noise = if i % 2 == 0 { 1.0 } else { -1.0 };
                case(
                    age_years,
                    0.8 * age_years + 10.0 + noise,
                    "bids",
                    "M",
                    &format!("j{i}"),
                )
            })
            .collect();
        for case in &mut judged {
            case.correct(&correction);
        }
        let evaluation = evaluate(&judged, None, 1);
        let corrected = evaluation.corrected.unwrap();
        assert_eq!(corrected.n, 40);
        assert!((evaluation.bias_slope.unwrap() + 0.2).abs() < 1e-9);
        assert!(corrected.bias_slope.unwrap().abs() < 1e-9);
        assert!((corrected.mae.unwrap() - 1.0).abs() < 1e-9);
    }

    #[test]
    fn cases_outside_the_fitted_ages_are_left_out_of_the_corrected_figures() {
        let validation: Vec<Case> = (0..20)
            .map(|i| {
                case(
                    50.0 + f64::from(i),
                    55.0 + f64::from(i),
                    "ukbb",
                    "F",
                    &format!("v{i}"),
                )
            })
            .collect();
        let correction = BiasCorrection::fit(&validation).unwrap();
        let mut judged = four_cases();
        for case in &mut judged {
            case.correct(&correction);
        }
        assert_eq!(evaluate(&judged, None, 1).corrected.unwrap().n, 1);
    }
}
