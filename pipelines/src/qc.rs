//! How well a scan went through its recipe: measures, a verdict, and the reasons for it.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::register::Registration;

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

/// Correlation with the template below which a scan is looked at, and below which it has failed.
const CORRELATION: [f64; 2] = [0.75, 0.5];
/// The same for the share of the brain inside the field of view.
const BRAIN_INSIDE: [f64; 2] = [0.99, 0.9];
/// The same for the contrast between brain and air.
const CONTRAST: [f64; 2] = [0.6, 0.3];
/// Plausible volumes of a head's brain mask, ventricles and all, in cm³.
const BRAIN_CM3: [f64; 2] = [900.0, 2600.0];

/// Judges a registered scan; `template_brain_cm3` is the volume of the template's mask.
pub(crate) fn judge(registration: &Registration, template_brain_cm3: f64) -> Qc {
    let brain_cm3 = template_brain_cm3 / registration.mni_from_scan.determinant().abs();
    let mut qc = Qc {
        verdict: QcVerdict::Pass,
        reasons: Vec::new(),
        metrics: BTreeMap::new(),
    };
    qc.at_least(
        "template_correlation",
        registration.correlation,
        CORRELATION,
    );
    qc.at_least("brain_inside", registration.brain_inside, BRAIN_INSIDE);
    if let Some(contrast) = registration.contrast {
        qc.at_least("brain_air_contrast", contrast, CONTRAST);
    }
    qc.metrics.insert("brain_cm3".into(), brain_cm3);
    let [low, high] = BRAIN_CM3;
    if !(low..=high).contains(&brain_cm3) {
        qc.note(
            QcVerdict::Warn,
            format!("brain_cm3 is {brain_cm3:.0}, expected {low:.0} to {high:.0}"),
        );
    }
    if registration.skull_stripped {
        qc.note(
            QcVerdict::Warn,
            "the skull seems to have been removed already".into(),
        );
    }
    qc
}

impl Qc {
    fn at_least(&mut self, name: &str, value: f64, [warn, fail]: [f64; 2]) {
        self.metrics.insert(name.into(), value);
        let verdict = match value {
            v if v >= warn => return,
            v if v >= fail => QcVerdict::Warn,
            _ => QcVerdict::Fail,
        };
        self.note(
            verdict,
            format!("{name} is {value:.2}, expected at least {warn}"),
        );
    }

    fn note(&mut self, verdict: QcVerdict, reason: String) {
        self.verdict = self.verdict.max(verdict);
        self.reasons.push(reason);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::space::Affine;

    fn registration(correlation: f64) -> Registration {
        Registration {
            mni_from_scan: Affine::identity(),
            correlation,
            brain_inside: 1.0,
            contrast: Some(0.9),
            skull_stripped: false,
        }
    }

    #[test]
    fn the_worst_measure_decides_and_says_why() {
        assert_eq!(judge(&registration(0.9), 1900.0).verdict, QcVerdict::Pass);
        let warned = judge(&registration(0.6), 1900.0);
        assert_eq!((warned.verdict, warned.reasons.len()), (QcVerdict::Warn, 1));
        let failed = judge(
            &Registration {
                brain_inside: 0.95,
                ..registration(0.2)
            },
            1900.0,
        );
        assert_eq!((failed.verdict, failed.reasons.len()), (QcVerdict::Fail, 2));
        assert!(judge(&registration(f64::NAN), 1900.0).verdict == QcVerdict::Fail);
    }
}
