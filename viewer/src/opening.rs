//! From what the user names to subjects: scans, folders, entries of the cache, run folders and tables of predictions.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use brainage_pipelines::cache::CacheEntry;
use brainage_pipelines::format::find_scans;

use crate::panels::run::data::is_run;
use crate::predictor::Progress;
use crate::subject::Subject;

/// Of so many entries of a cache, each is opened to learn which scan it was made from.
const NAMED_ENTRIES: usize = 500;

/// Reads a table of predictions, or the one of a run folder; the caller knows their format.
pub type ReadSubjects = Arc<dyn Fn(&Path) -> Result<Vec<Subject>, String> + Send + Sync>;

/// What was found.
#[derive(Clone, Debug, Default)]
pub(crate) struct Opened {
    /// In the order named.
    pub(crate) subjects: Vec<Subject>,
    /// A run folder among what was named.
    pub(crate) run: Option<PathBuf>,
    /// What cannot be opened, and why.
    pub(crate) problems: Vec<String>,
}

/// Looks at everything that was named.
pub(crate) fn open_paths(
    paths: &[PathBuf],
    read_subjects: Option<&ReadSubjects>,
    progress: &dyn Fn(Progress),
) -> Opened {
    let mut opened = Opened::default();
    for (i, path) in paths.iter().enumerate() {
        progress(Progress::new("searching", i as f32 / paths.len() as f32));
        let found = subjects_of(path, read_subjects, &mut opened.run);
        match found {
            Ok(subjects) if subjects.is_empty() && opened.run.is_none() => {
                opened
                    .problems
                    .push(format!("no scans in `{}`", path.display()));
            }
            Ok(subjects) => opened.subjects.extend(subjects),
            Err(problem) => opened.problems.push(problem),
        }
    }
    opened
}

fn subjects_of(
    path: &Path,
    read_subjects: Option<&ReadSubjects>,
    run: &mut Option<PathBuf>,
) -> Result<Vec<Subject>, String> {
    let table = |path: &Path| match read_subjects {
        Some(read) => read(path),
        None => Err(format!("tables cannot be read here: `{}`", path.display())),
    };
    if path.is_dir() && is_run(path) {
        *run = Some(path.to_path_buf());
        return if path.join("predictions.csv").is_file() {
            table(path)
        } else {
            Ok(Vec::new())
        };
    }
    if path.is_dir() {
        let searched = |error| format!("folder cannot be searched ({error}): `{}`", path.display());
        let scans = find_scans(path).map_err(searched)?;
        if !scans.is_empty() {
            return Ok(scans.into_iter().map(Subject::from_path).collect());
        }
        let entries = find_entries(path).map_err(searched)?;
        let named = entries.len() <= NAMED_ENTRIES;
        return Ok(entries.into_iter().map(|path| entry(path, named)).collect());
    }
    let has = |extension: &str| {
        path.extension()
            .is_some_and(|found| found.eq_ignore_ascii_case(extension))
    };
    if has("csv") {
        return table(path);
    }
    if has("vol") {
        return Ok(vec![entry(path.to_path_buf(), true)]);
    }
    Ok(vec![Subject::from_path(path.to_path_buf())])
}

/// An entry of the cache, named after the scan it was made from.
fn entry(path: PathBuf, named: bool) -> Subject {
    let source = named.then(|| CacheEntry::open(&path).ok()).flatten();
    let mut subject = Subject::from_path(path);
    if let Some(entry) = source {
        subject.name = Subject::from_path(entry.header.source.into()).name;
    }
    subject
}

/// All entries under a folder of the cache, by name.
fn find_entries(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    // A cache is two levels deep: what lies deeper is something else.
    for _ in 0..2 {
        let mut inner = Vec::new();
        for folder in folders {
            for entry in fs_err::read_dir(folder)? {
                let path = entry?.path();
                if path.is_dir() {
                    inner.push(path);
                } else if path.extension().is_some_and(|extension| extension == "vol") {
                    found.push(path);
                }
            }
        }
        folders = inner;
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(path: &Path) -> Opened {
        let read: ReadSubjects = Arc::new(|path: &Path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            Ok(vec![Subject::from_path(
                format!("row of {name}.nii").into(),
            )])
        });
        open_paths(&[path.to_path_buf()], Some(&read), &|_| ())
    }

    fn names(opened: &Opened) -> Vec<&str> {
        opened
            .subjects
            .iter()
            .map(|subject| subject.name.as_str())
            .collect()
    }

    #[test]
    fn what_is_named_is_told_apart_by_what_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for (file, name) in [
            ("scans/sub-2.nii", "sub-2"),
            ("scans/sub-10.nii.gz", "sub-10"),
            ("run/predictions.csv", ""),
            ("cache/ab/abcd.vol", ""),
            ("empty/notes.txt", ""),
        ] {
            let path = at(file);
            fs_err::create_dir_all(path.parent().unwrap()).unwrap();
            fs_err::write(path, name).unwrap();
        }
        assert_eq!(names(&open(&at("scans"))), ["sub-2", "sub-10"]);
        let run = open(&at("run"));
        assert_eq!(
            (names(&run), run.run.clone()),
            (vec!["row of run"], Some(at("run")))
        );
        assert_eq!(
            names(&open(&at("run/predictions.csv"))),
            ["row of predictions.csv"]
        );
        assert_eq!(names(&open(&at("cache"))), ["abcd"]);
        let empty = open(&at("empty"));
        assert!(empty.subjects.is_empty() && empty.problems[0].contains("no scans"));
    }
}
