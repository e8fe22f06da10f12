//! Smooth random fields: white noise on a coarse grid, blurred, interpolated, of standard deviation 1.

use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;

use crate::field::{STEP_MM, blur, loops};

/// A random field of standard deviation 1 that changes over about `length_mm`, on a grid of 2 mm voxels.
pub(crate) fn smooth_noise(rng: &mut ChaCha8Rng, shape: [usize; 3], length_mm: f32) -> Vec<f32> {
    // Voxels of the fine grid in one of the coarse.
    let pitch = (length_mm / 3.0 / STEP_MM).max(1.0);
    let coarse: [usize; 3] = std::array::from_fn(|a| (shape[a] as f32 / pitch).ceil() as usize + 7);
    let white: Vec<f32> = (0..coarse.iter().product())
        .map(|_| rng.sample(StandardNormal))
        .collect();
    let mut values = blur(&white, coarse, length_mm / (STEP_MM * pitch) / 2.0);
    let mut at = coarse;
    for axis in 0..3 {
        let start = rng.random::<f32>() + 2.5;
        values = stretch(&values, at, (axis, shape[axis]), |i| {
            start + i as f32 / pitch
        });
        at[axis] = shape[axis];
    }
    let sum: f64 = values.iter().map(|v| f64::from(v * v)).sum();
    let mean: f64 = values.iter().map(|v| f64::from(*v)).sum::<f64>() / values.len() as f64;
    let sd = (sum / values.len() as f64 - mean * mean).max(1e-12).sqrt() as f32;
    for value in &mut values {
        *value /= sd;
    }
    values
}

/// Linear interpolation along one axis, at `position(0..n_new)`.
fn stretch(
    values: &[f32],
    shape: [usize; 3],
    (axis, n_new): (usize, usize),
    position: impl Fn(usize) -> f32,
) -> Vec<f32> {
    let [outer, n, inner] = loops(shape, axis);
    let mut out = Vec::with_capacity(outer * n_new * inner);
    for o in 0..outer {
        let slab = &values[o * n * inner..(o + 1) * n * inner];
        for i in 0..n_new {
            let at = position(i);
            let j = (at as usize).min(n - 2);
            let f = at - j as f32;
            let (a, b) = slab[j * inner..(j + 2) * inner].split_at(inner);
            out.extend(a.iter().zip(b).map(|(a, b)| a + f * (b - a)));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::{HeadKey, Stage};

    #[test]
    fn noise_has_unit_spread_and_neighbours_that_agree() {
        let mut rng = HeadKey::of(1, 0).stream(Stage::Shape);
        let noise = smooth_noise(&mut rng, [40, 30, 20], 12.0);
        let n = noise.len() as f32;
        let mean = noise.iter().sum::<f32>() / n;
        let covariance = |lag: usize| {
            let pairs = noise.iter().zip(&noise[lag..]);
            pairs.map(|(a, b)| (a - mean) * (b - mean)).sum::<f32>() / n
        };
        assert!((covariance(0) - 1.0).abs() < 1e-3);
        assert!(covariance(1) > 0.85 && covariance(40 * 30 * 15).abs() < 0.4);
    }
}
