//! What file names say: which files may be scans, and which two are a pair.
//!
//! Names only choose what is opened; what a file is, its content decides. Names are never taken as text, so that any
//! name the file system allows will do.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};

/// Whether a file of this name can be a scan: `.nii`, the `.hdr` of a pair, `.mgh`, with or without `.gz`, or `.mgz`; in
/// any case.
///
/// The `.img` of a pair is left out, so that a pair counts once; it is found through its header.
pub fn is_scan_name(path: &Path) -> bool {
    ["nii", "hdr", "mgh", "mgz"]
        .iter()
        .any(|ending| ends_in(path, ending))
}

/// All scans under a folder, by name: in natural order (`sub-2` before `sub-10`), folder by folder.
///
/// Hidden files and folders are passed over, links are followed, and a folder that several links lead to is searched
/// once.
///
/// # Errors
/// A folder that cannot be listed.
pub fn find_scans(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut scans = Vec::new();
    let mut searched = BTreeSet::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        if !searched.insert(fs_err::canonicalize(&folder)?) {
            continue;
        }
        let mut inner = Vec::new();
        for entry in fs_err::read_dir(&folder)? {
            let entry = entry?;
            let path = entry.path();
            if entry.file_name().as_encoded_bytes().starts_with(b".") {
                continue;
            }
            // A link that leads nowhere is kept if it is named as a scan: reading it will say what is wrong.
            if path.is_dir() {
                inner.push(path);
            } else if is_scan_name(&path) {
                scans.push(path);
            }
        }
        // Among several ways to one folder, the order of names decides and not that of the file system.
        inner.sort_by(|a, b| compare(b, a));
        folders.extend(inner);
    }
    scans.sort_by(|a, b| compare(a, b));
    Ok(scans)
}

/// Natural order, component by component.
fn compare(a: &Path, b: &Path) -> std::cmp::Ordering {
    let pairs = a.components().zip(b.components());
    let text = |part: std::path::Component<'_>| part.as_os_str().to_string_lossy().into_owned();
    let natural = pairs
        .map(|(a, b)| natord::compare(&text(a), &text(b)))
        .find(|order| order.is_ne());
    natural.unwrap_or_else(|| a.cmp(b))
}

/// Whether this is the header of a pair.
pub(super) fn is_header(path: &Path) -> bool {
    ends_in(path, "hdr")
}

/// Whether this is the image of a pair.
pub(super) fn is_image(path: &Path) -> bool {
    ends_in(path, "img")
}

/// Whether the name ends in `.gz`.
pub(super) fn is_gzip(path: &Path) -> bool {
    path.extension()
        .is_some_and(|found| found.eq_ignore_ascii_case("gz"))
}

/// Whether the name ends in this extension, possibly followed by `.gz`.
pub(super) fn ends_in(path: &Path, extension: &str) -> bool {
    let bare = if is_gzip(path) {
        path.file_stem()
    } else {
        path.file_name()
    };
    let found = bare.and_then(|bare| Path::new(bare).extension());
    found.is_some_and(|found: &OsStr| found.eq_ignore_ascii_case(extension))
}

/// The other file of a pair, which has this extension instead, if it is there.
pub(super) fn companion(path: &Path, extension: &str) -> Option<PathBuf> {
    let bare = if is_gzip(path) {
        path.with_extension("")
    } else {
        path.to_path_buf()
    };
    let upper = extension.to_uppercase();
    let endings = [
        extension.to_owned(),
        format!("{extension}.gz"),
        upper.clone(),
        format!("{upper}.GZ"),
        format!("{upper}.gz"),
    ];
    endings
        .iter()
        .map(|ending| bare.with_extension(ending))
        .find(|path| path.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_scans_are_told_in_any_case() {
        for name in [
            "a.nii",
            "a.b.nii.gz",
            "A.NII.GZ",
            "a.hdr",
            "a.hdr.gz",
            "T1.mgz",
            "b.MGH",
        ] {
            assert!(is_scan_name(Path::new(name)), "{name}");
        }
        for name in ["a.img", "a.gz", "nii", "a.nii.gz.txt", "a.json", ""] {
            assert!(!is_scan_name(Path::new(name)), "{name}");
        }
    }

    #[test]
    fn scans_are_found_in_natural_order_and_hidden_ones_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        for name in [
            "sub-10/b.nii",
            "sub-2/a.nii.gz",
            "sub-2/notes.txt",
            ".git/c.nii",
            "z2.hdr",
            "z2.img",
        ] {
            let path = folder.path().join(name);
            fs_err::create_dir_all(path.parent().unwrap()).unwrap();
            fs_err::write(path, b"").unwrap();
        }
        fs_err::write(folder.path().join(".tmp-x.nii"), b"").unwrap();
        #[cfg(unix)]
        std::os::unix::fs::symlink(folder.path(), folder.path().join("sub-2/loop")).unwrap();
        let found = find_scans(folder.path()).unwrap();
        let found: Vec<_> = found
            .iter()
            .map(|path| path.strip_prefix(folder.path()).unwrap())
            .collect();
        assert_eq!(
            found,
            ["sub-2/a.nii.gz", "sub-10/b.nii", "z2.hdr"].map(Path::new)
        );
        assert!(find_scans(&folder.path().join("absent")).is_err());
    }
}
