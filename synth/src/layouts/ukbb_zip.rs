//! UK Biobank: field 20252 as it is downloaded, and a table as the Research Analysis Platform exports it.
//!
//! ```text
//! 9000001_20252_2_0.zip     T1/T1.nii.gz, first imaging visit
//! 9000001_20252_3_0.zip     every fourth participant: repeat imaging visit, some two years later
//! ukb_synthetic.tsv         participant.eid, participant.p31, …_i2, …_i3 with labels in place of codes; empty cells
//!                           where someone came once, and a field that is about another age
//! ```
//!
//! No participant of UK Biobank has a number that begins with 9.

use std::path::{Path, PathBuf};

use super::{Plan, Visit, Written, repeated, table, ukbb, write_text};
use crate::error::Error;
use crate::params::AGES_YEARS;
use crate::scanner::UKB;

/// The layout.
pub(crate) const PLAN: Plan = Plan {
    name: "ukbb-zip",
    people: 5,
    scanner: UKB,
    ages_years: AGES_YEARS,
    most_subjects: 99_999,
    id: ukbb::id,
    visit_days: |subject| repeated(subject, 4, &[822]),
    scan,
    write_tables,
};

fn scan(root: &Path, visit: &Visit<'_>) -> PathBuf {
    let archive = format!("{}_20252_{}_0.zip", visit.participant.id, visit.number + 2);
    root.join(archive).join("T1/T1.nii.gz")
}

fn write_tables(root: &Path, written: &[Written<'_>]) -> Result<Vec<PathBuf>, Error> {
    let fields = [
        "eid",
        "p31",
        "p34",
        "p52",
        "p53_i2",
        "p53_i3",
        "p54_i2",
        "p54_i3",
        "p21003_i2",
        "p21003_i3",
        "p21022",
    ];
    let header = fields
        .map(|field| format!("participant.{field}"))
        .join("\t");
    let first = written.iter().filter(|written| written.visit.number == 0);
    let rows = first.map(|Written { visit, .. }| {
        let p = visit.participant;
        let again = written
            .iter()
            .find(|other| other.visit.number == 1 && other.visit.participant.id == p.id);
        let again = again.map(|other| other.visit.participant);
        let centre = match ukbb::centre(visit) {
            11_025 => "Cheadle (imaging)",
            11_026 => "Reading (imaging)",
            _ => "Newcastle (imaging)",
        };
        let or_empty = |text: Option<String>| text.unwrap_or_default();
        [
            p.id.clone(),
            p.sex_word().to_owned(),
            p.birth.year().to_string(),
            p.birth.strftime("%B").to_string(),
            p.visit.to_string(),
            or_empty(again.map(|p| p.visit.to_string())),
            centre.to_owned(),
            or_empty(again.map(|_| centre.to_owned())),
            p.whole_years().to_string(),
            or_empty(again.map(|p| p.whole_years().to_string())),
            (p.whole_years() - 9).to_string(),
        ]
        .join("\t")
    });
    let text = table(&header, rows);
    Ok(vec![write_text(root.join("ukb_synthetic.tsv"), &text)?])
}
