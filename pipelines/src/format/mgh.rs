//! The header of FreeSurfer's MGH files (`.mgh`, gzipped `.mgz`).
//!
//! Always big-endian, 284 bytes, voxels right after it, never scaled. What follows the voxels (echo times, tags) is
//! not read. The geometry is directions, sizes and the world position of the voxel at half the sides.
//!
//! # References
//! FreeSurfer's wiki, "FsTutorial/MghFormat".

use nalgebra::{Matrix3, Vector3};

use super::detect::MGH_BYTES;
use super::error::ReadProblem;
use super::fields::Fields;
use super::header::ByteOrder;
use super::layout::{Layout, Stored};
use super::samples::{Decoder, SampleType};
use super::{AffineSource, affine};
use crate::space::{Affine, VoxelShape};

/// Directions may be this far from orthonormal: more than rounding, less than a gantry's tilt.
const DIRECTION_TOLERANCE: f64 = 0.05;
/// What directions are where the header says that it has none: to the left, to the feet, to the front.
const LIA: [[f64; 3]; 3] = [[-1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]];

/// What an MGH header says.
#[derive(Debug)]
pub(super) struct MghHeader {
    pub(super) layout: Layout,
    pub(super) decoder: Decoder,
    pub(super) world_from_stored: Affine,
    pub(super) affine_source: AffineSource,
    pub(super) warnings: Vec<String>,
}

impl MghHeader {
    /// Parses and judges the first [`MGH_BYTES`] bytes.
    ///
    /// # Errors
    /// Another version, sides that cannot be, an unknown type, directions or sizes that span no volume.
    pub(super) fn parse(head: &[u8]) -> Result<Self, ReadProblem> {
        let fields = Fields {
            head,
            order: ByteOrder::Big,
        };
        // Newer files carry an intent code above the version.
        let version = fields.i32(0);
        if version & 0xff != 1 {
            return Err(ReadProblem::MghVersion { found: version });
        }
        let sides: [i64; 4] = std::array::from_fn(|i| i64::from(fields.i32(4 + 4 * i)));
        let sample_type = SampleType::from_mgh_code(fields.i32(20))?;
        let layout = Layout::new(
            [sides[0], sides[1], sides[2]],
            sample_type,
            MGH_BYTES as u64,
        )?
        .with_frames(sides[3])?;
        let mut warnings = Vec::new();
        let (world_from_stored, affine_source) = place(&fields, layout.shape, &mut warnings)?;
        Ok(Self {
            layout,
            decoder: Decoder::unscaled(sample_type, ByteOrder::Big),
            world_from_stored,
            affine_source,
            warnings,
        })
    }
}

impl Layout {
    fn with_frames(self, frames: i64) -> Result<Self, ReadProblem> {
        if frames < 1 {
            return Err(ReadProblem::Dimension {
                index: 4,
                found: frames,
                expected: "at least 1",
            });
        }
        Ok(Self {
            n_volumes: frames as usize,
            rank: if frames > 1 { 4 } else { 3 },
            stored: Stored::Frames,
            ..self
        })
    }
}

/// Stored voxel indices → RAS+ mm.
fn place(
    fields: &Fields<'_>,
    shape: VoxelShape,
    warnings: &mut Vec<String>,
) -> Result<(Affine, AffineSource), ReadProblem> {
    let has_geometry = fields.i16(28) > 0;
    let (sizes, directions, center, source) = if has_geometry {
        let vector = |at: usize| Vector3::from_fn(|i, _| fields.f32(at + 4 * i));
        let directions = Matrix3::from_columns(&[42, 54, 66].map(vector));
        (vector(30), directions, vector(78), AffineSource::Directions)
    } else {
        warnings.push("no geometry (goodRASFlag 0); orientation assumed to be LIA, 1 mm".into());
        let directions = Matrix3::from_columns(&LIA.map(Vector3::from));
        let (sizes, center) = (Vector3::repeat(1.0), Vector3::zeros());
        (sizes, directions, center, AffineSource::Assumed)
    };
    for found in sizes.iter().copied() {
        if !(found.is_finite() && found > 0.0) {
            return Err(ReadProblem::Delta { found });
        }
    }
    check_directions(&directions)?;
    let linear = directions * Matrix3::from_diagonal(&sizes);
    // The center is that of the voxel at half the sides, not the middle between the outermost voxels.
    let half = Vector3::from(shape.0.map(|side| side as f64 / 2.0));
    let affine = affine::usable(Affine::from_parts(&linear, &(center - linear * half)))?;
    Ok((affine, source))
}

fn check_directions(directions: &Matrix3<f64>) -> Result<(), ReadProblem> {
    let refuse = |problem| Err(ReadProblem::Directions { problem });
    if !directions.iter().all(|value| value.is_finite()) {
        return refuse("not finite");
    }
    let norms = [0, 1, 2].map(|c| directions.column(c).norm());
    if norms.contains(&0.0) || directions.determinant().abs() < 1e-6 {
        return refuse("singular");
    }
    let off = (directions.transpose() * directions - Matrix3::identity()).amax();
    if off > 2.0 * DIRECTION_TOLERANCE {
        return refuse("not orthonormal");
    }
    Ok(())
}
