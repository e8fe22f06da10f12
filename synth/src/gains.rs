//! The gain of every region: how much its tissue must grow for the regions to reach their volumes.
//!
//! Solves ∑ₓ R_r·J₀·exp(w·∑ₛ aₛ·R̃ₛ) = V_r for a by Newton's method, on every third voxel. Pointwise: no flow is needed,
//! as the gains travel with the tissue when they become one (see `morph`).

use nalgebra::{SMatrix, SVector};

use crate::atlas::{LANES, VOXEL_ML};
use crate::regions::N_REGIONS;

/// Every so many voxels is looked at.
const STRIDE: usize = 3;
const MAX_STEPS: usize = 30;
/// Largest |ln(volume / target)| that is good enough.
const TOLERANCE: f64 = 4e-3;
/// No tissue grows or shrinks by more than exp(this).
const LARGEST: f32 = 4.0;
/// Keeps the gains of regions that hardly exist from running away.
const RIDGE: f64 = 0.01;

/// A brain voxel of one person.
#[derive(Clone, Debug)]
pub(crate) struct PersonVoxel {
    /// Position in the box.
    pub(crate) index: usize,
    /// Share of each region.
    pub(crate) regions: [f32; LANES],
    /// How much each region's gain acts here.
    pub(crate) soft: [f32; LANES],
    /// How uneven growth is here, 1 on average.
    pub(crate) unevenness: f32,
    /// Volume of the voxel after the person's shape is given to it.
    pub(crate) jacobian: f32,
}

impl PersonVoxel {
    /// Logarithm of how much this voxel shall grow.
    pub(crate) fn growth(&self, gains: &[f32; LANES]) -> f32 {
        self.unevenness * self.soft.iter().zip(gains).map(|(s, g)| s * g).sum::<f32>()
    }
}

/// The gains that give the regions these volumes.
pub(crate) fn solve_gains(voxels: &[PersonVoxel], targets_ml: &[f64; N_REGIONS]) -> [f32; LANES] {
    let mut gains = [0.0_f32; LANES];
    for _ in 0..MAX_STEPS {
        let (volumes_ml, slopes) = volumes_and_slopes(voxels, &gains);
        let error = SVector::<f64, N_REGIONS>::from_fn(|r, _| {
            (targets_ml[r] / volumes_ml[r].max(1e-6)).ln()
        });
        if error.amax() < TOLERANCE {
            break;
        }
        let matrix = SMatrix::<f64, N_REGIONS, N_REGIONS>::from_fn(|r, s| {
            let ridge = if r == s { RIDGE } else { 0.0 };
            f64::from(slopes[r][s]) / volumes_ml[r].max(1e-6) + ridge
        });
        let Some(step) = matrix.lu().solve(&error) else {
            break;
        };
        for (gain, step) in gains.iter_mut().zip(step.iter()) {
            *gain = (*gain + step.clamp(-1.0, 1.0) as f32).clamp(-LARGEST, LARGEST);
        }
    }
    gains
}

/// Volumes in ml, and by how much each changes with each gain.
fn volumes_and_slopes(
    voxels: &[PersonVoxel],
    gains: &[f32; LANES],
) -> ([f64; N_REGIONS], [[f32; LANES]; N_REGIONS]) {
    let scale = (VOXEL_ML * STRIDE as f64) as f32;
    let mut volumes = [0.0; N_REGIONS];
    let mut slopes = [[0.0; LANES]; N_REGIONS];
    for voxel in voxels.iter().step_by(STRIDE) {
        let volume = scale * voxel.jacobian * voxel.growth(gains).exp();
        for (r, share) in voxel.regions.iter().take(N_REGIONS).enumerate() {
            if *share > 0.0 {
                let part = share * volume;
                volumes[r] += f64::from(part);
                let part = part * voxel.unevenness;
                for (slope, soft) in slopes[r].iter_mut().zip(&voxel.soft) {
                    *slope += part * soft;
                }
            }
        }
    }
    (volumes, slopes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gains_give_the_volumes_that_were_asked_for() {
        // Two mixed voxels for each pair of neighbouring regions, three times as the fit takes every third.
        let voxels: Vec<PersonVoxel> = (0..N_REGIONS * 30)
            .map(|i| {
                let mut regions = [0.0; LANES];
                let share = 0.85 + 0.02 * (i / 3 / N_REGIONS % 8) as f32;
                regions[i / 3 % N_REGIONS] = share;
                regions[(i / 3 + 1) % N_REGIONS] = 1.0 - share;
                PersonVoxel {
                    index: i,
                    regions,
                    soft: regions,
                    unevenness: 1.0,
                    jacobian: 1.0,
                }
            })
            .collect();
        let (before, _) = volumes_and_slopes(&voxels, &[0.0; LANES]);
        let targets = std::array::from_fn(|r| before[r] * if r % 2 == 0 { 1.2 } else { 0.9 });
        let gains = solve_gains(&voxels, &targets);
        let (after, _) = volumes_and_slopes(&voxels, &gains);
        for (after, target) in after.iter().zip(targets) {
            assert!((after / target - 1.0).abs() < 0.03, "{after} {target}");
        }
    }
}
