//! What HCP Aging and HCP Development have in common: packages and tables of the NIMH Data Archive.
//!
//! ```text
//! <any>/HCA6000030_V1_MR/T1w/T1w_acpc_dc_restore.nii.gz                      used: whole head, corrected
//! <any>/HCA6000030_V1_MR/unprocessed/T1w_MPR_vNav_4e_e1e2_mean/HCA6000030_V1_MR_T1w_MPR_vNav_4e_e1e2_mean.nii.gz
//!                                                                            used where the first is missing
//! <any>/HCA6000030_V1_MR_StructuralPreprocRecommended.zip                    its members count as files
//! ndar_subject01.txt, image03.txt, imagingcollection01.txt
//! ```
//!
//! The tables are tab-separated with every cell quoted and two header lines: names, then descriptions. `interview_age`
//! is in months. A row that names no visit is about the first one; its age is never taken for a later visit.
//! `interview_date` may be shifted and is not read.
//!
//! Reference: Bookheimer et al. 2019, NeuroImage 185:335–348; Somerville et al. 2018, NeuroImage 183:456–468; NDA data
//! dictionary, structures ndar_subject01 and image03.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::usual_tables::usual_tables;
use crate::criteria::{Refusal, SkipReason};
use crate::demographics::{AgeUnit, Codebook, ColumnNames, People, Person, read_people};
use crate::error::Error;
use crate::index::AgeSource;
use crate::layout::{FoundScan, LayoutFindings, Search};

/// The scanner model of all sites.
const SCANNER: &str = "Siemens Prisma 3T";
const FIRST_VISIT: &str = "V1";

const COLUMNS: ColumnNames = ColumnNames {
    participant: &["src_subject_id"],
    session: &["visit", "visit_id", "session_id"],
    age: &["interview_age"],
    sex: &["sex", "gender"],
    site: &["site"],
    scanner: &[],
    diagnosis: &[],
    family: &["family_id"],
};

/// One of the two studies.
#[derive(Clone, Copy, Debug)]
pub(super) struct Study {
    /// How identifiers begin.
    pub(super) prefix: &'static str,
    /// The age from which on only "this age or older" is released.
    pub(super) cap_years: Option<f64>,
}

/// What kind of image a file is; the smallest of a visit is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Head,
    Raw,
    BrainOnly,
}

/// `HCA6000030_V1_MR` → participant and visit; a scan's folder or package begins with it.
pub(super) fn visit_of<'a>(name: &'a str, prefix: &str) -> Option<(&'a str, &'a str)> {
    let mut parts = name.split('_');
    let (id, visit) = (parts.next()?, parts.next()?);
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let is_visit = visit.strip_prefix('V').is_some_and(is_number);
    (is_id(id, prefix) && is_visit).then_some((id, visit))
}

fn is_id(id: &str, prefix: &str) -> bool {
    let digits = id.strip_prefix(prefix).unwrap_or_default();
    digits.len() == 7 && digits.bytes().all(|byte| byte.is_ascii_digit())
}

/// A package of structural images.
pub(super) fn is_structural_package(name: &str, prefix: &str) -> bool {
    visit_of(name, prefix).is_some() && name.to_lowercase().contains("struct")
}

/// Whether a path is a scan of the study.
pub(super) fn is_scan(path: &Path, prefix: &str) -> bool {
    candidate(path, prefix).is_some()
}

fn candidate<'a>(path: &'a Path, prefix: &str) -> Option<(&'a str, &'a str, Kind)> {
    let name = path.file_name()?.to_str()?;
    let kind = match name.strip_suffix(".gz").unwrap_or(name) {
        "T1w_acpc_dc_restore.nii" => Kind::Head,
        "T1w_acpc_dc_restore_brain.nii" => Kind::BrainOnly,
        raw if raw.ends_with("_T1w_MPR_vNav_4e_e1e2_mean.nii") => Kind::Raw,
        _ => return None,
    };
    let mut folders = path
        .components()
        .rev()
        .filter_map(|part| part.as_os_str().to_str());
    let (id, visit) = folders.find_map(|folder| visit_of(folder, prefix))?;
    Some((id, visit, kind))
}

/// Folders that hold no scan of the head.
pub(super) fn skips_folder(name: &str) -> bool {
    matches!(name, "MNINonLinear" | "OTHER_FILES" | "Results")
}

/// Finds scans and people of a study.
pub(super) fn find(search: &Search<'_>, study: Study) -> Result<LayoutFindings, Error> {
    let mut visits: BTreeMap<(&str, &str), Vec<(Kind, &PathBuf)>> = BTreeMap::new();
    for path in &search.files.paths {
        if let Some((id, visit, kind)) = candidate(path, study.prefix) {
            visits.entry((id, visit)).or_default().push((kind, path));
        }
    }
    let mut findings = LayoutFindings::default();
    let people = read_tables(search, study, &mut findings)?;
    for ((id, visit), mut images) in visits {
        images.sort_unstable();
        let used = images.first().map(|(kind, _)| *kind);
        for (position, (kind, path)) in images.into_iter().enumerate() {
            let person = match kind {
                _ if position > 0 && used != Some(kind) => continue,
                _ if position > 0 => Err(SkipReason::OtherScanOfSession.into()),
                Kind::BrainOnly => Err(SkipReason::BrainExtractedOnly.into()),
                Kind::Head | Kind::Raw => person_at(&people, (id, visit), study),
            };
            findings.scans.push(FoundScan {
                participant: id.to_owned(),
                session: Some(visit.to_owned()),
                scan: path.clone(),
                person,
                note: match kind {
                    Kind::Raw => "unprocessed, T1w_acpc_dc_restore is missing",
                    Kind::Head | Kind::BrainOnly => "",
                },
            });
        }
    }
    Ok(findings)
}

/// Who someone was at a visit.
fn person_at(people: &People, (id, visit): (&str, &str), study: Study) -> Result<Person, Refusal> {
    let mut person = people.find(id, Some(visit))?;
    if visit != FIRST_VISIT && !people.names_visit(id, visit) {
        let detail = format!("only the age at {FIRST_VISIT} is in the tables");
        return Err(Refusal::new(SkipReason::NoAge, detail));
    }
    if let (Ok(age), Some(cap)) = (&person.age, study.cap_years)
        && age.years() >= cap
    {
        person.age_source = AgeSource::Capped;
    }
    SCANNER.clone_into(&mut person.scanner);
    Ok(person)
}

fn read_tables(
    search: &Search<'_>,
    study: Study,
    findings: &mut LayoutFindings,
) -> Result<People, Error> {
    let tables = usual_tables(search, |table| {
        table.column(COLUMNS.participant).is_some() && table.column(COLUMNS.age).is_some()
    });
    let expected = "`ndar_subject01.txt` with `src_subject_id` and `interview_age`";
    let codebook = Codebook {
        age_unit: Some(AgeUnit::Months),
        id_prefix: study.prefix,
        ..Codebook::default()
    };
    let mut people = People::default();
    let mut ages_known = false;
    let mut without_age = None;
    for path in &tables {
        let table = read_people(path, &COLUMNS, &codebook, &mut findings.warnings)?;
        ages_known |= table.has_age;
        if !table.has_age {
            without_age.get_or_insert((table.shown_headers, path.clone()));
        }
        people.fill_from(table.people);
    }
    findings.demographics_used = tables;
    match without_age {
        _ if ages_known => Ok(people),
        Some((found, path)) => Err(Error::NoAgeColumn {
            expected: "`interview_age`",
            found,
            path,
        }),
        None => Err(Error::NoDemographics {
            expected,
            root: search.root.to_path_buf(),
        }),
    }
}
