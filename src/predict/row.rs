//! What is said of one scan: a row of `predictions.csv`, or a line of `predictions.jsonl`.

use brainage_pipelines::qc::QcVerdict;
use serde::{Deserialize, Serialize};

/// What the table of predictions says of one scan. The names of the fields in JSON are those of the columns.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PredictionRow {
    /// The scan as the user named it.
    pub scan: String,
    /// Who was scanned; `None` if unknown.
    pub participant_id: Option<String>,
    /// Which visit; `None` if unknown.
    pub session_id: Option<String>,
    /// Chronological age at the scan; `None` if unknown.
    pub age_years: Option<f64>,
    /// What the last block's head said, as a mean over models and moved copies of the scan where there are several;
    /// `None` if the scan was refused.
    #[serde(rename = "predicted_age")]
    pub predicted_age_years: Option<f64>,
    /// Predicted minus chronological age.
    #[serde(rename = "gap")]
    pub gap_years: Option<f64>,
    /// The gap after age-bias correction; `None` without one, or outside its ages.
    #[serde(rename = "corrected_gap")]
    pub corrected_gap_years: Option<f64>,
    /// What each block's head said, first block first; empty if the scan was refused.
    #[serde(rename = "blocks")]
    pub block_ages_years: Vec<f64>,
    /// How good the preprocessed scan is; `None` if it did not get that far.
    pub qc: Option<QcVerdict>,
    /// What quality control found.
    pub qc_reasons: Vec<String>,
    /// Name of the recipe.
    pub recipe: String,
    /// Name of the model, or of the models, with `+` between them.
    pub model: String,
    /// Time that the scan took.
    pub seconds: Option<f64>,
    /// Why there is no prediction.
    pub error: Option<String>,
    /// Lower end of the calibrated interval; `None` where the model has none.
    #[serde(rename = "predicted_low")]
    pub low_years: Option<f64>,
    /// Upper end.
    #[serde(rename = "predicted_high")]
    pub high_years: Option<f64>,
    /// The share of people like those of the validation set whose age lies in such an interval, such as 0.9.
    pub coverage: Option<f64>,
    /// Standard deviation of the age in the last head's own distribution, where it says one (soft labels).
    #[serde(rename = "head_sd")]
    pub head_sd_years: Option<f64>,
    /// Standard deviation over moved copies of the scan (test-time augmentation).
    #[serde(rename = "tta_sd")]
    pub tta_sd_years: Option<f64>,
    /// Standard deviation over the models of an ensemble.
    #[serde(rename = "models_sd")]
    pub models_sd_years: Option<f64>,
    /// Whether the model has learned from this scan (`image`) or, as far as is known, from this participant (`id`);
    /// both are parted by `; `. `None` where neither is known to be so.
    pub in_training: Option<String>,
    /// What else to beware of, such as an age that the model never saw.
    pub warnings: Vec<String>,
}

impl PredictionRow {
    /// The calibrated interval, years.
    pub fn interval_years(&self) -> Option<[f64; 2]> {
        Some([self.low_years?, self.high_years?])
    }
}
