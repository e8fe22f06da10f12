//! Tables as cohorts ship them: comma, tab, semicolon or bar, in UTF-8, UTF-16 or Latin-1, with or without BOM, of
//! any width.
//!
//! Rows are read one after the other, so a table may be larger than the memory. Cells are text here;
//! [`crate::demographics`] and the layouts make values of them.

use std::borrow::Cow;
use std::io::{BufRead, BufReader, Cursor, Read};
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
        let mut bytes = BufReader::with_capacity(1 << 16, file);
        let start = bytes.fill_buf().map_err(Error::io(what, path))?;
        let mut rest: Box<dyn BufRead> = match utf16_order(start) {
            Some(order) => Box::new(BufReader::new(Utf16::new(bytes, order))),
            None => Box::new(bytes),
        };
        let mut first = Vec::new();
        let mut limited = (&mut rest).take(LONGEST_HEADER);
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
            headers.extend(found.iter().map(|name| text_of(name).trim().to_owned()));
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
    text_of(bytes.trim_ascii())
}

/// Bytes as text: UTF-8, or else Latin-1, in which every byte is a character.
fn text_of(bytes: &[u8]) -> Cow<'_, str> {
    match str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => bytes.iter().map(|&byte| char::from(byte)).collect(),
    }
}

/// Order of the two bytes of a UTF-16 unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ByteOrder {
    Little,
    Big,
}

/// UTF-16 by its mark, or by the zeros that Latin letters have in it.
fn utf16_order(start: &[u8]) -> Option<ByteOrder> {
    match start {
        [0xff, 0xfe, ..] => Some(ByteOrder::Little),
        [0xfe, 0xff, ..] => Some(ByteOrder::Big),
        [a, 0, b, 0, ..] if *a != 0 && *b != 0 => Some(ByteOrder::Little),
        [0, a, 0, b, ..] if *a != 0 && *b != 0 => Some(ByteOrder::Big),
        _ => None,
    }
}

/// A stream of UTF-16 as UTF-8. What is no character becomes U+FFFD.
struct Utf16<R> {
    inner: R,
    order: ByteOrder,
    /// A first half that waits for its second.
    high: Option<u16>,
    ready: Vec<u8>,
    /// How much of `ready` was handed out.
    given: usize,
}

impl<R: Read> Utf16<R> {
    fn new(inner: R, order: ByteOrder) -> Self {
        Self {
            inner,
            order,
            high: None,
            ready: Vec::new(),
            given: 0,
        }
    }

    fn push(&mut self, unit: u16) {
        let units = self.high.take().into_iter().chain([unit]);
        let units: Vec<u16> = units.collect();
        if let [high @ 0xd800..0xdc00] = units[..] {
            self.high = Some(high);
            return;
        }
        for decoded in char::decode_utf16(units) {
            let letter = decoded.unwrap_or(char::REPLACEMENT_CHARACTER);
            let mut bytes = [0; 4];
            self.ready.extend(letter.encode_utf8(&mut bytes).as_bytes());
        }
    }
}

impl<R: Read> Read for Utf16<R> {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        if self.given == self.ready.len() {
            self.ready.clear();
            self.given = 0;
            let mut bytes = Vec::with_capacity(1 << 13);
            self.inner.by_ref().take(1 << 13).read_to_end(&mut bytes)?;
            let (units, _half) = bytes.as_chunks::<2>();
            for &unit in units {
                self.push(match self.order {
                    ByteOrder::Little => u16::from_le_bytes(unit),
                    ByteOrder::Big => u16::from_be_bytes(unit),
                });
            }
        }
        let waiting = self.ready.get(self.given..).unwrap_or_default();
        let n = waiting.len().min(out.len());
        out[..n].copy_from_slice(&waiting[..n]);
        self.given += n;
        Ok(n)
    }
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
    const SIGNATURES: [(&[u8], &str); 4] = [
        (b"PK\x03\x04", "a zip archive or Excel workbook"),
        (b"\xd0\xcf\x11\xe0", "an Excel workbook"),
        (b"\x1f\x8b", "a gzip file"),
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
    let mut counts = [(b',', 0_usize), (b'\t', 0), (b';', 0), (b'|', 0)];
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
        for bytes in [&b"PK\x03\x04rest"[..], b"a,b\0c\n", b"\x1f\x8brest"] {
            let (_folder, path) = write(bytes);
            assert!(matches!(
                Delimited::open(&path),
                Err(Error::NotATable { .. })
            ));
        }
    }

    #[test]
    fn utf_16_and_latin_1_are_read_as_what_they_are() {
        let text = "id|name|age\r\n007|Zoë 𝄞|38.5\r\n".repeat(300);
        let units: Vec<u16> = text.encode_utf16().collect();
        let little: Vec<u8> = units.iter().flat_map(|unit| unit.to_le_bytes()).collect();
        let big: Vec<u8> = units.iter().flat_map(|unit| unit.to_be_bytes()).collect();
        let latin = b"id|name|age\n007|Zo\xeb \xb5|38.5\n".to_vec();
        for (bytes, name) in [
            ([b"\xff\xfe", little.as_slice()].concat(), "Zoë 𝄞"),
            ([b"\xfe\xff", big.as_slice()].concat(), "Zoë 𝄞"),
            (little, "Zoë 𝄞"),
            (latin, "Zoë µ"),
        ] {
            let (_folder, path) = write(&bytes);
            let mut table = Delimited::open(&path).unwrap();
            assert_eq!(table.headers(), ["id", "name", "age"]);
            let mut record = csv::ByteRecord::new();
            while table.read_row(&mut record).unwrap() {
                if cell(&record, Some(0)) != "id" {
                    assert_eq!(cell(&record, Some(0)), "007");
                    assert_eq!(cell(&record, Some(1)), name);
                }
            }
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
