//! UK Biobank: field 20252 unpacked, and a table as `ukbconv csv` writes it.
//!
//! ```text
//! 9000001_20252_2_0/T1/T1.nii.gz     whole head without a face, first imaging visit
//! ukb_synthetic.csv                  eid, sex (31), birth (34, 52), visit (53), centre (54), age (21003)
//! ```
//!
//! No participant of UK Biobank has a number that begins with 9.

use std::path::{Path, PathBuf};

use super::{Written, table, write_text};
use crate::error::Error;
use crate::population::Sex;

/// The first of the imaging centres: Cheadle, Reading, Newcastle.
const FIRST_CENTRE: u64 = 11_025;
const N_CENTRES: u64 = 3;

pub(crate) fn id(subject: usize) -> String {
    (9_000_001 + subject).to_string()
}

pub(crate) fn scan(root: &Path, id: &str) -> PathBuf {
    root.join(format!("{id}_20252_2_0"))
        .join("T1")
        .join("T1.nii.gz")
}

pub(crate) fn write_tables(root: &Path, written: &[Written<'_>]) -> Result<Vec<PathBuf>, Error> {
    let header = [
        "eid",
        "31-0.0",
        "34-0.0",
        "52-0.0",
        "53-2.0",
        "54-2.0",
        "21003-2.0",
    ];
    let rows = written.iter().map(|Written { participant: p, .. }| {
        let sex = match p.sex {
            Sex::Female => "0",
            Sex::Male => "1",
        };
        quoted(&[
            p.id.clone(),
            sex.to_owned(),
            p.birth.year().to_string(),
            p.birth.month().to_string(),
            p.visit.to_string(),
            (FIRST_CENTRE + p.subject % N_CENTRES).to_string(),
            p.whole_years().to_string(),
        ])
    });
    let text = table(&quoted(&header.map(str::to_owned)), rows);
    Ok(vec![write_text(root.join("ukb_synthetic.csv"), &text)?])
}

/// Every cell in quotes, as `ukbconv` writes them.
fn quoted(cells: &[String]) -> String {
    format!("\"{}\"", cells.join("\",\""))
}
