//! IXI: the scans of three hospitals, and the table of the release as a spreadsheet exports it.
//!
//! ```text
//! IXI-T1/IXI701-Guys-9001-T1.nii.gz
//! IXI.csv      with byte order mark and CR LF: IXI_ID, SEX_ID (1=m, 2=f), …, DOB, DATE_AVAILABLE, STUDY_DATE, AGE
//! ```
//!
//! Of every sixth participant the age is missing and has to be computed from the dates; one more stands in the table
//! without a scan. No participant of IXI has a number above 700.

use std::path::{Path, PathBuf};

use super::{Plan, Visit, Written, one_visit, table, write_text};
use crate::error::Error;
use crate::scanner::IXI;

/// The layout.
pub(crate) const PLAN: Plan = Plan {
    name: "ixi",
    people: 10,
    scanner: IXI,
    ages_years: [20.0, 86.0],
    most_subjects: 298,
    id: |subject| format!("IXI{}", FIRST_NUMBER + subject),
    visit_days: one_visit,
    scan,
    write_tables,
};

const FIRST_NUMBER: usize = 701;
const SITES: [&str; 3] = ["Guys", "HH", "IOP"];

fn scan(root: &Path, visit: &Visit<'_>) -> PathBuf {
    let site = SITES[visit.subject() % SITES.len()];
    let name = format!(
        "{}-{site}-{}-T1.nii.gz",
        visit.participant.id,
        9_001 + visit.subject()
    );
    root.join("IXI-T1").join(name)
}

fn write_tables(root: &Path, written: &[Written<'_>]) -> Result<Vec<PathBuf>, Error> {
    let rows = written.iter().map(|Written { visit, .. }| {
        let p = visit.participant;
        let code = p.sex_code();
        let age = match visit.subject() % 6 {
            5 => String::new(),
            _ => format!("{:.5}", p.age_years),
        };
        let (number, birth, study) = (FIRST_NUMBER + visit.subject(), p.birth, p.visit);
        format!("{number},{code},170,70,1,2,1,3,{birth},1,{study},{age}")
    });
    let without_scan = "999,1,0,0,1,2,1,3,1960-05-15,1,,".to_owned();
    let header = "IXI_ID,\"SEX_ID (1=m, 2=f)\",HEIGHT,WEIGHT,ETHNIC_ID,MARITAL_ID,OCCUPATION_ID,QUALIFICATION_ID,\
                  DOB,DATE_AVAILABLE,STUDY_DATE,AGE";
    let text = table(header, rows.chain([without_scan])).replace('\n', "\r\n");
    Ok(vec![write_text(
        root.join("IXI.csv"),
        &format!("\u{feff}{text}"),
    )?])
}
