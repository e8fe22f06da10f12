//! What lies in a zip archive, read from its directory alone: no member is unpacked.
//!
//! A scan in an archive has a path like any other: that of the archive, followed by the member's name
//! (`1000223_20252_2_0.zip/T1/T1.nii.gz`). Whoever opens such a path takes the archive to be the first part of it
//! that is a file.
//!
//! Reference: PKWARE, APPNOTE.TXT 6.3.10, sections 4.3.12 (central directory), 4.3.14–4.3.16 (its end, with Zip64).

use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Component, Path};

const END_SIGNATURE: [u8; 4] = *b"PK\x05\x06";
const END_BYTES: usize = 22;
const END64_LOCATOR_SIGNATURE: [u8; 4] = *b"PK\x06\x07";
const END64_LOCATOR_BYTES: usize = 20;
const END64_SIGNATURE: [u8; 4] = *b"PK\x06\x06";
const END64_BYTES: usize = 56;
const ENTRY_SIGNATURE: [u8; 4] = *b"PK\x01\x02";
const ENTRY_BYTES: usize = 46;
const LONGEST_COMMENT: u64 = 0xffff;
/// Largest directory that is read: a million members have about 100 MB.
const LARGEST_DIRECTORY: u64 = 256 << 20;

/// Names of the files in an archive, in the order of its directory. Folders, and names that lead out of the archive,
/// are left out.
///
/// # Errors
/// What is wrong with the archive, in words.
pub(crate) fn member_names(path: &Path) -> Result<Vec<String>, String> {
    let system = |error: std::io::Error| error.kind().to_string();
    let mut file = fs_err::File::open(path).map_err(system)?;
    let file_bytes = file.metadata().map_err(system)?.len();
    let tail_bytes = file_bytes.min(LONGEST_COMMENT + (END_BYTES + END64_LOCATOR_BYTES) as u64);
    let tail_start = file_bytes - tail_bytes;
    let mut tail = vec![0; tail_bytes as usize];
    file.seek(SeekFrom::Start(tail_start)).map_err(system)?;
    file.read_exact(&mut tail).map_err(system)?;
    let end = tail
        .windows(END_BYTES)
        .rposition(|window| window.starts_with(&END_SIGNATURE))
        .ok_or("no directory at its end: cut off, or not a zip archive")?;
    let mut directory = Directory {
        members: u64::from(u16_at(&tail, end + 10).unwrap_or(0)),
        bytes: u64::from(u32_at(&tail, end + 12).unwrap_or(0)),
        start: u64::from(u32_at(&tail, end + 16).unwrap_or(0)),
    };
    if directory.is_zip64() {
        let locator = end
            .checked_sub(END64_LOCATOR_BYTES)
            .filter(|&at| tail.get(at..at + 4) == Some(&END64_LOCATOR_SIGNATURE[..]))
            .ok_or("its Zip64 directory is missing")?;
        let at = u64_at(&tail, locator + 8).unwrap_or(u64::MAX);
        let mut record = [0; END64_BYTES];
        file.seek(SeekFrom::Start(at)).map_err(system)?;
        file.read_exact(&mut record).map_err(system)?;
        if !record.starts_with(&END64_SIGNATURE) {
            return Err("its Zip64 directory is damaged".to_owned());
        }
        directory = Directory {
            members: u64_at(&record, 32).unwrap_or(0),
            bytes: u64_at(&record, 40).unwrap_or(0),
            start: u64_at(&record, 48).unwrap_or(0),
        };
    }
    if directory.bytes > LARGEST_DIRECTORY
        || directory
            .start
            .checked_add(directory.bytes)
            .is_none_or(|end| end > file_bytes)
    {
        return Err("its directory lies outside of the file".to_owned());
    }
    let mut bytes = vec![0; directory.bytes as usize];
    file.seek(SeekFrom::Start(directory.start))
        .map_err(system)?;
    file.read_exact(&mut bytes).map_err(system)?;
    names_in(&bytes, directory.members, directory.start)
}

/// Where the central directory is.
struct Directory {
    members: u64,
    bytes: u64,
    start: u64,
}

impl Directory {
    /// Whether a field is at its largest value, which says that the true one stands elsewhere.
    fn is_zip64(&self) -> bool {
        self.members == 0xffff || self.bytes == 0xffff_ffff || self.start == 0xffff_ffff
    }
}

/// Walks the entries. A member whose data would begin behind the directory shows a damaged archive.
fn names_in(bytes: &[u8], members: u64, data_end: u64) -> Result<Vec<String>, String> {
    let damaged = || "its directory is damaged".to_owned();
    let mut names = Vec::new();
    let mut at = 0;
    for _ in 0..members {
        let entry = bytes.get(at..at + ENTRY_BYTES).ok_or_else(damaged)?;
        if !entry.starts_with(&ENTRY_SIGNATURE) {
            return Err(damaged());
        }
        let length = |field| usize::from(u16_at(entry, field).unwrap_or(0));
        let (name, extra, comment) = (length(28), length(30), length(32));
        let compressed = u64::from(u32_at(entry, 20).unwrap_or(0));
        let offset = u64::from(u32_at(entry, 42).unwrap_or(0));
        let elsewhere = u64::from(u32::MAX);
        if offset != elsewhere && compressed != elsewhere && offset + compressed > data_end {
            return Err("its members lie outside of the file".to_owned());
        }
        let start = at + ENTRY_BYTES;
        let text = bytes.get(start..start + name).ok_or_else(damaged)?;
        let text = String::from_utf8_lossy(text).replace('\\', "/");
        let plain = Path::new(&text)
            .components()
            .all(|part| matches!(part, Component::Normal(_)));
        if plain && !text.is_empty() && !text.ends_with('/') {
            names.push(text);
        }
        at = start + name + extra + comment;
    }
    Ok(names)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    let found = bytes.get(at..)?.first_chunk()?;
    Some(u16::from_le_bytes(*found))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let found = bytes.get(at..)?.first_chunk()?;
    Some(u32::from_le_bytes(*found))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    let found = bytes.get(at..)?.first_chunk()?;
    Some(u64::from_le_bytes(*found))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// An archive of stored members, written field by field from APPNOTE.TXT.
    pub(crate) fn stored(members: &[(&str, &[u8])]) -> Vec<u8> {
        let (mut data, mut directory) = (Vec::new(), Vec::new());
        for (name, content) in members {
            let offset = data.len() as u32;
            let size = (content.len() as u32).to_le_bytes();
            let name_bytes = (name.len() as u16).to_le_bytes();
            // Version, flags, method, time and date; then checksum (not looked at here), sizes, name, extra field.
            data.extend(b"PK\x03\x04\x14\0\0\0\0\0\0\0\x21\0\0\0\0\0");
            data.extend([size, size].concat());
            data.extend([name_bytes, [0; 2]].concat());
            data.extend(name.as_bytes());
            data.extend(*content);
            directory.extend(b"PK\x01\x02\x14\0\x14\0\0\0\0\0\0\0\x21\0\0\0\0\0");
            directory.extend([size, size].concat());
            directory.extend(name_bytes);
            directory.extend([0; 12]);
            directory.extend(offset.to_le_bytes());
            directory.extend(name.as_bytes());
        }
        let mut archive = data;
        let start = (archive.len() as u32).to_le_bytes();
        let count = (members.len() as u16).to_le_bytes();
        archive.extend(&directory);
        archive.extend(b"PK\x05\x06\0\0\0\0");
        archive.extend([count, count].concat());
        archive.extend((directory.len() as u32).to_le_bytes());
        archive.extend(start);
        archive.extend([0; 2]);
        archive
    }

    fn names(bytes: &[u8]) -> Result<Vec<String>, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.zip");
        fs_err::write(&path, bytes).unwrap();
        member_names(&path)
    }

    #[test]
    fn files_are_listed_and_folders_and_ways_out_are_not() {
        let archive = stored(&[
            ("T1/", b""),
            ("T1/T1.nii.gz", b"voxels"),
            ("../../etc/passwd", b"x"),
            ("/etc/passwd", b"x"),
        ]);
        assert_eq!(names(&archive).unwrap(), ["T1/T1.nii.gz"]);
    }

    #[test]
    fn an_archive_that_was_cut_off_is_refused_in_words() {
        let archive = stored(&[("T1/T1.nii.gz", b"voxels"), ("T1/T1.json", b"{}")]);
        for length in 0..archive.len() {
            assert!(names(&archive[..length]).is_err(), "{length}");
        }
        // The beginning is missing, as of an archive in parts.
        assert!(names(&archive[10..]).is_err());
        assert!(
            names(b"not an archive at all")
                .unwrap_err()
                .contains("cut off")
        );
    }

    #[test]
    fn a_directory_with_zip64_numbers_is_followed() {
        let mut archive = stored(&[("T1/T1.nii.gz", b"voxels")]);
        let end = archive.len() - END_BYTES;
        let old = archive.split_off(end);
        let bytes = u64::from(u32_at(&old, 12).unwrap());
        let start = u64::from(u32_at(&old, 16).unwrap());
        archive.extend(b"PK\x06\x06");
        archive.extend(44_u64.to_le_bytes());
        archive.extend([0; 12]);
        for number in [1, 1, bytes, start] {
            archive.extend(number.to_le_bytes());
        }
        archive.extend(b"PK\x06\x07\0\0\0\0");
        archive.extend((end as u64).to_le_bytes());
        archive.extend(1_u32.to_le_bytes());
        archive.extend(b"PK\x05\x06\0\0\0\0\xff\xff\xff\xff");
        archive.extend([0xff; 8]);
        archive.extend([0; 2]);
        assert_eq!(names(&archive).unwrap(), ["T1/T1.nii.gz"]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn no_bytes_make_the_reader_panic(
            bytes in proptest::collection::vec(any::<u8>(), 0..200),
            at in 0_usize..150,
            byte in any::<u8>(),
        ) {
            let _names = names(&bytes);
            let mut archive = stored(&[("T1/T1.nii.gz", b"voxels"), ("T1/T1.json", b"{}")]);
            let at = at % archive.len();
            archive[at] = byte;
            let _names = names(&archive);
        }
    }
}
