//! Scan files: finding, reading, judging and writing them.
//!
//! A scan file (NIfTI-1 or NIfTI-2, single file or pair, plain or gzipped) becomes a [`Scan`]: its header in our
//! words, its voxels scaled to f32 on RAS+ axes, and the hash of its bytes. The data go on to the recipe; volumes and
//! masks come back here to be written. Nothing in here resamples, and nothing changes a scan on disk.
//!
//! What the bytes are decides, never the name.

use std::path::Path;

mod name;
mod read;

mod archive;
mod content;
mod detect;

mod affine;
mod header;
mod layout;
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

/// What a scan file says about its voxels.
#[derive(Clone, Debug, PartialEq)]
pub struct ScanHeader {
    /// "NIfTI-1", "NIfTI-2", "NIfTI-1 pair" or "NIfTI-2 pair".
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
    /// How many volumes the file holds; [`read_scan`] takes files of one.
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
    /// The 3×4 matrix.
    Sform,
    /// Quaternion, offset and voxel sizes.
    Qform,
    /// Neither is there: left-anterior-superior axes about the center of the volume were taken.
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
    /// BLAKE3 of the file's bytes as they lie on disk (of a pair: of the hashes of header and image).
    pub file_hash: blake3::Hash,
}

/// Reads any volume: scan, mask or label map.
///
/// # Errors
/// [`ReadError`] names the file and what is wrong with it.
pub fn read_scan(path: &Path) -> Result<Scan, ReadError> {
    OpenScan::open(path)?.into_scan()
}

/// Reads a T1 scan: as [`read_scan`] followed by [`check_t1`], but the geometry is judged before the voxels are read.
///
/// # Errors
/// [`ReadError`] names the file and what is wrong with it, or why it is no T1 scan.
pub fn read_t1_scan(path: &Path) -> Result<Scan, ReadError> {
    let mut open = OpenScan::open(path)?;
    t1::check_geometry(&open.header).map_err(|problem| problem.at(path))?;
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
    OpenScan::open(path).map(|open| open.header)
}
