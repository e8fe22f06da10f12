//! Tables of predictions as JSON lines: one object a scan, its keys those of the columns, `blocks` an array.

use std::io;
use std::path::Path;

use super::TableError;
use crate::predict::row::PredictionRow;

/// The line of a row whose numbers are finite.
pub(super) fn line(row: &PredictionRow) -> io::Result<Vec<u8>> {
    let mut bytes = serde_json::to_vec(row)?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// Length of the whole lines at the head of a table; JSON has no line end within a value.
pub(super) fn whole_lines(bytes: &[u8]) -> usize {
    let last = bytes.iter().rposition(|byte| *byte == b'\n');
    last.map_or(0, |position| position + 1)
}

/// The greatest number of block ages in a row, and the rows.
pub(super) fn parse(bytes: &[u8], path: &Path) -> Result<(usize, Vec<PredictionRow>), TableError> {
    let mut rows = Vec::new();
    for (number, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
        if line.trim_ascii().is_empty() {
            continue;
        }
        let row: PredictionRow = serde_json::from_slice(line).map_err(|error| TableError::Row {
            path: path.to_path_buf(),
            line: number as u64 + 1,
            message: format!("no row of predictions ({error})"),
        })?;
        rows.push(row);
    }
    let n_blocks = rows.iter().map(|row| row.block_ages_years.len()).max();
    Ok((n_blocks.unwrap_or(0), rows))
}
