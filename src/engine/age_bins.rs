//! Bins of age, over which a head may say a distribution.

use serde::{Deserialize, Serialize};

use super::target::AgeEstimate;

/// Bins of equal width.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgeBins {
    /// Middle of the first one, years.
    pub first_years: f64,
    /// Width, years.
    pub width_years: f64,
    /// How many.
    pub n: usize,
}

impl AgeBins {
    /// Bins that cover all ages and `margin_years` on either side.
    pub(super) fn around(ages_years: &[f64], width_years: f64, margin_years: f64) -> Self {
        let youngest = ages_years.iter().copied().fold(f64::INFINITY, f64::min) - margin_years;
        let oldest = ages_years.iter().copied().fold(f64::NEG_INFINITY, f64::max) + margin_years;
        let first = (youngest / width_years).floor();
        let n = ((oldest / width_years).ceil() - first).max(1.0) as usize;
        Self {
            first_years: (first + 0.5) * width_years,
            width_years,
            n,
        }
    }

    pub(super) fn middles(self) -> impl Iterator<Item = f64> {
        (0..self.n).map(move |bin| self.first_years + self.width_years * bin as f64)
    }

    /// Shares of a Gaussian around an age, which sum to 1.
    pub(super) fn gaussian(self, age_years: f64, sd_years: f64) -> Vec<f32> {
        let height = |middle: f64| (-0.5 * ((middle - age_years) / sd_years).powi(2)).exp();
        let sum: f64 = self.middles().map(height).sum();
        if sum > 0.0 {
            return self.middles().map(|m| (height(m) / sum) as f32).collect();
        }
        // Far outside all bins: the nearest one.
        let nearest = if age_years < self.first_years {
            0
        } else {
            self.n - 1
        };
        (0..self.n).map(|bin| f32::from(bin == nearest)).collect()
    }

    pub(super) fn moments(self, shares: &[f32]) -> AgeEstimate {
        let pairs = || {
            self.middles()
                .zip(shares.iter().map(|share| f64::from(*share)))
        };
        let total: f64 = pairs().map(|(_, share)| share).sum();
        let mean = pairs().map(|(age, share)| age * share).sum::<f64>() / total;
        let variance = pairs()
            .map(|(age, share)| (age - mean).powi(2) * share)
            .sum::<f64>()
            / total;
        AgeEstimate {
            age_years: mean,
            sd_years: Some(variance.max(0.0).sqrt()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bins_cover_all_training_ages_and_shares_sum_to_one() {
        let bins = AgeBins::around(&[44.3, 81.9], 2.0, 3.0);
        let middles: Vec<f64> = bins.middles().collect();
        assert!(middles[0] - 1.0 <= 41.3 && middles[bins.n - 1] + 1.0 >= 84.9);
        for age in [44.3, 60.0, 81.9, -1e6, 1e6] {
            let sum: f32 = bins.gaussian(age, 1.0).iter().sum();
            assert!((sum - 1.0).abs() < 1e-5, "{age}: {sum}");
        }
    }
}
