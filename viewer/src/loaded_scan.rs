//! A scan file, or an entry of the cache, as it is read to be shown.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use brainage_pipelines::cache::{CacheEntry, CacheKey};
use brainage_pipelines::format::{ReadOptions, Scan, read_scan_watched};
use brainage_pipelines::{Affine, Volume};

use crate::image::grid::is_straight;
use crate::image::intensities::Intensities;
use crate::image::scene::Space;
use crate::image::window_level::Presets;
use crate::preparation::{Prepared, Preprocessing};

/// Darker than this share of the way from black to white is air and its noise.
const AIR: f32 = 0.1;

/// A scan ready to be shown.
#[derive(Clone, Debug)]
pub(crate) struct LoadedScan {
    /// Its values, on RAS+ axes.
    pub(crate) intensities: Intensities,
    /// Whose world the voxels lie in; cache entries lie in the template's.
    pub(crate) space: Space,
    /// Windows that suit it.
    pub(crate) presets: Presets,
    /// First and last voxel with something in it, along each axis.
    pub(crate) content: [[usize; 2]; 3],
    /// Of an entry of the cache: what it is part of.
    pub(crate) prepared: Option<Prepared>,
    /// Of an entry of the cache: the scan it was made from.
    pub(crate) made_from: Option<PathBuf>,
    /// What the file is: name and value of each property.
    pub(crate) facts: Vec<(&'static str, String)>,
    /// What is odd about the file.
    pub(crate) warnings: Vec<String>,
}

/// Why a scan cannot be shown.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct LoadFailure {
    /// What is wrong with which file.
    pub(crate) reason: String,
    /// What to do about it.
    pub(crate) hint: Option<&'static str>,
}

/// Reads a scan, with the key by which the cache may have what preprocessing made of it. `on_share` hears which share of
/// the file has been read, and may stop that.
///
/// # Errors
/// Why it cannot be shown.
pub(crate) fn load(
    path: &Path,
    preprocessing: Option<&Preprocessing>,
    on_share: &mut dyn FnMut(f32) -> ControlFlow<()>,
) -> Result<(LoadedScan, Option<CacheKey>), LoadFailure> {
    let is_entry = path.extension().is_some_and(|extension| extension == "vol");
    if is_entry {
        return Ok((load_entry(path)?, None));
    }
    let scan =
        read_scan_watched(path, ReadOptions::default(), on_share).map_err(|error| LoadFailure {
            reason: error.to_string(),
            hint: error.hint(),
        })?;
    let key = preprocessing.and_then(|how| how.key_of(&scan));
    let facts = facts_of(&scan);
    let presets = Presets::of(scan.volume.values());
    let scan = LoadedScan {
        content: content(&scan.volume, presets.auto.at_share(AIR)),
        presets,
        intensities: Intensities::of(scan.volume),
        space: Space::Scan,
        prepared: None,
        made_from: None,
        facts,
        warnings: scan.header.warnings,
    };
    Ok((scan, key))
}

/// The first and last slice along each axis of which a hundredth is brighter than `black`; all, where none is.
fn content(volume: &Volume, black: f32) -> [[usize; 2]; 3] {
    let shape = volume.shape().0;
    let mut counts = shape.map(|n| vec![0u32; n]);
    for (row, values) in volume.values().chunks_exact(shape[0].max(1)).enumerate() {
        let mut n = 0;
        for (value, count) in values.iter().zip(&mut counts[0]) {
            let is_bright = u32::from(*value > black);
            *count += is_bright;
            n += is_bright;
        }
        counts[1][row % shape[1]] += n;
        counts[2][row / shape[1]] += n;
    }
    [0, 1, 2].map(|axis| {
        let in_a_slice = volume.values().len() / shape[axis].max(1);
        let is_full = |n: &u32| *n as usize * 100 > in_a_slice;
        let first = counts[axis].iter().position(is_full);
        let last = counts[axis].iter().rposition(is_full);
        match (first, last) {
            (Some(first), Some(last)) => [first, last],
            _ => [0, shape[axis].saturating_sub(1)],
        }
    })
}

fn facts_of(scan: &Scan) -> Vec<(&'static str, String)> {
    let (header, volume) = (&scan.header, &scan.volume);
    let [x, y, z] = volume.voxel_size_mm();
    let compression = if header.gzipped { ", gzipped" } else { "" };
    let mut facts = vec![
        ("Format", format!("{}{compression}", header.format)),
        ("Data type", header.datatype.to_owned()),
        ("Voxels", volume.shape().to_string()),
        ("Voxel size", format!("{x:.2} × {y:.2} × {z:.2} mm")),
        ("Stored as", header.world_from_stored.orientation()),
    ];
    if !is_straight(&volume.world_from_voxel()) {
        facts.push(("Oblique", "shown along the axes of the world".to_owned()));
    }
    if header.is_synthetic() {
        facts.push(("Origin", "synthetic, made by a program".to_owned()));
    }
    facts
}

fn load_entry(path: &Path) -> Result<LoadedScan, LoadFailure> {
    let failed = |reason: String| LoadFailure {
        reason,
        hint: Some("preprocess the scan again: damaged entries are made anew"),
    };
    let entry = CacheEntry::open(path).map_err(|error| failed(error.to_string()))?;
    let prepared = Prepared::of_entry(&entry).map_err(failed)?;
    let header = entry.header;
    let made_from = PathBuf::from(&header.source);
    let mut facts = vec![
        ("Format", "entry of the cache".to_owned()),
        ("Recipe", header.recipe_name),
        ("Voxels", header.shape.to_string()),
        ("Made from", header.source),
        ("Quality control", header.qc.verdict.to_string()),
    ];
    facts.extend(header.qc.reasons.into_iter().map(|reason| ("QC", reason)));
    Ok(LoadedScan {
        content: content(&prepared.volume, prepared.presets.full.black()),
        presets: prepared.presets,
        intensities: Intensities::Real(Arc::clone(&prepared.volume)),
        space: if prepared.volume_world_from_scan == Affine::identity() {
            Space::Scan
        } else {
            Space::Template
        },
        prepared: Some(prepared),
        made_from: Some(made_from),
        facts,
        warnings: header.warnings,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_slices_are_told_from_those_with_something_in_them() {
        let shape = [10, 12, 8];
        let value = |i: usize| {
            let [x, y, z] = [i % 10, i / 10 % 12, i / 120];
            f32::from(u8::from(
                (2..6).contains(&x) && (3..12).contains(&y) && z == 4,
            )) * 9.0
        };
        let values = (0..960).map(value).collect();
        let shape = brainage_pipelines::VoxelShape(shape);
        let volume = Volume::new(values, shape, Affine::identity()).unwrap();
        assert_eq!(content(&volume, 1.0), [[2, 5], [3, 11], [4, 4]]);
        assert_eq!(content(&volume, 10.0), [[0, 9], [0, 11], [0, 7]]);
    }
}
