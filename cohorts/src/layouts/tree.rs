//! Small cohort folders for the layouts' tests: every scan is a text that is no pointer.

use std::path::{Path, PathBuf};

use crate::{Cohort, CohortListing, Criteria, Error, Layout, list_cohort};

pub(crate) struct Tree {
    folder: tempfile::TempDir,
}

impl Tree {
    pub(crate) fn new(scans: &[&str], tables: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let tree = Self { folder };
        for scan in scans {
            tree.write(scan, "not an image");
        }
        for (name, text) in tables {
            tree.write(name, text);
        }
        tree
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(path, text).unwrap();
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn list(&self, layout: Layout) -> Result<CohortListing, Error> {
        list_cohort(&cohort(layout, self.folder.path()))
    }

    /// `participant session age sex scan` of each row, the scan relative to the root.
    pub(crate) fn rows(&self, listing: &CohortListing) -> Vec<String> {
        let rows = listing.rows.iter().map(|row| {
            let scan = row.scan.strip_prefix(self.folder.path()).unwrap();
            let session = row
                .session_id
                .as_ref()
                .map_or("-", crate::SessionId::as_str);
            format!(
                "{} {session} {} {} {}",
                row.participant_id,
                row.age_years,
                row.sex,
                scan.display()
            )
        });
        rows.collect()
    }
}

pub(crate) fn cohort(layout: Layout, root: &Path) -> Cohort {
    Cohort {
        name: layout.name().to_owned(),
        layout: layout.into(),
        root: root.to_path_buf(),
        demographics: Vec::new(),
        withdrawals: Vec::new(),
        criteria: Criteria::default(),
    }
}

/// `reason=n` of each reason, sorted.
pub(crate) fn skipped(listing: &CohortListing) -> Vec<String> {
    listing
        .skipped
        .iter()
        .map(|(reason, n)| format!("{reason}={n}"))
        .collect()
}
