//! Voxels that always know where they lie.

use crate::space::{Affine, VoxelShape};

/// A grid of values with its place in the world.
///
/// # Shapes
/// Values are stored x-fastest: voxel `[x, y, z]` is at `x + nx·(y + ny·z)`.
/// # Units
/// `world_from_voxel` maps voxel indices to RAS+ mm; it is always invertible.
#[derive(Clone, Debug, PartialEq)]
pub struct Grid<T> {
    values: Vec<T>,
    shape: VoxelShape,
    world_from_voxel: Affine,
    voxel_from_world: Affine,
}

/// Grey values of a scan, or of anything sampled like one.
pub type Volume = Grid<f32>;

/// Which voxels belong to a structure, usually the brain.
pub type Mask = Grid<bool>;

/// Why values, shape and affine don't make a grid.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GridError {
    /// The number of values is not the product of the shape.
    #[error("{found} values for a shape of {shape}, expected {expected}")]
    Count {
        /// How many values there are.
        found: usize,
        /// How many the shape asks for.
        expected: usize,
        /// The shape.
        shape: VoxelShape,
    },
    /// The affine cannot be inverted.
    #[error("affine is singular or not finite")]
    SingularAffine,
}

impl<T> Grid<T> {
    /// Joins values with their place.
    ///
    /// # Errors
    /// [`GridError::Count`] if the length of `values` is not the product of `shape`; [`GridError::SingularAffine`] if
    /// `world_from_voxel` has no inverse.
    pub fn new(
        values: Vec<T>,
        shape: VoxelShape,
        world_from_voxel: Affine,
    ) -> Result<Self, GridError> {
        if values.len() != shape.n_voxels() {
            return Err(GridError::Count {
                found: values.len(),
                expected: shape.n_voxels(),
                shape,
            });
        }
        let voxel_from_world = world_from_voxel
            .inverse()
            .ok_or(GridError::SingularAffine)?;
        Ok(Self {
            values,
            shape,
            world_from_voxel,
            voxel_from_world,
        })
    }

    /// Joins values with a place whose inverse is known; the caller vouches for all four.
    pub(crate) fn from_parts(
        values: Vec<T>,
        shape: VoxelShape,
        world_from_voxel: Affine,
        voxel_from_world: Affine,
    ) -> Self {
        debug_assert_eq!(values.len(), shape.n_voxels());
        Self {
            values,
            shape,
            world_from_voxel,
            voxel_from_world,
        }
    }

    /// All values, x-fastest.
    pub fn values(&self) -> &[T] {
        &self.values
    }

    /// All values, x-fastest, to be changed in place.
    pub fn values_mut(&mut self) -> &mut [T] {
        &mut self.values
    }

    /// The values alone.
    pub fn into_values(self) -> Vec<T> {
        self.values
    }

    /// Number of voxels along x, y, z.
    pub fn shape(&self) -> VoxelShape {
        self.shape
    }

    /// Voxel indices → RAS+ mm.
    pub fn world_from_voxel(&self) -> Affine {
        self.world_from_voxel
    }

    /// RAS+ mm → voxel indices.
    pub fn voxel_from_world(&self) -> Affine {
        self.voxel_from_world
    }

    /// Voxel size in mm, from the affine.
    pub fn voxel_size_mm(&self) -> [f64; 3] {
        self.world_from_voxel.column_norms()
    }

    /// Volume of one voxel in mm³.
    pub fn voxel_volume_mm3(&self) -> f64 {
        self.world_from_voxel.determinant().abs()
    }

    /// A grid of the same place with other values, made value by value.
    pub fn map<U>(&self, f: impl FnMut(&T) -> U) -> Grid<U> {
        Grid {
            values: self.values.iter().map(f).collect(),
            shape: self.shape,
            world_from_voxel: self.world_from_voxel,
            voxel_from_world: self.voxel_from_world,
        }
    }
}

impl<T: Copy> Grid<T> {
    /// The value at `[x, y, z]`; `None` outside the grid.
    pub fn get(&self, at: [usize; 3]) -> Option<T> {
        let inside = at.iter().zip(self.shape.0).all(|(i, n)| *i < n);
        inside.then(|| self.values[self.shape.offset(at)])
    }

    /// The box of `shape` that begins at voxel `first`, in its place; it must lie inside the grid.
    pub(crate) fn part(&self, first: [usize; 3], shape: VoxelShape) -> Self {
        let [nx, ny, nz] = shape.0;
        let mut values = Vec::with_capacity(shape.n_voxels());
        for (z, y) in (0..nz).flat_map(|z| (0..ny).map(move |y| (z, y))) {
            let row = self.shape.offset([first[0], first[1] + y, first[2] + z]);
            values.extend_from_slice(&self.values[row..row + nx]);
        }
        let moved = |sign: f64| Affine::grid([1.0; 3], first.map(|v| sign * v as f64));
        Self {
            values,
            shape,
            world_from_voxel: self.world_from_voxel * moved(1.0),
            voxel_from_world: moved(-1.0) * self.voxel_from_world,
        }
    }
}

impl Mask {
    /// How many voxels are inside.
    pub fn count(&self) -> usize {
        self.values.iter().filter(|inside| **inside).count()
    }

    /// Volume inside, in cm³.
    pub fn volume_cm3(&self) -> f64 {
        self.count() as f64 * self.voxel_volume_mm3() / 1000.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_do_not_fill_the_shape_are_refused() {
        let refused = Volume::new(vec![0.0; 7], VoxelShape([2, 2, 2]), Affine::identity());
        assert!(matches!(
            refused,
            Err(GridError::Count {
                found: 7,
                expected: 8,
                ..
            })
        ));
    }

    #[test]
    fn a_value_outside_the_grid_is_none() {
        let volume = Volume::new(
            (0..8u8).map(f32::from).collect(),
            VoxelShape([2, 2, 2]),
            Affine::identity(),
        )
        .expect("shape fits");
        assert_eq!(volume.get([1, 0, 1]), Some(5.0));
        assert_eq!(volume.get([2, 0, 0]), None);
    }
}
