//! `qc_review.csv`: what a person said of each scan. The viewer writes it; whoever trains reads it.
//!
//! ```text
//! scan,name,verdict,comment
//! /data/sub-01/anat/sub-01_T1w.nii.gz,sub-01,accept,
//! /data/sub-02/anat/sub-02_T1w.nii.gz,sub-02,reject,moved
//! ```
//! `scan` is the scan's whole path; a path that is not whole begins at the table's folder. `name` is there to be read,
//! `verdict` is `accept`, `reject`, or empty where there is only a comment. One row a scan. `name` and `comment` may be
//! missing from a table that was written by hand, and further columns are passed over.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use csv::StringRecord;

/// The table's usual name.
pub const REVIEW_FILE: &str = "qc_review.csv";

/// What a person said of a scan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// To be used.
    Accept,
    /// Not to be used.
    Reject,
}

/// A verdict with its reason.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Judgment {
    /// `None` where there is only a comment.
    pub verdict: Option<Verdict>,
    /// Anything.
    pub comment: String,
}

/// All judgments, by the whole paths of their scans.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReviewTable {
    rows: BTreeMap<PathBuf, Row>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Row {
    name: String,
    judgment: Judgment,
}

/// Why a table of judgments cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReviewError {
    /// The system does not give the file.
    #[error("judgments cannot be read ({source}): `{}`", path.display())]
    Read {
        /// The table.
        path: PathBuf,
        /// What the system answered.
        source: io::Error,
    },
    /// It is no table of judgments.
    #[error("{problem} (line {line}): `{}`", path.display())]
    Content {
        /// What is wrong: found, and expected.
        problem: String,
        /// Line, from 1.
        line: u64,
        /// The table.
        path: PathBuf,
    },
}

impl ReviewError {
    /// What to do about it, where there is something.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Read { .. } => None,
            Self::Content { .. } => Some(
                "mend that line, or move the table away: the viewer writes a new one (scan,name,verdict,comment)",
            ),
        }
    }
}

impl Verdict {
    fn word(self) -> &'static str {
        match self {
            Self::Accept => "accept",
            Self::Reject => "reject",
        }
    }
}

/// Where the columns of a table are.
struct Columns {
    scan: usize,
    name: Option<usize>,
    verdict: usize,
    comment: Option<usize>,
}

impl ReviewTable {
    /// Reads a table.
    ///
    /// # Errors
    /// [`ReviewError::Read`] where there is none, [`ReviewError::Content`] with the line that cannot be understood.
    pub fn read(path: &Path) -> Result<Self, ReviewError> {
        let bytes = fs_err::read(path).map_err(|error| ReviewError::Read {
            path: path.to_path_buf(),
            // The text names the file anyway.
            source: error.kind().into(),
        })?;
        Self::parse(&bytes, path)
    }

    /// As [`ReviewTable::read`]; without a file, no judgments.
    ///
    /// # Errors
    /// As [`ReviewTable::read`], but for a file that is not there.
    pub fn read_if_there(path: &Path) -> Result<Self, ReviewError> {
        match Self::read(path) {
            Err(ReviewError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                Ok(Self::default())
            }
            read => read,
        }
    }

    fn parse(bytes: &[u8], path: &Path) -> Result<Self, ReviewError> {
        let refuse = |at: Option<&csv::Position>, problem: String| ReviewError::Content {
            problem,
            line: line_at(bytes, at),
            path: path.to_path_buf(),
        };
        let broken = |error: &csv::Error| {
            let problem = match error.kind() {
                csv::ErrorKind::Utf8 { .. } => "text is not UTF-8".to_owned(),
                _ => format!("no table ({error})"),
            };
            refuse(error.position(), problem)
        };
        // A row with fewer fields than the heading is told below, with its line.
        let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(bytes);
        let heading = reader.headers().map_err(|error| broken(&error))?;
        let columns = Columns::of(heading).map_err(|problem| refuse(None, problem))?;
        let folder = path.parent().unwrap_or(Path::new(""));
        let mut table = Self::default();
        let mut places: BTreeMap<PathBuf, Option<csv::Position>> = BTreeMap::new();
        for record in reader.records() {
            let record = record.map_err(|error| broken(&error))?;
            let at = record.position();
            let (scan, row) = columns
                .row(&record)
                .map_err(|problem| refuse(at, problem))?;
            let scan = whole(&folder.join(scan));
            if let Some(before) = table.rows.get(&scan)
                && before.judgment.verdict != row.judgment.verdict
            {
                let first = places.get(&scan).and_then(Option::as_ref);
                let first = line_at(bytes, first);
                let problem = format!("a scan is judged otherwise than on line {first}");
                return Err(refuse(at, problem));
            }
            places.insert(scan.clone(), at.cloned());
            table.rows.insert(scan, row);
        }
        Ok(table)
    }

    /// What was said of a scan.
    pub fn of(&self, scan: &Path) -> Judgment {
        let row = self.rows.get(&whole(scan));
        row.map(|row| row.judgment.clone()).unwrap_or_default()
    }

    /// Says it; `name` is how the scan is called.
    pub fn set(&mut self, scan: &Path, name: &str, judgment: Judgment) {
        let scan = whole(scan);
        if judgment == Judgment::default() {
            self.rows.remove(&scan);
        } else {
            let name = name.to_owned();
            self.rows.insert(scan, Row { name, judgment });
        }
    }

    /// The scans that are not to be used, each with the comment on it, by path.
    pub fn rejected(&self) -> impl Iterator<Item = (&Path, &str)> {
        let rejected = self.rows.iter().filter(|(_, row)| row.is_rejected());
        rejected.map(|(scan, row)| (scan.as_path(), row.judgment.comment.as_str()))
    }

    /// Forgets what was said of all scans but those to be kept; answers how many were forgotten.
    pub fn keep(&mut self, is_kept: impl Fn(&Path) -> bool) -> usize {
        let n_before = self.rows.len();
        self.rows.retain(|scan, _| is_kept(scan));
        n_before - self.rows.len()
    }

    /// The table as text.
    ///
    /// # Errors
    /// A sentence where a row cannot be written.
    pub fn to_csv(&self) -> Result<Vec<u8>, String> {
        let written = |error: csv::Error| error.to_string();
        let mut table = csv::Writer::from_writer(Vec::new());
        table
            .write_record(["scan", "name", "verdict", "comment"])
            .map_err(written)?;
        for (scan, Row { name, judgment }) in &self.rows {
            let scan = scan.display().to_string();
            let verdict = judgment.verdict.map_or("", Verdict::word);
            table
                .write_record([&scan, name, verdict, &judgment.comment])
                .map_err(written)?;
        }
        table.into_inner().map_err(|error| error.to_string())
    }
}

impl Row {
    fn is_rejected(&self) -> bool {
        self.judgment.verdict == Some(Verdict::Reject)
    }
}

impl Columns {
    fn of(heading: &StringRecord) -> Result<Self, String> {
        let find = |name: &str| {
            let mut names = heading.iter();
            names.position(|found| {
                found
                    .trim_matches(['\u{feff}', ' '])
                    .eq_ignore_ascii_case(name)
            })
        };
        let needed = |name: &str| {
            find(name).ok_or_else(|| {
                format!("no column `{name}`, expected the heading `scan,name,verdict,comment`")
            })
        };
        Ok(Self {
            scan: needed("scan")?,
            name: find("name"),
            verdict: needed("verdict")?,
            comment: find("comment"),
        })
    }

    fn row<'a>(&self, record: &'a StringRecord) -> Result<(&'a str, Row), String> {
        let field = |column: Option<usize>| column.and_then(|column| record.get(column));
        let scan = field(Some(self.scan)).unwrap_or_default();
        if scan.is_empty() {
            return Err("no scan is named".to_owned());
        }
        let Some(word) = field(Some(self.verdict)) else {
            return Err("no verdict, expected `accept`, `reject` or an empty field".to_owned());
        };
        let verdict = match word.trim().to_ascii_lowercase().as_str() {
            "accept" => Some(Verdict::Accept),
            "reject" => Some(Verdict::Reject),
            "" => None,
            _ => {
                return Err(format!(
                    "verdict `{word}`, expected `accept`, `reject` or an empty field"
                ));
            }
        };
        let text = |column| field(column).unwrap_or_default().to_owned();
        let judgment = Judgment {
            verdict,
            comment: text(self.comment),
        };
        let name = text(self.name);
        Ok((scan, Row { name, judgment }))
    }
}

/// The line on which a record begins. The reader's own count is one too low after `\r\n` and after empty lines.
fn line_at(bytes: &[u8], at: Option<&csv::Position>) -> u64 {
    let begin = at.map_or(0, |at| at.byte() as usize).min(bytes.len());
    let (before, rest) = bytes.split_at(begin);
    let ends = rest.iter().take_while(|byte| matches!(byte, b'\r' | b'\n'));
    1 + before
        .iter()
        .chain(ends)
        .filter(|byte| **byte == b'\n')
        .count() as u64
}

/// A scan's whole path: the same from every working directory.
fn whole(scan: &Path) -> PathBuf {
    std::path::absolute(scan).unwrap_or_else(|_| scan.to_path_buf())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<ReviewTable, ReviewError> {
        ReviewTable::parse(text.as_bytes(), Path::new("/study/qc_review.csv"))
    }

    fn judged(verdict: Option<Verdict>, comment: &str) -> Judgment {
        let comment = comment.into();
        Judgment { verdict, comment }
    }

    #[test]
    fn a_table_reads_back_as_it_was_written_whatever_the_comments_hold() {
        let mut table = ReviewTable::default();
        let comment = "moved, \"ringing\"\nand more";
        for (scan, judgment) in [
            ("/s/a b.nii", judged(Some(Verdict::Accept), "")),
            ("/s/b.nii", judged(Some(Verdict::Reject), comment)),
            ("/s/c.nii", judged(None, "look again, ö")),
        ] {
            table.set(Path::new(scan), "name, too", judgment);
        }
        let text = String::from_utf8(table.to_csv().unwrap()).unwrap();
        assert!(
            text.starts_with("scan,name,verdict,comment\n/s/a b.nii,\"name, too\",accept,\n"),
            "{text}"
        );
        assert_eq!(parse(&text).unwrap(), table);
        let rejected: Vec<_> = table.rejected().collect();
        assert_eq!(rejected, [(Path::new("/s/b.nii"), comment)]);
        table.set(Path::new("/s/b.nii"), "", Judgment::default());
        assert_eq!(table.rejected().count(), 0);
        assert_eq!(table.keep(|scan| scan == Path::new("/s/c.nii")), 1);
        assert_eq!(table.of(Path::new("/s/c.nii")).comment, "look again, ö");
    }

    #[test]
    fn a_table_written_by_hand_may_have_few_columns_and_paths_relative_to_its_folder() {
        let table = parse("\u{feff}verdict,scan,rater\nReject,raw/a.nii,me\naccept,/b.nii,me\n");
        let table = table.unwrap();
        let of = |scan: &str| table.of(Path::new(scan)).verdict;
        assert_eq!(of("/study/raw/a.nii"), Some(Verdict::Reject));
        assert_eq!(of("/b.nii"), Some(Verdict::Accept));
        assert_eq!(of("/study/raw/c.nii"), None);
    }

    #[test]
    fn what_cannot_be_understood_is_refused_with_file_and_line() {
        for (text, line, problem) in [
            ("", 1, "no column `scan`"),
            ("scan,comment\n", 1, "no column `verdict`"),
            (
                "scan,verdict\na,accept\nb,perhaps\n",
                3,
                "verdict `perhaps`",
            ),
            ("scan,verdict\n,reject\n", 2, "no scan is named"),
            ("scan,verdict\na\n", 2, "no verdict"),
            (
                "scan,verdict\r\n\r\na,accept\r\nb,no\r\n",
                4,
                "verdict `no`",
            ),
            (
                "scan,verdict\na,accept\n\n\na,reject\n",
                5,
                "than on line 2",
            ),
        ] {
            let error = parse(text).unwrap_err();
            let said = error.to_string();
            let place = format!("(line {line}): `/study/qc_review.csv`");
            assert!(said.contains(problem) && said.ends_with(&place), "{said}");
            assert!(error.hint().is_some());
        }
        let bytes = b"scan,verdict\na,accept\n\xff,reject\n";
        let said = ReviewTable::parse(bytes, Path::new("r.csv")).unwrap_err();
        assert!(said.to_string().contains("(line 3): `r.csv`"), "{said}");
    }

    #[test]
    fn a_missing_table_is_named_unless_there_need_be_none() {
        let path = Path::new("/nowhere/qc_review.csv");
        let said = ReviewTable::read(path).unwrap_err().to_string();
        assert!(said.starts_with("judgments cannot be read"), "{said}");
        assert!(said.ends_with(": `/nowhere/qc_review.csv`"), "{said}");
        assert_eq!(
            ReviewTable::read_if_there(path).unwrap(),
            ReviewTable::default()
        );
        // A folder is there, but no table.
        let folder = tempfile::tempdir().unwrap();
        assert!(ReviewTable::read_if_there(folder.path()).is_err());
    }
}
