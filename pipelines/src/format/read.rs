//! From a path to a header, and on to a scan.
//!
//! Everything that the header alone can refuse is refused before a voxel is read or memory is taken for one. The
//! voxels come from [`super::content`] slab by slab and are converted and turned at once ([`super::arriving`]), so that the
//! raw bytes of the whole volume are never in memory.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use super::arriving::{Arriving, SLAB};
use super::content::Content;
use super::detect::{HeaderKind, MGH_BYTES, NIFTI2_BYTES, detect};
use super::error::{ReadError, ReadProblem};
use super::fields::Fields;
use super::header::{Analyze, ByteOrder, NiftiHeader, Storage};
use super::layout::Layout;
use super::mgh::MghHeader;
use super::samples::Decoder;
use super::{ReadOptions, Scan, ScanHeader, affine, extensions, name};
use crate::orient::Reorientation;

/// Deflate makes at most so many bytes of one.
const DEFLATE_LIMIT: u64 = 1032;

/// Hears which share of the voxels has been read, and says whether to go on.
pub(super) type OnSlab<'a> = dyn FnMut(f32) -> ControlFlow<()> + 'a;

/// A scan file whose header is understood and whose voxels come next.
pub(super) struct OpenScan {
    pub(super) header: ScanHeader,
    options: ReadOptions,
    layout: Layout,
    decoder: Decoder,
    /// Byte order of the header extensions, where there may be some before the voxels.
    extensions: Option<ByteOrder>,
    voxels: Content,
    voxels_path: PathBuf,
    /// Hash of the header file, where the voxels are in another one.
    header_hash: Option<blake3::Hash>,
}

/// A header of either family.
enum FileHeader {
    Nifti(NiftiHeader),
    Mgh(MghHeader),
}

impl OpenScan {
    /// Opens a scan file by its path; of a pair, by that of either file.
    ///
    /// # Errors
    /// All that the header and the length of the file give away.
    pub(super) fn open(path: &Path, options: ReadOptions) -> Result<Self, ReadError> {
        let header_path = if name::is_image(path) && path.is_file() {
            let found = name::companion(path, "hdr");
            found.ok_or_else(|| ReadProblem::NoHeader.at(path))?
        } else {
            path.to_path_buf()
        };
        let in_header = |problem: ReadProblem| problem.at(&header_path);
        let mut content = Content::open(&header_path).map_err(in_header)?;
        let analyze = match (name::is_header(&header_path), options.analyze) {
            (true, true) => Analyze::Accepted,
            (true, false) => Analyze::Offered,
            (false, _) => Analyze::Impossible,
        };
        let header = parse(&mut content, analyze).map_err(in_header)?;
        let storage = match &header {
            FileHeader::Nifti(nifti) => nifti.storage,
            FileHeader::Mgh(_) => Storage::Single,
        };
        let (voxels, voxels_path, header_hash) = match storage {
            Storage::Single => (content, header_path.clone(), None),
            Storage::Pair => {
                let image =
                    name::is_header(&header_path).then(|| name::companion(&header_path, "img"));
                let image = image
                    .flatten()
                    .ok_or_else(|| in_header(ReadProblem::NoImage))?;
                let voxels = Content::open(&image).map_err(|problem| problem.at(&image))?;
                // What follows in the header file are extensions, no reason for a warning.
                let (hash, _) = content.finish().map_err(in_header)?;
                (voxels, image, Some(hash))
            }
        };
        let judged = match header {
            FileHeader::Nifti(nifti) => Judged::of_nifti(nifti, voxels.is_gzipped()),
            FileHeader::Mgh(mgh) => Ok(Judged::of_mgh(mgh, voxels.is_gzipped())),
        };
        let judged = judged.map_err(in_header)?;
        Ok(Self {
            header: judged.header,
            options,
            layout: judged.layout,
            decoder: judged.decoder,
            extensions: judged.extensions,
            voxels,
            voxels_path,
            header_hash,
        })
    }

    /// The number of the volume to read.
    ///
    /// # Errors
    /// Several volumes and no choice, or a choice that is not there.
    pub(super) fn chosen_volume(&self) -> Result<usize, ReadProblem> {
        let count = self.layout.n_volumes;
        match self.options.volume {
            Some(asked) if asked >= count => Err(ReadProblem::NoSuchVolume { asked, count }),
            Some(asked) => Ok(asked),
            None if count > 1 => Err(ReadProblem::SeveralVolumes {
                count,
                called: self.layout.stored.name(),
                rank: self.layout.rank,
            }),
            None => Ok(0),
        }
    }

    /// Reads the voxels and turns them to RAS+.
    ///
    /// # Errors
    /// Several volumes, truncated or corrupt data, hardly any finite voxel, no memory.
    pub(super) fn into_scan(self) -> Result<Scan, ReadError> {
        self.into_scan_watched(&mut |_| ControlFlow::Continue(()))
    }

    /// As [`OpenScan::into_scan`]; `on_slab` hears which share of the voxels is there, and may stop the reading.
    ///
    /// # Errors
    /// As [`OpenScan::into_scan`], and [`ReadProblem::Stopped`].
    pub(super) fn into_scan_watched(mut self, on_slab: &mut OnSlab<'_>) -> Result<Scan, ReadError> {
        let path = std::mem::take(&mut self.voxels_path);
        self.into_scan_unnamed(on_slab)
            .map_err(|problem| problem.at(&path))
    }

    fn into_scan_unnamed(mut self, on_slab: &mut OnSlab<'_>) -> Result<Scan, ReadProblem> {
        let volume = self.chosen_volume()?;
        self.check_length()?;
        let place = self.header.world_from_stored;
        let reorientation = Reorientation::to_ras_plus(self.layout.shape, place);
        let values = self.read_voxels(volume, &reorientation, on_slab)?;
        let count = self.layout.n_volumes;
        if count > 1 {
            let warning = format!("volume {volume} of 0 to {} was read", count - 1);
            self.header.warnings.push(warning);
        }
        let (voxels_hash, warnings) = self.voxels.finish()?;
        self.header.warnings.extend(warnings);
        let bytes_hash = match self.header_hash {
            None => voxels_hash,
            Some(header_hash) => {
                let mut hasher = blake3::Hasher::new();
                hasher
                    .update(header_hash.as_bytes())
                    .update(voxels_hash.as_bytes())
                    .finalize()
            }
        };
        let volume = reorientation
            .ras_grid(values)
            .ok_or(ReadProblem::AffineSingular)?;
        Ok(Scan {
            header: self.header,
            volume,
            reorientation,
            file_hash: self.options.hash_of(bytes_hash),
        })
    }

    /// Compares what the header declares with the length of the file.
    fn check_length(&self) -> Result<(), ReadProblem> {
        let std::ops::Range {
            start,
            end: expected,
        } = self.layout.span_of(0);
        let found = self.voxels.file_bytes();
        if self.voxels.is_gzipped() {
            if expected > found.saturating_mul(DEFLATE_LIMIT) {
                return Err(ReadProblem::DeclaresTooMuch {
                    expected,
                    compressed: found,
                });
            }
        } else if start > found {
            return Err(ReadProblem::VoxOffset {
                found: start as f64,
                expected: PAST_THE_END,
            });
        } else if expected > found {
            return Err(ReadProblem::Truncated { found, expected });
        }
        Ok(())
    }

    /// Reads one volume, in RAS+ order.
    fn read_voxels(
        &mut self,
        volume: usize,
        reorientation: &Reorientation,
        on_slab: &mut OnSlab<'_>,
    ) -> Result<Vec<f32>, ReadProblem> {
        let n_voxels = self.layout.shape.n_voxels();
        let std::ops::Range { start, end } = self.layout.span_of(volume);
        self.skip_to_voxels()?;
        self.skip_volumes(start, end)?;
        let (mut arriving, mut not_finite) = (Arriving::new(reorientation), 0);
        let bytes = self.layout.sample_type.n_bytes();
        let mut slab = vec![0; arriving.n_at_once(bytes) * bytes];
        while arriving.n_missing() > 0 {
            let missing = arriving.n_missing() * bytes;
            let n = missing.min(slab.len());
            let raw = &mut slab[..n];
            if self.voxels.read(raw)? < raw.len() {
                return Err(self.truncated(end));
            }
            not_finite += arriving.take(raw, &self.decoder)?;
            let share = 1.0 - arriving.n_missing() as f32 / n_voxels as f32;
            if on_slab(share).is_break() {
                return Err(ReadProblem::Stopped);
            }
        }
        let values = arriving.finish()?;
        // Those after it count as much: their checksum is that of the whole file.
        self.skip_volumes(end, end)?;
        if (n_voxels - not_finite) * 100 < n_voxels {
            return Err(ReadProblem::NoFiniteVoxels);
        }
        if not_finite > 0 {
            self.header.warnings.push(format!(
                "{not_finite} voxels are NaN or infinite; taken as 0"
            ));
        }
        Ok(values)
    }

    /// Passes over what lies between the header and the first voxel, with a look at the extensions.
    fn skip_to_voxels(&mut self) -> Result<(), ReadProblem> {
        let start = self.layout.start;
        let mut gap = Vec::new();
        let mut scratch = vec![0; 1 << 12];
        while self.voxels.delivered() < start {
            let n = (start - self.voxels.delivered()).min(scratch.len() as u64) as usize;
            if self.voxels.read(&mut scratch[..n])? < n {
                return Err(ReadProblem::VoxOffset {
                    found: start as f64,
                    expected: PAST_THE_END,
                });
            }
            gap.extend_from_slice(&scratch[..n]);
        }
        if let Some(order) = self.extensions {
            let warning = extensions::warning(&gap, order);
            self.header.warnings.extend(warning);
        }
        Ok(())
    }

    /// Passes over volumes that nobody asked for, up to this byte of `end` in all.
    fn skip_volumes(&mut self, to: u64, end: u64) -> Result<(), ReadProblem> {
        if self.voxels.delivered() >= to {
            return Ok(());
        }
        let mut scratch = vec![0; SLAB];
        while self.voxels.delivered() < to {
            let n = (to - self.voxels.delivered()).min(SLAB as u64) as usize;
            if self.voxels.read(&mut scratch[..n])? < n {
                return Err(self.truncated(end));
            }
        }
        Ok(())
    }

    fn truncated(&self, expected: u64) -> ReadProblem {
        ReadProblem::Truncated {
            found: self.voxels.delivered(),
            expected,
        }
    }
}

/// What a header says, found plausible.
struct Judged {
    header: ScanHeader,
    layout: Layout,
    decoder: Decoder,
    extensions: Option<ByteOrder>,
}

impl Judged {
    fn of_nifti(nifti: NiftiHeader, gzipped: bool) -> Result<Self, ReadProblem> {
        let mut warnings = Vec::new();
        let layout = Layout::of(&nifti, &mut warnings)?;
        let decoder = Decoder::of(&nifti, layout.sample_type)?;
        let (world_from_stored, affine_source) = affine::choose(&nifti, &layout, &mut warnings)?;
        let header = ScanHeader {
            format: nifti.format(),
            gzipped,
            datatype: layout.sample_type.name(),
            stored_shape: layout.shape,
            world_from_stored,
            affine_source,
            n_volumes: layout.n_volumes,
            description: nifti.description,
            warnings,
        };
        Ok(Self {
            header,
            layout,
            decoder,
            extensions: (nifti.storage == Storage::Single).then_some(nifti.order),
        })
    }

    fn of_mgh(mgh: MghHeader, gzipped: bool) -> Self {
        let header = ScanHeader {
            format: "MGH",
            gzipped,
            datatype: mgh.layout.sample_type.name(),
            stored_shape: mgh.layout.shape,
            world_from_stored: mgh.world_from_stored,
            affine_source: mgh.affine_source,
            n_volumes: mgh.layout.n_volumes,
            description: String::new(),
            warnings: mgh.warnings,
        };
        Self {
            header,
            layout: mgh.layout,
            decoder: mgh.decoder,
            extensions: None,
        }
    }
}

const PAST_THE_END: &str = "which is past the end of the file";

/// Reads as many bytes as the header takes, and no more.
fn parse(content: &mut Content, analyze: Analyze) -> Result<FileHeader, ReadProblem> {
    let mut head = [0; NIFTI2_BYTES];
    let mut n = content.read(&mut head[..MGH_BYTES])?;
    let kind = detect(&head[..n], content.is_gzipped())?;
    let expected = kind.n_bytes();
    n += content.read(&mut head[n..expected])?;
    if n < expected {
        return Err(ReadProblem::TruncatedHeader { found: n, expected });
    }
    let head = &head[..n];
    match kind {
        HeaderKind::Nifti1(order) => {
            NiftiHeader::parse_1(Fields { head, order }, analyze).map(FileHeader::Nifti)
        }
        HeaderKind::Nifti2(order) => {
            NiftiHeader::parse_2(Fields { head, order }).map(FileHeader::Nifti)
        }
        HeaderKind::Mgh => MghHeader::parse(head).map(FileHeader::Mgh),
    }
}

#[cfg(test)]
mod tests {
    use super::super::read_scan;
    use super::*;

    #[test]
    fn what_is_no_file_is_refused_in_words() {
        let folder = tempfile::tempdir().unwrap();
        let message = |path: &Path| read_scan(path).unwrap_err().to_string();
        assert!(message(folder.path()).starts_with("is a directory"));
        assert!(message(&folder.path().join("new\nline.nii")).starts_with("file not found: `"));
        assert!(!message(&folder.path().join("new\nline.nii")).contains('\n'));
        assert!(message(Path::new("/dev/null")).starts_with("not a regular file"));
    }

    #[test]
    fn a_watched_reading_tells_its_share_and_can_be_stopped() {
        use super::super::{read_scan_watched, write_nifti};
        use crate::space::{Affine, VoxelShape};

        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.nii");
        // 640 kB of f32: three slabs.
        let shape = VoxelShape([40, 40, 100]);
        let values = (0..shape.n_voxels()).map(|i| i as f32).collect();
        let volume = crate::Volume::new(values, shape, Affine::identity()).unwrap();
        write_nifti(&path, &volume, "").unwrap();
        let mut shares = Vec::new();
        let options = ReadOptions::default();
        let scan = read_scan_watched(&path, options, &mut |share| {
            shares.push(share);
            ControlFlow::Continue(())
        });
        assert_eq!(scan.unwrap().volume, volume);
        assert!(shares.len() >= 3 && shares.is_sorted(), "{shares:?}");
        assert_eq!(shares.last(), Some(&1.0));
        let stopped = read_scan_watched(&path, options, &mut |_| ControlFlow::Break(()));
        assert!(stopped.unwrap_err().to_string().contains("stopped"));
    }
}
