//! Where each layout puts scans and tables: one layout a file.
//!
//! A layout names participants and paths and writes tables; it makes no heads.

pub(crate) mod bids;
pub(crate) mod camcan;
pub(crate) mod scan_folder;
pub(crate) mod ukbb;

use std::path::{Path, PathBuf};
use std::str::FromStr;

use brainage_pipelines::atomic::write_atomically;

use crate::error::Error;
use crate::participant::SynthParticipant;
use crate::scanner::{CAMCAN, Scanner, UKB, VARIED};
use crate::stream::HeadKey;

/// In whose folders and tables the heads are laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SynthLayout {
    /// UK Biobank bulk field 20252, unpacked, and its main table.
    Ukbb,
    /// Cam-CAN.
    Camcan,
    /// BIDS.
    Bids,
}

impl SynthLayout {
    /// As the command line says it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ukbb => "ukbb",
            Self::Camcan => "camcan",
            Self::Bids => "bids",
        }
    }
}

impl FromStr for SynthLayout {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let layouts = [Self::Ukbb, Self::Camcan, Self::Bids];
        let found = layouts.into_iter().find(|layout| layout.name() == text);
        found.ok_or_else(|| Error::UnknownLayout {
            found: text.to_owned(),
        })
    }
}

/// How a layout does what all do.
pub(crate) struct Plan {
    pub(crate) name: &'static str,
    /// Whose people these are: part of the key of every head.
    pub(crate) people: u64,
    pub(crate) scanner: Scanner,
    pub(crate) id: fn(usize) -> String,
    pub(crate) scan: fn(&Path, &str) -> PathBuf,
    pub(crate) write_tables: fn(&Path, &[Written<'_>]) -> Result<Vec<PathBuf>, Error>,
}

impl Plan {
    pub(crate) fn key(&self, seed: u64, subject: usize) -> HeadKey {
        HeadKey {
            seed,
            subject: (self.people << 32) + subject as u64,
        }
    }

    pub(crate) fn of(layout: SynthLayout) -> Self {
        let name = layout.name();
        match layout {
            SynthLayout::Ukbb => Self {
                name,
                people: 2,
                scanner: UKB,
                id: ukbb::id,
                scan: ukbb::scan,
                write_tables: ukbb::write_tables,
            },
            SynthLayout::Camcan => Self {
                name,
                people: 3,
                scanner: CAMCAN,
                id: camcan::id,
                scan: camcan::scan,
                write_tables: camcan::write_tables,
            },
            SynthLayout::Bids => Self {
                name,
                people: 4,
                scanner: VARIED,
                id: bids::id,
                scan: bids::scan,
                write_tables: bids::write_tables,
            },
        }
    }

    /// A flat folder of scans.
    pub(crate) fn of_scan_folder() -> Self {
        Self {
            name: "folder",
            people: 1,
            scanner: VARIED,
            id: scan_folder::id,
            scan: scan_folder::scan,
            write_tables: scan_folder::write_tables,
        }
    }
}

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
