//! The store of preprocessed scans: one file an entry, found by what went into it.
//!
//! ```text
//! DIR/ab/<key>.vol      key: 64 hex digits, ab: the first two
//!
//! byte 0    "BRAINVOL"
//! byte 8    version, u32 little-endian
//! byte 12   length of the JSON header with its padding, u32 little-endian
//! byte 16   JSON header (EntryHeader), padded with spaces to the next multiple of 64
//!           voxels, f16 little-endian, x fastest
//! last 32   BLAKE3 of everything before
//! ```
//!
//! A voxel is 0 exactly where it is outside the brain mask: inside, what would round to 0 is stored as the smallest
//! positive f16. So an entry gives back volume *and* mask.
//!
//! Entries are written whole or not at all, and their checksum is verified at every reading. What is damaged, or of
//! another version, counts as absent; the next [`Cache::put`] replaces it. They are never changed in place, so they are
//! read through a memory map: the page cache carries them, and voxels are converted from where they lie. What cuts a file
//! of the cache while it is read, or a disk that fails then, ends the program (SIGBUS). Several processes may share a cache: with
//! the same key both may work, and one of two equal files stays. Nothing here knows of ages or participants.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

mod entry;
mod upkeep;

pub use entry::{CacheEntry, EntryHeader};
pub use upkeep::{
    DamagedEntry, FileCount, PurgeMode, Purged, SPARED_AGE, StoredEntry, Verification,
};

use brainage_kernels::mapped_file::MappedFile;

use crate::atomic::write_atomically;
use crate::brain_network::weights_hash;
use crate::error::Error;
use crate::preprocess::{CODE_VERSION, Preprocessed};
use crate::recipe::{MaskSource, Recipe};
use crate::template::Template;
use entry::{VERSION, put_together, take_apart};

const EXTENSION: &str = "vol";

/// A folder of preprocessed scans.
#[derive(Clone, Debug)]
pub struct Cache {
    root: PathBuf,
}

/// What an entry is found by: a hash of all that decides its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CacheKey(blake3::Hash);

impl fmt::Display for CacheKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.to_hex())
    }
}

impl Cache {
    /// Opens a cache; the folder is made where there is none.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be made.
    pub fn open(root: &Path) -> Result<Self, Error> {
        fs_err::create_dir_all(root).map_err(Error::io("making the cache folder", root))?;
        Ok(Self {
            root: root.to_path_buf(),
        })
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The key of what `recipe` makes of a scan with these bytes.
    pub fn key(file_hash: blake3::Hash, recipe: &Recipe, template: &Template) -> CacheKey {
        Self::key_by_hashes(file_hash, recipe, template.hash)
    }

    /// As [`Cache::key`], by the hash of the template alone: whoever only looks something up need not decode it.
    pub fn key_by_hashes(
        file_hash: blake3::Hash,
        recipe: &Recipe,
        template_hash: blake3::Hash,
    ) -> CacheKey {
        let mut hasher = blake3::Hasher::new();
        hasher.update(file_hash.as_bytes());
        hasher.update(recipe.hash().as_bytes());
        hasher.update(template_hash.as_bytes());
        hasher.update(CODE_VERSION.to_string().as_bytes());
        if recipe.mask.source == MaskSource::Learned {
            hasher.update(weights_hash().as_bytes());
        }
        CacheKey(hasher.finalize())
    }

    /// The entry of this key; `None` if there is none, or none that is whole and of this version.
    ///
    /// # Errors
    /// [`Error::Io`] if the file is there and cannot be read.
    pub fn get(&self, key: &CacheKey) -> Result<Option<CacheEntry>, Error> {
        let path = self.path_of(key);
        let file = match MappedFile::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::io("reading the cache entry", &path)(error)),
        };
        let whole = take_apart(file.bytes())
            .ok()
            .filter(|(header, _)| header.key == key.to_string());
        Ok(whole.map(|(header, _)| CacheEntry { header, path }))
    }

    /// Stores what preprocessing made of the scan at `source`, in place of any entry of this key.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be written; [`Error::CacheEntry`] if the result has a voxel that is no finite
    /// f16, or a QC metric that is not finite.
    pub fn put(
        &self,
        key: &CacheKey,
        result: &Preprocessed,
        recipe: &Recipe,
        source: &Path,
    ) -> Result<CacheEntry, Error> {
        let path = self.path_of(key);
        let refuse = |problem: String| Error::CacheEntry {
            problem,
            path: path.clone(),
        };
        let header = EntryHeader {
            version: VERSION,
            key: key.to_string(),
            shape: result.volume.shape(),
            world_from_voxel: result.volume.world_from_voxel(),
            mni_from_scan: result.mni_from_scan,
            recipe_name: recipe.name.clone(),
            recipe: recipe.to_toml(),
            source: source.to_string_lossy().into_owned(),
            file_hash: result.file_hash.to_string(),
            qc: result.qc.clone(),
            warnings: result.warnings.clone(),
            synthetic: result.synthetic,
        };
        let bytes = put_together(&header, &result.volume, &result.mask).map_err(&refuse)?;
        // What can't be read back would be made anew each time, unnoticed.
        let (header, _) = take_apart(&bytes).map_err(&refuse)?;
        if let Some(folder) = path.parent() {
            fs_err::create_dir_all(folder).map_err(Error::io("making the cache folder", folder))?;
        }
        write_atomically(&path, |file| file.write_all(&bytes))
            .map_err(Error::io("writing the cache entry", &path))?;
        Ok(CacheEntry { header, path })
    }

    /// How many entries there are, damaged ones included.
    ///
    /// # Errors
    /// [`Error::Io`] if a folder cannot be listed.
    pub fn len(&self) -> Result<usize, Error> {
        Ok(self.files()?.len())
    }

    /// Whether there is no entry.
    ///
    /// # Errors
    /// [`Error::Io`] if a folder cannot be listed.
    pub fn is_empty(&self) -> Result<bool, Error> {
        Ok(self.files()?.is_empty())
    }

    /// Size of all entries in bytes.
    ///
    /// # Errors
    /// [`Error::Io`] if a folder cannot be listed.
    pub fn size_bytes(&self) -> Result<u64, Error> {
        Ok(self.files()?.iter().map(|(_, bytes)| bytes).sum())
    }

    fn path_of(&self, key: &CacheKey) -> PathBuf {
        let hex = key.to_string();
        let first_two: String = hex.chars().take(2).collect();
        self.root
            .join(first_two)
            .join(hex)
            .with_extension(EXTENSION)
    }

    /// All entries with their sizes.
    fn files(&self) -> Result<Vec<(PathBuf, u64)>, Error> {
        let mut files = Vec::new();
        let two_digits =
            |name: &str| name.len() == 2 && name.chars().all(|c| c.is_ascii_hexdigit());
        for folder in listed(&self.root)? {
            if !folder.file_name().to_str().is_some_and(two_digits) {
                continue;
            }
            for file in listed(&folder.path())? {
                let path = file.path();
                // An entry may be replaced, or its folder purged, while we count.
                let is_entry = path
                    .extension()
                    .is_some_and(|extension| extension == EXTENSION);
                if let (true, Ok(metadata)) = (is_entry, file.metadata()) {
                    files.push((path, metadata.len()));
                }
            }
        }
        Ok(files)
    }
}

/// What a folder holds; nothing where it is gone.
fn listed(folder: &Path) -> Result<Vec<fs_err::DirEntry>, Error> {
    let refused = |error| Error::io("listing the cache", folder)(error);
    match fs_err::read_dir(folder) {
        Ok(entries) => entries.collect::<Result<_, _>>().map_err(refused),
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            Ok(Vec::new())
        }
        Err(error) => Err(refused(error)),
    }
}

#[cfg(test)]
mod tests;
