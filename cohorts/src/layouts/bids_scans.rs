//! What a BIDS data set says about single scans: ages and days in `scans.tsv`, days of visits in `sessions.tsv`.
//!
//! ```text
//! sub-02/ses-1/sub-02_ses-1_scans.tsv      filename, acq_time, age, …        anat/sub-02_ses-1_T1w.nii.gz
//! sub-02/sub-02_sessions.tsv               session_id, acq_time, age, …
//! ```
//!
//! The name of a scan is relative to the folder of its table. Columns of quality are not read: who judged a scan, and
//! by which measure, differs between data sets. Days may be shifted, all those of a participant by the same time, as
//! the standard allows; so only the time between two of them is used, never the time since a birth.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use jiff::civil::Date;

use crate::ages::ParsedAge;
use crate::criteria::{Refusal, SkipReason};
use crate::dates::parse_date;
use crate::delimited::{Delimited, cell};
use crate::demographics::{Codebook, ColumnNames, PersonColumns};
use crate::error::Error;
use crate::files::{Files, nifti_stem};
use crate::layout::LayoutFindings;
use crate::people::comparable_session;

const FILE_COLUMNS: [&str; 3] = ["filename", "file_name", "scan"];
const DAY_COLUMNS: [&str; 4] = ["acq_time", "acq_date", "acquisition_date", "scan_date"];

/// What a table says about one scan.
#[derive(Clone, Debug, Default)]
pub(super) struct ScanFacts {
    /// Age at the scan; two rows that contradict each other are a refusal.
    pub(super) age: Option<Result<ParsedAge, Refusal>>,
    /// Day of the scan.
    pub(super) day: Option<Date>,
}

/// The tables of single scans.
#[derive(Debug, Default)]
pub(super) struct ScanTables {
    /// By path without ending: tables written before compression still say `.nii`.
    scans: BTreeMap<PathBuf, ScanFacts>,
    /// Days of visits, by participant and visit.
    visits: BTreeMap<(String, String), Date>,
}

/// Whether a file is `…_scans.tsv`.
fn is_scans_table(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str());
    name.is_some_and(|name| name.ends_with("_scans.tsv"))
}

impl ScanTables {
    /// Reads every `…_scans.tsv`. `codebook` explains the columns of a table. One that names no files is passed over
    /// with a warning.
    pub(super) fn read(
        files: &Files,
        names: &ColumnNames,
        codebook: &mut dyn FnMut(&Path, &mut Vec<String>) -> Codebook,
        findings: &mut LayoutFindings,
    ) -> Result<Self, Error> {
        let mut tables = Self::default();
        for path in files.paths.iter().filter(|path| is_scans_table(path)) {
            let codes = codebook(path, &mut findings.warnings);
            match tables.add_scans(path, names, &codes) {
                Ok(true) => findings.demographics_used.push(path.clone()),
                Ok(false) => {}
                Err(error @ (Error::NoParticipantColumn { .. } | Error::Table { .. })) => {
                    findings.warnings.push(error.to_string());
                }
                Err(error) => return Err(error),
            }
        }
        Ok(tables)
    }

    /// Adds a table; whether it says anything about age or day.
    fn add_scans(
        &mut self,
        path: &Path,
        names: &ColumnNames,
        codebook: &Codebook,
    ) -> Result<bool, Error> {
        let mut table = Delimited::open(path)?;
        let Some(file) = table.column(&FILE_COLUMNS) else {
            return Err(Error::NoParticipantColumn {
                expected: "`filename`",
                found: table.shown_headers(),
                path: path.to_path_buf(),
            });
        };
        let columns = PersonColumns::find(&table, names).with_age_unit(codebook.age_unit);
        let day = table.column(&DAY_COLUMNS);
        let folder = path.parent().unwrap_or(Path::new(""));
        let mut says_something = false;
        let mut record = csv::ByteRecord::new();
        while table.read_row(&mut record)? {
            let name = cell(&record, Some(file)).replace('\\', "/");
            let scan = folder.join(name.trim_start_matches("./"));
            let known = self.scans.entry(without_ending(&scan)).or_default();
            let age = columns.age.map(|_| columns.age_of(&record));
            if let Some(age) = age.filter(|age| !is_missing(age)) {
                known.add_age(age);
            }
            known.day = known.day.or_else(|| parse_date(&cell(&record, day)));
            says_something |= known.age.is_some() || known.day.is_some();
        }
        Ok(says_something)
    }

    /// Adds the days that a participant's `sessions.tsv` has.
    pub(super) fn add_visits(
        &mut self,
        subject: &str,
        path: &Path,
        names: &ColumnNames,
    ) -> Result<(), Error> {
        let mut table = Delimited::open(path)?;
        let visit = table.column(names.session);
        let Some(day) = table.column(&DAY_COLUMNS) else {
            return Ok(());
        };
        let mut record = csv::ByteRecord::new();
        while table.read_row(&mut record)? {
            if let Some(day) = parse_date(&cell(&record, Some(day))) {
                let visit = comparable_session(&cell(&record, visit));
                self.visits.insert((subject.to_owned(), visit), day);
            }
        }
        Ok(())
    }

    /// The day of each participant's first visit, where `sessions.tsv` has days.
    pub(super) fn first_visits(&self) -> BTreeMap<String, Date> {
        let mut first: BTreeMap<String, Date> = BTreeMap::new();
        for ((subject, _), day) in &self.visits {
            let known = first.entry(subject.clone()).or_insert(*day);
            *known = (*known).min(*day);
        }
        first
    }

    /// Whether any scan has an age.
    pub(super) fn has_ages(&self) -> bool {
        self.scans
            .values()
            .any(|facts| matches!(facts.age, Some(Ok(_))))
    }

    /// What the tables say about a scan.
    pub(super) fn of(&self, scan: &Path) -> Option<&ScanFacts> {
        self.scans.get(&without_ending(scan))
    }

    /// The day of a scan: its own, else that of its visit.
    pub(super) fn day_of(&self, scan: &Path, subject: &str, session: Option<&str>) -> Option<Date> {
        let own = self.of(scan).and_then(|facts| facts.day);
        own.or_else(|| {
            let visit = comparable_session(session?);
            self.visits.get(&(subject.to_owned(), visit)).copied()
        })
    }
}

impl ScanFacts {
    fn add_age(&mut self, age: Result<ParsedAge, Refusal>) {
        self.age = Some(match (self.age.take(), age) {
            (None, age) => age,
            (Some(Ok(known)), Ok(age)) if known != age => {
                let detail = format!("{} and {} years in scans.tsv", known.age, age.age);
                Err(Refusal::new(SkipReason::AgeConflict, detail))
            }
            (Some(Err(refusal)), _) | (Some(Ok(_)), Err(refusal)) => Err(refusal),
            (Some(known), Ok(_)) => known,
        });
    }
}

fn is_missing(age: &Result<ParsedAge, Refusal>) -> bool {
    age.as_ref()
        .is_err_and(|refusal| refusal.reason == SkipReason::NoAge)
}

fn without_ending(scan: &Path) -> PathBuf {
    nifti_stem(scan).map_or(scan.to_path_buf(), |stem| scan.with_file_name(stem))
}
