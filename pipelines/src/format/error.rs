//! Why a scan file cannot be read, or an image cannot be written.

use std::io;
use std::path::{Path, PathBuf};

use crate::error::shown;
use crate::space::VoxelShape;

/// A scan file that is refused: what is wrong with it, and which file it is.
#[derive(Debug, thiserror::Error)]
#[error("{problem}: `{}`", shown(path))]
pub struct ReadError {
    /// The file, as it was named by the caller.
    pub path: PathBuf,
    /// What is wrong with it.
    pub problem: ReadProblem,
}

impl ReadError {
    /// What the user can do about it, where there is something.
    pub fn hint(&self) -> Option<&'static str> {
        match self.problem {
            ReadProblem::SeveralVolumes { .. } => Some(
                "name the T1 volume with `--volume N` (from 0); which one it is cannot be guessed",
            ),
            ReadProblem::Analyze => {
                Some("convert it to NIfTI, or pass `--analyze` to take x as running to the left")
            }
            ReadProblem::Compression { .. } | ReadProblem::NestedGzip => {
                Some("unpack the file and give the scan inside it")
            }
            ReadProblem::TruncatedGzip
            | ReadProblem::Truncated { .. }
            | ReadProblem::CorruptGzip => Some("copy or download the file again"),
            ReadProblem::LabelMap { .. } | ReadProblem::FewValues { .. } => {
                Some("give the T1 scan that the labels were made from")
            }
            ReadProblem::NotNifti {
                looks_like: "a DICOM file",
            } => Some("convert the series to NIfTI first, e.g. with dcm2niix"),
            _ => None,
        }
    }
}

/// What the system said, without the path that the error carries besides.
fn cause(error: &io::Error) -> String {
    let inner = std::error::Error::source(error).map(ToString::to_string);
    inner.unwrap_or_else(|| error.to_string()).to_lowercase()
}

/// What can be wrong with a scan file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadProblem {
    /// There is nothing under this name (or a link leads nowhere).
    #[error("file not found")]
    NotFound,
    /// The user may not read it.
    #[error("permission denied")]
    PermissionDenied,
    /// The system refused to open or read it.
    #[error("cannot be read ({})", cause(.0))]
    Io(io::Error),
    /// A folder where a file was expected.
    #[error("is a directory, expected a scan file")]
    IsDirectory,
    /// A pipe, socket or device; opening it could block for ever.
    #[error("not a regular file")]
    NotRegular,
    /// No bytes, or none after decompression.
    #[error("empty file")]
    Empty,
    /// Compressed by something other than gzip.
    #[error("compressed with {name}, expected a scan, plain or gzipped")]
    Compression {
        /// The compression.
        name: &'static str,
    },
    /// Gzipped twice.
    #[error("gzip inside gzip")]
    NestedGzip,
    /// Another kind of file.
    #[error("not a NIfTI or MGH file: looks like {looks_like}")]
    NotNifti {
        /// What the first bytes look like.
        looks_like: &'static str,
    },
    /// The header is cut.
    #[error("truncated header: {found} bytes, expected {expected}")]
    TruncatedHeader {
        /// Bytes there are.
        found: usize,
        /// Bytes a header takes.
        expected: usize,
    },
    /// The voxels are cut.
    #[error("truncated: {found} bytes, expected {expected}")]
    Truncated {
        /// Bytes there are (decompressed).
        found: u64,
        /// Bytes the header declares.
        expected: u64,
    },
    /// The header declares more than the compressed file can hold (deflate reaches 1032 : 1 at best).
    #[error(
        "truncated: {expected} bytes declared, but a gzip file of {compressed} bytes cannot hold them"
    )]
    DeclaresTooMuch {
        /// Bytes the header declares.
        expected: u64,
        /// Size of the file.
        compressed: u64,
    },
    /// The gzip stream ends before its end.
    #[error("gzip data are truncated")]
    TruncatedGzip,
    /// The gzip stream does not decode, or not to what its checksum says.
    #[error("gzip data are corrupt (checksum)")]
    CorruptGzip,
    /// Much more follows the voxels than a footer.
    #[error(
        "more data than expected: over {limit} bytes after the voxels that the header declares"
    )]
    SurplusData {
        /// What would have been ignored.
        limit: u64,
    },
    /// No, or a wrong, magic string.
    #[error("magic is {found:?}, expected \"n+1\", \"ni1\", \"n+2\" or \"ni2\"")]
    Magic {
        /// The magic as far as it is text.
        found: String,
    },
    /// The line ends in the NIfTI-2 magic were changed: the file went through a text-mode transfer.
    #[error("magic signature is damaged (line ends changed by a text-mode transfer)")]
    MagicSignature,
    /// A header without its image.
    #[error(".img data file not found beside the header")]
    NoImage,
    /// An image without its header.
    #[error(".hdr header not found beside the image")]
    NoHeader,
    /// A dimension that makes no sense.
    #[error("dimension {index} is {found}, expected {expected}")]
    Dimension {
        /// Which entry of `dim`; 0 is the number of dimensions.
        index: usize,
        /// Its value.
        found: i64,
        /// What it could be.
        expected: &'static str,
    },
    /// More voxels or bytes than this program reads.
    #[error("dimensions too large ({found}), expected at most {limit}")]
    TooLarge {
        /// What is too large.
        found: String,
        /// The limit.
        limit: &'static str,
    },
    /// Analyze 7.5, which does not say where left is, and nobody asked for it.
    #[error("no NIfTI magic in the header of a pair: Analyze 7.5, whose orientation is not stored")]
    Analyze,
    /// A version of MGH that is not known.
    #[error("MGH version is {found}, expected 1")]
    MghVersion {
        /// The version.
        found: i32,
    },
    /// Voxels of MGH without a size.
    #[error("voxel size (delta) is {found}, expected a positive number")]
    Delta {
        /// The value.
        found: f64,
    },
    /// Axes of MGH that span no volume.
    #[error("direction (Mdc) {problem}")]
    Directions {
        /// What is wrong with them.
        problem: &'static str,
    },
    /// A volume was asked for that is not there.
    #[error("volume {asked} is not there, expected 0 to {}", count.saturating_sub(1))]
    NoSuchVolume {
        /// What was asked for, from 0.
        asked: usize,
        /// How many there are.
        count: usize,
    },
    /// A series of volumes.
    #[error("{count} {called} ({rank}-D), expected one")]
    SeveralVolumes {
        /// How many.
        count: usize,
        /// "volumes", or "frames".
        called: &'static str,
        /// Number of dimensions in the header.
        rank: usize,
    },
    /// Voxels that are not single real numbers, or a code that nobody knows.
    #[error("unsupported data type: {name} (code {code})")]
    DataType {
        /// The code.
        code: i32,
        /// What it stands for.
        name: &'static str,
    },
    /// The slope can be used, the intercept not.
    #[error("scl_inter not finite, expected a number beside a valid scl_slope")]
    Intercept,
    /// An offset of the voxels that cannot be.
    #[error("vox_offset is {found}, {expected}")]
    VoxOffset {
        /// The value.
        found: f64,
        /// What is wrong with it.
        expected: &'static str,
    },
    /// NaN or infinity in the only affine there is.
    #[error("affine not finite")]
    AffineNotFinite,
    /// The only affine there is cannot be inverted.
    #[error("affine singular")]
    AffineSingular,
    /// The voxel size is needed and is no positive number.
    #[error("voxel size (pixdim) is {found}, expected a positive number")]
    Pixdim {
        /// The value.
        found: f64,
    },
    /// Nothing but NaN and infinity.
    #[error("no finite voxels (NaN)")]
    NoFiniteVoxels,
    /// Whoever watched the reading stopped it.
    #[error("reading was stopped")]
    Stopped,
    /// The system gave no memory.
    #[error("not enough memory for {bytes} bytes of voxels")]
    Memory {
        /// What was needed.
        bytes: u64,
    },
    /// Two-dimensional.
    #[error("single slice ({shape}), need a 3-D volume")]
    SingleSlice {
        /// Stored shape.
        shape: VoxelShape,
    },
    /// Too small to be a head.
    #[error(
        "field of view too small ({found_mm:.0} mm along axis {axis}), expected at least 100 mm and 8 voxels"
    )]
    FieldOfViewSmall {
        /// Stored axis, from 1.
        axis: usize,
        /// Its extent.
        found_mm: f64,
    },
    /// Too large to be a head.
    #[error(
        "field of view too large ({found_mm:.0} mm along axis {axis}), expected at most 600 mm"
    )]
    FieldOfViewLarge {
        /// Stored axis, from 1.
        axis: usize,
        /// Its extent.
        found_mm: f64,
    },
    /// Voxels that are no MRI scan's.
    #[error("voxel size / resolution is {found_mm:.3} mm along axis {axis}, expected 0.2 to 10 mm")]
    VoxelSize {
        /// Stored axis, from 1.
        axis: usize,
        /// Its voxel size.
        found_mm: f64,
    },
    /// All voxels are the same.
    #[error("constant image (all voxels are {value})")]
    Constant {
        /// The value.
        value: f32,
    },
    /// Nearly all voxels are the same.
    #[error("nearly constant image ({percent:.2} % of the voxels are the same)")]
    NearlyConstant {
        /// Share of the commonest value.
        percent: f64,
    },
    /// A mask, or a map of a few labels.
    #[error("looks like a mask: {count} distinct values, expected grey values")]
    FewValues {
        /// How many.
        count: usize,
    },
    /// A map of many labels.
    #[error(
        "looks like a label map: {percent:.0} % of neighbouring voxels are equal, expected grey values"
    )]
    LabelMap {
        /// Share of equal pairs outside the background.
        percent: f64,
    },
}

impl ReadProblem {
    /// Adds the file.
    pub fn at(self, path: &Path) -> ReadError {
        ReadError {
            path: path.to_path_buf(),
            problem: self,
        }
    }
}

impl From<io::Error> for ReadProblem {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::NotFound,
            io::ErrorKind::PermissionDenied => Self::PermissionDenied,
            _ => Self::Io(error),
        }
    }
}

/// An image that could not be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// The file system refused.
    #[error("image could not be written ({source}): `{}`", shown(path))]
    Io {
        /// The target.
        path: PathBuf,
        /// What the system answered.
        source: io::Error,
    },
    /// A side longer than NIfTI-1 can say.
    #[error(
        "shape {shape} is too large for NIfTI-1 (32767 a side): `{}`",
        shown(path)
    )]
    TooLarge {
        /// The target.
        path: PathBuf,
        /// The shape.
        shape: VoxelShape,
    },
    /// A name that is neither `.nii` nor `.nii.gz`.
    #[error("name must end in .nii or .nii.gz: `{}`", shown(path))]
    Name {
        /// The target.
        path: PathBuf,
    },
}
