//! What the scanner does to a head: blur, bias field, ghost, noise, scale.
//!
//! The presets have the character of a study's scans; they simulate no sequence.

use std::f32::consts::PI;

use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;

use crate::field::convolve;

/// Ranges from which a scan's properties are drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Scanner {
    /// White matter over the noise's standard deviation.
    pub(crate) snr: [f32; 2],
    /// Brightening of the center (3 T), natural logarithm.
    pub(crate) center_brightening: [f32; 2],
    /// Root mean square of the logarithm of the bias field.
    pub(crate) bias: f32,
    /// Added to the brightness of grey matter.
    pub(crate) grey_offset: f32,
    /// Brightness of what lies outside the brain, template = 1.
    pub(crate) outside: [f32; 2],
    /// Whether the face was removed.
    pub(crate) defaced: bool,
}

/// 3 T, clean and corrected, without a face.
pub(crate) const UKB: Scanner = Scanner {
    snr: [25.0, 45.0],
    center_brightening: [0.0, 0.10],
    bias: 0.06,
    grey_offset: 0.0,
    outside: [0.6, 1.0],
    defaced: true,
};
/// 3 T.
pub(crate) const CAMCAN: Scanner = Scanner {
    snr: [20.0, 40.0],
    center_brightening: [0.05, 0.30],
    bias: 0.12,
    grey_offset: -0.01,
    outside: [0.7, 1.2],
    defaced: false,
};
/// 3 T, fine and corrected for distortion and bias.
pub(crate) const HCP: Scanner = Scanner {
    snr: [15.0, 28.0],
    center_brightening: [0.0, 0.15],
    bias: 0.08,
    grey_offset: -0.02,
    outside: [0.8, 1.2],
    defaced: true,
};
/// 1.5 T, corrected by the study.
pub(crate) const ADNI: Scanner = Scanner {
    snr: [14.0, 28.0],
    center_brightening: [-0.05, 0.10],
    bias: 0.10,
    grey_offset: 0.03,
    outside: [0.7, 1.3],
    defaced: false,
};
/// 1.5 and 3 T of three makers.
pub(crate) const IXI: Scanner = Scanner {
    snr: [14.0, 34.0],
    center_brightening: [-0.05, 0.30],
    bias: 0.12,
    grey_offset: 0.01,
    outside: [0.6, 1.3],
    defaced: false,
};
/// 3 T.
pub(crate) const OASIS3: Scanner = Scanner {
    snr: [18.0, 35.0],
    center_brightening: [0.05, 0.35],
    bias: 0.14,
    grey_offset: 0.0,
    outside: [0.6, 1.2],
    defaced: true,
};
/// Anything from a good to a poor scan.
pub(crate) const VARIED: Scanner = Scanner {
    snr: [15.0, 45.0],
    center_brightening: [-0.1, 0.40],
    bias: 0.15,
    grey_offset: 0.0,
    outside: [0.5, 1.4],
    defaced: false,
};

/// Takes the image (white matter = 1, x-fastest) to whole numbers as a scanner stores them.
pub(crate) fn acquire(
    image: Vec<f32>,
    shape: [usize; 3],
    scanner: &Scanner,
    rng: &mut ChaCha8Rng,
) -> Vec<f32> {
    let sigma = (0.35 + 0.15 * normal(rng)).max(0.0);
    let mut image = image;
    if sigma > 0.15 {
        let side = (-0.5 / (sigma * sigma)).exp();
        let kernel = [side, 1.0, side].map(|weight| weight / (1.0 + 2.0 * side));
        for axis in 0..3 {
            image = convolve(&image, shape, axis, &kernel);
        }
    }
    apply_bias(&mut image, shape, scanner, rng);
    if rng.random_bool(0.3) {
        image = ghost(&image, shape, rng);
    }
    if rng.random_bool(0.3) {
        let axis = rng.random_range(0..3);
        image = convolve(&image, shape, axis, &[0.03, -0.06, 1.06, -0.06, 0.03]);
    }
    let noise = 1.0 / rng.random_range(scanner.snr[0]..scanner.snr[1]);
    let gamma = (0.08 * normal(rng)).exp();
    let scale = (6.3 + 0.6 * normal(rng)).clamp(5.0, 8.5).exp();
    for value in &mut image {
        // Rician: the magnitude of a complex signal.
        let (real, imaginary) = (*value + noise * normal(rng), noise * normal(rng));
        let magnitude = (real * real + imaginary * imaginary).sqrt();
        *value = ((magnitude / 1.2).powf(gamma) * 1.2 * scale)
            .round()
            .min(f32::from(i16::MAX));
    }
    image
}

fn normal(rng: &mut ChaCha8Rng) -> f32 {
    rng.sample(StandardNormal)
}

/// Multiplies with a cosine series to order 3 and a parabola about the center.
fn apply_bias(image: &mut [f32], shape: [usize; 3], scanner: &Scanner, rng: &mut ChaCha8Rng) {
    let mut series = [[[0.0_f32; 4]; 4]; 4];
    let mut power = 0.0;
    for (i, plane) in series.iter_mut().enumerate() {
        for (j, row) in plane.iter_mut().enumerate() {
            for (k, weight) in row.iter_mut().enumerate() {
                let order = i + j + k;
                if (1..=3).contains(&order) {
                    *weight = normal(rng) / order as f32;
                    // The mean square of a cosine is ½, of a constant 1.
                    let n_cosines = [i, j, k].iter().filter(|n| **n > 0).count() as i32;
                    power += *weight * *weight * 0.5_f32.powi(n_cosines);
                }
            }
        }
    }
    let rms = scanner.bias * (1.0 + 0.3 * normal(rng)).abs() / power.sqrt().max(1e-6);
    let [low, high] = scanner.center_brightening;
    let center = rng.random_range(low..high);
    let along = |n: usize| -> Vec<(f32, [f32; 4])> {
        (0..n)
            .map(|i| {
                let at = 2.0 * i as f32 / (n - 1) as f32 - 1.0;
                let angle = PI * (at + 1.0) / 2.0;
                (
                    at,
                    std::array::from_fn(|order| (order as f32 * angle).cos()),
                )
            })
            .collect()
    };
    let (xs, ys, zs) = (along(shape[0]), along(shape[1]), along(shape[2]));
    let mut rows = image.chunks_exact_mut(shape[0]);
    for (z, cz) in &zs {
        for ((y, cy), row) in ys.iter().zip(rows.by_ref()) {
            let by_x: [f32; 4] = std::array::from_fn(|i| {
                let terms = series[i].iter().zip(cy);
                rms * terms
                    .map(|(row, cy)| cy * row.iter().zip(cz).map(|(w, c)| w * c).sum::<f32>())
                    .sum::<f32>()
            });
            for (value, (x, cx)) in row.iter_mut().zip(&xs) {
                let cosines: f32 = by_x.iter().zip(cx).map(|(w, c)| w * c).sum();
                *value *= (cosines + center * (0.5 - x * x - y * y - z * z)).exp();
            }
        }
    }
}

/// Two faint copies along x or y, as of a head that moved.
fn ghost(image: &[f32], shape: [usize; 3], rng: &mut ChaCha8Rng) -> Vec<f32> {
    let axis = rng.random_range(0..2);
    let n = shape[axis];
    let shift = rng.random_range(n / 6..n / 2);
    let strength: f32 = rng.random_range(0.01..0.05);
    let stride: usize = shape[..axis].iter().product();
    let moved = |i: usize, by: usize| {
        let at = i / stride % n;
        image[i - at * stride + (at + by) % n * stride]
    };
    (0..image.len())
        .map(|i| {
            let copies = moved(i, shift) + moved(i, n - shift);
            image[i] * (1.0 - strength) + 0.5 * strength * copies
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::{HeadKey, Stage};

    #[test]
    fn a_ghost_keeps_the_sum_of_the_image() {
        let mut rng = HeadKey::of(1, 1).stream(Stage::Scan);
        let image: Vec<f32> = (0..20 * 24 * 3).map(|i| (i % 31) as f32).collect();
        let ghosted = ghost(&image, [20, 24, 3], &mut rng);
        let sums = [image.iter().sum::<f32>(), ghosted.iter().sum()];
        assert!((sums[0] / sums[1] - 1.0).abs() < 1e-4 && image != ghosted);
    }

    #[test]
    fn what_is_acquired_are_whole_numbers_of_16_bits() {
        let mut rng = HeadKey::of(1, 2).stream(Stage::Scan);
        let acquired = acquire(vec![1.0; 12 * 12 * 12], [12; 3], &VARIED, &mut rng);
        let whole = |value: &f32| value.fract() == 0.0 && (0.0..=32767.0).contains(value);
        assert!(acquired.iter().all(whole) && acquired.iter().any(|value| *value > 50.0));
    }
}
