//! Whether a volume can be a T1 scan of a head: its geometry, and whether its values are grey values.
//!
//! Label maps and masks lie beside scans in most cohorts and are as large as scans; given as one by mistake, they would
//! register well and give an age. They are told by their neighbors: labels are the same over whole regions, grey values
//! hardly ever are, because of noise. The contrast itself (T1 or T2) is not judged here.

use super::affine::VOXEL_SIZE_MM;
use super::error::ReadProblem;
use super::{Scan, ScanHeader};
use crate::volume::Volume;

const EXTENT_MM: std::ops::RangeInclusive<f64> = 100.0..=600.0;
const MIN_SIDE: usize = 8;
/// Voxels larger than this, or this much longer than wide, make predictions unreliable.
const LOW_RESOLUTION_MM: f64 = 3.0;
const MAX_ANISOTROPY: f64 = 3.0;
/// Masks and simple segmentations have at most so many values.
const FEW_VALUES: usize = 8;
/// Share of the commonest value above which nothing else is there.
const NEARLY_ALL: f64 = 0.995;
/// Share of equal neighbors outside the background above which values are labels: 0.1 to 0.25 in T1 scans of 1 and
/// 2 mm, 0.7 in maps of 145 labels at 2 mm.
const LABEL_MAP_SHARE: f64 = 0.5;
/// Voxels from which the commonest value is found.
const N_SAMPLES: usize = 1 << 16;

/// Whether this can be a T1 scan of a head.
///
/// # Errors
/// Why it cannot: a slice, a field of view or voxels that are no head's, a constant image, a mask or a label map.
pub fn check_t1(scan: &Scan) -> Result<(), ReadProblem> {
    check_geometry(&scan.header)?;
    check_values(&scan.volume)
}

/// The part of [`check_t1`] that needs no voxels.
pub(super) fn check_geometry(header: &ScanHeader) -> Result<(), ReadProblem> {
    let shape = header.stored_shape;
    if shape.0.contains(&1) {
        return Err(ReadProblem::SingleSlice { shape });
    }
    let sizes = header.world_from_stored.column_norms();
    for (index, (side, found_mm)) in shape.0.into_iter().zip(sizes).enumerate() {
        let axis = index + 1;
        if !VOXEL_SIZE_MM.contains(&found_mm) {
            return Err(ReadProblem::VoxelSize { axis, found_mm });
        }
        let found_mm = found_mm * side as f64;
        if side < MIN_SIDE || found_mm < *EXTENT_MM.start() {
            return Err(ReadProblem::FieldOfViewSmall { axis, found_mm });
        }
        if found_mm > *EXTENT_MM.end() {
            return Err(ReadProblem::FieldOfViewLarge { axis, found_mm });
        }
    }
    Ok(())
}

/// A warning for scans that are coarser than what the models have seen.
pub(super) fn low_resolution(header: &ScanHeader) -> Option<String> {
    let [x, y, z] = header.world_from_stored.column_norms();
    let (largest, smallest) = (x.max(y).max(z), x.min(y).min(z));
    let low = largest > LOW_RESOLUTION_MM || largest > MAX_ANISOTROPY * smallest;
    low.then(|| format!("low resolution ({x:.1}×{y:.1}×{z:.1} mm); predictions are unreliable"))
}

/// The part of [`check_t1`] that looks at the voxels.
pub(super) fn check_values(volume: &Volume) -> Result<(), ReadProblem> {
    let values = volume.values();
    let Some(&first) = values.first() else {
        return Err(ReadProblem::SingleSlice {
            shape: volume.shape(),
        });
    };
    if values.iter().all(|value| *value == first) {
        return Err(ReadProblem::Constant { value: first });
    }
    let background = commonest(values);
    let shares = Shares::of(volume, background);
    if let Some(count) = few_values(values) {
        return Err(ReadProblem::FewValues { count });
    }
    if shares.background > NEARLY_ALL {
        return Err(ReadProblem::NearlyConstant {
            percent: 100.0 * shares.background,
        });
    }
    if shares.equal_neighbors > LABEL_MAP_SHARE {
        return Err(ReadProblem::LabelMap {
            percent: 100.0 * shares.equal_neighbors,
        });
    }
    Ok(())
}

/// The commonest value among evenly spread voxels: the background of most volumes.
fn commonest(values: &[f32]) -> f32 {
    let step = (values.len() / N_SAMPLES).max(1);
    let mut samples: Vec<f32> = values.iter().copied().step_by(step).collect();
    samples.sort_by(f32::total_cmp);
    let runs = samples.chunk_by(|a, b| a == b);
    runs.max_by_key(|run| run.len())
        .and_then(|run| run.first())
        .copied()
        .unwrap_or(0.0)
}

/// The number of distinct values if it is small.
fn few_values(values: &[f32]) -> Option<usize> {
    let mut distinct = Vec::with_capacity(FEW_VALUES);
    for value in values {
        if !distinct.contains(value) {
            if distinct.len() == FEW_VALUES {
                return None;
            }
            distinct.push(*value);
        }
    }
    Some(distinct.len())
}

/// What tells grey values from labels.
#[derive(Clone, Copy, Debug)]
struct Shares {
    /// Of background voxels among all.
    background: f64,
    /// Of equal pairs among neighbors along x that are not both background.
    equal_neighbors: f64,
}

impl Shares {
    fn of(volume: &Volume, background: f32) -> Self {
        let (mut n_background, mut equal, mut pairs) = (0_u64, 0_u64, 0_u64);
        for row in volume.values().chunks_exact(volume.shape().0[0]) {
            let (mut equal_in_row, mut pairs_in_row) = (0_u32, 0_u32);
            for (a, b) in row.iter().zip(&row[1..]) {
                let counts = *a != background || *b != background;
                pairs_in_row += u32::from(counts);
                equal_in_row += u32::from(counts && a == b);
            }
            let dark = row.iter().map(|value| u32::from(*value == background));
            n_background += u64::from(dark.sum::<u32>());
            equal += u64::from(equal_in_row);
            pairs += u64::from(pairs_in_row);
        }
        Self {
            background: n_background as f64 / volume.values().len().max(1) as f64,
            equal_neighbors: equal as f64 / pairs.max(1) as f64,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::tests::data;
    use super::super::{read_scan, read_t1_scan, write_nifti};
    use super::*;
    use crate::space::{Affine, VoxelShape};

    fn volume(value: impl Fn(usize) -> f32) -> Volume {
        let shape = VoxelShape([40, 30, 30]);
        let values = (0..shape.n_voxels()).map(value).collect();
        Volume::new(values, shape, Affine::grid([5.0; 3], [0.0; 3])).unwrap()
    }

    fn check(volume: &Volume, words: &str) {
        let message = check_values(volume).expect_err(words).to_string();
        assert!(message.contains(words), "{message}");
    }

    #[test]
    fn values_that_are_no_grey_values_are_refused_with_the_reason() {
        check(&volume(|_| 3.0), "constant image");
        check(
            &volume(|i| f32::from(u8::from(i % 40 > 20))),
            "looks like a mask: 2 distinct values",
        );
        check(
            &volume(|i| if i < 100 { i as f32 } else { 0.0 }),
            "nearly constant",
        );
        check(
            &volume(|i| if i % 40 < 8 { 0.0 } else { (i / 8 % 64) as f32 }),
            "looks like a label map",
        );
    }

    #[test]
    fn noisy_and_normalized_values_are_grey_values() {
        let noise = |i: usize| (i.wrapping_mul(2_654_435_761) >> 7 & 1023) as f32;
        check_values(&volume(noise)).unwrap();
        check_values(&volume(|i| noise(i) / 512.0 - 1.0)).unwrap();
        // A stripped brain: most of the volume is background.
        check_values(&volume(|i| if i % 40 < 30 { 0.0 } else { noise(i) })).unwrap();
    }

    #[test]
    fn slices_and_odd_fields_of_view_are_refused_before_the_voxels_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.nii");
        let cases = [
            ([200, 200, 1], [1.0; 3], "single slice"),
            (
                [200, 200, 22],
                [1.0; 3],
                "field of view too small (22 mm along axis 3)",
            ),
            (
                [200, 200, 9],
                [1.0, 1.0, 24.0],
                "voxel size / resolution is 24.000 mm along axis 3",
            ),
            (
                [90, 90, 90],
                [1.0, 1.0, 9.0],
                "field of view too small (90 mm along axis 1)",
            ),
            (
                [90, 90, 90],
                [7.0; 3],
                "field of view too large (630 mm along axis 1)",
            ),
        ];
        for (shape, sizes, words) in cases {
            let shape = VoxelShape(shape);
            let volume = Volume::new(
                vec![0.0; shape.n_voxels()],
                shape,
                Affine::grid(sizes, [0.0; 3]),
            );
            write_nifti(&path, &volume.unwrap(), "").unwrap();
            let message = read_t1_scan(&path).unwrap_err().to_string();
            assert!(
                message.contains(words) && message.ends_with("a.nii`"),
                "{message}"
            );
            check_t1(&read_scan(&path).unwrap()).unwrap_err();
        }
    }

    #[test]
    fn real_scans_are_accepted_and_their_label_maps_refused() {
        let mut scans: Vec<_> = data("mri/adult_1mm/pycortex_S1_T1w.nii.gz")
            .into_iter()
            .collect();
        scans.push(
            Path::new(env!("CARGO_MANIFEST_DIR"))
                .join("../assets/mni_icbm152_t1_tal_nlin_sym_09c_uint8.nii.gz"),
        );
        let subjects = [
            "012-HH-1211",
            "014-HH-1236",
            "015-HH-1258",
            "048-HH-1326",
            "049-HH-1358",
        ];
        for subject in subjects {
            scans.extend(data(&format!("mri/ixi/IXI{subject}-T1.nii.gz")));
            if let Some(labels) = data(&format!("mri/ixi/IXI{subject}-DLMUSE.nii.gz")) {
                let message = read_t1_scan(&labels).unwrap_err().to_string();
                assert!(message.contains("looks like a label map"), "{message}");
                eprintln!("{message}");
            }
        }
        for path in scans {
            let scan = read_t1_scan(&path).unwrap();
            let share = Shares::of(&scan.volume, commonest(scan.volume.values())).equal_neighbors;
            eprintln!(
                "{path:?}: {:.1} % equal neighbors, {:?}",
                100.0 * share,
                scan.header.warnings
            );
            assert!(share < 0.6 * LABEL_MAP_SHARE, "{path:?}: {share}");
        }
    }
}
