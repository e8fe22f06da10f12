//! Scans that a person rejected in the viewer: left out by `index`, `preprocess --cohorts` and `train`, named by `report`.
//!
//! Their table is the one of `--review`, else `qc_review.csv` beside the project file, where the viewer writes it. What a
//! person accepted is not taken for that alone: quality control still has its say.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use brainage_cohorts::CohortListing;
use brainage_viewer::review::{REVIEW_FILE, ReviewTable};

use super::Context;

/// Rejected scans that are named in a listing, as there are of other reasons.
const EXAMPLES: usize = 3;

/// The scans that a person rejected.
#[derive(Clone, Debug, Default)]
pub(super) struct Rejected {
    /// Where it is said; `None` without a table.
    table: Option<PathBuf>,
    /// Whole path → why.
    reasons: BTreeMap<PathBuf, String>,
}

/// Where the judgments of a project are kept; `None` where there is no project.
///
/// # Errors
/// Where the project file cannot be understood.
pub(super) fn project_review(context: &Context) -> anyhow::Result<Option<PathBuf>> {
    let project = context.project()?;
    let folder = project.as_ref().and_then(|project| project.path.parent());
    Ok(folder.map(|folder| folder.join(REVIEW_FILE)))
}

impl Rejected {
    /// Those of the table that was named, which must be there; else those of the project's, which need not.
    ///
    /// # Errors
    /// Where the table is missing although named, or cannot be understood.
    pub(super) fn read(named: Option<&Path>, context: &Context) -> anyhow::Result<Self> {
        if let Some(named) = named {
            return Ok(Self::of(named, &ReviewTable::read(named)?));
        }
        match project_review(context)?.filter(|table| table.is_file()) {
            Some(table) => Ok(Self::of(&table, &ReviewTable::read(&table)?)),
            None => Ok(Self::default()),
        }
    }

    /// Those of a table that need not be there.
    ///
    /// # Errors
    /// Where it cannot be understood.
    pub(super) fn read_if_there(table: &Path) -> anyhow::Result<Self> {
        Ok(Self::of(table, &ReviewTable::read_if_there(table)?))
    }

    fn of(table: &Path, judgments: &ReviewTable) -> Self {
        let reason = |(scan, comment): (&Path, &str)| (scan.to_path_buf(), reason_of(comment));
        Self {
            table: Some(table.to_path_buf()),
            reasons: judgments.rejected().map(reason).collect(),
        }
    }

    /// Why a scan was rejected; `None` where it was not.
    pub(super) fn reason(&self, scan: &Path) -> Option<&str> {
        if self.reasons.is_empty() {
            return None;
        }
        let whole = std::path::absolute(scan).ok();
        let reason = self.reasons.get(whole.as_deref().unwrap_or(scan));
        reason.map(String::as_str)
    }

    /// Moves the rejected scans of a cohort from its rows to what was skipped, each under its reason; answers how many.
    pub(super) fn leave_out_of(&self, listing: &mut CohortListing) -> usize {
        let n_before = listing.rows.len();
        let (skipped, examples) = (&mut listing.skipped, &mut listing.skipped_examples);
        listing.rows.retain(|row| {
            let Some(reason) = self.reason(&row.scan) else {
                return true;
            };
            *skipped.entry(reason.to_owned()).or_default() += 1;
            let named = examples.entry(reason.to_owned()).or_default();
            if named.len() < EXAMPLES {
                named.push(row.scan.display().to_string());
            }
            false
        });
        n_before - listing.rows.len()
    }

    /// What is said of `n_left_out` scans that were left out; nothing where there is no table or it rejects none.
    ///
    /// Judgments go by path: where a folder was moved, they find no scan any more, which must not pass unnoticed.
    pub(super) fn summary(&self, n_left_out: usize) -> Option<String> {
        let table = self.table.as_ref()?;
        let n = self.reasons.len();
        (n > 0).then(|| {
            let table = table.display();
            format!("{n_left_out} scans of these cohorts left out, of {n} rejected in `{table}`")
        })
    }
}

/// The reason as tables and reports say it, on one line.
fn reason_of(comment: &str) -> String {
    let words: Vec<&str> = comment.split_whitespace().collect();
    match words.join(" ") {
        comment if comment.is_empty() => "rejected in review".to_owned(),
        comment => format!("rejected in review: {comment}"),
    }
}

#[cfg(test)]
mod tests {
    use brainage_cohorts::{Cohort, Criteria, LayoutChoice, list_cohort};

    use super::*;

    /// Four scans of a BIDS cohort, as they are listed.
    fn listing(root: &Path) -> CohortListing {
        for i in 1..=4 {
            let folder = root.join(format!("sub-{i}/anat"));
            fs_err::create_dir_all(&folder).unwrap();
            fs_err::write(folder.join(format!("sub-{i}_T1w.nii")), "x").unwrap();
        }
        let table = "participant_id\tage\nsub-1\t21\nsub-2\t22\nsub-3\t23\nsub-4\t24\n";
        fs_err::write(root.join("participants.tsv"), table).unwrap();
        let cohort = Cohort {
            name: "heads".to_owned(),
            layout: LayoutChoice::parse("bids").unwrap(),
            root: root.to_path_buf(),
            demographics: Vec::new(),
            withdrawals: Vec::new(),
            criteria: Criteria::default(),
        };
        list_cohort(&cohort).unwrap()
    }

    #[test]
    fn rejected_scans_leave_a_cohort_under_their_reasons_and_all_others_stay() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("heads");
        let table = folder.path().join(REVIEW_FILE);
        let rows = "heads/sub-1/anat/sub-1_T1w.nii,reject,moved\n\
                    heads/sub-2/anat/sub-2_T1w.nii,accept,moved a little\n\
                    heads/sub-3/anat/sub-3_T1w.nii,reject,\"moved,\n or not\"\n\
                    elsewhere/sub-9_T1w.nii,reject,\n";
        fs_err::write(&table, format!("scan,verdict,comment\n{rows}")).unwrap();
        let rejected = Rejected::read_if_there(&table).unwrap();
        let mut listing = listing(&root);
        let n_scans = listing.scans;
        assert_eq!(rejected.leave_out_of(&mut listing), 2);
        let left: Vec<&str> = listing
            .rows
            .iter()
            .map(|row| row.participant_id.as_str())
            .collect();
        assert_eq!(left, ["2", "4"]);
        assert_eq!(listing.scans, n_scans);
        let expected = [
            "rejected in review: moved",
            "rejected in review: moved, or not",
        ];
        for reason in expected {
            assert_eq!(listing.skipped[reason], 1);
            assert!(listing.skipped_examples[reason][0].ends_with("_T1w.nii"));
        }
        let said = rejected.summary(2).unwrap();
        assert!(said.starts_with("2 scans of these cohorts left out, of 3 rejected in `"));
    }

    #[test]
    fn without_a_table_nothing_is_left_out_and_nothing_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let rejected = Rejected::read_if_there(&folder.path().join(REVIEW_FILE)).unwrap();
        let mut listing = listing(folder.path());
        assert_eq!(rejected.leave_out_of(&mut listing), 0);
        assert_eq!((listing.rows.len(), rejected.summary(0)), (4, None));
    }
}
