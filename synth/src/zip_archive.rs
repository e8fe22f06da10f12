//! A zip archive with a few members, the same bits at every writing.
//!
//! Reference: PKWARE, APPNOTE.TXT 6.3.10, sections 4.3.7 (local header), 4.3.12 and 4.3.16 (directory and its end).

use std::io::{self, Write as _};

use flate2::write::DeflateEncoder;
use flate2::{Compression, Crc};

/// Version that a reader needs, for compressed members.
const VERSION: u16 = 20;
const DEFLATED: u16 = 8;
/// 1 January 1980, the first day there is.
const DAY: u16 = 0x21;

/// Packs members under their names. Archives of over 4 GB are not made.
///
/// # Errors
/// If the members are too large for the format.
pub(crate) fn zip(members: &[(&str, &[u8])]) -> io::Result<Vec<u8>> {
    let mut archive = Vec::new();
    let mut directory = Vec::new();
    for (name, content) in members {
        let offset = small(archive.len())?;
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(content)?;
        let packed = encoder.finish()?;
        let mut crc = Crc::new();
        crc.update(content);
        // What local header and directory have in common: flags to the length of the extra field.
        let mut facts = Vec::new();
        for number in [VERSION, 0, DEFLATED, 0, DAY] {
            facts.extend(number.to_le_bytes());
        }
        for number in [crc.sum(), small(packed.len())?, small(content.len())?] {
            facts.extend(number.to_le_bytes());
        }
        facts.extend(short(name.len())?.to_le_bytes());
        facts.extend([0; 2]);
        archive.extend(b"PK\x03\x04");
        archive.extend(&facts);
        archive.extend(name.as_bytes());
        archive.extend(packed);
        directory.extend(b"PK\x01\x02");
        directory.extend(VERSION.to_le_bytes());
        directory.extend(facts);
        // No comment, first disk, no attributes.
        directory.extend([0; 10]);
        directory.extend(offset.to_le_bytes());
        directory.extend(name.as_bytes());
    }
    let start = small(archive.len())?;
    archive.extend(&directory);
    archive.extend(b"PK\x05\x06\0\0\0\0");
    for _disk_and_all in 0..2 {
        archive.extend(short(members.len())?.to_le_bytes());
    }
    archive.extend(small(directory.len())?.to_le_bytes());
    archive.extend(start.to_le_bytes());
    archive.extend([0; 2]);
    Ok(archive)
}

fn small(number: usize) -> io::Result<u32> {
    u32::try_from(number).map_err(|_large| too_large())
}

fn short(number: usize) -> io::Result<u16> {
    u16::try_from(number).map_err(|_large| too_large())
}

fn too_large() -> io::Error {
    io::Error::new(io::ErrorKind::FileTooLarge, "too large for a zip archive")
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use flate2::read::DeflateDecoder;

    use super::*;

    #[test]
    fn a_member_comes_back_from_behind_its_local_header() {
        let content = b"voxels ".repeat(100);
        let archive = zip(&[("T1/T1.nii.gz", &content), ("T1/T1.json", b"{}")]).unwrap();
        assert!(archive.starts_with(b"PK\x03\x04"));
        let at = 30 + "T1/T1.nii.gz".len();
        let mut found = Vec::new();
        DeflateDecoder::new(&archive[at..])
            .read_to_end(&mut found)
            .unwrap();
        assert_eq!(found, content);
    }
}
