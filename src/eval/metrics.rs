//! Figures over pairs of chronological and predicted age. Pure functions: no randomness, no grouping.
//!
//! With y the age, ŷ the prediction and e = ŷ − y the gap. A figure that is not defined (no pairs, constant ages) or
//! would not be a finite number is `None`.

/// One person's ages.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pair {
    /// Chronological age, y.
    pub age_years: f64,
    /// Predicted age, ŷ.
    pub predicted_age_years: f64,
}

impl Pair {
    /// Gap, e = ŷ − y.
    pub fn gap_years(self) -> f64 {
        self.predicted_age_years - self.age_years
    }
}

/// The least-squares line ŷ = slope · y + intercept.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Line {
    /// Years of prediction per year of age.
    pub slope: f64,
    /// Prediction at age 0, years.
    pub intercept: f64,
}

/// Mean absolute error, mean |e|, years.
pub fn mae(pairs: &[Pair]) -> Option<f64> {
    mean(pairs, |pair| pair.gap_years().abs())
}

/// Root mean squared error, √(mean e²), years.
pub fn rmse(pairs: &[Pair]) -> Option<f64> {
    mean(pairs, |pair| pair.gap_years().powi(2)).map(f64::sqrt)
}

/// Mean gap, mean e, years.
pub fn bias(pairs: &[Pair]) -> Option<f64> {
    mean(pairs, Pair::gap_years)
}

/// Mean absolute error of predicting one age for everybody, mean |ȳ_train − y|, years.
pub fn baseline_mae(pairs: &[Pair], train_mean_age_years: f64) -> Option<f64> {
    mean(pairs, |pair| (train_mean_age_years - pair.age_years).abs())
}

/// Pearson correlation of ŷ with y; `None` if either is constant.
pub fn pearson_r(pairs: &[Pair]) -> Option<f64> {
    if is_constant(pairs, |pair| pair.predicted_age_years) {
        return None;
    }
    let moments = Moments::of(pairs)?;
    let r = moments.covariance / (moments.age_variance * moments.predicted_variance).sqrt();
    finite(r).map(|r| r.clamp(-1.0, 1.0))
}

/// Coefficient of determination, 1 − Σe² / Σ(y − ȳ)²; `None` if the ages are constant.
pub fn r2(pairs: &[Pair]) -> Option<f64> {
    let moments = Moments::of(pairs)?;
    let mean_squared_error = mean(pairs, |pair| pair.gap_years().powi(2))?;
    finite(1.0 - mean_squared_error / moments.age_variance)
}

/// The least-squares line of ŷ on y; `None` if the ages are constant.
pub fn line(pairs: &[Pair]) -> Option<Line> {
    let moments = Moments::of(pairs)?;
    let slope = finite(moments.covariance / moments.age_variance)?;
    let intercept = finite(moments.mean_predicted - slope * moments.mean_age)?;
    Some(Line { slope, intercept })
}

/// The slope of the gap on age: that of ŷ on y, less 1; `None` if the ages are constant.
pub fn bias_slope(pairs: &[Pair]) -> Option<f64> {
    line(pairs).map(|line| line.slope - 1.0)
}

/// Means and (population) variances; their n cancels in everything above.
struct Moments {
    mean_age: f64,
    mean_predicted: f64,
    age_variance: f64,
    predicted_variance: f64,
    covariance: f64,
}

impl Moments {
    /// In two passes, so that ages far from 0 lose no digits. `None` if the ages are constant: rounding of the mean
    /// would otherwise give them a variance that is tiny but not 0.
    fn of(pairs: &[Pair]) -> Option<Self> {
        if is_constant(pairs, |pair| pair.age_years) {
            return None;
        }
        let mean_age = mean(pairs, |pair| pair.age_years)?;
        let mean_predicted = mean(pairs, |pair| pair.predicted_age_years)?;
        let age = |pair: Pair| pair.age_years - mean_age;
        let predicted = |pair: Pair| pair.predicted_age_years - mean_predicted;
        Some(Self {
            mean_age,
            mean_predicted,
            age_variance: mean(pairs, |pair| age(pair).powi(2))?,
            predicted_variance: mean(pairs, |pair| predicted(pair).powi(2))?,
            covariance: mean(pairs, |pair| age(pair) * predicted(pair))?,
        })
    }
}

/// Mean of `value`, summed in the order of the pairs.
fn mean(pairs: &[Pair], value: impl Fn(Pair) -> f64) -> Option<f64> {
    if pairs.is_empty() {
        return None;
    }
    finite(pairs.iter().map(|&pair| value(pair)).sum::<f64>() / pairs.len() as f64)
}

fn is_constant(pairs: &[Pair], value: impl Fn(Pair) -> f64) -> bool {
    pairs
        .first()
        .is_none_or(|&first| pairs.iter().all(|&pair| value(pair) == value(first)))
}

fn finite(value: f64) -> Option<f64> {
    value.is_finite().then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pairs(ages_years: &[f64], predicted_years: &[f64]) -> Vec<Pair> {
        let both = ages_years.iter().zip(predicted_years);
        both.map(|(&age_years, &predicted_age_years)| Pair {
            age_years,
            predicted_age_years,
        })
        .collect()
    }

    fn assert_close(found: Option<f64>, expected: f64) {
        let found = found.unwrap();
        // Both are sums of ten doubles below 100 in some order: a few units in the 14th digit.
        assert!(
            (found - expected).abs() < 1e-12 * expected.abs().max(1.0),
            "{found} {expected}"
        );
    }

    #[test]
    fn the_figures_agree_with_numpy() {
        // numpy 2.4.6:
        // y = np.array([21.4, 33.9, 45.2, 52.7, 58.1, 63.3, 67.8, 71.6, 79.4, 88.2])
        // p = np.array([29.8, 35.1, 50.6, 49.9, 60.2, 61.7, 70.4, 66.3, 75.9, 79.1]); e = p - y
        // [abs(e).mean(), np.sqrt((e**2).mean()), e.mean(), np.corrcoef(y, p)[0, 1],
        //  1 - (e**2).sum() / ((y - y.mean())**2).sum(), *np.polyfit(y, p, 1), np.polyfit(y, e, 1)[0], abs(55.5 - y).mean()]
        let ages = [21.4, 33.9, 45.2, 52.7, 58.1, 63.3, 67.8, 71.6, 79.4, 88.2];
        let predicted = [29.8, 35.1, 50.6, 49.9, 60.2, 61.7, 70.4, 66.3, 75.9, 79.1];
        let pairs = pairs(&ages, &predicted);
        assert_close(mae(&pairs), 4.2);
        assert_close(rmse(&pairs), 4.958_628_842_735);
        assert_close(bias(&pairs), -0.26);
        assert_close(pearson_r(&pairs), 0.983_812_567_902);
        assert_close(r2(&pairs), 0.935_143_587_265_5);
        assert_close(line(&pairs).map(|line| line.slope), 0.790_349_825_804_6);
        assert_close(line(&pairs).map(|line| line.intercept), 11.933_254_131_21);
        assert_close(bias_slope(&pairs), -0.209_650_174_195_4);
        assert_close(baseline_mae(&pairs, 55.5), 16.42);
    }

    #[test]
    fn no_pairs_give_no_figure() {
        for figure in [mae, rmse, bias, pearson_r, r2, bias_slope] {
            assert_eq!(figure(&[]), None);
        }
        assert_eq!(baseline_mae(&[], 50.0), None);
        assert_eq!(line(&[]), None);
    }

    #[test]
    fn one_pair_has_an_error_but_no_correlation() {
        let one = pairs(&[63.2], &[60.1]);
        assert_close(mae(&one), 3.1);
        assert_close(rmse(&one), 3.1);
        assert_close(bias(&one), -3.1);
        for figure in [pearson_r, r2, bias_slope] {
            assert_eq!(figure(&one), None);
        }
    }

    #[test]
    fn constant_ages_have_no_correlation_although_their_mean_is_rounded() {
        // Σ 63.2 / 7 is not 63.2 in doubles.
        let constant = pairs(&[63.2; 7], &[60.0, 61.0, 62.0, 63.0, 64.0, 65.0, 66.0]);
        for figure in [pearson_r, r2, bias_slope] {
            assert_eq!(figure(&constant), None);
        }
        assert!(mae(&constant).is_some());
    }

    #[test]
    fn predicting_one_age_has_no_correlation_and_bias_slope_minus_1() {
        let flat = pairs(&[20.0, 40.0, 60.0], &[40.3; 3]);
        assert_eq!(pearson_r(&flat), None);
        assert_close(bias_slope(&flat), -1.0);
    }

    #[test]
    fn values_that_are_no_numbers_give_no_figure() {
        for bad in [f64::NAN, f64::INFINITY, f64::MAX] {
            let pairs = pairs(&[20.0, 40.0, 60.0], &[20.0, bad, 60.0]);
            assert_eq!(rmse(&pairs), None);
            assert_eq!(pearson_r(&pairs), None);
            assert_eq!(r2(&pairs), None);
        }
    }

    proptest! {
        #[test]
        fn mae_is_at_most_rmse_and_the_bias_is_within_it(
            values in prop::collection::vec((0.0..120.0_f64, 0.0..120.0_f64), 1..50),
        ) {
            let pairs: Vec<Pair> = values
                .into_iter()
                .map(|(age_years, predicted_age_years)| Pair { age_years, predicted_age_years })
                .collect();
            let (mae, rmse) = (mae(&pairs).unwrap(), rmse(&pairs).unwrap());
            prop_assert!(mae <= rmse + 1e-9);
            prop_assert!(bias(&pairs).unwrap().abs() <= mae + 1e-9);
        }

        #[test]
        fn a_prediction_on_a_line_is_recovered(
            ages in prop::collection::btree_set(1_u32..120, 3..40),
            slope in 0.1..2.0_f64,
            intercept in -20.0..50.0_f64,
        ) {
            let pairs: Vec<Pair> = ages
                .into_iter()
                .map(|age| Pair {
                    age_years: f64::from(age),
                    predicted_age_years: slope * f64::from(age) + intercept,
                })
                .collect();
            let line = line(&pairs).unwrap();
            prop_assert!((line.slope - slope).abs() < 1e-9);
            prop_assert!((line.intercept - intercept).abs() < 1e-7);
            prop_assert!((pearson_r(&pairs).unwrap() - 1.0).abs() < 1e-9);
        }
    }
}
