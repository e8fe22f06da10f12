//! UK Biobank: field 20252 unpacked, and a table as `ukbconv csv` writes it.
//!
//! ```text
//! 9000001_20252_2_0/T1/T1.nii.gz     whole head without a face, first imaging visit
//! ukb_synthetic.csv                  eid, sex (31), birth (34, 52), visit (53), centre (54), age (21003)
//! ```
//!
//! No participant of UK Biobank has a number that begins with 9.

use std::path::{Path, PathBuf};

use super::{Plan, Visit, Written, one_visit, quoted, table, write_text};
use crate::error::Error;
use crate::params::AGES_YEARS;
use crate::population::Sex;
use crate::scanner::UKB;

/// The first of the imaging centres: Cheadle, Reading, Newcastle.
const FIRST_CENTRE: u64 = 11_025;
const N_CENTRES: u64 = 3;

/// The layout.
pub(crate) const PLAN: Plan = Plan {
    name: "ukbb",
    people: 2,
    scanner: UKB,
    ages_years: AGES_YEARS,
    most_subjects: 99_999,
    id,
    visit_days: one_visit,
    scan,
    write_tables,
};

pub(super) fn id(subject: usize) -> String {
    (9_000_001 + subject).to_string()
}

fn scan(root: &Path, visit: &Visit<'_>) -> PathBuf {
    let id = &visit.participant.id;
    root.join(format!("{id}_20252_2_0"))
        .join("T1")
        .join("T1.nii.gz")
}

fn write_tables(root: &Path, written: &[Written<'_>]) -> Result<Vec<PathBuf>, Error> {
    let header = [
        "eid",
        "31-0.0",
        "34-0.0",
        "52-0.0",
        "53-2.0",
        "54-2.0",
        "21003-2.0",
    ];
    let rows = written.iter().map(|Written { visit, .. }| {
        let p = visit.participant;
        let cells = [
            p.id.clone(),
            sex_code(p.sex).to_owned(),
            p.birth.year().to_string(),
            p.birth.month().to_string(),
            p.visit.to_string(),
            centre(visit).to_string(),
            p.whole_years().to_string(),
        ];
        quoted(&cells, ",")
    });
    let text = table(&quoted(&header, ","), rows);
    Ok(vec![write_text(root.join("ukb_synthetic.csv"), &text)?])
}

/// Field 31.
pub(super) fn sex_code(sex: Sex) -> &'static str {
    match sex {
        Sex::Female => "0",
        Sex::Male => "1",
    }
}

/// Field 54.
pub(super) fn centre(visit: &Visit<'_>) -> u64 {
    FIRST_CENTRE + visit.participant.subject % N_CENTRES
}
