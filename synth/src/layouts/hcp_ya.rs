//! HCP Young Adult: the structural package unpacked, and the two tables of ConnectomeDB.
//!
//! ```text
//! HCP_1200/000001/T1w/T1w_acpc_dc_restore.nii.gz
//! HCP_Retest/000001/T1w/T1w_acpc_dc_restore.nii.gz      every fifth participant, some months later
//! unrestricted_synthetic.csv                            Subject, …, Gender, Age (a range), …
//! RESTRICTED_synthetic.csv                              Subject, Age_in_Yrs, …, Family_ID, Mother_ID, Father_ID, …
//! ```
//!
//! Two in a row are a family. No participant of the study has a number that begins with 000.

use std::path::{Path, PathBuf};

use super::{Plan, Visit, Written, repeated, table, write_text};
use crate::error::Error;
use crate::scanner::HCP;

/// The layout.
pub(crate) const PLAN: Plan = Plan {
    name: "hcp-ya",
    people: 6,
    scanner: HCP,
    ages_years: [22.0, 37.0],
    most_subjects: 999,
    id: |subject| format!("{:06}", subject + 1),
    visit_days: |subject| repeated(subject, 5, &[145]),
    scan,
    write_tables,
};

fn scan(root: &Path, visit: &Visit<'_>) -> PathBuf {
    let release = if visit.number == 0 {
        "HCP_1200"
    } else {
        "HCP_Retest"
    };
    let folder = root.join(release).join(&visit.participant.id);
    folder.join("T1w/T1w_acpc_dc_restore.nii.gz")
}

fn write_tables(root: &Path, written: &[Written<'_>]) -> Result<Vec<PathBuf>, Error> {
    let first = || {
        written
            .iter()
            .map(|written| written.visit)
            .filter(|visit| visit.number == 0)
    };
    let open = first().map(|visit| {
        let range = match visit.participant.whole_years() {
            ..=25 => "22-25",
            26..=30 => "26-30",
            31..=35 => "31-35",
            36.. => "36+",
        };
        let (id, sex) = (&visit.participant.id, visit.sex_letter());
        format!(
            "{id},S1200,Q{:02},{sex},{range},true,29",
            visit.subject() % 13 + 1
        )
    });
    let restricted = first().map(|visit| {
        let (id, years) = (&visit.participant.id, visit.participant.whole_years());
        let family = visit.subject() / 2;
        let (mother, father) = (50_000 + family, 80_000 + family);
        // Race is missing for some.
        let race = if visit.subject() % 3 == 2 {
            ""
        } else {
            "Unknown or Not Reported"
        };
        format!("{id},{years},No,NotTwin,,{mother}_{father},{mother},{father},{race},65")
    });
    Ok(vec![
        write_text(
            root.join("unrestricted_synthetic.csv"),
            &table(
                "Subject,Release,Acquisition,Gender,Age,3T_Full_MR_Compl,MMSE_Score",
                open,
            ),
        )?,
        write_text(
            root.join("RESTRICTED_synthetic.csv"),
            &table(
                "Subject,Age_in_Yrs,HasGT,ZygositySR,ZygosityGT,Family_ID,Mother_ID,Father_ID,Race,Handedness",
                restricted,
            ),
        )?,
    ])
}
