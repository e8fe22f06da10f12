//! Upkeep of the cache: what is in it, whether that is whole, and the removal of what nobody uses any more.
//!
//! Other processes may write to the cache meanwhile. What is younger than an hour is therefore never removed: its
//! writer may not have told anyone about it yet. What another process removes or replaces meanwhile is no error.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rayon::prelude::*;

use super::entry::{header_of, take_apart};
use super::{Cache, CacheKey, EXTENSION, listed};
use crate::atomic::TEMPORARY_PREFIX;
use crate::error::Error;

/// What is younger stays.
pub const SPARED_AGE: Duration = Duration::from_hours(1);

/// An entry as the file system shows it: found, not opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredEntry {
    /// Its key, by its name.
    pub key: CacheKey,
    /// Its file.
    pub path: PathBuf,
    /// Size of the file.
    pub bytes: u64,
    /// When it was written.
    pub modified: SystemTime,
}

impl StoredEntry {
    /// The path of the scan when the entry was made, as its header says; only the header is read and no checksum
    /// verified. `None` where the entry is gone or no header can be read.
    pub fn source(&self) -> Option<PathBuf> {
        header_of(&self.path).map(|header| PathBuf::from(header.source))
    }
}

/// An entry that cannot be used; the next preprocessing of its scan replaces it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DamagedEntry {
    /// Its file.
    pub path: PathBuf,
    /// Size of the file.
    pub bytes: u64,
    /// What is wrong with it.
    pub problem: String,
}

/// What [`Cache::verify`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verification {
    /// Entries that are whole.
    pub n_whole: usize,
    /// Their size together.
    pub whole_bytes: u64,
    /// Entries that are not, by path.
    pub damaged: Vec<DamagedEntry>,
}

/// Whether [`Cache::purge`] removes anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PurgeMode {
    /// It only counts what it would remove.
    Count,
    /// It removes.
    Remove,
}

/// Number and size of files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileCount {
    /// How many.
    pub n: usize,
    /// Their size together.
    pub bytes: u64,
}

impl FileCount {
    fn add(&mut self, bytes: u64) {
        self.n += 1;
        self.bytes += bytes;
    }
}

/// What [`Cache::purge`] did, or would have done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Purged {
    /// Entries whose key is not kept.
    pub entries: FileCount,
    /// Unfinished files that a crash left behind.
    pub temporaries: FileCount,
    /// Entries whose key is kept.
    pub kept: FileCount,
    /// Entries and unfinished files that nobody keeps, but younger than [`SPARED_AGE`].
    pub spared: FileCount,
    /// What could not be removed, and why.
    pub failed: Vec<(PathBuf, String)>,
}

/// The files of a cache.
#[derive(Default)]
struct Contents {
    entries: Vec<StoredEntry>,
    /// Path, size and time of unfinished files.
    temporaries: Vec<(PathBuf, u64, SystemTime)>,
}

impl Cache {
    /// All entries, in the order of their keys. Files that are no entries by their names are passed over.
    ///
    /// # Errors
    /// [`Error::Io`] if a folder cannot be listed.
    pub fn entries(&self) -> Result<Vec<StoredEntry>, Error> {
        self.contents().map(|contents| contents.entries)
    }

    /// Reads every entry and checks that it is whole, of this version, and the one its name says.
    ///
    /// `on_checked` hears of each entry, from any thread. Works on the rayon pool of the caller.
    ///
    /// # Errors
    /// [`Error::Io`] if a folder cannot be listed.
    pub fn verify(&self, on_checked: &(dyn Fn() + Sync)) -> Result<Verification, Error> {
        let entries = self.entries()?;
        let judged: Vec<Option<Result<u64, DamagedEntry>>> = entries
            .par_iter()
            .map(|entry| {
                let judged = judge(entry);
                on_checked();
                judged
            })
            .collect();
        let mut verification = Verification::default();
        for judged in judged.into_iter().flatten() {
            match judged {
                Ok(bytes) => {
                    verification.n_whole += 1;
                    verification.whole_bytes += bytes;
                }
                Err(damaged) => verification.damaged.push(damaged),
            }
        }
        Ok(verification)
    }

    /// Removes the entries whose keys are not in `keep`, and what crashes left behind, unless it is younger than
    /// [`SPARED_AGE`].
    ///
    /// An empty `keep` empties the cache. Files that are no entries by their names are left alone, folders too. The
    /// keys of scans are made by [`crate::batch::keys_in_use`].
    ///
    /// # Errors
    /// [`Error::Io`] if a folder cannot be listed. A file that cannot be removed stops nothing and is reported.
    pub fn purge(&self, keep: &HashSet<CacheKey>, mode: PurgeMode) -> Result<Purged, Error> {
        let now = clock_of(self.root());
        let contents = self.contents()?;
        let mut purged = Purged::default();
        for StoredEntry {
            key,
            path,
            bytes,
            modified,
        } in contents.entries
        {
            if keep.contains(&key) {
                purged.kept.add(bytes);
            } else if is_young(modified, now) {
                purged.spared.add(bytes);
            } else {
                match remove(&path, now, mode) {
                    Ok(Removal::Removed) => purged.entries.add(bytes),
                    Ok(Removal::Replaced) => purged.spared.add(bytes),
                    Ok(Removal::Gone) => {}
                    Err(error) => purged.failed.push((path, error.to_string())),
                }
            }
        }
        for (path, bytes, modified) in contents.temporaries {
            if is_young(modified, now) {
                purged.spared.add(bytes);
                continue;
            }
            match remove(&path, now, mode) {
                Ok(Removal::Removed) => purged.temporaries.add(bytes),
                Ok(Removal::Replaced) => purged.spared.add(bytes),
                Ok(Removal::Gone) => {}
                Err(error) => purged.failed.push((path, error.to_string())),
            }
        }
        Ok(purged)
    }

    /// Removes the entry of this key, if there is one, however young; whether there was.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be removed.
    pub fn remove(&self, key: &CacheKey) -> Result<bool, Error> {
        let path = self.path_of(key);
        match fs_err::remove_file(&path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(Error::io("removing the cache entry", &path)(error)),
        }
    }

    fn contents(&self) -> Result<Contents, Error> {
        let mut contents = Contents::default();
        for folder in listed(self.root())? {
            let folder_name = folder.file_name();
            let is_ours = folder_name.len() == 2
                && folder_name
                    .as_encoded_bytes()
                    .iter()
                    .all(u8::is_ascii_hexdigit);
            if !is_ours {
                continue;
            }
            for file in listed(&folder.path())? {
                // What is gone meanwhile is not there.
                let Ok(metadata) = file.metadata() else {
                    continue;
                };
                if !metadata.is_file() {
                    continue;
                }
                let (path, bytes) = (file.path(), metadata.len());
                let modified = metadata.modified().unwrap_or(SystemTime::now());
                if let Some(key) = key_of(&path) {
                    let path_of_key = self.path_of(&key);
                    if path == path_of_key {
                        contents.entries.push(StoredEntry {
                            key,
                            path,
                            bytes,
                            modified,
                        });
                    }
                } else if is_temporary(&path) {
                    contents.temporaries.push((path, bytes, modified));
                }
            }
        }
        contents.entries.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(contents)
    }
}

/// The key that a file name says.
fn key_of(path: &Path) -> Option<CacheKey> {
    if path.extension()? != EXTENSION {
        return None;
    }
    let hex = path.file_stem()?.as_encoded_bytes();
    blake3::Hash::from_hex(hex).ok().map(CacheKey)
}

fn is_temporary(path: &Path) -> bool {
    path.file_name().is_some_and(|name| {
        name.as_encoded_bytes()
            .starts_with(TEMPORARY_PREFIX.as_bytes())
    })
}

/// Size of a whole entry, or what is wrong with it; `None` where it is gone meanwhile.
fn judge(entry: &StoredEntry) -> Option<Result<u64, DamagedEntry>> {
    // Read and not mapped: on a failing disk a mapped file ends the program, and this is how one looks for that.
    let judged = match fs_err::read(&entry.path) {
        Ok(bytes) => take_apart(&bytes).and_then(|(header, _)| {
            let belongs = header.key == entry.key.to_string();
            let size = bytes.len() as u64;
            belongs
                .then_some(size)
                .ok_or_else(|| format!("it is the entry of another key, {}", header.key))
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => Err(error.to_string()),
    };
    Some(judged.map_err(|problem| DamagedEntry {
        path: entry.path.clone(),
        bytes: entry.bytes,
        problem,
    }))
}

/// What became of a file to be removed.
enum Removal {
    Removed,
    /// Written again since it was listed.
    Replaced,
    /// Removed by someone else.
    Gone,
}

fn remove(path: &Path, now: SystemTime, mode: PurgeMode) -> io::Result<Removal> {
    let gone_or = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => Ok(Removal::Gone),
        _ => Err(error),
    };
    // Listing a large cache takes a while.
    match fs_err::metadata(path).and_then(|metadata| metadata.modified()) {
        Ok(modified) if is_young(modified, now) => return Ok(Removal::Replaced),
        Ok(_) => {}
        Err(error) => return gone_or(error),
    }
    match mode {
        PurgeMode::Count => Ok(Removal::Removed),
        PurgeMode::Remove => fs_err::remove_file(path)
            .map(|()| Removal::Removed)
            .or_else(gone_or),
    }
}

/// What was written in the future, by a clock that is wrong, is young.
fn is_young(modified: SystemTime, now: SystemTime) -> bool {
    now.duration_since(modified)
        .map_or(true, |age| age < SPARED_AGE)
}

/// The time by the clock that dates the cache's files, which on a network is another computer's.
fn clock_of(root: &Path) -> SystemTime {
    let mut builder = tempfile::Builder::new();
    let dated = builder.prefix(TEMPORARY_PREFIX).tempfile_in(root);
    let time = dated.and_then(|file| file.as_file().metadata()?.modified());
    time.unwrap_or(SystemTime::now())
}

#[cfg(test)]
mod tests;
