//! Whether a scan is a T1: white matter brighter than grey, grey brighter than fluid.

use super::tissue::TissueSamples;
use super::{Limits, Qc};

/// White matter over grey matter, where the template has them: 1.30 to 1.42 in real scans.
const WHITE_OVER_GREY: Limits = Limits {
    warn: 1.15,
    fail: 1.05,
};
/// Grey matter over the fluid of the ventricles: 1.28 to 2.9.
const GREY_OVER_FLUID: Limits = Limits {
    warn: 1.1,
    fail: 1.0,
};

/// # References
/// `cnr` and `cjv` as MRIQC has them (Esteban et al. 2017, PLOS ONE 12(9)): contrast to noise, Magnotta and Friedman 2006,
/// without the noise of the air, which many scans have been freed of; coefficient of joint variation, Ganzetti et al. 2016.
pub(super) fn judge(qc: &mut Qc, samples: &TissueSamples) {
    let TissueSamples {
        white, grey, fluid, ..
    } = samples;
    let reason = "white matter is hardly brighter than grey; is it a T1 scan?";
    let ratio = white.mean / grey.mean.max(1e-9);
    qc.at_least("white_over_grey", ratio, WHITE_OVER_GREY, reason);
    let reason = "grey matter is hardly brighter than fluid; is it a T1 scan?";
    let ratio = grey.mean / fluid.max(1e-3 * grey.mean.abs()).max(1e-9);
    qc.at_least("grey_over_fluid", ratio, GREY_OVER_FLUID, reason);
    let difference = (white.mean - grey.mean).abs();
    qc.keep("cnr", difference / white.deviation.hypot(grey.deviation));
    qc.keep("cjv", (white.deviation + grey.deviation) / difference);
}
