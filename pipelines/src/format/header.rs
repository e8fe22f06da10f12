//! The fields of a NIfTI-1, NIfTI-2 or Analyze 7.5 header, as they stand in the file.
//!
//! The versions differ in offsets and widths only, and Analyze has fewer fields; here they become one [`NiftiHeader`]. What the fields mean,
//! and which of them to believe, is decided by [`super::layout`] and [`super::affine`].
//!
//! # References
//! nifti1.h and nifti2.h of the NIfTI Data Format Working Group.

use super::error::ReadProblem;
use super::fields::{Fields, text};

/// Order of the bytes in a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ByteOrder {
    Little,
    Big,
}

/// Version of the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    /// NIfTI-1 without what Analyze does not say: where left is.
    Analyze,
    One,
    Two,
}

/// Where the voxels are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Storage {
    /// After the header, in the same file.
    Single,
    /// In an `.img` file beside the `.hdr` file.
    Pair,
}

/// What a header without a magic string may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Analyze {
    /// An Analyze header, to be read.
    Accepted,
    /// An Analyze header that nobody asked for.
    Offered,
    /// None: it is not the header of a pair.
    Impossible,
}

/// The fields that matter here, unjudged.
#[derive(Clone, Debug)]
pub(super) struct NiftiHeader {
    pub(super) version: Version,
    pub(super) order: ByteOrder,
    pub(super) storage: Storage,
    pub(super) dim: [i64; 8],
    pub(super) datatype: i16,
    pub(super) bitpix: i16,
    pub(super) pixdim: [f64; 8],
    pub(super) vox_offset: f64,
    pub(super) scl_slope: f64,
    pub(super) scl_inter: f64,
    pub(super) xyzt_units: i32,
    pub(super) description: String,
    pub(super) qform_code: i32,
    pub(super) sform_code: i32,
    pub(super) quatern: [f64; 3],
    pub(super) qoffset: [f64; 3],
    pub(super) srow: [[f64; 4]; 3],
}

impl NiftiHeader {
    /// Parses a header of 348 bytes: NIfTI-1, or Analyze 7.5 where `analyze` says what to do about it.
    ///
    /// # Errors
    /// A wrong magic string, or an impossible number of dimensions.
    pub(super) fn parse_1(fields: Fields<'_>, analyze: Analyze) -> Result<Self, ReadProblem> {
        match (storage(&fields.array::<4>(344), *b"n+1", *b"ni1"), analyze) {
            (Ok(storage), _) => Self::of_nifti_1(fields, storage),
            (Err(_), Analyze::Accepted) => Self::of_analyze(fields),
            (Err(_), Analyze::Offered) => Err(ReadProblem::Analyze),
            (Err(problem), Analyze::Impossible) => Err(problem),
        }
    }

    fn of_nifti_1(fields: Fields<'_>, storage: Storage) -> Result<Self, ReadProblem> {
        let dim = std::array::from_fn(|i| i64::from(fields.i16(40 + 2 * i)));
        check_rank(dim[0])?;
        Ok(Self {
            version: Version::One,
            order: fields.order,
            storage,
            dim,
            datatype: fields.i16(70),
            bitpix: fields.i16(72),
            pixdim: std::array::from_fn(|i| fields.f32(76 + 4 * i)),
            vox_offset: fields.f32(108),
            scl_slope: fields.f32(112),
            scl_inter: fields.f32(116),
            xyzt_units: i32::from(fields.array::<1>(123)[0]),
            description: text(&fields.array::<80>(148)),
            qform_code: i32::from(fields.i16(252)),
            sform_code: i32::from(fields.i16(254)),
            quatern: std::array::from_fn(|i| fields.f32(256 + 4 * i)),
            qoffset: std::array::from_fn(|i| fields.f32(268 + 4 * i)),
            srow: std::array::from_fn(|r| {
                std::array::from_fn(|c| fields.f32(280 + 16 * r + 4 * c))
            }),
        })
    }

    /// What Analyze has in common with NIfTI-1; in its place of the affines there are other things.
    fn of_analyze(fields: Fields<'_>) -> Result<Self, ReadProblem> {
        let header = Self::of_nifti_1(fields, Storage::Pair)?;
        Ok(Self {
            version: Version::Analyze,
            // SPM's factor; an intercept there is none.
            scl_inter: 0.0,
            xyzt_units: 0,
            qform_code: 0,
            sform_code: 0,
            ..header
        })
    }

    /// Parses a header of 540 bytes.
    ///
    /// # Errors
    /// A wrong magic string, a damaged signature, or an impossible number of dimensions.
    pub(super) fn parse_2(fields: Fields<'_>) -> Result<Self, ReadProblem> {
        let magic = fields.array::<8>(4);
        let storage = storage(&magic, *b"n+2", *b"ni2")?;
        if magic[4..] != *b"\r\n\x1a\n" {
            return Err(ReadProblem::MagicSignature);
        }
        let dim = std::array::from_fn(|i| fields.i64(16 + 8 * i));
        check_rank(dim[0])?;
        Ok(Self {
            version: Version::Two,
            order: fields.order,
            storage,
            dim,
            datatype: fields.i16(12),
            bitpix: fields.i16(14),
            pixdim: std::array::from_fn(|i| fields.f64(104 + 8 * i)),
            vox_offset: fields.i64(168) as f64,
            scl_slope: fields.f64(176),
            scl_inter: fields.f64(184),
            xyzt_units: fields.i32(500),
            description: text(&fields.array::<80>(240)),
            qform_code: fields.i32(344),
            sform_code: fields.i32(348),
            quatern: std::array::from_fn(|i| fields.f64(352 + 8 * i)),
            qoffset: std::array::from_fn(|i| fields.f64(376 + 8 * i)),
            srow: std::array::from_fn(|r| {
                std::array::from_fn(|c| fields.f64(400 + 32 * r + 8 * c))
            }),
        })
    }

    /// What to call the format.
    pub(super) fn format(&self) -> &'static str {
        match (self.version, self.storage) {
            (Version::Analyze, _) => "Analyze 7.5 pair",
            (Version::One, Storage::Single) => "NIfTI-1",
            (Version::One, Storage::Pair) => "NIfTI-1 pair",
            (Version::Two, Storage::Single) => "NIfTI-2",
            (Version::Two, Storage::Pair) => "NIfTI-2 pair",
        }
    }
}

/// The fourth byte of the magic is sometimes junk, so three decide.
fn storage(magic: &[u8], single: [u8; 3], pair: [u8; 3]) -> Result<Storage, ReadProblem> {
    if magic.starts_with(&single) {
        Ok(Storage::Single)
    } else if magic.starts_with(&pair) {
        Ok(Storage::Pair)
    } else {
        Err(ReadProblem::Magic { found: text(magic) })
    }
}

/// A wrong number of dimensions is the sign of a wrong byte order, so it is judged first.
fn check_rank(rank: i64) -> Result<(), ReadProblem> {
    if (1..=7).contains(&rank) {
        return Ok(());
    }
    Err(ReadProblem::Dimension {
        index: 0,
        found: rank,
        expected: "1 to 7",
    })
}
