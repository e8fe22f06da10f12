//! What can go wrong between a cohort's folder and the index.

use std::io;
use std::path::{Path, PathBuf};

/// Why a cohort, a table or an index cannot be used.
///
/// A single scan or table row never ends in an error: it is skipped with a counted reason.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The cohort's folder is not there.
    #[error("cohort `{cohort}` has no folder: `{}`", shown(root))]
    MissingRoot {
        /// The cohort's name.
        cohort: String,
        /// Where its folder should be.
        root: PathBuf,
    },
    /// No file shows how the folder is laid out.
    #[error(
        "layout is not recognized, no file has a name that a layout knows: `{}`",
        shown(root)
    )]
    LayoutUnknown {
        /// The cohort's folder.
        root: PathBuf,
    },
    /// Files show several layouts.
    #[error("layout is ambiguous ({seen}): `{}`", shown(root))]
    LayoutAmbiguous {
        /// What was seen of each layout.
        seen: String,
        /// The cohort's folder.
        root: PathBuf,
    },
    /// Neither named nor found: a table with ages.
    #[error("no table with ages found, expected {expected}: `{}`", shown(root))]
    NoDemographics {
        /// What the layout looks for.
        expected: &'static str,
        /// The cohort's folder.
        root: PathBuf,
    },
    /// A table without ages.
    #[error("no age column, expected {expected}, found {found}: `{}`", shown(path))]
    NoAgeColumn {
        /// Names the layout knows.
        expected: &'static str,
        /// The columns of the table.
        found: String,
        /// The table.
        path: PathBuf,
    },
    /// A table that does not say whom its rows are about.
    #[error(
        "no participant column, expected {expected}, found {found}: `{}`",
        shown(path)
    )]
    NoParticipantColumn {
        /// Names the layout knows.
        expected: &'static str,
        /// The columns of the table.
        found: String,
        /// The table.
        path: PathBuf,
    },
    /// A file that is no delimited text.
    #[error("{problem}, expected a CSV or TSV table: `{}`", shown(path))]
    NotATable {
        /// What it is instead.
        problem: &'static str,
        /// The file.
        path: PathBuf,
    },
    /// A table that breaks off or is malformed.
    #[error("table is malformed: `{}`", shown(path))]
    Table {
        /// The table.
        path: PathBuf,
        /// What the parser found.
        source: csv::Error,
    },
    /// An index whose columns are not the index's.
    #[error(
        "index has columns `{found}`, expected `{expected}`: `{}`",
        shown(path)
    )]
    IndexColumns {
        /// Its columns.
        found: String,
        /// What they must be.
        expected: String,
        /// The index.
        path: PathBuf,
    },
    /// A cell of an index that cannot be understood.
    #[error("{source} (line {line}, column `{column}`): `{}`", shown(path))]
    IndexCell {
        /// Line in the file, from 1.
        line: u64,
        /// The column's name.
        column: &'static str,
        /// The index.
        path: PathBuf,
        /// What is wrong with the cell.
        source: ValueError,
    },
    /// A value that is none of those there are.
    #[error(transparent)]
    Value(#[from] ValueError),
    /// Shares of the splits that leave nothing to train on.
    #[error(
        "split fractions are {validation} (validation) and {test} (test), \
         expected each at least 0 and their sum below 1"
    )]
    Fractions {
        /// Share of validation.
        validation: f64,
        /// Share of test.
        test: f64,
    },
    /// A cohort that is to be left out has nothing in the index.
    #[error("no scan of cohort `{name}` in the index, expected one of {expected}")]
    UnknownCohort {
        /// The cohort asked for.
        name: String,
        /// The cohorts there are.
        expected: String,
    },
    /// One participant, family or scan in more than one split.
    #[error(
        "{what} of participant `{participant}` (cohort `{cohort}`) is in splits {splits}, expected one"
    )]
    Leakage {
        /// What is shared between the splits: "the group", "a scan" or "the data".
        what: &'static str,
        /// The cohort.
        cohort: String,
        /// A participant concerned.
        participant: String,
        /// The splits.
        splits: String,
    },
    /// The file system refused.
    #[error("{what} failed: `{}`", shown(path))]
    Io {
        /// What was being done, e.g. "reading the table".
        what: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system answered.
        source: io::Error,
    },
}

/// A text or number that is not the value it stands for.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{what} is `{found}`, expected {expected}")]
pub struct ValueError {
    /// Which kind of value.
    pub what: &'static str,
    /// What was found.
    pub found: String,
    /// What it can be.
    pub expected: &'static str,
}

impl Error {
    /// What the user can do about it, where there is something.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::MissingRoot { .. } => Some(
                "correct `root` of this cohort in the project file, or mount the disk it is on",
            ),
            Self::LayoutUnknown { .. } => Some(
                "name the layout of this cohort, or use `table` with a table of scans and ages",
            ),
            Self::LayoutAmbiguous { .. } => Some(
                "make each of them a cohort of its own with its folder as `root`, or name the layout",
            ),
            Self::NoDemographics { .. } => {
                Some("name the table in `demographics` of this cohort in the project file")
            }
            Self::NoAgeColumn { .. } => Some(
                "rename the column with the age at the scan, or name another table in `demographics`",
            ),
            Self::NoParticipantColumn { .. } => {
                Some("rename the column with the participant's id, or name another table")
            }
            Self::NotATable { problem, .. } if problem.contains("encrypted") => {
                Some("decrypt it, then convert it with `ukbconv FILE.enc_ukb csv`")
            }
            Self::NotATable { .. } => Some("export the table as CSV in UTF-8"),
            Self::IndexColumns { .. } => Some("make the index again with `brainage index`"),
            Self::Leakage { .. } => Some("assign the splits again, by participant or family"),
            _ => None,
        }
    }

    /// Names the file that the system refused.
    pub(crate) fn io(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io { what, path, source }
    }

    /// Names the table that cannot be parsed.
    pub(crate) fn table(path: &Path) -> impl FnOnce(csv::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Table { path, source }
    }
}

/// A path on one line, whatever its characters.
#[expect(
    clippy::unnecessary_debug_formatting,
    reason = "line breaks in names are escaped"
)]
pub(crate) fn shown(path: &Path) -> String {
    let quoted = format!("{path:?}");
    let bare = quoted
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'));
    bare.unwrap_or(&quoted).to_owned()
}
