//! Names, pairs, links, and what is no file.

use super::*;

fn message(path: &Path) -> String {
    read_scan(path).unwrap_err().to_string()
}

fn check_values(path: &Path) {
    let scan = read_scan(path).unwrap();
    assert_eq!(scan.volume.values(), STORED.map(|v| v as f32), "{path:?}");
}

#[test]
fn the_content_decides_and_not_the_name() {
    let folder = tempfile::tempdir().unwrap();
    for name in [
        "a.nii.gz",
        "a.nii",
        "A.NII.GZ",
        "no extension",
        "a.txt",
        "a.mgz",
    ] {
        let path = folder.path().join(name);
        for bytes in [SAMPLE.file(), gzip(&SAMPLE.file())] {
            fs_err::write(&path, bytes).unwrap();
            check_values(&path);
        }
    }
}

#[test]
fn any_name_that_the_system_allows_will_do() {
    let folder = tempfile::tempdir().unwrap();
    let long = format!("{}.nii", "x".repeat(200));
    for name in [
        "with space.nii",
        "new\nline.nii",
        "\"quoted'.nii",
        "🧠.nii",
        "-dash.nii",
        &long,
    ] {
        let path = folder.path().join(name);
        fs_err::write(&path, SAMPLE.file()).unwrap();
        check_values(&path);
        fs_err::write(&path, &SAMPLE.file()[..370]).unwrap();
        assert!(!message(&path).contains('\n'));
    }
    #[cfg(unix)]
    {
        use std::os::unix::ffi::OsStrExt as _;
        let path = folder
            .path()
            .join(std::ffi::OsStr::from_bytes(b"not \xff UTF-8.nii"));
        // Some file systems take UTF-8 only.
        if fs_err::write(&path, SAMPLE.file()).is_ok() {
            check_values(&path);
        }
    }
}

#[test]
fn pairs_are_found_gzipped_in_capitals_and_with_an_offset_inside_the_image() {
    let sample = Sample {
        storage: Storage::Pair,
        ..SAMPLE
    };
    let mut head = sample.header();
    head[108..112].copy_from_slice(&13_f32.to_le_bytes());
    let image = [vec![9; 13], sample.voxels(&STORED)].concat();
    for names in [
        ["a.hdr", "a.img"],
        ["a.hdr.gz", "a.img.gz"],
        ["A.HDR", "A.IMG"],
        ["a.hdr", "a.img.gz"],
    ] {
        let folder = tempfile::tempdir().unwrap();
        let paths = names.map(|name| folder.path().join(name));
        let packed = |name: &str, bytes: &[u8]| {
            if name.ends_with("gz") {
                gzip(bytes)
            } else {
                bytes.to_vec()
            }
        };
        fs_err::write(&paths[0], packed(names[0], &head)).unwrap();
        fs_err::write(&paths[1], packed(names[1], &image)).unwrap();
        for path in &paths {
            check_values(path);
        }
        fs_err::write(&paths[1], packed(names[1], &image[..36])).unwrap();
        assert!(message(&paths[0]).starts_with("truncated: 36 bytes, expected 37"));
    }
}

#[cfg(unix)]
#[test]
fn links_are_followed_and_those_that_lead_nowhere_are_named() {
    use std::os::unix::fs::symlink;
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs_err::write(path("a.nii"), SAMPLE.file()).unwrap();
    symlink(path("a.nii"), path("link.nii")).unwrap();
    check_values(&path("link.nii"));
    symlink(path("absent.nii"), path("dangling.nii")).unwrap();
    assert!(message(&path("dangling.nii")).starts_with("file not found"));
    symlink(path("one.nii"), path("other.nii")).unwrap();
    symlink(path("other.nii"), path("one.nii")).unwrap();
    let found = message(&path("one.nii"));
    assert!(found.contains("too many levels of"), "{found}");
}

#[cfg(unix)]
#[test]
fn a_file_that_may_not_be_read_says_so() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.nii");
    fs_err::write(&path, SAMPLE.file()).unwrap();
    fs_err::set_permissions(&path, PermissionsExt::from_mode(0o000)).unwrap();
    if fs_err::read(&path).is_ok() {
        eprintln!("skipped: this user may read everything");
        return;
    }
    assert!(message(&path).starts_with("permission denied"));
}

#[cfg(unix)]
#[test]
fn a_pipe_is_refused_without_waiting_for_a_writer() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pipe.nii");
    let made = std::process::Command::new("mkfifo").arg(&path).status();
    if !made.is_ok_and(|status| status.success()) {
        eprintln!("skipped: no mkfifo");
        return;
    }
    assert!(message(&path).starts_with("not a regular file"));
}
