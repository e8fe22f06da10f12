//! Malformed and odd headers and streams: what is read, what is read with a warning, what is refused, and in which words.

use std::io::Write as _;
use std::time::Instant;

use flate2::{Compression, Crc, GzBuilder};

use super::*;

const VALUES: [f32; 12] = [
    0.0, 1.0, 2.0, 3.0, 40.0, 50.0, 60.0, 70.0, 80.0, 99.0, 100.0, 127.0,
];

/// The file gives the sample's values; returns the warnings.
pub(super) fn check_read(bytes: &[u8]) -> String {
    let scan = read_bytes(bytes).unwrap();
    assert_eq!(scan.volume.values(), VALUES);
    scan.header.warnings.join("; ")
}

fn check_warned(bytes: &[u8], words: &str) {
    let warnings = check_read(bytes);
    assert!(warnings.contains(words), "{warnings}");
}

fn i16s(values: &[i16]) -> Vec<u8> {
    values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect()
}

/// The plain sample with other bytes between header and voxels.
fn with_gap(gap: &[u8]) -> Vec<u8> {
    let mut head = SAMPLE.header()[..348].to_vec();
    let start = (head.len() + gap.len()) as f32;
    head[108..112].copy_from_slice(&start.to_le_bytes());
    [&head[..], gap, &SAMPLE.voxels(&STORED)].concat()
}

#[test]
fn a_fractional_slope_on_bytes_and_a_negative_one_on_floats_give_fractions() {
    for (code, slope) in [(2, 0.25), (16, -0.5), (64, -0.5)] {
        let sample = Sample {
            code,
            slope,
            inter: 1.0,
            ..SAMPLE
        };
        let scan = read_bytes(&sample.file()).unwrap();
        assert_eq!(scan.volume.values(), VALUES.map(|v| v * slope + 1.0));
    }
}

#[test]
fn sides_whose_product_overflows_are_refused_at_once() {
    let mut two = Sample {
        version: Version::Two,
        ..SAMPLE
    }
    .file();
    two[24..48].copy_from_slice(&i64::MAX.to_le_bytes().repeat(3));
    check_refused(&two, "dimensions too large");
    let seven = with(&[(40, &i16s(&[7; 1])), (42, &i16s(&[32_767; 7]))]);
    check_refused(&seven, "too large");
    check_refused(&gzip(&seven), "too large");
    let series = with(&[(40, &i16s(&[7])), (48, &i16s(&[32_767; 4]))]);
    check_refused(&series, "volumes (7-D)");
}

#[test]
fn voxels_follow_a_whole_extension_and_a_damaged_one_is_mentioned() {
    let extension = |size: i32| {
        let mut gap = vec![0; 676];
        gap[0] = 1;
        gap[4..8].copy_from_slice(&size.to_le_bytes());
        gap
    };
    assert!(!check_read(&with_gap(&extension(672))).contains("extension"));
    for size in [-5, 0, 8, 40, 688] {
        check_warned(
            &with_gap(&extension(size)),
            &format!("header extension 0 has a size of {size}"),
        );
    }
    // One byte of five says nothing about extensions, and 357 is no multiple of 16.
    check_read(&with_gap(&[0; 9]));
}

#[test]
fn an_offset_of_200_mb_is_refused_before_anything_is_read() {
    let far = with(&[(108, &2e8_f32.to_le_bytes())]);
    check_refused(&far, "vox_offset exceeds limit");
    check_refused(&gzip(&far), "vox_offset exceeds limit");
}

#[test]
fn every_legal_field_of_a_gzip_member_and_stored_blocks_are_read() {
    let mut all = GzBuilder::new()
        .extra(*b"AB\x02\0xy")
        .filename("head.nii")
        .comment("a head")
        .mtime(7)
        .write(Vec::new(), Compression::none());
    all.write_all(&SAMPLE.file()).unwrap();
    check_read(&all.finish().unwrap());

    // A checksum of the member's header, which no library writes.
    let plain = gzip(&SAMPLE.file());
    let mut head = plain[..10].to_vec();
    head[3] |= 2;
    let mut crc = Crc::new();
    crc.update(&head);
    let sum = (crc.sum() as u16).to_le_bytes();
    check_read(&[&head[..], &sum, &plain[10..]].concat());
}

#[test]
fn zeros_after_raw_voxels_are_silent_and_other_bytes_are_mentioned() {
    let zeros = check_read(&[SAMPLE.file(), vec![0; 900]].concat());
    assert!(!zeros.contains("trailing"), "{zeros}");
    check_warned(&[SAMPLE.file(), vec![7; 9]].concat(), "9 trailing bytes");
}

#[test]
fn data_beyond_what_is_declared_are_not_unpacked_to_the_end() {
    let bomb = gzip(&[SAMPLE.file(), vec![0; 200_000_000]].concat());
    assert!(bomb.len() < 2_000_000);
    let begun = Instant::now();
    check_refused(&bomb, "more data than expected");
    // A whole core unpacks 200 MB in 0.2 s; a second is for busy machines.
    assert!(begun.elapsed().as_secs_f64() < 1.0, "{:?}", begun.elapsed());
}

#[test]
fn other_compressions_and_other_files_are_called_by_name() {
    for (head, words) in [
        (&b"BZh91AY&SY"[..], "compressed with bzip2"),
        (b"\xfd7zXZ\0\0", "compressed with xz"),
        (b"PK\x03\x04\x14\0", "compressed with zip"),
        (b"\x28\xb5\x2f\xfd\0\0", "compressed with zstd"),
        (b"id,age\n1,2\n", "not a NIfTI or MGH file: looks like CSV"),
        (b"{\"a\": 1}", "looks like JSON"),
        (b"\x89PNG\r\n\x1a\n\0\0", "looks like a PNG"),
    ] {
        check_refused(&[head, &[b' '; 600]].concat(), words);
        check_refused(&gzip(&[head, &[b' '; 600]].concat()), words);
    }
}

#[test]
fn no_magic_in_a_single_file_is_refused_even_where_analyze_is_welcome() {
    let bare = with(&[(344, &[0; 4])]);
    check_refused(&bare, "magic is \"\"");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.nii");
    fs_err::write(&path, bare).unwrap();
    let options = ReadOptions {
        analyze: true,
        ..ReadOptions::default()
    };
    let message = read_scan_with(&path, options).unwrap_err().to_string();
    assert!(message.contains("magic"), "{message}");
    // The fourth byte of the magic may be junk.
    check_read(&with(&[(347, b"7")]));
}

#[test]
fn dimensions_that_are_no_sizes_are_refused_and_those_beyond_the_rank_ignored() {
    for (at, found) in [(42, 0), (44, -3), (46, 0)] {
        check_refused(&with(&[(at, &i16s(&[found]))]), &format!("is {found}"));
    }
    for rank in [0, 8, -3] {
        check_refused(
            &with(&[(40, &i16s(&[rank]))]),
            &format!("dimension 0 is {rank}, expected 1 to 7"),
        );
    }
    check_read(&with(&[(48, &i16s(&[777, -9, 0, 4]))]));
    check_warned(
        &with(&[(40, &i16s(&[4])), (48, &i16s(&[0]))]),
        "dimension 4 is 0; taken as 1",
    );
}

#[test]
fn dimensions_of_one_are_squeezed_and_others_refused_with_their_number() {
    for rank in [4, 5, 7] {
        let ones = with(&[(40, &i16s(&[rank])), (48, &i16s(&[1; 4]))]);
        assert!(!check_read(&ones).contains("volume"));
    }
    let vectors = with(&[(40, &i16s(&[5])), (48, &i16s(&[1, 3]))]);
    check_refused(&vectors, "3 volumes (5-D)");
    let hint = read_bytes(&vectors).unwrap_err().hint().unwrap();
    assert!(hint.contains("--volume"), "{hint}");
}

#[test]
fn types_that_are_no_real_numbers_are_refused_by_name_and_code() {
    for (code, words) in [
        (128, "RGB colour (24 bits) (code 128)"),
        (2304, "RGB colour"),
        (32, "complex (64 bits)"),
        (1792, "complex (128 bits)"),
        (2048, "complex (256 bits)"),
        (1536, "float128"),
        (0, "unsupported data type: unknown (code 0)"),
        (1, "binary"),
        (-16, "no NIfTI type (code -16)"),
    ] {
        check_refused(&with(&[(70, &i16s(&[code]))]), words);
    }
}

#[test]
fn the_type_decides_and_not_the_number_of_bits() {
    for bits in [0, 8, 64, -1] {
        check_warned(
            &with(&[(72, &i16s(&[bits]))]),
            &format!("bitpix is {bits}, expected 16"),
        );
    }
    assert_eq!(check_read(&with(&[(72, &i16s(&[16]))])), "");
}

#[test]
fn text_in_no_known_encoding_is_kept_as_far_as_it_is_text() {
    let file = with(&[(148, b"Universit\xe4t \xff\xfe\0after the end")]);
    let scan = read_bytes(&file).unwrap();
    assert_eq!(
        scan.header.description,
        "Universit\u{fffd}t \u{fffd}\u{fffd}"
    );
}

#[test]
fn doubles_beyond_f32_become_zero_and_are_counted() {
    let sample = Sample { code: 64, ..SAMPLE };
    let mut values = STORED;
    (values[3], values[4], values[5]) = (1e300, -1e39, 3e38);
    let scan = read_bytes(&[sample.header(), sample.voxels(&values)].concat()).unwrap();
    assert_eq!(scan.volume.values()[3..6], [0.0, 0.0, 3e38]);
    let warnings = scan.header.warnings.join("; ");
    assert!(
        warnings.contains("2 voxels are NaN or infinite"),
        "{warnings}"
    );
}
