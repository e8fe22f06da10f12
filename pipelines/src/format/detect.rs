//! What kind of file the first bytes announce.
//!
//! Headers are told from everything else here; their fields are read in [`super::header`].

use super::error::ReadProblem;
use super::header::ByteOrder;

/// Size of a NIfTI-1 header, which is also what it says at its beginning.
pub(super) const NIFTI1_BYTES: usize = 348;
/// Size of a NIfTI-2 header.
pub(super) const NIFTI2_BYTES: usize = 540;

/// Which header follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HeaderKind {
    /// 348 bytes; Analyze 7.5 begins in the same way.
    Nifti1(ByteOrder),
    /// 540 bytes.
    Nifti2(ByteOrder),
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

/// Judges the first [`NIFTI1_BYTES`] bytes of the (decompressed) content, or all there are.
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
    let kind = match head.first_chunk::<4>() {
        Some([92, 1, 0, 0]) => HeaderKind::Nifti1(ByteOrder::Little),
        Some([0, 0, 1, 92]) => HeaderKind::Nifti1(ByteOrder::Big),
        Some([28, 2, 0, 0]) => HeaderKind::Nifti2(ByteOrder::Little),
        Some([0, 0, 2, 28]) => HeaderKind::Nifti2(ByteOrder::Big),
        _ => {
            return Err(ReadProblem::NotNifti {
                looks_like: looks_like(head),
            });
        }
    };
    if head.len() < NIFTI1_BYTES {
        return Err(ReadProblem::TruncatedHeader {
            found: head.len(),
            expected: NIFTI1_BYTES,
        });
    }
    Ok(kind)
}

fn looks_like(head: &[u8]) -> &'static str {
    if head.get(128..132) == Some(b"DICM") {
        return "a DICOM file";
    }
    if let Some((_, name)) = SIGNATURES.iter().find(|(magic, _)| head.starts_with(magic)) {
        return name;
    }
    if is_mgh(head) {
        return "an MGH file of FreeSurfer";
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

/// Big-endian version 1, plausible sides, a known data type.
fn is_mgh(head: &[u8]) -> bool {
    let field = |at: usize| {
        let bytes = head.get(at..).and_then(<[u8]>::first_chunk::<4>);
        bytes.map(|bytes| i32::from_be_bytes(*bytes))
    };
    field(0).is_some_and(|version| version & 0xff == 1)
        && (4..20)
            .step_by(4)
            .all(|at| field(at).is_some_and(|side| (1..=65_536).contains(&side)))
        && field(20).is_some_and(|data_type| [0, 1, 3, 4, 10].contains(&data_type))
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
        let mgh = [1, 256, 256, 256, 1, 3].map(i32::to_be_bytes).concat();
        check(&mgh, "MGH");
    }

    #[test]
    fn a_short_header_says_how_short_it_is() {
        let mut head = vec![0; 347];
        head[..4].copy_from_slice(&348_i32.to_le_bytes());
        check(&head, "truncated header: 347 bytes, expected 348");
        check(&[], "empty");
    }
}
