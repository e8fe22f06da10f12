//! One entry of the cache: its layout in bytes, made and taken apart (drawn in [`crate::cache`]).

use std::io::Read as _;
use std::ops::Range;
use std::path::{Path, PathBuf};

use brainage_kernels::mapped_file::MappedFile;
use half::f16;
use half::slice::HalfFloatSliceExt as _;
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::preprocess::Preprocessed;
use crate::qc::Qc;
use crate::space::{Affine, VoxelShape};
use crate::volume::{Grid, Mask, Volume};

const MAGIC: [u8; 8] = *b"BRAINVOL";
/// Version of the layout above; entries of another one are made anew.
pub(super) const VERSION: u32 = 2;
/// Magic, version, length of the header.
const PREFIX_BYTES: usize = 16;
/// Voxels begin at a multiple of this, so that they can be mapped into memory as they are.
const ALIGNMENT: usize = 64;
/// What no header is larger than; a damaged length must not fill the memory.
const LARGEST_HEADER_BYTES: u64 = 1 << 20;
const CHECKSUM_BYTES: usize = blake3::OUT_LEN;
/// Voxels that are converted at once where they keep their order.
const RUN: usize = 256;

/// What an entry says about its voxels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EntryHeader {
    /// Version of the entry's layout.
    pub version: u32,
    /// The entry's key, 64 hex digits.
    pub key: String,
    /// Voxels along x, y, z.
    pub shape: VoxelShape,
    /// Voxel indices → MNI mm.
    pub world_from_voxel: Affine,
    /// RAS+ mm of the scan → MNI mm.
    pub mni_from_scan: Affine,
    /// Name of the recipe.
    pub recipe_name: String,
    /// The whole recipe, as TOML.
    pub recipe: String,
    /// Path of the scan when the entry was made; the same bytes elsewhere have the same entry.
    pub source: String,
    /// BLAKE3 of the scan's bytes, 64 hex digits.
    pub file_hash: String,
    /// How well preprocessing went.
    pub qc: Qc,
    /// What was odd about the scan, but no reason to refuse it.
    pub warnings: Vec<String>,
    /// Whether the scan says that a program made it.
    pub synthetic: bool,
}

/// An entry that was whole when it was opened. Voxels are read when they are asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct CacheEntry {
    /// What it says about its voxels.
    pub header: EntryHeader,
    /// Its file.
    pub path: PathBuf,
}

impl CacheEntry {
    /// Opens an entry by its file, wherever that lies.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be read; [`Error::CacheEntry`] if it is no whole entry of this version.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let file = MappedFile::open(path).map_err(Error::io("reading the cache entry", path))?;
        let whole = take_apart(file.bytes());
        let (header, _) = whole.map_err(|problem| Error::CacheEntry {
            problem,
            path: path.to_path_buf(),
        })?;
        Ok(Self {
            header,
            path: path.to_path_buf(),
        })
    }

    /// The voxels, x fastest.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be read any more; [`Error::CacheEntry`] if it has been damaged.
    pub fn values_f32(&self) -> Result<Vec<f32>, Error> {
        self.converted(in_order)
    }

    /// The voxels, z fastest.
    ///
    /// # Errors
    /// As [`CacheEntry::values_f32`].
    pub fn values_f32_z_fastest(&self) -> Result<Vec<f32>, Error> {
        self.converted(|stored| z_fastest(stored, self.header.shape.0))
    }

    /// What `convert` makes of the stored voxels, read from the page cache where they lie.
    fn converted(&self, convert: impl FnOnce(&[[u8; 2]]) -> Vec<f32>) -> Result<Vec<f32>, Error> {
        let file = MappedFile::open(&self.path)
            .map_err(Error::io("reading the cache entry", &self.path))?;
        let bytes = file.bytes();
        let refuse = |problem| Error::CacheEntry {
            problem,
            path: self.path.clone(),
        };
        let (header, voxels) = take_apart(bytes).map_err(refuse)?;
        if header.shape != self.header.shape {
            return Err(refuse(format!(
                "shape is {}, expected {}",
                header.shape, self.header.shape
            )));
        }
        Ok(convert(bytes[voxels].as_chunks().0))
    }

    /// The voxels in their place.
    ///
    /// # Errors
    /// As [`CacheEntry::values_f32`].
    pub fn volume(&self) -> Result<Volume, Error> {
        let values = self.values_f32()?;
        Grid::new(values, self.header.shape, self.header.world_from_voxel).map_err(|error| {
            Error::CacheEntry {
                problem: error.to_string(),
                path: self.path.clone(),
            }
        })
    }

    /// What was stored, in the precision of the entry.
    ///
    /// # Errors
    /// As [`CacheEntry::values_f32`].
    pub fn preprocessed(&self) -> Result<Preprocessed, Error> {
        let volume = self.volume()?;
        let mask = volume.map(|value| *value != 0.0);
        let EntryHeader {
            mni_from_scan,
            qc,
            warnings,
            synthetic,
            file_hash,
            ..
        } = self.header.clone();
        let file_hash =
            blake3::Hash::from_hex(file_hash.as_bytes()).map_err(|error| Error::CacheEntry {
                problem: error.to_string(),
                path: self.path.clone(),
            })?;
        Ok(Preprocessed {
            volume,
            mask,
            mni_from_scan,
            qc,
            file_hash,
            warnings,
            synthetic,
            brain: None,
        })
    }
}

/// Stored voxels as f32, in their order.
fn in_order(stored: &[[u8; 2]]) -> Vec<f32> {
    let mut values = vec![0.0; stored.len()];
    let mut halves = [f16::ZERO; RUN];
    for (stored, values) in stored.chunks(RUN).zip(values.chunks_mut(RUN)) {
        let halves = &mut halves[..stored.len()];
        for (half, bytes) in halves.iter_mut().zip(stored) {
            *half = f16::from_le_bytes(*bytes);
        }
        halves.convert_to_f32_slice(values);
    }
    values
}

/// Stored voxels, x fastest, as f32 with z fastest.
fn z_fastest(stored: &[[u8; 2]], [nx, ny, nz]: [usize; 3]) -> Vec<f32> {
    let mut values = vec![0.0; stored.len()];
    let mut halves = vec![f16::ZERO; nz];
    // One plane of stored voxels after the other: it fits into the fastest cache.
    for y in 0..ny {
        for x in 0..nx {
            for (z, half) in halves.iter_mut().enumerate() {
                *half = f16::from_le_bytes(stored[x + nx * (y + ny * z)]);
            }
            let begin = nz * (y + ny * x);
            halves.convert_to_f32_slice(&mut values[begin..begin + nz]);
        }
    }
    values
}

/// The bytes of an entry, checksum included.
pub(super) fn put_together(
    header: &EntryHeader,
    volume: &Volume,
    mask: &Mask,
) -> Result<Vec<u8>, String> {
    if mask.shape() != volume.shape() {
        return Err(format!(
            "mask is {}, expected {}",
            mask.shape(),
            volume.shape()
        ));
    }
    let mut json = serde_json::to_vec(header).map_err(|error| error.to_string())?;
    let begin = (PREFIX_BYTES + json.len()).next_multiple_of(ALIGNMENT);
    json.resize(begin - PREFIX_BYTES, b' ');
    let json_bytes = u32::try_from(json.len()).map_err(|_too_large| {
        format!("header has {} bytes, expected fewer than 2³²", json.len())
    })?;

    let voxels = to_halves(volume.values(), mask.values())?;
    let mut bytes = Vec::with_capacity(begin + 2 * voxels.len() + CHECKSUM_BYTES);
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes.extend_from_slice(&json_bytes.to_le_bytes());
    bytes.extend_from_slice(&json);
    bytes.extend(voxels.iter().flat_map(|half| half.to_le_bytes()));
    let checksum = blake3::hash(&bytes);
    bytes.extend_from_slice(checksum.as_bytes());
    Ok(bytes)
}

/// Values as f16: 0 outside the mask and nowhere else.
fn to_halves(values: &[f32], mask: &[bool]) -> Result<Vec<f16>, String> {
    let mut halves = vec![f16::ZERO; values.len()];
    halves.convert_from_f32_slice(values);
    for (at, (half, inside)) in halves.iter_mut().zip(mask).enumerate() {
        if !half.is_finite() {
            return Err(format!(
                "voxel {at} is {}, expected a finite number within f16",
                values[at]
            ));
        }
        if !inside {
            *half = f16::ZERO;
        } else if *half == f16::ZERO {
            *half = f16::MIN_POSITIVE_SUBNORMAL;
        }
    }
    Ok(halves)
}

/// The header of the entry in a file, without a look at its voxels or checksum.
pub(super) fn header_of(path: &Path) -> Option<EntryHeader> {
    let mut file = fs_err::File::open(path).ok()?;
    let mut prefix = [0; PREFIX_BYTES];
    file.read_exact(&mut prefix).ok()?;
    let u32_at = |at: usize| Some(u32::from_le_bytes(prefix.get(at..at + 4)?.try_into().ok()?));
    if !prefix.starts_with(&MAGIC) || u32_at(8)? != VERSION {
        return None;
    }
    let json_bytes = u64::from(u32_at(12)?).min(LARGEST_HEADER_BYTES);
    let mut json = Vec::new();
    file.take(json_bytes).read_to_end(&mut json).ok()?;
    serde_json::from_slice(&json).ok()
}

/// The header of an entry and where its voxels are; or what is wrong with it.
pub(super) fn take_apart(bytes: &[u8]) -> Result<(EntryHeader, Range<usize>), String> {
    let u32_at = |at: usize| -> Option<u32> {
        let raw = bytes.get(at..at + 4)?;
        Some(u32::from_le_bytes(raw.try_into().ok()?))
    };
    if !bytes.starts_with(&MAGIC) {
        return Err("does not begin as a cache entry does".to_owned());
    }
    let (version, json_bytes) = (u32_at(8), u32_at(12));
    if version != Some(VERSION) {
        let found = version.map_or_else(|| "missing".to_owned(), |version| version.to_string());
        return Err(format!("version is {found}, expected {VERSION}"));
    }
    let begin = json_bytes.map_or(usize::MAX, |n| PREFIX_BYTES.saturating_add(n as usize));
    let end = bytes.len().saturating_sub(CHECKSUM_BYTES);
    if begin > end {
        return Err(format!("{} bytes are too few: truncated", bytes.len()));
    }
    if blake3::hash(&bytes[..end]).as_bytes()[..] != bytes[end..] {
        return Err("checksum differs: truncated or changed".to_owned());
    }
    let header: EntryHeader =
        serde_json::from_slice(&bytes[PREFIX_BYTES..begin]).map_err(|error| error.to_string())?;
    let expected = header
        .shape
        .0
        .iter()
        .try_fold(2usize, |product, side| product.checked_mul(*side));
    if expected != Some(end - begin) {
        return Err(format!(
            "{} bytes of voxels for a shape of {}",
            end - begin,
            header.shape
        ));
    }
    Ok((header, begin..end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn voxels_are_the_same_in_both_orders_and_none_is_lost() {
        // More than one run, and a rest.
        let [nx, ny, nz] = [7, 6, 13];
        let stored: Vec<[u8; 2]> = (0..nx * ny * nz)
            .map(|i| f16::from_f32(i as f32).to_le_bytes())
            .collect();
        let values = in_order(&stored);
        assert!(
            values
                .iter()
                .enumerate()
                .all(|(i, value)| *value == i as f32)
        );
        let turned = z_fastest(&stored, [nx, ny, nz]);
        for x in 0..nx {
            for y in 0..ny {
                for z in 0..nz {
                    assert_eq!(turned[z + nz * (y + ny * x)], values[x + nx * (y + ny * z)]);
                }
            }
        }
    }
}
