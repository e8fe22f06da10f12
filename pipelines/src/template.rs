//! The template that every scan is registered to: ICBM 152 2009c nonlinear symmetric, T1 and brain mask, 1 mm.
//!
//! Both files are compiled into the program (origin and licence: `assets/README.md`) and decoded once per process.
//! Their world is the space called MNI everywhere here.

use std::io::Read as _;
use std::panic::resume_unwind;
use std::sync::OnceLock;
use std::thread::Builder;

use flate2::read::GzDecoder;

use crate::error::Error;
use crate::qc::TissuePoints;
use crate::register::TemplateLevels;
use crate::space::{Affine, VoxelShape};
use crate::volume::{Grid, Mask, Volume};

const T1_FILE: &[u8] = include_bytes!("../../assets/mni_icbm152_t1_tal_nlin_sym_09c_uint8.nii.gz");
const MASK_FILE: &[u8] = include_bytes!("../../assets/mni_icbm152_t1_tal_nlin_sym_09c_mask.nii.gz");

/// The grid of both files.
const SHAPE: VoxelShape = VoxelShape([193, 229, 193]);
const ORIGIN_MM: [f64; 3] = [-96.0, -132.0, -78.0];
/// Both files keep their voxels right after the NIfTI-1 header and the four bytes that say "no extension".
const VOXELS_AT: usize = 352;

/// The reference head.
#[derive(Debug)]
pub struct Template {
    /// T1-weighted average of 152 adults, whole head, RAS+, 0–255.
    pub t1: Volume,
    /// Its brain mask on the same grid.
    pub mask: Mask,
    /// Hash of both files; part of every cache key.
    pub hash: blake3::Hash,
    levels: OnceLock<TemplateLevels>,
    tissues: OnceLock<TissuePoints>,
}

impl Template {
    /// What registration needs of the template, made at first use.
    pub(crate) fn levels(&self) -> &TemplateLevels {
        self.levels
            .get_or_init(|| TemplateLevels::new(&self.t1, &self.mask))
    }

    /// What quality control needs of it, made at first use.
    pub(crate) fn tissues(&self) -> &TissuePoints {
        self.tissues
            .get_or_init(|| TissuePoints::new(&self.t1, &self.mask))
    }
}

/// The embedded template, decoded at first use.
///
/// # Errors
/// [`Error::Template`] if the embedded files are not what they should be.
pub fn template() -> Result<&'static Template, Error> {
    static TEMPLATE: OnceLock<Result<Template, String>> = OnceLock::new();
    let decoded = TEMPLATE.get_or_init(decode);
    decoded.as_ref().map_err(|problem| Error::Template {
        problem: problem.clone(),
    })
}

/// [`Template::hash`], without decoding anything.
pub fn template_hash() -> blake3::Hash {
    static HASH: OnceLock<blake3::Hash> = OnceLock::new();
    *HASH.get_or_init(|| {
        blake3::Hasher::new()
            .update(T1_FILE)
            .update(MASK_FILE)
            .finalize()
    })
}

fn decode() -> Result<Template, String> {
    let decode_mask = || -> Result<Vec<bool>, String> {
        // 16-bit little-endian, 0 or 255.
        let stored = voxels(MASK_FILE, 2)?;
        Ok(stored.chunks_exact(2).map(|raw| raw != [0, 0]).collect())
    };
    let decode_t1 = || -> Result<Vec<f32>, String> {
        Ok(voxels(T1_FILE, 1)?.into_iter().map(f32::from).collect())
    };
    // Both at once, since every process waits for them; not on rayon's threads, of which one that waits may take up a scan.
    let (t1, mask) = std::thread::scope(|scope| {
        let thread = Builder::new().name("template".into());
        let mask = thread.spawn_scoped(scope, decode_mask);
        let t1 = decode_t1();
        let mask = mask.map_or_else(
            |_| decode_mask(),
            |thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic)),
        );
        (t1, mask)
    });
    let (t1, mask) = (t1?, mask?);
    let world_from_voxel = Affine::grid([1.0; 3], ORIGIN_MM);
    Ok(Template {
        t1: Grid::new(t1, SHAPE, world_from_voxel).map_err(|error| error.to_string())?,
        mask: Grid::new(mask, SHAPE, world_from_voxel).map_err(|error| error.to_string())?,
        hash: template_hash(),
        levels: OnceLock::new(),
        tissues: OnceLock::new(),
    })
}

/// The voxels of one of the two files, whose layout is known.
fn voxels(file: &[u8], bytes_per_voxel: usize) -> Result<Vec<u8>, String> {
    let expected = VOXELS_AT + SHAPE.n_voxels() * bytes_per_voxel;
    let mut content = Vec::with_capacity(expected);
    GzDecoder::new(file)
        .read_to_end(&mut content)
        .map_err(|error| error.to_string())?;
    if content.len() != expected {
        return Err(format!("{} bytes, expected {expected}", content.len()));
    }
    Ok(content.split_off(VOXELS_AT))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn the_embedded_files_are_what_the_scan_reader_reads() {
        let assets = Path::new(env!("CARGO_MANIFEST_DIR")).join("../assets");
        let read = |name| crate::format::read_scan(&assets.join(name)).unwrap().volume;
        let template = template().unwrap();
        let t1 = read("mni_icbm152_t1_tal_nlin_sym_09c_uint8.nii.gz");
        assert_eq!(t1, template.t1);
        let mask = read("mni_icbm152_t1_tal_nlin_sym_09c_mask.nii.gz");
        assert_eq!(mask.map(|value| *value > 0.5), template.mask);
    }

    #[test]
    fn the_brain_lies_where_the_recipes_expect_it() {
        let template = template().unwrap();
        let (mut low, mut high) = ([f64::MAX; 3], [f64::MIN; 3]);
        let [nx, ny, _] = SHAPE.0;
        for (i, _) in template
            .mask
            .values()
            .iter()
            .enumerate()
            .filter(|(_, inside)| **inside)
        {
            let voxel = [i % nx, i / nx % ny, i / nx / ny].map(|v| v as f64);
            let world = template.mask.world_from_voxel().apply(voxel);
            for axis in 0..3 {
                low[axis] = low[axis].min(world[axis]);
                high[axis] = high[axis].max(world[axis]);
            }
        }
        // reference/preprocessing.md §7: x ±72, y −107…73, z −72…82.
        assert_eq!((low, high), ([-72.0, -107.0, -72.0], [72.0, 73.0, 82.0]));
    }
}
