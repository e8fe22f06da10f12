//! Tables of predictions as comma-separated values: fields of a row, and back.

use std::io;
use std::path::Path;

use brainage_pipelines::qc::QcVerdict;
use csv::StringRecord;

use super::TableError;
use crate::predict::row::PredictionRow;

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

/// Columns that came later: a table without them is one of an earlier version.
const LATER_COLUMNS: [&str; 8] = [
    "predicted_low",
    "predicted_high",
    "coverage",
    "head_sd",
    "tta_sd",
    "models_sd",
    "in_training",
    "warnings",
];

/// Between the reasons in one field.
const REASON_SEPARATOR: &str = "; ";

/// The columns that every table has, in their order.
pub(super) fn contracted_columns(n_blocks: usize) -> Vec<String> {
    let blocks = (0..n_blocks).map(block_column);
    let first = FIRST_COLUMNS.iter().map(ToString::to_string);
    first
        .chain(blocks)
        .chain(LAST_COLUMNS.iter().map(ToString::to_string))
        .collect()
}

/// All columns that are written, in their order.
pub(super) fn columns(n_blocks: usize) -> Vec<String> {
    let mut columns = contracted_columns(n_blocks);
    columns.extend(LATER_COLUMNS.iter().map(ToString::to_string));
    columns
}

fn block_column(block: usize) -> String {
    format!("block_{}", block + 1)
}

/// The header line.
pub(super) fn header(n_blocks: usize) -> io::Result<Vec<u8>> {
    record_bytes(&columns(n_blocks))
}

/// The line of a row whose numbers are finite and whose block ages are `n_blocks`, or none.
pub(super) fn line(row: &PredictionRow, n_blocks: usize) -> io::Result<Vec<u8>> {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let number = |value: Option<f64>| value.map(|value| value.to_string()).unwrap_or_default();
    let mut fields = vec![
        row.scan.clone(),
        text(&row.participant_id),
        text(&row.session_id),
        number(row.age_years),
        number(row.predicted_age_years),
        number(row.gap_years),
        number(row.corrected_gap_years),
    ];
    fields.extend((0..n_blocks).map(|block| number(row.block_ages_years.get(block).copied())));
    let qc = row.qc.map(|verdict| verdict.to_string());
    fields.extend([
        qc.unwrap_or_default(),
        joined(&row.qc_reasons),
        row.recipe.clone(),
        row.model.clone(),
        number(row.seconds),
        text(&row.error),
        number(row.low_years),
        number(row.high_years),
        number(row.coverage),
        number(row.head_sd_years),
        number(row.tta_sd_years),
        number(row.models_sd_years),
        text(&row.in_training),
        joined(&row.warnings),
    ]);
    record_bytes(&fields)
}

/// Reasons in one field; a separator within one would part it in two when it is read back.
fn joined(reasons: &[String]) -> String {
    let reasons = reasons.iter();
    let whole = reasons.map(|reason| reason.replace(REASON_SEPARATOR, ", "));
    whole.collect::<Vec<_>>().join(REASON_SEPARATOR)
}

fn parted(field: &str) -> Vec<String> {
    let reasons = field.split(REASON_SEPARATOR);
    let some = reasons.filter(|reason| !reason.is_empty());
    some.map(ToOwned::to_owned).collect()
}

fn record_bytes(fields: &[String]) -> io::Result<Vec<u8>> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(fields).map_err(io::Error::other)?;
    writer
        .into_inner()
        .map_err(|error| io::Error::other(error.to_string()))
}

/// Length of the whole lines at the head of a table: up to the last line end that is not within quotes.
pub(super) fn whole_lines(bytes: &[u8]) -> usize {
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
pub(super) fn parse(bytes: &[u8], path: &Path) -> Result<(usize, Vec<PredictionRow>), TableError> {
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
    Ok((layout.n_blocks, rows))
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
    /// Position of each column that we know, by its name.
    positions: Vec<(String, usize)>,
    n_blocks: usize,
}

impl Layout {
    fn of(header: &StringRecord, path: &Path) -> Result<Self, TableError> {
        let n_blocks = header
            .iter()
            .filter_map(|name| name.strip_prefix("block_")?.parse::<u16>().ok())
            .map(usize::from)
            .max()
            .unwrap_or(0);
        let contracted = contracted_columns(n_blocks);
        let mut positions = Vec::new();
        let mut missing = Vec::new();
        for (number, column) in columns(n_blocks).into_iter().enumerate() {
            let mut found = header
                .iter()
                .enumerate()
                .filter(|(_, name)| **name == column);
            match (found.next(), found.next()) {
                (None, _) if number < contracted.len() => missing.push(column),
                (None, _) => {}
                (Some((position, _)), None) => positions.push((column, position)),
                (Some(_), Some(_)) => {
                    return Err(TableError::RepeatedColumn {
                        path: path.to_path_buf(),
                        column,
                    });
                }
            }
        }
        if missing.is_empty() {
            return Ok(Self {
                positions,
                n_blocks,
            });
        }
        Err(TableError::MissingColumns {
            path: path.to_path_buf(),
            missing,
        })
    }

    fn row(&self, record: &StringRecord, path: &Path) -> Result<PredictionRow, TableError> {
        let fields = Fields {
            layout: self,
            record,
            path,
        };
        let ages = (0..self.n_blocks)
            .map(|block| fields.number(&block_column(block)))
            .collect::<Result<Vec<_>, _>>()?;
        let n_ages = ages.iter().flatten().count();
        if n_ages != 0 && n_ages != ages.len() {
            let message = format!("found {n_ages} block ages, expected {} or none", ages.len());
            return Err(TableError::Row {
                path: path.to_path_buf(),
                line: fields.line(),
                message,
            });
        }
        Ok(PredictionRow {
            scan: fields.get("scan").to_owned(),
            participant_id: fields.text("participant_id"),
            session_id: fields.text("session_id"),
            age_years: fields.number("age_years")?,
            predicted_age_years: fields.number("predicted_age")?,
            gap_years: fields.number("gap")?,
            corrected_gap_years: fields.number("corrected_gap")?,
            block_ages_years: ages.into_iter().flatten().collect(),
            qc: fields.verdict("qc")?,
            qc_reasons: parted(fields.get("qc_reasons")),
            recipe: fields.get("recipe").to_owned(),
            model: fields.get("model").to_owned(),
            seconds: fields.number("seconds")?,
            error: fields.text("error"),
            low_years: fields.number("predicted_low")?,
            high_years: fields.number("predicted_high")?,
            coverage: fields.number("coverage")?,
            head_sd_years: fields.number("head_sd")?,
            tta_sd_years: fields.number("tta_sd")?,
            models_sd_years: fields.number("models_sd")?,
            in_training: fields.text("in_training"),
            warnings: parted(fields.get("warnings")),
        })
    }
}

/// The fields of one line.
struct Fields<'a> {
    layout: &'a Layout,
    record: &'a StringRecord,
    path: &'a Path,
}

impl Fields<'_> {
    fn line(&self) -> u64 {
        self.record.position().map_or(1, csv::Position::line)
    }

    /// Nothing where the column is not there.
    fn get(&self, column: &str) -> &str {
        let mut positions = self.layout.positions.iter();
        positions
            .find(|(name, _)| name == column)
            .and_then(|(_, position)| self.record.get(*position))
            .unwrap_or_default()
    }

    fn text(&self, column: &str) -> Option<String> {
        let found = self.get(column);
        (!found.is_empty()).then(|| found.to_owned())
    }

    fn number(&self, column: &str) -> Result<Option<f64>, TableError> {
        let found = self.get(column);
        match found.trim() {
            "" => Ok(None),
            text => match text.parse::<f64>() {
                Ok(value) if value.is_finite() => Ok(Some(value)),
                _ => Err(self.wrong(column, "a number, or nothing")),
            },
        }
    }

    fn verdict(&self, column: &str) -> Result<Option<QcVerdict>, TableError> {
        match self.get(column) {
            "" => Ok(None),
            "pass" => Ok(Some(QcVerdict::Pass)),
            "warn" => Ok(Some(QcVerdict::Warn)),
            "fail" => Ok(Some(QcVerdict::Fail)),
            _ => Err(self.wrong(column, "pass, warn, fail, or nothing")),
        }
    }

    fn wrong(&self, column: &str, expected: &'static str) -> TableError {
        TableError::Field {
            path: self.path.to_path_buf(),
            line: self.line(),
            column: column.to_owned(),
            found: self.get(column).to_owned(),
            expected,
        }
    }
}
