//! What downloads and spreadsheets do to a cohort: each is named and counted, none ends in a panic, and no scan is
//! silently dropped.

#![expect(clippy::unwrap_used, reason = "what fails in a helper fails its test")]

use std::path::Path;

use brainage_cohorts::{Cohort, CohortListing, Criteria, Error, Layout, list_cohort};

const SCAN: &str = "sub-007/anat/sub-007_T1w.nii.gz";

fn put(root: &Path, name: &str, bytes: &[u8]) {
    let path = root.join(name);
    fs_err::create_dir_all(path.parent().unwrap()).unwrap();
    fs_err::write(path, bytes).unwrap();
}

fn list(layout: &str, root: &Path) -> Result<CohortListing, Error> {
    list_cohort(&Cohort {
        name: "study".to_owned(),
        layout: Layout::parse(layout).unwrap().into(),
        root: root.to_path_buf(),
        demographics: Vec::new(),
        withdrawals: Vec::new(),
        criteria: Criteria::default(),
    })
}

/// A BIDS folder with one scan and this table.
fn with_table(table: &[u8]) -> Result<CohortListing, Error> {
    let folder = tempfile::tempdir().unwrap();
    put(folder.path(), SCAN, b"not an image");
    put(folder.path(), "participants.tsv", table);
    list("bids", folder.path())
}

/// Every scan is a row or counted under a reason.
fn check_sum(listing: &CohortListing) {
    let skipped: usize = listing.skipped.values().sum();
    assert_eq!(
        listing.rows.len() + skipped,
        listing.scans,
        "{:?}",
        listing.skipped
    );
}

fn check_age(table: &[u8], years: f64) {
    let listing = with_table(table).unwrap();
    let ages: Vec<f64> = listing
        .rows
        .iter()
        .map(|row| row.age_years.years())
        .collect();
    assert_eq!(
        ages,
        [years],
        "{}: {:?}",
        String::from_utf8_lossy(table),
        listing.skipped_examples
    );
    check_sum(&listing);
}

fn check_skipped(listing: &CohortListing, reason: &str, shown: &str) {
    assert_eq!(
        listing.skipped.get(reason),
        Some(&1),
        "{:?}",
        listing.skipped
    );
    let example = &listing.skipped_examples[reason][0];
    assert!(example.contains(shown), "{example}");
    check_sum(listing);
}

#[test]
fn a_missing_column_is_named_with_the_columns_that_are_there() {
    let message = with_table(b"participant_id\thand\nsub-007\tR\n")
        .unwrap_err()
        .to_string();
    assert!(
        message.contains("no age column") && message.contains("`hand`"),
        "{message}"
    );
    let message = with_table(b"name\tage\nsub-007\t40\n")
        .unwrap_err()
        .to_string();
    assert!(message.contains("found `name`, `age`"), "{message}");
}

#[test]
fn two_age_columns_that_disagree_are_refused_with_both_values() {
    let listing = with_table(b"participant_id\tage\tage_at_scan\nsub-007\t40\t44\n").unwrap();
    check_skipped(&listing, "age_conflict", "40 and 44 years");
}

#[test]
fn another_delimiter_than_the_ending_promises_is_noticed() {
    for delimiter in [",", ";", "|"] {
        let table = format!("participant_id{delimiter}age\nsub-007{delimiter}40.5\n");
        check_age(table.as_bytes(), 40.5);
    }
}

#[test]
fn tables_in_utf_16_and_latin_1_and_with_a_byte_order_mark_are_read() {
    let text = "participant_id\tage\tsite\nsub-007\t40.5\tZ\u{fc}rich\n";
    let units: Vec<u16> = text.encode_utf16().collect();
    let utf_16: Vec<u8> = units.iter().flat_map(|unit| unit.to_le_bytes()).collect();
    let latin_1: Vec<u8> = text.chars().map(|c| c as u8).collect();
    let marks: [&[u8]; 3] = [b"\xef\xbb\xbf", b"\xff\xfe", b""];
    for (mark, body) in marks.into_iter().zip([text.as_bytes(), &utf_16, &latin_1]) {
        let table = [mark, body].concat();
        check_age(&table, 40.5);
        assert_eq!(
            with_table(&table).unwrap().rows[0].site.to_string(),
            "Z\u{fc}rich"
        );
    }
}

#[test]
fn leading_zeros_that_a_spreadsheet_dropped_are_found_again() {
    check_age(b"participant_id\tage\n7\t40.5\n", 40.5);
}

#[test]
fn duplicate_rows_are_one_where_they_agree_and_are_refused_where_not() {
    check_age(b"participant_id\tage\nsub-007\t40\nsub-007\t40\n", 40.0);
    let listing = with_table(b"participant_id\tage\nsub-007\t40\nsub-007\t50\n").unwrap();
    check_skipped(
        &listing,
        "duplicate_participant",
        "40 years, U and 50 years, U",
    );
}

#[test]
fn dates_in_three_formats_are_one_day() {
    for day in ["2015-08-14", "8/14/2015", "14.08.2015"] {
        let folder = tempfile::tempdir().unwrap();
        put(
            folder.path(),
            "1000223_20252_2_0/T1/T1.nii.gz",
            b"not an image",
        );
        let table = format!("eid,34-0.0,52-0.0,53-2.0\n1000223,1950,5,{day}\n");
        put(folder.path(), "ukb.csv", table.as_bytes());
        let listing = list("ukbb", folder.path()).unwrap();
        // 23,832 days from 15 May 1950 to 14 August 2015.
        let years = listing.rows[0].age_years.years();
        assert!((years - 23_832.0 / 365.25).abs() < 1e-4, "{day}: {years}");
    }
}

#[test]
fn a_broken_archive_is_counted_and_named() {
    let folder = tempfile::tempdir().unwrap();
    put(
        folder.path(),
        "1000223_20252_2_0.zip",
        b"PK\x03\x04 and then the download broke off",
    );
    put(folder.path(), "ukb.csv", b"eid,21003-2.0\n1000223,65\n");
    let listing = list("ukbb", folder.path()).unwrap();
    check_skipped(&listing, "broken_archive", "1000223_20252_2_0.zip");
}

#[cfg(unix)]
#[test]
fn a_folder_that_cannot_be_read_is_named_and_the_others_are_listed() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    put(folder.path(), SCAN, b"not an image");
    put(
        folder.path(),
        "participants.tsv",
        b"participant_id\tage\nsub-007\t40\n",
    );
    let closed = folder.path().join("sub-008");
    fs_err::create_dir(&closed).unwrap();
    fs_err::set_permissions(&closed, std::fs::Permissions::from_mode(0o000)).unwrap();
    let is_open = fs_err::read_dir(&closed).is_ok();
    let listing = list("bids", folder.path());
    fs_err::set_permissions(&closed, std::fs::Permissions::from_mode(0o755)).unwrap();
    let listing = listing.unwrap();
    assert_eq!(listing.rows.len(), 1);
    if is_open {
        println!("skipped: this user may read every folder");
        return;
    }
    let said = "1 folders cannot be read, the first is `";
    assert!(
        listing.warnings[0].starts_with(said),
        "{:?}",
        listing.warnings
    );
    assert!(
        listing.warnings[0].ends_with("sub-008`"),
        "{:?}",
        listing.warnings
    );
}

#[cfg(unix)]
#[test]
fn a_loop_of_links_is_walked_once() {
    let folder = tempfile::tempdir().unwrap();
    put(folder.path(), SCAN, b"not an image");
    put(
        folder.path(),
        "participants.tsv",
        b"participant_id\tage\nsub-007\t40\n",
    );
    fs_err::os::unix::fs::symlink(folder.path(), folder.path().join("sub-007/again")).unwrap();
    let listing = list("bids", folder.path()).unwrap();
    assert_eq!((listing.rows.len(), listing.scans), (1, 1));
}

#[cfg(unix)]
#[test]
fn a_path_that_is_not_utf_8_is_counted_and_named() {
    use std::os::unix::ffi::OsStrExt as _;
    let folder = tempfile::tempdir().unwrap();
    put(
        folder.path(),
        "participants.tsv",
        b"participant_id\tage\nsub-007\t40\n",
    );
    let name = std::ffi::OsStr::from_bytes(b"sub-\xff_T1w.nii.gz");
    fs_err::write(folder.path().join(name), "x").unwrap();
    let listing = list("bids", folder.path()).unwrap();
    check_skipped(&listing, "bad_path", "_T1w.nii.gz");
}
