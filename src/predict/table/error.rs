//! What can be wrong with a table of predictions, and what to do about it.

use std::io;
use std::path::PathBuf;

/// What can be wrong with a table of predictions.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TableError {
    /// The file cannot be read or written; the cause names it.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// No table of predictions: columns are not there.
    #[error("columns {} are missing (line 1): `{}`", missing.join(", "), path.display())]
    MissingColumns {
        /// The table.
        path: PathBuf,
        /// Their names.
        missing: Vec<String>,
    },
    /// A column that is there more than once: which one holds is unknown.
    #[error("column {column} is there twice (line 1): `{}`", path.display())]
    RepeatedColumn {
        /// The table.
        path: PathBuf,
        /// Its name.
        column: String,
    },
    /// A row that is no row, or a table that is no text.
    #[error("{message} (line {line}): `{}`", path.display())]
    Row {
        /// The table.
        path: PathBuf,
        /// From 1.
        line: u64,
        /// What is wrong.
        message: String,
    },
    /// A field that does not hold what its column should.
    #[error("{column}: found {found:?}, expected {expected} (line {line}): `{}`", path.display())]
    Field {
        /// The table.
        path: PathBuf,
        /// From 1.
        line: u64,
        /// Column.
        column: String,
        /// As it stands there.
        found: String,
        /// What should stand there.
        expected: &'static str,
    },
    /// An unfinished table that is CSV where JSON lines are asked for, or the other way round.
    #[error("the unfinished table is of another format: `{}`", path.display())]
    OtherFormat {
        /// The table.
        path: PathBuf,
    },
    /// An unfinished table of a model with another number of blocks.
    #[error("found {found} block columns, expected {expected}: `{}`", path.display())]
    OtherBlocks {
        /// The table.
        path: PathBuf,
        /// In the table.
        found: usize,
        /// Blocks of the model.
        expected: usize,
    },
}

impl TableError {
    /// What to do about it, where there is something.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::MissingColumns { .. } => {
                Some("give a table that `brainage predict` wrote, with commas between the columns")
            }
            Self::OtherFormat { .. } => {
                Some("resume with the --format that it was begun with, or begin without --resume")
            }
            Self::OtherBlocks { .. } => Some(
                "resume with the model that the table was begun with, or begin without --resume",
            ),
            Self::RepeatedColumn { .. } | Self::Row { .. } | Self::Field { .. } => {
                Some("mend the line, or predict again")
            }
            Self::Io(_) => None,
        }
    }
}
