//! `report.html`: what was done, how good it is, and what to beware of, on one page that needs nothing else.
//!
//! A [`Report`] is plain data, filled by whoever has a run or a table of predictions; [`write_report`] makes the page
//! of it: markup, style, figures (SVG) and pictures in one file, no scripts, nothing fetched from anywhere. Every figure it shows
//! is taken from the [`Evaluation`]; nothing is computed anew here, and nothing here knows of run folders.

mod figures;
mod page;

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use brainage_pipelines::atomic::write_atomically;
use brainage_pipelines::qc::QcVerdict;
use serde::{Deserialize, Serialize};

use crate::eval::bias::BiasCorrection;
use crate::eval::{Case, Evaluation};
use crate::predict::row::PredictionRow;

/// All that the page says.
#[derive(Clone, Debug)]
pub struct Report {
    /// Heading of the page, such as the name of the run.
    pub title: String,
    /// Whether the heads were made by a program; the page then says that its figures are none of real brains.
    pub synthetic: bool,
    /// Name of the recipe that the scans went through.
    pub recipe: String,
    /// The model: architecture, or the file.
    pub model: String,
    /// Seed of the training.
    pub seed: u64,
    /// What else was done, as (name, value): regime, weights, epochs, devices, version of the program.
    pub settings: Vec<(String, String)>,
    /// The cohorts and how their scans were split.
    pub cohorts: Vec<CohortCounts>,
    /// Which scans are judged, such as "test set".
    pub judged: String,
    /// The figures.
    pub evaluation: Evaluation,
    /// The cases behind the figures.
    pub cases: Vec<Case>,
    /// The age-bias correction that the corrected figures rest on.
    pub correction: Option<BiasCorrection>,
    /// How training went, first block first; empty if it is unknown.
    pub curves: Vec<BlockCurve>,
    /// Quality of every scan that was to be predicted, refused ones included.
    pub scans: Vec<ScanQuality>,
    /// What the cohorts hold and the index does not; empty if it is unknown.
    pub left_out: Vec<LeftOut>,
    /// Pictures (PNG) of scans by their names, at most those of [`largest_gaps`].
    pub pictures: BTreeMap<String, Vec<u8>>,
    /// The config of the training, as TOML.
    pub config: Option<String>,
}

/// Scans or visits of a cohort that were not used for one reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// The cohort.
    pub cohort: String,
    /// Why.
    pub reason: String,
    /// How many.
    pub n: usize,
}

/// Cases that are named for their gaps.
const N_WORST: usize = 10;

/// The cases with the largest gaps, largest first; equal ones stay in their order.
pub fn largest_gaps(cases: &[Case]) -> Vec<&Case> {
    let mut worst: Vec<&Case> = cases.iter().collect();
    worst.sort_by(|a, b| b.gap_years().abs().total_cmp(&a.gap_years().abs()));
    worst.truncate(N_WORST);
    worst
}

/// How many scans of a cohort are in which split.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CohortCounts {
    /// The cohort.
    pub name: String,
    /// Scans that weights are trained on.
    pub train: usize,
    /// Scans that decide when to stop, and the age-bias correction.
    pub validation: usize,
    /// Scans that only the evaluation sees.
    pub test: usize,
}

/// Mean absolute error of one block's head while training, as points of (epochs done, years).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BlockCurve {
    /// On the training scans, as augmented.
    pub train: Vec<[f64; 2]>,
    /// On the validation scans.
    pub validation: Vec<[f64; 2]>,
}

/// What quality control says of a scan.
#[derive(Clone, Debug, PartialEq)]
pub struct ScanQuality {
    /// The scan as the user named it.
    pub scan: String,
    /// `None` if it did not get that far.
    pub qc: Option<QcVerdict>,
    /// What was found.
    pub reasons: Vec<String>,
    /// Why it was refused.
    pub error: Option<String>,
    /// Why a person who looked at it said that it is not to be used.
    pub rejected: Option<String>,
}

impl From<&PredictionRow> for ScanQuality {
    fn from(row: &PredictionRow) -> Self {
        Self {
            scan: row.scan.clone(),
            qc: row.qc,
            reasons: row.qc_reasons.clone(),
            error: row.error.clone(),
            rejected: None,
        }
    }
}

/// Writes the page, whole or not at all.
///
/// # Errors
/// What the file system answered.
pub fn write_report(path: &Path, report: &Report) -> io::Result<()> {
    let html = page::html(report)?;
    write_atomically(path, |out| out.write_all(html.as_bytes()))
}

#[cfg(test)]
mod tests;
