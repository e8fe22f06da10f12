//! Whether the map between scan and template is one between heads.

use super::{Limits, Qc};
use crate::space::Affine;

/// Smallest stretch of the template along any direction: 0.81 to 0.86 in six real heads.
const SCALE_LOW: Limits = Limits {
    warn: 0.7,
    fail: 0.6,
};
/// The largest: 0.93 to 1.05.
const SCALE_HIGH: Limits = Limits {
    warn: 1.2,
    fail: 1.4,
};
/// Largest stretch over smallest: 1.14 to 1.24, so that a wrong slice thickness shows only from about 40 % on.
const SCALE_RATIO: Limits = Limits {
    warn: 1.35,
    fail: 1.5,
};
/// By how much of their length axes lean towards each other: up to 0.04 in real heads; a header that shears them by a fifth
/// makes 0.09, by two fifths 0.18.
const SHEAR: Limits = Limits {
    warn: 0.08,
    fail: 0.17,
};

/// Takes the linear part apart into a rotation and a symmetric stretch (polar decomposition), whose eigenvalues are the
/// scales and whose off-diagonal, relative to the diagonal, is the shear.
pub(super) fn judge(qc: &mut Qc, mni_from_scan: &Affine) {
    let Some(scan_from_mni) = mni_from_scan.inverse() else {
        return;
    };
    let Some(axes) = scan_from_mni.linear().svd(false, true).v_t else {
        return;
    };
    let scales = scan_from_mni.linear().svd(false, false).singular_values;
    let stretch = axes.transpose() * nalgebra::Matrix3::from_diagonal(&scales) * axes;
    let lean =
        |a: usize, b: usize| stretch[(a, b)].abs() / (stretch[(a, a)] * stretch[(b, b)]).sqrt();
    let shear = lean(0, 1).max(lean(0, 2)).max(lean(1, 2));
    let (low, high) = (scales.min(), scales.max());
    qc.at_least(
        "scale_low",
        low,
        SCALE_LOW,
        "the head seems too small; are the voxel sizes right?",
    );
    qc.at_most(
        "scale_high",
        high,
        SCALE_HIGH,
        "the head seems too large; are the voxel sizes right?",
    );
    qc.at_most(
        "scale_ratio",
        high / low,
        SCALE_RATIO,
        "the head seems stretched; are the voxel sizes right?",
    );
    qc.at_most(
        "shear",
        shear,
        SHEAR,
        "the head seems sheared; is the affine in the header right?",
    );
}
