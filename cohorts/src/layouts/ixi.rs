//! IXI: `IXI###-<site>-####-T1.nii.gz` with the table of the release exported as CSV.
//!
//! ```text
//! IXI-T1/IXI002-Guys-0828-T1.nii.gz      three hospitals: Guys and IOP 1.5 T, HH 3 T
//! IXI.csv                                IXI_ID, SEX_ID (1=m, 2=f), …, DOB, DATE_AVAILABLE, STUDY_DATE, AGE
//! ```
//!
//! `IXI_ID` is a number without leading zeros; tables derived from it use `IXI012`, or `IXI012-HH-1211`. A missing age, or
//! one of 0, is computed from the dates. Some people are in the table twice, once without age.
//!
//! Reference: brain-development.org, IXI data set.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::bids::codes;
use super::usual_tables::usual_tables;
use crate::ages::is_missing;
use crate::criteria::{Refusal, SkipReason};
use crate::dates::{parse_date, years_between};
use crate::delimited::{Delimited, cell};
use crate::demographics::{ColumnNames, PersonColumns};
use crate::error::Error;
use crate::files::{Walk, nifti_stem};
use crate::index::AgeSource;
use crate::layout::{Choice, FoundScan, Layout, LayoutFindings, Search, no_archive};
use crate::participant::{AgeYears, Sex};
use crate::people::{People, settle_age_sources};

/// The layout.
pub(super) const LAYOUT: Layout = Layout {
    name: "ixi",
    expected_scans: "IXI###-<site>-####-T1.nii.gz",
    walk: Walk {
        skips_folder: |_| false,
        opens_archive: no_archive,
    },
    speaks_for: |path| scan_name(path).is_some(),
    general: false,
    find,
};

const COLUMNS: ColumnNames = ColumnNames {
    participant: &["ixi_id", "mrid", "id", "participant_id", "subject_id"],
    session: &[],
    age: &["age"],
    sex: &["sex_id", "sex", "gender"],
    site: &[],
    scanner: &[],
    diagnosis: &[],
    family: &[],
};

/// `IXI002-Guys-0828-T1` → number and site.
fn scan_name(path: &Path) -> Option<(&str, &str)> {
    let mut parts = nifti_stem(path)?.split('-');
    let (id, site, number) = (parts.next()?, parts.next()?, parts.next()?);
    let digits = id.strip_prefix("IXI")?;
    let is_number = |text: &str, n| text.len() == n && text.bytes().all(|b| b.is_ascii_digit());
    let is_t1 = parts.next() == Some("T1") && parts.next().is_none();
    (is_number(digits, 3) && is_number(number, 4) && is_t1).then_some((id, site))
}

/// The scanner of a hospital.
fn scanner_of(site: &str) -> &'static str {
    match site {
        "Guys" => "Philips Gyroscan Intera 1.5T",
        "HH" => "Philips Intera 3T",
        "IOP" => "GE 1.5T",
        _ => "",
    }
}

/// `2`, `IXI002` or `IXI002-Guys-0828-T1` → `IXI002`.
fn normalized(id: &str) -> Option<String> {
    let id = id.trim();
    let first = id.split('-').next()?;
    let digits = first.strip_prefix("IXI").unwrap_or(first);
    let number: u32 = digits.parse().ok()?;
    Some(format!("IXI{number:03}"))
}

/// Finds scans and people.
fn find(search: &Search<'_>) -> Result<LayoutFindings, Error> {
    let mut scans: BTreeMap<&str, Vec<(&str, &PathBuf)>> = BTreeMap::new();
    for path in &search.files.paths {
        if let Some((id, site)) = scan_name(path) {
            scans.entry(id).or_default().push((site, path));
        }
    }
    let mut findings = LayoutFindings::default();
    let people = read_tables(search, &mut findings)?;
    for (id, images) in scans {
        let mut choice = (images.len() > 1).then_some(Choice {
            rule: "first by name",
            of: images.len(),
        });
        for (position, (site, path)) in images.into_iter().enumerate() {
            let person = match position {
                0 => people.find(id, None),
                _ => Err(SkipReason::OtherScanOfSession.into()),
            };
            let person = person.map(|mut person| {
                site.clone_into(&mut person.site);
                scanner_of(site).clone_into(&mut person.scanner);
                person
            });
            findings.scans.push(FoundScan {
                participant: id.to_owned(),
                session: None,
                scan: path.clone(),
                person,
                note: "",
                choice: choice.take(),
            });
        }
    }
    Ok(findings)
}

fn read_tables(search: &Search<'_>, findings: &mut LayoutFindings) -> Result<People, Error> {
    let tables = usual_tables(search, |table| {
        table.column(COLUMNS.participant).is_some() && table.column(COLUMNS.age).is_some()
    });
    if tables.is_empty() {
        return Err(Error::NoDemographics {
            expected: "`IXI.csv` (exported from IXI.xls) with `IXI_ID` and `AGE`",
            root: search.root.to_path_buf(),
        });
    }
    let mut people = People::default();
    for path in &tables {
        read_table(path, &mut people)?;
    }
    settle_age_sources(people.people_mut());
    findings.demographics_used = tables;
    Ok(people)
}

fn read_table(path: &Path, people: &mut People) -> Result<(), Error> {
    let mut table = Delimited::open(path)?;
    let sexes = codes([("1", Sex::Male), ("2", Sex::Female)]);
    let columns = PersonColumns::find(&table, &COLUMNS).with_sex_codes(&sexes);
    let dates = ["dob", "study_date"].map(|name| table.column(&[name]));
    let (found, path) = (table.shown_headers(), path.to_path_buf());
    if columns.participant.is_none() {
        let expected = "`IXI_ID`, `MRID` or `ID`";
        return Err(Error::NoParticipantColumn {
            expected,
            found,
            path,
        });
    }
    if columns.age.is_none() {
        return Err(Error::NoAgeColumn {
            expected: "`AGE`",
            found,
            path,
        });
    }
    let mut record = csv::ByteRecord::new();
    while table.read_row(&mut record)? {
        let Some(id) = normalized(&cell(&record, columns.participant)) else {
            continue;
        };
        let (mut person, _unknown_code) = columns.person(&record);
        let text = cell(&record, columns.age);
        if text.trim().parse::<f64>().is_ok_and(|age| age == 0.0) {
            person.age = Err(SkipReason::NoAge.into());
        }
        let [birth, study] = dates.map(|column| {
            let text = cell(&record, Some(column?));
            (!is_missing(&text)).then(|| parse_date(&text))?
        });
        let computed = birth
            .zip(study)
            .and_then(|(birth, study)| years_between(birth, study));
        match (&person.age, computed) {
            (Ok(age), Some(computed)) if (age.years() - computed).abs() > 1.0 => {
                let detail = format!("{age} in `AGE`, {computed} from `DOB` and `STUDY_DATE`");
                person.age = Err(Refusal::new(SkipReason::AgeConflict, detail));
            }
            (Err(refusal), Some(computed)) if refusal.reason == SkipReason::NoAge => {
                let bad =
                    |_outside| Refusal::new(SkipReason::BadAge, format!("{computed} from dates"));
                person.age = AgeYears::new(computed).map_err(bad);
                person.age_source = AgeSource::ComputedDates;
            }
            _ => {}
        }
        people.insert(&id, "", person);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::tree::{Tree, skipped};
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_release_with_its_unpadded_numbers_zeros_and_duplicates_is_listed() {
        let tree = Tree::new(
            &[
                "IXI-T1/IXI002-Guys-0828-T1.nii.gz",
                "IXI-T1/IXI012-HH-1211-T1.nii.gz",
                "IXI-T1/IXI013-HH-1212-T1.nii.gz",
                "IXI-T1/IXI014-HH-1236-T1.nii.gz",
                "IXI-T1/IXI015-IOP-1258-T1.nii.gz",
                "IXI-T1/IXI016-Guys-0697-T1.nii.gz",
                "IXI-T1/IXI017-Guys-0698-T1.nii.gz",
                "IXI-T2/IXI012-HH-1211-T2.nii.gz",
            ],
            &[(
                "IXI.csv",
                "IXI_ID,\"SEX_ID (1=m, 2=f)\",HEIGHT,WEIGHT,DOB,DATE_AVAILABLE,STUDY_DATE,AGE\n\
                 2,2,164,58,1970-01-22,1,2005-11-10,35.80014\n\
                 12,1,175,70,1966-08-20,1,2005-06-01,38.78\n\
                 13,1,182,70,1958-09-15,1,2005-06-01,0\n\
                 14,2,163,65,,0,,\n14,2,163,65,,1,,34.24\n\
                 15,1,181,90,1960-01-01,1,2005-01-01,25\n\
                 16,1,181,90,,1,,50\n16,2,181,90,,1,,55\n\
                 20,2,170,60,1950-01-01,1,2005-01-01,55\n",
            )],
        );
        let listing = tree.list(LAYOUT).unwrap();
        assert_eq!(
            tree.rows(&listing),
            [
                "IXI002 - 35.80014 F IXI-T1/IXI002-Guys-0828-T1.nii.gz",
                "IXI012 - 38.78 M IXI-T1/IXI012-HH-1211-T1.nii.gz",
                // 15 September 1958 to 1 June 2005: 17 061 days.
                "IXI013 - 46.7105 M IXI-T1/IXI013-HH-1212-T1.nii.gz",
                "IXI014 - 34.24 F IXI-T1/IXI014-HH-1236-T1.nii.gz",
            ]
        );
        assert_eq!(listing.rows[1].scanner, "Philips Intera 3T");
        assert_eq!(
            skipped(&listing),
            [
                "age_conflict=1",
                "duplicate_participant=1",
                "not_in_demographics=1"
            ]
        );
        let example = &listing.skipped_examples["age_conflict"][0];
        assert!(example.contains("25 in `AGE`, 45.00"), "{example}");
        let example = &listing.skipped_examples["duplicate_participant"][0];
        assert!(
            example.ends_with("(50 years, M and 55 years, F)"),
            "{example}"
        );
    }

    #[test]
    fn identifiers_of_derived_tables_are_understood() {
        for id in ["12", "012", "IXI012", "IXI012-HH-1211", "IXI012-HH-1211-T1"] {
            assert_eq!(normalized(id).as_deref(), Some("IXI012"), "{id}");
        }
        assert_eq!(normalized("n/a"), None);
    }

    #[test]
    fn a_workbook_alone_is_no_table_and_the_message_says_what_to_export() {
        let tree = Tree::new(&["IXI002-Guys-0828-T1.nii.gz"], &[("IXI.xls", "\u{1}")]);
        let message = tree.list(LAYOUT).unwrap_err().to_string();
        assert!(message.contains("exported from IXI.xls"), "{message}");
    }

    proptest! {
        #[test]
        fn no_name_makes_the_parsers_panic(name in ".{0,30}") {
            scan_name(Path::new(&format!("{name}-T1.nii.gz")));
            normalized(&name);
        }
    }
}
