//! The grid in which a scene is shown: axis-aligned in the world, so that up is up also in oblique scans.

use brainage_pipelines::{Affine, VoxelShape};

/// How far a column of an affine may lean from its axis, as a share of its length, to count as straight: 0.06°.
const STRAIGHT: f64 = 1e-3;
/// Most voxels along an axis of a grid that is made for an oblique scan.
const LONGEST: usize = 1024;

/// A grid along the world's axes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct DisplayGrid {
    /// Voxels along x, y, z.
    pub(crate) shape: [usize; 3],
    /// Their size.
    pub(crate) spacing_mm: [f64; 3],
    /// Index → RAS+ mm.
    pub(crate) world_from_index: Affine,
}

impl DisplayGrid {
    /// A grid whose voxel 0 lies at `origin_mm`.
    pub(crate) fn boxed(shape: [usize; 3], spacing_mm: [f64; 3], origin_mm: [f64; 3]) -> Self {
        Self {
            shape,
            spacing_mm,
            world_from_index: Affine::grid(spacing_mm, origin_mm),
        }
    }

    /// The voxels of a RAS+ volume themselves if they lie along the axes; else cubes of the smallest voxel side that
    /// hold the whole volume.
    pub(crate) fn of(VoxelShape(shape): VoxelShape, world_from_voxel: Affine) -> Self {
        let spacing_mm = world_from_voxel.column_norms();
        if is_straight(&world_from_voxel) {
            return Self {
                shape,
                spacing_mm,
                world_from_index: world_from_voxel,
            };
        }
        let side = spacing_mm.into_iter().fold(f64::MAX, f64::min);
        let side = side.max(1e-3);
        let (mut low, mut high) = ([f64::MAX; 3], [f64::MIN; 3]);
        for corner in 0..8 {
            let end = |axis: usize| {
                if corner >> axis & 1 == 0 {
                    -0.5
                } else {
                    shape[axis] as f64 - 0.5
                }
            };
            let at = world_from_voxel.apply([end(0), end(1), end(2)]);
            for axis in 0..3 {
                low[axis] = low[axis].min(at[axis]);
                high[axis] = high[axis].max(at[axis]);
            }
        }
        let longest = (0..3)
            .map(|axis| high[axis] - low[axis])
            .fold(0.0, f64::max);
        let side = side.max(longest / LONGEST as f64);
        let shape =
            [0, 1, 2].map(|axis| (((high[axis] - low[axis]) / side).ceil() as usize).max(1));
        // Centered, so that what is rounded up is shared by both ends.
        let origin = [0, 1, 2].map(|axis| {
            let middle = f64::midpoint(low[axis], high[axis]);
            middle - side * (shape[axis] as f64 - 1.0) / 2.0
        });
        Self::boxed(shape, [side; 3], origin)
    }

    /// Where a voxel lies.
    pub(crate) fn world_mm(&self, index: [usize; 3]) -> [f64; 3] {
        self.world_from_index.apply(index.map(|i| i as f64))
    }

    /// The voxel nearest to a place.
    pub(crate) fn index_at(&self, world_mm: [f64; 3]) -> [usize; 3] {
        let Some(index_from_world) = self.world_from_index.inverse() else {
            return [0; 3];
        };
        let at = index_from_world.apply(world_mm);
        [0, 1, 2].map(|axis| {
            let last = self.shape[axis].saturating_sub(1);
            (at[axis].round().max(0.0) as usize).min(last)
        })
    }
}

/// Whether every voxel axis runs along a world axis.
pub(crate) fn is_straight(world_from_voxel: &Affine) -> bool {
    let (linear, sizes) = (world_from_voxel.linear(), world_from_voxel.column_norms());
    (0..3).all(|column| {
        (0..3).all(|row| row == column || linear[(row, column)].abs() <= STRAIGHT * sizes[column])
    })
}

#[cfg(test)]
mod tests {
    use brainage_pipelines::Volume;

    use super::*;

    /// A volume turned by `degrees` about the z axis.
    fn turned(degrees: f64) -> Volume {
        let (sin, cos) = degrees.to_radians().sin_cos();
        let place = Affine::from_rows([
            [2.0 * cos, -sin, 0.0, -7.0],
            [2.0 * sin, cos, 0.0, 3.0],
            [0.0, 0.0, 1.5, 1.0],
        ]);
        Volume::new(vec![1.0; 6 * 8 * 4], VoxelShape([6, 8, 4]), place).unwrap()
    }

    #[test]
    fn a_straight_scan_is_shown_in_its_own_voxels() {
        let volume = turned(0.0);
        let grid = DisplayGrid::of(volume.shape(), volume.world_from_voxel());
        assert_eq!((grid.shape, grid.spacing_mm), ([6, 8, 4], [2.0, 1.0, 1.5]));
        assert_eq!(grid.world_mm([1, 2, 3]), [-5.0, 5.0, 5.5]);
        assert_eq!(grid.index_at([-5.0, 5.0, 5.5]), [1, 2, 3]);
    }

    #[test]
    fn the_grid_of_an_oblique_scan_holds_all_of_its_voxels() {
        let volume = turned(20.0);
        let grid = DisplayGrid::of(volume.shape(), volume.world_from_voxel());
        assert_eq!(grid.spacing_mm, [1.0; 3]);
        for corner in [[0, 0, 0], [5, 7, 3], [5, 0, 0], [0, 7, 3]] {
            let at = volume.world_from_voxel().apply(corner.map(f64::from));
            let near = grid.world_mm(grid.index_at(at));
            for axis in 0..3 {
                // Half a voxel of the grid at most: it was not pushed to the border.
                assert!((near[axis] - at[axis]).abs() <= 0.5 + 1e-9, "{corner:?}");
            }
        }
    }

    #[test]
    fn a_place_outside_gives_the_nearest_voxel() {
        let grid = DisplayGrid::boxed([4, 4, 4], [1.0; 3], [0.0; 3]);
        assert_eq!(grid.index_at([-9.0, 99.0, 1.4]), [0, 3, 1]);
    }
}
