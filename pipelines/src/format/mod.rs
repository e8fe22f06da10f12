//! Scan files: finding, reading, judging and writing them.
//!
//! A scan file (NIfTI-1 or NIfTI-2, single file or pair, or MGH; plain or gzipped) becomes a [`Scan`]: its header in our
//! words, its voxels scaled to f32 on RAS+ axes, and the hash of its bytes. The data go on to the recipe; volumes and
//! masks come back here to be written. Nothing in here resamples, and nothing changes a scan on disk.
//!
//! What the bytes are decides, never the name. Where a file leaves open what is meant (several volumes, Analyze 7.5
//! without its left and right), [`ReadOptions`] says it or the file is refused.

use std::ops::ControlFlow;
use std::path::Path;

mod name;
mod read;

mod archive;
mod arriving;
mod content;
mod detect;

mod affine;
mod extensions;
mod fields;
mod header;
mod layout;
mod mgh;
mod samples;

mod t1;
mod write;

mod error;
#[cfg(test)]
mod tests;

use crate::orient::Reorientation;
use crate::space::{Affine, VoxelShape};
use crate::volume::Volume;

pub(crate) use archive::open_bytes;
pub use error::{ReadError, ReadProblem, WriteError};
pub use name::{find_scans, is_scan_name};
use read::OpenScan;
pub use t1::check_t1;
pub use write::{write_nifti, write_nifti_i16, write_nifti_mask};

/// What the user decides about files that leave it open. By default nothing is: such files are refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReadOptions {
    /// Which volume of a 4-D file to read, from 0.
    pub volume: Option<usize>,
    /// Whether to read Analyze 7.5 pairs, whose x is taken to run to the left.
    pub analyze: bool,
}

impl ReadOptions {
    /// [`Scan::file_hash`] of a file with these bytes.
    ///
    /// Only a volume other than the first makes a difference: the first one has no rival, since without a choice files
    /// of several volumes are refused.
    pub fn hash_of(self, bytes_hash: blake3::Hash) -> blake3::Hash {
        match self.volume {
            None | Some(0) => bytes_hash,
            Some(volume) => blake3::Hasher::new()
                .update(bytes_hash.as_bytes())
                .update(b"volume")
                .update(&(volume as u64).to_le_bytes())
                .finalize(),
        }
    }
}

/// What a scan file says about its voxels.
#[derive(Clone, Debug, PartialEq)]
pub struct ScanHeader {
    /// "NIfTI-1", "NIfTI-2", "NIfTI-1 pair", "NIfTI-2 pair", "Analyze 7.5 pair" or "MGH".
    pub format: &'static str,
    /// Whether the voxels are gzipped.
    pub gzipped: bool,
    /// How the voxels are stored, in nibabel's names: "int16", "float32", …
    pub datatype: &'static str,
    /// Number of voxels along the stored axes.
    pub stored_shape: VoxelShape,
    /// Stored voxel indices → RAS+ mm.
    pub world_from_stored: Affine,
    /// Where that affine comes from.
    pub affine_source: AffineSource,
    /// How many volumes the file holds; of several, [`ReadOptions::volume`] must name one.
    pub n_volumes: usize,
    /// The free text of the header.
    pub description: String,
    /// What is odd, but no reason to refuse.
    pub warnings: Vec<String>,
}

/// How the free text of a scan begins that this program made; scans of people never say so.
pub const SYNTHETIC_MARK: &str = "synthetic T1 head";

impl ScanHeader {
    /// Whether the scan says that this program made it.
    pub fn is_synthetic(&self) -> bool {
        self.description.starts_with(SYNTHETIC_MARK)
    }
}

/// Which field of the header the affine was taken from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AffineSource {
    /// NIfTI's 3×4 matrix.
    Sform,
    /// NIfTI's quaternion, offset and voxel sizes.
    Qform,
    /// MGH's direction cosines, voxel sizes and center.
    Directions,
    /// None is there: left-anterior-superior axes about the center of the volume were taken (MGH:
    /// left-inferior-anterior).
    Assumed,
}

/// A scan in memory.
#[derive(Clone, Debug)]
pub struct Scan {
    /// What the file said.
    pub header: ScanHeader,
    /// Scaled voxels on RAS+ axes; NaN and infinity became 0.
    pub volume: Volume,
    /// How the stored axes were turned.
    pub reorientation: Reorientation,
    /// BLAKE3 of the file's bytes as they lie on disk (of a pair: of the hashes of header and image); with the number
    /// of the volume where it is not the first, see [`ReadOptions::hash_of`].
    pub file_hash: blake3::Hash,
}

/// Reads any volume: scan, mask or label map.
///
/// # Errors
/// [`ReadError`] names the file and what is wrong with it.
pub fn read_scan(path: &Path) -> Result<Scan, ReadError> {
    read_scan_with(path, ReadOptions::default())
}

/// As [`read_scan`], with what the user decided.
///
/// # Errors
/// As [`read_scan`]; [`ReadProblem::NoSuchVolume`] for a volume that the file does not have.
pub fn read_scan_with(path: &Path, options: ReadOptions) -> Result<Scan, ReadError> {
    OpenScan::open(path, options)?.into_scan()
}

/// As [`read_scan_with`]; `on_slab` hears again and again which share of the voxels, 0 to 1, has been read, and stops
/// the reading with [`ControlFlow::Break`].
///
/// # Errors
/// As [`read_scan_with`], and [`ReadProblem::Stopped`].
pub fn read_scan_watched(
    path: &Path,
    options: ReadOptions,
    on_slab: &mut dyn FnMut(f32) -> ControlFlow<()>,
) -> Result<Scan, ReadError> {
    OpenScan::open(path, options)?.into_scan_watched(on_slab)
}

/// Reads a T1 scan: as [`read_scan`] followed by [`check_t1`], but the geometry is judged before the voxels are read.
///
/// # Errors
/// [`ReadError`] names the file and what is wrong with it, or why it is no T1 scan.
pub fn read_t1_scan(path: &Path) -> Result<Scan, ReadError> {
    read_t1_scan_with(path, ReadOptions::default())
}

/// As [`read_t1_scan`], with what the user decided.
///
/// # Errors
/// As [`read_t1_scan`]; [`ReadProblem::NoSuchVolume`] for a volume that the file does not have.
pub fn read_t1_scan_with(path: &Path, options: ReadOptions) -> Result<Scan, ReadError> {
    let mut open = OpenScan::open(path, options)?;
    open.chosen_volume()
        .and_then(|_| t1::check_geometry(&open.header))
        .map_err(|problem| problem.at(path))?;
    open.header
        .warnings
        .extend(t1::low_resolution(&open.header));
    let scan = open.into_scan()?;
    t1::check_values(&scan.volume).map_err(|problem| problem.at(path))?;
    Ok(scan)
}

/// Reads the header alone; files of several volumes are welcome.
///
/// # Errors
/// [`ReadError`] for whatever [`read_scan`] would refuse without looking at voxels.
pub fn read_header(path: &Path) -> Result<ScanHeader, ReadError> {
    read_header_with(path, ReadOptions::default())
}

/// As [`read_header`], with what the user decided.
///
/// # Errors
/// As [`read_header`].
pub fn read_header_with(path: &Path, options: ReadOptions) -> Result<ScanHeader, ReadError> {
    OpenScan::open(path, options).map(|open| open.header)
}
