//! FreeSurfer's files, made byte by byte from the published layout.

use super::*;

/// An MGH file to be: 3×2×2 voxels of 1 mm, RAS+, int16, unless changed.
#[derive(Clone, Copy)]
struct Mgh {
    version: i32,
    sides: [i32; 4],
    code: i32,
    has_geometry: i16,
    delta: [f32; 3],
    /// x, y, z of the first axis, then of the others.
    directions: [[f32; 3]; 3],
    center: [f32; 3],
}

const MGH: Mgh = Mgh {
    version: 1,
    sides: [3, 2, 2, 1],
    code: 4,
    has_geometry: 1,
    delta: [1.0; 3],
    directions: [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]],
    center: [11.5, 21.0, 31.0],
};

impl Mgh {
    fn header(&self) -> Vec<u8> {
        let [width, height, depth, frames] = self.sides;
        let words = [self.version, width, height, depth, frames, self.code, 0];
        let mut head: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
        head.extend(self.has_geometry.to_be_bytes());
        let floats = [
            self.delta.to_vec(),
            self.directions.concat(),
            self.center.to_vec(),
        ]
        .concat();
        head.extend(floats.iter().flat_map(|value| value.to_be_bytes()));
        assert_eq!(head.len(), 90);
        head.resize(284, 0);
        head
    }

    fn voxels(&self, values: &[f64]) -> Vec<u8> {
        let raw = |v: f64| match self.code {
            0 => vec![v as u8],
            1 => (v as i32).to_be_bytes().to_vec(),
            3 => (v as f32).to_be_bytes().to_vec(),
            4 => (v as i16).to_be_bytes().to_vec(),
            10 => (v as u16).to_be_bytes().to_vec(),
            code => panic!("no voxels of type {code}"),
        };
        values.iter().flat_map(|value| raw(*value)).collect()
    }

    fn file(&self) -> Vec<u8> {
        [self.header(), self.voxels(&STORED)].concat()
    }

    fn check_refused(&self, words: &str) {
        let message = read_bytes(&self.header()).expect_err(words).to_string();
        assert!(message.contains(words), "{message}");
    }
}

#[test]
fn all_five_types_are_read_plain_and_gzipped() {
    for (code, name) in [
        (0, "uint8"),
        (1, "int32"),
        (3, "float32"),
        (4, "int16"),
        (10, "uint16"),
    ] {
        let file = Mgh { code, ..MGH }.file();
        for (bytes, gzipped) in [(gzip(&file), true), (file, false)] {
            let scan = read_bytes(&bytes).unwrap();
            assert_eq!(scan.volume.values(), STORED.map(|v| v as f32));
            assert_eq!((scan.header.format, scan.header.datatype), ("MGH", name));
            assert_eq!(scan.header.gzipped, gzipped);
            // The center is that of voxel (1.5, 1, 1).
            let expected = Affine::grid([1.0; 3], [10.0, 20.0, 30.0]);
            assert_eq!(scan.volume.world_from_voxel(), expected);
            assert!(
                scan.header.warnings.is_empty(),
                "{:?}",
                scan.header.warnings
            );
        }
    }
    let negative = [MGH.header(), MGH.voxels(&[-300.0; 12])].concat();
    assert_eq!(read_bytes(&negative).unwrap().volume.values()[0], -300.0);
}

#[test]
fn directions_are_columns_and_sizes_belong_to_stored_axes() {
    // FreeSurfer's own order: x to the left, y to the feet, z to the front.
    let conformed = Mgh {
        delta: [1.0, 2.0, 3.0],
        directions: [[-1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]],
        center: [5.0, 6.0, 7.0],
        ..MGH
    };
    let header = read_bytes(&conformed.file()).unwrap().header;
    let expected = [
        [-1.0, 0.0, 0.0, 5.0 + 1.5],
        [0.0, 0.0, 3.0, 6.0 - 3.0],
        [0.0, -2.0, 0.0, 7.0 + 2.0],
    ];
    assert_eq!(header.world_from_stored, Affine::from_rows(expected));
    assert_eq!(header.world_from_stored.orientation(), "LIA");
    assert_eq!(header.affine_source, AffineSource::Directions);
}

#[test]
fn oblique_directions_are_kept() {
    let (sin, cos) = 12_f32.to_radians().sin_cos();
    let oblique = Mgh {
        delta: [0.8, 0.9, 1.1],
        directions: [[cos, sin, 0.0], [-sin, cos, 0.0], [0.0, 0.0, 1.0]],
        ..MGH
    };
    let place = read_bytes(&oblique.file())
        .unwrap()
        .header
        .world_from_stored;
    for (found, expected) in place.column_norms().into_iter().zip([0.8, 0.9, 1.1]) {
        assert!((found - expected).abs() < 1e-6, "{found}");
    }
    let center = place.apply([1.5, 1.0, 1.0]);
    for (found, expected) in center.into_iter().zip([11.5, 21.0, 31.0]) {
        assert!((found - expected).abs() < 1e-9, "{center:?}");
    }
}

#[test]
fn a_footer_is_ignored_and_an_intent_above_the_version_too() {
    let footer = [2300.0_f32, 0.15, 2.9, 900.0, 256.0]
        .map(f32::to_be_bytes)
        .concat();
    let tags = b"\0\0\0\x03\0\0\0\0\0\0\0\x08talairac";
    let file = [MGH.file(), footer, tags.to_vec()].concat();
    for file in [gzip(&file), file] {
        let scan = read_bytes(&file).unwrap();
        assert_eq!(scan.volume.values(), STORED.map(|v| v as f32));
    }
    let intent = Mgh {
        version: 0x1f01,
        ..MGH
    };
    read_bytes(&intent.file()).unwrap();
}

#[test]
fn without_geometry_lia_of_1_mm_is_assumed_and_the_fields_are_junk() {
    let junk = Mgh {
        has_geometry: 0,
        delta: [f32::NAN, -3.0, 0.0],
        directions: [[7.0; 3]; 3],
        center: [f32::INFINITY; 3],
        ..MGH
    };
    for has_geometry in [0, -1] {
        let header = read_bytes(
            &Mgh {
                has_geometry,
                ..junk
            }
            .file(),
        )
        .unwrap()
        .header;
        assert_eq!(header.world_from_stored.orientation(), "LIA");
        assert_eq!(header.world_from_stored.column_norms(), [1.0; 3]);
        assert_eq!(header.world_from_stored.apply([1.5, 1.0, 1.0]), [0.0; 3]);
        assert_eq!(header.affine_source, AffineSource::Assumed);
        assert!(header.warnings[0].contains("orientation assumed"));
    }
}

#[test]
fn several_frames_need_a_choice() {
    let frames = Mgh {
        sides: [3, 2, 2, 4],
        ..MGH
    };
    frames.check_refused("4 frames (4-D), expected one");
    let voxels: Vec<u8> = (0..4)
        .flat_map(|n| frames.voxels(&STORED.map(|value| value + 200.0 * f64::from(n))))
        .collect();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.mgz");
    fs_err::write(&path, gzip(&[frames.header(), voxels].concat())).unwrap();
    let options = ReadOptions {
        volume: Some(2),
        ..ReadOptions::default()
    };
    let scan = read_scan_with(&path, options).unwrap();
    assert_eq!(scan.volume.values(), STORED.map(|v| v as f32 + 400.0));
}

#[test]
fn headers_that_cannot_be_are_refused_in_their_words() {
    let file = MGH.file();
    check_refused(
        &file[..file.len() - 1],
        "truncated: 307 bytes, expected 308",
    );
    check_refused(&gzip(&file[..file.len() - 1]), "truncated");
    check_refused(&file[..283], "truncated header: 283 bytes, expected 284");
    check_refused(&file[..20], "truncated header: 20 bytes, expected 284");
    Mgh { version: 2, ..MGH }.check_refused("MGH version is 2, expected 1");
    Mgh { code: 6, ..MGH }.check_refused("unsupported data type: tensor (code 6)");
    for side in [0, -7] {
        for axis in 0..4 {
            let mut sides = MGH.sides;
            sides[axis] = side;
            let words = format!("dimension {} is {side}", axis + 1);
            Mgh { sides, ..MGH }.check_refused(&words);
        }
    }
    let sides = [i32::MAX, i32::MAX, i32::MAX, 1];
    Mgh { sides, ..MGH }.check_refused("dimensions too large");
    let sides = [4000, 4000, 4, 1];
    Mgh { sides, ..MGH }.check_refused("truncated");
    let directions = [[0.0; 3]; 3];
    Mgh { directions, ..MGH }.check_refused("direction (Mdc) singular");
    let directions = [[1.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]];
    Mgh { directions, ..MGH }.check_refused("direction (Mdc) singular");
    let directions = [[1.2, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];
    Mgh { directions, ..MGH }.check_refused("direction (Mdc) not orthonormal");
    let directions = [[f32::NAN; 3]; 3];
    Mgh { directions, ..MGH }.check_refused("direction (Mdc) not finite");
    for delta in [0.0, -1.0, f32::NAN] {
        let delta = [1.0, delta, 1.0];
        Mgh { delta, ..MGH }.check_refused("voxel size (delta)");
    }
    let center = [f32::NAN, 0.0, 0.0];
    Mgh { center, ..MGH }.check_refused("affine not finite");
}
