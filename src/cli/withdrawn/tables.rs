//! The files of a run without the rows and lines that name who has withdrawn.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use brainage_cohorts::INDEX_COLUMNS;
use brainage_pipelines::atomic::write_atomically;
use brainage_viewer::review::ReviewTable;
use csv::StringRecord;

use super::Withdrawn;

/// How the header of predictions begins.
const PREDICTION_COLUMNS: [&str; 3] = ["scan", "participant_id", "session_id"];
/// Texts in which each line stands for itself.
const BY_LINE: [&str; 3] = ["jsonl", "txt", "log"];
/// Texts that mean something only as a whole.
const WHOLE: [&str; 5] = ["json", "html", "svg", "md", "csv"];

/// What became of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scrubbed {
    /// So many rows of an index were removed.
    Index(usize),
    /// So many rows of predictions were removed.
    Predictions(usize),
    /// It is neither.
    NoTable,
}

/// Removes the rows that are about withdrawn participants from an index or a table of predictions, finished or not;
/// their identifiers and scans are added to `names`.
///
/// # Errors
/// Where the file cannot be read as what its header says, or not be written.
pub(super) fn scrub_table(
    path: &Path,
    withdrawn: &Withdrawn,
    names: &mut BTreeSet<String>,
) -> io::Result<Scrubbed> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    if !name.ends_with(".csv") && !name.ends_with(".csv.partial") {
        return Ok(Scrubbed::NoTable);
    }
    let bytes = fs_err::read(path)?;
    let mut reader = csv::ReaderBuilder::new()
        .flexible(true)
        .from_reader(bytes.as_slice());
    let Ok(header) = reader.headers().cloned() else {
        return Ok(Scrubbed::NoTable);
    };
    let is_index = header.iter().eq(INDEX_COLUMNS);
    if !is_index && !header.iter().take(3).eq(PREDICTION_COLUMNS) {
        return Ok(Scrubbed::NoTable);
    }
    let mut kept: Vec<StringRecord> = vec![header];
    let mut n_removed = 0;
    for record in reader.records() {
        let record = record.map_err(io::Error::other)?;
        let cell = |column: usize| record.get(column).unwrap_or_default();
        let (participant, scan) = if is_index {
            (cell(1), cell(10))
        } else {
            (cell(1), cell(0))
        };
        let theirs = if is_index {
            withdrawn.is_row(cell(0), participant, Path::new(scan))
        } else {
            withdrawn.is_scan(Path::new(scan), participant)
        };
        if !theirs {
            kept.push(record);
            continue;
        }
        n_removed += 1;
        let found = [participant, scan]
            .into_iter()
            .filter(|name| !name.is_empty());
        names.extend(found.map(str::to_owned));
    }
    if n_removed > 0 {
        write_atomically(path, |out| {
            let mut writer = csv::WriterBuilder::new().flexible(true).from_writer(out);
            kept.iter()
                .try_for_each(|record| writer.write_record(record))?;
            writer.flush()
        })?;
    }
    Ok(if is_index {
        Scrubbed::Index(n_removed)
    } else {
        Scrubbed::Predictions(n_removed)
    })
}

/// Removes what was said of withdrawn participants' scans from a table of judgments; answers how many rows went.
///
/// # Errors
/// Where the table cannot be understood or not be written.
pub(super) fn scrub_review(path: &Path, withdrawn: &Withdrawn) -> anyhow::Result<usize> {
    let mut table = ReviewTable::read_if_there(path)?;
    let n_removed = table.keep(|scan| !withdrawn.is_scan(scan, ""));
    if n_removed > 0 {
        let text = table.to_csv().map_err(io::Error::other)?;
        write_atomically(path, |out| out.write_all(&text))?;
    }
    Ok(n_removed)
}

/// Removes the lines of a text that name someone, or the whole file where lines do not stand for themselves. Answers
/// how many lines went, and whether the file did. Models, checkpoints and configs are no such texts.
///
/// # Errors
/// Where the file cannot be read, written or removed.
pub(super) fn scrub_text(path: &Path, names: &BTreeSet<String>) -> io::Result<(usize, bool)> {
    let extension = path.extension().unwrap_or_default().to_string_lossy();
    let by_line = BY_LINE.contains(&extension.as_ref());
    if !by_line && !WHOLE.contains(&extension.as_ref()) {
        return Ok((0, false));
    }
    let bytes = fs_err::read(path)?;
    let text = String::from_utf8_lossy(&bytes);
    let n_named = text.lines().filter(|line| names_any(line, names)).count();
    match (n_named, by_line) {
        (0, _) => Ok((0, false)),
        (_, true) => {
            let kept = text
                .split_inclusive('\n')
                .filter(|line| !names_any(line, names));
            let kept: String = kept.collect();
            write_atomically(path, |out| out.write_all(kept.as_bytes()))?;
            Ok((n_named, false))
        }
        (_, false) => fs_err::remove_file(path).map(|()| (0, true)),
    }
}

/// Whether a text holds one of the names, not as part of a longer word or number.
pub(super) fn names_any(text: &str, names: &BTreeSet<String>) -> bool {
    let part_of_word = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '.');
    let is_apart = |at: usize, name: &str| {
        let before = text.get(..at).and_then(|before| before.chars().next_back());
        let after = text
            .get(at + name.len()..)
            .and_then(|after| after.chars().next());
        // The end of a sentence, or of a file's name, is no part of the word.
        !part_of_word(before) && !after.is_some_and(char::is_alphanumeric)
    };
    names.iter().any(|name| {
        let mut places = text.match_indices(name.as_str());
        places.any(|(at, found)| is_apart(at, found))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_apart_and_not_within_words_and_numbers() {
        let names = BTreeSet::from(["1000223".to_owned(), "CC110033".to_owned()]);
        for text in [
            "1000223",
            "/bulk/1000223_20252_2_0.zip",
            "sub-CC110033_T1w.nii.gz",
            "scan of CC110033.",
        ] {
            assert!(names_any(text, &names), "{text}");
        }
        for text in ["", "0.1000223", "11000223", "10002234", "xCC110033"] {
            assert!(!names_any(text, &names), "{text}");
        }
    }

    #[test]
    fn lines_go_from_texts_by_line_and_other_texts_go_whole() {
        let folder = tempfile::tempdir().unwrap();
        let names = BTreeSet::from(["1000223".to_owned()]);
        let write = |name: &str| {
            let path = folder.path().join(name);
            fs_err::write(&path, "a\nscan 1000223\nb 0.1000223\n").unwrap();
            path
        };
        let log = write("log.txt");
        assert_eq!(scrub_text(&log, &names).unwrap(), (1, false));
        assert_eq!(fs_err::read_to_string(&log).unwrap(), "a\nb 0.1000223\n");
        let page = write("page.html");
        assert_eq!(scrub_text(&page, &names).unwrap(), (0, true));
        assert!(!page.exists());
        let model = write("model.safetensors");
        assert_eq!(scrub_text(&model, &names).unwrap(), (0, false));
        assert!(model.exists());
    }
}
