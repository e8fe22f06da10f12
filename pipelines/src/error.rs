//! What can go wrong between a scan file and its volume in the cache.

use std::io;
use std::path::{Path, PathBuf};

use crate::format::{ReadError, WriteError};

/// Why a scan was refused, a recipe not understood or a result not stored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The scan file cannot be read, or is no T1 scan.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A NIfTI file cannot be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// The template inside the program is not what it was compiled with.
    #[error("embedded template is damaged ({problem})")]
    Template {
        /// What is wrong with it.
        problem: String,
    },
    /// The weights of the brain network inside the program are not what it was compiled with.
    #[error("embedded weights of the brain network are damaged ({problem})")]
    BrainNetwork {
        /// What is wrong with them.
        problem: String,
    },
    /// No recipe has this name.
    #[error("unknown recipe `{found}`, expected {expected}")]
    UnknownRecipe {
        /// The name that was asked for.
        found: String,
        /// The names there are.
        expected: String,
    },
    /// A recipe that cannot be understood.
    #[error("{problem} (line {line}, key `{key}`): `{origin}`")]
    Recipe {
        /// What is wrong.
        problem: String,
        /// Line in the file, from 1.
        line: usize,
        /// The key on that line.
        key: String,
        /// The file, or where else the text came from.
        origin: String,
    },
    /// Whoever asked for it stopped the work.
    #[error("stopped: `{}`", shown(path))]
    Stopped {
        /// The scan.
        path: PathBuf,
    },
    /// Nothing in the scan stands out from the background.
    #[error(
        "no head found (nothing brighter than the background): `{}`",
        shown(path)
    )]
    NoHead {
        /// The scan.
        path: PathBuf,
    },
    /// The brain network takes no part of the scan for a brain.
    #[error("the brain network finds no brain: `{}`", shown(path))]
    NoBrainSeen {
        /// The scan.
        path: PathBuf,
    },
    /// After registration no voxel of the scan lies within the brain mask.
    #[error(
        "{found} voxels of the brain are inside the scan, expected at least {expected}: `{}`",
        shown(path)
    )]
    NoBrain {
        /// Voxels of the recipe's grid that are in the mask and in the scan.
        found: usize,
        /// What normalization needs.
        expected: usize,
        /// The scan.
        path: PathBuf,
    },
    /// All voxels of the brain have the same value.
    #[error(
        "no contrast within the brain (all voxels are {value}): `{}`",
        shown(path)
    )]
    NoContrast {
        /// Their value.
        value: f64,
        /// The scan.
        path: PathBuf,
    },
    /// A scan needs more memory than the batch may take.
    #[error(
        "needs about {} MB of memory, more than the {} MB allowed: `{}`",
        needed.div_ceil(1_000_000),
        allowed / 1_000_000,
        shown(path)
    )]
    TooLittleMemory {
        /// With the program itself, bytes.
        needed: u64,
        /// For the program with all scans in work, bytes.
        allowed: u64,
        /// The scan.
        path: PathBuf,
    },
    /// A cache entry is damaged, or of another version.
    #[error("cache entry is unusable ({problem}): `{}`", shown(path))]
    CacheEntry {
        /// What is wrong with it.
        problem: String,
        /// The entry.
        path: PathBuf,
    },
    /// The file system refused.
    #[error("{what} failed ({source}): `{}`", shown(path))]
    Io {
        /// What was being done, e.g. "writing the cache entry".
        what: &'static str,
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
            Self::Read(error) => error.hint(),
            Self::NoHead { .. }
            | Self::NoBrainSeen { .. }
            | Self::NoBrain { .. }
            | Self::NoContrast { .. } => {
                Some("look at the scan in the viewer: is it a whole-head T1 scan?")
            }
            Self::TooLittleMemory { .. } => {
                Some("allow more memory, or take a recipe that needs less")
            }
            Self::CacheEntry { .. } => {
                Some("preprocess the scan again; the entry will be replaced")
            }
            Self::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
                Some("free some space, or name a folder on another disk")
            }
            _ => None,
        }
    }

    /// Names the file that the system refused.
    pub(crate) fn io(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io { what, path, source }
    }
}

/// A path on one line, whatever its characters.
pub(crate) fn shown(path: &Path) -> String {
    #[expect(
        clippy::unnecessary_debug_formatting,
        reason = "escapes line breaks in names"
    )]
    let quoted = format!("{path:?}");
    let bare = quoted
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'));
    bare.unwrap_or(&quoted).to_owned()
}
