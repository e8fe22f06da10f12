//! A cohort as the project file names it, and how its folder becomes rows of the index.
//!
//! Each layout finds scans and people in its own way (`layouts`); joining, withdrawals, criteria and counting are the
//! same for all and stand here.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::criteria::{Criteria, SkipReason};
use crate::demographics::Person;
use crate::error::{Error, ValueError, shown};
use crate::files::{Files, is_pointer, list_files};
use crate::index::IndexRow;
use crate::layouts::{bids, camcan, table, ukbb};
use crate::participant::{ParticipantId, SessionId};
use crate::withdrawals::{Withdrawals, usual_lists};

/// How many examples of each reason are kept.
const EXAMPLES: usize = 5;

/// How a cohort lies on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Layout {
    /// A table and a folder of scans.
    Table,
    /// UK Biobank's bulk field 20252, unpacked.
    Ukbb,
    /// Cam-CAN's `anat` release.
    Camcan,
    /// Any BIDS data set.
    Bids,
}

impl Layout {
    /// All layouts there are.
    pub const ALL: [Self; 4] = [Self::Table, Self::Ukbb, Self::Camcan, Self::Bids];

    /// The word in the project file.
    pub fn name(self) -> &'static str {
        match self {
            Self::Table => "table",
            Self::Ukbb => "ukbb",
            Self::Camcan => "camcan",
            Self::Bids => "bids",
        }
    }

    /// Reads the word.
    ///
    /// # Errors
    /// If it is none of them.
    pub fn parse(name: &str) -> Result<Self, ValueError> {
        let expected = "table, ukbb, camcan or bids";
        let found = Self::ALL.into_iter().find(|layout| layout.name() == name);
        found.ok_or_else(|| ValueError {
            what: "layout",
            found: name.to_owned(),
            expected,
        })
    }

    /// What of a folder is never looked into.
    fn skips_folder(self) -> fn(&str) -> bool {
        match self {
            Self::Table => |_| false,
            Self::Ukbb => ukbb::skips_folder,
            Self::Camcan | Self::Bids => bids::skips_folder,
        }
    }

    /// Where scans are looked for, to say when there are none.
    fn expected_scans(self) -> &'static str {
        match self {
            Self::Table => ".nii or .nii.gz files",
            Self::Ukbb => "<eid>_20252_2_0/T1/T1.nii.gz",
            Self::Camcan => "sub-CC######_T1w.nii.gz",
            Self::Bids => "sub-*/[ses-*/]anat/*_T1w.nii.gz",
        }
    }
}

impl FromStr for Layout {
    type Err = ValueError;

    fn from_str(name: &str) -> Result<Self, ValueError> {
        Self::parse(name)
    }
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A cohort of the project file.
#[derive(Clone, Debug, PartialEq)]
pub struct Cohort {
    /// Its name, which every row carries.
    pub name: String,
    /// How it lies on disk.
    pub layout: Layout,
    /// Its folder.
    pub root: PathBuf,
    /// Tables of its people; none: looked for under their usual names.
    pub demographics: Vec<PathBuf>,
    /// Lists of who withdrew; none: looked for under their usual names.
    pub withdrawals: Vec<PathBuf>,
    /// Who is used.
    pub criteria: Criteria,
}

/// What is in a cohort's folder, and what of it can be used.
#[derive(Clone, Debug, Default)]
pub struct CohortListing {
    /// Scans that can be used, by participant, visit and path; `split` is not set.
    pub rows: Vec<IndexRow>,
    /// People with at least one scan in the folder, used or not.
    pub participants: usize,
    /// Scans in the folder: rows, and whatever is skipped except for `no_scan`.
    pub scans: usize,
    /// How many were skipped for each reason, by [`SkipReason::code`].
    pub skipped: BTreeMap<String, usize>,
    /// The first few of each reason: paths, or rows of a table.
    pub skipped_examples: BTreeMap<String, Vec<String>>,
    /// The tables that were read.
    pub demographics_used: Vec<PathBuf>,
    /// The lists of withdrawn participants that were applied.
    pub withdrawals_used: Vec<PathBuf>,
    /// Scans of withdrawn participants: whatever was made of them must go.
    pub withdrawn: Vec<PathBuf>,
    /// What was done otherwise than one may expect.
    pub warnings: Vec<String>,
}

/// A scan and what its layout knows about it.
#[derive(Clone, Debug)]
pub(crate) struct FoundScan {
    pub(crate) participant: String,
    pub(crate) session: Option<String>,
    pub(crate) scan: PathBuf,
    /// Who it shows, or why it cannot be used.
    pub(crate) person: Result<Person, SkipReason>,
    pub(crate) note: &'static str,
}

/// What a layout finds in its folder.
#[derive(Clone, Debug, Default)]
pub(crate) struct LayoutFindings {
    pub(crate) scans: Vec<FoundScan>,
    /// Rows of a table without a scan.
    pub(crate) without_scan: Vec<String>,
    pub(crate) demographics_used: Vec<PathBuf>,
    pub(crate) warnings: Vec<String>,
}

/// Lists what a cohort's folder holds and what of it can be used.
///
/// # Errors
/// If the folder is missing, no table with ages is found, or a table or withdrawal list cannot be read. A single bad
/// scan or row is only skipped.
pub fn list_cohort(cohort: &Cohort) -> Result<CohortListing, Error> {
    if !cohort.root.is_dir() {
        let (cohort, root) = (cohort.name.clone(), cohort.root.clone());
        return Err(Error::MissingRoot { cohort, root });
    }
    let what = "finding the cohort's folder";
    let root = std::path::absolute(&cohort.root).map_err(Error::io(what, &cohort.root))?;
    let mut files = list_files(&root, cohort.layout.skips_folder());
    files.paths.extend(outer_tables(&root));
    let lists = match cohort.withdrawals.as_slice() {
        [] => usual_lists(&files.paths, &root),
        given => given.to_vec(),
    };
    let withdrawals = Withdrawals::read(&lists)?;
    files.paths.retain(|path| !lists.contains(path));

    let tables = &cohort.demographics;
    let findings = match cohort.layout {
        Layout::Table => table::find(&root, tables, &files)?,
        Layout::Ukbb => ukbb::find(&root, tables, &files)?,
        Layout::Camcan => camcan::find(&root, tables, &files)?,
        Layout::Bids => bids::find(&root, tables, &files)?,
    };
    let mut listing = CohortListing {
        scans: findings.scans.len(),
        demographics_used: findings.demographics_used,
        withdrawals_used: lists,
        warnings: findings.warnings,
        ..CohortListing::default()
    };
    warn_of_folder(&mut listing, cohort.layout, &root, &files);
    for row in findings.without_scan {
        listing.skip(SkipReason::NoScan, row);
    }
    let mut participants = BTreeSet::new();
    for found in findings.scans {
        if !found.participant.is_empty() {
            participants.insert(found.participant.clone());
        }
        let example = shown(&found.scan);
        let scan = found.scan.clone();
        match row_of(found, cohort, &withdrawals) {
            Ok(row) => listing.rows.push(row),
            Err(reason) => {
                if reason == SkipReason::Withdrawn {
                    listing.withdrawn.push(scan);
                }
                listing.skip(reason, example);
            }
        }
    }
    listing.participants = participants.len();
    listing.rows.sort_by(|a, b| {
        let session = |row: &IndexRow| row.session_id.clone().map_or(String::new(), String::from);
        natord::compare(a.participant_id.as_str(), b.participant_id.as_str())
            .then_with(|| natord::compare(&session(a), &session(b)))
            .then_with(|| a.participant_id.cmp(&b.participant_id))
            .then_with(|| a.scan.cmp(&b.scan))
    });
    Ok(listing)
}

/// UK Biobank keeps its bulk data in a folder of their own, beside the tables; nothing above a root is searched
/// otherwise.
fn outer_tables(root: &Path) -> Vec<PathBuf> {
    let is_bulk = root
        .file_name()
        .is_some_and(|name| name.eq_ignore_ascii_case("bulk"));
    let Some(outer) = root.parent().filter(|_| is_bulk) else {
        return Vec::new();
    };
    let Ok(entries) = fs_err::read_dir(outer) else {
        return Vec::new();
    };
    let mut tables: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    tables.retain(|path| path.is_file());
    tables.sort_unstable();
    tables
}

fn warn_of_folder(listing: &mut CohortListing, layout: Layout, root: &Path, files: &Files) {
    for folder in &files.unreadable {
        listing
            .warnings
            .push(format!("folder cannot be read: `{}`", shown(folder)));
    }
    if listing.scans == 0 {
        let expected = layout.expected_scans();
        listing.warnings.push(format!(
            "no scans found, expected {expected}: `{}`",
            shown(root)
        ));
    }
}

fn row_of(
    found: FoundScan,
    cohort: &Cohort,
    withdrawals: &Withdrawals,
) -> Result<IndexRow, SkipReason> {
    if withdrawals.contains(&found.participant) {
        return Err(SkipReason::Withdrawn);
    }
    let person = found.person?;
    if found.scan.to_str().is_none() {
        return Err(SkipReason::BadPath);
    }
    if is_pointer(&found.scan) {
        return Err(SkipReason::NotDownloaded);
    }
    let bad_id = |_unusable: ValueError| SkipReason::BadId;
    let participant_id = ParticipantId::new(&found.participant).map_err(bad_id)?;
    let session_id = found
        .session
        .as_deref()
        .map(SessionId::new)
        .transpose()
        .map_err(bad_id)?;
    let group_key = match person.family.as_str() {
        "" => format!("{}:{participant_id}", cohort.name),
        family => format!("{}:family:{family}", cohort.name),
    };
    let notes = [found.note, &person.note];
    let notes: Vec<_> = notes.into_iter().filter(|note| !note.is_empty()).collect();
    let row = IndexRow {
        cohort: cohort.name.clone(),
        participant_id,
        session_id,
        group_key,
        age_years: person.age?,
        age_source: person.age_source,
        sex: person.sex,
        site: person.site,
        scanner: person.scanner,
        diagnosis: person.diagnosis,
        scan: found.scan,
        split: None,
        note: notes.join("; "),
    };
    match cohort.criteria.refusal(&row) {
        Some(reason) => Err(reason),
        None => Ok(row),
    }
}

impl CohortListing {
    fn skip(&mut self, reason: SkipReason, example: String) {
        let code = reason.code();
        *self.skipped.entry(code.to_owned()).or_default() += 1;
        let examples = self.skipped_examples.entry(code.to_owned()).or_default();
        if examples.len() < EXAMPLES {
            examples.push(example);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layouts_are_read_by_the_name_they_are_shown_with() {
        for layout in Layout::ALL {
            assert_eq!(Layout::parse(layout.name()), Ok(layout));
        }
        let message = Layout::parse("adni2").unwrap_err().to_string();
        assert_eq!(
            message,
            "layout is `adni2`, expected table, ukbb, camcan or bids"
        );
    }

    #[test]
    fn a_missing_folder_is_named_with_its_cohort() {
        let cohort = Cohort {
            name: "ukbb".to_owned(),
            layout: Layout::Ukbb,
            root: "/nowhere/at/all".into(),
            demographics: Vec::new(),
            withdrawals: Vec::new(),
            criteria: Criteria::default(),
        };
        let error = list_cohort(&cohort).unwrap_err();
        assert_eq!(
            error.to_string(),
            "cohort `ukbb` has no folder: `/nowhere/at/all`"
        );
        assert!(error.hint().is_some());
    }
}
