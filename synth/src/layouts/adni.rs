//! ADNI: the tree of a download from the Image and Data Archive, the list of its images, and ADNIMERGE.
//!
//! ```text
//! ADNI/000_S_90001/MPR__GradWarp__B1_Correction__N3__Scaled/2016-04-18_08_20_30.0/I9000010/
//!     ADNI_000_S_90001_MR_MPR__GradWarp__B1_Correction__N3__Scaled_Br_20190319113623975_S900001_I9000010.nii
//! ADNI1_Synthetic.csv     Image Data ID, Subject, Group, Sex, Age (whole years), …, Acq Date (month/day/year), …
//! ADNIMERGE.csv           RID, PTID, VISCODE, EXAMDATE, AGE (at baseline), …, DX, EXAMDATE_bl, …; missing values -4
//! ```
//!
//! Every other participant comes three times within a year. Clinical visits are some days off the scans. Every fifth
//! participant is called MCI; that is a word in the tables, the heads know nothing of it. No site of the study has the
//! number 000.

use std::path::{Path, PathBuf};

use jiff::ToSpan as _;
use jiff::civil::Date;

use super::{Plan, Visit, Written, quoted, repeated, table, write_text};
use crate::error::Error;
use crate::scanner::ADNI;

/// The layout.
pub(crate) const PLAN: Plan = Plan {
    name: "adni",
    people: 9,
    scanner: ADNI,
    ages_years: [55.0, 94.0],
    most_subjects: 9_999,
    id: |subject| format!("000_S_{:05}", 90_001 + subject),
    visit_days: |subject| repeated(subject, 2, &[190, 372]),
    scan,
    write_tables,
};

const SERIES: &str = "MPR__GradWarp__B1_Correction__N3__Scaled";
const VISCODES: [&str; 3] = ["bl", "m06", "m12"];

fn image_id(visit: &Visit<'_>) -> usize {
    9_000_010 + 10 * visit.subject() + visit.number
}

fn scan(root: &Path, visit: &Visit<'_>) -> PathBuf {
    let (id, image, day) = (
        &visit.participant.id,
        image_id(visit),
        visit.participant.visit,
    );
    let series = 900_001 + 10 * visit.subject() + visit.number;
    let folder = root.join("ADNI").join(id).join(SERIES);
    // The stamp in the name is that of an upload, the same for all.
    let name = format!("ADNI_{id}_MR_{SERIES}_Br_20190319113623975_S{series}_I{image}.nii");
    folder
        .join(format!("{day}_08_20_30.0"))
        .join(format!("I{image}"))
        .join(name)
}

fn group(visit: &Visit<'_>) -> &'static str {
    if visit.subject() % 5 == 4 {
        "MCI"
    } else {
        "CN"
    }
}

fn write_tables(root: &Path, written: &[Written<'_>]) -> Result<Vec<PathBuf>, Error> {
    Ok(vec![
        write_text(root.join("ADNI1_Synthetic.csv"), &image_list(written))?,
        write_text(root.join("ADNIMERGE.csv"), &merge(written))?,
    ])
}

fn image_list(written: &[Written<'_>]) -> String {
    let header = [
        "Image Data ID",
        "Subject",
        "Group",
        "Sex",
        "Age",
        "Visit",
        "Modality",
        "Description",
        "Type",
        "Acq Date",
        "Format",
        "Downloaded",
    ];
    let rows = written.iter().map(|Written { visit, .. }| {
        let p = visit.participant;
        let cells = [
            // Without the letter in some downloads.
            if visit.subject() % 3 == 1 {
                image_id(visit).to_string()
            } else {
                format!("I{}", image_id(visit))
            },
            p.id.clone(),
            group(visit).to_owned(),
            visit.sex_letter().to_owned(),
            p.whole_years().to_string(),
            ["sc", "m06", "m12"][visit.number.min(2)].to_owned(),
            "MRI".to_owned(),
            "MPR; GradWarp; B1 Correction; N3; Scaled".to_owned(),
            "Processed".to_owned(),
            american(p.visit),
            "NiFTI".to_owned(),
            String::new(),
        ];
        quoted(&cells, ",")
    });
    table(&quoted(&header, ","), rows)
}

fn merge(written: &[Written<'_>]) -> String {
    let header = [
        "RID",
        "PTID",
        "VISCODE",
        "SITE",
        "COLPROT",
        "ORIGPROT",
        "EXAMDATE",
        "DX_bl",
        "AGE",
        "PTGENDER",
        "PTEDUCAT",
        "APOE4",
        "MMSE",
        "FLDSTRENG",
        "DX",
        "EXAMDATE_bl",
        "Years_bl",
        "Month_bl",
        "Month",
        "M",
    ];
    let rows = written.iter().map(|Written { visit, .. }| {
        let p = visit.participant;
        let lag_days = 4 + visit.subject() as i64 % 20;
        let exam = p.visit.saturating_add(lag_days.days());
        let baseline = exam.saturating_sub(visit.days.days());
        let age = p.age_years + (lag_days - visit.days) as f64 / 365.25;
        let months = (visit.days as f64 / 30.5).round().to_string();
        let cells = [
            (90_001 + visit.subject()).to_string(),
            p.id.clone(),
            VISCODES[visit.number.min(2)].to_owned(),
            "0".to_owned(),
            "ADNI1".to_owned(),
            "ADNI1".to_owned(),
            exam.to_string(),
            group(visit).to_owned(),
            format!("{age:.1}"),
            p.sex_word().to_owned(),
            "16".to_owned(),
            "-4".to_owned(),
            if visit.subject() % 4 == 3 {
                "-4".to_owned()
            } else {
                "29".to_owned()
            },
            "1.5 Tesla MRI".to_owned(),
            group(visit).to_owned(),
            baseline.to_string(),
            format!("{:.3}", visit.days as f64 / 365.25),
            months.clone(),
            months.clone(),
            months,
        ];
        quoted(&cells, ",")
    });
    table(&quoted(&header, ","), rows)
}

/// Month, day, year, without zeros before them.
fn american(day: Date) -> String {
    format!("{}/{}/{}", day.month(), day.day(), day.year())
}
