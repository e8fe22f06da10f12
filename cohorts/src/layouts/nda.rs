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
use crate::ages::AgeUnit;
use crate::criteria::{Refusal, SkipReason};
use crate::demographics::{Codebook, ColumnNames, ExpectedTables, read_all_people};
use crate::error::Error;
use crate::files::Walk;
use crate::index::AgeSource;
use crate::layout::{FoundScan, Layout, LayoutFindings, Search};
use crate::people::{People, Person};

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
pub(super) trait Study {
    /// The layout's name.
    const NAME: &'static str;
    /// How identifiers begin.
    const PREFIX: &'static str;
    /// Where scans are looked for.
    const EXPECTED_SCANS: &'static str;
    /// The age from which on only "this age or older" is released.
    const CAP_YEARS: Option<f64>;
}

/// The layout of a study.
pub(super) const fn layout<S: Study>() -> Layout {
    Layout {
        name: S::NAME,
        expected_scans: S::EXPECTED_SCANS,
        walk: Walk {
            skips_folder,
            opens_archive: is_structural_package::<S>,
        },
        speaks_for: is_scan::<S>,
        general: false,
        find: find::<S>,
    }
}

/// What kind of image a file is; the smallest of a visit is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Head,
    Raw,
    BrainOnly,
}

/// `HCA6000030_V1_MR` → participant and visit; a scan's folder or package begins with it.
fn visit_of<'a>(name: &'a str, prefix: &str) -> Option<(&'a str, &'a str)> {
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
fn is_structural_package<S: Study>(name: &str) -> bool {
    visit_of(name, S::PREFIX).is_some() && name.to_lowercase().contains("struct")
}

/// Whether a path is a scan of the study.
fn is_scan<S: Study>(path: &Path) -> bool {
    candidate(path, S::PREFIX).is_some()
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
fn skips_folder(name: &str) -> bool {
    matches!(name, "MNINonLinear" | "OTHER_FILES" | "Results")
}

/// Finds scans and people of a study.
fn find<S: Study>(search: &Search<'_>) -> Result<LayoutFindings, Error> {
    let mut visits: BTreeMap<(&str, &str), Vec<(Kind, &PathBuf)>> = BTreeMap::new();
    for path in &search.files.paths {
        if let Some((id, visit, kind)) = candidate(path, S::PREFIX) {
            visits.entry((id, visit)).or_default().push((kind, path));
        }
    }
    let mut findings = LayoutFindings::default();
    let people = read_tables::<S>(search, &mut findings)?;
    for ((id, visit), mut images) in visits {
        images.sort_unstable();
        let used = images.first().map(|(kind, _)| *kind);
        for (position, (kind, path)) in images.into_iter().enumerate() {
            let person = match kind {
                _ if position > 0 && used != Some(kind) => continue,
                _ if position > 0 => Err(SkipReason::OtherScanOfSession.into()),
                Kind::BrainOnly => Err(SkipReason::BrainExtractedOnly.into()),
                Kind::Head | Kind::Raw => person_at::<S>(&people, (id, visit)),
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
                choice: None,
            });
        }
    }
    Ok(findings)
}

/// Who someone was at a visit.
fn person_at<S: Study>(people: &People, (id, visit): (&str, &str)) -> Result<Person, Refusal> {
    let mut person = people.find(id, Some(visit))?;
    if visit != FIRST_VISIT && !people.names_visit(id, visit) {
        let detail = format!("only the age at {FIRST_VISIT} is in the tables");
        return Err(Refusal::new(SkipReason::NoAge, detail));
    }
    if let (Ok(age), Some(cap)) = (&person.age, S::CAP_YEARS)
        && age.years() >= cap
    {
        person.age_source = AgeSource::Capped;
    }
    SCANNER.clone_into(&mut person.scanner);
    Ok(person)
}

fn read_tables<S: Study>(
    search: &Search<'_>,
    findings: &mut LayoutFindings,
) -> Result<People, Error> {
    let tables = usual_tables(search, |table| {
        table.column(COLUMNS.participant).is_some() && table.column(COLUMNS.age).is_some()
    });
    let codebook = |_: &Path, _: &mut Vec<String>| Codebook {
        age_unit: Some(AgeUnit::Months),
        id_prefix: S::PREFIX,
        ..Codebook::default()
    };
    let expected = ExpectedTables {
        table: "`ndar_subject01.txt` with `src_subject_id` and `interview_age`",
        age: "`interview_age`",
        ages_elsewhere: false,
    };
    let found = (search.root, findings);
    read_all_people(tables, &COLUMNS, codebook, expected, found)
}
