//! `predictions.csv`: one row per scan, refused scans included.
//!
//! ```text
//! scan,participant_id,session_id,age_years,predicted_age,gap,corrected_gap,block_1…block_K,qc,qc_reasons,recipe,model,seconds,error
//! ```
//! Ages, gaps and the blocks' ages in years; gap is predicted minus chronological age. What is unknown is empty; of a
//! scan without a prediction, `error` says why. QC reasons are parted by `; `. Numbers are written so that they read
//! back the same, bit for bit.
//!
//! While it is being filled the table is called `NAME.partial`, and each row goes to the file in one piece. Only
//! [`PredictionWriter::finish`] gives it its name, so that no half-written table is ever taken for a whole one; what a
//! killed prediction left is taken up again by [`PredictionWriter::resume`].

mod error;

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use brainage_pipelines::qc::QcVerdict;
use csv::StringRecord;
use fs_err::{File, OpenOptions};

pub use error::TableError;

/// Columns before those of the blocks.
const FIRST_COLUMNS: [&str; 7] = [
    "scan",
    "participant_id",
    "session_id",
    "age_years",
    "predicted_age",
    "gap",
    "corrected_gap",
];

/// Columns after those of the blocks.
const LAST_COLUMNS: [&str; 6] = ["qc", "qc_reasons", "recipe", "model", "seconds", "error"];

/// Between the reasons in one field.
const REASON_SEPARATOR: &str = "; ";

/// What `predictions.csv` says of one scan.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PredictionRow {
    /// The scan as the user named it.
    pub scan: String,
    /// Who was scanned; `None` if unknown.
    pub participant_id: Option<String>,
    /// Which visit; `None` if unknown.
    pub session_id: Option<String>,
    /// Chronological age at the scan; `None` if unknown.
    pub age_years: Option<f64>,
    /// What the last block's head said; `None` if the scan was refused.
    pub predicted_age_years: Option<f64>,
    /// Predicted minus chronological age.
    pub gap_years: Option<f64>,
    /// The gap after age-bias correction; `None` without one, or outside its ages.
    pub corrected_gap_years: Option<f64>,
    /// What each block's head said, first block first; empty if the scan was refused.
    pub block_ages_years: Vec<f64>,
    /// How good the preprocessed scan is; `None` if it did not get that far.
    pub qc: Option<QcVerdict>,
    /// What quality control found.
    pub qc_reasons: Vec<String>,
    /// Name of the recipe.
    pub recipe: String,
    /// Name of the model.
    pub model: String,
    /// Time that the scan took.
    pub seconds: Option<f64>,
    /// Why there is no prediction.
    pub error: Option<String>,
}

/// Fills a table of predictions, row by row.
#[derive(Debug)]
pub struct PredictionWriter {
    path: PathBuf,
    file: File,
    n_blocks: usize,
    n_lines: u64,
}

impl PredictionWriter {
    /// Begins a table with `n_blocks` block columns. A table `path` of an earlier prediction stays until
    /// [`Self::finish`]; what a killed one left is dropped.
    ///
    /// # Errors
    /// What the file system answered.
    pub fn create(path: &Path, n_blocks: usize) -> Result<Self, TableError> {
        let mut file = File::create(partial_path(path))?;
        file.write_all(&record_bytes(&columns(n_blocks))?)?;
        Ok(Self {
            path: path.to_path_buf(),
            file,
            n_blocks,
            n_lines: 1,
        })
    }

    /// Goes on with the table that a killed prediction left, whose rows are returned; a row that was cut is dropped.
    /// Where none was left, the rows of the whole table `path` are taken over, and where there is none either, a new
    /// one is begun.
    ///
    /// # Errors
    /// The table is damaged or of a model with another number of blocks, or what the file system answered.
    pub fn resume(path: &Path, n_blocks: usize) -> Result<(Self, Vec<PredictionRow>), TableError> {
        let partial = partial_path(path);
        let source = if partial.exists() {
            partial.as_path()
        } else {
            path
        };
        let bytes = match fs_err::read(source) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error.into()),
        };
        let whole = bytes.get(..whole_lines(&bytes)).unwrap_or_default();
        if whole.is_empty() {
            return Ok((Self::create(path, n_blocks)?, Vec::new()));
        }
        let (found, rows) = parse(whole, source)?;
        if found != n_blocks {
            let path = source.to_path_buf();
            return Err(TableError::OtherBlocks {
                path,
                found,
                expected: n_blocks,
            });
        }
        if source == partial {
            let file = OpenOptions::new().append(true).open(&partial)?;
            file.set_len(whole.len() as u64)?;
            let n_lines = rows.len() as u64 + 1;
            return Ok((
                Self {
                    path: path.to_path_buf(),
                    file,
                    n_blocks,
                    n_lines,
                },
                rows,
            ));
        }
        let mut writer = Self::create(path, n_blocks)?;
        rows.iter().try_for_each(|row| writer.write(row))?;
        Ok((writer, rows))
    }

    /// Appends a row, which is in the file when this returns.
    ///
    /// # Errors
    /// [`TableError::Field`] if a number is NaN or infinite, [`TableError::Row`] if there are neither no block ages nor
    /// one of each block; else what the file system answered.
    pub fn write(&mut self, row: &PredictionRow) -> Result<(), TableError> {
        let fields = self.fields(row)?;
        self.file.write_all(&record_bytes(&fields)?)?;
        self.n_lines += 1;
        Ok(())
    }

    /// Gives the table its name, in place of an older one, once it is safe on disk.
    ///
    /// # Errors
    /// What the file system answered; the rows are then still in the unfinished table.
    pub fn finish(self) -> Result<(), TableError> {
        self.file.sync_all()?;
        drop(self.file);
        fs_err::rename(partial_path(&self.path), &self.path)?;
        Ok(())
    }

    fn fields(&self, row: &PredictionRow) -> Result<Vec<String>, TableError> {
        let n_ages = row.block_ages_years.len();
        if n_ages != 0 && n_ages != self.n_blocks {
            return Err(TableError::Row {
                path: self.path.clone(),
                line: self.n_lines + 1,
                message: format!("found {n_ages} block ages, expected {}", self.n_blocks),
            });
        }
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        let mut fields = vec![
            row.scan.clone(),
            text(&row.participant_id),
            text(&row.session_id),
        ];
        fields.push(self.number("age_years", row.age_years)?);
        fields.push(self.number("predicted_age", row.predicted_age_years)?);
        fields.push(self.number("gap", row.gap_years)?);
        fields.push(self.number("corrected_gap", row.corrected_gap_years)?);
        for block in 0..self.n_blocks {
            let age_years = row.block_ages_years.get(block).copied();
            fields.push(self.number(&block_column(block), age_years)?);
        }
        fields.push(row.qc.map(verdict_text).unwrap_or_default().to_owned());
        // A separator within a reason would part it in two when it is read back.
        let reasons = row
            .qc_reasons
            .iter()
            .map(|reason| reason.replace(REASON_SEPARATOR, ", "));
        fields.push(reasons.collect::<Vec<_>>().join(REASON_SEPARATOR));
        fields.extend([row.recipe.clone(), row.model.clone()]);
        fields.push(self.number("seconds", row.seconds)?);
        fields.push(text(&row.error));
        Ok(fields)
    }

    fn number(&self, column: &str, value: Option<f64>) -> Result<String, TableError> {
        match value {
            None => Ok(String::new()),
            Some(value) if value.is_finite() => Ok(value.to_string()),
            Some(value) => Err(TableError::Field {
                path: self.path.clone(),
                line: self.n_lines + 1,
                column: column.to_owned(),
                found: value.to_string(),
                expected: "a finite number",
            }),
        }
    }
}

/// The rows of a table, in its order. Columns are found by name, others than ours are passed over.
///
/// # Errors
/// The first thing that is wrong, with its line.
pub fn read_predictions(path: &Path) -> Result<Vec<PredictionRow>, TableError> {
    parse(&fs_err::read(path)?, path).map(|(_, rows)| rows)
}

/// What the table `path` is called while it is being filled.
pub fn partial_path(path: &Path) -> PathBuf {
    let mut name: OsString = path.as_os_str().to_owned();
    name.push(".partial");
    PathBuf::from(name)
}

fn columns(n_blocks: usize) -> Vec<String> {
    let blocks = (0..n_blocks).map(block_column);
    let first = FIRST_COLUMNS.iter().map(ToString::to_string);
    first
        .chain(blocks)
        .chain(LAST_COLUMNS.iter().map(ToString::to_string))
        .collect()
}

fn block_column(block: usize) -> String {
    format!("block_{}", block + 1)
}

fn verdict_text(verdict: QcVerdict) -> &'static str {
    match verdict {
        QcVerdict::Pass => "pass",
        QcVerdict::Warn => "warn",
        QcVerdict::Fail => "fail",
    }
}

fn record_bytes(fields: &[String]) -> io::Result<Vec<u8>> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(fields).map_err(io::Error::other)?;
    writer
        .into_inner()
        .map_err(|error| io::Error::other(error.to_string()))
}

/// Length of the whole lines at the head of a table: up to the last line end that is not within quotes.
fn whole_lines(bytes: &[u8]) -> usize {
    let (mut quoted, mut length) = (false, 0);
    for (position, byte) in bytes.iter().enumerate() {
        match byte {
            // A quote within quotes is doubled, which leaves things as they are.
            b'"' => quoted = !quoted,
            b'\n' if !quoted => length = position + 1,
            _ => {}
        }
    }
    length
}

/// Number of block columns, and the rows.
fn parse(bytes: &[u8], path: &Path) -> Result<(usize, Vec<PredictionRow>), TableError> {
    // Spreadsheet programs begin a file with a byte order mark.
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let mut reader = csv::Reader::from_reader(bytes);
    let layout = Layout::of(
        reader.headers().map_err(|error| csv_error(path, &error))?,
        path,
    )?;
    let mut rows = Vec::new();
    for record in reader.records() {
        let record = record.map_err(|error| csv_error(path, &error))?;
        rows.push(layout.row(&record, path)?);
    }
    Ok((layout.blocks.len(), rows))
}

fn csv_error(path: &Path, error: &csv::Error) -> TableError {
    let message = match error.kind() {
        csv::ErrorKind::Utf8 { .. } => "found bytes that are no UTF-8 text".to_owned(),
        csv::ErrorKind::UnequalLengths {
            expected_len, len, ..
        } => {
            format!("found {len} fields, expected {expected_len}")
        }
        _ => error.to_string(),
    };
    let line = error.position().map_or(1, csv::Position::line);
    TableError::Row {
        path: path.to_path_buf(),
        line,
        message,
    }
}

/// Where each column is.
struct Layout {
    first: Vec<usize>,
    blocks: Vec<usize>,
    last: Vec<usize>,
}

impl Layout {
    fn of(header: &StringRecord, path: &Path) -> Result<Self, TableError> {
        let n_blocks = header
            .iter()
            .filter_map(|name| name.strip_prefix("block_")?.parse::<u16>().ok())
            .map(usize::from)
            .max()
            .unwrap_or(0);
        let mut positions = Vec::new();
        let mut missing = Vec::new();
        for column in columns(n_blocks) {
            let mut found = header
                .iter()
                .enumerate()
                .filter(|(_, name)| **name == column);
            match (found.next(), found.next()) {
                (None, _) => missing.push(column),
                (Some((position, _)), None) => positions.push(position),
                (Some(_), Some(_)) => {
                    return Err(TableError::RepeatedColumn {
                        path: path.to_path_buf(),
                        column,
                    });
                }
            }
        }
        if !missing.is_empty() {
            return Err(TableError::MissingColumns {
                path: path.to_path_buf(),
                missing,
            });
        }
        let mut blocks = positions.split_off(FIRST_COLUMNS.len());
        let last = blocks.split_off(n_blocks);
        Ok(Self {
            first: positions,
            blocks,
            last,
        })
    }

    fn row(&self, record: &StringRecord, path: &Path) -> Result<PredictionRow, TableError> {
        let line = record.position().map_or(1, csv::Position::line);
        let field = |positions: &[usize], column: usize| {
            positions
                .get(column)
                .and_then(|&position| record.get(position))
                .unwrap_or_default()
        };
        let first = |column| field(&self.first, column);
        let last = |column| field(&self.last, column);
        let wrong = |column: &str, found: &str, expected| TableError::Field {
            path: path.to_path_buf(),
            line,
            column: column.to_owned(),
            found: found.to_owned(),
            expected,
        };
        let number = |column: &str, found: &str| match found.trim() {
            "" => Ok(None),
            text => match text.parse::<f64>() {
                Ok(value) if value.is_finite() => Ok(Some(value)),
                _ => Err(wrong(column, found, "a number, or nothing")),
            },
        };
        let text = |found: &str| (!found.is_empty()).then(|| found.to_owned());
        let qc = match last(0) {
            "" => None,
            "pass" => Some(QcVerdict::Pass),
            "warn" => Some(QcVerdict::Warn),
            "fail" => Some(QcVerdict::Fail),
            found => return Err(wrong("qc", found, "pass, warn, fail, or nothing")),
        };
        let ages = (0..self.blocks.len())
            .map(|block| number(&block_column(block), field(&self.blocks, block)))
            .collect::<Result<Vec<_>, _>>()?;
        let n_ages = ages.iter().flatten().count();
        if n_ages != 0 && n_ages != ages.len() {
            let message = format!("found {n_ages} block ages, expected {} or none", ages.len());
            return Err(TableError::Row {
                path: path.to_path_buf(),
                line,
                message,
            });
        }
        Ok(PredictionRow {
            scan: first(0).to_owned(),
            participant_id: text(first(1)),
            session_id: text(first(2)),
            age_years: number("age_years", first(3))?,
            predicted_age_years: number("predicted_age", first(4))?,
            gap_years: number("gap", first(5))?,
            corrected_gap_years: number("corrected_gap", first(6))?,
            block_ages_years: ages.into_iter().flatten().collect(),
            qc,
            qc_reasons: last(1)
                .split(REASON_SEPARATOR)
                .filter(|reason| !reason.is_empty())
                .map(ToOwned::to_owned)
                .collect(),
            recipe: last(2).to_owned(),
            model: last(3).to_owned(),
            seconds: number("seconds", last(4))?,
            error: text(last(5)),
        })
    }
}

#[cfg(test)]
mod tests;
