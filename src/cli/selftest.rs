//! `brainage doctor --selftest`: does this installation compute what ours does?
//!
//! A synthetic head is made, preprocessed and predicted with a small model inside the program; what comes out is compared
//! with stored numbers. The model learned from synthetic heads alone and is of no other use. `tools/make_selftest.sh`
//! made both, and says how to make them anew.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use brainage_pipelines::batch::{Batch, ScanReport, preprocess_scans};
use brainage_pipelines::cache::Cache;
use brainage_pipelines::format::ReadOptions;
use brainage_pipelines::qc::QcVerdict;
use brainage_pipelines::template::template;
use brainage_synth::{SynthLayout, SynthParams, write_scan_folder};
use serde::{Deserialize, Serialize};

use crate::engine::device::{DeviceName, open_one};
use crate::predict::predictor::{AgePredictor, PredictSettings, Visit};

use super::CliError;
use super::scans::resolve_scans;

/// The model.
const MODEL: &[u8] = include_bytes!("../../assets/selftest/model.safetensors");
/// What must come out.
const EXPECTED: &str = include_str!("../../assets/selftest/expected.json");
/// Seed of the head.
const SEED: u64 = 20_260_801;
/// How far an age may lie from the stored one, years: other processors round differently, and a registration that
/// rounds differently ends a little elsewhere.
pub const TOLERANCE_YEARS: f64 = 0.1;

/// What came out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SelfTest {
    /// BLAKE3 of the head's file.
    pub head: String,
    /// Its quality.
    pub qc: QcVerdict,
    /// What each block's head said, years.
    pub block_ages_years: Vec<f64>,
}

/// How two results compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Agreement {
    /// Every bit.
    Same,
    /// Within [`TOLERANCE_YEARS`].
    Close,
    /// Not the same computation.
    Different,
}

impl SelfTest {
    /// Makes, preprocesses and predicts the head.
    ///
    /// # Errors
    /// What any of these steps refused.
    pub fn run() -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let model = folder.path().join("model.safetensors");
        fs_err::write(&model, MODEL)?;
        Self::with_model(&model)
    }

    /// The same with another model, such as one that is to become the stored one.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub fn with_model(model: &Path) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let heads = folder.path().join("heads");
        let params = SynthParams {
            layout: SynthLayout::Bids,
            n_subjects: 1,
            seed: SEED,
            age_years: [50.0, 51.0],
            voxel_size_mm: 2.0,
            spread: 0.5,
        };
        let never = AtomicBool::new(false);
        write_scan_folder(&heads, &params, &never, &|_| ())?;
        let predictor = AgePredictor::load(
            &[model.to_path_buf()],
            open_one(DeviceName::Cpu)?,
            PredictSettings::default(),
        )?;
        let cache = Cache::open(&folder.path().join("cache"))?;
        let batch = Batch {
            read: ReadOptions::default(),
            recipe: &predictor.recipe,
            template: template()?,
            cache: &cache,
            stop: &never,
        };
        let reports = preprocess_scans(&resolve_scans(&[heads])?, &batch, &|_, _| {});
        let Some(report) = reports.first() else {
            return Err(CliError::failed("no head was made", "please report this").into());
        };
        Self::of(report, &predictor)
    }

    fn of(report: &ScanReport, predictor: &AgePredictor) -> anyhow::Result<Self> {
        let row = predictor.row(report, Visit::default());
        if let Some(reason) = row.error {
            return Err(CliError::failed(reason, "please report this").into());
        }
        let entry = report.outcome.entry();
        Ok(Self {
            head: entry.map_or_else(String::new, |entry| entry.header.file_hash.clone()),
            qc: row.qc.unwrap_or(QcVerdict::Fail),
            block_ages_years: row.block_ages_years,
        })
    }

    /// What must come out.
    ///
    /// # Errors
    /// Where the stored numbers are damaged.
    pub fn expected() -> anyhow::Result<Self> {
        Ok(serde_json::from_str(EXPECTED)?)
    }

    /// How this compares with what must come out.
    pub fn agreement(&self, expected: &Self) -> Agreement {
        if self == expected {
            return Agreement::Same;
        }
        let n = self.block_ages_years.len();
        let mut pairs = self.block_ages_years.iter().zip(&expected.block_ages_years);
        let close = pairs.all(|(a, b)| (a - b).abs() <= TOLERANCE_YEARS);
        if close && n == expected.block_ages_years.len() && self.qc == expected.qc {
            Agreement::Close
        } else {
            Agreement::Different
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_computed_here_is_what_is_stored() {
        let (found, expected) = (SelfTest::run().unwrap(), SelfTest::expected().unwrap());
        let agreement = found.agreement(&expected);
        assert_ne!(agreement, Agreement::Different, "{found:?} {expected:?}");
    }

    #[test]
    fn another_age_or_quality_is_a_different_computation() {
        let expected = SelfTest::expected().unwrap();
        assert_eq!(expected.agreement(&expected), Agreement::Same);
        let mut other = expected.clone();
        other.block_ages_years[0] += 0.05;
        assert_eq!(other.agreement(&expected), Agreement::Close);
        other.block_ages_years[0] += 0.1;
        assert_eq!(other.agreement(&expected), Agreement::Different);
        other = expected.clone();
        other.block_ages_years.pop();
        assert_eq!(other.agreement(&expected), Agreement::Different);
        other = expected.clone();
        other.qc = QcVerdict::Fail;
        assert_eq!(other.agreement(&expected), Agreement::Different);
    }
}
