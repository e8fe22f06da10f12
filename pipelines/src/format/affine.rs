//! Which of the header's affines to believe.
//!
//! A usable sform comes first, then the qform, then left-anterior-superior axes about the center with a warning. The
//! result is in mm whatever the header's unit, and always invertible.
//!
//! # References
//! nifti1.h, "3D image (volume) orientation and location in space", methods 1 to 3.

use nalgebra::{Matrix3, Vector3};

use super::AffineSource;
use super::error::ReadProblem;
use super::header::NiftiHeader;
use super::layout::Layout;
use crate::space::{Affine, VoxelShape};

/// Voxel sizes of MRI scans.
pub(super) const VOXEL_SIZE_MM: std::ops::RangeInclusive<f64> = 0.2..=10.0;
/// Smallest volume of a voxel relative to that of a cuboid with the same edges.
const LEAST_DETERMINANT: f64 = 1e-6;
/// Difference of sform and qform at the corners of the volume that is worth a word.
const DISAGREEMENT_MM: f64 = 1.0;

/// Stored voxel indices → RAS+ mm, and where that comes from.
///
/// # Errors
/// [`ReadProblem::AffineNotFinite`], [`ReadProblem::AffineSingular`] or [`ReadProblem::Pixdim`] where the header gives
/// no usable affine but claims to.
pub(super) fn choose(
    header: &NiftiHeader,
    layout: &Layout,
    warnings: &mut Vec<String>,
) -> Result<(Affine, AffineSource), ReadProblem> {
    let sform = (header.sform_code > 0).then(|| usable(Affine::from_rows(header.srow)));
    let has_qform = header.qform_code > 0;
    let (affine, source) = match sform {
        Some(Ok(sform)) => {
            let qform = has_qform.then(|| qform(header, layout.rank, &mut Vec::new()));
            if let Some(Ok(qform)) = qform {
                compare(&sform, &qform, layout.shape, warnings);
            }
            compare_sizes(&sform, header, layout.rank, warnings);
            (sform, AffineSource::Sform)
        }
        Some(Err(problem)) => {
            let qform = if has_qform {
                qform(header, layout.rank, warnings)
            } else {
                Err(problem)
            };
            let qform = qform.or_else(|_| usable(Affine::from_rows(header.srow)))?;
            warnings.push("sform is singular or not finite; qform taken".to_owned());
            (qform, AffineSource::Qform)
        }
        None if has_qform => (qform(header, layout.rank, warnings)?, AffineSource::Qform),
        None => {
            warnings.push("neither sform nor qform; orientation assumed to be LAS".to_owned());
            (assumed(header, layout, warnings)?, AffineSource::Assumed)
        }
    };
    Ok((in_mm(affine, header.xyzt_units, warnings), source))
}

/// Passes an affine on that is finite and invertible.
pub(super) fn usable(affine: Affine) -> Result<Affine, ReadProblem> {
    if affine
        .rows()
        .iter()
        .flatten()
        .any(|value| !value.is_finite())
    {
        return Err(ReadProblem::AffineNotFinite);
    }
    let cuboid: f64 = affine.column_norms().iter().product();
    // A product that over- or underflows is no voxel size either.
    if !(cuboid.is_normal() && affine.determinant().abs() > LEAST_DETERMINANT * cuboid) {
        return Err(ReadProblem::AffineSingular);
    }
    affine.inverse().ok_or(ReadProblem::AffineSingular)?;
    Ok(affine)
}

fn qform(
    header: &NiftiHeader,
    rank: usize,
    warnings: &mut Vec<String>,
) -> Result<Affine, ReadProblem> {
    let [mut b, mut c, mut d] = header.quatern;
    let square = b * b + c * c + d * d;
    let rest = 1.0 - square;
    let a = if rest < 1e-7 {
        if square > 1.01 {
            warnings.push(format!(
                "quaternion is {:.3} long; shortened to 1",
                square.sqrt()
            ));
        }
        let length = square.sqrt();
        (b, c, d) = (b / length, c / length, d / length);
        0.0
    } else {
        rest.sqrt()
    };
    let rotation = Matrix3::new(
        a * a + b * b - c * c - d * d,
        2.0 * (b * c - a * d),
        2.0 * (b * d + a * c),
        2.0 * (b * c + a * d),
        a * a + c * c - b * b - d * d,
        2.0 * (c * d - a * b),
        2.0 * (b * d - a * c),
        2.0 * (c * d + a * b),
        a * a + d * d - b * b - c * c,
    );
    let handedness = if header.pixdim[0] < 0.0 { -1.0 } else { 1.0 };
    let [dx, dy, dz] = sizes(header, rank, warnings)?;
    let linear = rotation * Matrix3::from_diagonal(&Vector3::new(dx, dy, dz * handedness));
    usable(Affine::from_parts(&linear, &header.qoffset.into()))
}

/// Left-anterior-superior axes about the center of the volume.
fn assumed(
    header: &NiftiHeader,
    layout: &Layout,
    warnings: &mut Vec<String>,
) -> Result<Affine, ReadProblem> {
    let [dx, dy, dz] = sizes(header, layout.rank, warnings)?;
    let sizes = Vector3::new(-dx, dy, dz);
    let center = Vector3::from(layout.shape.0.map(|side| (side as f64 - 1.0) / 2.0));
    usable(Affine::from_parts(
        &Matrix3::from_diagonal(&sizes),
        &-sizes.component_mul(&center),
    ))
}

/// Voxel sizes from `pixdim`, in the header's unit; 1 along axes that the header does not have.
fn sizes(
    header: &NiftiHeader,
    rank: usize,
    warnings: &mut Vec<String>,
) -> Result<[f64; 3], ReadProblem> {
    let mut sizes = [1.0; 3];
    for (axis, size) in sizes.iter_mut().enumerate().take(rank) {
        let found = header.pixdim[axis + 1];
        if !found.is_finite() || found == 0.0 {
            return Err(ReadProblem::Pixdim { found });
        }
        if found < 0.0 {
            let axis = axis + 1;
            warnings.push(format!("pixdim {axis} is {found}; taken as positive"));
        }
        *size = found.abs();
    }
    Ok(sizes)
}

/// Warns where sform and qform put a corner of the volume at different places.
fn compare(sform: &Affine, qform: &Affine, shape: VoxelShape, warnings: &mut Vec<String>) {
    let furthest = (0..8)
        .map(|corner| {
            let at = |axis: usize| f64::from((corner >> axis) & 1) * (shape.0[axis] as f64 - 1.0);
            let voxel = [at(0), at(1), at(2)];
            let [s, q] = [sform, qform].map(|affine| Vector3::from(affine.apply(voxel)));
            (s - q).norm()
        })
        .fold(0.0, f64::max);
    if furthest > DISAGREEMENT_MM {
        warnings.push(format!(
            "sform and qform disagree by up to {furthest:.1} mm; sform taken"
        ));
    }
}

/// Warns where `pixdim` gives other voxel sizes than the affine.
fn compare_sizes(affine: &Affine, header: &NiftiHeader, rank: usize, warnings: &mut Vec<String>) {
    for (axis, size) in affine.column_norms().into_iter().enumerate().take(rank) {
        let pixdim = header.pixdim[axis + 1];
        let agree = (pixdim.abs() - size).abs() <= 0.01 * size;
        if !agree {
            warnings.push(format!(
                "voxel size along axis {} is {size:.3} in the sform but {pixdim:.3} in pixdim; sform taken",
                axis + 1
            ));
        }
    }
}

/// Scales meters and microns to mm where that makes the voxels those of an MRI scan.
fn in_mm(affine: Affine, units: i32, warnings: &mut Vec<String>) -> Affine {
    let (unit, factor) = match units & 7 {
        1 => ("meter", 1000.0),
        3 => ("micron", 0.001),
        _ => return affine,
    };
    let plausible = |factor: f64| {
        affine
            .column_norms()
            .iter()
            .all(|size| VOXEL_SIZE_MM.contains(&(size * factor)))
    };
    if plausible(factor) {
        return Affine::from_parts(
            &(affine.linear() * factor),
            &(affine.translation() * factor),
        );
    }
    if plausible(1.0) {
        warnings.push(format!(
            "unit field contradicts the voxel size ({unit}); mm taken"
        ));
    }
    affine
}

#[cfg(test)]
mod tests {
    use super::super::header::{ByteOrder, Storage, Version};
    use super::*;

    fn header() -> NiftiHeader {
        NiftiHeader {
            version: Version::One,
            order: ByteOrder::Little,
            storage: Storage::Single,
            dim: [3, 11, 21, 31, 1, 1, 1, 1],
            datatype: 4,
            bitpix: 16,
            pixdim: [1.0, 1.0, 2.0, 3.0, 0.0, 0.0, 0.0, 0.0],
            vox_offset: 352.0,
            scl_slope: 1.0,
            scl_inter: 0.0,
            xyzt_units: 2,
            description: String::new(),
            qform_code: 0,
            sform_code: 0,
            quatern: [0.0; 3],
            qoffset: [5.0, 6.0, 7.0],
            srow: [
                [1.0, 0.0, 0.0, 5.0],
                [0.0, 2.0, 0.0, 6.0],
                [0.0, 0.0, 3.0, 7.0],
            ],
        }
    }

    fn check(header: &NiftiHeader) -> Result<(Affine, AffineSource, String), ReadProblem> {
        let mut warnings = Vec::new();
        let layout = Layout::of(header, &mut warnings)?;
        let (affine, source) = choose(header, &layout, &mut warnings)?;
        Ok((affine, source, warnings.join("; ")))
    }

    #[test]
    fn the_sform_wins_and_a_different_qform_is_mentioned() {
        let mut header = NiftiHeader {
            sform_code: 1,
            qform_code: 4,
            ..header()
        };
        let expected = Affine::grid([1.0, 2.0, 3.0], [5.0, 6.0, 7.0]);
        assert_eq!(
            check(&header).unwrap(),
            (expected, AffineSource::Sform, String::new())
        );
        header.qoffset[1] = 9.0;
        let (affine, source, warnings) = check(&header).unwrap();
        assert_eq!((affine, source), (expected, AffineSource::Sform));
        assert!(warnings.contains("disagree by up to 3.0 mm"), "{warnings}");
    }

    #[test]
    fn a_qform_is_rotation_times_sizes_and_qfac_turns_the_third_column() {
        // Half a turn about z: x and y are negated.
        let mut header = NiftiHeader {
            qform_code: 1,
            quatern: [0.0, 0.0, 1.0],
            ..header()
        };
        header.pixdim[0] = -1.0;
        let (affine, source, _) = check(&header).unwrap();
        assert_eq!(source, AffineSource::Qform);
        let expected = [
            [-1.0, 0.0, 0.0, 5.0],
            [0.0, -2.0, 0.0, 6.0],
            [0.0, 0.0, -3.0, 7.0],
        ];
        assert_eq!(affine, Affine::from_rows(expected));
    }

    #[test]
    fn an_unusable_sform_falls_back_to_the_qform_or_is_refused() {
        let mut header = NiftiHeader {
            sform_code: 1,
            qform_code: 1,
            ..header()
        };
        header.srow[0][0] = f64::NAN;
        assert_eq!(check(&header).unwrap().1, AffineSource::Qform);
        header.qform_code = 0;
        assert!(matches!(check(&header), Err(ReadProblem::AffineNotFinite)));
        header.srow = [[0.0; 4]; 3];
        assert!(matches!(check(&header), Err(ReadProblem::AffineSingular)));
    }

    #[test]
    fn without_any_affine_las_about_the_center_is_assumed() {
        let (affine, source, warnings) = check(&header()).unwrap();
        assert_eq!(
            (affine.orientation().as_str(), source),
            ("LAS", AffineSource::Assumed)
        );
        assert_eq!(affine.apply([5.0, 10.0, 15.0]), [0.0; 3]);
        assert!(warnings.contains("orientation assumed"), "{warnings}");
    }

    #[test]
    fn a_voxel_size_that_is_needed_must_be_a_number() {
        let mut header = NiftiHeader {
            qform_code: 1,
            ..header()
        };
        header.pixdim[2] = -2.0;
        let (affine, _, warnings) = check(&header).unwrap();
        assert_eq!(affine.column_norms(), [1.0, 2.0, 3.0]);
        assert!(warnings.contains("positive"), "{warnings}");
        for wrong in [0.0, f64::NAN] {
            header.pixdim[2] = wrong;
            assert!(matches!(check(&header), Err(ReadProblem::Pixdim { .. })));
        }
    }

    #[test]
    fn meters_and_microns_become_mm_unless_the_unit_contradicts_the_size() {
        for (units, size, words) in [(1, 0.004, ""), (3, 4000.0, ""), (3, 4.0, "unit field")] {
            let mut header = NiftiHeader {
                sform_code: 1,
                xyzt_units: units,
                ..header()
            };
            header.srow = [
                [size, 0.0, 0.0, 0.0],
                [0.0, size, 0.0, 0.0],
                [0.0, 0.0, size, 0.0],
            ];
            header.pixdim = [size; 8];
            let (affine, _, warnings) = check(&header).unwrap();
            affine
                .column_norms()
                .iter()
                .for_each(|found| assert!((found - 4.0).abs() < 1e-9));
            assert!(warnings.contains(words), "{warnings}");
            assert_eq!(warnings.is_empty(), words.is_empty(), "{warnings}");
        }
    }
}
