//! How a cohort's folder becomes rows of the index.
//!
//! Each layout finds scans and people in its own way (`layouts`); joining, withdrawals, criteria and counting are the
//! same for all and stand here.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::criteria::{Criteria, Refusal, Sessions, SkipReason};
use crate::detect::detect;
use crate::error::{Error, ValueError, shown};
use crate::files::{Files, Walk, is_pointer, list_files};
use crate::gates::Gates;
use crate::index::IndexRow;
use crate::layout::{FoundScan, Layout, LayoutChoice, Search};
use crate::participant::{ParticipantId, SessionId, Sex};
use crate::shared_text::SharedTexts;
use crate::visits::{keep_first_sessions, skip_duplicates, sort_rows};
use crate::withdrawals::usual_lists;

/// How many examples of each reason are kept.
const EXAMPLES: usize = 5;
/// A cohort of the project file.
#[derive(Clone, Debug, PartialEq)]
pub struct Cohort {
    /// Its name, which every row carries.
    pub name: String,
    /// How it lies on disk.
    pub layout: LayoutChoice,
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
#[derive(Clone, Debug)]
pub struct CohortListing {
    /// The cohort's name.
    pub name: String,
    /// Its folder, absolute.
    pub root: PathBuf,
    /// The layout that was asked for or recognized.
    pub layout: Layout,
    /// Where the layout was to be recognized: what of each layout was seen.
    pub recognized_by: Vec<String>,
    /// Scans that can be used, by participant, visit and path; `split` is not set.
    pub rows: Vec<IndexRow>,
    /// People with at least one scan in the folder, used or not.
    pub participants: usize,
    /// Scans in the folder: rows, and whatever is skipped except for `no_scan`.
    pub scans: usize,
    /// How many were skipped for each reason, by [`SkipReason::code`].
    pub skipped: BTreeMap<String, usize>,
    /// The first few of each reason but `withdrawn`: paths, or rows of a table; with the values that were refused.
    pub skipped_examples: BTreeMap<String, Vec<String>>,
    /// The tables that were read.
    pub demographics_used: Vec<PathBuf>,
    /// The lists of withdrawn participants that were applied.
    pub withdrawals_used: Vec<PathBuf>,
    /// Scans of withdrawn participants: whatever was made of them must go.
    pub withdrawn: Vec<PathBuf>,
    /// Visits with several images of which one is used, by the rule that decided; each row's `note` says it too.
    pub choices: BTreeMap<&'static str, usize>,
    /// What was done otherwise than one may expect.
    pub warnings: Vec<String>,
}

impl CohortListing {
    /// Scans that can be used, by sex and decade of age (60 for 60 to under 70 years).
    pub fn by_sex_and_decade(&self) -> BTreeMap<(Sex, u32), usize> {
        let mut counts = BTreeMap::new();
        for row in &self.rows {
            let decade = (row.age_years.years() / 10.0).floor() as u32 * 10;
            *counts.entry((row.sex, decade)).or_default() += 1;
        }
        counts
    }

    /// Scans without a usable age: none is known, it is no age, or two contradict each other.
    pub fn missing_ages(&self) -> usize {
        self.skipped_for(&[
            SkipReason::NotInDemographics,
            SkipReason::NoAge,
            SkipReason::BadAge,
            SkipReason::AgeConflict,
        ])
    }

    /// Scans that a table names or a pointer stands for, and whose data are not there.
    pub fn missing_files(&self) -> usize {
        self.skipped_for(&[SkipReason::NoScan, SkipReason::NotDownloaded])
    }

    fn skipped_for(&self, reasons: &[SkipReason]) -> usize {
        let counts = reasons
            .iter()
            .filter_map(|reason| self.skipped.get(reason.code()));
        counts.sum()
    }

    pub(crate) fn skip(&mut self, refusal: &Refusal, example: String) {
        let code = refusal.reason.code();
        *self.skipped.entry(code.to_owned()).or_default() += 1;
        // Who withdrew is counted, never shown.
        if refusal.reason == SkipReason::Withdrawn {
            return;
        }
        let examples = self.skipped_examples.entry(code.to_owned()).or_default();
        if examples.len() < EXAMPLES {
            examples.push(match refusal.detail.as_str() {
                "" => example,
                detail => format!("{example} ({detail})"),
            });
        }
    }
}

/// Lists what a cohort's folder holds and what of it can be used.
///
/// # Errors
/// If the folder is missing, its layout is not recognized, no table with ages is found, or a table or list cannot be
/// read. A single bad scan or row is only skipped.
pub fn list_cohort(cohort: &Cohort) -> Result<CohortListing, Error> {
    if !cohort.root.is_dir() {
        let (cohort, root) = (cohort.name.clone(), cohort.root.clone());
        return Err(Error::MissingRoot { cohort, root });
    }
    let what = "finding the cohort's folder";
    let root = std::path::absolute(&cohort.root).map_err(Error::io(what, &cohort.root))?;
    let (layout, recognized_by, mut files) = walk(cohort, &root)?;
    files.paths.extend(outer_tables(&root));
    let lists = match cohort.withdrawals.as_slice() {
        [] => usual_lists(&files.paths, &root),
        given => given.to_vec(),
    };
    let gates = Gates::read(&cohort.criteria, &lists)?;
    files.paths.retain(|path| !lists.contains(path));

    let findings = (layout.find)(&Search {
        root: &root,
        tables: &cohort.demographics,
        files: &files,
    })?;
    let mut listing = CohortListing {
        name: cohort.name.clone(),
        root: root.clone(),
        layout,
        recognized_by,
        rows: Vec::new(),
        participants: 0,
        scans: findings.scans.len(),
        skipped: BTreeMap::new(),
        skipped_examples: BTreeMap::new(),
        demographics_used: findings.demographics_used,
        withdrawals_used: lists,
        withdrawn: Vec::new(),
        choices: BTreeMap::new(),
        warnings: findings.warnings,
    };
    count_unreadable(&mut listing, &root, &files);
    for row in findings.without_scan {
        listing.skip(&SkipReason::NoScan.into(), row);
    }
    let mut participants = BTreeSet::new();
    let mut texts = SharedTexts::default();
    for found in findings.scans {
        if !found.participant.is_empty() {
            participants.insert(found.participant.clone());
        }
        let (scan, choice) = (found.scan.clone(), found.choice);
        match row_of(found, cohort, (&gates, &mut texts)) {
            Ok(row) => {
                if let Some(choice) = choice {
                    *listing.choices.entry(choice.rule).or_default() += 1;
                }
                listing.rows.push(row);
            }
            Err(refusal) => {
                listing.skip(&refusal, shown(&scan));
                if refusal.reason == SkipReason::Withdrawn {
                    listing.withdrawn.push(scan);
                }
            }
        }
    }
    listing.participants = participants.len();
    sort_rows(&mut listing.rows);
    skip_duplicates(&mut listing);
    if cohort.criteria.sessions == Sessions::First {
        keep_first_sessions(&mut listing);
    }
    Ok(listing)
}

/// Lists the files as the layout wants it, which may have to be recognized first.
fn walk(cohort: &Cohort, root: &Path) -> Result<(Layout, Vec<String>, Files), Error> {
    match cohort.layout {
        LayoutChoice::Named(layout) => Ok((layout, Vec::new(), list_files(root, layout.walk))),
        LayoutChoice::Auto => {
            let anything = Walk {
                skips_folder: |_| false,
                opens_archive: |name| {
                    let mut layouts = Layout::all().iter();
                    layouts.any(|layout| (layout.walk.opens_archive)(name))
                },
            };
            let files = list_files(root, anything);
            let recognized = detect(root, &files)?;
            let files = files.without_folders(root, recognized.layout.walk.skips_folder);
            Ok((recognized.layout, recognized.seen, files))
        }
    }
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

/// What of the folder no layout could see is counted all the same.
fn count_unreadable(listing: &mut CohortListing, root: &Path, files: &Files) {
    if let Some(first) = files.unreadable.first() {
        let n = files.unreadable.len();
        listing.warnings.push(format!(
            "{n} folders cannot be read, the first is `{}`",
            shown(first)
        ));
    }
    for path in &files.not_utf8 {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.ends_with(".nii") || name.ends_with(".nii.gz") || name.ends_with(".zip") {
            listing.scans += 1;
            listing.skip(&SkipReason::BadPath.into(), shown(path));
        }
    }
    for (archive, problem) in &files.broken {
        listing.scans += 1;
        let refusal = Refusal::new(SkipReason::BrokenArchive, problem);
        listing.skip(&refusal, shown(archive));
    }
    if listing.scans == 0 {
        let expected = listing.layout.expected_scans;
        listing.warnings.push(format!(
            "no scans found, expected {expected}: `{}`",
            shown(root)
        ));
    }
}

fn row_of(
    found: FoundScan,
    cohort: &Cohort,
    (gates, texts): (&Gates, &mut SharedTexts),
) -> Result<IndexRow, Refusal> {
    if let Some(reason) = gates.refusal(&found.participant) {
        return Err(reason.into());
    }
    let person = found.person?;
    if is_pointer(&found.scan) {
        return Err(SkipReason::NotDownloaded.into());
    }
    let bad_id = |unusable: ValueError| Refusal::new(SkipReason::BadId, unusable.found);
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
    let choice = found.choice.map_or(String::new(), |choice| {
        format!("1 of {} images of the visit: {}", choice.of, choice.rule)
    });
    let notes = [found.note, &choice, &person.note];
    let notes: Vec<_> = notes.into_iter().filter(|note| !note.is_empty()).collect();
    let row = IndexRow {
        cohort: texts.get(&cohort.name),
        participant_id,
        session_id,
        group_key,
        age_years: person.age?,
        age_source: person.age_source,
        sex: person.sex,
        site: texts.get(&person.site),
        scanner: texts.get(&person.scanner),
        diagnosis: texts.get(&person.diagnosis),
        scan: found.scan,
        split: None,
        note: notes.join("; "),
    };
    match cohort.criteria.refusal(&row) {
        Some(reason) => Err(Refusal::new(reason, detail_of(reason, &row))),
        None => Ok(row),
    }
}

/// The value that a filter refused.
fn detail_of(reason: SkipReason, row: &IndexRow) -> String {
    match reason {
        SkipReason::AgeOutsideRange | SkipReason::AgeBinned | SkipReason::AgeCapped => {
            format!("{} years", row.age_years)
        }
        SkipReason::DiagnosisExcluded => format!("diagnosis `{}`", row.diagnosis),
        SkipReason::SiteExcluded => format!("site `{}`", row.site),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layouts::tree::{Tree, cohort, skipped};

    const SCANS: [&str; 4] = [
        "sub-1/ses-1/anat/sub-1_ses-1_T1w.nii.gz",
        "sub-1/ses-2/anat/sub-1_ses-2_T1w.nii.gz",
        "sub-2/ses-1/anat/sub-2_ses-1_T1w.nii.gz",
        "sub-3/ses-1/anat/sub-3_ses-1_T1w.nii.gz",
    ];
    const TABLE: (&str, &str) = (
        "participants.tsv",
        "participant_id\tsession_id\tage\tsex\tsite\n\
         sub-1\tses-1\t61\tF\tA\nsub-1\tses-2\t63.5\tF\tA\n\
         sub-2\tses-1\t69\tM\tB\nsub-3\tses-1\tn/a\tM\tA\n",
    );

    fn bids(root: &Path) -> Cohort {
        cohort(Layout::parse("bids").unwrap(), root)
    }

    #[test]
    fn a_missing_folder_is_named_with_its_cohort() {
        let error = list_cohort(&bids(Path::new("/nowhere/at/all"))).unwrap_err();
        assert_eq!(
            error.to_string(),
            "cohort `bids` has no folder: `/nowhere/at/all`"
        );
        assert!(error.hint().is_some());
    }

    #[test]
    fn scans_are_counted_by_sex_and_decade_with_what_is_missing() {
        let tree = Tree::new(&SCANS, &[TABLE]);
        let listing = list_cohort(&bids(&tree.path(""))).unwrap();
        let counts = listing.by_sex_and_decade();
        assert_eq!(counts[&(Sex::Female, 60)], 2);
        assert_eq!(counts[&(Sex::Male, 60)], 1);
        assert_eq!((listing.missing_ages(), listing.missing_files()), (1, 0));
    }

    #[test]
    fn two_columns_of_ages_that_disagree_are_refused_with_both_values() {
        let table = (
            "ages.csv",
            "id,age,age_at_scan\na,30,30.4\nb,30,40.25\nc,,50\n",
        );
        let tree = Tree::new(&["a.nii", "b.nii", "c.nii"], &[table]);
        let listing = tree.list(Layout::parse("table").unwrap()).unwrap();
        assert_eq!(tree.rows(&listing), ["a - 30 U a.nii", "c - 50 U c.nii"]);
        let example = &listing.skipped_examples["age_conflict"][0];
        assert!(
            example.ends_with("(30 and 40.25 years in two columns)"),
            "{example}"
        );
    }

    #[test]
    fn leading_zeros_that_a_spreadsheet_dropped_are_no_other_participant() {
        let scans = ["sub-007/anat/sub-007_T1w.nii", "sub-12/anat/sub-12_T1w.nii"];
        let table = (
            "participants.tsv",
            "participant_id\tage\n7\t30\n12\t40\n012\t41\n",
        );
        let tree = Tree::new(&scans, &[table]);
        let listing = list_cohort(&bids(&tree.path(""))).unwrap();
        let expected = [
            "007 - 30 U sub-007/anat/sub-007_T1w.nii",
            "12 - 40 U sub-12/anat/sub-12_T1w.nii",
        ];
        assert_eq!(tree.rows(&listing), expected);
    }

    #[test]
    fn folders_that_cannot_be_read_are_counted_and_the_first_is_named() {
        let tree = Tree::new(&SCANS, &[TABLE]);
        let mut listing = list_cohort(&bids(&tree.path(""))).unwrap();
        let unreadable = ["/a/closed", "/b/closed"].map(PathBuf::from).into();
        let files = Files {
            unreadable,
            ..Files::default()
        };
        count_unreadable(&mut listing, Path::new("/"), &files);
        let said = "2 folders cannot be read, the first is `/a/closed`";
        assert_eq!(listing.warnings.last().map(String::as_str), Some(said));
    }

    #[cfg(unix)]
    #[test]
    fn a_scan_whose_path_is_not_utf_8_is_counted() {
        use std::os::unix::ffi::OsStrExt as _;
        let tree = Tree::new(&SCANS, &[TABLE]);
        let name = std::ffi::OsStr::from_bytes(b"sub-\xff_T1w.nii");
        fs_err::write(tree.path("").join(name), "x").unwrap();
        let listing = list_cohort(&bids(&tree.path(""))).unwrap();
        assert_eq!(skipped(&listing), ["bad_path=1", "no_age=1"]);
        assert_eq!(listing.scans, 5);
    }

    #[test]
    fn a_layout_is_recognized_and_what_was_seen_is_said() {
        let check = |scans: &[&str], table: (&str, &str), expected: &str| {
            let tree = Tree::new(scans, &[table]);
            let mut cohort = bids(&tree.path(""));
            cohort.layout = LayoutChoice::Auto;
            let listing = list_cohort(&cohort).unwrap();
            assert_eq!(
                (listing.layout.name(), listing.rows.len()),
                (expected, 1),
                "{scans:?}"
            );
            let seen = &listing.recognized_by[0];
            assert!(
                seen.starts_with(&format!("{expected}: 1 files such as `")),
                "{seen}"
            );
        };
        check(
            &["sub-1/anat/sub-1_T1w.nii", "derivatives/sub-1_T1w/x.nii"],
            ("participants.tsv", "participant_id\tage\nsub-1\t30\n"),
            "bids",
        );
        check(&["a.nii"], ("ages.csv", "id,age\na,30\n"), "table");
        check(
            &["1000001_20252_2_0/T1/T1.nii.gz"],
            ("ukb.csv", "eid,21003-2.0\n1000001,60\n"),
            "ukbb",
        );
        check(
            &["anat/sub-CC110033/anat/sub-CC110033_T1w.nii.gz"],
            (
                "anat/participants.tsv",
                "participant_id\tage\nsub-CC110033\t30\n",
            ),
            "camcan",
        );
    }

    #[test]
    fn folders_that_show_no_layout_or_two_are_refused() {
        let auto = |scans: &[&str]| {
            let tree = Tree::new(scans, &[]);
            let mut cohort = bids(&tree.path(""));
            cohort.layout = LayoutChoice::Auto;
            list_cohort(&cohort).unwrap_err()
        };
        assert!(matches!(auto(&["notes.pdf"]), Error::LayoutUnknown { .. }));
        let two = auto(&[
            "1000001_20252_2_0/T1/T1.nii.gz",
            "sub-CC110033/anat/sub-CC110033_T1w.nii.gz",
        ]);
        let message = two.to_string();
        assert!(message.contains("ukbb: 1 files such as"), "{message}");
        assert!(message.contains("camcan: 1 files such as"), "{message}");
    }
}
