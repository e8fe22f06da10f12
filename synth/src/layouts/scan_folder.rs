//! A flat folder of scans with their ages.
//!
//! ```text
//! synthetic_00001.nii.gz
//! ages.csv                   scan,participant_id,age_years,sex
//! ```

use std::path::{Path, PathBuf};

use super::{Plan, Visit, Written, one_visit, table, write_text};
use crate::error::Error;
use crate::params::AGES_YEARS;
use crate::scanner::VARIED;

/// The layout.
pub(crate) const PLAN: Plan = Plan {
    name: "folder",
    people: 1,
    scanner: VARIED,
    ages_years: AGES_YEARS,
    most_subjects: 99_999,
    id,
    visit_days: one_visit,
    scan,
    write_tables,
};

fn id(subject: usize) -> String {
    format!("synthetic_{:05}", subject + 1)
}

fn scan(root: &Path, visit: &Visit<'_>) -> PathBuf {
    let id = &visit.participant.id;
    root.join(format!("{id}.nii.gz"))
}

fn write_tables(root: &Path, written: &[Written<'_>]) -> Result<Vec<PathBuf>, Error> {
    let rows = written.iter().map(|Written { visit, scan, .. }| {
        let (p, sex) = (visit.participant, visit.sex_letter());
        let name = scan.file_name().unwrap_or_default().to_string_lossy();
        format!("{name},{},{:.2},{sex}", p.id, p.age_years)
    });
    let text = table("scan,participant_id,age_years,sex", rows);
    Ok(vec![write_text(root.join("ages.csv"), &text)?])
}
