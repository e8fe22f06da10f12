//! `SCANS…` of a command: files, folders and patterns become a list of files.
//!
//! A folder gives all scans below it, a pattern (`*` and `?` in the last part of a path) the files that fit. A file
//! that was named outright is taken whatever its name; whether it is a scan shows when it is read. Of a BIDS data set (a
//! folder with `dataset_description.json`) only the T1w images are taken, and nothing of its derivatives.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use brainage_pipelines::format::{find_scans, is_scan_name};

use crate::predict::predictor::Visit;

use super::exit::CliError;

/// All scan files that the arguments name, in their order, each once.
///
/// # Errors
/// [`CliError::Usage`] where an argument names nothing, or a folder holds no scan.
pub fn resolve_scans(arguments: &[PathBuf]) -> anyhow::Result<Vec<PathBuf>> {
    let mut scans: Vec<PathBuf> = Vec::new();
    let mut seen = std::collections::HashSet::new();
    for argument in arguments {
        let found = scans_of(argument)?;
        scans.extend(found.into_iter().filter(|scan| seen.insert(scan.clone())));
    }
    Ok(scans)
}

fn scans_of(argument: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let shown = argument.display();
    let found = if argument.is_dir() {
        let scans = find_scans(argument)
            .with_context(|| format!("folder cannot be searched: `{shown}`"))?;
        if argument.join("dataset_description.json").is_file() {
            let ours = scans.into_iter();
            ours.filter(|scan| is_t1w_of(argument, scan)).collect()
        } else {
            scans
        }
    } else if argument.exists() {
        return Ok(vec![argument.to_path_buf()]);
    } else if let Some(pattern) = pattern_of(argument) {
        matching(argument.parent().unwrap_or(Path::new("")), &pattern)
            .with_context(|| format!("folder cannot be searched: `{shown}`"))?
    } else {
        let message = format!("no such file or folder: `{shown}`");
        return Err(CliError::usage(message, existing_part(argument)).into());
    };
    if found.is_empty() {
        let hint = "scans are NIfTI files: .nii, .nii.gz, or .hdr with .img";
        return Err(CliError::usage(format!("no scans found: `{shown}`"), hint).into());
    }
    Ok(found)
}

/// Whether a file below a BIDS data set is one of its own T1w images.
fn is_t1w_of(data_set: &Path, scan: &Path) -> bool {
    let below = scan.strip_prefix(data_set).unwrap_or(scan);
    let first = below.components().next();
    let first = first.map(|part| part.as_os_str().to_string_lossy().into_owned());
    let apart = matches!(
        first.as_deref(),
        Some("derivatives" | "sourcedata" | "code")
    );
    !apart && name_of(scan).contains("_T1w.")
}

fn name_of(path: &Path) -> String {
    path.file_name()
        .map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}

/// The scans that a list names, one a line; `#` begins a remark, and paths are relative to the folder of the list.
///
/// # Errors
/// Where the list cannot be read or names nothing.
pub fn listed_scans(list: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let text = fs_err::read_to_string(list)?;
    let folder = list.parent().unwrap_or(Path::new(""));
    let lines = text.trim_start_matches('\u{feff}').lines();
    let names = lines.map(|line| line.split('#').next().unwrap_or_default().trim());
    let scans: Vec<PathBuf> = names
        .filter(|name| !name.is_empty())
        .map(|name| folder.join(name))
        .collect();
    if scans.is_empty() {
        let message = format!("no scan in the list: `{}`", list.display());
        return Err(CliError::usage(message, "write one path a line").into());
    }
    Ok(scans)
}

/// Participant and session as BIDS names say them (`sub-01_ses-2_T1w.nii.gz`, or a folder `sub-01`).
pub fn visit_in_names(scan: &Path) -> Visit {
    let name = name_of(scan);
    let folders = scan.parent().into_iter().flat_map(Path::components);
    let folders: Vec<String> = folders
        .map(|part| part.as_os_str().to_string_lossy().into_owned())
        .collect();
    let entity = |prefix: &str| {
        let parts = name
            .split(['_', '.'])
            .chain(folders.iter().rev().map(String::as_str));
        let mut found = parts.filter(|part| part.starts_with(prefix) && part.len() > prefix.len());
        found.next().map(ToOwned::to_owned)
    };
    Visit {
        participant_id: entity("sub-"),
        session_id: entity("ses-"),
        age_years: None,
    }
}

/// The last part of a path, where it is a pattern.
fn pattern_of(path: &Path) -> Option<String> {
    let name = path.file_name()?.to_str()?;
    name.contains(['*', '?']).then(|| name.to_owned())
}

fn matching(folder: &Path, pattern: &str) -> std::io::Result<Vec<PathBuf>> {
    let place = if folder.as_os_str().is_empty() {
        Path::new(".")
    } else {
        folder
    };
    let mut names = Vec::new();
    for entry in fs_err::read_dir(place)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if !name.starts_with('.') && fits(&name, pattern) && is_scan_name(Path::new(&name)) {
            names.push(name);
        }
    }
    names.sort_unstable_by(|a, b| natord::compare(a, b).then_with(|| a.cmp(b)));
    Ok(names.into_iter().map(|name| folder.join(name)).collect())
}

/// Whether a name fits a pattern: `*` is any run of characters, `?` any one.
fn fits(name: &str, pattern: &str) -> bool {
    let name: Vec<char> = name.chars().collect();
    // `reach[i]`: whether the pattern so far fits the first `i` characters.
    let mut reach = vec![false; name.len() + 1];
    reach[0] = true;
    for part in pattern.chars() {
        let before = reach.clone();
        for i in 0..=name.len() {
            reach[i] = match part {
                '*' => before[i] || (i > 0 && reach[i - 1]),
                '?' => i > 0 && before[i - 1],
                part => i > 0 && before[i - 1] && name[i - 1] == part,
            };
        }
    }
    reach[name.len()]
}

/// Up to where a path that does not exist is there.
fn existing_part(path: &Path) -> String {
    match path
        .ancestors()
        .skip(1)
        .find(|above| !above.as_os_str().is_empty() && above.exists())
    {
        Some(above) => format!("`{}` is there; look at the part after it", above.display()),
        None => "the path is relative to the working directory".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder_with(names: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for name in names {
            fs_err::write(folder.path().join(name), "").unwrap();
        }
        folder
    }

    #[test]
    fn a_star_fits_any_run_and_a_question_mark_any_one_character() {
        for (name, pattern, expected) in [
            ("sub-1_T1w.nii", "sub-*_T1w.nii", true),
            ("sub-_T1w.nii", "sub-*_T1w.nii", true),
            ("sub-1_T2w.nii", "sub-*_T1w.nii", false),
            ("aab", "*ab", true),
            ("ab", "?b", true),
            ("b", "?b", false),
            ("abc", "ab", false),
        ] {
            assert_eq!(fits(name, pattern), expected, "{name} {pattern}");
        }
    }

    #[test]
    fn folders_patterns_and_files_give_each_scan_once_in_natural_order() {
        let folder = folder_with(&["s10.nii", "s2.nii", "notes.txt"]);
        let at = |name: &str| folder.path().join(name);
        let arguments = [at("s10.nii"), at("s*.nii"), folder.path().to_path_buf()];
        assert_eq!(
            resolve_scans(&arguments).unwrap(),
            [at("s10.nii"), at("s2.nii")]
        );
        assert_eq!(
            resolve_scans(&[at("*")]).unwrap(),
            [at("s2.nii"), at("s10.nii")]
        );
    }

    #[test]
    fn of_a_bids_data_set_the_t1w_images_are_taken_and_no_derivatives() {
        let folder = folder_with(&["dataset_description.json"]);
        for name in [
            "sub-1/anat/sub-1_T1w.nii.gz",
            "sub-1/anat/sub-1_T2w.nii.gz",
            "sub-1/func/sub-1_bold.nii.gz",
            "derivatives/x/sub-1/anat/sub-1_T1w.nii.gz",
        ] {
            let path = folder.path().join(name);
            fs_err::create_dir_all(path.parent().unwrap()).unwrap();
            fs_err::write(path, "").unwrap();
        }
        let t1w = folder.path().join("sub-1/anat/sub-1_T1w.nii.gz");
        assert_eq!(
            resolve_scans(&[folder.path().to_path_buf()]).unwrap(),
            std::slice::from_ref(&t1w)
        );
        let visit = visit_in_names(&t1w);
        assert_eq!(visit.participant_id.as_deref(), Some("sub-1"));
        assert_eq!(visit.session_id, None);
        let visit = visit_in_names(Path::new("d/sub-01/ses-b/anat/scan.nii"));
        assert_eq!(visit.participant_id.as_deref(), Some("sub-01"));
        assert_eq!(visit.session_id.as_deref(), Some("ses-b"));
        assert_eq!(visit_in_names(Path::new("scan.nii")), Visit::default());
    }

    #[test]
    fn a_list_names_scans_relative_to_its_folder() {
        let folder = folder_with(&["s2.nii"]);
        let list = folder.path().join("list.txt");
        fs_err::write(&list, "# three\n\ns2.nii  # this one\n/abs/s1.nii\n").unwrap();
        assert_eq!(
            listed_scans(&list).unwrap(),
            [folder.path().join("s2.nii"), PathBuf::from("/abs/s1.nii")]
        );
        fs_err::write(&list, "# none\n").unwrap();
        assert!(listed_scans(&list).is_err());
    }

    #[test]
    fn what_is_not_there_is_named_with_the_part_that_is() {
        let folder = folder_with(&[]);
        let missing = folder.path().join("no/such");
        let error = resolve_scans(std::slice::from_ref(&missing)).unwrap_err();
        let Some(CliError::Usage { message, hint }) = error.downcast_ref() else {
            panic!("{error}")
        };
        assert!(
            message.contains(&missing.display().to_string()),
            "{message}"
        );
        assert!(
            hint.contains(&folder.path().display().to_string()),
            "{hint}"
        );
        assert!(
            resolve_scans(&[folder.path().to_path_buf()]).is_err(),
            "no scans in it"
        );
    }
}
