//! Where voxels lie: every orientation, odd and contradicting affines, sizes that are no head's.

use super::odd_files::check_read;
use super::*;

const SHAPE: [usize; 3] = [4, 3, 2];

fn f32s(values: &[f32]) -> Vec<u8> {
    values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect()
}

/// The sample's header with its sform switched off and a qform of these fields.
fn with_qform(qfac: f32, quatern: [f32; 3], changes: &[(usize, &[u8])]) -> Vec<u8> {
    let mut all: Vec<(usize, &[u8])> = vec![(252, &[1, 0]), (254, &[0, 0])];
    let [qfac, quatern, offset] = [f32s(&[qfac]), f32s(&quatern), f32s(&[10.0, 20.0, 30.0])];
    all.extend([(76, &qfac[..]), (256, &quatern), (268, &offset)]);
    all.extend(changes);
    with(&all)
}

fn header_of(bytes: &[u8]) -> ScanHeader {
    read_bytes(bytes).unwrap().header
}

fn check_warned(bytes: &[u8], words: &str) {
    let warnings = header_of(bytes).warnings.join("; ");
    assert!(warnings.contains(words), "{warnings}");
}

/// All ways in which three axes can be stored, as the columns of an affine with steps of 1 mm.
fn orientations() -> Vec<[[f64; 4]; 3]> {
    let orders = [
        [0, 1, 2],
        [0, 2, 1],
        [1, 0, 2],
        [1, 2, 0],
        [2, 0, 1],
        [2, 1, 0],
    ];
    let signs = (0..8).map(|bits| [0, 1, 2].map(|i| if bits >> i & 1 == 1 { -1.0 } else { 1.0 }));
    signs
        .flat_map(|signs| {
            orders.map(|order| {
                let mut rows = [[0.0; 4]; 3];
                for (column, (row, sign)) in order.into_iter().zip(signs).enumerate() {
                    rows[row][column] = sign;
                    // The corner of the same box, whatever the direction.
                    rows[row][3] = if sign < 0.0 {
                        SHAPE[row] as f64 - 1.0
                    } else {
                        0.0
                    };
                }
                rows
            })
        })
        .collect()
}

#[test]
fn one_head_stored_in_48_ways_is_one_array_by_sform_and_by_qform() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.nii");
    // A voxel's value tells its place in the world.
    let value = |[x, y, z]: [f64; 3]| (x + 10.0 * y + 100.0 * z) as f32;
    let inside = |shape: [usize; 3]| {
        (0..shape[2]).flat_map(move |z| {
            (0..shape[1]).flat_map(move |y| (0..shape[0]).map(move |x| [x, y, z]))
        })
    };
    let expected: Vec<f32> = inside(SHAPE)
        .map(|at| value(at.map(|i| i as f64)))
        .collect();
    for rows in orientations() {
        let place = Affine::from_rows(rows);
        let side = |column: usize| {
            let row = (0..3).find(|row| rows[*row][column] != 0.0).unwrap();
            SHAPE[row]
        };
        let shape = [side(0), side(1), side(2)];
        let values = inside(shape).map(|at| value(place.apply(at.map(|i| i as f64))));
        let stored = Volume::new(values.collect(), VoxelShape(shape), place).unwrap();
        write_nifti(&path, &stored, "").unwrap();
        let both = fs_err::read(&path).unwrap();
        for (code, other) in [(252, 254), (254, 252)] {
            let mut bytes = both.clone();
            assert!(bytes[code] > 0 && bytes[other] > 0);
            bytes[other] = 0;
            let scan = read_bytes(&bytes).unwrap();
            assert_eq!(scan.volume.values(), expected, "{rows:?}");
            let found = scan.volume.world_from_voxel();
            let off = (found.linear() - nalgebra::Matrix3::identity()).amax();
            // Quaternions are stored as f32.
            assert!(off < 1e-6 && found.translation().amax() < 1e-5, "{found:?}");
        }
    }
}

#[test]
fn oblique_and_sheared_affines_have_the_norms_of_their_columns_as_voxel_sizes() {
    let (sin, cos) = 20_f32.to_radians().sin_cos();
    let rows = [
        [cos, -2.0 * sin, 0.0, -90.0],
        [sin, 2.0 * cos, 0.0, -120.0],
        [0.0, 0.0, 3.0, -70.0],
    ];
    let header = header_of(&with(&[(280, &f32s(&rows.concat()))]));
    let sizes = header.world_from_stored.column_norms();
    for (found, expected) in sizes.into_iter().zip([1.0, 2.0, 3.0]) {
        assert!((found - expected).abs() < 1e-6, "{sizes:?}");
    }
    let mut sheared = rows;
    sheared[0][2] = 0.3;
    let header = header_of(&with(&[(280, &f32s(&sheared.concat()))]));
    let found = header.world_from_stored.column_norms()[2];
    assert!(
        (found - 3.0_f64.hypot(f64::from(0.3_f32))).abs() < 1e-6,
        "{found}"
    );
}

#[test]
fn what_is_switched_off_may_be_junk() {
    let junk = f32s(&[f32::NAN, 1e30, -7.0, f32::INFINITY, 0.0, 3.0]);
    // The quaternion's six numbers beside a good sform.
    check_read(&with(&[(256, &junk)]));
    let header = header_of(&with_qform(1.0, [0.0; 3], &[(280, &junk)]));
    assert_eq!(header.affine_source, AffineSource::Qform);
    assert_eq!(
        header.world_from_stored,
        Affine::grid([1.0; 3], [10.0, 20.0, 30.0])
    );
}

#[test]
fn qfac_zero_is_plus_one_and_a_quaternion_too_long_by_rounding_is_normalized() {
    let straight = header_of(&with_qform(0.0, [0.0; 3], &[]));
    assert_eq!(straight.world_from_stored.orientation(), "RAS");
    let turned = header_of(&with_qform(-1.0, [0.0; 3], &[]));
    assert_eq!(turned.world_from_stored.orientation(), "RAI");
    let long = header_of(&with_qform(1.0, [0.0, 0.0, 1.000_01], &[]));
    assert_eq!(long.world_from_stored.orientation(), "LPS");
    let off = (long.world_from_stored.determinant() - 1.0).abs();
    assert!(off < 1e-12, "{off}");
    assert!(!long.warnings.join("").contains("quaternion"));
    check_warned(
        &with_qform(1.0, [0.0, 0.0, 1.2], &[]),
        "quaternion is 1.200 long",
    );
}

#[test]
fn an_origin_200_m_away_is_kept() {
    let far = with(&[(292, &f32s(&[-200_000.0]))]);
    assert_eq!(
        header_of(&far).world_from_stored.translation()[0],
        -200_000.0
    );
}

#[test]
fn without_a_usable_affine_the_file_is_refused() {
    let nan = f32s(&[f32::NAN]);
    check_refused(&with(&[(280, &nan)]), "affine not finite");
    check_refused(&with(&[(280, &[0; 48])]), "affine singular");
    check_refused(&with(&[(296, &f32s(&[1.0, 0.0]))]), "affine singular");
    check_refused(
        &with_qform(1.0, [f32::NAN, 0.0, 0.0], &[]),
        "affine not finite",
    );
    let with_good_qform = |row: &[u8]| {
        let mut bytes = with_qform(1.0, [0.0; 3], &[(280, row)]);
        bytes[254] = 1;
        bytes
    };
    check_warned(&with_good_qform(&nan), "qform taken");
    check_warned(&with_good_qform(&[0; 48]), "qform taken");
}

#[test]
fn pixdim_matters_only_where_no_sform_is() {
    for wrong in [0.0, 2.0] {
        let file = with(&[(80, &f32s(&[wrong]))]);
        assert_eq!(header_of(&file).world_from_stored.column_norms(), [1.0; 3]);
        check_warned(&file, "sform taken");
    }
    for wrong in [0.0, f32::NAN] {
        let size = f32s(&[wrong]);
        check_refused(
            &with_qform(1.0, [0.0; 3], &[(84, &size)]),
            "voxel size (pixdim)",
        );
        check_refused(&with(&[(254, &[0, 0]), (84, &size)]), "voxel size (pixdim)");
    }
    check_warned(
        &with_qform(1.0, [0.0; 3], &[(84, &f32s(&[-1.0]))]),
        "taken as positive",
    );
}

#[test]
fn both_codes_zero_are_taken_as_las_about_the_center() {
    let file = with(&[(254, &[0, 0])]);
    let header = header_of(&file);
    assert_eq!(header.affine_source, AffineSource::Assumed);
    assert_eq!(header.world_from_stored.orientation(), "LAS");
    check_warned(&file, "orientation assumed");
}

/// Noise, which is grey values to any judge.
fn noise(shape: [usize; 3], sizes: [f64; 3]) -> Volume {
    let shape = VoxelShape(shape);
    let values = (0..shape.n_voxels()).map(|i| (i.wrapping_mul(2_654_435_761) >> 7 & 1023) as f32);
    Volume::new(values.collect(), shape, Affine::grid(sizes, [0.0; 3])).unwrap()
}

fn read_t1(volume: &Volume) -> Result<Scan, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.nii");
    write_nifti(&path, volume, "").unwrap();
    read_t1_scan(&path).map_err(|error| error.to_string())
}

#[test]
fn coarse_scans_are_read_with_a_warning_and_absurd_sizes_refused() {
    let coarse = read_t1(&noise([50, 50, 25], [4.0, 4.0, 8.0])).unwrap();
    let warnings = coarse.header.warnings.join("; ");
    assert!(
        warnings.contains("low resolution (4.0×4.0×8.0 mm)"),
        "{warnings}"
    );
    for (shape, sizes, words) in [
        (
            [20, 20, 20],
            [6.0, 6.0, 100.0],
            "voxel size / resolution is 100.000",
        ),
        ([20, 20, 20], [0.1; 3], "voxel size / resolution is 0.100"),
        ([1, 1, 1], [1.0; 3], "single slice (1×1×1)"),
        ([200, 200, 1], [1.0; 3], "single slice"),
        ([120, 120, 22], [1.0; 3], "field of view too small (22 mm"),
    ] {
        let message = read_t1(&noise(shape, sizes)).unwrap_err();
        assert!(message.contains(words), "{message}");
    }
}

#[test]
fn a_field_of_view_that_is_no_head_is_refused_before_its_voxels_are_asked_for() {
    // 600³ at 1.2 mm; the file holds none of its voxels, and nobody notices.
    let mut head = SAMPLE.header();
    head[42..48].copy_from_slice(&600_i16.to_le_bytes().repeat(3));
    let rows = [
        [1.2, 0.0, 0.0, 0.0],
        [0.0, 1.2, 0.0, 0.0],
        [0.0, 0.0, 1.2, 0.0],
    ];
    head[280..328].copy_from_slice(&f32s(&rows.concat()));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.nii");
    fs_err::write(&path, head).unwrap();
    let message = read_t1_scan(&path).unwrap_err().to_string();
    assert!(
        message.contains("field of view too large (720 mm"),
        "{message}"
    );
}

#[test]
fn one_voxel_near_the_largest_f32_is_read_as_it_is() {
    let mut volume = noise([60, 60, 60], [2.0; 3]);
    volume.values_mut()[777] = 3e38;
    let scan = read_t1(&volume).unwrap();
    assert_eq!(scan.volume.values()[777], 3e38);
}
