//! Brain masks on other grids: the template's on that of a scan or a recipe, a scan's own on that of a recipe.
//!
//! Carried over by the affine from [`crate::register`]; values of the mask are interpolated and cut at one half, which
//! keeps its surface smooth on every grid.

use crate::interpolate::trilinear;
use crate::recipe::OutputGrid;
use crate::space::{Affine, VoxelShape};
use crate::template::Template;
use crate::volume::{Mask, Volume};

/// The template's brain mask on the grid of a scan.
///
/// # Units
/// `mni_from_scan` maps scan RAS mm to MNI mm.
pub fn template_mask_on_scan(scan: &Volume, mni_from_scan: &Affine, template: &Template) -> Mask {
    let template_from_voxel =
        template.mask.voxel_from_world() * *mni_from_scan * scan.world_from_voxel();
    let values = carried(&template.mask, template_from_voxel, scan.shape());
    Mask::from_parts(
        values,
        scan.shape(),
        scan.world_from_voxel(),
        scan.voxel_from_world(),
    )
}

/// The template's brain mask on the grid of a recipe.
pub fn template_mask_on_grid(grid: &OutputGrid, template: &Template) -> Mask {
    let template_from_voxel = template.mask.voxel_from_world() * grid.world_from_voxel();
    on_grid(&template.mask, template_from_voxel, grid)
}

/// A scan's own brain mask on the grid of a recipe; `None` if the affine has no inverse.
///
/// # Units
/// `mni_from_scan` maps scan RAS mm to MNI mm.
pub fn scan_mask_on_grid(mask: &Mask, mni_from_scan: &Affine, grid: &OutputGrid) -> Option<Mask> {
    let scan_from_mni = mni_from_scan.inverse()?;
    let mask_from_voxel = mask.voxel_from_world() * scan_from_mni * grid.world_from_voxel();
    Some(on_grid(mask, mask_from_voxel, grid))
}

fn on_grid(mask: &Mask, mask_from_voxel: Affine, grid: &OutputGrid) -> Mask {
    let values = carried(mask, mask_from_voxel, grid.shape);
    let inverse = Affine::grid(
        grid.voxel_size_mm.map(|size| 1.0 / size),
        std::array::from_fn(|axis| -grid.origin_mm[axis] / grid.voxel_size_mm[axis]),
    );
    Mask::from_parts(values, grid.shape, grid.world_from_voxel(), inverse)
}

fn carried(mask: &Mask, mask_from_voxel: Affine, shape: VoxelShape) -> Vec<bool> {
    let [nx, ny, _] = shape.0;
    let step = mask_from_voxel.linear().column(0).into_owned();
    let mut values = vec![false; shape.n_voxels()];
    for (row, target) in values.chunks_exact_mut(nx).enumerate() {
        let start = mask_from_voxel.apply([0.0, (row % ny) as f64, (row / ny) as f64]);
        for (x, inside) in target.iter_mut().enumerate() {
            let at = std::array::from_fn(|axis| start[axis] + step[axis] * x as f64);
            let share = trilinear(mask.values(), mask.shape(), at);
            *inside = share.is_some_and(|share| share >= 0.5);
        }
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::Recipe;
    use crate::template::template;

    #[test]
    fn on_its_own_grid_the_mask_is_itself() {
        let template = template().unwrap();
        let mask = template_mask_on_scan(&template.t1, &Affine::identity(), template);
        assert_eq!(mask, template.mask);
    }

    #[test]
    fn a_scans_own_mask_on_the_grid_has_the_volume_that_the_affine_makes_of_it() {
        let template = template().unwrap();
        // The template as a scan, 10 % smaller and moved.
        let mni_from_scan = Affine::grid([1.1; 3], [3.0, -4.0, 5.0]);
        let scan_from_mni = mni_from_scan.inverse().unwrap();
        let small = Mask::new(
            template.mask.values().to_vec(),
            template.mask.shape(),
            scan_from_mni * template.mask.world_from_voxel(),
        )
        .unwrap();
        let grid = Recipe::named("fast").unwrap().grid;
        let found = scan_mask_on_grid(&small, &mni_from_scan, &grid).unwrap();
        let expected = template_mask_on_grid(&grid, template);
        let differing = found.values().iter().zip(expected.values());
        let differing = differing.filter(|(a, b)| a != b).count();
        assert!(differing < 50, "{differing} of {} voxels", expected.count());
        let flat = Affine::grid([1.0, 1.0, 0.0], [0.0; 3]);
        assert_eq!(scan_mask_on_grid(&small, &flat, &grid), None);
    }

    #[test]
    fn every_recipe_holds_the_whole_brain_and_its_volume_within_2_percent() {
        let template = template().unwrap();
        for name in Recipe::names() {
            let grid = Recipe::named(name).unwrap().grid;
            let mask = template_mask_on_grid(&grid, template);
            let ratio = mask.volume_cm3() / template.mask.volume_cm3();
            assert!((ratio - 1.0).abs() < 0.02, "{name}: {ratio}");
        }
    }
}
