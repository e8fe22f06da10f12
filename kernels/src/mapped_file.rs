//! A file as a slice of bytes: what is read is read from the system's page cache, without a copy on the heap.
//!
//! For files that appear whole, by a rename, and are never changed in place afterwards, as the cache of preprocessed
//! scans keeps them. Replacing or deleting such a file leaves the mapped bytes as they were.

use std::io;
use std::path::Path;

/// A whole file, mapped for reading until dropped.
#[derive(Debug)]
pub struct MappedFile(memmap2::Mmap);

impl MappedFile {
    /// Maps the file.
    ///
    /// The file must not be written to, nor cut, by any process while it is mapped: bytes would change under a `&[u8]`,
    /// and a read behind the new end, or one that the disk answers with an error, ends the program with SIGBUS instead of
    /// an error. So map only what is replaced by a rename and not changed in place, and drop it soon.
    ///
    /// # Errors
    /// Where the file cannot be opened or mapped; the error names it.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = fs_err::File::open(path)?;
        // SAFETY: the mapping is private to reading, and its bytes stay as they are while it lives: callers map only files
        // that are never changed in place (the contract above).
        #[expect(unsafe_code, reason = "a file can be mapped in no other way")]
        let map = unsafe { memmap2::Mmap::map(file.file()) };
        map.map(Self).map_err(|error| {
            let problem = format!("failed to map file `{}`: {error}", path.display());
            io::Error::new(error.kind(), problem)
        })
    }

    /// Its bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_are_those_of_the_file_and_stay_when_it_is_replaced_or_deleted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("entry");
        let bytes: Vec<u8> = (0..10_000_u32).flat_map(u32::to_le_bytes).collect();
        fs_err::write(&path, &bytes).unwrap();
        let mapped = MappedFile::open(&path).unwrap();
        assert!(mapped.bytes() == bytes);
        let other = folder.path().join("other");
        fs_err::write(&other, b"other").unwrap();
        fs_err::rename(&other, &path).unwrap();
        assert!(mapped.bytes() == bytes);
        assert_eq!(MappedFile::open(&path).unwrap().bytes(), b"other");
        fs_err::remove_file(&path).unwrap();
        assert!(mapped.bytes() == bytes);
    }

    #[test]
    fn an_empty_file_has_no_bytes() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert_eq!(MappedFile::open(file.path()).unwrap().bytes(), b"");
    }

    #[test]
    fn what_is_no_file_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let missing = MappedFile::open(&folder.path().join("missing")).unwrap_err();
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
        assert!(missing.to_string().contains("missing"), "{missing}");
        let refused = MappedFile::open(folder.path()).unwrap_err().to_string();
        let name = folder.path().to_string_lossy().into_owned();
        assert!(refused.contains(&name), "{refused}");
    }
}
