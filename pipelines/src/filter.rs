//! Gaussian smoothing against aliasing, one axis after the other.
//!
//! Resampling to fewer voxels must first take away what the coarser grid cannot hold; else grey values would depend
//! on where the head happens to lie between the voxels. Smoothing and taking samples along one axis is a weighted sum
//! of its neighbours, so both are done at once.

use nalgebra::{Matrix3, Vector3};

use crate::space::{Affine, VoxelShape};
use crate::volume::Volume;

/// A Gaussian is cut at so many standard deviations.
const TRUNCATE: f64 = 3.0;

/// Where samples are taken along one axis, in voxels of the grid they are taken from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct AxisSampling {
    /// Number of samples.
    pub(crate) count: usize,
    /// Position of the first.
    pub(crate) start: f64,
    /// Distance of two.
    pub(crate) step: f64,
    /// Standard deviation of the Gaussian; 0 for none.
    pub(crate) sigma: f64,
}

impl AxisSampling {
    /// Every voxel, smoothed.
    pub(crate) fn every_voxel(count: usize, sigma: f64) -> Self {
        Self {
            count,
            start: 0.0,
            step: 1.0,
            sigma,
        }
    }

    fn is_identity(&self, side: usize) -> bool {
        self.count == side && self.start == 0.0 && self.step == 1.0 && self.sigma == 0.0
    }
}

/// Standard deviation of the Gaussian, in voxels, that voxels `ratio` times as large ask for.
///
/// 0.425·√(ratio² − 1): both voxels taken as Gaussians whose width at half height is their size (1/2.355 = 0.425).
pub(crate) fn sigma_for_ratio(ratio: f64) -> f64 {
    0.425 * (ratio * ratio - 1.0).max(0.0).sqrt()
}

/// Smooths a volume and takes samples along its axes. Beyond the edge there is nothing: weights there are left out.
pub(crate) fn smooth_and_sample(volume: &Volume, axes: [AxisSampling; 3]) -> Volume {
    let mut shape = volume.shape();
    let mut values: Option<Vec<f32>> = None;
    // The slowest axis first: it runs over whole slices, and leaves less for the next ones to do.
    for axis in [2, 1, 0] {
        if axes[axis].is_identity(shape.0[axis]) {
            continue;
        }
        let source = values.as_deref().unwrap_or_else(|| volume.values());
        let taps = taps(axes[axis], shape.0[axis]);
        let sampled = sample_axis(source, shape, axis, &taps);
        shape.0[axis] = taps.len();
        values = Some(sampled);
    }
    let old_from_new = Affine::from_parts(
        &Matrix3::from_diagonal(&Vector3::from(axes.map(|axis| axis.step))),
        &Vector3::from(axes.map(|axis| axis.start)),
    );
    let new_from_old = Affine::from_parts(
        &Matrix3::from_diagonal(&Vector3::from(axes.map(|axis| 1.0 / axis.step))),
        &Vector3::from(axes.map(|axis| -axis.start / axis.step)),
    );
    Volume::from_parts(
        values.unwrap_or_else(|| volume.values().to_vec()),
        shape,
        volume.world_from_voxel() * old_from_new,
        new_from_old * volume.voxel_from_world(),
    )
}

/// The neighbours that make up one sample.
struct Taps {
    first: usize,
    weights: Vec<f32>,
}

fn taps(axis: AxisSampling, side: usize) -> Vec<Taps> {
    (0..axis.count)
        .map(|i| taps_at(axis.start + i as f64 * axis.step, axis.sigma, side))
        .collect()
}

/// A Gaussian about the two voxels next to `position`, mixed linearly.
fn taps_at(position: f64, sigma: f64, side: usize) -> Taps {
    let lower = position.floor();
    let upper_part = position - lower;
    let radius = (TRUNCATE * sigma).ceil() as i64;
    let gaussian = |distance: i64| {
        if distance == 0 {
            1.0
        } else if distance.abs() > radius {
            0.0
        } else {
            (-0.5 * (distance as f64 / sigma).powi(2)).exp()
        }
    };
    let lower = lower as i64;
    let first = (lower - radius).clamp(0, side as i64 - 1);
    let last = (lower + 1 + radius).clamp(0, side as i64 - 1);
    let weight =
        |k: i64| (1.0 - upper_part) * gaussian(k - lower) + upper_part * gaussian(k - lower - 1);
    let mut weights: Vec<f64> = (first..=last).map(weight).collect();
    while weights.len() > 1 && weights.last() == Some(&0.0) {
        weights.pop();
    }
    let sum: f64 = weights.iter().sum();
    let weights = weights
        .iter()
        .map(|w| if sum > 0.0 { (w / sum) as f32 } else { 0.0 })
        .collect();
    Taps {
        first: first as usize,
        weights,
    }
}

fn sample_axis(old: &[f32], shape: VoxelShape, axis: usize, taps: &[Taps]) -> Vec<f32> {
    let [nx, ny, nz] = shape.0;
    match axis {
        0 => {
            let mut new = Vec::with_capacity(taps.len() * ny * nz);
            for row in old.chunks_exact(nx) {
                new.extend(taps.iter().map(|tap| {
                    let neighbours = &row[tap.first..tap.first + tap.weights.len()];
                    neighbours
                        .iter()
                        .zip(&tap.weights)
                        .map(|(value, weight)| value * weight)
                        .sum::<f32>()
                }));
            }
            new
        }
        1 => {
            let mut new = vec![0.0; nx * taps.len() * nz];
            let slices = old
                .chunks_exact(nx * ny)
                .zip(new.chunks_exact_mut(nx * taps.len()));
            slices.for_each(|(slice, target)| sum_runs(slice, nx, taps, target));
            new
        }
        _ => {
            let mut new = vec![0.0; nx * ny * taps.len()];
            sum_runs(old, nx * ny, taps, &mut new);
            new
        }
    }
}

/// Weighted sums of whole runs (rows of a slice, or slices).
fn sum_runs(old: &[f32], length: usize, taps: &[Taps], new: &mut [f32]) {
    for (tap, target) in taps.iter().zip(new.chunks_exact_mut(length)) {
        for (k, weight) in tap.weights.iter().enumerate() {
            let run = &old[(tap.first + k) * length..(tap.first + k + 1) * length];
            target
                .iter_mut()
                .zip(run)
                .for_each(|(sum, value)| *sum += weight * value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn volume(shape: [usize; 3], f: impl Fn([usize; 3]) -> f32) -> Volume {
        let shape = VoxelShape(shape);
        let [nx, ny, _] = shape.0;
        let at = |i: usize| [i % nx, i / nx % ny, i / nx / ny];
        let values = (0..shape.n_voxels()).map(|i| f(at(i))).collect();
        Volume::new(
            values,
            shape,
            Affine::grid([1.0, 2.0, 3.0], [5.0, 6.0, 7.0]),
        )
        .unwrap()
    }

    #[test]
    fn smoothing_keeps_a_constant_and_spreads_a_point_by_sigma() {
        let constant = volume([9, 8, 7], |_| 3.0);
        let axes = [9, 8, 7].map(|count| AxisSampling::every_voxel(count, 1.2));
        assert!(
            smooth_and_sample(&constant, axes)
                .values()
                .iter()
                .all(|v| (v - 3.0).abs() < 1e-5)
        );

        let point = volume([31, 3, 3], |at| f32::from(u8::from(at == [15, 1, 1])));
        let axes = [
            AxisSampling::every_voxel(31, 2.0),
            AxisSampling::every_voxel(3, 0.0),
            AxisSampling::every_voxel(3, 0.0),
        ];
        let smooth = smooth_and_sample(&point, axes);
        let row: Vec<f64> = (0..31)
            .map(|x| f64::from(smooth.get([x, 1, 1]).unwrap()))
            .collect();
        let variance: f64 = row
            .iter()
            .enumerate()
            .map(|(x, v)| (x as f64 - 15.0).powi(2) * v)
            .sum();
        assert!((row.iter().sum::<f64>() - 1.0).abs() < 1e-5);
        // Cut at three sigma, a Gaussian of variance 4 keeps 3.9.
        assert!((variance - 4.0).abs() < 0.15, "variance {variance}");
    }

    #[test]
    fn samples_of_a_ramp_lie_where_the_new_affine_says() {
        let ramp = volume([16, 16, 16], |at| {
            at[0] as f32 + 10.0 * at[1] as f32 - at[2] as f32
        });
        let axis = AxisSampling {
            count: 4,
            start: 3.5,
            step: 2.0,
            sigma: 0.6,
        };
        let sampled = smooth_and_sample(&ramp, [axis; 3]);
        assert_eq!(sampled.shape(), VoxelShape([4, 4, 4]));
        let world = sampled.world_from_voxel().apply([2.0, 1.0, 3.0]);
        let [x, y, z] = ramp.voxel_from_world().apply(world);
        let found = f64::from(sampled.get([2, 1, 3]).unwrap());
        assert!((found - (x + 10.0 * y - z)).abs() < 1e-3, "{found}");
    }
}
