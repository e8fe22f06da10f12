//! Files that leave open what is meant: several volumes, and Analyze pairs without left and right.

use super::*;

/// Three volumes, each a hundred more than the one before; int32 so that they fit.
fn series() -> Vec<u8> {
    let sample = Sample { code: 8, ..SAMPLE };
    let mut bytes = sample.header();
    bytes[40] = 4;
    bytes[48] = 3;
    for n in [0.0, 100.0, 200.0] {
        bytes.extend(sample.voxels(&STORED.map(|value| value + n)));
    }
    bytes
}

fn read(bytes: &[u8], options: ReadOptions) -> Result<Scan, ReadError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bold.nii.gz");
    fs_err::write(&path, bytes).unwrap();
    read_scan_with(&path, options)
}

fn volume(n: usize) -> ReadOptions {
    ReadOptions {
        volume: Some(n),
        ..ReadOptions::default()
    }
}

#[test]
fn the_volume_that_is_asked_for_is_read_from_raw_and_gzipped_files() {
    for file in [series(), gzip(&series())] {
        let refused = read(&file, ReadOptions::default()).unwrap_err();
        assert!(
            refused
                .to_string()
                .starts_with("3 volumes (4-D), expected one")
        );
        for n in 0..3 {
            let scan = read(&file, volume(n)).unwrap();
            let expected = STORED.map(|value| value as f32 + 100.0 * n as f32);
            assert_eq!(scan.volume.values(), expected);
            assert_eq!(scan.header.n_volumes, 3);
            let warnings = scan.header.warnings.join("; ");
            assert!(warnings.contains(&format!("volume {n} of 0 to 2 was read")));
        }
        let message = read(&file, volume(3)).unwrap_err().to_string();
        assert!(
            message.starts_with("volume 3 is not there, expected 0 to 2"),
            "{message}"
        );
    }
}

#[test]
fn a_single_volume_is_volume_0_and_has_the_hash_of_its_bytes() {
    let file = SAMPLE.file();
    let scan = read(&file, volume(0)).unwrap();
    assert_eq!(scan.file_hash, blake3::hash(&file));
    assert!(!scan.header.warnings.join("").contains("was read"));
    let message = read(&file, volume(1)).unwrap_err().to_string();
    assert!(message.contains("volume 1 is not there"), "{message}");
}

#[test]
fn volumes_of_one_file_have_hashes_of_their_own() {
    let file = series();
    let hashes: Vec<_> = (0..3)
        .map(|n| read(&file, volume(n)).unwrap().file_hash)
        .collect();
    assert_eq!(hashes[0], blake3::hash(&file));
    assert!(hashes[0] != hashes[1] && hashes[1] != hashes[2] && hashes[0] != hashes[2]);
    assert_eq!(hashes[1], volume(1).hash_of(blake3::hash(&file)));
}

#[test]
fn a_cut_or_damaged_series_is_refused_whichever_volume_is_asked_for() {
    let file = series();
    let cut = &file[..file.len() - 5];
    for n in 0..3 {
        for file in [cut.to_vec(), gzip(cut)] {
            let message = read(&file, volume(n)).unwrap_err().to_string();
            assert!(
                message.contains("truncated: 491 bytes, expected 496"),
                "{message}"
            );
        }
        let mut damaged = gzip(&file);
        let trailer = damaged.len() - 8;
        damaged[trailer] ^= 1;
        let message = read(&damaged, volume(n)).unwrap_err().to_string();
        assert!(message.contains("corrupt (checksum)"), "{message}");
    }
}

#[test]
fn the_header_of_a_series_is_read_without_a_choice() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bold.nii");
    fs_err::write(&path, series()).unwrap();
    assert_eq!(read_header(&path).unwrap().n_volumes, 3);
    let refused = read_t1_scan(&path).unwrap_err().to_string();
    assert!(refused.contains("3 volumes (4-D)"), "{refused}");
}

#[test]
fn analyze_pairs_are_read_only_when_asked_for_and_taken_as_las() {
    let folder = tempfile::tempdir().unwrap();
    let [header, image] = ["a.hdr", "a.img"].map(|name| folder.path().join(name));
    for order in [ByteOrder::Little, ByteOrder::Big] {
        let sample = Sample {
            storage: Storage::Pair,
            slope: 0.5,
            inter: 77.0,
            order,
            ..SAMPLE
        };
        let mut head = sample.header()[..348].to_vec();
        // Where NIfTI has its codes and affines, Analyze has history and SPM its origin.
        head[252..].fill(0);
        head[253..259].copy_from_slice(&[0, 2, 0, 2, 0, 2]);
        fs_err::write(&header, head).unwrap();
        fs_err::write(&image, sample.voxels(&STORED)).unwrap();
        for path in [&header, &image] {
            let refused = read_scan(path).unwrap_err();
            let message = refused.to_string();
            assert!(
                message.contains("Analyze 7.5, whose orientation is not stored"),
                "{message}"
            );
            assert!(refused.hint().unwrap().contains("--analyze"));
            let options = ReadOptions {
                analyze: true,
                ..ReadOptions::default()
            };
            let scan = read_scan_with(path, options).unwrap();
            assert_eq!(scan.header.format, "Analyze 7.5 pair");
            assert_eq!(scan.header.affine_source, AffineSource::Assumed);
            assert_eq!(scan.header.world_from_stored.orientation(), "LAS");
            // The middle of 3×2×2 voxels.
            assert_eq!(
                scan.header.world_from_stored.apply([1.0, 0.5, 0.5]),
                [0.0; 3]
            );
            let stored = scan.reorientation.undo(&scan.volume);
            assert_eq!(stored.values(), STORED.map(|value| 0.5 * value as f32));
            let warnings = scan.header.warnings.join("; ");
            assert!(warnings.contains("orientation assumed"), "{warnings}");
        }
    }
}
