//! Where each layout puts scans and tables: one layout a file.
//!
//! A layout names participants and paths and writes tables; it makes no heads.

pub(crate) mod bids;
pub(crate) mod camcan;
pub(crate) mod scan_folder;
pub(crate) mod ukbb;

use std::path::{Path, PathBuf};

use brainage_pipelines::atomic::write_atomically;

use crate::error::Error;
use crate::participant::SynthParticipant;

/// A participant whose scan was written.
pub(crate) struct Written<'a> {
    pub(crate) participant: &'a SynthParticipant,
    /// Intracranial volume.
    pub(crate) icv_ml: f64,
    /// Path of the scan.
    pub(crate) scan: &'a Path,
}

/// A table as text: a header, then a line for each row.
pub(crate) fn table(header: &str, rows: impl Iterator<Item = String>) -> String {
    let mut text = format!("{header}\n");
    for row in rows {
        text.push_str(&row);
        text.push('\n');
    }
    text
}

/// Writes a text file, and its folder where that is missing.
pub(crate) fn write_text(path: PathBuf, text: &str) -> Result<PathBuf, Error> {
    if let Some(folder) = path.parent() {
        fs_err::create_dir_all(folder).map_err(Error::io(folder))?;
    }
    write_atomically(&path, |out| out.write_all(text.as_bytes())).map_err(Error::io(&path))?;
    Ok(path)
}
