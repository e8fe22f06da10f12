//! Maps made on a recipe's grid, brought back to a scan; labels of an atlas, brought onto a grid.
//!
//! For what is shown over a scan or summed by region, such as saliency. The map's own values are interpolated; a scan's
//! never are here.

use crate::interpolate::trilinear;
use crate::space::{Affine, VoxelShape};
use crate::volume::{Grid, Volume};

/// A map on the voxels of a scan, linear between the map's voxels, 0 outside it.
///
/// `map_from_scan` takes the scan's RAS mm to those of the map: the entry's `mni_from_scan`, or the identity where the
/// recipe's grid lies in the space of the scan.
pub fn on_scan<T>(map: &Volume, map_from_scan: &Affine, scan: &Grid<T>) -> Volume {
    let voxel_from_scan = map.voxel_from_world() * *map_from_scan * scan.world_from_voxel();
    let value = |at: [f64; 3]| {
        let at = voxel_from_scan.apply(at);
        trilinear(map.values(), map.shape(), at).unwrap_or(0.0)
    };
    Volume::from_parts(
        positions(scan.shape()).map(value).collect(),
        scan.shape(),
        scan.world_from_voxel(),
        scan.voxel_from_world(),
    )
}

/// The label of an atlas at each voxel of a grid in the same space, that of the nearest voxel; 0 outside the atlas.
pub fn labels_on_grid<T>(atlas: &Volume, grid: &Grid<T>) -> Vec<u32> {
    let atlas_from_grid = atlas.voxel_from_world() * grid.world_from_voxel();
    let label = |at: [f64; 3]| {
        let at = atlas_from_grid.apply(at).map(f64::round);
        let sides = atlas.shape().0;
        let inside = (0..3).all(|axis| at[axis] >= 0.0 && at[axis] < sides[axis] as f64);
        let label = inside.then(|| atlas.get(at.map(|v| v as usize))).flatten();
        label.map_or(0, |label| label.round().max(0.0) as u32)
    };
    positions(grid.shape()).map(label).collect()
}

/// Every voxel's position, x fastest.
fn positions(shape: VoxelShape) -> impl Iterator<Item = [f64; 3]> {
    let [nx, ny, nz] = shape.0;
    let rows = (0..nz).flat_map(move |z| (0..ny).map(move |y| [y, z]));
    rows.flat_map(move |[y, z]| (0..nx).map(move |x| [x as f64, y as f64, z as f64]))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values that grow linearly with the position in mm.
    fn ramp(shape: [usize; 3], voxel_size_mm: f64, origin_mm: [f64; 3]) -> Volume {
        let world_from_voxel = Affine::grid([voxel_size_mm; 3], origin_mm);
        let value = |at: [f64; 3]| {
            let [x, y, z] = world_from_voxel.apply(at);
            (x + 2.0 * y - 3.0 * z) as f32
        };
        let shape = VoxelShape(shape);
        Grid::new(
            positions(shape).map(value).collect(),
            shape,
            world_from_voxel,
        )
        .unwrap()
    }

    #[test]
    fn a_linear_map_keeps_its_values_at_the_same_places_of_the_scan() {
        let map = ramp([12, 12, 12], 2.0, [-4.0, 0.0, 3.0]);
        // The scan's x runs to the left, and it lies 5 mm further back than the map.
        let map_from_scan = Affine::grid([-1.0, 1.0, 1.0], [10.0, 5.0, 0.0]);
        let scan = ramp([6, 5, 4], 1.5, [0.0, 0.0, 10.0]);
        let found = on_scan(&map, &map_from_scan, &scan);
        for (found, at) in found.values().iter().zip(positions(scan.shape())) {
            let [x, y, z] = map_from_scan.apply(scan.world_from_voxel().apply(at));
            assert!((f64::from(*found) - (x + 2.0 * y - 3.0 * z)).abs() < 1e-4);
        }
    }

    #[test]
    fn outside_the_map_there_is_nothing() {
        let map = ramp([3, 3, 3], 1.0, [100.0, 100.0, 100.0]);
        let scan = ramp([4, 4, 4], 1.0, [0.0; 3]);
        assert_eq!(
            on_scan(&map, &Affine::identity(), &scan).values(),
            [0.0; 64]
        );
        assert_eq!(labels_on_grid(&map, &scan), [0; 64]);
    }

    #[test]
    fn labels_are_those_of_the_nearest_voxel() {
        let labels = [1.0, 2.0, 3.0, 4.0];
        let atlas = Grid::new(labels.to_vec(), VoxelShape([4, 1, 1]), Affine::identity()).unwrap();
        let grid = ramp([8, 1, 1], 0.5, [0.1, 0.0, 0.0]);
        assert_eq!(labels_on_grid(&atlas, &grid), [1, 2, 2, 3, 3, 4, 4, 0]);
    }
}
