//! OASIS-3: one folder a session, named by the days since entry, and the tables of demographics and clinical visits.
//!
//! ```text
//! OAS30001_MR_d0129/anat2/sub-OAS30001_ses-d0129_run-01_T1w.nii.gz      the lowest run of a session is used
//! OASIS3_demographics.csv       OASISID, AgeatEntry, GENDER (1 = male, 2 = female), …
//! OASIS3_UDSb4_cdr.csv          OASISID, days_to_visit, "age at visit", CDRTOT, …
//! OASIS3_MR_json.csv            label, ManufacturersModelName, MagneticFieldStrength, …
//! ```
//!
//! The age at a scan is `AgeatEntry` plus the days. The diagnosis is that of the clinical visit nearest to the scan,
//! where one is within half a year: `CN` for a clinical dementia rating of 0, else the rating (`CDR 0.5`).
//!
//! Reference: LaMontagne et al. 2019, medRxiv 2019.12.13.19014902; OASIS-3 data dictionary 2.3.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::bids::{BidsName, choice_of, codes};
use super::usual_tables::usual_tables;
use crate::ages::{is_missing, rounded};
use crate::criteria::{Refusal, SkipReason};
use crate::dates::DAYS_PER_YEAR;
use crate::delimited::{Delimited, cell};
use crate::demographics::{Codebook, ColumnNames, read_people};
use crate::error::Error;
use crate::files::Walk;
use crate::index::AgeSource;
use crate::layout::{FoundScan, Layout, LayoutFindings, Search, no_archive};
use crate::participant::{AgeYears, Sex};
use crate::people::{People, Person};

/// The layout.
pub(super) const LAYOUT: Layout = Layout {
    name: "oasis3",
    expected_scans: "OAS3####_MR_d####/anat#/sub-OAS3####_ses-d####_T1w.nii.gz",
    walk: Walk {
        skips_folder: |_| false,
        opens_archive: no_archive,
    },
    speaks_for: |path| scan_name(path).is_some(),
    general: false,
    find,
};

/// A clinical visit tells the diagnosis at a scan that is at most this far away.
const LONGEST_LAG_DAYS: i64 = 183;
/// Ages of the clinical visits are rounded, and entry is not always the day of the first.
const AGE_TOLERANCE_YEARS: f64 = 1.5;

const COLUMNS: ColumnNames = ColumnNames {
    participant: &["oasisid", "subject", "subject_id"],
    session: &[],
    age: &["ageatentry", "age_at_entry"],
    sex: &["gender", "sex"],
    site: &[],
    scanner: &[],
    diagnosis: &[],
    family: &[],
};

/// A session's scan as its name has it.
#[derive(Clone, Debug)]
struct ScanName {
    participant: String,
    session: String,
    days: i64,
    name: BidsName,
}

/// `sub-OAS30001_ses-d0129_run-01_T1w`; the name alone counts, whatever folders were kept.
fn scan_name(path: &Path) -> Option<ScanName> {
    let name = BidsName::parse(path).filter(|name| name.suffix == "T1w")?;
    let session = name.session.clone()?;
    let digits = name.subject.strip_prefix("OAS3")?;
    let is_id = digits.len() == 4 && digits.bytes().all(|byte| byte.is_ascii_digit());
    let days = session.strip_prefix('d')?.parse().ok()?;
    is_id.then(|| ScanName {
        participant: name.subject.clone(),
        session,
        days,
        name,
    })
}

/// What was found at a clinical visit.
#[derive(Clone, Debug)]
struct ClinicalVisit {
    days: i64,
    age_years: Option<f64>,
    rating: Option<f64>,
}

/// What the tables say.
#[derive(Default)]
struct Known {
    people: People,
    visits: BTreeMap<String, Vec<ClinicalVisit>>,
    scanners: BTreeMap<String, String>,
}

/// Finds scans and people.
fn find(search: &Search<'_>) -> Result<LayoutFindings, Error> {
    let mut sessions: BTreeMap<(String, String), Vec<(ScanName, &PathBuf)>> = BTreeMap::new();
    for path in &search.files.paths {
        if let Some(found) = scan_name(path) {
            let key = (found.participant.clone(), found.session.clone());
            sessions.entry(key).or_default().push((found, path));
        }
    }
    let mut findings = LayoutFindings::default();
    let known = Known::read(search, &mut findings)?;
    for ((participant, session), mut images) in sessions {
        images
            .sort_by(|(a, pa), (b, pb)| a.name.rank().cmp(&b.name.rank()).then_with(|| pa.cmp(pb)));
        let names: Vec<_> = images.iter().map(|(found, _)| &found.name).collect();
        let mut choice = choice_of(&names);
        for (position, (found, path)) in images.into_iter().enumerate() {
            let person = match position {
                0 => known.person(&participant, found.days),
                _ => Err(SkipReason::OtherScanOfSession.into()),
            };
            findings.scans.push(FoundScan {
                participant: participant.clone(),
                session: Some(session.clone()),
                scan: path.clone(),
                person,
                note: "",
                choice: choice.take(),
            });
        }
    }
    Ok(findings)
}

impl Known {
    fn read(search: &Search<'_>, findings: &mut LayoutFindings) -> Result<Self, Error> {
        let is_clinical = |table: &Delimited| {
            table.column(&["days_to_visit"]).is_some() && table.column(&["cdrtot"]).is_some()
        };
        let is_demographic = |table: &Delimited| table.column(COLUMNS.age).is_some();
        let tables = usual_tables(search, |table| {
            let is_about_people = table.column(COLUMNS.participant).is_some();
            let is_clinical = table.column(&["cdrtot"]).is_some();
            (is_about_people && (table.column(COLUMNS.age).is_some() || is_clinical))
                || (table.column(&["label"]).is_some()
                    && table.column(&["manufacturersmodelname"]).is_some())
        });
        let sex_codes = codes([("1", Sex::Male), ("2", Sex::Female)]);
        let codebook = Codebook {
            sex_codes,
            ..Codebook::default()
        };
        let mut known = Self::default();
        let mut without_age = None;
        let mut ages_known = false;
        for path in &tables {
            let table = Delimited::open(path)?;
            if is_demographic(&table) {
                let read = read_people(path, &COLUMNS, &codebook, &mut findings.warnings)?;
                known.people.fill_from(read.people);
                ages_known = true;
            } else if is_clinical(&table) {
                known.read_visits(table)?;
            } else if table.column(&["label"]).is_some() {
                known.read_scanners(table)?;
            } else {
                without_age.get_or_insert((table.shown_headers(), path.clone()));
            }
        }
        findings.demographics_used = tables;
        match without_age {
            _ if ages_known => Ok(known),
            Some((found, path)) => Err(Error::NoAgeColumn {
                expected: "`AgeatEntry`",
                found,
                path,
            }),
            None => Err(Error::NoDemographics {
                expected: "`OASIS3_demographics.csv` with `OASISID` and `AgeatEntry`",
                root: search.root.to_path_buf(),
            }),
        }
    }

    fn read_visits(&mut self, mut table: Delimited) -> Result<(), Error> {
        let columns = ["days_to_visit", "age_at_visit", "cdrtot"].map(|name| table.column(&[name]));
        let id = table.column(COLUMNS.participant);
        let mut record = csv::ByteRecord::new();
        while table.read_row(&mut record)? {
            let [days, age_years, rating] = columns.map(|column| {
                let number = cell(&record, Some(column?)).parse::<f64>().ok()?;
                number.is_finite().then_some(number)
            });
            let Some(days) = days else { continue };
            let visit = ClinicalVisit {
                days: days as i64,
                age_years,
                rating,
            };
            let id = cell(&record, id).into_owned();
            self.visits.entry(id).or_default().push(visit);
        }
        Ok(())
    }

    fn read_scanners(&mut self, mut table: Delimited) -> Result<(), Error> {
        let names = ["label", "manufacturersmodelname", "magneticfieldstrength"];
        let columns = names.map(|name| table.column(&[name]));
        let mut record = csv::ByteRecord::new();
        while table.read_row(&mut record)? {
            let [label, model, field] = columns.map(|column| cell(&record, column));
            if !is_missing(&model) {
                let field = field
                    .parse::<f64>()
                    .map_or(String::new(), |t| format!(" {t}T"));
                let scanner = format!("{}{field}", model.replace('_', " "));
                self.scanners.entry(label.into_owned()).or_insert(scanner);
            }
        }
        Ok(())
    }

    /// Who someone was this many days after entry.
    fn person(&self, id: &str, days: i64) -> Result<Person, Refusal> {
        let mut person = self.people.find(id, None)?;
        let entry_years = person.age.clone()?.years();
        let years = rounded(entry_years + days as f64 / DAYS_PER_YEAR);
        let nearest = self.visits.get(id).and_then(|visits| {
            let distance = |visit: &&ClinicalVisit| ((visit.days - days).abs(), visit.days);
            visits.iter().min_by_key(distance)
        });
        if let Some(visit) = nearest {
            let lag_days = visit.days - days;
            let at_visit = visit
                .age_years
                .map(|age| age - lag_days as f64 / DAYS_PER_YEAR);
            if let Some(other) =
                at_visit.filter(|other| (other - years).abs() > AGE_TOLERANCE_YEARS)
            {
                let detail =
                    format!("{years} from `AgeatEntry`, {other:.2} from the clinical visit");
                return Err(Refusal::new(SkipReason::AgeConflict, detail));
            }
            if let Some(rating) = visit.rating.filter(|_| lag_days.abs() <= LONGEST_LAG_DAYS) {
                person.diagnosis = if rating == 0.0 {
                    "CN".to_owned()
                } else {
                    format!("CDR {rating}")
                };
            }
        }
        let bad = |_outside| Refusal::new(SkipReason::BadAge, format!("{years} years"));
        person.age = Ok(AgeYears::new(years).map_err(bad)?);
        person.age_source = AgeSource::BaselinePlusInterval;
        let label = format!("{id}_MR_d{days:04}");
        person.scanner = self.scanners.get(&label).cloned().unwrap_or_default();
        Ok(person)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tree::{Tree, skipped};
    use super::*;

    const PEOPLE: (&str, &str) = (
        "OASIS3_demographics.csv",
        "OASISID,Subject_accession,AgeatEntry,AgeatDeath,GENDER,EDUC,HAND,APOE\n\
         OAS30001,OAS30001,65.19,,2,12,R,23\nOAS30002,OAS30002,67.25,,1,18,R,34\nOAS30003,OAS30003,58.8,,2,16,R,33\n",
    );
    const RATINGS: (&str, &str) = (
        "OASIS3_UDSb4_cdr.csv",
        "OASISID,OASIS_session_label,days_to_visit,age at visit,MMSE,CDRSUM,CDRTOT\n\
         OAS30001,OAS30001_UDSb4_d0000,0,65.19,28,0,0\nOAS30001,OAS30001_UDSb4_d0860,860,67.5,28,0.5,0.5\n\
         OAS30003,OAS30003_UDSb4_d0000,0,85.8,29,0,0\n",
    );

    #[test]
    fn ages_are_those_at_entry_plus_the_days_and_diagnoses_those_of_the_nearest_visit() {
        let first = "OAS30001_MR_d0129/anat2/sub-OAS30001_ses-d0129_run-01_T1w.nii.gz";
        let second = "OAS30001_MR_d0129/anat3/sub-OAS30001_ses-d0129_run-02_T1w.nii.gz";
        let later = "OAS30001_MR_d0757/anat2/sub-OAS30001_ses-d0757_T1w.nii.gz";
        let other = "OAS30002_MR_d0371/anat1/sub-OAS30002_ses-d0371_T1w.nii.gz";
        let wrong = "OAS30003_MR_d0010/anat1/sub-OAS30003_ses-d0010_T1w.nii.gz";
        let scanners = (
            "OASIS3_MR_json.csv",
            "subject_id,label,filename,ManufacturersModelName,MagneticFieldStrength\n\
             OAS30001,OAS30001_MR_d0129,x.json,Biograph_mMR,3\n",
        );
        let tree = Tree::new(
            &[first, second, later, other, wrong],
            &[PEOPLE, RATINGS, scanners],
        );
        let listing = tree.list(LAYOUT).unwrap();
        let expected = [
            format!("OAS30001 d0129 65.5432 F {first}"),
            format!("OAS30001 d0757 67.2626 F {later}"),
            format!("OAS30002 d0371 68.2657 M {other}"),
        ];
        assert_eq!(tree.rows(&listing), expected);
        let diagnoses: Vec<_> = listing
            .rows
            .iter()
            .map(|row| row.diagnosis.as_str())
            .collect();
        assert_eq!(diagnoses, ["CN", "CDR 0.5", ""]);
        assert_eq!(listing.rows[0].scanner, "Biograph mMR 3T");
        assert_eq!(listing.rows[0].group_key, listing.rows[1].group_key);
        assert_eq!(
            skipped(&listing),
            ["age_conflict=1", "other_scan_of_session=1"]
        );
        let example = &listing.skipped_examples["age_conflict"][0];
        assert!(
            example.contains("58.8274 from `AgeatEntry`, 85.83 from"),
            "{example}"
        );
    }
}
