//! What the viewer is told about one subject: plain data, given by the caller.

use std::path::{Path, PathBuf};

/// A scan, with what is known about whose it is and what was predicted from it.
#[derive(Clone, Debug, PartialEq)]
pub struct Subject {
    /// How the list calls it, such as `sub-0012`.
    pub name: String,
    /// The scan file.
    pub path: PathBuf,
    /// The cohort it belongs to; `None` where it isn't known.
    pub cohort: Option<String>,
    /// Chronological age at the scan; `None` where it isn't known.
    pub age_years: Option<f64>,
    /// What a model said; `None` where none was asked.
    pub prediction: Option<Prediction>,
    /// A volume that says where the model looked, in the scan's world or, where its name has `space-MNI`, the
    /// template's; `None` where there is none.
    pub saliency: Option<PathBuf>,
}

/// What a model said about one scan; one row of `predictions.csv`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Prediction {
    /// Predicted age; `None` where the scan was refused.
    pub predicted_age_years: Option<f64>,
    /// Lower and upper end of the interval that the age lies in, as the model says.
    pub interval_years: Option<[f64; 2]>,
    /// Predicted − chronological age after the correction of age bias.
    pub corrected_gap_years: Option<f64>,
    /// Estimates of the heads of blocks 1 to K, in the order of the network.
    pub block_ages_years: Vec<f64>,
    /// Verdict of quality control, such as `pass`, `warn` or `fail`.
    pub qc: String,
    /// Why quality control did not pass.
    pub qc_reasons: Vec<String>,
    /// Name of the model.
    pub model: String,
    /// Why there is no prediction.
    pub error: Option<String>,
}

/// Quality control as the viewer sorts and colors it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum QcLevel {
    /// No prediction could be made.
    Refused,
    /// Failed.
    Fail,
    /// To be looked at.
    Warn,
    /// Passed.
    Pass,
    /// Nothing is known.
    Unknown,
}

impl QcLevel {
    /// From the worst to what says nothing.
    pub(crate) const ALL: [Self; 5] = [
        Self::Refused,
        Self::Fail,
        Self::Warn,
        Self::Pass,
        Self::Unknown,
    ];

    /// One word.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Fail => "fail",
            Self::Warn => "warn",
            Self::Pass => "pass",
            Self::Unknown => "–",
        }
    }
}

impl Subject {
    /// A scan of which nothing is known but its file; named after it.
    pub fn from_path(path: PathBuf) -> Self {
        Self {
            name: scan_name(&path),
            path,
            cohort: None,
            age_years: None,
            prediction: None,
            saliency: None,
        }
    }

    /// Predicted age.
    pub fn predicted_age_years(&self) -> Option<f64> {
        self.prediction.as_ref()?.predicted_age_years
    }

    /// Predicted − chronological age.
    pub fn gap_years(&self) -> Option<f64> {
        Some(self.predicted_age_years()? - self.age_years?)
    }

    /// Quality control as a level.
    pub(crate) fn qc_level(&self) -> QcLevel {
        let Some(prediction) = &self.prediction else {
            return QcLevel::Unknown;
        };
        if prediction.error.is_some() {
            return QcLevel::Refused;
        }
        match prediction.qc.to_ascii_lowercase().as_str() {
            "pass" | "passed" | "ok" => QcLevel::Pass,
            "warn" | "warning" | "flag" | "flagged" => QcLevel::Warn,
            "fail" | "failed" => QcLevel::Fail,
            _ => QcLevel::Unknown,
        }
    }
}

/// File name without the endings of scan formats.
fn scan_name(path: &Path) -> String {
    let name = path
        .file_name()
        .unwrap_or(path.as_os_str())
        .to_string_lossy();
    [".nii.gz", ".nii", ".mgz", ".mgh", ".hdr", ".vol"]
        .iter()
        .find_map(|ending| name.strip_suffix(ending))
        .unwrap_or(&name)
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scan_is_named_after_its_file_without_the_format() {
        let name = |path: &str| Subject::from_path(path.into()).name;
        assert_eq!(name("/scans/sub-01_T1w.nii.gz"), "sub-01_T1w");
        assert_eq!(name("orig.mgz"), "orig");
        assert_eq!(name("notes.txt"), "notes.txt");
    }

    #[test]
    fn the_gap_is_predicted_minus_chronological_age_and_needs_both() {
        let mut subject = Subject::from_path("a.nii".into());
        subject.prediction = Some(Prediction {
            predicted_age_years: Some(64.5),
            ..Prediction::default()
        });
        assert_eq!(subject.gap_years(), None);
        subject.age_years = Some(60.0);
        assert_eq!(subject.gap_years(), Some(4.5));
    }

    #[test]
    fn a_refused_scan_is_refused_whatever_its_qc_says() {
        let mut subject = Subject::from_path("a.nii".into());
        assert_eq!(subject.qc_level(), QcLevel::Unknown);
        subject.prediction = Some(Prediction {
            qc: "Pass".into(),
            ..Prediction::default()
        });
        assert_eq!(subject.qc_level(), QcLevel::Pass);
        subject.prediction = Some(Prediction {
            qc: "pass".into(),
            error: Some("no voxels".into()),
            ..Prediction::default()
        });
        assert_eq!(subject.qc_level(), QcLevel::Refused);
    }
}
