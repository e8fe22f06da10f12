//! The index: one row a scan, with whom it shows and how old they were.
//!
//! [`list_cohort`](crate::list_cohort) makes the rows, [`assign_splits`](crate::assign_splits) says which are trained
//! on; preprocessing, training and evaluation read it. The file is a CSV with exactly these columns:
//!
//! ```text
//! cohort,participant_id,session_id,group_key,age_years,age_source,sex,site,scanner,diagnosis,scan,split,note
//! ```
//!
//! `age_years` are decimal years at the scan, `sex` is F, M, O or U, `split` is train, validation, test or empty,
//! `scan` a path. Other columns may be empty where nothing is known.

use std::collections::BTreeSet;
use std::fmt;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, ValueError};
use crate::participant::{AgeYears, ParticipantId, SessionId, Sex};
use crate::shared_text::{SharedText, SharedTexts};

/// Names of the index's columns, in order.
pub const INDEX_COLUMNS: [&str; 13] = [
    "cohort",
    "participant_id",
    "session_id",
    "group_key",
    "age_years",
    "age_source",
    "sex",
    "site",
    "scanner",
    "diagnosis",
    "scan",
    "split",
    "note",
];

/// What a scan is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Split {
    /// Weights are fitted to it.
    Train,
    /// Stopping, calibration and bias correction see it.
    Validation,
    /// Only the final figures see it.
    Test,
}

impl Split {
    /// The word in the index.
    pub fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Validation => "validation",
            Self::Test => "test",
        }
    }
}

/// How an age became known, and so how exact it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AgeSource {
    /// From the dates of birth (month) and visit.
    ComputedDates,
    /// As the table has it, with decimals.
    ReportedDecimal,
    /// As the table has it; the whole column holds only whole years.
    ReportedWholeYears,
    /// Completed years plus one half, because the field is known to be truncated.
    WholeYearsMid,
    /// Converted from months, weeks or days.
    Converted,
    /// Age at a first visit plus the time since then.
    BaselinePlusInterval,
    /// The middle of a range such as 26-30.
    BinMid,
    /// A bound such as 90+: the true age may be higher.
    Capped,
    /// An index made elsewhere that does not say.
    #[serde(rename = "")]
    Unstated,
}

impl AgeSource {
    /// The word in the index.
    pub fn name(self) -> &'static str {
        match self {
            Self::ComputedDates => "computed_dates",
            Self::ReportedDecimal => "reported_decimal",
            Self::ReportedWholeYears => "reported_whole_years",
            Self::WholeYearsMid => "whole_years_mid",
            Self::Converted => "converted",
            Self::BaselinePlusInterval => "baseline_plus_interval",
            Self::BinMid => "bin_mid",
            Self::Capped => "capped",
            Self::Unstated => "",
        }
    }
}

/// One scan that can be used.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct IndexRow {
    /// The cohort's name in the project file.
    pub cohort: SharedText,
    /// Who was scanned.
    pub participant_id: ParticipantId,
    /// At which visit, where there can be several.
    pub session_id: Option<SessionId>,
    /// What is never divided between splits: the family where known, else the participant.
    pub group_key: String,
    /// Age at the scan.
    pub age_years: AgeYears,
    /// How the age is known.
    pub age_source: AgeSource,
    /// Sex.
    pub sex: Sex,
    /// Site, as the cohort names it; may be empty.
    pub site: SharedText,
    /// Scanner; may be empty.
    pub scanner: SharedText,
    /// Diagnosis, as the cohort names it; may be empty.
    pub diagnosis: SharedText,
    /// The scan's file.
    pub scan: PathBuf,
    /// What the scan is used for, once that is decided.
    pub split: Option<Split>,
    /// Anything a reader of the index should know.
    pub note: String,
}

/// All scans that can be used, over all cohorts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CohortIndex {
    /// One row a scan.
    pub rows: Vec<IndexRow>,
}

impl CohortIndex {
    /// Reads an index.
    ///
    /// # Errors
    /// If the file cannot be read, its columns are not [`INDEX_COLUMNS`], or a cell is not of its kind; the message
    /// names line and column.
    pub fn read_csv(path: &Path) -> Result<Self, Error> {
        let file = fs_err::File::open(path).map_err(Error::io("reading the index", path))?;
        let mut reader = csv::ReaderBuilder::new()
            .buffer_capacity(1 << 17)
            .from_reader(file);
        let headers = reader.headers().map_err(Error::table(path))?;
        let found: Vec<_> = headers
            .iter()
            .map(|name| name.trim_start_matches('\u{feff}'))
            .collect();
        if found != INDEX_COLUMNS {
            let (found, expected) = (found.join(","), INDEX_COLUMNS.join(","));
            return Err(Error::IndexColumns {
                found,
                expected,
                path: path.to_path_buf(),
            });
        }
        let mut rows = Vec::new();
        let mut texts = SharedTexts::default();
        let mut record = csv::StringRecord::new();
        while reader
            .read_record(&mut record)
            .map_err(Error::table(path))?
        {
            let line = record.position().map_or(0, csv::Position::line);
            rows.push(parse_row(&record, &mut texts).map_err(|(column, source)| {
                Error::IndexCell {
                    line,
                    column,
                    path: path.to_path_buf(),
                    source,
                }
            })?);
        }
        Ok(Self { rows })
    }

    /// Names of its cohorts, sorted.
    pub fn cohort_names(&self) -> Vec<String> {
        let names: BTreeSet<&str> = self.rows.iter().map(|row| &*row.cohort).collect();
        names.into_iter().map(str::to_owned).collect()
    }

    /// Writes the index whole or not at all: first beside its place, then renamed.
    ///
    /// # Errors
    /// If a scan's path is not UTF-8, or the file system refuses.
    pub fn write_csv(&self, path: &Path) -> Result<(), Error> {
        let what = "writing the index";
        let folder = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let mut builder = tempfile::Builder::new();
        builder.prefix(".tmp-");
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        let mut temporary = builder.tempfile_in(folder).map_err(Error::io(what, path))?;
        {
            let mut writer = csv::Writer::from_writer(BufWriter::new(temporary.as_file_mut()));
            writer
                .write_record(INDEX_COLUMNS)
                .map_err(Error::table(path))?;
            for row in &self.rows {
                write_row(&mut writer, row, path)?;
            }
            let mut buffered = writer
                .into_inner()
                .map_err(|failed| Error::io(what, path)(failed.into_error()))?;
            buffered.flush().map_err(Error::io(what, path))?;
        }
        temporary
            .as_file()
            .sync_all()
            .map_err(Error::io(what, path))?;
        temporary
            .persist(path)
            .map_err(|refused| Error::io(what, path)(refused.error))?;
        Ok(())
    }
}

fn write_row(
    writer: &mut csv::Writer<impl std::io::Write>,
    row: &IndexRow,
    path: &Path,
) -> Result<(), Error> {
    let scan = row.scan.to_str().ok_or_else(|| ValueError {
        what: "path of a scan",
        found: crate::error::shown(&row.scan),
        expected: "UTF-8",
    })?;
    let record: [&str; 13] = [
        &row.cohort,
        row.participant_id.as_str(),
        row.session_id.as_ref().map_or("", SessionId::as_str),
        &row.group_key,
        &row.age_years.to_string(),
        row.age_source.name(),
        row.sex.letter(),
        &row.site,
        &row.scanner,
        &row.diagnosis,
        scan,
        row.split.map_or("", Split::name),
        &row.note,
    ];
    writer.write_record(record).map_err(Error::table(path))
}

fn parse_row(
    record: &csv::StringRecord,
    texts: &mut SharedTexts,
) -> Result<IndexRow, (&'static str, ValueError)> {
    let text = |column: usize| record.get(column).unwrap_or_default();
    let named = |column: usize| move |problem: ValueError| (INDEX_COLUMNS[column], problem);
    let filled = |column: usize| match text(column).trim() {
        "" => Err((INDEX_COLUMNS[column], empty(INDEX_COLUMNS[column]))),
        _ => Ok(text(column)),
    };
    let session_id = match text(2).trim() {
        "" => None,
        id => Some(SessionId::new(id).map_err(named(2))?),
    };
    let split = match text(11).trim() {
        "" => None,
        word => Some(word.parse().map_err(named(11))?),
    };
    Ok(IndexRow {
        cohort: texts.get(filled(0)?),
        participant_id: ParticipantId::new(text(1)).map_err(named(1))?,
        session_id,
        group_key: filled(3)?.to_owned(),
        age_years: text(4).parse().map_err(named(4))?,
        age_source: text(5).parse().map_err(named(5))?,
        sex: text(6).parse().map_err(named(6))?,
        site: texts.get(text(7)),
        scanner: texts.get(text(8)),
        diagnosis: texts.get(text(9)),
        scan: PathBuf::from(filled(10)?),
        split,
        note: text(12).to_owned(),
    })
}

fn empty(what: &'static str) -> ValueError {
    ValueError {
        what,
        found: String::new(),
        expected: "some text",
    }
}

impl FromStr for Split {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let splits = [Self::Train, Self::Validation, Self::Test];
        let expected = "train, validation or test";
        let found = splits.into_iter().find(|split| split.name() == text.trim());
        found.ok_or_else(|| ValueError {
            what: "split",
            found: text.to_owned(),
            expected,
        })
    }
}

impl FromStr for AgeSource {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let sources = [
            Self::ComputedDates,
            Self::ReportedDecimal,
            Self::ReportedWholeYears,
            Self::WholeYearsMid,
            Self::Converted,
            Self::BaselinePlusInterval,
            Self::BinMid,
            Self::Capped,
            Self::Unstated,
        ];
        let expected = "computed_dates, reported_decimal, reported_whole_years, whole_years_mid, \
                        converted, baseline_plus_interval, bin_mid, capped or nothing";
        let found = sources
            .into_iter()
            .find(|source| source.name() == text.trim());
        found.ok_or_else(|| ValueError {
            what: "age source",
            found: text.to_owned(),
            expected,
        })
    }
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl fmt::Display for AgeSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn row(cohort: &str, participant: &str, age: f64) -> IndexRow {
        IndexRow {
            cohort: cohort.into(),
            participant_id: ParticipantId::new(participant).unwrap(),
            session_id: None,
            group_key: format!("{cohort}:{participant}"),
            age_years: AgeYears::new(age).unwrap(),
            age_source: AgeSource::ReportedDecimal,
            sex: Sex::Female,
            site: SharedText::default(),
            scanner: SharedText::default(),
            diagnosis: SharedText::default(),
            scan: PathBuf::from(format!("/data/{cohort}/{participant}.nii.gz")),
            split: None,
            note: String::new(),
        }
    }

    #[test]
    fn an_index_comes_back_as_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("index.csv");
        let mut odd = row("ukbb", "1000223", 63.249_8);
        odd.session_id = Some(SessionId::new("2").unwrap());
        odd.split = Some(Split::Validation);
        odd.site = "Cheadle, \"imaging\"".into();
        odd.note = "two\nlines; ünïcode".to_owned();
        let index = CohortIndex {
            rows: vec![odd, row("camcan", "CC110033", 24.0)],
        };
        index.write_csv(&path).unwrap();
        assert_eq!(CohortIndex::read_csv(&path).unwrap(), index);
        let text = fs_err::read_to_string(&path).unwrap();
        assert_eq!(text.lines().next().unwrap(), INDEX_COLUMNS.join(","));
        assert!(
            text.contains("camcan,CC110033,,camcan:CC110033,24,reported_decimal,F,"),
            "{text}"
        );
    }

    #[test]
    fn a_bad_cell_is_named_with_line_and_column() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("index.csv");
        let header = INDEX_COLUMNS.join(",");
        let line = "a,1,,a:1,old,reported_decimal,F,,,,x.nii,,";
        fs_err::write(&path, format!("{header}\n{line}\n")).unwrap();
        let message = CohortIndex::read_csv(&path).unwrap_err().to_string();
        assert!(
            message.starts_with(
                "age is `old`, expected years within 0 to 125 (line 2, column `age_years`)"
            ),
            "{message}"
        );
    }

    #[test]
    fn other_columns_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("index.csv");
        fs_err::write(&path, "id,age\n1,2\n").unwrap();
        assert!(matches!(
            CohortIndex::read_csv(&path),
            Err(Error::IndexColumns { .. })
        ));
    }
}
