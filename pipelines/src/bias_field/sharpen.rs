//! Sharpening of a histogram of log intensities: what they would be without the blur that a bias field adds.
//!
//! Sled, Zijdenbos, Evans 1998, IEEE TMI 17(1), eqs. 8–12, as N4 uses it (Tustison et al. 2010, IEEE TMI 29(6)): the
//! histogram is deconvolved by a Gaussian with a Wiener filter, and each intensity is exchanged for its expected value
//! given the deconvolved histogram. The histogram has a few hundred bins, so the circular convolutions are summed
//! directly: there is nothing for a Fourier transform to save, and the sums are the same on every machine.

use crate::intensity::percentile;
use crate::recipe::N4;

/// Single dark or bright voxels must not stretch the histogram: values beyond these percentiles count as if on them.
const RANGE_PERCENTILES: [f64; 2] = [0.1, 99.9];
/// Values that differ by less have nothing to be sharpened.
const SMALLEST_BIN: f64 = 1e-9;

/// A sharpener for histograms of one size.
pub(super) struct Sharpener {
    n_bins: usize,
    fwhm: f64,
    noise: f64,
    /// cos(2πk/n) for the padded length n, a power of two at least twice the bins.
    cosines: Vec<f64>,
}

impl Sharpener {
    pub(super) fn new(params: &N4) -> Self {
        let n = (2 * params.histogram_bins).next_power_of_two();
        let angle = std::f64::consts::TAU / n as f64;
        Self {
            n_bins: params.histogram_bins,
            fwhm: params.fwhm,
            noise: params.noise,
            cosines: (0..n).map(|k| (angle * k as f64).cos()).collect(),
        }
    }

    /// What of each log intensity is left over beside its sharpened value; `None` if all are (nearly) equal.
    pub(super) fn residuals(&self, values: &[f64]) -> Option<Vec<f64>> {
        let bins = Bins::around(values, self.n_bins)?;
        let expected = self.expected(&bins.histogram(values), bins.width);
        let residual = |value: &f64| {
            let (bin, part) = bins.place(*value);
            let next = (bin + 1).min(self.n_bins - 1);
            let sharpened = expected[bin] + part * (expected[next] - expected[bin]);
            (bin as f64 + part - sharpened) * bins.width
        };
        Some(values.iter().map(residual).collect())
    }

    /// The expected sharpened value of each bin, in bins from the first.
    fn expected(&self, histogram: &[f64], bin_width: f64) -> Vec<f64> {
        let n = self.cosines.len();
        let offset = (n - self.n_bins) / 2;
        let blur = gaussian(self.fwhm / bin_width, n);
        let response = self.cosine_transform(&blur);
        let wiener: Vec<f64> = response
            .iter()
            .map(|r| r / (r * r + self.noise) / n as f64)
            .collect();
        let deblur = self.cosine_transform(&wiener);
        let sharp: Vec<f64> = (0..n)
            .map(|at| {
                let terms = histogram.iter().enumerate();
                let sum: f64 = terms
                    .map(|(bin, count)| count * deblur[(at + n - offset - bin) % n])
                    .sum();
                sum.max(0.0)
            })
            .collect();
        let expectation = |bin: usize| {
            let at = bin + offset;
            let (mut weighted, mut total) = (0.0, 0.0);
            for (other, share) in sharp.iter().enumerate() {
                let weight = share * blur[(at + n - other) % n];
                weighted += weight * (other as f64 - offset as f64);
                total += weight;
            }
            // Far from every value there is nothing to expect: the bin stays where it is.
            if total > 0.0 {
                weighted / total
            } else {
                bin as f64
            }
        };
        (0..self.n_bins).map(expectation).collect()
    }

    /// Discrete Fourier transform of a real sequence with x[i] = x[n − i]: again real, again symmetric.
    fn cosine_transform(&self, symmetric: &[f64]) -> Vec<f64> {
        let n = self.cosines.len();
        let half = n / 2;
        let mut transform = vec![0.0; n];
        for k in 0..=half {
            let inner: f64 = (1..half)
                .map(|i| symmetric[i] * self.cosines[(k * i) % n])
                .sum();
            let ends = symmetric[0] + symmetric[half] * self.cosines[(k * half) % n];
            transform[k] = ends + 2.0 * inner;
            transform[(n - k) % n] = transform[k];
        }
        transform
    }
}

/// A Gaussian about index 0 of a circular sequence, sum about 1; `fwhm` in indices.
fn gaussian(fwhm: f64, n: usize) -> Vec<f64> {
    let ln2 = std::f64::consts::LN_2;
    let height = 2.0 * (ln2 / std::f64::consts::PI).sqrt() / fwhm;
    let at = |i: usize| {
        let distance = i.min(n - i) as f64 / fwhm;
        height * (-4.0 * ln2 * distance * distance).exp()
    };
    (0..n).map(at).collect()
}

/// Equally wide bins whose first and last centers are the ends of the range.
struct Bins {
    low: f64,
    width: f64,
    count: usize,
}

impl Bins {
    /// `None` for no values, or equal ones.
    fn around(values: &[f64], count: usize) -> Option<Self> {
        let mut looked_at: Vec<f32> = values.iter().map(|value| *value as f32).collect();
        let [low, high] = RANGE_PERCENTILES.map(|p| percentile(&mut looked_at, p).map(f64::from));
        let (low, high) = (low?, high?);
        let width = (high - low) / (count as f64 - 1.0);
        (width > SMALLEST_BIN).then_some(Self { low, width, count })
    }

    /// The bin at or below a value, and how far it is to the next.
    fn place(&self, value: f64) -> (usize, f64) {
        let at = ((value - self.low) / self.width).clamp(0.0, self.count as f64 - 1.0);
        let bin = at as usize;
        (bin, at - bin as f64)
    }

    /// Each value split between the two bins next to it.
    fn histogram(&self, values: &[f64]) -> Vec<f64> {
        let mut histogram = vec![0.0; self.count];
        for value in values {
            let (bin, part) = self.place(*value);
            histogram[bin] += 1.0 - part;
            if let Some(next) = histogram.get_mut(bin + 1) {
                *next += part;
            }
        }
        histogram
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params() -> N4 {
        N4 {
            grid_mm: 4.0,
            levels: 4,
            iterations: 50,
            convergence: 1e-3,
            histogram_bins: 200,
            fwhm: 0.15,
            noise: 0.01,
        }
    }

    #[test]
    fn two_blurred_peaks_are_drawn_towards_their_centers() {
        // Two tissues, ±0.1 around log intensities 0 and 1.
        let values: Vec<f64> = (0..4000)
            .map(|i| f64::from(i % 2) + (f64::from(i / 2) / 2000.0 - 0.5) * 0.2)
            .collect();
        let residuals = Sharpener::new(&params()).residuals(&values).unwrap();
        let spread = |of: &dyn Fn(usize) -> f64| -> f64 {
            let distances = (0..values.len()).map(|i| (of(i) - (i % 2) as f64).powi(2));
            (distances.sum::<f64>() / values.len() as f64).sqrt()
        };
        let before = spread(&|i| values[i]);
        let after = spread(&|i| values[i] - residuals[i]);
        // One round takes about half: the blur assumed (FWHM 0.15) is narrower than the box of width 0.2 that was put in.
        assert!(after < 0.6 * before, "{after} {before}");
    }

    #[test]
    fn the_sums_are_the_fourier_transform_of_a_gaussian() {
        let sharpener = Sharpener::new(&params());
        let n = sharpener.cosines.len();
        assert_eq!(n, 512);
        let transform = sharpener.cosine_transform(&gaussian(9.0, n));
        // ∫ of a Gaussian with FWHM w against cos(2πkx/n): exp(−(π w k/n)² / (4 ln 2)).
        for k in [0_usize, 1, 7, 40, 505] {
            let frequency = k.min(n - k) as f64 / n as f64;
            let exponent =
                (std::f64::consts::PI * 9.0 * frequency).powi(2) / (4.0 * std::f64::consts::LN_2);
            // Sampling a Gaussian of this width aliases by less than 1e-12.
            assert!((transform[k] - (-exponent).exp()).abs() < 1e-10, "{k}");
        }
    }

    #[test]
    fn equal_values_have_nothing_to_sharpen() {
        assert!(Sharpener::new(&params()).residuals(&[2.5; 100]).is_none());
        assert!(Sharpener::new(&params()).residuals(&[]).is_none());
    }

    #[test]
    fn a_shift_of_all_values_shifts_nothing_else() {
        let values: Vec<f64> = (0..999).map(|i| f64::from(i * 7 % 999) / 500.0).collect();
        let shifted: Vec<f64> = values.iter().map(|value| value + 3.0).collect();
        let sharpener = Sharpener::new(&params());
        let (one, other) = (sharpener.residuals(&values), sharpener.residuals(&shifted));
        // The ends of the range are taken in f32.
        let pairs = one.unwrap().into_iter().zip(other.unwrap());
        assert!(pairs.into_iter().all(|(a, b)| (a - b).abs() < 1e-5));
    }
}
