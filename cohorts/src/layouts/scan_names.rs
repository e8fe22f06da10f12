//! Scans of a folder by their file names, for tables that do not name them.

use std::path::PathBuf;

use crate::files::{Files, nifti_stem};
use crate::people::comparable_session;

/// What a file's name says about its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NameKind {
    T1,
    Plain,
    Other,
}

impl NameKind {
    fn of(stem: &str) -> Self {
        const OTHER: [&str; 22] = [
            "mask",
            "brainmask",
            "seg",
            "dseg",
            "aseg",
            "label",
            "labels",
            "dlmuse",
            "muse",
            "probseg",
            "brain",
            "t2",
            "t2w",
            "flair",
            "pd",
            "pdw",
            "mra",
            "dti",
            "dwi",
            "bold",
            "t2star",
            "swi",
        ];
        let parts: Vec<_> = stem
            .split(|c: char| !c.is_alphanumeric())
            .map(str::to_lowercase)
            .collect();
        let any = |words: &[&str]| parts.iter().any(|part| words.contains(&part.as_str()));
        if any(&OTHER) {
            Self::Other
        } else if any(&["t1", "t1w", "mprage", "spgr"]) {
            Self::T1
        } else {
            Self::Plain
        }
    }
}

/// A scan by its name.
#[derive(Debug)]
pub(super) struct NamedScan {
    stem: String,
    pub(super) kind: NameKind,
    pub(super) path: PathBuf,
    pub(super) taken: bool,
}

/// The scans of the folder by name, sorted, so that a prefix is found quickly.
pub(super) struct ScanNames {
    pub(super) scans: Vec<NamedScan>,
}

impl ScanNames {
    pub(super) fn new(files: &Files) -> Self {
        let scans = files.paths.iter().filter_map(|path| {
            let stem = nifti_stem(path)?;
            let stem = stem.strip_prefix("sub-").unwrap_or(stem).to_owned();
            Some(NamedScan {
                kind: NameKind::of(&stem),
                stem,
                path: path.clone(),
                taken: false,
            })
        });
        let mut scans: Vec<_> = scans.collect();
        scans.sort_by(|a, b| (&a.stem, &a.path).cmp(&(&b.stem, &b.path)));
        Self { scans }
    }

    /// Scans whose name begins with the id (and names the visit, if that leaves any); T1 before unnamed contrasts.
    pub(super) fn of(&mut self, id: &str, session: Option<&str>) -> Vec<PathBuf> {
        let start = self.scans.partition_point(|scan| scan.stem.as_str() < id);
        let after = self.scans.iter_mut().skip(start);
        let mut matching: Vec<_> = after
            .take_while(|scan| scan.stem.starts_with(id))
            .filter(|scan| {
                let rest = scan.stem.strip_prefix(id).unwrap_or_default();
                !rest.starts_with(char::is_alphanumeric) && scan.kind != NameKind::Other
            })
            .collect();
        for scan in &mut matching {
            scan.taken = true;
        }
        if let Some(session) = session {
            let names_visit = |scan: &NamedScan| {
                let mut parts = scan.stem.split(['_', '.']);
                parts.any(|part| comparable_session(part) == session)
            };
            if matching.iter().any(|scan| names_visit(scan)) {
                matching.retain(|scan| names_visit(scan));
            }
        }
        if matching.iter().any(|scan| scan.kind == NameKind::T1) {
            matching.retain(|scan| scan.kind == NameKind::T1);
        }
        matching.iter().map(|scan| scan.path.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_ends_where_letters_and_digits_end_and_a_visit_narrows_the_choice() {
        let paths = [
            "/r/s1_ses-2_T1w.nii",
            "/r/s1_ses-3_T1w.nii",
            "/r/s1_ses-3_T2w.nii",
            "/r/s10_T1w.nii",
        ];
        let files = Files {
            paths: paths.map(PathBuf::from).into(),
            ..Files::default()
        };
        let mut names = ScanNames::new(&files);
        assert_eq!(
            names.of("s1", None),
            [PathBuf::from(paths[0]), paths[1].into()]
        );
        assert_eq!(names.of("s1", Some("3")), [PathBuf::from(paths[1])]);
        assert_eq!(names.of("s10", Some("3")), [PathBuf::from(paths[3])]);
        assert_eq!(names.of("s", None), Vec::<PathBuf>::new());
    }
}
