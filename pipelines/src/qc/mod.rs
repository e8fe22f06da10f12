//! How well a scan went through its recipe: measures, a verdict, and the reasons for it.
//!
//! Each file holds one question: does the affine look like that of a head (`affine`), is all of the brain there
//! (`coverage`), is it a T1 at all (`contrast`), how noisy is it and what stands in the air (`artefact`), are left and
//! right where they should be (`side`). Tissues are where the template has them (`tissue`); measures are taken from the
//! scan's own voxels and not from resampled ones.
//!
//! Limits come from five scans of one scanner, one of another and spoilt copies of them (cropped, inverted, with noise,
//! ghosts or motion, with a false affine or voxel size): the tests make some of these copies.
//!
//! Measures without a verdict of their own (`cnr`, `cjv`, `entropy_focus`, `side_asymmetry`) are there to be compared within a
//! cohort: between scanners they differ more than between good and bad scans.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

mod tissue;

mod affine;
mod artefact;
mod contrast;
mod coverage;
mod side;

use crate::mask::{PlacedMask, template_mask_on_grid};
use crate::recipe::{GridSpace, OutputGrid};
use crate::register::Registration;
use crate::space::{Affine, VoxelShape};
use crate::template::Template;
use crate::volume::{Mask, Volume};
use tissue::TissueSamples;

pub(crate) use tissue::TissuePoints;

/// Whether a preprocessed scan can be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum QcVerdict {
    /// Nothing stands out.
    Pass,
    /// To be looked at.
    Warn,
    /// Kept, but left out of training.
    Fail,
}

impl fmt::Display for QcVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pass => "pass",
            Self::Warn => "warn",
            Self::Fail => "fail",
        })
    }
}

/// Quality control of one scan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Qc {
    /// The worst of all measures.
    pub verdict: QcVerdict,
    /// Why it is not a pass.
    pub reasons: Vec<String>,
    /// Measures by name, the unit in the name where there is one.
    pub metrics: BTreeMap<String, f64>,
}

/// What a scan is judged by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Evidence<'a> {
    /// The scan, RAS+, as it was read.
    pub(crate) scan: &'a Volume,
    /// How it lies on the template.
    pub(crate) registration: &'a Registration,
    /// Its own brain mask, on its own voxels, where there is one.
    pub(crate) brain: Option<&'a Mask>,
    /// How that mask, carried to the template, overlaps with the template's (Dice).
    pub(crate) mask_dice: Option<f64>,
}

/// Correlation with the template: good fits reach 0.75, fits of heads that are spoilt but found 0.65, all others were at 0.6
/// or below.
const CORRELATION: Limits = Limits {
    warn: 0.75,
    fail: 0.6,
};
/// Dice of a learned mask with the template's: 0.956 to 0.965 on real scans.
const MASK_DICE: Limits = Limits {
    warn: 0.93,
    fail: 0.9,
};

/// Judges a registered scan.
pub(crate) fn judge(evidence: &Evidence<'_>, template: &Template) -> Qc {
    let registration = evidence.registration;
    let mut qc = Qc {
        verdict: QcVerdict::Pass,
        reasons: Vec::new(),
        metrics: BTreeMap::new(),
    };
    let fits_poorly = "the scan looks little like the template; is it a T1 scan of a whole head?";
    let correlation = registration.correlation;
    qc.at_least(
        "template_correlation",
        correlation,
        CORRELATION,
        fits_poorly,
    );
    if let Some(dice) = evidence.mask_dice {
        let reason = "the brain that was found lies badly on the template's";
        qc.at_least("mask_dice", dice, MASK_DICE, reason);
    }
    affine::judge(&mut qc, &registration.mni_from_scan);
    coverage::judge(&mut qc, evidence, template);
    let Some(samples) = TissueSamples::take(evidence.scan, &registration.mni_from_scan, template)
    else {
        let reason = "the brain's tissues lie outside the scan";
        qc.note(QcVerdict::Fail, reason.into());
        return qc;
    };
    contrast::judge(&mut qc, &samples);
    artefact::judge(&mut qc, evidence, &samples, template);
    side::judge(&mut qc, evidence, &samples, template);
    qc
}

/// Where a measure is worth a warning, and where a scan has failed.
#[derive(Clone, Copy, Debug)]
struct Limits {
    warn: f64,
    fail: f64,
}

impl Qc {
    /// Keeps a measure that should not be below `limits`; one that is not a number fails.
    fn at_least(&mut self, name: &str, value: f64, limits: Limits, reason: &str) {
        let verdict = match value {
            v if v >= limits.warn => QcVerdict::Pass,
            v if v >= limits.fail => QcVerdict::Warn,
            _ => QcVerdict::Fail,
        };
        self.measured(name, value, verdict, ("at least", limits.warn), reason);
    }

    /// Keeps a measure that should not be above `limits`; one that is not a number fails.
    fn at_most(&mut self, name: &str, value: f64, limits: Limits, reason: &str) {
        let verdict = match value {
            v if v <= limits.warn => QcVerdict::Pass,
            v if v <= limits.fail => QcVerdict::Warn,
            _ => QcVerdict::Fail,
        };
        self.measured(name, value, verdict, ("at most", limits.warn), reason);
    }

    fn measured(
        &mut self,
        name: &str,
        value: f64,
        verdict: QcVerdict,
        (side, limit): (&str, f64),
        reason: &str,
    ) {
        self.keep(name, value);
        if verdict > QcVerdict::Pass {
            let value = format!("{value:.3}");
            self.note(
                verdict,
                format!("{reason} ({name} is {value}, expected {side} {limit})"),
            );
        }
    }

    /// Keeps a measure without a verdict; only numbers can be kept.
    fn keep(&mut self, name: &str, value: f64) {
        if value.is_finite() {
            self.metrics.insert(name.into(), value);
        }
    }

    fn note(&mut self, verdict: QcVerdict, reason: String) {
        self.verdict = self.verdict.max(verdict);
        self.reasons.push(reason);
    }
}

/// How much two masks of the same grid overlap: 2·|A ∩ B| / (|A| + |B|), 0 to 1 (Dice 1945).
pub(crate) fn dice(a: &Mask, b: &Mask) -> f64 {
    let pairs = a.values().iter().zip(b.values());
    let both = pairs.filter(|(a, b)| **a && **b).count();
    2.0 * both as f64 / (a.count() + b.count()).max(1) as f64
}

/// Where [`mask_dice`] compares: the template's box, in steps of 2 mm.
const MASK_GRID: OutputGrid = OutputGrid {
    space: GridSpace::Mni,
    shape: VoxelShape([97, 115, 97]),
    voxel_size_mm: [2.0; 3],
    origin_mm: [-96.0, -132.0, -78.0],
};

/// [`dice`] of a scan's own brain mask, carried to the template, with the template's; `None` if the affine has no inverse.
pub(crate) fn mask_dice(brain: &Mask, mni_from_scan: &Affine, template: &Template) -> Option<f64> {
    let placed = PlacedMask::of_scan(Cow::Borrowed(brain));
    let own = placed.on_recipe_grid(&MASK_GRID, [0.0; 3], mni_from_scan)?;
    Some(dice(&own, &template_mask_on_grid(&MASK_GRID, template)))
}

#[cfg(test)]
mod tests;
