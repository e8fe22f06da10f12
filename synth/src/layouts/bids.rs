//! BIDS, cross-sectional.
//!
//! ```text
//! dataset_description.json  participants.tsv  participants.json  README  .bidsignore
//! sub-synthetic00001/anat/sub-synthetic00001_T1w.nii.gz
//! ```
//!
//! Reference: Brain Imaging Data Structure 1.10.

use std::path::{Path, PathBuf};

use super::{Plan, Visit, Written, one_visit, table, write_text};
use crate::cohort::{MARKER, NOTICE, TRUTH};
use crate::error::Error;
use crate::params::AGES_YEARS;
use crate::scanner::VARIED;

/// The layout.
pub(crate) const PLAN: Plan = Plan {
    name: "bids",
    people: 4,
    scanner: VARIED,
    ages_years: AGES_YEARS,
    most_subjects: 99_999,
    id,
    visit_days: one_visit,
    scan,
    write_tables,
};

fn id(subject: usize) -> String {
    format!("synthetic{:05}", subject + 1)
}

/// `sub-<id>/anat/sub-<id>_T1w.nii.gz`.
pub(super) fn scan(root: &Path, visit: &Visit<'_>) -> PathBuf {
    let id = &visit.participant.id;
    root.join(format!("sub-{id}"))
        .join("anat")
        .join(format!("sub-{id}_T1w.nii.gz"))
}

fn write_tables(root: &Path, written: &[Written<'_>]) -> Result<Vec<PathBuf>, Error> {
    let rows = written.iter().map(|Written { visit, .. }| {
        let (p, sex) = (visit.participant, visit.sex_letter());
        format!("sub-{}\t{:.2}\t{sex}", p.id, p.age_years)
    });
    let text = table("participant_id\tage\tsex", rows);
    let columns = serde_json::json!({
        "age": { "Description": "age at the scan", "Units": "years" },
        "sex": { "Description": "sex", "Levels": { "F": "female", "M": "male" } },
    });
    Ok(vec![
        write_text(root.join("participants.tsv"), &text)?,
        write_text(root.join("participants.json"), &format!("{columns:#}\n"))?,
        write_text(
            root.join("dataset_description.json"),
            &description("Synthetic heads"),
        )?,
        write_text(root.join("README"), NOTICE)?,
        write_text(root.join(".bidsignore"), &format!("{MARKER}\n{TRUTH}\n"))?,
    ])
}

/// `dataset_description.json` of a data set that nobody was scanned for.
pub(crate) fn description(name: &str) -> String {
    let description = serde_json::json!({
        "Name": name,
        "BIDSVersion": "1.10.0",
        "DatasetType": "raw",
        "License": "that of the ICBM 152 template (McConnell Brain Imaging Centre)",
        "GeneratedBy": [{
            "Name": "brainage-synth",
            "Version": env!("CARGO_PKG_VERSION"),
            "Description": "synthetic heads made from the ICBM 152 template; nobody was scanned",
        }],
    });
    format!("{description:#}\n")
}
