//! Cam-CAN: the release's BIDS tree for anatomical scans.
//!
//! ```text
//! cc700/mri/pipeline/release004/BIDS_20190411/anat/participants.tsv
//! cc700/mri/pipeline/release004/BIDS_20190411/anat/dataset_description.json
//! cc700/mri/pipeline/release004/BIDS_20190411/anat/sub-CC000001/anat/sub-CC000001_T1w.nii.gz
//! ```
//!
//! The first digit of a number is the decade of age in Cam-CAN. It is 0 here, so that the number tells no age and
//! belongs to nobody.

use std::path::{Path, PathBuf};

use super::bids::{self, description};
use super::{Plan, Visit, Written, one_visit, table, write_text};
use crate::error::Error;
use crate::params::AGES_YEARS;
use crate::scanner::CAMCAN;

/// The layout.
pub(crate) const PLAN: Plan = Plan {
    name: "camcan",
    people: 3,
    scanner: CAMCAN,
    ages_years: AGES_YEARS,
    most_subjects: 99_999,
    id,
    visit_days: one_visit,
    scan,
    write_tables,
};

fn id(subject: usize) -> String {
    format!("CC0{:05}", subject + 1)
}

fn scan(root: &Path, visit: &Visit<'_>) -> PathBuf {
    bids::scan(&release(root), visit)
}

fn release(root: &Path) -> PathBuf {
    root.join("cc700/mri/pipeline/release004/BIDS_20190411/anat")
}

fn write_tables(root: &Path, written: &[Written<'_>]) -> Result<Vec<PathBuf>, Error> {
    let rows = written.iter().map(|Written { visit, icv_ml, .. }| {
        let p = visit.participant;
        let (code, sex) = (p.sex_code(), p.sex_word().to_uppercase());
        let icv_mm3 = icv_ml * 1000.0;
        format!(
            "sub-{}\t{:.2}\t100\t{code}\t{sex}\t{icv_mm3:.0}",
            p.id, p.age_years
        )
    });
    let header = "participant_id\tage\thand\tgender_code\tgender_text\ttiv_cubicmm";
    let text = table(header, rows);
    let folder = release(root);
    Ok(vec![
        write_text(folder.join("participants.tsv"), &text)?,
        write_text(
            folder.join("dataset_description.json"),
            &description("Synthetic heads in the layout of Cam-CAN"),
        )?,
    ])
}
