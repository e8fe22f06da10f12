//! Volumes and masks → NIfTI-1 files.
//!
//! Single files, little-endian, gzipped where the name ends in `.gz`, written whole or not at all. The same content
//! gives the same bytes. The affine stands in the sform, and in the qform too where a quaternion can hold it.

use std::io::{self, Write};
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use nalgebra::{Matrix3, Rotation3, UnitQuaternion};

use super::error::WriteError;
use super::name;
use crate::atomic::write_atomically;
use crate::space::Affine;
use crate::volume::{Grid, Mask, Volume};

/// Beyond this level noise makes files hardly smaller, only slower to write.
const GZIP_LEVEL: u32 = 4;
/// Header and the four bytes that say "no extension".
const VOXELS_AT: usize = 352;
/// Voxels converted at once.
const SLAB: usize = 1 << 16;
/// "Aligned": neither the scanner's own coordinates nor certainly a template's.
const ALIGNED: i16 = 2;

/// Writes a volume as float32.
///
/// # Errors
/// [`WriteError::Name`] unless the name ends in `.nii` or `.nii.gz`; [`WriteError::TooLarge`] for sides over 32767;
/// [`WriteError::Io`] where the file system refuses.
pub fn write_nifti(path: &Path, volume: &Volume, description: &str) -> Result<(), WriteError> {
    let header = Header {
        code: 16,
        n_bytes: 4,
        slope: 1.0,
        inter: 0.0,
        description,
    };
    write(path, volume, &header, |value| value.to_le_bytes())
}

/// Writes a volume as int16: as it is where all values are whole numbers of that range, else scaled to use the range.
///
/// Scaling costs at most 1/131070 of the range of values. NaN becomes the middle of the range.
///
/// # Errors
/// As [`write_nifti`].
pub fn write_nifti_i16(path: &Path, volume: &Volume, description: &str) -> Result<(), WriteError> {
    let (slope, inter) = int16_scaling(volume.values());
    let header = Header {
        code: 4,
        n_bytes: 2,
        slope,
        inter,
        description,
    };
    write(path, volume, &header, |value| {
        // Casts saturate, and take NaN to 0.
        let stored = ((f64::from(*value) - f64::from(inter)) / f64::from(slope)).round() as i16;
        stored.to_le_bytes()
    })
}

/// Writes a mask as uint8, 0 and 1.
///
/// # Errors
/// As [`write_nifti`].
pub fn write_nifti_mask(path: &Path, mask: &Mask, description: &str) -> Result<(), WriteError> {
    let header = Header {
        code: 2,
        n_bytes: 1,
        slope: 1.0,
        inter: 0.0,
        description,
    };
    write(path, mask, &header, |inside| [u8::from(*inside)])
}

/// Slope and intercept as the header holds them.
fn int16_scaling(values: &[f32]) -> (f32, f32) {
    let range = f32::from(i16::MIN)..=f32::from(i16::MAX);
    if values
        .iter()
        .all(|value| range.contains(value) && value.fract() == 0.0)
    {
        return (1.0, 0.0);
    }
    let finite = || {
        values
            .iter()
            .filter(|value| value.is_finite())
            .map(|value| f64::from(*value))
    };
    let (low, high) = (
        finite().fold(f64::MAX, f64::min),
        finite().fold(f64::MIN, f64::max),
    );
    let slope = ((high - low) / 65_534.0) as f32;
    let inter = (low.midpoint(high)) as f32;
    // A constant, or no finite value at all.
    if slope.is_normal() && slope > 0.0 {
        (slope, inter)
    } else {
        (1.0, if inter.is_finite() { inter } else { 0.0 })
    }
}

/// What differs between the kinds of image.
struct Header<'a> {
    code: i16,
    n_bytes: i16,
    slope: f32,
    inter: f32,
    description: &'a str,
}

fn write<T, const N: usize>(
    path: &Path,
    grid: &Grid<T>,
    header: &Header<'_>,
    to_le_bytes: impl Fn(&T) -> [u8; N],
) -> Result<(), WriteError> {
    if !name::ends_in(path, "nii") {
        return Err(WriteError::Name {
            path: path.to_path_buf(),
        });
    }
    let shape = grid.shape();
    let [Ok(nx), Ok(ny), Ok(nz)] = shape.0.map(i16::try_from) else {
        return Err(WriteError::TooLarge {
            path: path.to_path_buf(),
            shape,
        });
    };
    let head = header.encode([nx, ny, nz], &grid.world_from_voxel());
    let write_content = |out: &mut dyn Write| -> io::Result<()> {
        out.write_all(&head)?;
        let mut raw = Vec::with_capacity(SLAB * N);
        for slab in grid.values().chunks(SLAB) {
            raw.clear();
            raw.extend(slab.iter().flat_map(&to_le_bytes));
            out.write_all(&raw)?;
        }
        Ok(())
    };
    let written = write_atomically(path, |file| {
        if !name::is_gzip(path) {
            return write_content(file);
        }
        let mut gzip = GzEncoder::new(file, Compression::new(GZIP_LEVEL));
        write_content(&mut gzip)?;
        gzip.finish().map(drop)
    });
    written.map_err(|source| WriteError::Io {
        path: path.to_path_buf(),
        source,
    })
}

impl Header<'_> {
    fn encode(&self, shape: [i16; 3], world_from_voxel: &Affine) -> [u8; VOXELS_AT] {
        let mut bytes = [0; VOXELS_AT];
        let mut put = |at: usize, field: &[u8]| bytes[at..at + field.len()].copy_from_slice(field);
        put(0, &348_i32.to_le_bytes());
        put(38, b"r");
        let [nx, ny, nz] = shape;
        put(
            40,
            &[3, nx, ny, nz, 1, 1, 1, 1].map(i16::to_le_bytes).concat(),
        );
        put(70, &self.code.to_le_bytes());
        put(72, &(8 * self.n_bytes).to_le_bytes());
        let sizes = world_from_voxel.column_norms();
        let [dx, dy, dz] = sizes.map(|size| size as f32);
        let handedness = if world_from_voxel.determinant() < 0.0 {
            -1.0
        } else {
            1.0
        };
        put(
            76,
            &[handedness as f32, dx, dy, dz, 1.0, 1.0, 1.0, 1.0]
                .map(f32::to_le_bytes)
                .concat(),
        );
        put(108, &(VOXELS_AT as f32).to_le_bytes());
        put(112, &self.slope.to_le_bytes());
        put(116, &self.inter.to_le_bytes());
        put(123, &[2]);
        put(148, description_field(self.description));
        put(254, &ALIGNED.to_le_bytes());
        let rows = world_from_voxel.rows();
        put(
            280,
            &rows[..3]
                .concat()
                .iter()
                .flat_map(|v| (*v as f32).to_le_bytes())
                .collect::<Vec<_>>(),
        );
        put(344, b"n+1\0");
        if let Some(quaternion) = quaternion(&world_from_voxel.linear(), sizes, handedness) {
            put(252, &ALIGNED.to_le_bytes());
            put(256, &quaternion.map(|v| (v as f32).to_le_bytes()).concat());
            let offset: [f64; 3] = world_from_voxel.translation().into();
            put(268, &offset.map(|v| (v as f32).to_le_bytes()).concat());
        }
        bytes
    }
}

/// b, c and d of the rotation, unless the affine shears.
fn quaternion(linear: &Matrix3<f64>, sizes: [f64; 3], handedness: f64) -> Option<[f64; 3]> {
    let mut rotation = *linear;
    for (axis, size) in sizes.into_iter().enumerate() {
        let factor = if axis == 2 {
            handedness / size
        } else {
            1.0 / size
        };
        rotation.column_mut(axis).scale_mut(factor);
    }
    let shear = (rotation.transpose() * rotation - Matrix3::identity())
        .abs()
        .max();
    if shear.is_nan() || shear > 1e-6 {
        return None;
    }
    let unit = UnitQuaternion::from_rotation_matrix(&Rotation3::from_matrix_unchecked(rotation));
    // The header leaves out a, which is taken as positive.
    let sign = if unit.w < 0.0 { -1.0 } else { 1.0 };
    Some([unit.i, unit.j, unit.k].map(|v| v * sign))
}

/// As much of a text as fits, whole characters only, with room for a NUL.
fn description_field(text: &str) -> &[u8] {
    &text.as_bytes()[..text.floor_char_boundary(79)]
}

#[cfg(test)]
mod tests {
    use super::super::{AffineSource, read_header, read_scan};
    use super::*;
    use crate::space::VoxelShape;

    fn tilted() -> Affine {
        let (sin, cos) = 0.3_f64.sin_cos();
        Affine::from_rows([
            [1.5 * cos, -2.0 * sin, 0.0, -70.5],
            [1.5 * sin, 2.0 * cos, 0.0, -90.25],
            [0.0, 0.0, 0.8, -30.0],
        ])
    }

    #[test]
    fn what_is_written_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let shape = VoxelShape([7, 5, 3]);
        let values = (0..105)
            .map(|i| (i as f32 * 0.37).sin() * 300.0 - 20.0)
            .collect();
        let volume = Volume::new(values, shape, tilted()).unwrap();
        for name in ["a.nii", "a.nii.gz"] {
            let path = folder.path().join(name);
            write_nifti(&path, &volume, "grün").unwrap();
            let scan = read_scan(&path).unwrap();
            assert_eq!(scan.volume.values(), volume.values());
            assert_eq!(
                (scan.header.description.as_str(), scan.header.warnings.len()),
                ("grün", 0)
            );
            for (found, expected) in scan
                .volume
                .world_from_voxel()
                .rows()
                .iter()
                .flatten()
                .zip(tilted().rows().iter().flatten())
            {
                assert!((found - expected).abs() < 1e-5, "{found} {expected}");
            }

            write_nifti_i16(&path, &volume, "").unwrap();
            for (found, expected) in read_scan(&path)
                .unwrap()
                .volume
                .values()
                .iter()
                .zip(volume.values())
            {
                assert!(
                    (found - expected).abs() <= 600.0 / 131_000.0,
                    "{found} {expected}"
                );
            }
            let whole = volume.map(|value| value.round());
            write_nifti_i16(&path, &whole, "").unwrap();
            assert_eq!(read_scan(&path).unwrap().volume.values(), whole.values());

            let mask = volume.map(|value| *value > 0.0);
            write_nifti_mask(&path, &mask, "").unwrap();
            assert_eq!(
                read_scan(&path)
                    .unwrap()
                    .volume
                    .map(|value| *value == 1.0)
                    .values(),
                mask.values()
            );
        }
        let error = write_nifti(&folder.path().join("a.txt"), &volume, "")
            .unwrap_err()
            .to_string();
        assert!(error.contains("must end in .nii"), "{error}");
    }

    #[test]
    fn the_written_qform_says_the_same_as_the_sform() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.nii");
        let flip = Affine::grid([-1.0, 1.0, 1.0], [3.0, 4.0, 5.0]);
        let turned = Affine::from_rows([
            [0.0, 0.0, -1.0, 9.0],
            [-1.0, 0.0, 0.0, 8.0],
            [0.0, 1.0, 0.0, 7.0],
        ]);
        for affine in [tilted(), flip, turned, Affine::identity()] {
            write_nifti(
                &path,
                &Grid::new(vec![1.0; 24], VoxelShape([4, 3, 2]), affine).unwrap(),
                "",
            )
            .unwrap();
            let mut bytes = fs_err::read(&path).unwrap();
            let sform = read_header(&path).unwrap();
            bytes[254] = 0;
            fs_err::write(&path, bytes).unwrap();
            let qform = read_header(&path).unwrap();
            assert_eq!(
                (sform.affine_source, qform.affine_source),
                (AffineSource::Sform, AffineSource::Qform)
            );
            let [s, q] = [sform, qform].map(|header| header.world_from_stored.rows().concat());
            assert!(
                s.iter().zip(&q).all(|(s, q)| (s - q).abs() < 1e-5),
                "{s:?} {q:?}"
            );
        }
    }
}
