//! How well a scan went through its recipe: measures, a verdict, and the reasons for it.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

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
