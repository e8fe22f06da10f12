//! What HCP Aging and HCP Development have in common: folders, and tables of the NIMH Data Archive.
//!
//! ```text
//! fmriresults01/<id>_V1_MR/T1w/T1w_acpc_dc_restore.nii.gz
//! ndar_subject01.txt      one row a participant, age at the first visit
//! image03.txt             one row a scan, age at each visit
//! ```
//!
//! Both tables are tab-separated, with every cell quoted and a second header line of descriptions. Ages are completed
//! months, dates are all the same day.

use std::path::{Path, PathBuf};

use super::{Plan, Visit, Written, one_visit, quoted, table, write_text};
use crate::error::Error;
use crate::params::AGES_YEARS;
use crate::scanner::HCP;

/// What the plans of both studies have in common; name, people, ids and ages are their own.
pub(super) const PLAN: Plan = Plan {
    name: "nda",
    people: 0,
    scanner: HCP,
    ages_years: AGES_YEARS,
    most_subjects: 99_999,
    id: |subject| subject.to_string(),
    visit_days: one_visit,
    scan,
    write_tables,
};

/// The day that stands for every interview.
const INTERVIEW_DATE: &str = "01/01/1970";
const SITES: [&str; 4] = ["MGH", "UCLA", "UMinn", "WashU"];

fn scan(root: &Path, visit: &Visit<'_>) -> PathBuf {
    let session = format!("{}_V{}_MR", visit.participant.id, visit.number + 1);
    let folder = root.join("fmriresults01").join(session);
    folder.join("T1w/T1w_acpc_dc_restore.nii.gz")
}

fn write_tables(root: &Path, written: &[Written<'_>]) -> Result<Vec<PathBuf>, Error> {
    Ok(vec![
        write_text(root.join("ndar_subject01.txt"), &subjects(written))?,
        write_text(root.join("image03.txt"), &images(written))?,
    ])
}

/// Columns that both tables have, with what the data dictionary says of them.
const KEY: (&str, &str) = (
    "subjectkey",
    "The NDAR Global Unique Identifier (GUID) for research subject",
);
const ID: (&str, &str) = (
    "src_subject_id",
    "Subject ID how it's defined in lab/project",
);
const DATE: (&str, &str) = (
    "interview_date",
    "Date on which the interview was completed. MM/DD/YYYY",
);
const AGE: (&str, &str) = (
    "interview_age",
    "Age in months at the time of the interview/test/sampling/imaging.",
);
const SEX: (&str, &str) = ("sex", "Sex of subject at birth");

/// The cells of [`KEY`] to [`SEX`].
fn person(visit: &Visit<'_>) -> [String; 5] {
    [
        format!("NDAR_INVSYNTH{:05}", visit.subject() + 1),
        visit.participant.id.clone(),
        INTERVIEW_DATE.to_owned(),
        visit.participant.whole_months().to_string(),
        visit.sex_letter().to_owned(),
    ]
}

fn subjects(written: &[Written<'_>]) -> String {
    let columns = [
        ("collection_id", "Collection"),
        KEY,
        ID,
        DATE,
        AGE,
        SEX,
        ("race", "Race of study subject"),
        ("site", "Study Site"),
    ];
    let visits = written.iter().map(|written| written.visit);
    let first = visits.filter(|visit| visit.number == 0);
    let rows = first.map(|visit| {
        let race = if visit.subject() % 3 == 2 {
            ""
        } else {
            "Unknown or not reported"
        };
        let site = SITES[visit.subject() % SITES.len()];
        let [key, id, date, age, sex] = person(&visit);
        let cells = [
            "0".to_owned(),
            key,
            id,
            date,
            age,
            sex,
            race.to_owned(),
            site.to_owned(),
        ];
        quoted(&cells, "\t")
    });
    table(&header(&columns), rows)
}

fn images(written: &[Written<'_>]) -> String {
    let description = (
        "image_description",
        "Image description, i.e. DTI, fMRI, Fast SPGR, phantom, EEG, dynamic PET",
    );
    let columns = [
        KEY,
        ID,
        DATE,
        AGE,
        SEX,
        description,
        ("visit", "Visit name"),
    ];
    let rows = written.iter().map(|Written { visit, .. }| {
        let [key, id, date, age, sex] = person(visit);
        let number = format!("V{}", visit.number + 1);
        quoted(&[key, id, date, age, sex, "T1w".to_owned(), number], "\t")
    });
    table(&header(&columns), rows)
}

/// Names and, below them, descriptions.
fn header(columns: &[(&str, &str)]) -> String {
    let names: Vec<_> = columns.iter().map(|(name, _)| *name).collect();
    let descriptions: Vec<_> = columns
        .iter()
        .map(|(_, description)| *description)
        .collect();
    format!("{}\n{}", quoted(&names, "\t"), quoted(&descriptions, "\t"))
}
