//! How the voxels lie in the file: shape, number of volumes, first byte, and the limits of what is read.

use super::error::ReadProblem;
use super::header::{NiftiHeader, Storage, Version};
use super::samples::SampleType;
use crate::space::VoxelShape;

/// Longest side that is read; whole heads at 0.1 mm stay below.
const MAX_SIDE: i64 = 4096;
/// Most voxels that are read.
const MAX_VOXELS: u64 = 1 << 32;
/// Most bytes of voxels that are read.
const MAX_BYTES: u64 = 1 << 32;
/// Furthest first voxel; what lies before it (header extensions) is read and skipped.
pub(super) const MAX_VOX_OFFSET: u64 = 16 << 20;

/// What the format calls its fourth dimension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stored {
    Volumes,
    Frames,
}

impl Stored {
    /// In the plural.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Volumes => "volumes",
            Self::Frames => "frames",
        }
    }
}

/// Where to find which voxels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Layout {
    pub(super) shape: VoxelShape,
    pub(super) n_volumes: usize,
    /// Number of dimensions that the header declares.
    pub(super) rank: usize,
    pub(super) stored: Stored,
    pub(super) sample_type: SampleType,
    /// Offset of the first voxel of the first volume in the (decompressed) file that holds the voxels.
    pub(super) start: u64,
}

impl Layout {
    /// Judges the header's dimensions, data type and offset.
    ///
    /// # Errors
    /// Sides that are not positive, sizes beyond the limits, data types that are not real numbers, impossible offsets.
    pub(super) fn of(
        header: &NiftiHeader,
        warnings: &mut Vec<String>,
    ) -> Result<Self, ReadProblem> {
        let rank = header.dim[0].clamp(1, 7) as usize;
        let sides = sides(header, rank);
        let sample_type = SampleType::from_code(header.datatype)?;
        let bits = 8 * sample_type.n_bytes() as i16;
        if header.bitpix != bits {
            warnings.push(format!(
                "bitpix is {}, expected {bits}; ignored",
                header.bitpix
            ));
        }
        let mut n_volumes = 1usize;
        for (index, side) in header.dim.iter().enumerate().take(rank + 1).skip(4) {
            if *side <= 0 {
                warnings.push(format!("dimension {index} is {side}; taken as 1"));
            }
            n_volumes = n_volumes.saturating_mul(usize::try_from(*side).unwrap_or(1).max(1));
        }
        let layout = Self::new(sides, sample_type, start(header)?)?;
        Ok(Self {
            n_volumes,
            rank,
            ..layout
        })
    }

    /// One volume of these sides.
    ///
    /// # Errors
    /// Sides that are not positive, sizes beyond the limits.
    pub(super) fn new(
        sides: [i64; 3],
        sample_type: SampleType,
        start: u64,
    ) -> Result<Self, ReadProblem> {
        let mut shape = [1; 3];
        for (axis, side) in sides.into_iter().enumerate() {
            shape[axis] = judged_side(axis + 1, side)?;
        }
        let layout = Self {
            shape: VoxelShape(shape),
            n_volumes: 1,
            rank: 3,
            stored: Stored::Volumes,
            sample_type,
            start,
        };
        layout.check_size()?;
        Ok(layout)
    }

    /// Where this volume begins, and where the last one ends.
    pub(super) fn span_of(&self, volume: usize) -> std::ops::Range<u64> {
        let at = |n: usize| {
            self.start
                .saturating_add((n as u64).saturating_mul(self.n_bytes()))
        };
        at(volume)..at(self.n_volumes)
    }

    /// Bytes of one volume.
    pub(super) fn n_bytes(&self) -> u64 {
        // Sides are at most 4096, so that this cannot overflow.
        self.shape.n_voxels() as u64 * self.sample_type.n_bytes() as u64
    }

    fn check_size(&self) -> Result<(), ReadProblem> {
        if self.shape.n_voxels() as u64 > MAX_VOXELS {
            let found = format!("{} voxels", self.shape);
            return Err(ReadProblem::TooLarge {
                found,
                limit: "4294967296 voxels",
            });
        }
        if self.n_bytes() > MAX_BYTES {
            let found = format!("{} of {}", self.shape, self.sample_type.name());
            return Err(ReadProblem::TooLarge {
                found,
                limit: "4 GiB",
            });
        }
        Ok(())
    }
}

/// The three sides; what lies beyond the number of dimensions is junk.
fn sides(header: &NiftiHeader, rank: usize) -> [i64; 3] {
    std::array::from_fn(|axis| if axis < rank { header.dim[axis + 1] } else { 1 })
}

fn judged_side(index: usize, side: i64) -> Result<usize, ReadProblem> {
    if side < 1 {
        return Err(ReadProblem::Dimension {
            index,
            found: side,
            expected: "at least 1",
        });
    }
    if side > MAX_SIDE {
        let found = format!("{side} voxels along axis {index}");
        return Err(ReadProblem::TooLarge {
            found,
            limit: "4096 voxels a side",
        });
    }
    Ok(side as usize)
}

fn start(header: &NiftiHeader) -> Result<u64, ReadProblem> {
    let found = header.vox_offset;
    let refuse = |expected| Err(ReadProblem::VoxOffset { found, expected });
    let minimum = match (header.storage, header.version) {
        (Storage::Pair, _) => 0,
        (Storage::Single, Version::Analyze | Version::One) => 352,
        (Storage::Single, Version::Two) => 544,
    };
    if !found.is_finite() {
        return refuse("expected a finite number");
    }
    if found == 0.0 {
        return Ok(minimum);
    }
    if found < minimum as f64 {
        return refuse("expected to lie after the header");
    }
    if found.fract() != 0.0 {
        return refuse("expected a whole number");
    }
    if found > MAX_VOX_OFFSET as f64 {
        return refuse("vox_offset exceeds limit of 16777216");
    }
    Ok(found as u64)
}
