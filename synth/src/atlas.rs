//! What all heads are made of: soft maps of tissues and regions of the template, at 2 mm.
//!
//! Fluid and white matter are compiled in (`assets/tissue_2mm.bin.gz`, made by `tools/synth_tissue_maps.py` from the
//! ICBM 152 templates); grey matter is what they leave of the template's brain mask. The rest is derived once per
//! process from the template's T1: brightness that tissues alone don't explain, and everything outside the brain.

use std::io::Read as _;
use std::sync::OnceLock;

use brainage_pipelines::template::{Template, template};
use flate2::read::GzDecoder;
use nalgebra::{Matrix3, Vector3};

use crate::error::Error;
use crate::field::{Lattice, STEP_MM, blur, convolve, distance};
use crate::poisson::PoissonSolver;
use crate::regions::{LV, N_REGIONS, SULCAL, share_out};

const TISSUE_FILE: &[u8] = include_bytes!("../assets/tissue_2mm.bin.gz");
/// The file's number for "nothing but this tissue".
const TISSUE_LEVELS: f32 = 31.0;
/// The template at every second voxel.
const HALF_SHAPE: [usize; 3] = [97, 115, 97];
const HALF_ORIGIN_MM: [f32; 3] = [-96.0, -132.0, -78.0];
/// Slices that continue the neck below the template.
const NECK_SLICES: usize = 20;
/// The brain and at least 8 mm around it.
const BOX_OFFSET: [usize; 3] = [8, 8, 0];
const BOX_SHAPE: [usize; 3] = [81, 100, 84];
/// Lanes of a voxel's regions, padded to a power of two.
pub(crate) const LANES: usize = 16;
/// Milliliters in a voxel.
pub(crate) const VOXEL_ML: f64 = 8e-3;

/// A voxel of the brain, as the fit of the gains sees it.
#[derive(Clone, Debug)]
pub(crate) struct BrainVoxel {
    /// Position in the box.
    pub(crate) index: usize,
    /// How much of the voxel belongs to each region.
    pub(crate) regions: [f32; LANES],
    /// The same, slightly blurred: gains act through it.
    pub(crate) soft: [f32; LANES],
    /// How much of the sulcal gain acts here: cisterns widen less than sulci.
    pub(crate) sulcal_share: f32,
}

/// Maps and fields shared by all heads.
pub(crate) struct Atlas {
    /// The template and the continued neck.
    pub(crate) head: Lattice,
    /// Fluid, grey matter, white matter, residual brightness; on `head`.
    pub(crate) tissue: Vec<[f32; 4]>,
    /// Brightness outside the brain, white matter = 1; on `head`.
    pub(crate) outside: Vec<[f32; 1]>,
    /// The brain's box, in which anatomy is deformed.
    pub(crate) brain: Lattice,
    /// How much of each voxel of the box is brain.
    pub(crate) mask: Vec<f32>,
    /// The voxels of the box that are, or touch, brain.
    pub(crate) voxels: Vec<BrainVoxel>,
    /// Volumes of the regions in the template.
    pub(crate) volumes_ml: [f64; N_REGIONS],
    /// Distance to the lateral ventricles in mm; on the box.
    pub(crate) ventricle_distance_mm: Vec<f32>,
    /// Flow with a given divergence on the box.
    pub(crate) poisson: PoissonSolver,
}

/// The atlas, made at first use.
pub(crate) fn atlas() -> Result<&'static Atlas, Error> {
    static ATLAS: OnceLock<Result<Atlas, String>> = OnceLock::new();
    let template = template()?;
    let made = ATLAS.get_or_init(|| Atlas::new(template));
    made.as_ref().map_err(|problem| Error::TissueMaps {
        problem: problem.clone(),
    })
}

impl Atlas {
    fn new(template: &Template) -> Result<Self, String> {
        let t1 = half(template.t1.values(), template.t1.shape().0);
        let inside: Vec<f32> = template
            .mask
            .values()
            .iter()
            .map(|i| f32::from(*i))
            .collect();
        let mask = half(&inside, template.t1.shape().0);
        let tissue = read_tissue(&mask)?;
        let outside_1mm: Vec<f32> = template
            .t1
            .values()
            .iter()
            .zip(&inside)
            .map(|(t, i)| t * (1.0 - i))
            .collect();
        let (residual, white) = residual_brightness(&tissue, &t1, &mask)?;
        let outside: Vec<f32> = half(&outside_1mm, template.t1.shape().0)
            .iter()
            .map(|t| t / white)
            .collect();

        let shape = [HALF_SHAPE[0], HALF_SHAPE[1], HALF_SHAPE[2] + NECK_SLICES];
        let below = HALF_SHAPE[0] * HALF_SHAPE[1] * NECK_SLICES;
        let mut tissue_head = vec![[0.0; 4]; below];
        tissue_head.extend(
            tissue
                .iter()
                .zip(&residual)
                .map(|([c, g, w], r)| [*c, *g, *w, *r]),
        );
        let neck = continue_neck(&outside);
        let outside = neck
            .into_iter()
            .chain(outside)
            .map(|value| [value])
            .collect();
        let head = Lattice {
            shape,
            origin_mm: [
                HALF_ORIGIN_MM[0],
                HALF_ORIGIN_MM[1],
                HALF_ORIGIN_MM[2] - STEP_MM * NECK_SLICES as f32,
            ],
        };
        let brain = Lattice {
            shape: BOX_SHAPE,
            origin_mm: std::array::from_fn(|a| HALF_ORIGIN_MM[a] + STEP_MM * BOX_OFFSET[a] as f32),
        };
        let boxed = brain.cut(&tissue, HALF_SHAPE, BOX_OFFSET);
        Ok(Self {
            head,
            tissue: tissue_head,
            outside,
            ..Self::of_brain(brain, &boxed)
        })
    }

    /// What the box needs; the rest is left empty.
    fn of_brain(brain: Lattice, tissue: &[[f32; 3]]) -> Self {
        let mut regions = vec![[0.0; N_REGIONS]; brain.n_voxels()];
        brain.for_each(|i, at_mm| regions[i] = share_out(tissue[i], at_mm));
        let plane = |r: usize| regions.iter().map(|v| v[r]).collect::<Vec<f32>>();
        let mut soft = vec![[0.0; LANES]; regions.len()];
        for r in 0..N_REGIONS {
            for (lanes, value) in soft.iter_mut().zip(blur(&plane(r), brain.shape, 0.5)) {
                lanes[r] = value;
            }
        }
        let crowded = blur(&plane(SULCAL), brain.shape, 2.0);
        let mask: Vec<f32> = regions.iter().map(|v| v.iter().sum()).collect();
        let voxels = (0..regions.len())
            .filter(|i| soft[*i].iter().sum::<f32>() > 1e-3)
            .map(|index| BrainVoxel {
                index,
                regions: std::array::from_fn(|r| regions[index].get(r).copied().unwrap_or(0.0)),
                soft: soft[index],
                sulcal_share: 1.0 - 0.75 * ((crowded[index] - 0.3) / 0.35).clamp(0.0, 1.0),
            })
            .collect();
        let volumes_ml = std::array::from_fn(|r| {
            regions.iter().map(|v| f64::from(v[r])).sum::<f64>() * VOXEL_ML
        });
        let ventricle: Vec<bool> = regions.iter().map(|v| v[LV] >= 0.5).collect();
        let distances = distance(&ventricle, brain.shape);
        Self {
            head: brain,
            tissue: Vec::new(),
            outside: Vec::new(),
            brain,
            mask,
            voxels,
            volumes_ml,
            ventricle_distance_mm: distances.into_iter().map(|d| d * STEP_MM).collect(),
            poisson: PoissonSolver::new(brain.shape),
        }
    }
}

/// Every second voxel along each axis, after [1 2 1]/4.
fn half(values: &[f32], shape: [usize; 3]) -> Vec<f32> {
    let mut smooth = values.to_vec();
    for axis in 0..3 {
        smooth = convolve(&smooth, shape, axis, &[0.25, 0.5, 0.25]);
    }
    let [nx, ny, nz] = shape;
    let mut out = Vec::with_capacity(values.len() / 8 + 1);
    for z in (0..nz).step_by(2) {
        for y in (0..ny).step_by(2) {
            let row = nx * (y + ny * z);
            out.extend(smooth[row..row + nx].iter().step_by(2));
        }
    }
    out
}

/// Fluid, grey and white matter of every voxel.
fn read_tissue(mask: &[f32]) -> Result<Vec<[f32; 3]>, String> {
    let mut raw = Vec::new();
    GzDecoder::new(TISSUE_FILE)
        .read_to_end(&mut raw)
        .map_err(|error| error.to_string())?;
    if raw.len() != 2 * mask.len() {
        return Err(format!("{} bytes, expected {}", raw.len(), 2 * mask.len()));
    }
    let (fluid, white) = raw.split_at(mask.len());
    let share = |level: u8| f32::from(level) / TISSUE_LEVELS;
    let voxels = fluid.iter().zip(white).zip(mask);
    Ok(voxels
        .map(|((fluid, white), mask)| {
            let fluid = share(*fluid).min(*mask);
            let white = share(*white).min(mask - fluid);
            [fluid, mask - fluid - white, white]
        })
        .collect())
}

/// What the tissues don't explain of the T1's brightness, without the average's blurred edges, white matter = 1; and
/// the brightness of white matter itself.
fn residual_brightness(
    tissue: &[[f32; 3]],
    t1: &[f32],
    mask: &[f32],
) -> Result<(Vec<f32>, f32), String> {
    let (mut normal, mut right) = (Matrix3::<f64>::zeros(), Vector3::<f64>::zeros());
    let whole = |mask: f32| mask > 0.99;
    for ((tissue, t1), _) in tissue
        .iter()
        .zip(t1)
        .zip(mask)
        .filter(|(_, mask)| whole(**mask))
    {
        let row = Vector3::from(tissue.map(f64::from));
        normal += row * row.transpose();
        right += row * f64::from(*t1);
    }
    let levels = normal.try_inverse().ok_or("tissues are not three")? * right;
    let white = levels[2] as f32;
    let mut weights = Vec::with_capacity(t1.len());
    let mut weighted = Vec::with_capacity(t1.len());
    for ((tissue, t1), mask) in tissue.iter().zip(t1).zip(mask) {
        let expected: f32 = tissue
            .iter()
            .zip(levels.iter())
            .map(|(p, l)| p * *l as f32)
            .sum();
        let purity = tissue.iter().copied().fold(0.0, f32::max).powi(6) * mask;
        weights.push(purity);
        weighted.push(purity * (t1 - expected));
    }
    let (weights, weighted) = (
        blur(&weights, HALF_SHAPE, 1.0),
        blur(&weighted, HALF_SHAPE, 1.0),
    );
    let values = weighted.iter().zip(&weights).zip(mask);
    Ok((
        values
            .map(|((v, w), mask)| v / w.max(0.02) * mask / white)
            .collect(),
        white,
    ))
}

/// Slices below the lowest one: it goes on, more and more blurred and fading.
fn continue_neck(outside: &[f32]) -> Vec<f32> {
    let [nx, ny, _] = HALF_SHAPE;
    let lowest = &outside[..nx * ny];
    let mut neck = Vec::with_capacity(nx * ny * NECK_SLICES);
    for depth in (1..=NECK_SLICES).rev() {
        let depth_mm = STEP_MM * depth as f32;
        let sigma = (depth_mm * 0.19).min(3.0);
        let fade = (-depth_mm / 60.0).exp();
        neck.extend(
            blur(lowest, [nx, ny, 1], sigma)
                .iter()
                .map(|value| value * fade),
        );
    }
    neck
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::population::REGION_NAMES;

    #[test]
    fn regions_have_the_volumes_of_the_derivation() {
        let atlas = atlas().unwrap();
        // Made once by another program (NumPy, SciPy) from the same templates, ml.
        let expected = [
            22.5, 1.5, 335.0, 127.0, 160.0, 93.0, 28.0, 32.0, 13.6, 34.0, 623.0, 187.0, 31.0,
            194.0, 4.0,
        ];
        for (r, (found, expected)) in atlas.volumes_ml.iter().zip(expected).enumerate() {
            let name = REGION_NAMES.get(r).unwrap_or(&"fluid");
            assert!(
                (found / expected - 1.0).abs() < 0.06,
                "{name}: {found} ml, {expected} ml"
            );
        }
        let total: f64 = atlas.volumes_ml.iter().sum();
        assert!((total - 1887.0).abs() < 8.0, "{total}");
    }

    #[test]
    fn the_box_holds_the_whole_brain_with_room_around_it() {
        let atlas = atlas().unwrap();
        let [nx, ny, nz] = atlas.brain.shape;
        for (i, _) in atlas
            .mask
            .iter()
            .enumerate()
            .filter(|(_, mask)| **mask > 0.01)
        {
            let at = [i % nx, i / nx % ny, i / nx / ny];
            assert!(
                at[0] >= 4
                    && at[0] < nx - 4
                    && at[1] >= 4
                    && at[1] < ny - 4
                    && at[2] >= 3
                    && at[2] < nz - 3
            );
        }
    }
}
