//! Lists of participants, such as those who withdrew: one identifier a line, with or without a header.
//!
//! [`list_cohort`](crate::list_cohort) leaves them out; what was made of their scans before is for the caller to
//! delete, from [`CohortListing::withdrawn`](crate::CohortListing::withdrawn).

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::delimited::{Delimited, cell};
use crate::error::Error;

/// Identifiers of participants, e.g. of those who withdrew.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ParticipantList {
    ids: BTreeSet<String>,
}

impl ParticipantList {
    /// Reads lists; the first column counts. A header is read like an identifier, and names nobody.
    ///
    /// # Errors
    /// If a list cannot be read: continuing without it would use data of people who withdrew.
    pub fn read(paths: &[PathBuf]) -> Result<Self, Error> {
        let mut ids = BTreeSet::new();
        for path in paths {
            let mut table = Delimited::open_bare(path)?;
            let mut record = csv::ByteRecord::new();
            while table.read_row(&mut record)? {
                let id = comparable(&cell(&record, Some(0)));
                if !id.is_empty() {
                    ids.insert(id);
                }
            }
        }
        Ok(Self { ids })
    }

    /// Whether this participant is listed; a prefix `sub-` and case make no difference.
    pub fn contains(&self, participant: &str) -> bool {
        self.ids.contains(&comparable(participant))
    }

    /// Whether a path names someone who is listed, as folders, files and archives of scans do: `sub-CC110033`,
    /// `1000223_20252_2_0.zip`. The number of a visit, run or the like (`ses-1`) is nobody's.
    pub fn is_named_in(&self, path: &Path) -> bool {
        let parts = path.components();
        let mut parts = parts.filter_map(|part| part.as_os_str().to_str());
        parts.any(|part| self.is_named_in_part(&part.to_lowercase()))
    }

    fn is_named_in_part(&self, part: &str) -> bool {
        const NOT_OF_PEOPLE: [&str; 8] =
            ["ses", "run", "acq", "rec", "ce", "echo", "task", "space"];
        let is_end = |at: usize| {
            let around = [part.get(..at), part.get(at..)].map(Option::unwrap_or_default);
            let before = around[0].chars().next_back();
            let after = around[1].chars().next();
            let inside = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
            !(inside(before) && inside(after))
        };
        let ends: Vec<usize> = part
            .char_indices()
            .map(|(at, _)| at)
            .chain([part.len()])
            .collect();
        let ends: Vec<usize> = ends.into_iter().filter(|at| is_end(*at)).collect();
        ends.iter().enumerate().any(|(n, &from)| {
            let before = part.get(..from).unwrap_or_default();
            let entity = before
                .strip_suffix('-')
                .and_then(|before| before.rsplit('_').next());
            let of_a_person = !entity.is_some_and(|entity| NOT_OF_PEOPLE.contains(&entity));
            let mut texts = ends.iter().skip(n + 1).filter_map(|&to| part.get(from..to));
            of_a_person && texts.any(|text| self.ids.contains(text))
        })
    }

    /// How many lines name someone.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether the lists are empty.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }
}

/// An identifier as it is compared between folders, tables and lists.
pub(crate) fn comparable(id: &str) -> String {
    let id = id.trim().trim_start_matches('\u{feff}').to_lowercase();
    id.strip_prefix("sub-").map_or(id.clone(), str::to_owned)
}

/// The lists among `files` by their usual names: `withdrawn.csv`, `withdrawals.csv` or `.txt`, and of UK Biobank's
/// `w<application>_<YYYYMMDD>.csv` the newest of each application.
pub(crate) fn usual_lists(files: &[PathBuf], root: &Path) -> Vec<PathBuf> {
    let mut lists = Vec::new();
    let mut newest = BTreeMap::<String, (String, PathBuf)>::new();
    for path in files
        .iter()
        .filter(|path| crate::files::depth(path, root) <= 2)
    {
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
            continue;
        };
        let lower = name.to_lowercase();
        let Some((stem, "csv" | "txt")) = lower.rsplit_once('.') else {
            continue;
        };
        if matches!(stem, "withdrawn" | "withdrawals") {
            lists.push(path.clone());
        } else if let Some((application, date)) = ukb_list(stem) {
            let known = newest.entry(application.to_owned()).or_default();
            if known.0.as_str() < date {
                *known = (date.to_owned(), path.clone());
            }
        }
    }
    lists.extend(newest.into_values().map(|(_, path)| path));
    lists
}

fn ukb_list(stem: &str) -> Option<(&str, &str)> {
    let (application, date) = stem.strip_prefix('w')?.split_once('_')?;
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    (digits(application) && digits(date) && date.len() == 8).then_some((application, date))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_without_header_with_bom_and_blank_lines_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("w1_20240101.csv");
        fs_err::write(
            &path,
            "\u{feff}1000001\r\n\r\n 1000002 \r\nsub-CC110033\r\n",
        )
        .unwrap();
        let list = ParticipantList::read(&[path]).unwrap();
        assert_eq!(list.len(), 3);
        for id in ["1000001", "1000002", "CC110033", "sub-cc110033"] {
            assert!(list.contains(id), "{id}");
        }
        assert!(!list.contains("100000"));
    }

    #[test]
    fn paths_name_who_is_listed_and_numbers_of_visits_are_nobodys() {
        let ids = ["1000223", "002_s_0295", "cc110033", "1", "hca6000030"];
        let list = ParticipantList {
            ids: ids.map(str::to_owned).into(),
        };
        for path in [
            "bulk/1000223_20252_2_0.zip/T1/T1.nii.gz",
            "ADNI/002_S_0295/MPR/2006-04-18_08_20_30.0/I7/x.nii",
            "sub-CC110033/anat/sub-CC110033_T1w.nii.gz",
            "sub-1/ses-2/anat/sub-1_ses-2_T1w.nii.gz",
            "HCA6000030_V1_MR/T1w/T1w_acpc_dc_restore.nii.gz",
        ] {
            assert!(list.is_named_in(Path::new(path)), "{path}");
        }
        for path in [
            "bulk/10002231_20252_2_0.zip/T1/T2.nii.gz",
            "sub-2/ses-1/anat/sub-2_ses-1_run-1_T1w.nii.gz",
            "ADNI/002_S_02951/MPR/x.nii",
            "",
        ] {
            assert!(!list.is_named_in(Path::new(path)), "{path}");
        }
    }

    #[test]
    fn a_missing_list_is_an_error() {
        assert!(ParticipantList::read(&[PathBuf::from("/nowhere/w.csv")]).is_err());
    }

    #[test]
    fn of_several_ukb_lists_the_newest_is_taken() {
        let root = Path::new("/r");
        let files = [
            "w9_20230101.csv",
            "w9_20240612.csv",
            "w9_2024.csv",
            "Withdrawn.csv",
            "a/b/c/withdrawn.csv",
        ];
        let files: Vec<_> = files.map(|name| root.join(name)).into();
        let found = usual_lists(&files, root);
        assert_eq!(
            found,
            [root.join("Withdrawn.csv"), root.join("w9_20240612.csv")]
        );
    }
}
