//! The files under a cohort's folder.
//!
//! One walk serves scans, tables and lists. Hidden files are passed over, folders that lead back into the tree are
//! entered once, and a folder that cannot be read is reported instead of ending the walk. Archives that a layout
//! ships scans in are listed as if they were folders.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::archive::member_names;

/// Deepest folder that is entered.
const DEEPEST: usize = 16;

/// What a walk found.
#[derive(Debug, Default)]
pub(crate) struct Files {
    /// Files, sorted.
    pub(crate) paths: Vec<PathBuf>,
    /// Folders that could not be read.
    pub(crate) unreadable: Vec<PathBuf>,
    /// Files whose path is not UTF-8: no table, list or index could name them.
    pub(crate) not_utf8: Vec<PathBuf>,
    /// Archives that cannot be read, and why. Their own paths are among `paths`, as those of sound archives are.
    pub(crate) broken: BTreeMap<PathBuf, String>,
}

/// What a walk enters.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Walk {
    /// Names of folders that are passed over.
    pub(crate) skips_folder: fn(&str) -> bool,
    /// Names of zip archives whose members are listed.
    pub(crate) opens_archive: fn(&str) -> bool,
}

/// Lists all files under `root`.
pub(crate) fn list_files(root: &Path, walk: Walk) -> Files {
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
                files.add(path, &name, walk);
                continue;
            }
            if depth >= DEEPEST || (walk.skips_folder)(&name) {
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
    // As bytes: comparing component by component takes many times as long.
    files
        .paths
        .sort_unstable_by(|a, b| a.as_os_str().cmp(b.as_os_str()));
    files.unreadable.sort_unstable();
    files.not_utf8.sort_unstable();
    files
}

impl Files {
    fn add(&mut self, path: PathBuf, name: &str, walk: Walk) {
        if path.to_str().is_none() {
            self.not_utf8.push(path);
            return;
        }
        if is_zip(Path::new(name)) && (walk.opens_archive)(name) {
            match member_names(&path) {
                Ok(members) => {
                    let members = members.iter().filter(|member| {
                        let mut folders = member.split('/').rev().skip(1);
                        !folders.any(|folder| (walk.skips_folder)(folder))
                    });
                    self.paths.extend(members.map(|member| path.join(member)));
                }
                Err(problem) => {
                    self.broken.insert(path.clone(), problem);
                }
            }
        }
        self.paths.push(path);
    }

    /// Leaves out what lies in folders that `skips` accepts, as if the walk had not entered them.
    pub(crate) fn without_folders(mut self, root: &Path, skips: fn(&str) -> bool) -> Self {
        self.paths.retain(|path| {
            let inner = path.strip_prefix(root).unwrap_or(path);
            let mut folders = inner.parent().into_iter().flat_map(Path::components);
            !folders.any(|folder| folder.as_os_str().to_str().is_some_and(skips))
        });
        self
    }
}

/// Whether a name ends in `.zip`.
pub(crate) fn is_zip(path: &Path) -> bool {
    path.extension()
        .is_some_and(|extension| extension.eq_ignore_ascii_case("zip"))
}

/// The archive that a path leads into.
pub(crate) fn archive_of(path: &Path) -> Option<&Path> {
    path.ancestors()
        .skip(1)
        .find(|above| is_zip(above) && above.is_file())
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

/// Whether the file is empty, or stands for data that were not fetched (git-annex, Git LFS). The members of an archive
/// are there.
pub(crate) fn is_pointer(path: &Path) -> bool {
    const LARGEST_POINTER: u64 = 1024;
    if archive_of(path).is_some() {
        return false;
    }
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
    use crate::archive::tests::stored;

    const EVERYWHERE: Walk = Walk {
        skips_folder: |name| name == "fast",
        opens_archive: |_| true,
    };

    #[test]
    fn an_archive_is_listed_like_a_folder_and_a_broken_one_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let archive = stored(&[("T1/T1.nii.gz", b"x"), ("T1/fast/T1.nii.gz", b"x")]);
        fs_err::write(at("a.zip"), &archive).unwrap();
        fs_err::write(at("b.zip"), &archive[..40]).unwrap();
        let files = list_files(folder.path(), EVERYWHERE);
        assert_eq!(
            files.paths,
            [at("a.zip"), at("a.zip/T1/T1.nii.gz"), at("b.zip")]
        );
        assert_eq!(files.broken.keys().collect::<Vec<_>>(), [&at("b.zip")]);
        assert_eq!(archive_of(&files.paths[1]), Some(at("a.zip").as_path()));
        assert!(!is_pointer(&files.paths[1]));
    }

    #[cfg(unix)]
    #[test]
    fn a_path_that_is_not_utf_8_is_set_apart() {
        use std::os::unix::ffi::OsStrExt as _;
        let folder = tempfile::tempdir().unwrap();
        let name = std::ffi::OsStr::from_bytes(b"s\xff_T1w.nii");
        fs_err::write(folder.path().join(name), "x").unwrap();
        let files = list_files(folder.path(), EVERYWHERE);
        assert_eq!((files.paths.len(), files.not_utf8.len()), (0, 1));
    }

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
        let files = list_files(folder.path(), EVERYWHERE);
        assert_eq!(files.paths, [inner.join("x.nii"), inner.join("y.nii")]);
        assert!(is_pointer(&inner.join("y.nii")));
        assert!(!is_pointer(&inner.join("x.nii")));
    }
}
