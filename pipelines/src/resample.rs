//! The one resampling of a scan's own voxels onto the grid of a recipe.
//!
//! Grey values go through interpolation once between file and cache, never twice. Where the grid is coarser than the
//! scan they are smoothed first.

use crate::filter::{AxisSampling, sigma_for_ratio, smooth_and_sample};
use crate::interpolate::{CubicSpline, trilinear};
use crate::recipe::{Interpolation, Prefilter, Resampling};
use crate::space::{Affine, VoxelShape};
use crate::volume::{Mask, Volume};

/// Voxels kept around the part of the scan that is needed, for smoothing and interpolation.
const MARGIN_SIGMAS: f64 = 3.0;

/// Brings a scan onto the grid of `mask`, which lies in MNI space, by `mni_from_scan` (scan RAS mm → MNI mm).
///
/// Only voxels inside the mask are filled, all others are 0. The mask that comes back is the one that went in without
/// the voxels that lie outside the scan's field of view. `None` if that is all of them, or the affine has no inverse.
pub fn resample(
    scan: &Volume,
    mni_from_scan: &Affine,
    mask: &Mask,
    params: &Resampling,
) -> Option<(Volume, Mask)> {
    let scan_from_grid =
        scan.voxel_from_world() * mni_from_scan.inverse()? * mask.world_from_voxel();
    let sigma = match params.prefilter {
        // Along an axis of the scan, one voxel of the grid is as long as its row of the matrix.
        Prefilter::Gaussian => {
            std::array::from_fn(|axis| sigma_for_ratio(scan_from_grid.linear().row(axis).norm()))
        }
        Prefilter::None => [0.0; 3],
    };
    let (part, first) = needed_part(scan, &scan_from_grid, mask, sigma)?;
    let sides = part.shape().0;
    let every = |axis: usize| AxisSampling::every_voxel(sides[axis], sigma[axis]);
    let smooth = smooth_and_sample(&part, [every(0), every(1), every(2)]);

    let smooth_shape = smooth.shape();
    let value_at: Box<dyn Fn([f64; 3]) -> Option<f32>> = match params.interpolation {
        Interpolation::Linear => Box::new(move |at| trilinear(smooth.values(), smooth_shape, at)),
        Interpolation::Cubic => {
            let spline = CubicSpline::new(smooth.into_values(), smooth_shape);
            Box::new(move |at| spline.value(at))
        }
    };
    let shape = mask.shape();
    let (mut values, mut inside) = (vec![0.0; shape.n_voxels()], vec![false; shape.n_voxels()]);
    for (i, at) in masked_positions(mask, &scan_from_grid) {
        // The part may end inside the scan, never the other way round.
        let at = std::array::from_fn(|axis| at[axis] - first[axis] as f64);
        if let Some(value) = value_at(at) {
            (values[i], inside[i]) = (value, true);
        }
    }
    let on_grid = |values| {
        Volume::from_parts(
            values,
            shape,
            mask.world_from_voxel(),
            mask.voxel_from_world(),
        )
    };
    let inside = Mask::from_parts(
        inside,
        shape,
        mask.world_from_voxel(),
        mask.voxel_from_world(),
    );
    (inside.count() > 0).then(|| (on_grid(values), inside))
}

/// Offset of each voxel inside the mask, and where it lies among the scan's voxels.
fn masked_positions<'a>(
    mask: &'a Mask,
    scan_from_grid: &'a Affine,
) -> impl Iterator<Item = (usize, [f64; 3])> + 'a {
    let [nx, ny, _] = mask.shape().0;
    let inside = mask
        .values()
        .iter()
        .enumerate()
        .filter(|(_, inside)| **inside);
    let (linear, translation) = (scan_from_grid.linear(), scan_from_grid.translation());
    inside.map(move |(i, _)| {
        let voxel = [i % nx, i / nx % ny, i / (nx * ny)].map(|v| v as f64);
        (
            i,
            (linear * nalgebra::Vector3::from(voxel) + translation).into(),
        )
    })
}

/// The box of the scan that the masked voxels need, and where it begins; `None` if they are all elsewhere.
fn needed_part(
    scan: &Volume,
    scan_from_grid: &Affine,
    mask: &Mask,
    sigma: [f64; 3],
) -> Option<(Volume, [usize; 3])> {
    let (mut low, mut high) = ([f64::MAX; 3], [f64::MIN; 3]);
    for (_, at) in masked_positions(mask, scan_from_grid) {
        for axis in 0..3 {
            low[axis] = low[axis].min(at[axis]);
            high[axis] = high[axis].max(at[axis]);
        }
    }
    let sides = scan.shape().0;
    let (mut first, mut part) = ([0; 3], [0; 3]);
    for axis in 0..3 {
        let margin = (MARGIN_SIGMAS * sigma[axis]).ceil() + 1.0;
        let begin = (low[axis] - margin).floor().max(0.0);
        let end = (high[axis] + margin).ceil().min(sides[axis] as f64 - 1.0);
        if begin.is_nan() || end.is_nan() || begin > end {
            return None;
        }
        (first[axis], part[axis]) = (begin as usize, (end - begin) as usize + 1);
    }
    Some((scan.part(first, VoxelShape(part)), first))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::Recipe;

    fn grid(shape: [usize; 3], voxel_size_mm: f64, f: impl Fn([f64; 3]) -> f32) -> Volume {
        let (shape, affine) = (
            VoxelShape(shape),
            Affine::grid([voxel_size_mm; 3], [-20.0; 3]),
        );
        let [nx, ny, _] = shape.0;
        let at = |i: usize| affine.apply([i % nx, i / nx % ny, i / (nx * ny)].map(|v| v as f64));
        Volume::new(
            (0..shape.n_voxels()).map(|i| f(at(i))).collect(),
            shape,
            affine,
        )
        .unwrap()
    }

    fn params() -> Resampling {
        Recipe::named("fast").unwrap().resample
    }

    #[test]
    fn onto_its_own_grid_a_scan_stays_as_it_is() {
        let scan = grid([12, 10, 11], 2.0, |[x, y, z]| (x * 3.0 + y * y - z) as f32);
        let all = scan.map(|_| true);
        let (same, mask) = resample(&scan, &Affine::identity(), &all, &params()).unwrap();
        assert_eq!(mask, all);
        assert!(
            same.values()
                .iter()
                .zip(scan.values())
                .all(|(a, b)| (a - b).abs() < 1e-3)
        );
    }

    #[test]
    fn a_linear_picture_is_met_exactly_through_any_affine() {
        let scan = grid([40, 40, 40], 1.0, |[x, y, z]| {
            (x + 2.0 * y - 3.0 * z) as f32
        });
        let mni_from_scan = Affine::from_rows([
            [0.9, 0.2, 0.0, 3.0],
            [-0.2, 1.0, 0.1, -2.0],
            [0.0, 0.0, 1.1, 1.0],
        ]);
        let target = grid([8, 8, 8], 2.0, |_| 0.0);
        let all = target.map(|_| true);
        let (found, mask) = resample(&scan, &mni_from_scan, &all, &params()).unwrap();
        let back = mni_from_scan.inverse().unwrap();
        for (x, y, z) in [(4, 5, 6), (7, 7, 7), (3, 6, 5)] {
            assert_eq!(mask.get([x, y, z]), Some(true));
            let [u, v, w] = back.apply(
                target
                    .world_from_voxel()
                    .apply([x as f64, y as f64, z as f64]),
            );
            let expected = u + 2.0 * v - 3.0 * w;
            let value = f64::from(found.get([x, y, z]).unwrap());
            assert!((value - expected).abs() < 0.02, "{value} {expected}");
        }
    }

    #[test]
    fn a_cubic_spline_follows_a_wave_that_straight_lines_cut() {
        let wave = |x: f64| (x / 1.5).sin();
        let scan = grid([40, 20, 20], 1.0, |[x, _, _]| wave(x) as f32);
        let half_a_voxel = Affine::grid([1.0; 3], [0.5, 0.0, 0.0]);
        let all = scan.map(|_| true);
        let largest_error = |interpolation| {
            let params = Resampling {
                interpolation,
                prefilter: Prefilter::None,
            };
            let (found, _) = resample(&scan, &half_a_voxel, &all, &params).unwrap();
            let error = |x: usize| {
                let value = f64::from(found.get([x, 10, 10]).unwrap());
                (value - wave(x as f64 - 20.5)).abs()
            };
            (5..35).map(error).fold(0.0, f64::max)
        };
        let (linear, cubic) = (
            largest_error(Interpolation::Linear),
            largest_error(Interpolation::Cubic),
        );
        assert!(linear > 0.04 && cubic < 0.005, "{linear} {cubic}");
    }

    #[test]
    fn a_pattern_finer_than_the_grid_turns_grey_and_not_striped() {
        let scan = grid([40, 40, 40], 1.0, |[x, _, _]| {
            f32::from(u8::from((x.round() as i64) % 2 == 0))
        });
        let target = grid([10, 10, 10], 4.0, |_| 0.0);
        let all = target.map(|_| true);
        let (found, _) = resample(&scan, &Affine::identity(), &all, &params()).unwrap();
        assert!((found.get([5, 5, 5]).unwrap() - 0.5).abs() < 0.02);
        let unfiltered = Resampling {
            prefilter: Prefilter::None,
            ..params()
        };
        let (found, _) = resample(&scan, &Affine::identity(), &all, &unfiltered).unwrap();
        assert!((found.get([5, 5, 5]).unwrap() - 1.0).abs() < 1e-6);
    }

    #[test]
    fn outside_the_scan_the_mask_ends() {
        let scan = grid([10, 10, 10], 2.0, |_| 5.0);
        let target = grid([20, 10, 10], 2.0, |_| 0.0);
        let all = target.map(|_| true);
        let (values, mask) = resample(&scan, &Affine::identity(), &all, &params()).unwrap();
        assert_eq!(mask.count(), 1000);
        assert_eq!(values.get([15, 5, 5]), Some(0.0));
        let far_away = Affine::grid([1.0; 3], [500.0, 0.0, 0.0]);
        assert!(resample(&scan, &far_away, &all, &params()).is_none());
    }
}
