//! Affine registration of a scan to the template, 12 degrees of freedom.
//!
//! A scan comes in as it was read (any pose, any field of view); out goes the map from its world to MNI space and how
//! well it fits. Normalized correlation over the brain and its surroundings is maximized at 8, 4 and 2 mm, from the
//! best of many starting points. Everything is summed in one fixed order on one thread: the same scan always gives the
//! same map. Nothing is resampled here; that happens once, in [`crate::resample`].

use crate::intensity::percentile;
use crate::pyramid::reduce;
use crate::space::Affine;
use crate::template::Template;
use crate::volume::{Mask, Volume};

mod start;

mod correlation;
mod lbfgs;
mod level;
mod reference;

use correlation::Comparison;
use level::{Level, PointMap};
use reference::{LEVELS_MM, Reference};
use start::{Head, candidates};

pub use start::Pose;

pub(crate) use reference::TemplateLevels;

/// Steps of the optimizer, by level.
const MAX_STEPS: [usize; 3] = [40, 40, 30];
/// So many starting points are improved at the coarsest level.
const N_IMPROVED: usize = 4;
/// Two of them may go on to the next level if their correlations are this close.
const CLOSE: f64 = 0.02;
/// Values above this percentile of a scan are cut: vessels and fat are brighter than any brain.
const CUT_ABOVE_PERCENTILE: f64 = 99.5;
/// Percentiles are taken of about so many voxels.
const N_LOOKED_AT: usize = 400_000;

/// How a scan lies on the template.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Registration {
    /// Scan RAS mm → MNI mm.
    pub mni_from_scan: Affine,
    /// Normalized correlation with the template over the brain and 6 mm around it, at 2 mm, −1 to 1.
    pub correlation: f64,
    /// Share of the template's brain that lies in the scan's field of view, 0 to 1.
    pub brain_inside: f64,
    /// (brain − air) / (brain + air) of the mean values; `None` where no air is in the field of view.
    pub contrast: Option<f64>,
    /// Whether the scan looks as if the skull had been removed.
    pub skull_stripped: bool,
}

/// Finds the affine from scan to template; `None` where nothing in the scan stands out, or nothing fits.
pub fn register(scan: &Volume, template: &Template, pose: Pose) -> Option<Registration> {
    let levels = template.levels();
    let scan_levels = reduced(&clipped(scan)?);
    let head = Head::find(&scan_levels[0])?;
    let scan_levels = scan_levels.each_ref().map(Level::new);

    let whole = fit_coarsely(&levels.whole_head, &scan_levels[0], &head, pose);
    let stripped = fit_coarsely(&levels.skull_stripped, &scan_levels[0], &head, pose);
    decided(whole, stripped, &scan_levels, template)
}

/// The better of the coarse fits to the template with and without its skull, refined: a removed skull shows in which of the
/// two pictures fits better.
fn decided(
    whole: Vec<Fit>,
    stripped: Vec<Fit>,
    scan_levels: &[Level; 3],
    template: &Template,
) -> Option<Registration> {
    let levels = template.levels();
    let best = |fits: &[Fit]| fits.first().map_or(f64::MIN, |fit| fit.correlation);
    let skull_stripped = best(&stripped) > best(&whole);
    let (reference, fits) = if skull_stripped {
        (&levels.skull_stripped, stripped)
    } else {
        (&levels.whole_head, whole)
    };
    let fit = refine(reference, scan_levels, &fits)?;
    judged(fit, scan_levels, template, skull_stripped)
}

/// As [`register`], of a scan that a part of was registered already: starts from the map that was found.
///
/// Whether the skull was removed is decided anew: a head that was cut too high looks like one without a skull.
pub(crate) fn register_again(
    scan: &Volume,
    template: &Template,
    found: &Registration,
) -> Option<Registration> {
    let levels = template.levels();
    let scan_levels = reduced(&clipped(scan)?);
    let scan_levels = scan_levels.each_ref().map(Level::new);
    let start = found.mni_from_scan.inverse()?;
    let fit_from_start = |reference: &Reference| {
        let mut coarse = Comparison::new(&reference.levels[0], &scan_levels[0]);
        let (scan_from_mni, correlation) = coarse.improve(start, MAX_STEPS[0]);
        vec![Fit {
            scan_from_mni,
            correlation,
        }]
    };
    let whole = fit_from_start(&levels.whole_head);
    let stripped = fit_from_start(&levels.skull_stripped);
    decided(whole, stripped, &scan_levels, template)
}

/// How far the lowest part of the brain lies above the lowest slice of a scan that was registered so, in mm.
pub(crate) fn above_lowest_slice_mm(
    scan: &Volume,
    template: &Template,
    found: &Registration,
) -> Option<f64> {
    let voxel_from_mni = scan.voxel_from_world() * found.mni_from_scan.inverse()?;
    let brain = template.levels().brain.iter();
    let heights = brain.map(|point| voxel_from_mni.apply(point.map(f64::from))[2]);
    heights
        .reduce(f64::min)
        .map(|lowest| lowest * scan.voxel_size_mm()[2])
}

/// Less than this share of the brain's size lies outside it in a scan whose skull was removed; scalp, face and neck come to
/// more than 1 in whole heads.
const LEFT_OUTSIDE: f64 = 0.1;
/// What is darker than this share of the brain's mean is no tissue.
const TISSUE_SHARE: f64 = 0.2;

/// As [`register`], where the brain is known: only what is inside `brain`, a mask on the scan's voxels, is compared.
pub fn register_brain(
    scan: &Volume,
    brain: &Mask,
    template: &Template,
    pose: Pose,
) -> Option<Registration> {
    let scan = clipped(scan)?;
    let mut stripped = scan.clone();
    let (mut inside, mut n_inside) = (0.0, 0_usize);
    for (value, is_inside) in stripped.values_mut().iter_mut().zip(brain.values()) {
        if *is_inside {
            (inside, n_inside) = (inside + f64::from(*value), n_inside + 1);
        } else {
            *value = 0.0;
        }
    }
    let bright = (TISSUE_SHARE * inside / n_inside.max(1) as f64) as f32;
    let outside = scan.values().iter().zip(brain.values());
    let outside = outside.filter(|(value, is_inside)| !**is_inside && **value > bright);
    let skull_stripped = (outside.count() as f64) < LEFT_OUTSIDE * n_inside as f64;

    let levels = reduced(&stripped);
    drop(stripped);
    let head = Head::find(&levels[0])?;
    let levels = levels.each_ref().map(Level::new);
    let reference = &template.levels().skull_stripped;
    let fits = fit_coarsely(reference, &levels[0], &head, pose);
    let fit = refine(reference, &levels, &fits)?;
    judged(
        fit,
        &reduced(&scan).each_ref().map(Level::new),
        template,
        skull_stripped,
    )
}

/// A scan at [`LEVELS_MM`].
fn reduced(scan: &Volume) -> [Volume; 3] {
    let fine = reduce(scan, LEVELS_MM[2]);
    let middle = reduce(&fine, LEVELS_MM[1]);
    [reduce(&middle, LEVELS_MM[0]), middle, fine]
}

/// A fit with what the whole scan looks like under it.
fn judged(
    fit: Fit,
    scan_levels: &[Level; 3],
    template: &Template,
    skull_stripped: bool,
) -> Option<Registration> {
    let levels = template.levels();
    let mni_from_scan = fit.scan_from_mni.inverse()?;
    let (brain_inside, brain) = look_at(&levels.brain, &scan_levels[1], fit.scan_from_mni);
    let (_, air) = look_at(&levels.air, &scan_levels[0], fit.scan_from_mni);
    let contrast = brain
        .zip(air)
        .map(|(brain, air)| (brain - air) / (brain + air).max(1e-9));
    Some(Registration {
        mni_from_scan,
        correlation: fit.correlation,
        brain_inside,
        contrast,
        skull_stripped,
    })
}

/// A map and how well it fits.
#[derive(Clone, Copy)]
struct Fit {
    scan_from_mni: Affine,
    correlation: f64,
}

/// The best starting points, improved at the coarsest level, best first.
fn fit_coarsely(reference: &Reference, coarse: &Level, head: &Head, pose: Pose) -> Vec<Fit> {
    let mut comparison = Comparison::new(&reference.levels[0], coarse);
    let mut starts: Vec<Fit> = candidates(head, reference.center, pose)
        .into_iter()
        .map(|scan_from_mni| Fit {
            scan_from_mni,
            correlation: comparison.correlation(scan_from_mni),
        })
        .collect();
    sort_best_first(&mut starts);
    starts.truncate(N_IMPROVED);
    let mut fits: Vec<Fit> = starts
        .iter()
        .map(|start| {
            let (scan_from_mni, correlation) =
                comparison.improve(start.scan_from_mni, MAX_STEPS[0]);
            Fit {
                scan_from_mni,
                correlation,
            }
        })
        .collect();
    sort_best_first(&mut fits);
    fits
}

/// The best of the coarse fits, improved at the finer levels.
fn refine(reference: &Reference, scan_levels: &[Level; 3], coarse_fits: &[Fit]) -> Option<Fit> {
    let best = coarse_fits.first()?;
    let close = coarse_fits
        .iter()
        .take(2)
        .filter(|fit| fit.correlation > best.correlation - CLOSE);
    let mut comparison = Comparison::new(&reference.levels[1], &scan_levels[1]);
    let mut fits: Vec<Fit> = close
        .map(|fit| {
            let (scan_from_mni, correlation) = comparison.improve(fit.scan_from_mni, MAX_STEPS[1]);
            Fit {
                scan_from_mni,
                correlation,
            }
        })
        .collect();
    sort_best_first(&mut fits);
    let mut comparison = Comparison::new(&reference.levels[2], &scan_levels[2]);
    let (scan_from_mni, correlation) =
        comparison.improve(fits.first()?.scan_from_mni, MAX_STEPS[2]);
    Some(Fit {
        scan_from_mni,
        correlation,
    })
}

fn sort_best_first(fits: &mut [Fit]) {
    fits.sort_by(|a, b| b.correlation.total_cmp(&a.correlation));
}

/// The scan from 0 (its darkest value, where that is negative) to [`CUT_ABOVE_PERCENTILE`]; `None` if all is dark.
fn clipped(scan: &Volume) -> Option<Volume> {
    let every = (scan.values().len() / N_LOOKED_AT).max(1);
    let mut looked_at: Vec<f32> = scan.values().iter().copied().step_by(every).collect();
    let low = percentile(&mut looked_at, 0.1)?.min(0.0);
    looked_at.retain(|value| *value > low);
    let high = percentile(&mut looked_at, CUT_ABOVE_PERCENTILE)?;
    Some(scan.map(|value| value.clamp(low, high) - low))
}

/// The share of some template points inside the scan's field of view, and the mean of the scan there.
fn look_at(points: &[[f32; 3]], level: &Level, scan_from_mni: Affine) -> (f64, Option<f64>) {
    let map = PointMap::new(level.padded_from_world() * scan_from_mni);
    let inside = points
        .iter()
        .map(|point| map.apply(*point))
        .filter(|at| level.contains(*at));
    let (sum, count) = inside.fold((0.0, 0_usize), |(sum, count), at| {
        (sum + f64::from(level.value(at)), count + 1)
    });
    let mean = (count > 0).then(|| sum / count as f64);
    (count as f64 / points.len().max(1) as f64, mean)
}

#[cfg(test)]
mod tests;
