//! Brain masks on any grid: the template's, carried over by the affine from [`crate::register`], refined on the scan, or the
//! scan's own.
//!
//! Values of a mask are interpolated and cut at one half, which keeps its surface smooth on every grid.

use std::borrow::Cow;

mod refined;

use crate::interpolate::trilinear;
use crate::recipe::OutputGrid;
use crate::space::{Affine, VoxelShape};
use crate::template::Template;
use crate::volume::{Mask, Volume};

/// A mask on a grid of its own, and where that lies in the world of a scan.
#[derive(Clone, Debug)]
pub struct PlacedMask<'a> {
    mask: Cow<'a, Mask>,
    mask_world_from_scan: Affine,
}

impl<'a> PlacedMask<'a> {
    /// The template's brain mask; `mni_from_scan` maps scan RAS mm to MNI mm.
    pub fn of_template(template: &'a Template, mni_from_scan: &Affine) -> Self {
        Self {
            mask: Cow::Borrowed(&template.mask),
            mask_world_from_scan: *mni_from_scan,
        }
    }

    /// A mask that lies in the world of the scan, on whatever grid.
    pub fn of_scan(mask: Cow<'a, Mask>) -> Self {
        Self {
            mask,
            mask_world_from_scan: Affine::identity(),
        }
    }

    /// This mask with its border moved to where the scan shows it; `None` where the scan shows none that is plausible.
    ///
    /// The scan should be free of its bias field.
    pub fn refined(&self, scan: &Volume) -> Option<Self> {
        refined::refined(scan, self).map(|mask| Self::of_scan(Cow::Owned(mask)))
    }

    /// Which voxels of a grid are inside; `scan_from_voxel` maps its voxel indices to scan RAS mm.
    pub fn on(&self, shape: VoxelShape, scan_from_voxel: Affine) -> Vec<bool> {
        let mask_from_voxel =
            self.mask.voxel_from_world() * self.mask_world_from_scan * scan_from_voxel;
        carried(&self.mask, mask_from_voxel, shape)
    }

    /// The mask on the grid of a volume in the scan's world.
    pub fn on_grid_of(&self, volume: &Volume) -> Mask {
        Mask::from_parts(
            self.on(volume.shape(), volume.world_from_voxel()),
            volume.shape(),
            volume.world_from_voxel(),
            volume.voxel_from_world(),
        )
    }

    /// The mask on the grid of a recipe about `origin_mm` of a world that `world_from_scan` leads to; `None` where that
    /// has no inverse.
    pub(crate) fn on_recipe_grid(
        &self,
        grid: &OutputGrid,
        origin_mm: [f64; 3],
        world_from_scan: &Affine,
    ) -> Option<Mask> {
        let (world_from_voxel, voxel_from_world) = grid.about(origin_mm);
        let values = self.on(grid.shape, world_from_scan.inverse()? * world_from_voxel);
        let mask = Mask::from_parts(values, grid.shape, world_from_voxel, voxel_from_world);
        Some(mask)
    }

    /// The box of a scan's voxels around the mask, with a margin: its first voxel and its shape. `None` if they don't
    /// meet.
    fn bounds_in(&self, scan: &Volume, margin_mm: f64) -> Option<([usize; 3], VoxelShape)> {
        let scan_from_world = self.mask_world_from_scan.inverse()?;
        let scan_from_mask =
            scan.voxel_from_world() * scan_from_world * self.mask.world_from_voxel();
        let (inner_low, inner_high) = bounding_box(&self.mask)?;
        let (mut low, mut high) = ([f64::MAX; 3], [f64::MIN; 3]);
        for corner in 0..8 {
            let at = std::array::from_fn(|axis| {
                let ends = [inner_low[axis], inner_high[axis]];
                ends[corner >> axis & 1] as f64
            });
            for (axis, at) in scan_from_mask.apply(at).into_iter().enumerate() {
                low[axis] = low[axis].min(at);
                high[axis] = high[axis].max(at);
            }
        }
        let (mut first, mut shape) = ([0; 3], [0; 3]);
        for axis in 0..3 {
            let margin = margin_mm / scan.voxel_size_mm()[axis];
            let begin = (low[axis] - margin).floor().max(0.0);
            let end = (high[axis] + margin).ceil();
            let end = end.min(scan.shape().0[axis] as f64 - 1.0);
            if begin.is_nan() || end.is_nan() || begin > end {
                return None;
            }
            (first[axis], shape[axis]) = (begin as usize, (end - begin) as usize + 1);
        }
        Some((first, VoxelShape(shape)))
    }
}

/// The first and last voxel inside along each axis; `None` for an empty mask.
fn bounding_box(mask: &Mask) -> Option<([usize; 3], [usize; 3])> {
    let [nx, ny, _] = mask.shape().0;
    let (mut low, mut high) = ([usize::MAX; 3], [0; 3]);
    for (row, values) in mask.values().chunks_exact(nx).enumerate() {
        let Some(first) = values.iter().position(|inside| *inside) else {
            continue;
        };
        let last = values.iter().rposition(|inside| *inside).unwrap_or(first);
        for (axis, [from, to]) in [[first, last], [row % ny; 2], [row / ny; 2]]
            .into_iter()
            .enumerate()
        {
            low[axis] = low[axis].min(from);
            high[axis] = high[axis].max(to);
        }
    }
    (low[0] != usize::MAX).then_some((low, high))
}

/// The template's brain mask on the grid of a scan.
///
/// # Units
/// `mni_from_scan` maps scan RAS mm to MNI mm.
pub fn template_mask_on_scan(scan: &Volume, mni_from_scan: &Affine, template: &Template) -> Mask {
    PlacedMask::of_template(template, mni_from_scan).on_grid_of(scan)
}

/// The template's brain mask on the grid of a recipe in MNI space.
pub fn template_mask_on_grid(grid: &OutputGrid, template: &Template) -> Mask {
    let (world_from_voxel, voxel_from_world) = grid.about([0.0; 3]);
    let template_from_voxel = template.mask.voxel_from_world() * world_from_voxel;
    let values = carried(&template.mask, template_from_voxel, grid.shape);
    Mask::from_parts(values, grid.shape, world_from_voxel, voxel_from_world)
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
        let placed = PlacedMask::of_scan(Cow::Borrowed(&small));
        let found = placed.on_recipe_grid(&grid, [0.0; 3], &mni_from_scan);
        let found = found.unwrap();
        let expected = template_mask_on_grid(&grid, template);
        let differing = found.values().iter().zip(expected.values());
        let differing = differing.filter(|(a, b)| a != b).count();
        assert!(differing < 50, "{differing} of {} voxels", expected.count());
        let flat = Affine::grid([1.0, 1.0, 0.0], [0.0; 3]);
        assert_eq!(placed.on_recipe_grid(&grid, [0.0; 3], &flat), None);
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
