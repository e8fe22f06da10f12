//! Sums from which every figure follows: what a bootstrap adds up for each resample, in place of its pairs.

use super::metrics::Pair;

/// How many figures there are.
pub(super) const N_FIGURES: usize = 7;

/// One thing for each figure, such as its value or its interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Figures<T> {
    pub(super) mae: Option<T>,
    pub(super) rmse: Option<T>,
    pub(super) bias: Option<T>,
    pub(super) r: Option<T>,
    pub(super) r2: Option<T>,
    pub(super) bias_slope: Option<T>,
    pub(super) bias_intercept: Option<T>,
}

impl<T> Default for Figures<T> {
    fn default() -> Self {
        Self::from_array([const { None }; N_FIGURES])
    }
}

impl<T> Figures<T> {
    pub(super) fn into_array(self) -> [Option<T>; N_FIGURES] {
        [
            self.mae,
            self.rmse,
            self.bias,
            self.r,
            self.r2,
            self.bias_slope,
            self.bias_intercept,
        ]
    }

    pub(super) fn from_array(figures: [Option<T>; N_FIGURES]) -> Self {
        let [mae, rmse, bias, r, r2, bias_slope, bias_intercept] = figures;
        Self {
            mae,
            rmse,
            bias,
            r,
            r2,
            bias_slope,
            bias_intercept,
        }
    }
}

/// Where sums are taken from, so that ages far from 0 lose no digits: about the means of all pairs.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Center {
    age_years: f64,
    predicted_age_years: f64,
}

impl Center {
    /// The means of pairs.
    pub(super) fn of(pairs: &[Pair]) -> Self {
        let n = pairs.len().max(1) as f64;
        Self {
            age_years: pairs.iter().map(|pair| pair.age_years).sum::<f64>() / n,
            predicted_age_years: pairs.iter().map(|p| p.predicted_age_years).sum::<f64>() / n,
        }
    }
}

/// Sums over some pairs; y and ŷ are measured from the center.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Sums {
    n: f64,
    absolute_gap: f64,
    gap: f64,
    squared_gap: f64,
    age: f64,
    squared_age: f64,
    predicted: f64,
    squared_predicted: f64,
    product: f64,
}

impl Sums {
    pub(super) fn add(&mut self, pair: Pair, center: Center) {
        let gap = pair.gap_years();
        let age = pair.age_years - center.age_years;
        let predicted = pair.predicted_age_years - center.predicted_age_years;
        self.join(&Self {
            n: 1.0,
            absolute_gap: gap.abs(),
            gap,
            squared_gap: gap * gap,
            age,
            squared_age: age * age,
            predicted,
            squared_predicted: predicted * predicted,
            product: age * predicted,
        });
    }

    pub(super) fn join(&mut self, other: &Self) {
        self.n += other.n;
        self.absolute_gap += other.absolute_gap;
        self.gap += other.gap;
        self.squared_gap += other.squared_gap;
        self.age += other.age;
        self.squared_age += other.squared_age;
        self.predicted += other.predicted;
        self.squared_predicted += other.squared_predicted;
        self.product += other.product;
    }

    /// The figures of [`super::metrics`].
    pub(super) fn figures(&self, center: Center) -> Figures<f64> {
        let finite = |value: f64| value.is_finite().then_some(value);
        let (mean_age, mean_predicted) = (self.age / self.n, self.predicted / self.n);
        // A variance that only rounding makes is none.
        let variance = |squares: f64, mean: f64| {
            let square = squares / self.n;
            let variance = square - mean * mean;
            if variance > 1e-12 * square {
                variance
            } else {
                f64::NAN
            }
        };
        let age_variance = variance(self.squared_age, mean_age);
        let predicted_variance = variance(self.squared_predicted, mean_predicted);
        let covariance = self.product / self.n - mean_age * mean_predicted;
        let slope = covariance / age_variance;
        let intercept =
            (center.predicted_age_years + mean_predicted) - slope * (center.age_years + mean_age);
        let r = covariance / (age_variance * predicted_variance).sqrt();
        Figures {
            mae: finite(self.absolute_gap / self.n),
            rmse: finite((self.squared_gap / self.n).sqrt()),
            bias: finite(self.gap / self.n),
            r: finite(r).map(|r| r.clamp(-1.0, 1.0)),
            r2: finite(1.0 - self.squared_gap / self.n / age_variance),
            bias_slope: finite(slope - 1.0),
            bias_intercept: finite(intercept),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eval::metrics;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn figures_from_sums_are_those_of_the_pairs(
            ages in prop::collection::vec((18.0..95.0, -15.0..15.0), 3..60),
        ) {
            let pairs: Vec<Pair> = ages
                .iter()
                .map(|&(age_years, gap)| Pair { age_years, predicted_age_years: age_years + gap })
                .collect();
            let center = Center::of(&pairs);
            let mut sums = Sums::default();
            for pair in &pairs {
                sums.add(*pair, center);
            }
            let found = sums.figures(center);
            let line = metrics::line(&pairs);
            let expected = Figures {
                mae: metrics::mae(&pairs),
                rmse: metrics::rmse(&pairs),
                bias: metrics::bias(&pairs),
                r: metrics::pearson_r(&pairs),
                r2: metrics::r2(&pairs),
                bias_slope: metrics::bias_slope(&pairs),
                bias_intercept: line.map(|line| line.intercept),
            };
            for (found, expected) in found.into_array().into_iter().zip(expected.into_array()) {
                let (Some(found), Some(expected)) = (found, expected) else {
                    continue;
                };
                // Ages that lie close together divide by a small variance.
                prop_assert!((found - expected).abs() <= 1e-6 * expected.abs().max(1.0));
            }
        }
    }

    #[test]
    fn constant_ages_have_no_slope_and_no_r() {
        let pair = |predicted_age_years| Pair {
            age_years: 63.2,
            predicted_age_years,
        };
        let pairs = [pair(60.0), pair(70.0), pair(64.0)];
        let center = Center::of(&pairs);
        let mut sums = Sums::default();
        for pair in pairs {
            sums.add(pair, center);
        }
        let found = sums.figures(center);
        assert_eq!((found.r, found.r2, found.bias_slope), (None, None, None));
        assert!(found.mae.is_some());
    }
}
