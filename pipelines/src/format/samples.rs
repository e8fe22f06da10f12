//! Stored numbers → f32.
//!
//! All ten real data types of NIfTI, and the five of MGH among them, in both byte orders, scaled in f64. NaN and infinity become 0 and are counted.

use super::error::ReadProblem;
use super::header::{ByteOrder, NiftiHeader};

/// How one voxel is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SampleType {
    Uint8,
    Int8,
    Int16,
    Uint16,
    Int32,
    Uint32,
    Int64,
    Uint64,
    Float32,
    Float64,
}

impl SampleType {
    /// From the `datatype` field.
    ///
    /// # Errors
    /// [`ReadProblem::DataType`] with the name of what is not a real number.
    pub(super) fn from_code(code: i16) -> Result<Self, ReadProblem> {
        let name = match code {
            2 => return Ok(Self::Uint8),
            4 => return Ok(Self::Int16),
            8 => return Ok(Self::Int32),
            16 => return Ok(Self::Float32),
            64 => return Ok(Self::Float64),
            256 => return Ok(Self::Int8),
            512 => return Ok(Self::Uint16),
            768 => return Ok(Self::Uint32),
            1024 => return Ok(Self::Int64),
            1280 => return Ok(Self::Uint64),
            0 => "unknown",
            1 => "binary (1 bit)",
            32 => "complex (64 bits)",
            1792 => "complex (128 bits)",
            2048 => "complex (256 bits)",
            128 => "RGB colour (24 bits)",
            2304 => "RGBA colour (RGB colour with transparency, 32 bits)",
            1536 => "float128",
            _ => "no NIfTI type",
        };
        Err(ReadProblem::DataType {
            code: i32::from(code),
            name,
        })
    }

    /// From the `type` field of an MGH file.
    ///
    /// # Errors
    /// [`ReadProblem::DataType`] for what FreeSurfer does not write any more, or never did.
    pub(super) fn from_mgh_code(code: i32) -> Result<Self, ReadProblem> {
        let name = match code {
            0 => return Ok(Self::Uint8),
            1 => return Ok(Self::Int32),
            3 => return Ok(Self::Float32),
            4 => return Ok(Self::Int16),
            10 => return Ok(Self::Uint16),
            2 => "64-bit integers of MGH",
            5 => "bit map",
            6 => "tensor",
            _ => "no MGH type",
        };
        Err(ReadProblem::DataType { code, name })
    }

    /// Bytes of a voxel.
    pub(super) fn n_bytes(self) -> usize {
        match self {
            Self::Uint8 | Self::Int8 => 1,
            Self::Int16 | Self::Uint16 => 2,
            Self::Int32 | Self::Uint32 | Self::Float32 => 4,
            Self::Int64 | Self::Uint64 | Self::Float64 => 8,
        }
    }

    /// The name that nibabel and NumPy use.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Uint8 => "uint8",
            Self::Int8 => "int8",
            Self::Int16 => "int16",
            Self::Uint16 => "uint16",
            Self::Int32 => "int32",
            Self::Uint32 => "uint32",
            Self::Int64 => "int64",
            Self::Uint64 => "uint64",
            Self::Float32 => "float32",
            Self::Float64 => "float64",
        }
    }

    fn is_float(self) -> bool {
        matches!(self, Self::Float32 | Self::Float64)
    }
}

/// Everything needed to turn bytes into grey values.
#[derive(Clone, Copy, Debug)]
pub(super) struct Decoder {
    sample_type: SampleType,
    order: ByteOrder,
    /// Slope and intercept; `None` where they change nothing.
    scaling: Option<(f64, f64)>,
}

impl Decoder {
    /// Judges the scaling: a slope that is 0 or not finite means none at all, whatever the intercept.
    ///
    /// # Errors
    /// [`ReadProblem::Intercept`] for a usable slope with an unusable intercept.
    pub(super) fn of(header: &NiftiHeader, sample_type: SampleType) -> Result<Self, ReadProblem> {
        let (slope, inter) = (header.scl_slope, header.scl_inter);
        let scaling = if !slope.is_finite() || slope == 0.0 {
            None
        } else if !inter.is_finite() {
            return Err(ReadProblem::Intercept);
        } else {
            (slope != 1.0 || inter != 0.0).then_some((slope, inter))
        };
        Ok(Self {
            sample_type,
            order: header.order,
            scaling,
        })
    }

    /// Stored values as they are.
    pub(super) fn unscaled(sample_type: SampleType, order: ByteOrder) -> Self {
        Self {
            sample_type,
            order,
            scaling: None,
        }
    }

    /// Appends the values in `raw` to `out` and says how many were not finite (they are 0 now).
    pub(super) fn decode(&self, raw: &[u8], out: &mut Vec<f32>) -> usize {
        let first = out.len();
        match self.sample_type {
            SampleType::Uint8 => {
                self.convert(raw, out, u8::from_le_bytes, f32::from, f64::from);
            }
            SampleType::Int8 => {
                self.convert(raw, out, i8::from_le_bytes, f32::from, f64::from);
            }
            SampleType::Int16 => {
                self.convert(raw, out, i16::from_le_bytes, f32::from, f64::from);
            }
            SampleType::Uint16 => {
                self.convert(raw, out, u16::from_le_bytes, f32::from, f64::from);
            }
            SampleType::Int32 => {
                self.convert(raw, out, i32::from_le_bytes, |v| v as f32, f64::from);
            }
            SampleType::Uint32 => {
                self.convert(raw, out, u32::from_le_bytes, |v| v as f32, f64::from);
            }
            SampleType::Int64 => {
                self.convert(raw, out, i64::from_le_bytes, |v| v as f32, |v| v as f64);
            }
            SampleType::Uint64 => {
                self.convert(raw, out, u64::from_le_bytes, |v| v as f32, |v| v as f64);
            }
            SampleType::Float32 => self.convert(raw, out, f32::from_le_bytes, |v| v, f64::from),
            SampleType::Float64 => self.convert(raw, out, f64::from_le_bytes, |v| v as f32, |v| v),
        }
        if self.sample_type.is_float() || self.scaling.is_some() {
            zero_not_finite(&mut out[first..])
        } else {
            0
        }
    }

    fn convert<const N: usize, T>(
        &self,
        raw: &[u8],
        out: &mut Vec<f32>,
        from_le_bytes: impl Fn([u8; N]) -> T,
        to_f32: impl Fn(T) -> f32,
        to_f64: impl Fn(T) -> f64,
    ) {
        let (samples, _) = raw.as_chunks::<N>();
        let swapped = |bytes: &[u8; N]| {
            let mut bytes = *bytes;
            bytes.reverse();
            from_le_bytes(bytes)
        };
        let straight = |bytes: &[u8; N]| from_le_bytes(*bytes);
        match (self.order, self.scaling) {
            (ByteOrder::Little, None) => out.extend(samples.iter().map(|b| to_f32(straight(b)))),
            (ByteOrder::Big, None) => out.extend(samples.iter().map(|b| to_f32(swapped(b)))),
            // Through f64: a f32 has no room for 32-bit integers times a slope.
            (ByteOrder::Little, Some((slope, inter))) => {
                out.extend(
                    samples
                        .iter()
                        .map(|b| (to_f64(straight(b)) * slope + inter) as f32),
                );
            }
            (ByteOrder::Big, Some((slope, inter))) => {
                out.extend(
                    samples
                        .iter()
                        .map(|b| (to_f64(swapped(b)) * slope + inter) as f32),
                );
            }
        }
    }
}

fn zero_not_finite(values: &mut [f32]) -> usize {
    let mut count = 0;
    for value in values {
        let finite = value.is_finite();
        count += usize::from(!finite);
        *value = if finite { *value } else { 0.0 };
    }
    count
}
