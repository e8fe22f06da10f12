//! A table and a folder of scans: the layout for data that follow no standard.
//!
//! ```text
//! ages.csv            scan,participant_id,age_years,sex      the scan is named
//! participants.csv    MRID,Age,Sex                           the scan is found by its name
//! IXI012-HH-1211-T1.nii.gz
//! ```
//!
//! Named scans are looked for beside the table, then in the root. Without such a column, a row takes the scan whose
//! name begins with its id, ended by something that is no letter or digit; names with a part `T1` go before others,
//! and masks, label maps and other contrasts are never taken. What stays ambiguous is skipped.
//!
//! A column `family_id` keeps relatives together. Numbers for sex need a header that explains them:
//! `SEX_ID (1=m, 2=f)`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::scan_names::{NameKind, ScanNames};
use crate::ages::is_missing;
use crate::criteria::SkipReason;
use crate::delimited::{Delimited, cell, plain_name};
use crate::demographics::{PersonColumns, USUAL_COLUMNS, warn_of_codes};
use crate::error::Error;
use crate::files::{Files, Walk, depth, nifti_stem};
use crate::layout::{FoundScan, Layout, LayoutFindings, Search, no_archive};
use crate::people::{People, Person, comparable_session, settle_age_sources};

/// The layout.
pub(super) const LAYOUT: Layout = Layout {
    name: "table",
    expected_scans: ".nii or .nii.gz files",
    walk: Walk {
        skips_folder: |_| false,
        opens_archive: no_archive,
    },
    speaks_for: |path| nifti_stem(path).is_some(),
    general: true,
    find,
};

/// Columns that name the scan.
const SCAN_COLUMNS: [&str; 13] = [
    "scan",
    "path",
    "scan_path",
    "file",
    "filename",
    "file_name",
    "filepath",
    "file_path",
    "image",
    "t1",
    "t1w",
    "t1_path",
    "nifti",
];

/// Table names, the likeliest first.
const USUAL_NAMES: [&str; 9] = [
    "participants",
    "ages",
    "demographics",
    "subjects",
    "manifest",
    "phenotypes",
    "ixi",
    "metadata",
    "scans",
];

const EXPECTED_AGE: &str = "`age`, `age_years` or the like";

/// A row of the table.
#[derive(Debug)]
struct Row {
    line: u64,
    participant: String,
    session: Option<String>,
    scan: String,
    person: Person,
}

/// Finds scans and people.
fn find(search: &Search<'_>) -> Result<LayoutFindings, Error> {
    let Search {
        root,
        tables,
        files,
    } = *search;
    let mut findings = LayoutFindings::default();
    let tables = match tables {
        [] => usual_table(root, files).into_iter().collect(),
        given => given.to_vec(),
    };
    if tables.is_empty() {
        let expected = "a CSV or TSV table with an id (or scan) and an age";
        return Err(Error::NoDemographics {
            expected,
            root: root.to_path_buf(),
        });
    }
    let mut names = ScanNames::new(files);
    let mut by_name = false;
    let mut named = BTreeSet::new();
    for path in &tables {
        let (rows, has_scan_column) = read_rows(path, &mut findings.warnings)?;
        if has_scan_column {
            add_named(rows, root, path, &mut named, &mut findings);
        } else {
            by_name = true;
            add_by_name(rows, &mut names, path, &mut findings);
        }
    }
    if by_name {
        add_left_over(&names, &named, &mut findings);
    }
    findings.demographics_used = tables;
    Ok(findings)
}

fn read_rows(path: &Path, warnings: &mut Vec<String>) -> Result<(Vec<Row>, bool), Error> {
    let mut table = Delimited::open(path)?;
    let columns = PersonColumns::find(&table, &USUAL_COLUMNS);
    let scan = table.column(&SCAN_COLUMNS);
    let no_column = |found: String, expected| (expected, found, path.to_path_buf());
    if columns.age.is_none() {
        let (expected, found, path) = no_column(table.shown_headers(), EXPECTED_AGE);
        return Err(Error::NoAgeColumn {
            expected,
            found,
            path,
        });
    }
    if scan.is_none() && columns.participant.is_none() {
        let expected = "`participant_id`, `id` or the like, or `scan`";
        let (expected, found, path) = no_column(table.shown_headers(), expected);
        return Err(Error::NoParticipantColumn {
            expected,
            found,
            path,
        });
    }
    let participant_header = columns
        .participant
        .and_then(|column| table.headers().get(column));
    let is_ixi = participant_header.is_some_and(|name| plain_name(name) == "ixi_id");
    let mut rows = Vec::new();
    let mut unexplained = 0;
    let mut record = csv::ByteRecord::new();
    while table.read_row(&mut record)? {
        let text = |column| {
            let text = cell(&record, column);
            if is_missing(&text) {
                String::new()
            } else {
                text.into_owned()
            }
        };
        let (person, unknown_code) = columns.person(&record);
        let scan = text(scan);
        let mut participant = text(columns.participant);
        if is_ixi && let Ok(number) = participant.parse::<u32>() {
            participant = format!("IXI{number:03}");
        }
        if participant.is_empty() {
            nifti_stem(Path::new(&scan))
                .unwrap_or(&scan)
                .clone_into(&mut participant);
        }
        if participant.is_empty() {
            continue;
        }
        unexplained += usize::from(unknown_code);
        rows.push(Row {
            line: record.position().map_or(0, csv::Position::line),
            participant: participant
                .strip_prefix("sub-")
                .map_or(participant.clone(), str::to_owned),
            session: Some(comparable_session(&text(columns.session))).filter(|s| !s.is_empty()),
            scan,
            person,
        });
    }
    settle_age_sources(rows.iter_mut().map(|row| &mut row.person));
    warn_of_codes(unexplained, path, warnings);
    Ok((rows, scan.is_some()))
}

/// Rows that name their scan. A scan that is named twice is used once, and only if both rows agree.
fn add_named(
    rows: Vec<Row>,
    root: &Path,
    table: &Path,
    named: &mut BTreeSet<PathBuf>,
    findings: &mut LayoutFindings,
) {
    let folder = table.parent().unwrap_or(root);
    let folder = std::path::absolute(folder).unwrap_or_else(|_| folder.to_path_buf());
    let mut kept: Vec<FoundScan> = Vec::new();
    let mut positions = std::collections::BTreeMap::new();
    for row in rows {
        let candidates = [folder.join(&row.scan), root.join(&row.scan)];
        let is_there = |path: &&PathBuf| path.is_file() || path.is_symlink();
        let found = candidates
            .iter()
            .find(is_there)
            .filter(|_| !row.scan.is_empty());
        let Some(scan) = found.cloned() else {
            findings.without_scan.push(describe(&row, table));
            continue;
        };
        named.insert(scan.clone());
        let new = FoundScan {
            participant: row.participant,
            session: row.session,
            scan: scan.clone(),
            person: Ok(row.person),
            note: "",
            choice: None,
        };
        let position = *positions.entry(scan).or_insert(kept.len());
        match kept.get_mut(position) {
            Some(old) if old.person != new.person || old.participant != new.participant => {
                old.person = Err(SkipReason::DuplicateParticipant.into());
            }
            Some(_) => {}
            None => kept.push(new),
        }
    }
    findings.scans.extend(kept);
}

/// Rows whose scan has to be found by the participant's id.
fn add_by_name(rows: Vec<Row>, names: &mut ScanNames, table: &Path, findings: &mut LayoutFindings) {
    let mut people = People::default();
    for row in &rows {
        let session = row.session.as_deref().unwrap_or_default();
        people.insert(&row.participant, session, row.person.clone());
    }
    let mut done = BTreeSet::new();
    for row in rows {
        if !done.insert((row.participant.clone(), row.session.clone())) {
            continue;
        }
        let person = people.find(&row.participant, row.session.as_deref());
        let scans = names.of(&row.participant, row.session.as_deref());
        let (scan, person) = match scans.as_slice() {
            [] => {
                findings.without_scan.push(describe(&row, table));
                continue;
            }
            [only] => (only.clone(), person),
            [first, ..] => (first.clone(), Err(SkipReason::AmbiguousScan.into())),
        };
        let Row {
            participant,
            session,
            ..
        } = row;
        findings.scans.push(FoundScan {
            participant,
            session,
            scan,
            person,
            note: "",
            choice: None,
        });
    }
}

/// T1 scans that no row is about.
fn add_left_over(names: &ScanNames, named: &BTreeSet<PathBuf>, findings: &mut LayoutFindings) {
    for scan in &names.scans {
        if !scan.taken && scan.kind == NameKind::T1 && !named.contains(&scan.path) {
            findings.scans.push(FoundScan {
                participant: String::new(),
                session: None,
                scan: scan.path.clone(),
                person: Err(SkipReason::NotInDemographics.into()),
                note: "",
                choice: None,
            });
        }
    }
}

fn describe(row: &Row, table: &Path) -> String {
    let name = table.file_name().unwrap_or_default().to_string_lossy();
    match row.scan.as_str() {
        "" => format!("{} ({name}, line {})", row.participant, row.line),
        scan => format!("{scan} ({name}, line {})", row.line),
    }
}

/// The likeliest table in the root: with ages, and with ids or scans.
fn usual_table(root: &Path, files: &Files) -> Option<PathBuf> {
    let rank = |path: &Path| {
        let stem = path
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .to_lowercase();
        USUAL_NAMES
            .iter()
            .position(|name| stem == *name)
            .unwrap_or(USUAL_NAMES.len())
    };
    let mut tables: Vec<_> = files
        .paths
        .iter()
        .filter(|path| {
            let extension = path.extension().and_then(|extension| extension.to_str());
            depth(path, root) == 1 && matches!(extension, Some("csv" | "tsv" | "txt"))
        })
        .collect();
    tables.sort_by_key(|path| (rank(path), *path));
    let usable = |path: &&PathBuf| {
        Delimited::open(path).is_ok_and(|table| {
            let columns = PersonColumns::find(&table, &USUAL_COLUMNS);
            let names = columns.participant.is_some() || table.column(&SCAN_COLUMNS).is_some();
            columns.age.is_some() && names
        })
    };
    // A table under the likeliest name is taken even without ages, so that the message is about its columns.
    let by_content = tables.iter().copied().find(usable);
    by_content
        .or_else(|| tables.into_iter().find(|path| rank(path) < 3))
        .cloned()
}

#[cfg(test)]
mod tests {
    use super::super::tree::{Tree, cohort, skipped};
    use super::*;
    use crate::{AgeSource, list_cohort};

    #[test]
    fn scans_are_found_by_the_beginning_of_their_name() {
        let tree = Tree::new(
            &[
                "IXI012-HH-1211-T1.nii.gz",
                "IXI012-HH-1211-DLMUSE.nii.gz",
                "IXI013.nii.gz",
                "IXI014-T1.nii.gz",
                "IXI014-b-T1.nii.gz",
                "IXI0150-T1.nii.gz",
            ],
            &[(
                "participants.csv",
                "MRID,Age,Sex\nIXI012-HH-1211,38.78,M\nIXI013,0,F\nIXI014,40.5,F\nIXI015,50,F\n",
            )],
        );
        let listing = tree.list(LAYOUT).unwrap();
        assert_eq!(
            tree.rows(&listing),
            ["IXI012-HH-1211 - 38.78 M IXI012-HH-1211-T1.nii.gz"]
        );
        assert_eq!(
            skipped(&listing),
            [
                "ambiguous_scan=1",
                "bad_age=1",
                "no_scan=1",
                "not_in_demographics=1"
            ]
        );
        assert_eq!(
            listing.skipped_examples["no_scan"],
            ["IXI015 (participants.csv, line 5)"]
        );
        assert_eq!((listing.scans, listing.participants), (4, 3));
    }

    #[test]
    fn scans_are_taken_from_a_column_that_names_them() {
        let tree = Tree::new(
            &["a/x.nii.gz", "b.nii"],
            &[(
                "ages.csv",
                "scan;participant_id;age_years;sex;family_id\na/x.nii.gz;s1;30,5;F;f1\nb.nii;s2;31;M;f1\nc.nii;s3;32;M;\n",
            )],
        );
        let listing = tree.list(LAYOUT).unwrap();
        assert_eq!(
            tree.rows(&listing),
            ["s1 - 30.5 F a/x.nii.gz", "s2 - 31 M b.nii"]
        );
        assert_eq!(listing.rows[0].group_key, listing.rows[1].group_key);
        assert_eq!(listing.rows[1].age_source, AgeSource::ReportedDecimal);
        assert_eq!(skipped(&listing), ["no_scan=1"]);
    }

    #[test]
    fn people_twice_in_the_table_are_skipped_only_if_the_rows_differ() {
        let tree = Tree::new(
            &["a-T1.nii", "b-T1.nii"],
            &[(
                "participants.csv",
                "id,age,SEX_ID (1=m; 2=f)\na,30,1\na,30,1\nb,40,2\nb,41,2\n",
            )],
        );
        let listing = tree.list(LAYOUT).unwrap();
        assert_eq!(tree.rows(&listing), ["a - 30 M a-T1.nii"]);
        assert_eq!(listing.rows[0].age_source, AgeSource::ReportedWholeYears);
        assert_eq!(skipped(&listing), ["duplicate_participant=1"]);
    }

    #[test]
    fn a_pointer_to_data_that_were_not_downloaded_is_no_scan() {
        let tree = Tree::new(
            &[],
            &[
                ("participants.csv", "id,age\na,30\n"),
                ("a.nii.gz", "version https://git-lfs.github.com/spec/v1\n"),
            ],
        );
        assert_eq!(skipped(&tree.list(LAYOUT).unwrap()), ["not_downloaded=1"]);
    }

    #[test]
    fn the_five_real_adults_are_listed_with_their_ages() {
        let data = std::env::var_os("BRAINAGE_DATA").map_or_else(
            || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data"),
            PathBuf::from,
        );
        let root = data.join("mri/ixi");
        if !root.is_dir() {
            println!(
                "skipped: no folder `{}` (set BRAINAGE_DATA)",
                root.display()
            );
            return;
        }
        let listing = list_cohort(&cohort(LAYOUT, &root)).unwrap();
        let ages: Vec<_> = listing
            .rows
            .iter()
            .map(|row| row.age_years.years())
            .collect();
        assert_eq!(ages, [38.78, 34.24, 24.28, 50.65, 31.85]);
        assert!(
            listing
                .rows
                .iter()
                .all(|row| row.scan.to_string_lossy().ends_with("-T1.nii.gz"))
        );
        assert_eq!(skipped(&listing), Vec::<String>::new());
    }
}
