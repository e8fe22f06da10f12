//! N4 bias-field correction: the smooth unevenness that coils leave on a scan, estimated from the scan alone.
//!
//! Tustison et al. 2010, IEEE TMI 29(6): a scan is the true picture times a smooth field. In log intensities inside a
//! mask, what the field adds is what blurs the histogram. Each round sharpens the histogram (`sharpen`), fits a cubic
//! B-spline to what sharpening took away (`spline`), and adds it to the field; each level has twice the spans of the
//! one before and goes on until a round changes the field by less than the recipe's threshold.
//!
//! The field is estimated on every n-th voxel (means of blocks would mix tissues and blunt the histogram) and known
//! everywhere. Nothing is resampled here: [`BiasField::correct`] divides the scan's own voxels.

use crate::intensity::percentile;
use crate::mask::PlacedMask;
use crate::recipe::N4;
use crate::space::{Affine, VoxelShape};
use crate::volume::Volume;

mod sharpen;
mod spline;

use sharpen::Sharpener;
use spline::{AxisPlaces, Fit, Lattice};

/// Fewest voxels of the coarse grid that a field can be estimated from.
const FEWEST_VOXELS: usize = 1000;
/// Darker voxels than this share of the mask's median say nothing about the field: air, bone, flowing blood.
const DARKEST_SHARE: f32 = 0.01;
/// No coil is more uneven than this, in natural logarithms.
const LARGEST_LOG: f64 = 1.5;

/// A smooth field over the grid of a scan: the scan is the corrected scan times this field.
#[derive(Clone, Debug, PartialEq)]
pub struct BiasField {
    lattice: Lattice,
    shape: VoxelShape,
    world_from_voxel: Affine,
    voxel_from_world: Affine,
    /// The coarse grid that the lattice's domain is made of.
    places: [AxisPlaces; 3],
    /// Mean of the log field over the mask.
    mean_log: f64,
    /// Smallest and largest value of the log field over the mask, less the mean.
    range_log: [f64; 2],
    /// Rounds at each level.
    rounds: Vec<usize>,
}

/// Too few voxels of a scan are bright and inside the mask: so many are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooFewVoxels(pub usize);

/// Estimates the bias field of a scan from its voxels inside `mask`.
///
/// # Units
/// The field has no unit; its mean logarithm over the mask is 0, so that correction keeps the level of the scan.
/// # Errors
/// [`TooFewVoxels`] where there is nothing to estimate from.
/// # References
/// Tustison et al. 2010, IEEE TMI 29(6), 1310–1320; Sled et al. 1998, IEEE TMI 17(1), 87–97.
pub fn estimate_bias_field(
    scan: &Volume,
    mask: &PlacedMask<'_>,
    params: &N4,
) -> Result<BiasField, TooFewVoxels> {
    let samples = Samples::of(scan, mask, params.grid_mm)?;
    let sharpener = Sharpener::new(params);
    let mut lattice = Lattice::flat(1);
    let mut log_field = vec![0.0; samples.logs.len()];
    let mut rounds = Vec::new();
    for level in 0..params.levels {
        if level > 0 {
            lattice = lattice.refined();
        }
        let weights = lattice.weights(samples.box_places);
        let fit = Fit::new(&weights, &samples.known);
        let mut round = 0;
        while round < params.iterations {
            round += 1;
            let uncorrected = samples.logs.iter().zip(&log_field);
            let corrected: Vec<f64> = uncorrected.map(|(log, field)| log - field).collect();
            let Some(residuals) = sharpener.residuals(&corrected) else {
                break;
            };
            lattice.add(&fit.fit(&samples.on_box(&residuals)));
            let next = samples.values_of(&lattice, &weights);
            let change = change(&log_field, &next);
            log_field = next;
            if change < params.convergence {
                break;
            }
        }
        rounds.push(round);
    }
    let mean_log = log_field.iter().sum::<f64>() / log_field.len() as f64;
    let low = log_field.iter().copied().fold(f64::MAX, f64::min) - mean_log;
    let high = log_field.iter().copied().fold(f64::MIN, f64::max) - mean_log;
    Ok(BiasField {
        lattice,
        shape: scan.shape(),
        world_from_voxel: scan.world_from_voxel(),
        voxel_from_world: scan.voxel_from_world(),
        places: samples.places,
        mean_log,
        range_log: [low.max(-LARGEST_LOG), high.min(LARGEST_LOG)],
        rounds,
    })
}

/// Coefficient of variation of the ratio of two fields: how much a round changed, whatever the overall level.
fn change(old_log: &[f64], new_log: &[f64]) -> f64 {
    let ratios: Vec<f64> = old_log
        .iter()
        .zip(new_log)
        .map(|(old, new)| (old - new).exp())
        .collect();
    let mean = ratios.iter().sum::<f64>() / ratios.len() as f64;
    let squares: f64 = ratios.iter().map(|ratio| (ratio - mean).powi(2)).sum();
    (squares / (ratios.len() as f64 - 1.0)).sqrt() / mean
}

impl BiasField {
    /// The field at every voxel of the scan: 1 where nothing is to be corrected.
    pub fn to_volume(&self) -> Volume {
        let mut values = vec![0.0; self.shape.n_voxels()];
        self.rows(|offset, row| {
            let targets = values[offset..].iter_mut().zip(row);
            targets.for_each(|(value, log)| *value = log.exp());
        });
        Volume::from_parts(
            values,
            self.shape,
            self.world_from_voxel,
            self.voxel_from_world,
        )
    }

    /// Divides the scan that the field was estimated from, or another on the same grid, by the field.
    pub fn correct(&self, scan: &mut Volume) {
        debug_assert_eq!(scan.shape(), self.shape);
        let values = scan.values_mut();
        self.rows(|offset, row| {
            let targets = values[offset..].iter_mut().zip(row);
            targets.for_each(|(value, log)| *value *= (-log).exp());
        });
    }

    /// Rounds it took at each level.
    pub fn rounds(&self) -> &[usize] {
        &self.rounds
    }

    /// The log field by rows along x, each with the offset of its first voxel.
    fn rows(&self, mut take: impl FnMut(usize, &[f32])) {
        let sides = self.shape.0;
        let every_voxel = std::array::from_fn(|axis| {
            let coarse = self.places[axis];
            AxisPlaces {
                count: sides[axis],
                start: -coarse.start / coarse.step,
                step: 1.0 / coarse.step,
                domain: coarse.count,
            }
        });
        let [low, high] = self.range_log;
        let mut logs = vec![0.0; sides[0]];
        self.lattice
            .rows(&self.lattice.weights(every_voxel), |y, z, row| {
                for (log, value) in logs.iter_mut().zip(row) {
                    *log = (value - self.mean_log).clamp(low, high) as f32;
                }
                take(self.shape.offset([0, y, z]), &logs);
            });
    }
}

/// Log intensities at some voxels of a scan.
struct Samples {
    /// The coarse grid among the scan's voxels; its `domain` is the scan.
    places: [AxisPlaces; 3],
    /// The part of the coarse grid that holds all samples; its `domain` is the coarse grid.
    box_places: [AxisPlaces; 3],
    /// Which voxels of that part have a sample.
    known: Vec<bool>,
    /// Log intensities where `known`, in that order.
    logs: Vec<f64>,
}

impl Samples {
    fn of(scan: &Volume, mask: &PlacedMask<'_>, grid_mm: f64) -> Result<Self, TooFewVoxels> {
        let places = coarse_places(scan, grid_mm);
        let shape = VoxelShape(places.map(|axis| axis.count));
        let scan_from_coarse = Affine::from_rows(std::array::from_fn(|axis| {
            let mut row = [0.0, 0.0, 0.0, places[axis].start];
            row[axis] = places[axis].step;
            row
        }));
        let inside = mask.on(shape, scan.world_from_voxel() * scan_from_coarse);
        let at = |i: usize| {
            let coarse = voxel_at(shape, i);
            let voxel: [usize; 3] = std::array::from_fn(|axis| {
                (places[axis].start + places[axis].step * coarse[axis] as f64) as usize
            });
            scan.values()[scan.shape().offset(voxel)]
        };
        let positive = |value: f32| value > 0.0 && value.is_finite();
        let masked = (0..inside.len()).filter(|i| inside[*i]).map(at);
        let mut masked: Vec<f32> = masked.filter(|value| positive(*value)).collect();
        let darkest = percentile(&mut masked, 50.0).unwrap_or(0.0) * DARKEST_SHARE;
        let known: Vec<bool> = (0..inside.len())
            .map(|i| inside[i] && positive(at(i)) && at(i) > darkest)
            .collect();
        let n_known = known.iter().filter(|known| **known).count();
        if n_known < FEWEST_VOXELS {
            return Err(TooFewVoxels(n_known));
        }
        let box_places = bounding_box(&known, shape);
        let [bx, by, bz] = box_places.map(|axis| axis.count);
        let part = VoxelShape([bx, by, bz]);
        let of_box: Vec<usize> = (0..part.n_voxels())
            .map(|i| {
                let local = voxel_at(part, i);
                shape.offset(std::array::from_fn(|axis| {
                    local[axis] + box_places[axis].start as usize
                }))
            })
            .collect();
        let logs = of_box.iter().filter(|i| known[**i]).map(|i| at(*i));
        Ok(Self {
            places,
            box_places,
            logs: logs.map(|value| f64::from(value).ln()).collect(),
            known: of_box.iter().map(|i| known[*i]).collect(),
        })
    }

    /// Values of the samples on the box, 0 elsewhere.
    fn on_box(&self, of_samples: &[f64]) -> Vec<f64> {
        let mut of_samples = of_samples.iter();
        self.known
            .iter()
            .map(|known| {
                if *known {
                    of_samples.next().copied().unwrap_or(0.0)
                } else {
                    0.0
                }
            })
            .collect()
    }

    /// The spline at the samples.
    fn values_of(&self, lattice: &Lattice, weights: &[spline::AxisWeights; 3]) -> Vec<f64> {
        let mut values = Vec::with_capacity(self.logs.len());
        let mut known = self.known.chunks_exact(self.box_places[0].count);
        lattice.rows(weights, |_, _, row| {
            let known = known.next().unwrap_or_default();
            let inside = row.iter().zip(known).filter(|(_, known)| **known);
            values.extend(inside.map(|(value, _)| *value));
        });
        values
    }
}

/// Every n-th voxel along each axis, about the same center, so that neighbours are about `grid_mm` apart.
fn coarse_places(scan: &Volume, grid_mm: f64) -> [AxisPlaces; 3] {
    let sides = scan.shape().0;
    let sizes = scan.voxel_size_mm();
    std::array::from_fn(|axis| {
        let step = ((grid_mm / sizes[axis]).round() as usize).clamp(1, sides[axis]);
        let count = sides[axis].div_ceil(step);
        AxisPlaces {
            count,
            start: ((sides[axis] - 1 - step * (count - 1)) / 2) as f64,
            step: step as f64,
            domain: sides[axis],
        }
    })
}

/// The smallest box around the known voxels of a grid.
fn bounding_box(known: &[bool], shape: VoxelShape) -> [AxisPlaces; 3] {
    let (mut low, mut high) = (shape.0, [0; 3]);
    for (i, _) in known.iter().enumerate().filter(|(_, known)| **known) {
        for (axis, at) in voxel_at(shape, i).into_iter().enumerate() {
            low[axis] = low[axis].min(at);
            high[axis] = high[axis].max(at);
        }
    }
    std::array::from_fn(|axis| AxisPlaces {
        count: high[axis] + 1 - low[axis].min(high[axis]),
        start: low[axis] as f64,
        step: 1.0,
        domain: shape.0[axis],
    })
}

/// The voxel at an offset in memory.
fn voxel_at(shape: VoxelShape, offset: usize) -> [usize; 3] {
    let [nx, ny, _] = shape.0;
    [offset % nx, offset / nx % ny, offset / (nx * ny)]
}

#[cfg(test)]
mod tests;
