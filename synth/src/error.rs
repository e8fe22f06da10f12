//! What can go wrong when heads are made and written.

use std::io;
use std::path::{Path, PathBuf};

use brainage_pipelines::format::WriteError;

/// Why a synthetic cohort was not written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No layout has this name.
    #[error("unknown layout `{found}`, expected one of {expected}")]
    UnknownLayout {
        /// The name that was asked for.
        found: String,
        /// The names there are.
        expected: String,
    },
    /// A number that no head can be made with.
    #[error("{what} is {found}, expected {expected}")]
    Parameter {
        /// Which number.
        what: &'static str,
        /// What was asked for.
        found: String,
        /// What there is.
        expected: String,
    },
    /// The folder holds files that did not come from here.
    #[error("folder is not empty and holds no synthetic cohort: `{}`", path.display())]
    NotEmpty {
        /// The folder.
        path: PathBuf,
    },
    /// The template inside the program is damaged.
    #[error(transparent)]
    Template(#[from] brainage_pipelines::Error),
    /// The tissue maps inside the program are damaged.
    #[error("embedded tissue maps are damaged ({problem})")]
    TissueMaps {
        /// What is wrong with them.
        problem: String,
    },
    /// A scan cannot be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// The file system refused.
    #[error("writing failed ({source}): `{}`", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system answered.
        source: io::Error,
    },
}

impl Error {
    /// What the user can do about it, where there is something.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NotEmpty { .. } => Some("name a new folder, or empty this one yourself"),
            Self::Io { .. } => Some("is the disk full, or the folder read-only?"),
            _ => None,
        }
    }

    /// Names the file that the system refused.
    pub(crate) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io { path, source }
    }
}
