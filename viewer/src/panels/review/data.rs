//! The walk through the scans that are to be judged.
//!
//! The table of judgments ([`crate::review`]) is written whole after each of them, so that judging can be interrupted at
//! any time and goes on where it was.

use std::path::{Path, PathBuf};

use crate::review::{Judgment, ReviewTable};
use crate::subject::Subject;

/// All judgments, with the file that keeps them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Review {
    /// Where the table is; `None` where nothing is kept.
    pub(crate) path: Option<PathBuf>,
    table: ReviewTable,
}

impl Review {
    /// Reads the table, if there is one.
    ///
    /// # Errors
    /// A sentence where it cannot be read; it is then not written over.
    pub(crate) fn open(path: PathBuf) -> Result<Self, String> {
        let table = ReviewTable::read_if_there(&path).map_err(|error| error.to_string())?;
        let path = Some(path);
        Ok(Self { path, table })
    }

    /// What was said of a scan.
    pub(crate) fn of(&self, scan: &Path) -> Judgment {
        self.table.of(scan)
    }

    /// Says it.
    pub(crate) fn set(&mut self, subject: &Subject, judgment: Judgment) {
        self.table.set(&subject.path, &subject.name, judgment);
    }

    /// The table as text.
    ///
    /// # Errors
    /// A sentence where a row cannot be written.
    pub(crate) fn csv(&self) -> Result<Vec<u8>, String> {
        self.table.to_csv()
    }

    /// How many of these rows have a verdict.
    pub(crate) fn n_judged(&self, subjects: &[Subject], rows: &[usize]) -> usize {
        rows.iter()
            .filter(|row| self.is_judged(subjects, **row))
            .count()
    }

    /// The next row without a verdict after `selected`, from the beginning again at the end; `None` where all have one.
    pub(crate) fn next(
        &self,
        subjects: &[Subject],
        rows: &[usize],
        selected: usize,
    ) -> Option<usize> {
        let at = rows.iter().position(|row| *row == selected);
        let begin = at.map_or(0, |at| at + 1);
        let (before, after) = rows.split_at(begin.min(rows.len()));
        let mut queue = after.iter().chain(before);
        queue.find(|row| !self.is_judged(subjects, **row)).copied()
    }

    fn is_judged(&self, subjects: &[Subject], row: usize) -> bool {
        let subject = subjects.get(row);
        subject.is_some_and(|subject| self.of(&subject.path).verdict.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::review::Verdict;

    #[test]
    fn judgments_are_there_the_next_time_and_the_walk_goes_on_with_what_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("qc_review.csv");
        let mut review = Review::open(path.clone()).unwrap();
        let scans = ["/s/a.nii", "/s/b.nii", "/s/c.nii"];
        let subjects = scans.map(|scan| Subject::from_path(scan.into()));
        for (subject, verdict) in subjects.iter().zip([Verdict::Accept, Verdict::Reject]) {
            let judgment = Judgment {
                verdict: Some(verdict),
                comment: "moved".into(),
            };
            review.set(subject, judgment);
        }
        fs_err::write(&path, review.csv().unwrap()).unwrap();
        let again = Review::open(path).unwrap();
        assert_eq!(again.of(Path::new("/s/b.nii")).comment, "moved");
        assert_eq!(again.next(&subjects, &[0, 1, 2], 0), Some(2));
        let from_the_beginning = again.next(&subjects, &[2, 1, 0], 1);
        assert_eq!(from_the_beginning, Some(2));
        assert_eq!(again.next(&subjects, &[0, 1], 0), None);
        assert_eq!(again.n_judged(&subjects, &[0, 1, 2]), 2);
    }

    #[test]
    fn a_table_that_cannot_be_understood_is_refused_with_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("qc_review.csv");
        fs_err::write(&path, "scan,name,verdict,comment\na,b,perhaps,\n").unwrap();
        assert!(Review::open(path).unwrap_err().contains("qc_review.csv"));
    }
}
