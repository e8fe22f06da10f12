//! Files as they come, and files as they should not be.

mod mgh;
mod odd_files;
mod odd_geometry;
mod places;
mod sample;
mod volumes;

use std::path::{Path, PathBuf};

use nifti::{NiftiObject as _, RandomAccessNiftiVolume as _, ReaderOptions};
use proptest::prelude::*;

use self::sample::{SAMPLE, STORED, Sample, gzip};
use super::header::{ByteOrder, Storage, Version};
use super::*;

fn read_bytes(bytes: &[u8]) -> Result<Scan, ReadError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("scan of a head.nii.gz");
    fs_err::write(&path, bytes).unwrap();
    read_scan(&path)
}

/// The file is refused, in a message that names it.
fn check_refused(bytes: &[u8], words: &str) {
    let message = read_bytes(bytes).expect_err(words).to_string();
    assert!(
        message.contains(words) && message.ends_with("scan of a head.nii.gz`"),
        "{message}"
    );
}

/// Byte order and version of one of four variants.
fn variant(which: usize) -> Sample {
    let order = if which & 1 == 1 {
        ByteOrder::Big
    } else {
        ByteOrder::Little
    };
    let version = if which & 2 == 2 {
        Version::Two
    } else {
        Version::One
    };
    Sample {
        order,
        version,
        ..SAMPLE
    }
}

/// Changed bytes of the plain sample.
fn with(changes: &[(usize, &[u8])]) -> Vec<u8> {
    let mut bytes = SAMPLE.file();
    for (at, field) in changes {
        bytes[*at..at + field.len()].copy_from_slice(field);
    }
    bytes
}

/// A file of the shared data set, if it is there.
pub(super) fn data(name: &str) -> Option<PathBuf> {
    let root = std::env::var_os("BRAINAGE_DATA").map(PathBuf::from);
    let root =
        root.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data"));
    let path = root.join(name);
    if !path.exists() {
        eprintln!(
            "skipped: `{}` is not there (BRAINAGE_DATA names the folder)",
            path.display()
        );
    }
    path.exists().then_some(path)
}

#[test]
fn every_type_in_both_byte_orders_both_versions_and_gzipped_gives_the_same_values() {
    for code in [2, 4, 8, 16, 64, 256, 512, 768, 1024, 1280] {
        for which in 0..8 {
            let gzipped = which & 4 == 4;
            let sample = Sample {
                code,
                slope: 2.0,
                inter: -10.0,
                ..variant(which)
            };
            let file = sample.file();
            let scan = read_bytes(&if gzipped { gzip(&file) } else { file }).unwrap();
            let expected = STORED.map(|v| (v * 2.0 - 10.0) as f32);
            assert_eq!(
                scan.volume.values(),
                expected,
                "type {code}, variant {which}"
            );
            assert_eq!(scan.header.gzipped, gzipped);
            let two = sample.version == Version::Two;
            assert_eq!(scan.header.format, if two { "NIfTI-2" } else { "NIfTI-1" });
            assert_eq!(
                scan.volume.world_from_voxel(),
                Affine::grid([1.0; 3], [10.0, 20.0, 30.0])
            );
        }
    }
}

#[test]
fn extreme_integers_keep_their_sign_and_are_scaled_in_double_precision() {
    let shape = [1, 1, 1];
    let one = |code, value: f64, slope| {
        let sample = Sample {
            code,
            shape,
            slope,
            ..SAMPLE
        };
        read_bytes(&[sample.header(), sample.voxels(&[value])].concat())
            .unwrap()
            .volume
            .values()[0]
    };
    assert_eq!(one(768, 4_294_967_295.0, 1.0), 4_294_967_295_u32 as f32);
    assert_eq!(one(4, -32_768.0, 1.0), -32_768.0);
    assert_eq!(one(256, -128.0, 0.5), -64.0);
    assert_eq!(one(2, 255.0, -1.0), -255.0);
    let factor = 0.1_f32;
    assert_eq!(
        one(8, 16_777_217.0, factor),
        (16_777_217.0 * f64::from(factor)) as f32
    );
}

#[test]
fn a_slope_that_is_no_factor_means_stored_values() {
    for slope in [0.0, f32::NAN, f32::INFINITY] {
        let scan = read_bytes(
            &Sample {
                slope,
                inter: 7.0,
                ..SAMPLE
            }
            .file(),
        )
        .unwrap();
        assert_eq!(scan.volume.values(), STORED.map(|v| v as f32));
    }
    let file = Sample {
        slope: 2.0,
        inter: f32::NAN,
        ..SAMPLE
    }
    .file();
    check_refused(&file, "scl_inter not finite");
}

#[test]
fn las_data_are_turned_to_ras_with_every_voxel_in_its_place() {
    let scan = read_bytes(
        &Sample {
            flip_x: true,
            ..SAMPLE
        }
        .file(),
    )
    .unwrap();
    let expected = [
        2.0, 1.0, 0.0, 50.0, 40.0, 3.0, 80.0, 70.0, 60.0, 127.0, 100.0, 99.0,
    ];
    assert_eq!(scan.volume.values(), expected);
    assert_eq!(
        scan.volume.world_from_voxel(),
        Affine::grid([1.0; 3], [8.0, 20.0, 30.0])
    );
    assert_eq!(scan.header.world_from_stored.orientation(), "LAS");
    let stored = scan.reorientation.undo(&scan.volume);
    assert_eq!(stored.values(), STORED.map(|v| v as f32));
}

#[test]
fn the_hash_is_that_of_the_bytes_on_disk() {
    for file in [
        SAMPLE.file(),
        gzip(&SAMPLE.file()),
        [gzip(&SAMPLE.file()), vec![0; 700]].concat(),
    ] {
        assert_eq!(read_bytes(&file).unwrap().file_hash, blake3::hash(&file));
    }
}

#[test]
fn cut_files_are_refused_by_name() {
    let (plain, gzipped) = (SAMPLE.file(), gzip(&SAMPLE.file()));
    check_refused(
        &plain[..plain.len() - 1],
        "truncated: 375 bytes, expected 376",
    );
    check_refused(&plain[..352], "truncated: 352 bytes, expected 376");
    check_refused(&plain[..347], "truncated header: 347 bytes, expected 348");
    check_refused(&[], "empty file");
    check_refused(&gzip(&[]), "empty file");
    for cut in 3..gzipped.len() {
        check_refused(&gzipped[..cut], "truncated");
    }
    check_refused(&gzip(&plain[..370]), "truncated: 370 bytes, expected 376");
}

#[test]
fn flipped_bits_never_change_voxels() {
    let gzipped = gzip(&SAMPLE.file());
    let mut n_refused = 0;
    // Past the ten bytes of the member's header. A copy from another place among zeros may still be the same data.
    for at in 10..gzipped.len() {
        let mut damaged = gzipped.clone();
        damaged[at] ^= 4;
        match read_bytes(&damaged) {
            Ok(scan) => assert_eq!(scan.volume.values(), STORED.map(|v| v as f32), "byte {at}"),
            Err(_) => n_refused += 1,
        }
    }
    assert!(
        n_refused * 10 > (gzipped.len() - 10) * 9,
        "{n_refused} of {}",
        gzipped.len()
    );
    let trailer = gzipped.len() - 8;
    let mut damaged = gzipped;
    damaged[trailer] ^= 1;
    check_refused(&damaged, "corrupt (checksum)");
}

#[test]
fn several_members_are_one_stream_and_padding_is_no_matter() {
    let plain = SAMPLE.file();
    let members = [gzip(&plain[..100]), gzip(&[]), gzip(&plain[100..])].concat();
    let expected = STORED.map(|v| v as f32);
    let scan = read_bytes(&[members.clone(), vec![0; 1000]].concat()).unwrap();
    assert_eq!(
        (scan.volume.values(), scan.header.warnings.len()),
        (&expected[..], 1)
    );
    let scan = read_bytes(&[members, b"foreign".to_vec()].concat()).unwrap();
    assert!(
        scan.header.warnings.iter().any(|w| w.contains("trailing")),
        "{:?}",
        scan.header.warnings
    );
    let much = [plain, vec![0; 2 << 20]].concat();
    check_refused(&much, "more data than expected");
    check_refused(&gzip(&much), "more data than expected");
    check_refused(&gzip(&gzip(&SAMPLE.file())), "gzip inside gzip");
}

#[test]
fn headers_that_cannot_be_are_refused_at_once() {
    let huge = 32_767_i16.to_le_bytes().repeat(3);
    check_refused(&with(&[(42, &huge)]), "too large");
    let large = 4000_i16.to_le_bytes().repeat(2);
    check_refused(&with(&[(42, &large)]), "truncated");
    check_refused(&gzip(&with(&[(42, &large)])), "truncated");
    check_refused(
        &with(&[(42, &(-45_i16).to_le_bytes())]),
        "dimension 1 is -45",
    );
    check_refused(&with(&[(40, &[8, 0])]), "dimension 0 is 8");
    check_refused(&with(&[(40, &[4, 0]), (48, &[3, 0])]), "3 volumes (4-D)");
    check_refused(&with(&[(70, &128_i16.to_le_bytes())]), "RGB colour");
    check_refused(&with(&[(70, &32_i16.to_le_bytes())]), "complex");
    check_refused(
        &with(&[(70, &9999_i16.to_le_bytes())]),
        "unsupported data type: no NIfTI type (code 9999)",
    );
    check_refused(&with(&[(344, b"abc")]), "magic");
    check_refused(&with(&[(344, b"ni1")]), ".img data file not found");
    for offset in [100.0, -4.0, f32::NAN, 1e30, 9000.0] {
        check_refused(&with(&[(108, &f32::to_le_bytes(offset))]), "vox_offset");
    }
    let mut two = Sample {
        version: Version::Two,
        ..SAMPLE
    }
    .file();
    two[8] = b'\n';
    check_refused(&two, "magic signature");
}

#[test]
fn voxels_start_at_the_offset_whatever_lies_before() {
    let mut head = SAMPLE.header();
    head[108..112].copy_from_slice(&1024_f32.to_le_bytes());
    let file = [head, vec![9; 672], SAMPLE.voxels(&STORED)].concat();
    for file in [gzip(&file), file] {
        assert_eq!(
            read_bytes(&file).unwrap().volume.values(),
            STORED.map(|v| v as f32)
        );
    }
    let zero = with(&[(108, &0_f32.to_le_bytes())]);
    assert_eq!(
        read_bytes(&zero).unwrap().volume.values(),
        STORED.map(|v| v as f32)
    );
}

#[test]
fn nan_becomes_zero_with_a_warning_and_nothing_but_nan_is_refused() {
    let sample = Sample { code: 16, ..SAMPLE };
    let mut values = STORED;
    (values[3], values[4]) = (f64::NAN, f64::INFINITY);
    let scan = read_bytes(&[sample.header(), sample.voxels(&values)].concat()).unwrap();
    assert_eq!(scan.volume.values()[3..5], [0.0, 0.0]);
    assert!(
        scan.header
            .warnings
            .iter()
            .any(|w| w.starts_with("2 voxels")),
        "{:?}",
        scan.header.warnings
    );
    let nothing = [sample.header(), sample.voxels(&[f64::NAN; 12])].concat();
    check_refused(&nothing, "no finite voxels");
}

#[test]
fn a_pair_is_read_by_either_name_and_a_half_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let [header, image] = ["a.b.hdr", "a.b.img.gz"].map(|name| folder.path().join(name));
    let sample = Sample {
        storage: Storage::Pair,
        order: ByteOrder::Big,
        ..SAMPLE
    };
    fs_err::write(&header, &sample.header()[..348]).unwrap();
    let error = read_scan(&header).unwrap_err().to_string();
    assert!(error.contains(".img data file not found"), "{error}");
    fs_err::write(&image, gzip(&sample.voxels(&STORED))).unwrap();
    let [a, b] = [&header, &image].map(|path| read_scan(path).unwrap());
    assert_eq!(a.volume.values(), STORED.map(|v| v as f32));
    assert_eq!(
        (&a.volume, a.file_hash, a.header.format),
        (&b.volume, b.file_hash, "NIfTI-1 pair")
    );
    fs_err::remove_file(&header).unwrap();
    let error = read_scan(&image).unwrap_err().to_string();
    assert!(error.contains(".hdr header not found"), "{error}");
}

/// The template's files are always there.
#[test]
fn the_nifti_crate_reads_the_same_voxels_and_affine() {
    let assets = Path::new(env!("CARGO_MANIFEST_DIR")).join("../assets");
    let mut paths = vec![assets.join("mni_icbm152_t1_tal_nlin_sym_09c_uint8.nii.gz")];
    paths.extend(data("mri/ixi/IXI012-HH-1211-T1.nii.gz"));
    paths.extend(data("mri/ixi/IXI012-HH-1211-DLMUSE.nii.gz"));
    for path in paths {
        let scan = read_scan(&path).unwrap();
        let oracle = ReaderOptions::new().read_file(&path).unwrap();
        let head = oracle.header();
        let srow = [head.srow_x, head.srow_y, head.srow_z].map(|row| row.map(f64::from));
        assert_eq!(
            scan.header.world_from_stored,
            Affine::from_rows(srow),
            "{path:?}"
        );
        let stored = scan.reorientation.undo(&scan.volume);
        let oracle = oracle.into_volume();
        let [nx, ny, nz] = stored.shape().0;
        for (x, y, z) in (0..nz)
            .flat_map(|z| (0..ny).flat_map(move |y| (0..nx).step_by(3).map(move |x| (x, y, z))))
        {
            let expected = oracle.get_f32(&[x as u16, y as u16, z as u16]).unwrap();
            assert_eq!(
                stored.get([x, y, z]),
                Some(expected),
                "{path:?} {x} {y} {z}"
            );
        }
    }
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..900),
        which in 0usize..8,
        changes in prop::collection::vec((0usize..544, any::<u8>()), 0..12),
    ) {
        let mut file = variant(which).file();
        for (at, value) in changes {
            let at = at % file.len();
            file[at] = value;
        }
        file.extend(&bytes[..bytes.len().min(40)]);
        // Refusals and readings are both right, as long as they are answers.
        drop(read_bytes(&if which & 4 == 4 { gzip(&file) } else { file.clone() }));
        drop(read_bytes(&bytes));
        drop(read_bytes(&[&gzip(&file)[..20], &bytes[..]].concat()));
    }
}
