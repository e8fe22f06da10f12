//! Values between voxels: linear from the eight neighbours, or of the cubic B-spline through all voxels.
//!
//! For everything that samples a grid at single points: scans, masks, the template.

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

/// The cubic B-spline that meets every voxel of a grid.
///
/// Beyond the outermost voxels the grid counts as mirrored at them.
///
/// # References
/// Unser 1999, IEEE Signal Processing Magazine 16(6), boxes 1 and 2.
pub(crate) struct CubicSpline {
    coefficients: Vec<f32>,
    shape: VoxelShape,
    /// Smallest and largest voxel: the spline overshoots at edges, its values here don't.
    range: [f32; 2],
}

impl CubicSpline {
    pub(crate) fn new(values: Vec<f32>, shape: VoxelShape) -> Self {
        let low = values.iter().copied().fold(f32::MAX, f32::min);
        let high = values.iter().copied().fold(f32::MIN, f32::max);
        let mut coefficients = values;
        let mut inner = 1;
        for side in shape.0 {
            if side > 1 {
                coefficients
                    .chunks_exact_mut(inner * side)
                    .for_each(|block| to_coefficients(block, inner, side));
            }
            inner *= side;
        }
        Self {
            coefficients,
            shape,
            range: [low, high],
        }
    }

    /// The value at voxel position `at`; `None` outside the grid, which ends where [`trilinear`] ends it.
    pub(crate) fn value(&self, at: [f64; 3]) -> Option<f32> {
        let mut neighbours = [[0; 4]; 3];
        let mut weights = [[0.0_f32; 4]; 3];
        for axis in 0..3 {
            let last = self.shape.0[axis].checked_sub(1)?;
            if !(at[axis] >= -0.5 && at[axis] <= last as f64 + 0.5) {
                return None;
            }
            let clamped = at[axis].clamp(0.0, last as f64);
            let lower = clamped.floor();
            let t = (clamped - lower) as f32;
            let rest = 1.0 - t;
            weights[axis] = [
                rest * rest * rest / 6.0,
                (4.0 - 6.0 * t * t + 3.0 * t * t * t) / 6.0,
                (4.0 - 6.0 * rest * rest + 3.0 * rest * rest * rest) / 6.0,
                t * t * t / 6.0,
            ];
            neighbours[axis] =
                std::array::from_fn(|k| mirrored(lower as isize + k as isize - 1, last + 1));
        }
        let mut sum = 0.0;
        for (z, wz) in neighbours[2].into_iter().zip(weights[2]) {
            for (y, wy) in neighbours[1].into_iter().zip(weights[1]) {
                let row = self.shape.offset([0, y, z]);
                let along_x = neighbours[0].into_iter().zip(weights[0]);
                let along_x: f32 = along_x.map(|(x, w)| w * self.coefficients[row + x]).sum();
                sum += wz * wy * along_x;
            }
        }
        Some(sum.clamp(self.range[0], self.range[1]))
    }
}

/// The voxel that index `at` shows where a side is mirrored at its outermost voxels.
fn mirrored(at: isize, side: usize) -> usize {
    let period = (2 * side as isize - 2).max(1);
    let at = at.rem_euclid(period) as usize;
    if at < side { at } else { period as usize - at }
}

/// Turns samples along one axis into spline coefficients: `side` runs of `inner` values, one after the other.
fn to_coefficients(block: &mut [f32], inner: usize, side: usize) {
    /// Terms of the sum that starts the filter: the 24th is below 1e-13 of the first.
    const TERMS: isize = 24;
    let pole = 3.0_f32.sqrt() - 2.0;
    let mut first = vec![0.0; inner];
    let mut weight = 6.0;
    for k in 0..TERMS {
        let run = &block[mirrored(k, side) * inner..][..inner];
        first
            .iter_mut()
            .zip(run)
            .for_each(|(sum, v)| *sum += weight * v);
        weight *= pole;
    }
    block[..inner].copy_from_slice(&first);
    for k in 1..side {
        let (before, now) = block.split_at_mut(k * inner);
        let before = &before[(k - 1) * inner..];
        now.iter_mut()
            .zip(before)
            .for_each(|(now, before)| *now = 6.0 * *now + pole * before);
    }
    let (before, last) = block.split_at_mut((side - 1) * inner);
    let end = pole / (pole * pole - 1.0);
    last.iter_mut()
        .zip(&before[(side - 2) * inner..])
        .for_each(|(last, before)| *last = end * (*last + pole * before));
    for k in (0..side - 1).rev() {
        let (now, after) = block.split_at_mut((k + 1) * inner);
        now[k * inner..]
            .iter_mut()
            .zip(after)
            .for_each(|(now, after)| *now = pole * (*after - *now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_spline_meets_every_voxel_and_a_cubic_between_them() {
        let shape = VoxelShape([40, 7, 30]);
        let cubic = |[x, z]: [f64; 2]| {
            let (x, z) = (x / 40.0, z / 30.0);
            x * x * x - 0.6 * x * z + 0.5 * z * z * (1.0 - z)
        };
        let at = |i: usize| [i % 40, i / 40 % 7, i / 280].map(|v| v as f64);
        let values: Vec<f32> = (0..shape.n_voxels())
            .map(|i| cubic([at(i)[0], at(i)[2]]) as f32)
            .collect();
        let spline = CubicSpline::new(values.clone(), shape);
        for (i, value) in values.iter().enumerate() {
            assert!((spline.value(at(i)).unwrap() - value).abs() < 2e-6, "{i}");
        }
        // The mirror's bend at the ends fades by 0.27 a voxel.
        for [x, z] in [[15.3, 14.0], [20.0, 13.7], [22.9, 16.4]] {
            let found = f64::from(spline.value([x, 3.2, z]).unwrap());
            assert!((found - cubic([x, z])).abs() < 2e-6, "{found}");
        }
    }

    #[test]
    fn the_spline_overshoots_nowhere_and_ends_with_the_grid() {
        let shape = VoxelShape([12, 1, 2]);
        let step = (0..24)
            .map(|i| if i % 12 < 6 { 0.0 } else { 1.0 })
            .collect();
        let spline = CubicSpline::new(step, shape);
        for i in 0..110 {
            let value = spline.value([f64::from(i) / 10.0, 0.0, 0.5]).unwrap();
            assert!((0.0..=1.0).contains(&value));
        }
        assert_eq!(spline.value([11.6, 0.0, 0.0]), None);
        assert_eq!(spline.value([0.0, f64::NAN, 0.0]), None);
    }

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
