//! Coarse copies of a volume, for the steps that look at the whole head first.

use crate::filter::{AxisSampling, sigma_for_ratio, smooth_and_sample};
use crate::volume::Volume;

/// Fewest samples along an axis.
const LEAST_SIDE: usize = 4;

/// A volume with voxels of `voxel_size_mm` in all directions about the same center, free of aliasing.
///
/// Finer axes are smoothed before they lose samples; coarser ones are interpolated.
pub(crate) fn reduce(volume: &Volume, voxel_size_mm: f64) -> Volume {
    let sides = volume.shape().0;
    let sizes = volume.voxel_size_mm();
    let axes = std::array::from_fn(|axis| {
        let step = voxel_size_mm / sizes[axis];
        if (step - 1.0).abs() < 1e-3 {
            return AxisSampling::every_voxel(sides[axis], 0.0);
        }
        let count = ((sides[axis] as f64 / step).ceil() as usize).max(LEAST_SIDE);
        let start = (sides[axis] as f64 - 1.0) / 2.0 - step * (count as f64 - 1.0) / 2.0;
        AxisSampling {
            count,
            start,
            step,
            sigma: sigma_for_ratio(step),
        }
    });
    smooth_and_sample(volume, axes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::space::{Affine, VoxelShape};

    #[test]
    fn a_reduced_volume_has_the_same_center_and_the_asked_voxel_size() {
        let shape = VoxelShape([21, 30, 13]);
        let affine = Affine::grid([1.0, 0.8, 2.5], [-10.0, 3.0, 8.0]);
        let volume = Volume::new(vec![2.0; shape.n_voxels()], shape, affine).unwrap();
        let reduced = reduce(&volume, 2.0);
        let center = |v: &Volume| {
            v.world_from_voxel()
                .apply(v.shape().0.map(|n| (n as f64 - 1.0) / 2.0))
        };
        for axis in 0..3 {
            assert!((reduced.voxel_size_mm()[axis] - 2.0).abs() < 1e-9);
            assert!((center(&reduced)[axis] - center(&volume)[axis]).abs() < 1e-9);
        }
        assert!(reduced.values().iter().all(|v| (v - 2.0).abs() < 1e-5));
    }
}
