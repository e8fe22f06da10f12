//! What of a scan is head: foreground, and the part below it that is neck.
//!
//! A rule of thumb that needs no template. [`crate::register`] starts from the foreground; [`crate::preprocess`] leaves
//! out the slices below the head, which cost time and mislead the start.

use crate::intensity::percentile;
use crate::morphology::largest_piece;
use crate::space::{Affine, VoxelShape};
use crate::volume::Volume;

/// Foreground is brighter than this share of the 99th percentile of all positive values.
const FOREGROUND_SHARE: f32 = 0.15;
/// Height of a head from its top, in mm: what FSL's robustfov keeps.
const HEAD_HEIGHT_MM: f64 = 170.0;
/// Lower fields of view are left as they are, in mm.
const LOWEST_CROPPED_MM: f64 = 190.0;
/// Distance of the voxels looked at, in mm.
const LOOK_EVERY_MM: f64 = 6.0;
/// The top of the head is this percentile of the foreground's heights: single bright voxels don't move it.
pub(crate) const TOP_PERCENTILE: f64 = 99.5;

/// Which voxels are foreground: the largest connected piece (over faces) of all that is not dark.
///
/// All `false` where nothing is brighter than 0.
pub(crate) fn foreground(values: &[f32], shape: VoxelShape) -> Vec<bool> {
    let mut positive: Vec<f32> = values.iter().copied().filter(|v| *v > 0.0).collect();
    let Some(bright) = percentile(&mut positive, 99.0) else {
        return vec![false; values.len()];
    };
    let threshold = FOREGROUND_SHARE * bright;
    largest_piece(
        &values.iter().map(|v| *v > threshold).collect::<Vec<_>>(),
        shape,
    )
}

/// The scan without the slices that lie more than a head's height below the top of the head; `None` where there is
/// nothing to leave out.
pub(crate) fn without_neck(scan: &Volume) -> Option<Volume> {
    let [nx, ny, nz] = scan.shape().0;
    let sizes = scan.voxel_size_mm();
    if nz as f64 * sizes[2] < LOWEST_CROPPED_MM {
        return None;
    }
    let step = sizes.map(|size| (LOOK_EVERY_MM / size).round().max(1.0) as usize);
    let coarse = VoxelShape([
        nx.div_ceil(step[0]),
        ny.div_ceil(step[1]),
        nz.div_ceil(step[2]),
    ]);
    let mut values = Vec::with_capacity(coarse.n_voxels());
    for z in (0..nz).step_by(step[2]) {
        for y in (0..ny).step_by(step[1]) {
            let row = scan.shape().offset([0, y, z]);
            values.extend(scan.values()[row..row + nx].iter().step_by(step[0]));
        }
    }
    let head = foreground(&values, coarse);
    let slice = coarse.0[0] * coarse.0[1];
    let mut heights: Vec<f32> = (0..head.len())
        .filter(|i| head[*i])
        .map(|i| (i / slice * step[2]) as f32)
        .collect();
    let top = f64::from(percentile(&mut heights, TOP_PERCENTILE)?);
    let lowest = (top - HEAD_HEIGHT_MM / sizes[2]).floor();
    if lowest < 1.0 {
        return None;
    }
    let lowest = lowest as usize;
    let values = scan.values()[lowest * nx * ny..].to_vec();
    let shape = VoxelShape([nx, ny, nz - lowest]);
    let moved = |by: f64| Affine::grid([1.0; 3], [0.0, 0.0, by]);
    Some(Volume::from_parts(
        values,
        shape,
        scan.world_from_voxel() * moved(lowest as f64),
        moved(-(lowest as f64)) * scan.voxel_from_world(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A ball of 80 mm radius on a neck of 40 mm radius that reaches the bottom of the field of view.
    fn ball_on_a_neck(height_mm: f64) -> Volume {
        let shape = VoxelShape([50, 50, (height_mm / 4.0) as usize]);
        let affine = Affine::grid([4.0; 3], [-100.0, -100.0, 100.0 - height_mm]);
        let at = |i: usize| affine.apply([i % 50, i / 50 % 50, i / 2500].map(|v| v as f64));
        let values = (0..shape.n_voxels()).map(at).map(|[x, y, z]| {
            let radius = (x * x + y * y).sqrt();
            f32::from(u8::from(
                (radius * radius + z * z).sqrt() < 80.0 || (radius < 40.0 && z < 0.0),
            ))
        });
        Volume::new(values.collect(), shape, affine).unwrap()
    }

    #[test]
    fn the_neck_is_left_out_and_the_rest_stays_in_its_place() {
        let scan = ball_on_a_neck(300.0);
        let head = without_neck(&scan).expect("a neck to leave out");
        let bottom = head.world_from_voxel().apply([0.0; 3])[2];
        assert!((-110.0..-85.0).contains(&bottom), "bottom at {bottom} mm");
        let world = head.world_from_voxel().apply([25.0, 25.0, 3.0]);
        let [x, y, z] = scan
            .voxel_from_world()
            .apply(world)
            .map(|v| v.round() as usize);
        assert_eq!(head.get([25, 25, 3]), scan.get([x, y, z]));
    }

    #[test]
    fn a_low_field_of_view_is_left_alone() {
        assert!(without_neck(&ball_on_a_neck(180.0)).is_none());
    }

    #[test]
    fn only_the_largest_piece_is_foreground() {
        let shape = VoxelShape([7, 1, 1]);
        let found = foreground(&[9.0, 0.0, 9.0, 9.0, 9.0, 0.5, 9.0], shape);
        assert_eq!(found, [false, false, true, true, true, false, false]);
        assert_eq!(foreground(&[0.0; 7], shape), [false; 7]);
    }
}
