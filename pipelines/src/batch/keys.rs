//! Which entries of the cache scans have, without preprocessing them.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use crate::cache::{Cache, CacheKey};
use crate::format::{ReadOptions, open_bytes, read_scan_with};
use crate::recipe::Recipe;
use crate::template::Template;

/// The keys of these scans under these recipes: what [`Cache::purge`] is to keep.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeysInUse {
    /// A key for every readable scan and recipe.
    pub keys: HashSet<CacheKey>,
    /// Scans that could not be read. Their entries are not among the keys: think twice before purging.
    pub unreadable: Vec<PathBuf>,
}

/// Reads the scans' bytes, in parallel on the rayon pool of the caller, and makes their keys.
pub fn keys_in_use(
    scans: &[PathBuf],
    options: ReadOptions,
    recipes: &[Recipe],
    template: &Template,
) -> KeysInUse {
    let hash_of = |scan: &PathBuf| hash_of(scan, options);
    let hashes: Vec<Option<blake3::Hash>> = scans.par_iter().map(hash_of).collect();
    let mut in_use = KeysInUse::default();
    for (scan, hash) in scans.iter().zip(hashes) {
        match hash {
            Some(hash) => {
                let keys = recipes
                    .iter()
                    .map(|recipe| Cache::key(hash, recipe, template));
                in_use.keys.extend(keys);
            }
            None => in_use.unreadable.push(scan.clone()),
        }
    }
    in_use
}

/// The hash of a scan's bytes as its cache entry keeps it: equal for the same file under two names. `None` if it cannot be
/// read.
pub fn content_hash(scan: &Path, options: ReadOptions) -> Option<blake3::Hash> {
    hash_of(scan, options)
}

/// The scan's hash as its reader would give it; `None` for what cannot be read, since reading it will say why.
pub(super) fn hash_of(scan: &Path, options: ReadOptions) -> Option<blake3::Hash> {
    let opened = open_bytes(scan).ok()??;
    if is_half_of_pair(scan) {
        let read = read_scan_with(scan, options).ok()?;
        return Some(read.file_hash);
    }
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(opened.reader).ok()?;
    Some(options.hash_of(hasher.finalize()))
}

/// Whether the scan may be one of two files, whose hash only the reader knows how to make.
fn is_half_of_pair(scan: &Path) -> bool {
    let name = scan
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .to_ascii_lowercase();
    let name = name.strip_suffix(".gz").unwrap_or(&name);
    Path::new(name)
        .extension()
        .is_some_and(|extension| extension == "hdr" || extension == "img")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_or_a_missing_file_has_no_hash_and_names_of_pairs_are_known() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(hash_of(folder.path(), ReadOptions::default()), None);
        assert_eq!(
            hash_of(&folder.path().join("absent.nii"), ReadOptions::default()),
            None
        );
        for (name, expected) in [
            ("a.HDR", true),
            ("a.img.gz", true),
            ("a.nii", false),
            ("hdr", false),
        ] {
            assert_eq!(is_half_of_pair(Path::new(name)), expected, "{name}");
        }
    }
}
