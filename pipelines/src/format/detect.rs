//! What kind of file the first bytes announce.
//!
//! Headers are told from everything else here; their fields are read in [`super::header`].

use super::error::ReadProblem;
use super::header::ByteOrder;

/// Size of a NIfTI-1 header, which is also what it says at its beginning.
pub(super) const NIFTI1_BYTES: usize = 348;
/// Size of a NIfTI-2 header.
pub(super) const NIFTI2_BYTES: usize = 540;
/// Size of an MGH header, the shortest of all.
pub(super) const MGH_BYTES: usize = 284;
/// MGH's data types are numbers below this.
const MGH_TYPES: i32 = 21;
/// Longest side that makes a file of another version an MGH file.
const MGH_SIDE: i32 = 65_536;

/// Which header follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HeaderKind {
    /// 348 bytes; Analyze 7.5 begins in the same way.
    Nifti1(ByteOrder),
    /// 540 bytes.
    Nifti2(ByteOrder),
    /// 284 bytes, FreeSurfer's.
    Mgh,
}

impl HeaderKind {
    /// Size of the header.
    pub(super) fn n_bytes(self) -> usize {
        match self {
            Self::Nifti1(_) => NIFTI1_BYTES,
            Self::Nifti2(_) => NIFTI2_BYTES,
            Self::Mgh => MGH_BYTES,
        }
    }
}

/// First bytes of files that end up under a NIfTI name, and what to call them.
const SIGNATURES: [(&[u8], &str); 11] = [
    (b"NRRD", "an NRRD file"),
    (b"\x89HDF", "an HDF5 file (MINC-2?)"),
    (b"CDF\x01", "a NetCDF file (MINC-1?)"),
    (b"\x89PNG", "a PNG picture"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"%PDF", "a PDF document"),
    (
        b"version https://git-lfs",
        "a Git LFS pointer (text); the file itself was not fetched",
    ),
    (b"{", "JSON text"),
    (b"[", "JSON text"),
    (b"<", "an HTML or XML page"),
    (b"# vtk", "a VTK file"),
];

const COMPRESSIONS: [(&[u8], &str); 5] = [
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ", "xz"),
    (b"PK\x03\x04", "zip"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"7z\xbc\xaf", "7-zip"),
];

/// Judges the first [`MGH_BYTES`] bytes of the (decompressed) content, or all there are.
///
/// # Errors
/// What the content is instead.
pub(super) fn detect(head: &[u8], gzipped: bool) -> Result<HeaderKind, ReadProblem> {
    if head.is_empty() {
        return Err(ReadProblem::Empty);
    }
    if gzipped && head.starts_with(&[0x1f, 0x8b]) {
        return Err(ReadProblem::NestedGzip);
    }
    if let Some((_, name)) = COMPRESSIONS
        .iter()
        .find(|(magic, _)| head.starts_with(magic))
    {
        return Err(ReadProblem::Compression { name });
    }
    match head.first_chunk::<4>() {
        Some([92, 1, 0, 0]) => Ok(HeaderKind::Nifti1(ByteOrder::Little)),
        Some([0, 0, 1, 92]) => Ok(HeaderKind::Nifti1(ByteOrder::Big)),
        Some([28, 2, 0, 0]) => Ok(HeaderKind::Nifti2(ByteOrder::Little)),
        Some([0, 0, 2, 28]) => Ok(HeaderKind::Nifti2(ByteOrder::Big)),
        _ if is_mgh(head) => Ok(HeaderKind::Mgh),
        _ => Err(ReadProblem::NotNifti {
            looks_like: looks_like(head),
        }),
    }
}

fn looks_like(head: &[u8]) -> &'static str {
    if head.get(128..132) == Some(b"DICM") {
        return "a DICOM file";
    }
    if let Some((_, name)) = SIGNATURES.iter().find(|(magic, _)| head.starts_with(magic)) {
        return name;
    }
    if head
        .iter()
        .all(|byte| matches!(byte, b'\t' | b'\n' | b'\r' | b' '..=b'~' | 0x80..))
    {
        let line = head.split(|byte| *byte == b'\n').next().unwrap_or_default();
        return if line.contains(&b',') {
            "CSV text"
        } else {
            "text"
        };
    }
    "an unknown binary file"
}

/// Version 1 (the low byte) and a type of the table; of another version with plausible sides too, so that the version
/// can be named.
fn is_mgh(head: &[u8]) -> bool {
    let field = |at: usize| {
        let bytes = head.get(at..).and_then(<[u8]>::first_chunk::<4>);
        bytes.map(|bytes| i32::from_be_bytes(*bytes))
    };
    let plausible_sides = || {
        let mut sides = (4..20).step_by(4).map(field);
        sides.all(|side| side.is_some_and(|side| (1..=MGH_SIDE).contains(&side)))
    };
    let has_version = match head.first_chunk::<4>() {
        Some([0, _, _, 1]) => true,
        Some([0, 0, 0, 2..10]) => plausible_sides(),
        _ => false,
    };
    has_version && field(20).is_none_or(|code| (0..MGH_TYPES).contains(&code))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(head: &[u8], words: &str) {
        let message = detect(head, false)
            .expect_err("not a NIfTI header")
            .to_string();
        assert!(message.contains(words), "{message}");
    }

    #[test]
    fn foreign_files_are_called_by_their_name() {
        let mut dicom = vec![0; 400];
        dicom[128..132].copy_from_slice(b"DICM");
        check(&dicom, "DICOM");
        check(b"id,age\n1,2\n", "CSV");
        check(b"hello there\n", "text");
        check(b"{\"a\": 1}", "JSON");
        check(b"\x89PNG\r\n\x1a\n\0\0", "PNG");
        check(b"\x89HDF\r\n\x1a\n\0", "HDF5");
        check(b"NRRD0004\n", "NRRD");
        check(b"BZh91AY", "bzip2");
        check(b"\xfd7zXZ\0", "xz");
        check(b"PK\x03\x04\x14\0", "zip");
        check(&[3; 400], "unknown binary");
        check(&[0; 400], "unknown binary");
        check(&[], "empty");
    }

    #[test]
    fn headers_are_told_by_their_first_number_and_mgh_by_its_type_too() {
        let kind = |words: &[i32]| {
            let head: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
            detect(&head, false).ok()
        };
        assert_eq!(kind(&[348]), Some(HeaderKind::Nifti1(ByteOrder::Big)));
        assert_eq!(kind(&[540]), Some(HeaderKind::Nifti2(ByteOrder::Big)));
        assert_eq!(kind(&[1, 256, 256, 256, 1, 3]), Some(HeaderKind::Mgh));
        assert_eq!(kind(&[0x1501, 256, 256, 256, 1, 3]), Some(HeaderKind::Mgh));
        assert_eq!(kind(&[1, -4, 256, 256, 1, 6]), Some(HeaderKind::Mgh));
        assert_eq!(kind(&[2, 256, 256, 256, 1, 3]), Some(HeaderKind::Mgh));
        assert_eq!(kind(&[2, -4, 256, 256, 1, 3]), None);
        assert_eq!(kind(&[1, 256, 256, 256, 1, 77_777]), None);
    }
}
