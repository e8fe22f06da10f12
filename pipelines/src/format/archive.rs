//! Scans in zip archives, which some cohorts ship: read in place, nothing is unpacked to the disk.
//!
//! Such a scan has a path like any other: that of the archive, followed by the name of the member
//! (`1000223_20252_2_0.zip/T1/T1.nii.gz`). The archive is the first part of the path that is a file.

use std::borrow::Cow;
use std::io::{self, Cursor, Read};
use std::path::{Component, Path};

use zip::ZipArchive;
use zip::result::ZipError;

/// Bytes of the largest member that is read: it is held in memory while its voxels are converted.
const LARGEST_MEMBER: u64 = 2 << 30;

/// The bytes of a scan file or of a member of an archive.
pub(crate) struct Opened {
    pub(crate) reader: Box<dyn Read + Send>,
    /// How many there are.
    pub(crate) bytes: u64,
}

/// Opens what can be read as a file: a regular file, or a member of an archive. `None` for folders, pipes and devices, which
/// could block.
///
/// # Errors
/// What the system says; a missing or damaged member as [`io::ErrorKind::InvalidData`], in words.
pub(crate) fn open_bytes(path: &Path) -> io::Result<Option<Opened>> {
    match std::fs::metadata(path) {
        Ok(metadata) if metadata.is_file() => Ok(Some(Opened {
            reader: Box::new(fs_err::File::open(path)?),
            bytes: metadata.len(),
        })),
        Ok(_) => Ok(None),
        Err(error) => match member_of(path) {
            Some((archive, name)) => read_member(archive, &name).map(Some),
            None => Err(error),
        },
    }
}

/// The archive in which a path leads on, and the name of the member.
fn member_of(path: &Path) -> Option<(&Path, String)> {
    let archive = path.ancestors().skip(1).find(|part| part.is_file())?;
    let rest = path.strip_prefix(archive).ok()?;
    let names: Option<Vec<&str>> = rest
        .components()
        .map(|part| match part {
            Component::Normal(name) => name.to_str(),
            _ => None,
        })
        .collect();
    Some((archive, names?.join("/")))
}

fn read_member(archive: &Path, name: &str) -> io::Result<Opened> {
    let unusable = |problem: String| io::Error::new(io::ErrorKind::InvalidData, problem);
    let of_archive = |error: ZipError| match error {
        ZipError::Io(error) => error,
        ZipError::FileNotFound => unusable(format!("the archive has no member `{name}`")),
        other => unusable(format!("the archive cannot be read: {other}")),
    };
    let file = fs_err::File::open(archive)?;
    let mut zip = ZipArchive::new(io::BufReader::new(file)).map_err(of_archive)?;
    // Some programs write names with backslashes; the listing of cohorts shows them with slashes.
    let stored = zip
        .file_names()
        .filter_map(Result::ok)
        .find(|stored| stored.replace('\\', "/") == name)
        .map(Cow::into_owned);
    let member = zip
        .by_name(stored.as_deref().unwrap_or(name))
        .map_err(of_archive)?;
    let mut bytes = Vec::new();
    // What the directory says of the size is not trusted; the checksum is verified at the end.
    member.take(LARGEST_MEMBER + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LARGEST_MEMBER {
        return Err(unusable(format!(
            "the member has more than {LARGEST_MEMBER} bytes: unpack the archive"
        )));
    }
    Ok(Opened {
        bytes: bytes.len() as u64,
        reader: Box::new(Cursor::new(bytes)),
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use zip::write::{SimpleFileOptions, ZipWriter};
    use zip::{CompressionMethod, DateTime};

    fn archive_with(path: &Path, members: &[(&str, &[u8], CompressionMethod)]) {
        let mut zip = ZipWriter::new(fs_err::File::create(path).unwrap());
        for (name, content, method) in members {
            let options = SimpleFileOptions::default()
                .compression_method(*method)
                .last_modified_time(DateTime::default());
            zip.start_file(*name, options).unwrap();
            zip.write_all(content).unwrap();
        }
        zip.finish().unwrap();
    }

    fn content(path: &Path) -> io::Result<Vec<u8>> {
        let mut opened = open_bytes(path)?.expect("not a folder");
        let mut bytes = Vec::new();
        opened.reader.read_to_end(&mut bytes)?;
        assert_eq!(bytes.len() as u64, opened.bytes);
        Ok(bytes)
    }

    #[test]
    fn members_are_read_whether_stored_or_deflated() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.zip");
        let long = vec![7; 100_000];
        archive_with(
            &path,
            &[
                ("T1/T1.nii.gz", b"voxels", CompressionMethod::Stored),
                ("T1/long.nii", &long, CompressionMethod::Deflated),
            ],
        );
        assert_eq!(content(&path.join("T1/T1.nii.gz")).unwrap(), b"voxels");
        assert_eq!(content(&path.join("T1/long.nii")).unwrap(), long);
        let error = content(&path.join("T1/T2.nii.gz")).unwrap_err();
        assert!(
            error.to_string().contains("no member `T1/T2.nii.gz`"),
            "{error}"
        );
    }

    #[test]
    fn a_damaged_member_is_refused_by_its_checksum() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.zip");
        archive_with(&path, &[("T1.nii", b"voxels", CompressionMethod::Stored)]);
        let mut bytes = fs_err::read(&path).unwrap();
        let at = bytes.windows(6).position(|six| six == b"voxels").unwrap();
        bytes[at] = b'w';
        fs_err::write(&path, &bytes).unwrap();
        assert!(content(&path.join("T1.nii")).is_err());
        fs_err::write(&path, &bytes[..bytes.len() - 30]).unwrap();
        let error = content(&path.join("T1.nii")).unwrap_err();
        assert!(error.to_string().contains("archive"), "{error}");
    }

    #[test]
    fn folders_are_no_files_and_missing_files_stay_missing() {
        let folder = tempfile::tempdir().unwrap();
        assert!(open_bytes(folder.path()).unwrap().is_none());
        let missing = open_bytes(&folder.path().join("no/T1.nii")).err().unwrap();
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
        let file = folder.path().join("scan.nii");
        fs_err::write(&file, b"voxels").unwrap();
        assert_eq!(content(&file).unwrap(), b"voxels");
        assert!(content(&file.join("T1.nii")).is_err());
    }
}
