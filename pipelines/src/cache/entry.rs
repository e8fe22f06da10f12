//! One entry of the cache: its layout in bytes, made and taken apart (drawn in [`crate::cache`]).

use std::ops::Range;
use std::path::PathBuf;

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
const CHECKSUM_BYTES: usize = blake3::OUT_LEN;

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
    /// The voxels, x fastest.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be read any more; [`Error::CacheEntry`] if it has been damaged.
    pub fn values_f32(&self) -> Result<Vec<f32>, Error> {
        let bytes =
            fs_err::read(&self.path).map_err(Error::io("reading the cache entry", &self.path))?;
        let refuse = |problem| Error::CacheEntry {
            problem,
            path: self.path.clone(),
        };
        let (header, voxels) = take_apart(&bytes).map_err(refuse)?;
        if header.shape != self.header.shape {
            return Err(refuse(format!(
                "shape is {}, expected {}",
                header.shape, self.header.shape
            )));
        }
        let halves: Vec<f16> = bytes[voxels]
            .chunks_exact(2)
            .map(|pair| f16::from_le_bytes([pair[0], pair[1]]))
            .collect();
        let mut values = vec![0.0; halves.len()];
        halves.convert_to_f32_slice(&mut values);
        Ok(values)
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
        })
    }
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
