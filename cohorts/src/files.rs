//! The files under a cohort's folder.
//!
//! One walk serves scans, tables and lists. Hidden files are passed over, folders that lead back into the tree are
//! entered once, and a folder that cannot be read is reported instead of ending the walk.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Deepest folder that is entered.
const DEEPEST: usize = 16;

/// What a walk found.
#[derive(Debug, Default)]
pub(crate) struct Files {
    /// Files, sorted.
    pub(crate) paths: Vec<PathBuf>,
    /// Folders that could not be read.
    pub(crate) unreadable: Vec<PathBuf>,
}

/// Lists all files under `root`, except in folders whose name `skips` accepts.
pub(crate) fn list_files(root: &Path, skips: fn(&str) -> bool) -> Files {
    let mut files = Files::default();
    let canonical_root = fs_err::canonicalize(root).ok();
    let mut linked = BTreeSet::new();
    let mut waiting = vec![(root.to_path_buf(), 0)];
    while let Some((folder, depth)) = waiting.pop() {
        let Ok(entries) = fs_err::read_dir(&folder) else {
            files.unreadable.push(folder);
            continue;
        };
        for entry in entries.flatten() {
            let path = entry.path();
            let name = entry.file_name();
            let name = name.to_string_lossy();
            let Ok(kind) = entry.file_type() else {
                continue;
            };
            if name.starts_with('.') {
                continue;
            }
            let is_folder = if kind.is_symlink() {
                path.is_dir()
            } else {
                kind.is_dir()
            };
            if !is_folder {
                // A link to nothing is kept: the scan it stands for was not downloaded.
                files.paths.push(path);
                continue;
            }
            if depth >= DEEPEST || skips(&name) {
                continue;
            }
            if kind.is_symlink() {
                let Ok(target) = fs_err::canonicalize(&path) else {
                    continue;
                };
                let inside = canonical_root
                    .as_ref()
                    .is_some_and(|root| target.starts_with(root) || root.starts_with(&target));
                if inside || !linked.insert(target) {
                    continue;
                }
            }
            waiting.push((path, depth + 1));
        }
    }
    files.paths.sort_unstable();
    files.unreadable.sort_unstable();
    files
}

/// How many folders and names lie between `root` and a file in it: 1 for a file directly in `root`.
pub(crate) fn depth(path: &Path, root: &Path) -> usize {
    path.strip_prefix(root)
        .map_or(usize::MAX, |inner| inner.components().count())
}

/// The name of a NIfTI file without its ending.
pub(crate) fn nifti_stem(path: &Path) -> Option<&str> {
    let name = path.file_name()?.to_str()?;
    name.strip_suffix(".nii.gz")
        .or_else(|| name.strip_suffix(".nii"))
}

/// Whether the file is empty, or stands for data that were not fetched (git-annex, Git LFS).
pub(crate) fn is_pointer(path: &Path) -> bool {
    const LARGEST_POINTER: u64 = 1024;
    let Ok(metadata) = fs_err::metadata(path) else {
        return true;
    };
    if metadata.len() >= LARGEST_POINTER {
        return false;
    }
    match fs_err::read(path) {
        Ok(bytes) => {
            bytes.is_empty()
                || bytes.starts_with(b"/annex")
                || bytes.starts_with(b"version https://git-lfs")
        }
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn a_link_back_into_the_tree_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("a/b");
        fs_err::create_dir_all(&inner).unwrap();
        fs_err::write(inner.join("x.nii"), "x").unwrap();
        fs_err::write(inner.join(".hidden"), "x").unwrap();
        fs_err::os::unix::fs::symlink(folder.path(), inner.join("loop")).unwrap();
        fs_err::os::unix::fs::symlink("nowhere", inner.join("y.nii")).unwrap();
        let files = list_files(folder.path(), |_| false);
        assert_eq!(files.paths, [inner.join("x.nii"), inner.join("y.nii")]);
        assert!(is_pointer(&inner.join("y.nii")));
        assert!(!is_pointer(&inner.join("x.nii")));
    }
}
