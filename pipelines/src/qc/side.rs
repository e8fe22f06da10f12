//! Left and right.
//!
//! A header that exchanges them cannot be told by correlation: the template is symmetric, so that a mirrored scan fits it
//! exactly as well. What is left is that brains are not symmetric, and that is weak: of six scans with a header to be trusted
//! one had the other sign than the rest, and the bias field is of the same size. So this measure never warns; it is there to
//! compare cohorts, where a sign that is the other one on average says that one of them is mirrored.

use super::tissue::{TissueSamples, nearest};
use super::{Evidence, Qc};
use crate::template::Template;

/// Where the frontal and the occipital lobes end, MNI mm.
const FRONT_FROM_MM: f64 = 30.0;
const BACK_TO_MM: f64 = -70.0;

/// Keeps how the lobes are turned, (right − left in front + left − right behind) / white matter: in most people the right
/// frontal and the left occipital lobe reach further (Yakovlevian torque), so a mirrored scan tends to have the other sign.
pub(super) fn judge(
    qc: &mut Qc,
    evidence: &Evidence<'_>,
    samples: &TissueSamples,
    template: &Template,
) {
    let Some(scan_from_mni) = evidence.registration.mni_from_scan.inverse() else {
        return;
    };
    let voxel_from_mni = evidence.scan.voxel_from_world() * scan_from_mni;
    let mut sum = [0.0; 2];
    let mut count = [0.0; 2];
    for point in template.levels().surface() {
        let [x, y, z] = point.map(f64::from);
        let part = if y > FRONT_FROM_MM {
            0
        } else if y < BACK_TO_MM {
            1
        } else {
            continue;
        };
        let right = nearest(evidence.scan, voxel_from_mni.apply([x.abs(), y, z]));
        let left = nearest(evidence.scan, voxel_from_mni.apply([-x.abs(), y, z]));
        if let (Some(right), Some(left)) = (right, left) {
            sum[part] += f64::from(right - left);
            count[part] += 1.0;
        }
    }
    let torque = sum[0] / count[0] - sum[1] / count[1];
    qc.keep("side_asymmetry", torque / samples.white.mean.max(1e-9));
}
