//! Values between voxels, from the eight neighbours.
//!
//! One function for everything that samples a grid at single points: scans, masks, the template.

use crate::space::VoxelShape;

/// The value at voxel position `at`, linear along each axis; `None` outside the grid.
///
/// A voxel reaches half its size to either side of its center: between the outermost centers and the edge of the grid
/// the outermost value holds.
pub(crate) fn trilinear<T: Copy + Into<f32>>(
    values: &[T],
    shape: VoxelShape,
    at: [f64; 3],
) -> Option<f32> {
    let mut lower = [0; 3];
    let mut upper = [0; 3];
    let mut part = [0.0_f32; 3];
    for axis in 0..3 {
        let last = shape.0[axis].checked_sub(1)?;
        // Written so that NaN is outside.
        if !(at[axis] >= -0.5 && at[axis] <= last as f64 + 0.5) {
            return None;
        }
        let clamped = at[axis].clamp(0.0, last as f64);
        lower[axis] = clamped as usize;
        upper[axis] = (lower[axis] + 1).min(last);
        part[axis] = (clamped - lower[axis] as f64) as f32;
    }
    let along_x = |y: usize, z: usize| -> f32 {
        let low: f32 = values[shape.offset([lower[0], y, z])].into();
        let high: f32 = values[shape.offset([upper[0], y, z])].into();
        low + part[0] * (high - low)
    };
    let along_y = |z: usize| {
        let low = along_x(lower[1], z);
        low + part[1] * (along_x(upper[1], z) - low)
    };
    let low = along_y(lower[2]);
    Some(low + part[2] * (along_y(upper[2]) - low))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_linear_function_is_met_exactly_between_voxels() {
        let shape = VoxelShape([4, 3, 5]);
        let at = |i: usize| [(i % 4) as f32, (i / 4 % 3) as f32, (i / 12) as f32];
        let values: Vec<f32> = (0..60)
            .map(|i| 1.0 + at(i)[0] - 2.0 * at(i)[1] + 0.5 * at(i)[2])
            .collect();
        let found = trilinear(&values, shape, [2.25, 0.5, 3.75]).unwrap();
        assert!((found - (1.0 + 2.25 - 1.0 + 1.875)).abs() < 1e-5);
    }

    #[test]
    fn outside_the_grid_there_is_no_value_and_at_its_edge_the_outermost_one() {
        let shape = VoxelShape([2, 1, 1]);
        let values = [1.0_f32, 3.0];
        assert_eq!(trilinear(&values, shape, [1.4, 0.0, 0.3]), Some(3.0));
        assert_eq!(trilinear(&values, shape, [1.6, 0.0, 0.0]), None);
        assert_eq!(trilinear(&values, shape, [f64::NAN, 0.0, 0.0]), None);
    }
}
