//! Whether all of the brain is in the field of view, and whether it has the size of one.

use super::{Evidence, Limits, Qc, QcVerdict};
use crate::template::Template;
use crate::volume::Mask;

/// Share of the template's brain inside the field of view.
const BRAIN_INSIDE: Limits = Limits {
    warn: 0.99,
    fail: 0.9,
};
/// Share of the mask's surface that is the edge of the field of view: 0 in whole heads, 0.09 where a fifth of the brain's height
/// is missing below, 0.13 where 15 % are missing above.
const CUT: Limits = Limits {
    warn: 0.005,
    fail: 0.12,
};
/// Plausible volumes of a head's brain mask, ventricles and all, in cm³.
const BRAIN_CM3: [f64; 2] = [900.0, 2600.0];

pub(super) fn judge(qc: &mut Qc, evidence: &Evidence<'_>, template: &Template) {
    let registration = evidence.registration;
    let reason = "part of the brain is outside the field of view";
    qc.at_least(
        "brain_inside",
        registration.brain_inside,
        BRAIN_INSIDE,
        reason,
    );
    if let Some(brain) = evidence.brain {
        let reason = "the brain ends at the edge of the field of view";
        qc.at_most("brain_cut", share_at_edge(brain), CUT, reason);
    }
    let brain_cm3 = evidence.brain.map_or_else(
        || template.mask.volume_cm3() / registration.mni_from_scan.determinant().abs(),
        Mask::volume_cm3,
    );
    qc.keep("brain_cm3", brain_cm3);
    let [low, high] = BRAIN_CM3;
    if !(low..=high).contains(&brain_cm3) {
        let reason = "the brain has an implausible size; are the voxel sizes right?";
        qc.note(
            QcVerdict::Warn,
            format!("{reason} (brain_cm3 is {brain_cm3:.0}, expected {low:.0} to {high:.0})"),
        );
    }
}

/// Of the mask's voxels that have something else beside them, the share that lies at the edge of the grid.
fn share_at_edge(mask: &Mask) -> f64 {
    let [nx, ny, nz] = mask.shape().0;
    let (mut at_edge, mut at_surface) = (0_usize, 0_usize);
    let values = mask.values();
    for (i, _) in values.iter().enumerate().filter(|(_, inside)| **inside) {
        let at = [i % nx, i / nx % ny, i / (nx * ny)];
        if at
            .iter()
            .zip([nx, ny, nz])
            .any(|(v, side)| *v == 0 || v + 1 == side)
        {
            at_edge += 1;
        } else if [1, nx, nx * ny]
            .iter()
            .any(|step| !values[i - step] || !values[i + step])
        {
            at_surface += 1;
        }
    }
    at_edge as f64 / (at_edge + at_surface).max(1) as f64
}
