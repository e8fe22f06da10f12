//! `qc_review.csv`: what a person said of each scan.
//!
//! ```text
//! scan,name,verdict,comment
//! ```
//! `verdict` is `accept` or `reject`, or empty where there is only a comment. One row a scan, by the scan's path. The
//! table is written whole after each judgment, so that judging can be interrupted at any time and goes on where it was.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::subject::Subject;

/// What a person said of a scan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Verdict {
    /// To be used.
    Accept,
    /// Not to be used.
    Reject,
}

/// A verdict with its reason.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Judgment {
    /// `None` where there is only a comment.
    pub(crate) verdict: Option<Verdict>,
    /// Anything.
    pub(crate) comment: String,
}

#[derive(Serialize, Deserialize)]
struct Row {
    scan: String,
    name: String,
    verdict: Option<Verdict>,
    comment: String,
}

/// All judgments, with the file that keeps them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Review {
    /// Where the table is; `None` where nothing is kept.
    pub(crate) path: Option<PathBuf>,
    judgments: BTreeMap<String, (String, Judgment)>,
}

impl Review {
    /// Reads the table, if there is one.
    ///
    /// # Errors
    /// A sentence where it cannot be read; it is then not written over.
    pub(crate) fn open(path: PathBuf) -> Result<Self, String> {
        let bytes = match fs_err::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(format!("judgments cannot be read: {error}")),
        };
        let mut judgments = BTreeMap::new();
        for row in csv::Reader::from_reader(bytes.as_slice()).into_deserialize() {
            let row: Row = row.map_err(|error| {
                format!(
                    "judgments cannot be understood ({error}): `{}`",
                    path.display()
                )
            })?;
            let judgment = Judgment {
                verdict: row.verdict,
                comment: row.comment,
            };
            judgments.insert(row.scan, (row.name, judgment));
        }
        Ok(Self {
            path: Some(path),
            judgments,
        })
    }

    /// What was said of a scan.
    pub(crate) fn of(&self, scan: &Path) -> Judgment {
        let known = self.judgments.get(&key(scan));
        known
            .map(|(_, judgment)| judgment.clone())
            .unwrap_or_default()
    }

    /// Says it.
    pub(crate) fn set(&mut self, subject: &Subject, judgment: Judgment) {
        let scan = key(&subject.path);
        if judgment == Judgment::default() {
            self.judgments.remove(&scan);
        } else {
            self.judgments
                .insert(scan, (subject.name.clone(), judgment));
        }
    }

    /// The table.
    ///
    /// # Errors
    /// A sentence where a row cannot be written.
    pub(crate) fn csv(&self) -> Result<Vec<u8>, String> {
        let mut table = csv::Writer::from_writer(Vec::new());
        for (scan, (name, judgment)) in &self.judgments {
            let row = Row {
                scan: scan.clone(),
                name: name.clone(),
                verdict: judgment.verdict,
                comment: judgment.comment.clone(),
            };
            table.serialize(row).map_err(|error| error.to_string())?;
        }
        table.into_inner().map_err(|error| error.to_string())
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

/// A scan's path as the table has it: whole, so that it is the same from every working directory.
fn key(scan: &Path) -> String {
    let whole = std::path::absolute(scan);
    whole
        .unwrap_or_else(|_| scan.to_path_buf())
        .display()
        .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subjects() -> Vec<Subject> {
        let paths = ["/s/a.nii", "/s/b.nii", "/s/c.nii"];
        paths.map(|path| Subject::from_path(path.into())).to_vec()
    }

    fn judged(verdict: Verdict, comment: &str) -> Judgment {
        Judgment {
            verdict: Some(verdict),
            comment: comment.into(),
        }
    }

    #[test]
    fn judgments_are_there_the_next_time_and_the_walk_goes_on_with_what_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("qc_review.csv");
        let mut review = Review::open(path.clone()).unwrap();
        let subjects = subjects();
        review.set(&subjects[0], judged(Verdict::Accept, ""));
        review.set(&subjects[1], judged(Verdict::Reject, "moved, \"ringing\""));
        fs_err::write(&path, review.csv().unwrap()).unwrap();
        let text = fs_err::read_to_string(&path).unwrap();
        assert!(
            text.starts_with("scan,name,verdict,comment\n/s/a.nii,a,accept,\n"),
            "{text}"
        );
        let again = Review::open(path).unwrap();
        assert_eq!(
            again.of(Path::new("/s/b.nii")).comment,
            "moved, \"ringing\""
        );
        assert_eq!(again.next(&subjects, &[0, 1, 2], 0), Some(2));
        assert_eq!(
            again.next(&subjects, &[2, 1, 0], 1),
            Some(2),
            "from the beginning again"
        );
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
