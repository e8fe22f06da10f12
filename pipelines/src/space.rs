//! Where voxels lie: shapes, voxel sizes, affines and axis codes.
//!
//! World coordinates are RAS+ millimetres everywhere: x grows to the right, y to the front, z to the top of the head.
//! Transforms are named right to left: `world_from_voxel` maps voxel indices to the world.

use std::fmt;
use std::ops::Mul;

use nalgebra::{Matrix3, Matrix4, Vector3};
use serde::{Deserialize, Serialize};

/// Number of voxels along x, y and z; x is the fastest in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct VoxelShape(pub [usize; 3]);

impl VoxelShape {
    /// Product of the three sides.
    pub fn n_voxels(self) -> usize {
        self.0.iter().product()
    }

    /// Position of voxel `[x, y, z]` in memory.
    pub fn offset(self, [x, y, z]: [usize; 3]) -> usize {
        x + self.0[0] * (y + self.0[1] * z)
    }
}

impl fmt::Display for VoxelShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [x, y, z] = self.0;
        write!(f, "{x}×{y}×{z}")
    }
}

/// An affine map between 3D coordinate systems, 4×4, last row (0, 0, 0, 1).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "[[f64; 4]; 4]", into = "[[f64; 4]; 4]")]
pub struct Affine(Matrix4<f64>);

impl Affine {
    /// The map that changes nothing.
    pub fn identity() -> Self {
        Self(Matrix4::identity())
    }

    /// From the upper three rows of the matrix.
    pub fn from_rows(rows: [[f64; 4]; 3]) -> Self {
        let mut m = Matrix4::identity();
        for (r, row) in rows.iter().enumerate() {
            for (c, value) in row.iter().enumerate() {
                m[(r, c)] = *value;
            }
        }
        Self(m)
    }

    /// From a linear part and a translation.
    pub fn from_parts(linear: &Matrix3<f64>, translation: &Vector3<f64>) -> Self {
        let mut m = Matrix4::identity();
        m.fixed_view_mut::<3, 3>(0, 0).copy_from(linear);
        m.fixed_view_mut::<3, 1>(0, 3).copy_from(translation);
        Self(m)
    }

    /// Axis-aligned grid: voxel sizes in mm and the world position of voxel 0.
    pub fn grid(voxel_size_mm: [f64; 3], origin_mm: [f64; 3]) -> Self {
        Self::from_parts(
            &Matrix3::from_diagonal(&voxel_size_mm.into()),
            &origin_mm.into(),
        )
    }

    /// The 3×3 linear part.
    pub fn linear(&self) -> Matrix3<f64> {
        self.0.fixed_view::<3, 3>(0, 0).into_owned()
    }

    /// The translation, in the units of the target space.
    pub fn translation(&self) -> Vector3<f64> {
        self.0.fixed_view::<3, 1>(0, 3).into_owned()
    }

    /// The full matrix, row by row.
    pub fn rows(&self) -> [[f64; 4]; 4] {
        std::array::from_fn(|r| std::array::from_fn(|c| self.0[(r, c)]))
    }

    /// Maps a point.
    pub fn apply(&self, point: [f64; 3]) -> [f64; 3] {
        (self.linear() * Vector3::from(point) + self.translation()).into()
    }

    /// The inverse map; `None` where the linear part is singular or not finite.
    pub fn inverse(&self) -> Option<Self> {
        let inverse = self.linear().try_inverse()?;
        let translation = -(inverse * self.translation());
        let finite = inverse
            .iter()
            .chain(translation.iter())
            .all(|v| v.is_finite());
        finite.then(|| Self::from_parts(&inverse, &translation))
    }

    /// Lengths of the columns: for `world_from_voxel`, the voxel size in mm.
    pub fn column_norms(&self) -> [f64; 3] {
        let linear = self.linear();
        std::array::from_fn(|c| linear.column(c).norm())
    }

    /// Determinant of the linear part: the factor by which volumes grow.
    pub fn determinant(&self) -> f64 {
        self.linear().determinant()
    }

    /// For each voxel axis, the world axis it runs along (0 right, 1 front, 2 top) and whether it runs that way.
    ///
    /// The rotation nearest to the linear part decides (polar decomposition), largest entries first, no world axis
    /// twice: the rule of nibabel's `io_orientation`.
    pub fn closest_axes(&self) -> [(usize, bool); 3] {
        let norms = self.column_norms();
        let mut unit = self.linear();
        for (c, norm) in norms.iter().enumerate() {
            if *norm > 0.0 {
                unit.column_mut(c).scale_mut(1.0 / norm);
            }
        }
        let svd = unit.svd(true, true);
        let rotation = match (svd.u, svd.v_t) {
            (Some(u), Some(v_t)) => u * v_t,
            _ => unit,
        };
        let mut entries: Vec<(usize, usize)> = (0..9).map(|i| (i / 3, i % 3)).collect();
        entries.sort_by(|a, b| rotation[*b].abs().total_cmp(&rotation[*a].abs()));
        let mut axes = [(usize::MAX, true); 3];
        let mut taken = [false; 3];
        for (world, voxel) in entries {
            if axes[voxel].0 == usize::MAX && !taken[world] {
                axes[voxel] = (world, rotation[(world, voxel)] >= 0.0);
                taken[world] = true;
            }
        }
        axes
    }

    /// Axis codes such as "RAS" or "LPI": the direction in which each voxel axis grows.
    pub fn orientation(&self) -> String {
        const CODES: [[char; 2]; 3] = [['L', 'R'], ['P', 'A'], ['I', 'S']];
        self.closest_axes()
            .iter()
            .map(|(world, forward)| CODES[*world][usize::from(*forward)])
            .collect()
    }
}

impl Mul for Affine {
    type Output = Self;

    /// `c_from_b * b_from_a = c_from_a`.
    fn mul(self, b_from_a: Self) -> Self {
        Self(self.0 * b_from_a.0)
    }
}

impl From<[[f64; 4]; 4]> for Affine {
    fn from(rows: [[f64; 4]; 4]) -> Self {
        Self::from_rows([rows[0], rows[1], rows[2]])
    }
}

impl From<Affine> for [[f64; 4]; 4] {
    fn from(affine: Affine) -> Self {
        affine.rows()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn axis_codes_follow_the_columns_of_the_affine() {
        let las = Affine::from_rows([
            [-2.0, 0.0, 0.0, 9.0],
            [0.0, 1.0, 0.1, 0.0],
            [0.0, -0.1, 3.0, 0.0],
        ]);
        assert_eq!(las.orientation(), "LAS");
        let psr = Affine::from_rows([
            [0.0, 0.0, 1.0, 0.0],
            [-1.0, 0.0, 0.0, 0.0],
            [0.0, 1.0, 0.0, 0.0],
        ]);
        assert_eq!(psr.orientation(), "PSR");
    }

    #[test]
    fn a_singular_affine_has_no_inverse() {
        assert!(Affine::grid([1.0, 0.0, 1.0], [0.0; 3]).inverse().is_none());
    }

    proptest! {
        #[test]
        fn an_affine_times_its_inverse_is_the_identity(
            values in prop::array::uniform12(-2.0..2.0f64),
        ) {
            let mut rows = [[0.0; 4]; 3];
            for (i, v) in values.iter().enumerate() {
                rows[i / 4][i % 4] = *v + if i % 5 == 0 { 5.0 } else { 0.0 };
            }
            let affine = Affine::from_rows(rows);
            let product = affine * affine.inverse().expect("diagonally dominant");
            for (r, row) in product.rows().iter().enumerate() {
                for (c, v) in row.iter().enumerate() {
                    prop_assert!((v - f64::from(u8::from(r == c))).abs() < 1e-9);
                }
            }
        }
    }
}
