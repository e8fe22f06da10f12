//! Scan files damaged at random: what the reader says must be a value or an error, at once and for little memory.
//!
//! The same number gives the same damage. The test beside this folder runs a few thousand; `examples/fuzz_readers.rs`
//! runs them for as long as one likes.

use std::error::Error;
use std::io::Write as _;
use std::path::Path;

use brainage_pipelines::format::{
    ReadOptions, read_header_with, read_scan_with, read_t1_scan_with,
};
use flate2::Compression;
use flate2::write::GzEncoder;

/// Where headers end and voxels begin, more or less: most damage is done before it.
const HEADER_BYTES: usize = 560;
/// Numbers that programs get wrong.
const EDGES: [i64; 14] = [
    0,
    1,
    -1,
    2,
    7,
    127,
    255,
    256,
    32_767,
    -32_768,
    65_535,
    4096,
    2_147_483_647,
    -2_147_483_648,
];
const FLOAT_EDGES: [f32; 8] = [
    f32::NAN,
    f32::INFINITY,
    f32::MAX,
    f32::MIN_POSITIVE,
    0.0,
    -1.0,
    352.0,
    1e30,
];

/// A file, or a pair of them, before or after damage.
#[derive(Clone, Debug)]
pub(crate) struct Files {
    /// What it was made from.
    pub(crate) kind: &'static str,
    /// Name and content; the first one is opened.
    pub(crate) files: Vec<(&'static str, Vec<u8>)>,
}

/// How a reading ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    Read,
    Refused,
}

/// SplitMix64 (Steele, Lea, Flood 2014, OOPSLA): small, and the same everywhere.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
}

/// Valid files of every format that is read.
pub(crate) fn valid() -> Result<Vec<Files>, Box<dyn Error>> {
    let single = nifti_1(*b"n+1\0", 352.0, 3);
    let series = nifti_1(*b"n+1\0", 352.0, 4);
    let voxels = voxels(false);
    let one = |kind, bytes: Vec<u8>| Files {
        kind,
        files: vec![("a.nii", bytes)],
    };
    let with_voxels = |head: &[u8], times: usize| [head, &voxels.repeat(times)].concat();
    let pair = |kind, magic| Files {
        kind,
        files: vec![("a.hdr", nifti_1(magic, 0.0, 3)), ("a.img", voxels.clone())],
    };
    let mut extended = nifti_1(*b"n+1\0", 384.0, 3);
    extended[348] = 1;
    extended.extend([32_u8, 0, 0, 0, 6, 0, 0, 0]);
    extended.extend([b'x'; 24]);
    let all = vec![
        one("NIfTI-1", with_voxels(&single, 1)),
        one("NIfTI-1 with an extension", with_voxels(&extended, 1)),
        one("NIfTI-1 series", with_voxels(&series, 3)),
        one("NIfTI-2", with_voxels(&nifti_2(), 1)),
        one("MGH", mgh()),
        pair("NIfTI-1 pair", *b"ni1\0"),
        pair("Analyze 7.5 pair", [0; 4]),
    ];
    let mut packed = Vec::new();
    for files in &all {
        let contents = files.files.iter();
        let contents = contents.map(|(name, bytes)| Ok((*name, gzip(bytes)?)));
        packed.push(Files {
            kind: files.kind,
            files: contents.collect::<std::io::Result<_>>()?,
        });
    }
    packed.extend(all);
    Ok(packed)
}

/// A folder for files that are written often: in memory where the system has such a place.
pub(crate) fn folder() -> std::io::Result<tempfile::TempDir> {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir())
}

/// The damage with this number.
pub(crate) fn damaged(valid: &[Files], number: u64) -> Result<Files, Box<dyn Error>> {
    let mut numbers = Numbers(number);
    // Packed files, which come first, hardly survive any damage: the others are taken more often.
    let kind = numbers.below(valid.len()).max(numbers.below(valid.len()));
    let mut files = valid[kind].clone();
    let other = valid[numbers.below(valid.len())].clone();
    let which = numbers.below(files.files.len());
    let packed_after = numbers.one_in(3);
    let bytes = &mut files.files[which].1;
    // Little damage goes far into the reader, much of it finds the odd ways.
    let most = numbers.below(6);
    for _ in 0..=numbers.below(most + 1) {
        damage(bytes, &other.files[0].1, &mut numbers);
    }
    // Damage under a sound checksum gets further into the reader.
    if packed_after {
        *bytes = gzip(bytes)?;
    }
    Ok(files)
}

fn damage(bytes: &mut Vec<u8>, other: &[u8], numbers: &mut Numbers) {
    let reach = if numbers.one_in(4) {
        bytes.len()
    } else {
        bytes.len().min(HEADER_BYTES)
    };
    let at = numbers.below(reach);
    let rest = bytes.len() - at;
    match numbers.below(10) {
        0 => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << numbers.below(8);
            }
        }
        1 => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte = numbers.next() as u8;
            }
        }
        2 => bytes.truncate(at),
        3 => {
            let n = numbers.below(rest.min(64));
            bytes.drain(at..at + n);
        }
        4 => {
            let added: Vec<u8> = (0..numbers.below(40))
                .map(|_| numbers.next() as u8)
                .collect();
            bytes.splice(at..at, added);
        }
        5 => {
            let n = numbers.below(rest.min(200));
            let again = bytes[at..at + n].to_vec();
            bytes.splice(at..at, again);
        }
        6 => {
            let n = numbers.below(other.len().min(64));
            let from = numbers.below(other.len() - n);
            put(bytes, at, &other[from..from + n]);
        }
        _ => {
            let field = edge(numbers);
            // Fields of headers lie at even offsets.
            put(bytes, at & !1, &field);
        }
    }
}

/// A number on the edge of what its type can say, in either byte order.
fn edge(numbers: &mut Numbers) -> Vec<u8> {
    let whole = EDGES[numbers.below(EDGES.len())];
    let float = FLOAT_EDGES[numbers.below(FLOAT_EDGES.len())];
    let mut field = match numbers.below(5) {
        0 => (whole as i16).to_le_bytes().to_vec(),
        1 => (whole as i32).to_le_bytes().to_vec(),
        2 => (whole << numbers.below(32)).to_le_bytes().to_vec(),
        3 => float.to_le_bytes().to_vec(),
        _ => f64::from(float).to_le_bytes().to_vec(),
    };
    if numbers.one_in(2) {
        field.reverse();
    }
    field
}

fn put(bytes: &mut [u8], at: usize, field: &[u8]) {
    for (byte, new) in bytes.iter_mut().skip(at).zip(field) {
        *byte = *new;
    }
}

/// Reads the files from `folder` in every way; an error says which promise was broken.
pub(crate) fn read(folder: &Path, files: &Files, number: u64) -> Result<Ending, Box<dyn Error>> {
    for (name, bytes) in &files.files {
        fs_err::write(folder.join(name), bytes)?;
    }
    let path = folder.join(files.files[0].0);
    let options = ReadOptions {
        volume: [None, Some(0), Some(1), Some(usize::MAX)][(number % 7).min(3) as usize],
        analyze: number.is_multiple_of(2),
    };
    let header = read_header_with(&path, options);
    let scan = read_scan_with(&path, options);
    let t1 = read_t1_scan_with(&path, options);
    if t1.is_ok() && scan.is_err() {
        return Err("read as a T1 scan, but not as a volume".into());
    }
    match (&header, scan) {
        (Ok(_), Ok(scan)) => {
            let values = scan.volume.values();
            if values.len() != scan.volume.shape().n_voxels() {
                return Err("number of voxels differs from the shape".into());
            }
            if values.iter().any(|value| !value.is_finite()) {
                return Err("a voxel is not finite".into());
            }
            if scan.volume.world_from_voxel().inverse().is_none() {
                return Err("affine is singular".into());
            }
            Ok(Ending::Read)
        }
        (Err(_), Ok(_)) => Err("the header alone is refused, with voxels it is not".into()),
        (_, Err(error)) => {
            let message = error.to_string();
            let one_line = !message.contains('\n') && message.ends_with('`');
            if one_line {
                Ok(Ending::Refused)
            } else {
                Err(format!("not a line that names the file: {message}").into())
            }
        }
    }
}

fn gzip(bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes)?;
    encoder.finish()
}

/// 4×3×2 voxels of int16.
fn voxels(big_endian: bool) -> Vec<u8> {
    let values = (0..24_i16).map(|i| i * 37 - 100);
    let order = |value: i16| {
        if big_endian {
            value.to_be_bytes()
        } else {
            value.to_le_bytes()
        }
    };
    values.flat_map(order).collect()
}

/// Offsets from nifti1.h; of rank 4 with three volumes.
fn nifti_1(magic: [u8; 4], vox_offset: f32, rank: i16) -> Vec<u8> {
    let mut head = vec![0; 352];
    put(&mut head, 0, &348_i32.to_le_bytes());
    for (i, side) in [rank, 4, 3, 2, 3].into_iter().enumerate() {
        put(&mut head, 40 + 2 * i, &side.to_le_bytes());
        put(&mut head, 76 + 4 * i, &1_f32.to_le_bytes());
    }
    put(&mut head, 70, &4_i16.to_le_bytes());
    put(&mut head, 72, &16_i16.to_le_bytes());
    put(&mut head, 108, &vox_offset.to_le_bytes());
    put(&mut head, 112, &2_f32.to_le_bytes());
    head[123] = 2;
    put(&mut head, 148, b"a head");
    if magic != [0; 4] {
        put(&mut head, 252, &[1, 0, 1, 0]);
        for row in 0..3 {
            put(&mut head, 280 + 20 * row, &1_f32.to_le_bytes());
        }
    }
    put(&mut head, 344, &magic);
    head
}

/// Offsets from nifti2.h.
fn nifti_2() -> Vec<u8> {
    let mut head = vec![0; 544];
    put(&mut head, 0, &540_i32.to_le_bytes());
    put(&mut head, 4, b"n+2\0\r\n\x1a\n");
    put(&mut head, 12, &[4, 0, 16, 0]);
    for (i, side) in [3_i64, 4, 3, 2].into_iter().enumerate() {
        put(&mut head, 16 + 8 * i, &side.to_le_bytes());
        put(&mut head, 104 + 8 * i, &1_f64.to_le_bytes());
    }
    put(&mut head, 168, &544_i64.to_le_bytes());
    put(&mut head, 344, &1_i32.to_le_bytes());
    head
}

/// Offsets from FreeSurfer's description.
fn mgh() -> Vec<u8> {
    let mut head: Vec<u8> = [1, 4, 3, 2, 1, 4, 0]
        .into_iter()
        .flat_map(i32::to_be_bytes)
        .collect();
    head.extend([0, 1]);
    for value in [
        1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0, 5.0, 6.0, 7.0_f32,
    ] {
        head.extend(value.to_be_bytes());
    }
    head.resize(284, 0);
    [head, voxels(true)].concat()
}
