//! OASIS-3: one folder a session, and the tables of demographics, clinical visits and scanners.
//!
//! ```text
//! OAS39001_MR_d0037/anat2/sub-OAS39001_ses-d0037_run-01_T1w.nii.gz      days since entry
//! OASIS3_demographics.csv       OASISID, …, AgeatEntry, AgeatDeath, GENDER (1 = male, 2 = female), …
//! OASIS3_UDSb4_cdr.csv          OASISID, …, days_to_visit, age at visit, …, CDRTOT
//! OASIS3_MR_json.csv            label, …, ManufacturersModelName, MagneticFieldStrength
//! ```
//!
//! Every other participant comes again after nearly three years. No participant of the study has a number that begins
//! with 39.

use std::path::{Path, PathBuf};

use super::{Plan, Visit, Written, repeated, table, write_text};
use crate::error::Error;
use crate::scanner::OASIS3;

/// The layout.
pub(crate) const PLAN: Plan = Plan {
    name: "oasis3",
    people: 11,
    scanner: OASIS3,
    ages_years: [42.0, 93.0],
    most_subjects: 999,
    id: |subject| format!("OAS3{}", 9_001 + subject),
    visit_days: |subject| repeated(subject, 2, &[1_003]),
    scan,
    write_tables,
};

/// Days from entry to a scan.
fn days(visit: &Visit<'_>) -> i64 {
    visit.days + (37 * (visit.subject() as i64 + 1)) % 200
}

fn label(visit: &Visit<'_>) -> String {
    format!("{}_MR_d{:04}", visit.participant.id, days(visit))
}

fn scan(root: &Path, visit: &Visit<'_>) -> PathBuf {
    let name = format!(
        "sub-{}_ses-d{:04}_run-01_T1w.nii.gz",
        visit.participant.id,
        days(visit)
    );
    root.join(label(visit)).join("anat2").join(name)
}

fn write_tables(root: &Path, written: &[Written<'_>]) -> Result<Vec<PathBuf>, Error> {
    let visits = || written.iter().map(|written| written.visit);
    let entry_years = |visit: &Visit<'_>| visit.participant.age_years - days(visit) as f64 / 365.25;
    let people = visits().filter(|visit| visit.number == 0).map(|visit| {
        let code = visit.participant.sex_code();
        let id = &visit.participant.id;
        format!("{id},{id},{:.2},,{code},16,R,", entry_years(&visit))
    });
    let ratings = visits().map(|visit| {
        let (id, clinical) = (&visit.participant.id, days(&visit) - 20);
        let age = entry_years(&visit) + clinical as f64 / 365.25;
        format!(
            "{id},{id}_UDSb4_d{:04},{clinical},{age:.2},29,0,0",
            clinical.max(0)
        )
    });
    let scanners = visits().map(|visit| {
        format!(
            "{},{},sub-x.json,TrioTim,3",
            visit.participant.id,
            label(&visit)
        )
    });
    Ok(vec![
        write_text(
            root.join("OASIS3_demographics.csv"),
            &table(
                "OASISID,Subject_accession,AgeatEntry,AgeatDeath,GENDER,EDUC,HAND,APOE",
                people,
            ),
        )?,
        write_text(
            root.join("OASIS3_UDSb4_cdr.csv"),
            &table(
                "OASISID,OASIS_session_label,days_to_visit,age at visit,MMSE,CDRSUM,CDRTOT",
                ratings,
            ),
        )?,
        write_text(
            root.join("OASIS3_MR_json.csv"),
            &table(
                "subject_id,label,filename,ManufacturersModelName,MagneticFieldStrength",
                scanners,
            ),
        )?,
    ])
}
