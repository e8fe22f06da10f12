//! The template's brain mask with its border moved to where the scan shows it.
//!
//! An affine of 12 parameters leaves the border of the carried mask some millimetres off. Near it, a voxel belongs to
//! the brain if it is about as bright as the brain, if a ball of 2 mm fits there (vessels, dura and marrow are thinner),
//! and if it is connected with the rest. Deep inside and far outside the carried mask decides alone.
//!
//! Thresholds are shares of the brain's median, so an uneven scan should be corrected before. They were set on five
//! scans against segmentations (all labels, which count the fluid next to the brain but not that of wide sulci), and
//! matter little: any from 0.25 to 0.33, and any reach from 3 to 5 mm, changes the overlap by less than 0.006. The
//! template's mask is drawn tighter than those segmentations: on the template's own T1 the refined one is 10 % larger.

use crate::intensity::percentile;
use crate::morphology::{ball, closed, dilated, eroded, filled, largest_piece, opened};
use crate::pyramid::reduce;
use crate::volume::{Mask, Volume};

use super::PlacedMask;

/// Voxels of the grid that shapes are made on.
const VOXEL_SIZE_MM: f64 = 2.0;
/// Radii are in those voxels. The border may move by this much inward or outward: 4 mm.
const REACH: usize = 2;
/// What is thinner than a ball of this radius is no brain: 2 mm.
const THINNEST: usize = 1;
/// Sulci narrower than a ball of this radius belong to the brain: 4 mm.
const NARROWEST: usize = 2;
/// Room around the carried mask, for the shapes to grow.
const MARGIN_MM: f64 = 10.0;
/// Brain is brighter than this share of its median: bone and air are darker, fluid between the convolutions is not.
const DARKEST_SHARE: f32 = 0.28;
/// And darker than this one: fat and vessels are brighter.
const BRIGHTEST_SHARE: f32 = 1.35;
/// Fewest voxels deep inside that the median is taken of.
const FEWEST_VOXELS: usize = 1000;
/// A refined mask whose volume is not within these shares of the carried one followed something else than the brain.
const PLAUSIBLE_SHARES: [f64; 2] = [0.85, 1.25];

/// The refined mask on a grid of 2 mm around the carried one; `None` where the scan shows no brain there that could
/// be followed.
pub(super) fn refined(scan: &Volume, carried: &PlacedMask<'_>) -> Option<Mask> {
    let (first, shape) = carried.bounds_in(scan, MARGIN_MM)?;
    let around = reduce(&scan.part(first, shape), VOXEL_SIZE_MM);
    let shape = around.shape();
    let carried = carried.on_grid_of(&around);
    let reach = ball(REACH);
    let core = eroded(carried.values(), shape, &reach);
    let border = dilated(carried.values(), shape, &reach);

    let within_core = around.values().iter().zip(&core);
    let mut brain: Vec<f32> = within_core
        .filter(|(_, inside)| **inside)
        .map(|(value, _)| *value)
        .collect();
    if brain.len() < FEWEST_VOXELS {
        return None;
    }
    let median = percentile(&mut brain, 50.0)?;
    let (dark, bright) = (DARKEST_SHARE * median, BRIGHTEST_SHARE * median);
    let candidates: Vec<bool> = (0..core.len())
        .map(|i| core[i] || border[i] && (dark..bright).contains(&around.values()[i]))
        .collect();

    let mut thick = opened(&candidates, shape, &ball(THINNEST));
    thick
        .iter_mut()
        .zip(&core)
        .for_each(|(thick, core)| *thick |= core);
    let one = largest_piece(&thick, shape);
    let values = filled(&closed(&one, shape, &ball(NARROWEST)), shape);
    let refined = Mask::from_parts(
        values,
        shape,
        around.world_from_voxel(),
        around.voxel_from_world(),
    );
    let [low, high] = PLAUSIBLE_SHARES;
    let share = refined.count() as f64 / carried.count() as f64;
    (low..=high).contains(&share).then_some(refined)
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;
    use crate::space::{Affine, VoxelShape};

    const SIDE: usize = 60;

    fn cube(f: impl Fn([f64; 3]) -> f32) -> Volume {
        let shape = VoxelShape([SIDE; 3]);
        let place = Affine::grid([3.0; 3], [-88.5; 3]);
        let at =
            |i: usize| place.apply([i % SIDE, i / SIDE % SIDE, i / SIDE / SIDE].map(|v| v as f64));
        let values = (0..shape.n_voxels()).map(|i| f(at(i))).collect();
        Volume::new(values, shape, place).unwrap()
    }

    fn radius([x, y, z]: [f64; 3]) -> f64 {
        (x * x + y * y + z * z).sqrt()
    }

    /// A brain of 60 mm radius, fluid around it, bone, and a scalp that is brighter than everything.
    fn head(at: [f64; 3]) -> f32 {
        match radius(at) {
            r if r < 60.0 => 100.0,
            r if r < 64.0 => 12.0,
            r if r < 72.0 => 5.0,
            r if r < 78.0 => 180.0,
            _ => 0.0,
        }
    }

    fn ball(radius_mm: f64) -> PlacedMask<'static> {
        PlacedMask::of_scan(Cow::Owned(
            cube(radius_of).map(|r| f64::from(*r) < radius_mm),
        ))
    }

    fn radius_of(at: [f64; 3]) -> f32 {
        radius(at) as f32
    }

    /// Volume of the ball with this radius, in cm³.
    fn ball_cm3(radius_mm: f64) -> f64 {
        4.0 / 3.0 * std::f64::consts::PI * (radius_mm / 10.0).powi(3)
    }

    #[test]
    fn a_border_some_millimeters_off_is_moved_to_where_the_scan_shows_it() {
        let scan = cube(head);
        for carried_mm in [57.5, 60.0, 62.5] {
            let found = refined(&scan, &ball(carried_mm)).unwrap().volume_cm3();
            // A border 1 mm off is 5 % of this ball; voxels have 3 mm.
            let share = found / ball_cm3(60.0);
            assert!((share - 1.0).abs() < 0.05, "{carried_mm}: {share}");
        }
    }

    #[test]
    fn a_thin_vessel_does_not_lead_out_of_the_brain() {
        let scan = cube(|at| {
            let on_vessel = at[1].abs() < 1.6 && at[2].abs() < 1.6 && at[0] > 0.0;
            if on_vessel && radius(at) < 72.0 {
                110.0
            } else {
                head(at)
            }
        });
        let mask = refined(&scan, &ball(60.0)).unwrap();
        let at = |x: f64| {
            let voxel = mask.voxel_from_world().apply([x, 0.0, 0.0]);
            mask.get(voxel.map(|v| v.round() as usize)).unwrap()
        };
        assert!(at(56.0) && !at(66.0));
    }

    #[test]
    fn a_dark_spot_inside_stays_part_of_the_brain() {
        let scan = cube(|at| {
            let [x, y, z] = at;
            if radius([x - 54.0, y, z]) < 4.0 {
                3.0
            } else {
                head(at)
            }
        });
        let mask = refined(&scan, &ball(60.0)).unwrap();
        let voxel = mask.voxel_from_world().apply([54.0, 0.0, 0.0]);
        assert_eq!(mask.get(voxel.map(|v| v.round() as usize)), Some(true));
    }

    #[test]
    fn where_there_is_no_brain_the_mask_is_not_refined() {
        assert!(refined(&cube(|_| 0.0), &ball(60.0)).is_none());
        assert!(refined(&cube(head), &ball(9.0)).is_none());
        // Bright all around: the border would be lost.
        assert!(refined(&cube(|_| 100.0), &ball(40.0)).is_none());
    }
}
