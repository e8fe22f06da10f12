//! `predictions.csv`: one row per scan, refused scans included.
//!
//! ```text
//! scan,participant_id,session_id,age_years,predicted_age,gap,corrected_gap,block_1…block_K,qc,qc_reasons,recipe,model,seconds,error,
//! predicted_low,predicted_high,coverage,head_sd,tta_sd,models_sd,in_training,warnings
//! ```
//! Ages, gaps, standard deviations and the blocks' ages in years; gap is predicted minus chronological age. What is unknown
//! is empty; of a scan without a prediction, `error` says why. Reasons and warnings are parted by `; `. Numbers are written
//! so that they read back the same, bit for bit. The columns up to `error` are there since the first version; a table
//! without the others is read too. The same rows can be JSON lines: [`TableFormat`].
//!
//! While it is being filled the table is called `NAME.partial`, and each row goes to the file in one piece. Only
//! [`PredictionWriter::finish`] gives it its name, so that no half-written table is ever taken for a whole one; what a
//! killed prediction left is taken up again by [`PredictionWriter::resume`].

mod comma_separated;
mod error;
mod json_lines;

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use fs_err::{File, OpenOptions};

use super::row::PredictionRow;

pub use error::TableError;

/// How rows are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum TableFormat {
    /// Comma-separated values.
    Csv,
    /// One JSON object a line, with the names of the columns as keys and the blocks' ages as an array `blocks`.
    Jsonl,
}

impl TableFormat {
    /// By the ending of a name: JSON lines for `.jsonl` and `.ndjson`, else comma-separated values.
    pub fn of_name(path: &Path) -> Self {
        let ending = path.extension().and_then(|ending| ending.to_str());
        match ending.map(str::to_ascii_lowercase).as_deref() {
            Some("jsonl" | "ndjson") => Self::Jsonl,
            _ => Self::Csv,
        }
    }

    /// By the first byte of a table.
    fn of_bytes(bytes: &[u8]) -> Self {
        if bytes.first() == Some(&b'{') {
            Self::Jsonl
        } else {
            Self::Csv
        }
    }

    fn whole_lines(self, bytes: &[u8]) -> usize {
        match self {
            Self::Csv => comma_separated::whole_lines(bytes),
            Self::Jsonl => json_lines::whole_lines(bytes),
        }
    }

    fn header(self, n_blocks: usize) -> io::Result<Vec<u8>> {
        match self {
            Self::Csv => comma_separated::header(n_blocks),
            Self::Jsonl => Ok(Vec::new()),
        }
    }
}

/// Fills a table of predictions, row by row.
#[derive(Debug)]
pub struct PredictionWriter {
    path: PathBuf,
    file: File,
    format: TableFormat,
    n_blocks: usize,
    n_lines: u64,
}

impl PredictionWriter {
    /// Begins a table with `n_blocks` block columns. A table `path` of an earlier prediction stays until
    /// [`Self::finish`]; what a killed one left is dropped.
    ///
    /// # Errors
    /// What the file system answered.
    pub fn create(path: &Path, format: TableFormat, n_blocks: usize) -> Result<Self, TableError> {
        let mut file = File::create(partial_path(path))?;
        file.write_all(&format.header(n_blocks)?)?;
        Ok(Self {
            path: path.to_path_buf(),
            file,
            format,
            n_blocks,
            n_lines: u64::from(format == TableFormat::Csv),
        })
    }

    /// Goes on with the table that a killed prediction left, whose rows are returned; a row that was cut is dropped.
    /// Where none was left, the rows of the whole table `path` are taken over, and where there is none either, a new
    /// one is begun.
    ///
    /// # Errors
    /// The table is damaged, of another format or of a model with another number of blocks, or what the file system
    /// answered.
    pub fn resume(
        path: &Path,
        format: TableFormat,
        n_blocks: usize,
    ) -> Result<(Self, Vec<PredictionRow>), TableError> {
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
        if !bytes.is_empty() && TableFormat::of_bytes(&bytes) != format {
            return Err(TableError::OtherFormat {
                path: source.to_path_buf(),
            });
        }
        let whole = bytes.get(..format.whole_lines(&bytes)).unwrap_or_default();
        if whole.is_empty() {
            return Ok((Self::create(path, format, n_blocks)?, Vec::new()));
        }
        let (found, rows) = parse(whole, source)?;
        // JSON lines without a prediction say nothing of the number of blocks.
        if found != n_blocks && !(format == TableFormat::Jsonl && found == 0) {
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
            let header_lines = u64::from(format == TableFormat::Csv);
            let n_lines = rows.len() as u64 + header_lines;
            let path = path.to_path_buf();
            let writer = Self {
                path,
                file,
                format,
                n_blocks,
                n_lines,
            };
            // A table of an earlier version lacks columns: its rows are written anew.
            if format == TableFormat::Jsonl || whole.starts_with(&format.header(n_blocks)?) {
                return Ok((writer, rows));
            }
            drop(writer);
        }
        let mut writer = Self::create(path, format, n_blocks)?;
        rows.iter().try_for_each(|row| writer.write(row))?;
        Ok((writer, rows))
    }

    /// Appends a row, which is in the file when this returns.
    ///
    /// # Errors
    /// [`TableError::Field`] if a number is NaN or infinite, [`TableError::Row`] if there are neither no block ages nor
    /// one of each block; else what the file system answered.
    pub fn write(&mut self, row: &PredictionRow) -> Result<(), TableError> {
        self.check(row)?;
        let line = match self.format {
            TableFormat::Csv => comma_separated::line(row, self.n_blocks)?,
            TableFormat::Jsonl => json_lines::line(row)?,
        };
        self.file.write_all(&line)?;
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

    fn check(&self, row: &PredictionRow) -> Result<(), TableError> {
        let n_ages = row.block_ages_years.len();
        if n_ages != 0 && n_ages != self.n_blocks {
            return Err(TableError::Row {
                path: self.path.clone(),
                line: self.n_lines + 1,
                message: format!("found {n_ages} block ages, expected {}", self.n_blocks),
            });
        }
        let numbers = [
            ("age_years", row.age_years),
            ("predicted_age", row.predicted_age_years),
            ("gap", row.gap_years),
            ("corrected_gap", row.corrected_gap_years),
            ("seconds", row.seconds),
            ("predicted_low", row.low_years),
            ("predicted_high", row.high_years),
            ("coverage", row.coverage),
            ("head_sd", row.head_sd_years),
            ("tta_sd", row.tta_sd_years),
            ("models_sd", row.models_sd_years),
        ];
        let blocks = row.block_ages_years.iter().map(|age| ("block", Some(*age)));
        for (column, value) in numbers.into_iter().chain(blocks) {
            if let Some(value) = value.filter(|value| !value.is_finite()) {
                return Err(TableError::Field {
                    path: self.path.clone(),
                    line: self.n_lines + 1,
                    column: column.to_owned(),
                    found: value.to_string(),
                    expected: "a finite number",
                });
            }
        }
        Ok(())
    }
}

/// The rows of a table, in its order. Columns are found by name, others than ours are passed over. Comma-separated
/// values and JSON lines are told apart by their first byte.
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

/// Number of blocks, and the rows.
fn parse(bytes: &[u8], path: &Path) -> Result<(usize, Vec<PredictionRow>), TableError> {
    match TableFormat::of_bytes(bytes) {
        TableFormat::Csv => comma_separated::parse(bytes, path),
        TableFormat::Jsonl => json_lines::parse(bytes, path),
    }
}

#[cfg(test)]
mod tests;
