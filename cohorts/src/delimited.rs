//! Tables as cohorts ship them: comma, tab or semicolon, with or without BOM, of any width.
//!
//! Rows are read one after the other, so a table may be larger than the memory. Cells are text here;
//! [`crate::demographics`] and the layouts make values of them.

use std::borrow::Cow;
use std::io::{BufRead as _, BufReader, Cursor, Read};
use std::path::{Path, PathBuf};

use crate::error::Error;

/// Longest first line that is read, bytes.
const LONGEST_HEADER: u64 = 16 << 20;

/// A table whose header has been read.
pub(crate) struct Delimited {
    path: PathBuf,
    headers: Vec<String>,
    delimiter: u8,
    reader: csv::Reader<Box<dyn Read>>,
}

impl Delimited {
    /// Opens a table with a header line.
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        Self::start(path, true)
    }

    /// Opens a table whose first line is already a row.
    pub(crate) fn open_bare(path: &Path) -> Result<Self, Error> {
        Self::start(path, false)
    }

    fn start(path: &Path, has_headers: bool) -> Result<Self, Error> {
        let not_a_table = |problem| Error::NotATable {
            problem,
            path: path.to_path_buf(),
        };
        if path
            .extension()
            .is_some_and(|ext| ext.eq_ignore_ascii_case("enc_ukb"))
        {
            return Err(not_a_table("encrypted UK Biobank download"));
        }
        let what = "reading the table";
        let file = fs_err::File::open(path).map_err(Error::io(what, path))?;
        let mut rest = BufReader::with_capacity(1 << 16, file);
        let mut first = Vec::new();
        let mut limited = rest.by_ref().take(LONGEST_HEADER);
        limited
            .read_until(b'\n', &mut first)
            .map_err(Error::io(what, path))?;
        if let Some(problem) = foreign_format(&first) {
            return Err(not_a_table(problem));
        }
        if first.starts_with(b"\xef\xbb\xbf") {
            first.drain(..3);
        }
        let delimiter = sniff_delimiter(&first);
        let whole: Box<dyn Read> = Box::new(Cursor::new(first).chain(rest));
        let mut reader = csv::ReaderBuilder::new()
            .delimiter(delimiter)
            .flexible(true)
            .has_headers(has_headers)
            .from_reader(whole);
        let mut headers = Vec::new();
        if has_headers {
            let found = reader.byte_headers().map_err(Error::table(path))?;
            headers.extend(
                found
                    .iter()
                    .map(|name| String::from_utf8_lossy(name).trim().to_owned()),
            );
        }
        Ok(Self {
            path: path.to_path_buf(),
            headers,
            delimiter,
            reader,
        })
    }

    /// The file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Column names as written, trimmed.
    pub(crate) fn headers(&self) -> &[String] {
        &self.headers
    }

    /// The first of `names` that is a column, compared by [`plain_name`].
    pub(crate) fn column(&self, names: &[&str]) -> Option<usize> {
        let plain: Vec<_> = self.headers.iter().map(|name| plain_name(name)).collect();
        names
            .iter()
            .find_map(|name| plain.iter().position(|found| found == name))
    }

    /// Column names for a message: the first few, and how many more.
    pub(crate) fn shown_headers(&self) -> String {
        const SHOWN: usize = 12;
        let quoted = self
            .headers
            .iter()
            .take(SHOWN)
            .map(|name| format!("`{name}`"));
        let text = quoted.collect::<Vec<_>>().join(", ");
        match self.headers.len() {
            0 => "no columns".to_owned(),
            n if n > SHOWN => format!("{text} and {} more", n - SHOWN),
            _ => text,
        }
    }

    /// Where fields are separated by semicolons, a comma is a decimal point.
    pub(crate) fn decimal_comma(&self) -> bool {
        self.delimiter == b';'
    }

    /// Reads the next row into `record`; false at the end.
    pub(crate) fn read_row(&mut self, record: &mut csv::ByteRecord) -> Result<bool, Error> {
        self.reader
            .read_byte_record(record)
            .map_err(Error::table(&self.path))
    }
}

/// A cell, trimmed; empty where the row is too short or there is no such column.
pub(crate) fn cell(record: &csv::ByteRecord, column: Option<usize>) -> Cow<'_, str> {
    let bytes = column
        .and_then(|column| record.get(column))
        .unwrap_or_default();
    String::from_utf8_lossy(bytes.trim_ascii())
}

/// A column name in lower case, without units in brackets, words joined by `_`.
pub(crate) fn plain_name(name: &str) -> String {
    let name = name.trim_start_matches('\u{feff}');
    let bare = name.split(['(', '[']).next().unwrap_or_default().trim();
    let bare = if bare.is_empty() { name.trim() } else { bare };
    bare.chars()
        .map(|c| {
            if matches!(c, ' ' | '-' | '.') {
                '_'
            } else {
                c.to_ascii_lowercase()
            }
        })
        .collect()
}

fn foreign_format(first: &[u8]) -> Option<&'static str> {
    const SIGNATURES: [(&[u8], &str); 6] = [
        (b"PK\x03\x04", "a zip archive or Excel workbook"),
        (b"\xd0\xcf\x11\xe0", "an Excel workbook"),
        (b"\x1f\x8b", "a gzip file"),
        (b"\xff\xfe", "UTF-16 text"),
        (b"\xfe\xff", "UTF-16 text"),
        (b"%PDF", "a PDF document"),
    ];
    let known = SIGNATURES
        .iter()
        .find(|(signature, _)| first.starts_with(signature));
    known
        .map(|&(_, name)| name)
        .or_else(|| first.contains(&0).then_some("a binary file"))
}

/// The separator that occurs most in the first line, outside of quotes.
fn sniff_delimiter(line: &[u8]) -> u8 {
    let mut counts = [(b',', 0_usize), (b'\t', 0), (b';', 0)];
    let mut quoted = false;
    for &byte in line {
        if byte == b'"' {
            quoted = !quoted;
        }
        for (delimiter, count) in &mut counts {
            *count += usize::from(byte == *delimiter && !quoted);
        }
    }
    // The first of equals wins: a comma where there is no separator at all.
    counts
        .into_iter()
        .rev()
        .max_by_key(|&(_, count)| count)
        .map_or(b',', |(delimiter, _)| delimiter)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn write(bytes: &[u8]) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("table.csv");
        fs_err::write(&path, bytes).unwrap();
        (folder, path)
    }

    #[test]
    fn bom_quotes_and_any_delimiter_are_understood() {
        for text in [
            "\u{feff}\"MRID\",\"Age (years)\"\r\n\"a,b\",38.5\r\n",
            "MRID\tAge [y]\na,b\t38.5\n",
            "mrid;AGE\n\"a,b\";38.5",
        ] {
            let (_folder, path) = write(text.as_bytes());
            let mut table = Delimited::open(&path).unwrap();
            let (id, age) = (table.column(&["mrid"]), table.column(&["age"]));
            let mut record = csv::ByteRecord::new();
            assert!(table.read_row(&mut record).unwrap(), "{text}");
            assert_eq!(
                (cell(&record, id), cell(&record, age)),
                ("a,b".into(), "38.5".into())
            );
            assert!(!table.read_row(&mut record).unwrap());
        }
    }

    #[test]
    fn workbooks_and_binary_files_are_named_as_such() {
        for bytes in [&b"PK\x03\x04rest"[..], b"a,b\0c\n", b"\xff\xfea\0"] {
            let (_folder, path) = write(bytes);
            assert!(matches!(
                Delimited::open(&path),
                Err(Error::NotATable { .. })
            ));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let (_folder, path) = write(&bytes);
            if let Ok(mut table) = Delimited::open(&path) {
                let mut record = csv::ByteRecord::new();
                while table.read_row(&mut record).unwrap_or(false) {
                    cell(&record, Some(0));
                }
            }
        }
    }
}
