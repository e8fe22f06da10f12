//! Where each layout puts scans and tables: one layout a file.
//!
//! A layout names participants, visits and paths and writes tables; it makes no heads.

pub(crate) mod adni;
pub(crate) mod bids;
pub(crate) mod camcan;
pub(crate) mod hcp_aging;
pub(crate) mod hcp_development;
pub(crate) mod hcp_ya;
pub(crate) mod ixi;
mod nda;
pub(crate) mod oasis3;
pub(crate) mod scan_folder;
pub(crate) mod ukbb;
pub(crate) mod ukbb_zip;

use std::path::{Path, PathBuf};
use std::str::FromStr;

use brainage_pipelines::atomic::write_atomically;

use crate::error::Error;
use crate::participant::SynthParticipant;
use crate::population::Sex;
use crate::scanner::Scanner;
use crate::stream::HeadKey;

/// In whose folders and tables the heads are laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SynthLayout {
    /// UK Biobank bulk field 20252, unpacked, and its main table.
    Ukbb,
    /// UK Biobank bulk field 20252 as downloaded: one archive a scan, some people at two visits.
    UkbbZip,
    /// HCP Young Adult with its open and its restricted table, some people scanned again.
    HcpYa,
    /// HCP Aging with the tables of the NIMH Data Archive, some people at two visits.
    HcpAging,
    /// HCP Development with the tables of the NIMH Data Archive; adults only.
    HcpDevelopment,
    /// ADNI with the list of images and ADNIMERGE, some people at three visits.
    Adni,
    /// Cam-CAN.
    Camcan,
    /// IXI.
    Ixi,
    /// OASIS-3, some people at two visits.
    Oasis3,
    /// BIDS.
    Bids,
}

impl SynthLayout {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Ukbb,
        Self::UkbbZip,
        Self::HcpYa,
        Self::HcpAging,
        Self::HcpDevelopment,
        Self::Adni,
        Self::Camcan,
        Self::Ixi,
        Self::Oasis3,
        Self::Bids,
    ];

    /// As the command line says it.
    pub fn name(self) -> &'static str {
        self.plan().name
    }

    pub(crate) fn plan(self) -> &'static Plan {
        match self {
            Self::Ukbb => &ukbb::PLAN,
            Self::UkbbZip => &ukbb_zip::PLAN,
            Self::HcpYa => &hcp_ya::PLAN,
            Self::HcpAging => &hcp_aging::PLAN,
            Self::HcpDevelopment => &hcp_development::PLAN,
            Self::Adni => &adni::PLAN,
            Self::Camcan => &camcan::PLAN,
            Self::Ixi => &ixi::PLAN,
            Self::Oasis3 => &oasis3::PLAN,
            Self::Bids => &bids::PLAN,
        }
    }
}

impl FromStr for SynthLayout {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let found = Self::ALL.into_iter().find(|layout| layout.name() == text);
        found.ok_or_else(|| Error::UnknownLayout {
            found: text.to_owned(),
            expected: Self::ALL.map(Self::name).join(", "),
        })
    }
}

/// How a layout does what all do.
pub(crate) struct Plan {
    pub(crate) name: &'static str,
    /// Whose people these are: part of the key of every head.
    pub(crate) people: u64,
    pub(crate) scanner: Scanner,
    /// Youngest and oldest participant of the study at the first visit.
    pub(crate) ages_years: [f64; 2],
    /// How many participants have a number.
    pub(crate) most_subjects: usize,
    pub(crate) id: fn(usize) -> String,
    /// Days from the first visit to each one, beginning with 0.
    pub(crate) visit_days: fn(usize) -> Vec<i64>,
    /// Where a scan lies; inside an archive, where a folder of the path ends in `.zip`.
    pub(crate) scan: fn(&Path, &Visit<'_>) -> PathBuf,
    pub(crate) write_tables: fn(&Path, &[Written<'_>]) -> Result<Vec<PathBuf>, Error>,
}

impl Plan {
    pub(crate) fn key(&self, seed: u64, subject: usize) -> HeadKey {
        HeadKey::of(seed, (self.people << 32) + subject as u64)
    }
}

/// A participant at a visit.
#[derive(Clone, Copy)]
pub(crate) struct Visit<'a> {
    /// With age and date of this visit.
    pub(crate) participant: &'a SynthParticipant,
    /// 0 for the first visit.
    pub(crate) number: usize,
    /// Since the first visit.
    pub(crate) days: i64,
}

/// A visit whose scan was written.
pub(crate) struct Written<'a> {
    pub(crate) visit: Visit<'a>,
    /// Intracranial volume.
    pub(crate) icv_ml: f64,
    /// Path of the scan.
    pub(crate) scan: &'a Path,
}

impl Visit<'_> {
    /// Number of the participant within the cohort.
    pub(crate) fn subject(&self) -> usize {
        // The upper half says whose people these are.
        (self.participant.subject & 0xffff_ffff) as usize
    }

    /// `F` or `M`.
    pub(crate) fn sex_letter(&self) -> &'static str {
        match self.participant.sex {
            Sex::Female => "F",
            Sex::Male => "M",
        }
    }
}

impl SynthParticipant {
    /// `Female` or `Male`.
    pub(crate) fn sex_word(&self) -> &'static str {
        match self.sex {
            Sex::Female => "Female",
            Sex::Male => "Male",
        }
    }

    /// 1 for men and 2 for women, as most studies but UK Biobank have it.
    pub(crate) fn sex_code(&self) -> u8 {
        match self.sex {
            Sex::Male => 1,
            Sex::Female => 2,
        }
    }
}

/// Everyone is scanned once.
pub(crate) fn one_visit(_subject: usize) -> Vec<i64> {
    vec![0]
}

/// Every so manyth participant comes again, after these days.
pub(crate) fn repeated(subject: usize, every: usize, days: &[i64]) -> Vec<i64> {
    let again = subject.is_multiple_of(every);
    let later = days.iter().copied().filter(|_| again);
    std::iter::once(0).chain(later).collect()
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

/// Every cell in quotes.
pub(crate) fn quoted<T: AsRef<str>>(cells: &[T], separator: &str) -> String {
    let cells: Vec<_> = cells.iter().map(AsRef::as_ref).collect();
    format!("\"{}\"", cells.join(&format!("\"{separator}\"")))
}

/// Writes a text file, and its folder where that is missing.
pub(crate) fn write_text(path: PathBuf, text: &str) -> Result<PathBuf, Error> {
    write_bytes(path, text.as_bytes())
}

/// Writes a file, and its folder where that is missing.
pub(crate) fn write_bytes(path: PathBuf, bytes: &[u8]) -> Result<PathBuf, Error> {
    if let Some(folder) = path.parent() {
        fs_err::create_dir_all(folder).map_err(Error::io(folder))?;
    }
    write_atomically(&path, |out| out.write_all(bytes)).map_err(Error::io(&path))?;
    Ok(path)
}
