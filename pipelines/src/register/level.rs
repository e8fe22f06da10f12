//! A scan at one resolution, ready to be sampled very often.

use nalgebra::Matrix3;

use crate::space::{Affine, VoxelShape};
use crate::volume::Volume;

/// A scan at one resolution, with a border of zeros: beyond the field of view values fall to 0 without a jump.
pub(super) struct Level {
    padded: Vec<f32>,
    shape: VoxelShape,
    padded_from_world: Affine,
}

impl Level {
    pub(super) fn new(volume: &Volume) -> Self {
        let [nx, ny, _] = volume.shape().0;
        let shape = VoxelShape(volume.shape().0.map(|side| side + 2));
        let mut padded = vec![0.0; shape.n_voxels()];
        for (row, values) in volume.values().chunks_exact(nx).enumerate() {
            let first = shape.offset([1, row % ny + 1, row / ny + 1]);
            padded[first..first + nx].copy_from_slice(values);
        }
        let padded_from_world = Affine::grid([1.0; 3], [1.0; 3]) * volume.voxel_from_world();
        Self {
            padded,
            shape,
            padded_from_world,
        }
    }

    /// How world mm become positions for [`Level::value`] and [`Level::value_and_gradient`].
    pub(super) fn padded_from_world(&self) -> Affine {
        self.padded_from_world
    }

    /// The linear value at a position among the padded voxels; 0 outside.
    #[inline]
    pub(super) fn value(&self, at: [f32; 3]) -> f32 {
        self.value_and_gradient(at).0
    }

    /// The linear value and its exact slope along the voxel axes; all 0 outside.
    #[inline]
    pub(super) fn value_and_gradient(&self, at: [f32; 3]) -> (f32, [f32; 3]) {
        let [nx, ny, nz] = self.shape.0;
        // Written so that NaN is outside.
        let is_inside = at[0] >= 0.0
            && at[1] >= 0.0
            && at[2] >= 0.0
            && at[0] < (nx - 1) as f32
            && at[1] < (ny - 1) as f32
            && at[2] < (nz - 1) as f32;
        if !is_inside {
            return (0.0, [0.0; 3]);
        }
        let [x, y, z] = at.map(|v| v as usize);
        let [u, v, w] = [at[0] - x as f32, at[1] - y as f32, at[2] - z as f32];
        let first = x + nx * (y + ny * z);
        let pair = |offset: usize| {
            let start = first + offset;
            let both = &self.padded[start..start + 2];
            (both[0], both[1])
        };
        let (a00, b00) = pair(0);
        let (a10, b10) = pair(nx);
        let (a01, b01) = pair(nx * ny);
        let (a11, b11) = pair(nx * ny + nx);
        let (dx00, dx10, dx01, dx11) = (b00 - a00, b10 - a10, b01 - a01, b11 - a11);
        let (c00, c10, c01, c11) = (
            a00 + u * dx00,
            a10 + u * dx10,
            a01 + u * dx01,
            a11 + u * dx11,
        );
        let (dy0, dy1) = (c10 - c00, c11 - c01);
        let (e0, e1) = (c00 + v * dy0, c01 + v * dy1);
        let (dx0, dx1) = (dx00 + v * (dx10 - dx00), dx01 + v * (dx11 - dx01));
        let dz = e1 - e0;
        (
            e0 + w * dz,
            [dx0 + w * (dx1 - dx0), dy0 + w * (dy1 - dy0), dz],
        )
    }

    /// Whether a position among the padded voxels lies in the field of view.
    pub(super) fn contains(&self, at: [f32; 3]) -> bool {
        at.iter()
            .zip(self.shape.0)
            .all(|(v, side)| *v >= 0.5 && *v <= side as f32 - 1.5)
    }
}

/// Points of the template's world as positions in a level: an affine in f32, for the innermost loops.
#[derive(Clone, Copy)]
pub(super) struct PointMap {
    rows: [[f32; 4]; 3],
}

impl PointMap {
    pub(super) fn new(affine: Affine) -> Self {
        let rows = affine.rows();
        Self {
            rows: std::array::from_fn(|r| rows[r].map(|v| v as f32)),
        }
    }

    #[inline]
    pub(super) fn apply(&self, [x, y, z]: [f32; 3]) -> [f32; 3] {
        self.rows.map(|[a, b, c, d]| a * x + b * y + c * z + d)
    }
}

/// Rotation by angles about x, then y, then z, in degrees.
pub(super) fn rotation(degrees: [f64; 3]) -> Matrix3<f64> {
    let about = |axis: usize| {
        let (sin, cos) = degrees[axis].to_radians().sin_cos();
        let (p, q) = ((axis + 1) % 3, (axis + 2) % 3);
        let mut turn = Matrix3::identity();
        (turn[(p, p)], turn[(p, q)], turn[(q, p)], turn[(q, q)]) = (cos, -sin, sin, cos);
        turn
    };
    about(2) * about(1) * about(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gradient_is_that_of_the_value() {
        let shape = VoxelShape([6, 5, 7]);
        let values = (0..shape.n_voxels())
            .map(|i| ((i * 7919) % 101) as f32)
            .collect();
        let level = Level::new(&Volume::new(values, shape, Affine::identity()).unwrap());
        let at = [3.3_f32, 2.6, 4.4];
        let (_, gradient) = level.value_and_gradient(at);
        for axis in 0..3 {
            let mut ahead = at;
            ahead[axis] += 0.05;
            let mut behind = at;
            behind[axis] -= 0.05;
            let slope = (level.value(ahead) - level.value(behind)) / 0.1;
            assert!(
                (slope - gradient[axis]).abs() < 0.02,
                "axis {axis}: {slope} {}",
                gradient[axis]
            );
        }
    }

    #[test]
    fn beyond_the_field_of_view_values_fall_to_0() {
        let shape = VoxelShape([2, 2, 2]);
        let level = Level::new(&Volume::new(vec![8.0; 8], shape, Affine::identity()).unwrap());
        assert_eq!(level.value([1.0, 1.5, 2.0]), 8.0);
        assert_eq!(level.value([0.5, 1.5, 2.0]), 4.0);
        assert_eq!(level.value([-3.0, 1.5, f32::NAN]), 0.0);
    }
}
