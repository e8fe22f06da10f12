//! UK Biobank: bulk field 20252 as it was downloaded or unpacked, `<eid>_20252_<instance>_0[.zip]`.
//!
//! ```text
//! <any>/1000223_20252_2_0/T1/T1.nii.gz                   used: whole head, defaced
//! <any>/1000223_20252_2_0/T1/T1_orig_defaced.nii.gz      used where the first is missing
//! <any>/1000223_20252_2_0/T1/T1_brain.nii.gz             never: only the brain
//! <any>/1000223_20252_2_0/T1/unusable/…                  never: failed UK Biobank's own quality control
//! <any>/1000223_20252_3_0.zip                            its members count as files of a folder of this name
//! ```
//!
//! A member of an archive is named by the archive's path followed by its own: `1000223_20252_3_0.zip/T1/T1.nii.gz`.
//! Where a visit is there both packed and unpacked, the unpacked scan is used.
//!
//! `<eid>_20252_2/T1`, `<eid>/T1` and `<eid>/<instance>/T1` are understood too. Instance 2 is the first imaging visit
//! and 3 its repeat; where no instance is named, 2 is taken, and noted.
//!
//! Columns are known by field number in each of the export's spellings (`21003-2.0`, `f.21003.2.0`, `p21003_i2`).
//! The age at the scan is computed from month of birth (34, 52) and date of visit (53); else the completed years of
//! 21003 plus one half are taken. The age at recruitment (21022) lies years before the scan and is never used.
//!
//! Reference: Alfaro-Almagro et al. 2018, NeuroImage 166:400–424; UK Biobank showcase, fields 20252, 21003, 53.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::ukbb_table::{Visits, read_visits};
use super::usual_tables::usual_tables;
use crate::criteria::SkipReason;
use crate::error::Error;
use crate::files::{Walk, archive_of};
use crate::layout::{FoundScan, Layout, LayoutFindings, Search};

/// The instance of the first imaging visit.
const FIRST_IMAGING: u32 = 2;

/// The layout.
pub(super) const LAYOUT: Layout = Layout {
    name: "ukbb",
    expected_scans: "<eid>_20252_2_0.zip or <eid>_20252_2_0/T1/T1.nii.gz",
    walk: Walk {
        skips_folder,
        opens_archive: is_t1_archive,
    },
    speaks_for: |path| {
        let names = path
            .components()
            .filter_map(|part| part.as_os_str().to_str());
        let mut names = names.map(|name| name.strip_suffix(".zip").unwrap_or(name));
        names.any(|name| eid_and_visit(name).is_some_and(|(_, visit)| visit.is_some()))
    },
    general: false,
    find,
};

/// `1000223_20252_2_0.zip`; the other fields of the bulk download are not entered.
fn is_t1_archive(name: &str) -> bool {
    let stem = name.strip_suffix(".zip").and_then(eid_and_visit);
    stem.is_some_and(|(_, visit)| visit.is_some())
}

/// Folders of an unpacked scan that hold no scan.
fn skips_folder(name: &str) -> bool {
    matches!(
        name,
        "T1_fast" | "T1_first" | "T1_sienax" | "T1_vbm" | "transforms" | "FreeSurfer"
    )
}

/// What kind of image a file is; the smallest of a visit is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Head,
    OriginalHead,
    Unusable,
    BrainOnly,
    Zip,
}

/// A file that belongs to a visit.
#[derive(Debug)]
struct Candidate {
    kind: Kind,
    array: u32,
    instance_named: bool,
    path: PathBuf,
}

/// Finds scans and people.
fn find(search: &Search<'_>) -> Result<LayoutFindings, Error> {
    let Search { root, files, .. } = *search;
    let mut visits: BTreeMap<(String, u32), Vec<Candidate>> = BTreeMap::new();
    let sound = |path: &&PathBuf| !files.broken.contains_key(*path);
    for path in files.paths.iter().filter(sound) {
        if let Some((eid, instance, candidate)) = candidate(path, root) {
            visits.entry((eid, instance)).or_default().push(candidate);
        }
    }
    let mut findings = LayoutFindings::default();
    let tables = usual_tables(search, super::ukbb_table::has_fields);
    let wanted: BTreeSet<_> = visits.keys().map(|(eid, _)| eid.clone()).collect();
    let known = read_visits(root, &tables, &wanted)?;
    findings.demographics_used = tables;
    for ((eid, instance), candidates) in visits {
        add_visit(&mut findings.scans, (&eid, instance), candidates, &known);
    }
    Ok(findings)
}

/// Uses the best file of a visit. Files of one unpacked scan are one scan; further whole heads are counted.
fn add_visit(
    scans: &mut Vec<FoundScan>,
    (eid, instance): (&str, u32),
    mut candidates: Vec<Candidate>,
    known: &Visits,
) {
    let packed = |candidate: &Candidate| archive_of(&candidate.path).is_some();
    candidates.sort_by(|a, b| {
        let order = (a.kind, packed(a), a.array).cmp(&(b.kind, packed(b), b.array));
        order.then_with(|| a.path.cmp(&b.path))
    });
    let mut best = None;
    for Candidate {
        kind,
        instance_named,
        path,
        ..
    } in candidates
    {
        let person = match (best, kind) {
            (Some(best), kind)
                if best == kind && matches!(kind, Kind::Head | Kind::OriginalHead) =>
            {
                Err(SkipReason::OtherScanOfSession.into())
            }
            (Some(_), _) => continue,
            (None, Kind::Head | Kind::OriginalHead) => known.person(eid, instance),
            (None, Kind::Unusable) => Err(SkipReason::Unusable.into()),
            (None, Kind::BrainOnly) => Err(SkipReason::BrainExtractedOnly.into()),
            (None, Kind::Zip) => Err(SkipReason::NoT1.into()),
        };
        best = best.or(Some(kind));
        let note = match kind {
            _ if !instance_named => "instance not named, first imaging visit assumed",
            Kind::OriginalHead => "T1_orig_defaced, T1 is missing",
            _ => "",
        };
        scans.push(FoundScan {
            participant: eid.to_owned(),
            session: Some(instance.to_string()),
            scan: path,
            person,
            note,
            choice: None,
        });
    }
}

/// What a path says: whose scan, which visit, which kind of file.
fn candidate(path: &Path, root: &Path) -> Option<(String, u32, Candidate)> {
    let name = path.file_name()?.to_str()?;
    if let Some(stem) = name.strip_suffix(".zip") {
        let (eid, visit) = eid_and_visit(stem)?;
        let (instance, array) = visit?;
        let candidate = Candidate {
            kind: Kind::Zip,
            array,
            instance_named: true,
            path: path.to_path_buf(),
        };
        return Some((eid.to_owned(), instance, candidate));
    }
    let kind = match name.strip_suffix(".gz").unwrap_or(name) {
        "T1.nii" => Kind::Head,
        "T1_orig_defaced.nii" => Kind::OriginalHead,
        "T1_brain.nii" => Kind::BrainOnly,
        _ => return None,
    };
    let inner = path.strip_prefix(root).unwrap_or(path);
    let folders: Vec<_> = inner
        .parent()?
        .components()
        .filter_map(|folder| folder.as_os_str().to_str())
        .collect();
    let unusable = folders
        .iter()
        .any(|folder| folder.eq_ignore_ascii_case("unusable"));
    let named = folders.iter().enumerate().rev();
    // A root that is itself one participant's folder still names them.
    let (eid, visit) = named
        .filter_map(|(position, folder)| {
            let bare = folder.strip_suffix(".zip").unwrap_or(folder);
            Some((position, eid_and_visit(bare)?))
        })
        .map(|(position, (eid, visit))| {
            let below = folders
                .get(position + 1)
                .and_then(|folder| instance_folder(folder));
            (eid, visit.or(below.map(|instance| (instance, 0))))
        })
        .next()
        .or_else(|| eid_and_visit(root.file_name()?.to_str()?))?;
    let (instance, array) = visit.unwrap_or((FIRST_IMAGING, 0));
    let kind = if unusable { Kind::Unusable } else { kind };
    let instance_named = visit.is_some();
    let candidate = Candidate {
        kind,
        array,
        instance_named,
        path: path.to_path_buf(),
    };
    Some((eid.to_owned(), instance, candidate))
}

/// `1000223`, `1000223_20252_2` or `1000223_20252_2_0` → eid, and instance and array where named.
fn eid_and_visit(name: &str) -> Option<(&str, Option<(u32, u32)>)> {
    let mut parts = name.split('_');
    let eid = parts.next()?;
    if eid.len() != 7 || !eid.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let Some(field) = parts.next() else {
        return Some((eid, None));
    };
    if field != "20252" {
        return None;
    }
    let instance = parts.next()?.parse().ok()?;
    let array = parts.next().map_or(Some(0), |array| array.parse().ok())?;
    parts
        .next()
        .is_none()
        .then_some((eid, Some((instance, array))))
}

/// `2`, `ses-2` or `20252_2_0` as a folder below the participant's.
fn instance_folder(name: &str) -> Option<u32> {
    let name = name
        .strip_prefix("20252_")
        .map_or(name, |rest| rest.split('_').next().unwrap_or(rest));
    name.strip_prefix("ses-")
        .unwrap_or(name)
        .parse()
        .ok()
        .filter(|instance| *instance < 10)
}

#[cfg(test)]
mod tests {
    use super::super::tree::{Tree, cohort, skipped};
    use super::*;
    use crate::archive::tests::stored;
    use crate::list_cohort;
    use proptest::prelude::*;

    const TABLE: &str = "eid,31-0.0,21003-2.0,21003-3.0\n\
        1000001,0,63,65\n1000002,1,70,\n1000003,1,55,\n1000004,0,x,\n1000005,0,51,\n1000006,0,52,\n";

    #[test]
    fn whole_heads_are_used_and_all_else_is_counted() {
        let tree = Tree::new(
            &[
                "1000001_20252_2_0/T1/T1.nii.gz",
                "1000001_20252_2_0/T1/T1_orig_defaced.nii.gz",
                "1000001_20252_2_0/T1/T1_brain.nii.gz",
                "1000001_20252_2_0/T1/transforms/T1.nii.gz",
                "1000001_20252_3_0/T1/T1.nii.gz",
                "1000002/T1/T1_orig_defaced.nii.gz",
                "1000003_20252_2_0/T1/unusable/T1_orig_defaced.nii.gz",
                "1000004_20252_2_0/T1/T1.nii.gz",
                "1000005_20252_2_0.zip",
                "1000005_20253_2_0.zip",
                "1000006/2/T1/T1_brain.nii.gz",
                "1000007_20252_2_0/T1/T1.nii.gz",
                "1000001_20252_2_0.zip",
            ],
            &[("ukb.csv", TABLE)],
        );
        let listing = tree.list(LAYOUT).unwrap();
        assert_eq!(
            tree.rows(&listing),
            [
                "1000001 2 63.5 F 1000001_20252_2_0/T1/T1.nii.gz",
                "1000001 3 65.5 F 1000001_20252_3_0/T1/T1.nii.gz",
                "1000002 2 70.5 M 1000002/T1/T1_orig_defaced.nii.gz",
            ]
        );
        assert_eq!(
            skipped(&listing),
            [
                "bad_age=1",
                "brain_extracted_only=1",
                "broken_archive=2",
                "not_in_demographics=1",
                "unusable=1",
            ]
        );
        assert_eq!(
            listing.skipped_examples["bad_age"],
            [format!(
                "{} (age is `x`)",
                tree.path("1000004_20252_2_0/T1/T1.nii.gz").display()
            )]
        );
        assert_eq!((listing.scans, listing.participants), (9, 6));
        assert_eq!(listing.demographics_used, [tree.path("ukb.csv")]);
    }

    #[test]
    fn scans_are_used_inside_the_archives_that_were_downloaded() {
        let tree = Tree::new(
            &["1000002_20252_2_0/T1/T1.nii.gz", "1000001_20253_2_0.zip"],
            &[("ukb.csv", TABLE)],
        );
        let head: &[(&str, &[u8])] = &[("T1/T1_brain.nii.gz", b"x"), ("T1/T1.nii.gz", b"x")];
        let unusable: &[(&str, &[u8])] = &[("T1/unusable/T1_orig_defaced.nii.gz", b"x")];
        for (name, members) in [
            ("1000001_20252_2_0.zip", head),
            (
                "1000001_20252_3_0.zip",
                &[("T1/T1_orig_defaced.nii.gz", b"x")],
            ),
            ("1000002_20252_2_0.zip", head),
            ("1000003_20252_2_0.zip", unusable),
            ("1000005_20252_2_0.zip", &[("T1/T1.json", b"{}")]),
        ] {
            fs_err::write(tree.path(name), stored(members)).unwrap();
        }
        let cut = stored(head)[..50].to_vec();
        fs_err::write(tree.path("1000006_20252_2_0.zip"), cut).unwrap();
        let listing = tree.list(LAYOUT).unwrap();
        assert_eq!(
            tree.rows(&listing),
            [
                "1000001 2 63.5 F 1000001_20252_2_0.zip/T1/T1.nii.gz",
                "1000001 3 65.5 F 1000001_20252_3_0.zip/T1/T1_orig_defaced.nii.gz",
                "1000002 2 70.5 M 1000002_20252_2_0/T1/T1.nii.gz",
            ]
        );
        assert_eq!(
            skipped(&listing),
            [
                "broken_archive=1",
                "no_t1=1",
                "other_scan_of_session=1",
                "unusable=1"
            ]
        );
    }

    #[test]
    fn withdrawn_people_are_left_out_and_their_scans_named() {
        let tree = Tree::new(
            &[
                "1000001_20252_2_0/T1/T1.nii.gz",
                "1000002_20252_2_0/T1/T1.nii.gz",
            ],
            &[("ukb.csv", TABLE), ("w123_20240101.csv", "1000001\n")],
        );
        let listing = tree.list(LAYOUT).unwrap();
        assert_eq!(listing.rows.len(), 1);
        assert_eq!(skipped(&listing), ["withdrawn=1"]);
        assert_eq!(
            listing.withdrawn,
            [tree.path("1000001_20252_2_0/T1/T1.nii.gz")]
        );
    }

    #[test]
    fn tables_beside_a_folder_called_bulk_are_found() {
        let tree = Tree::new(
            &["bulk/1000001_20252_2_0/T1/T1.nii.gz"],
            &[("ukb_main.csv", TABLE)],
        );
        let listing = list_cohort(&cohort(LAYOUT, &tree.path("bulk"))).unwrap();
        assert_eq!(listing.rows.len(), 1);
        assert_eq!(listing.demographics_used, [tree.path("ukb_main.csv")]);
    }

    proptest! {
        #[test]
        fn no_path_makes_the_parser_panic(folder in ".{0,30}", inner in "[0-9_/a-zA-Z.]{0,30}") {
            candidate(Path::new(&format!("{folder}/{inner}/T1/T1.nii.gz")), Path::new("/r"));
            candidate(Path::new(&format!("{inner}.zip")), Path::new(""));
        }
    }
}
