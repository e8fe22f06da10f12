//! The fields of a NIfTI-1 or NIfTI-2 header, as they stand in the file.
//!
//! The two versions differ in offsets and widths only; here they become one [`NiftiHeader`]. What the fields mean,
//! and which of them to believe, is decided by [`super::layout`] and [`super::affine`].
//!
//! # References
//! nifti1.h and nifti2.h of the NIfTI Data Format Working Group.

use super::detect::{HeaderKind, NIFTI2_BYTES};
use super::error::ReadProblem;

/// Order of the bytes in a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ByteOrder {
    Little,
    Big,
}

/// Version of the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
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
    /// Parses the header that [`super::detect::detect`] announced.
    ///
    /// # Errors
    /// A wrong magic string, a damaged signature, an impossible number of dimensions, or too few bytes.
    pub(super) fn parse(kind: HeaderKind, head: &[u8]) -> Result<Self, ReadProblem> {
        match kind {
            HeaderKind::Nifti1(order) => Self::parse_1(Fields { head, order }),
            HeaderKind::Nifti2(order) => Self::parse_2(Fields { head, order }),
        }
    }

    fn parse_1(fields: Fields<'_>) -> Result<Self, ReadProblem> {
        let storage = storage(&fields.array::<4>(344), *b"n+1", *b"ni1")?;
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

    fn parse_2(fields: Fields<'_>) -> Result<Self, ReadProblem> {
        if fields.head.len() < NIFTI2_BYTES {
            let found = fields.head.len();
            return Err(ReadProblem::TruncatedHeader {
                found,
                expected: NIFTI2_BYTES,
            });
        }
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

/// Text of no known encoding, up to the first NUL.
fn text(bytes: &[u8]) -> String {
    let end = bytes
        .iter()
        .position(|byte| *byte == 0)
        .unwrap_or(bytes.len());
    String::from_utf8_lossy(bytes.get(..end).unwrap_or_default())
        .trim_end()
        .to_owned()
}

/// Numbers at byte offsets; past the end there are zeros.
#[derive(Clone, Copy)]
struct Fields<'a> {
    head: &'a [u8],
    order: ByteOrder,
}

impl Fields<'_> {
    fn array<const N: usize>(&self, at: usize) -> [u8; N] {
        let found = self.head.get(at..).and_then(<[u8]>::first_chunk::<N>);
        found.copied().unwrap_or([0; N])
    }

    /// As [`Self::array`], least significant byte first.
    fn ordered<const N: usize>(&self, at: usize) -> [u8; N] {
        let mut bytes = self.array(at);
        if self.order == ByteOrder::Big {
            bytes.reverse();
        }
        bytes
    }

    fn i16(&self, at: usize) -> i16 {
        i16::from_le_bytes(self.ordered(at))
    }

    fn i32(&self, at: usize) -> i32 {
        i32::from_le_bytes(self.ordered(at))
    }

    fn i64(&self, at: usize) -> i64 {
        i64::from_le_bytes(self.ordered(at))
    }

    fn f32(&self, at: usize) -> f64 {
        f64::from(f32::from_le_bytes(self.ordered(at)))
    }

    fn f64(&self, at: usize) -> f64 {
        f64::from_le_bytes(self.ordered(at))
    }
}
