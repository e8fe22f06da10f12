//! Cam-CAN: `sub-CC######_T1w.nii[.gz]` anywhere under the root, with `participants.tsv` or `standard_data.csv`.
//!
//! ```text
//! cc700/mri/pipeline/release004/BIDS_20190411/anat/participants.tsv
//! cc700/mri/pipeline/release004/BIDS_20190411/anat/sub-CC110033/anat/sub-CC110033_T1w.nii.gz
//! ```
//!
//! The root may be any of these folders. `gender_code` is 1 for men and 2 for women. Ages are taken as reported.
//! Where the older release `BIDSsep` lies beside the newer one, the newer is used.
//!
//! Reference: Taylor et al. 2017, NeuroImage 144:262–269, and the files of the Cam-CAN data portal.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::bids::{self, BidsName, codes};
use crate::criteria::SkipReason;
use crate::demographics::{Codebook, ColumnNames, ExpectedTables, USUAL_COLUMNS, read_all_people};
use crate::error::Error;
use crate::files::{Files, Walk, depth};
use crate::layout::{Choice, FoundScan, Layout, LayoutFindings, Search, no_archive};
use crate::participant::Sex;
use crate::people::People;

/// The one scanner of the study.
const SCANNER: &str = "Siemens TIM Trio 3T";

const COLUMNS: ColumnNames = ColumnNames {
    participant: &["participant_id", "ccid", "observations"],
    session: &[],
    sex: &["gender_text", "sex", "gender", "gender_code", "sex_code"],
    ..USUAL_COLUMNS
};

/// The layout.
pub(super) const LAYOUT: Layout = Layout {
    name: "camcan",
    expected_scans: "sub-CC######_T1w.nii.gz",
    walk: Walk {
        skips_folder: bids::skips_folder,
        opens_archive: no_archive,
    },
    speaks_for: |path| camcan_scan(path).is_some(),
    general: false,
    find,
};

/// The name of a T1 scan of Cam-CAN.
fn camcan_scan(path: &Path) -> Option<BidsName> {
    BidsName::parse(path).filter(|name| name.suffix == "T1w" && is_camcan_id(&name.subject))
}

/// Finds scans and people.
fn find(search: &Search<'_>) -> Result<LayoutFindings, Error> {
    let Search {
        root,
        tables,
        files,
    } = *search;
    let mut findings = LayoutFindings::default();
    let mut scans: BTreeMap<String, Vec<&PathBuf>> = BTreeMap::new();
    for path in &files.paths {
        if let Some(name) = camcan_scan(path) {
            scans.entry(name.subject).or_default().push(path);
        }
    }
    let people = read_tables(root, tables, files, &mut findings)?;
    for (participant, mut paths) in scans {
        paths.sort_by_key(|path| (is_older(path), *path));
        let of = paths.len();
        let mut choice = paths.get(1).map(|second| Choice {
            rule: if is_older(paths[0]) == is_older(second) {
                "first by name"
            } else {
                "the newer release"
            },
            of,
        });
        for (position, path) in paths.into_iter().enumerate() {
            let person = match position {
                0 => people.find(&participant, None),
                _ => Err(SkipReason::OtherScanOfSession.into()),
            };
            let person = person.map(|mut person| {
                SCANNER.clone_into(&mut person.scanner);
                person
            });
            let (participant, scan) = (participant.clone(), path.clone());
            findings.scans.push(FoundScan {
                participant,
                session: None,
                scan,
                person,
                note: "",
                choice: choice.take(),
            });
        }
    }
    Ok(findings)
}

/// Whether a path is of the release before the newest.
fn is_older(path: &Path) -> bool {
    path.components().any(|part| part.as_os_str() == "BIDSsep")
}

/// `CC` and six digits.
fn is_camcan_id(id: &str) -> bool {
    let digits = id.strip_prefix("CC").unwrap_or_default();
    digits.len() == 6 && digits.bytes().all(|byte| byte.is_ascii_digit())
}

fn read_tables(
    root: &Path,
    tables: &[PathBuf],
    files: &Files,
    findings: &mut LayoutFindings,
) -> Result<People, Error> {
    let tables = match tables {
        [] => usual_tables(root, files),
        given => given.to_vec(),
    };
    let codebook = |_: &Path, _: &mut Vec<String>| Codebook {
        sex_codes: codes([("1", Sex::Male), ("2", Sex::Female)]),
        ..Codebook::default()
    };
    let expected = ExpectedTables {
        table: "`participants.tsv` or `standard_data.csv`",
        age: "`age`",
        ages_elsewhere: false,
    };
    read_all_people(tables, &COLUMNS, codebook, expected, (root, findings))
}

/// Of each name the table nearest to the root; that of the `anat` release goes before those of other modalities,
/// and that of the newer release before `BIDSsep`.
fn usual_tables(root: &Path, files: &Files) -> Vec<PathBuf> {
    let names = ["participants.tsv", "standard_data.csv"];
    let nearest = names.iter().filter_map(|name| {
        let named = files.paths.iter().filter(|path| path.ends_with(name));
        named.min_by_key(|path| {
            let has = |folder: &str| path.components().any(|c| c.as_os_str() == folder);
            (!has("anat"), is_older(path), depth(path, root))
        })
    });
    nearest.cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::super::tree::{Tree, skipped};
    use super::LAYOUT;

    const TABLE: &str = "participant_id\tage\thand\tgender_code\ttiv_cubicmm\n\
                         sub-CC110033\t24.5\t100\t1\t1\nsub-CC110037\t18\t100\t2\t1\n";

    #[test]
    fn the_download_can_be_cut_anywhere() {
        let scan = |id: &str| format!("sub-{id}/anat/sub-{id}_T1w.nii.gz");
        for prefix in ["", "anat/", "mri/pipeline/release004/BIDS_20190411/anat/"] {
            let scans =
                ["CC110033", "CC110037", "CC110040"].map(|id| format!("{prefix}{}", scan(id)));
            let scans = scans.each_ref().map(String::as_str);
            let table = format!("{prefix}participants.tsv");
            let tree = Tree::new(&scans, &[(&table, TABLE)]);
            let listing = tree.list(LAYOUT).unwrap();
            assert_eq!(
                tree.rows(&listing),
                [
                    format!("CC110033 - 24.5 M {}", scans[0]),
                    format!("CC110037 - 18 F {}", scans[1])
                ]
            );
            assert_eq!(skipped(&listing), ["not_in_demographics=1"]);
            assert_eq!(listing.demographics_used, [tree.path(&table)]);
        }
    }

    #[test]
    fn of_two_releases_the_newer_is_used_and_other_ids_are_no_scans() {
        let tree = Tree::new(
            &[
                "BIDSsep/anat/sub-CC110033/anat/sub-CC110033_T1w.nii.gz",
                "BIDS_20190411/anat/sub-CC110033/anat/sub-CC110033_T1w.nii.gz",
                "BIDS_20190411/anat/sub-CC110033/anat/sub-CC110033_T2w.nii.gz",
                "BIDS_20190411/anat/sub-01/anat/sub-01_T1w.nii.gz",
            ],
            &[("standard_data.csv", "CCID,Age,Sex\nCC110033,24.5,FEMALE\n")],
        );
        let listing = tree.list(LAYOUT).unwrap();
        let expected =
            "CC110033 - 24.5 F BIDS_20190411/anat/sub-CC110033/anat/sub-CC110033_T1w.nii.gz";
        assert_eq!(tree.rows(&listing), [expected]);
        assert_eq!(skipped(&listing), ["other_scan_of_session=1"]);
    }
}
