//! A person's anatomy as a deformation of the template.
//!
//! Targets are the template's volumes times the person's ratios; the fluid of the sulci takes what the cranium has
//! left. A random smooth flow gives the brain a shape, the gains of `gains` make its regions grow and shrink: they
//! ride with the tissue through a few steps of flow, each with the divergence they ask for. Where the template is
//! undecided between cortex and fluid, the odds follow age too, by another pattern in every person.
//!
//! What is kept is the backward map, from a place in the person's brain to where its tissue lies in the template.

use rand::RngExt as _;
use rand_distr::StandardNormal;

use crate::atlas::{Atlas, BrainVoxel, LANES, VOXEL_ML};
use crate::calibration::N_DRIVEN;
use crate::field::{Lattice, STEP_MM, trilinear};
use crate::gains::{PersonVoxel, solve_gains};
use crate::noise::smooth_noise;
use crate::population::Person;
use crate::regions::{LV, N_REGIONS, SULCAL, V3};
use crate::stream::{HeadKey, Stage};

/// Correlation length and root mean square of the random shape's components, mm.
const SHAPE_MM: [(f32, f32); 3] = [(60.0, 3.0), (28.0, 1.3), (14.0, 0.45)];
/// Steps in which the gains are carried out.
const FLOW_STEPS: usize = 3;
/// The template's soft ventricles hold a quarter more than ventricles in label maps.
const VENTRICLE_SHARE: f64 = 0.8;
/// How much of the third ventricle's growth its soft map can carry.
const THIRD_VENTRICLE_SHARE: f64 = 0.35;
/// How much more to ask for where the flow falls short, for growth and for shrinking; by region.
const LOSS: [[f64; 2]; N_REGIONS] = [
    [0.25, 0.16],
    [0.47, 0.35],
    [0.01, 0.07],
    [0.09, 0.0],
    [0.03, 0.06],
    [0.11, 0.09],
    [0.07, 0.0],
    [0.15, 0.20],
    [0.04, 0.0],
    [0.07, 0.05],
    [0.08, 0.04],
    [0.0, -0.08],
    [0.15, 0.06],
    [0.32, 0.21],
    [0.0, 0.0],
];

/// A person's brain in template space.
pub(crate) struct Morph {
    /// Place → place in the template, as a displacement in mm (the fourth lane is 0); on the brain's box.
    pub(crate) backward_mm: Vec<[f32; 4]>,
    /// Logarithm of the odds of fluid against tissue, against the template's; on the box.
    pub(crate) fluid_log_odds: Vec<f32>,
    /// Volumes that were aimed at, ml in template space.
    pub(crate) targets_ml: [f64; N_REGIONS],
    /// Volumes that were reached.
    pub(crate) volumes_ml: [f64; N_REGIONS],
}

/// Gives a person's brain its form.
pub(crate) fn morph(atlas: &Atlas, person: &Person, key: HeadKey) -> Morph {
    let targets_ml = targets(atlas, person);
    let shape_mm = random_shape(atlas.brain, key);
    let jacobian = divergence(&shape_mm, atlas.brain.shape);
    let start = start_of_flow(&shape_mm, atlas.brain);
    let fluid_log_odds = fluid_log_odds(atlas, &targets_ml, person.spread, key);
    let voxels = person_voxels(atlas, &fluid_log_odds, &jacobian, key);
    let gains = solve_gains(&voxels, &asked(atlas, &voxels, &targets_ml));
    let mut growth = vec![[0.0; 2]; atlas.brain.n_voxels()];
    for (pair, mask) in growth.iter_mut().zip(&atlas.mask) {
        pair[1] = *mask;
    }
    for voxel in &voxels {
        growth[voxel.index][0] = voxel.growth(&gains);
    }
    let backward_mm = flow(atlas, &growth, start);
    let volumes_ml = volumes(atlas, &voxels, &backward_mm);
    Morph {
        backward_mm,
        fluid_log_odds,
        targets_ml,
        volumes_ml,
    }
}

/// Volumes to be reached, in ml of template space.
fn targets(atlas: &Atlas, person: &Person) -> [f64; N_REGIONS] {
    let mut targets = atlas.volumes_ml;
    for (target, ratio) in targets.iter_mut().zip(person.log_ratios).take(N_DRIVEN) {
        *target *= ratio.exp();
    }
    targets[LV] *= VENTRICLE_SHARE;
    let third = person.log_ratios[V3].exp() - 1.0;
    targets[V3] = atlas.volumes_ml[V3] * (1.0 + THIRD_VENTRICLE_SHARE * third);
    let cranium: f64 = atlas.volumes_ml.iter().sum();
    let rest: f64 = targets.iter().sum::<f64>() - targets[SULCAL];
    targets[SULCAL] = (cranium - rest).max(0.25 * atlas.volumes_ml[SULCAL]);
    let scale = cranium / targets.iter().sum::<f64>();
    targets.map(|target| target * scale)
}

/// What to ask of the gains, so that the flow, which loses some of it, reaches the targets.
fn asked(atlas: &Atlas, voxels: &[PersonVoxel], targets_ml: &[f64; N_REGIONS]) -> [f64; N_REGIONS] {
    let asked: [f64; N_REGIONS] = std::array::from_fn(|r| {
        let log = (targets_ml[r] / atlas.volumes_ml[r]).ln();
        targets_ml[r] * (LOSS[r][0] * log.max(0.0) + LOSS[r][1] * log.min(0.0)).exp()
    });
    let shaped: f64 = voxels
        .iter()
        .map(|voxel| f64::from(voxel.regions.iter().sum::<f32>() * voxel.jacobian))
        .sum();
    let scale = shaped * VOXEL_ML / asked.iter().sum::<f64>();
    asked.map(|volume| volume * scale)
}

fn random_shape(brain: Lattice, key: HeadKey) -> Vec<[f32; 4]> {
    let mut rng = key.stream(Stage::Shape);
    let mut shape_mm = vec![[0.0; 4]; brain.n_voxels()];
    for axis in 0..3 {
        for (length_mm, amplitude_mm) in SHAPE_MM {
            let noise = smooth_noise(&mut rng, brain.shape, length_mm);
            for (u, noise) in shape_mm.iter_mut().zip(noise) {
                u[axis] += amplitude_mm * noise;
            }
        }
    }
    shape_mm
}

/// exp(−u) by one midpoint step; u is smooth enough for that.
fn start_of_flow(shape_mm: &[[f32; 4]], brain: Lattice) -> Vec<[f32; 4]> {
    let halfway: Vec<_> = shape_mm.iter().map(|u| u.map(|u| -0.5 * u)).collect();
    let mut start = carried(shape_mm, &halfway, brain.shape);
    for u in &mut start {
        *u = u.map(|u| -u);
    }
    start
}

/// The field at x + displacement(x), for every voxel x; displacement in mm.
fn carried<const N: usize>(
    field: &[[f32; N]],
    displacement_mm: &[[f32; 4]],
    shape: [usize; 3],
) -> Vec<[f32; N]> {
    let [nx, ny, nz] = shape;
    let mut out = Vec::with_capacity(field.len());
    let mut displacements = displacement_mm.iter();
    for z in 0..nz {
        for y in 0..ny {
            for (x, d) in displacements.by_ref().take(nx).enumerate() {
                let at = [
                    x as f32 + d[0] / STEP_MM,
                    y as f32 + d[1] / STEP_MM,
                    z as f32 + d[2] / STEP_MM,
                ];
                out.push(trilinear(field, shape, at));
            }
        }
    }
    out
}

/// exp of the divergence: the volume of each voxel after the shape was given to it.
fn divergence(u_mm: &[[f32; 4]], shape: [usize; 3]) -> Vec<f32> {
    let [nx, ny, nz] = shape;
    let strides = [1, nx, nx * ny];
    let mut out = Vec::with_capacity(u_mm.len());
    for i in 0..u_mm.len() {
        let at = [i % nx, i / nx % ny, i / (nx * ny)];
        let sum: f32 = (0..3)
            .map(|axis| {
                let up = if at[axis] + 1 < [nx, ny, nz][axis] {
                    i + strides[axis]
                } else {
                    i
                };
                let down = if at[axis] > 0 { i - strides[axis] } else { i };
                let run_mm = STEP_MM * ((up - down) / strides[axis]) as f32;
                (u_mm[up][axis] - u_mm[down][axis]) / run_mm
            })
            .sum();
        out.push(sum.clamp(-2.0, 2.0).exp());
    }
    out
}

fn fluid_log_odds(
    atlas: &Atlas,
    targets_ml: &[f64; N_REGIONS],
    spread: f64,
    key: HeadKey,
) -> Vec<f32> {
    let mut rng = key.stream(Stage::Sulci);
    let log = (targets_ml[SULCAL] / atlas.volumes_ml[SULCAL]).ln();
    let own: f64 = rng.sample(StandardNormal);
    let mean = ((2.2 * log).clamp(-0.8, 1.8) + 0.15 * spread * own) as f32;
    let mut field = smooth_noise(&mut rng, atlas.brain.shape, 16.0);
    for value in &mut field {
        *value = mean + 0.5 * *value;
    }
    field
}

fn person_voxels(
    atlas: &Atlas,
    fluid_log_odds: &[f32],
    jacobian: &[f32],
    key: HeadKey,
) -> Vec<PersonVoxel> {
    let mut rng = key.stream(Stage::Unevenness);
    let coarse = smooth_noise(&mut rng, atlas.brain.shape, 30.0);
    let fine = smooth_noise(&mut rng, atlas.brain.shape, 12.0);
    let person_voxel = |voxel: &BrainVoxel| {
        let odds = fluid_log_odds[voxel.index].exp();
        let regions = with_fluid_odds(&voxel.regions, odds);
        let mut soft = with_fluid_odds(&voxel.soft, odds);
        soft[SULCAL] *= voxel.sulcal_share;
        let uneven = 0.25 * coarse[voxel.index] + 0.125 * fine[voxel.index];
        // Even in the ventricles, or a spot in one of them would grow twentyfold.
        let even = (2.0 * (soft[LV] + soft[V3])).clamp(0.0, 1.0);
        PersonVoxel {
            index: voxel.index,
            regions,
            soft,
            unevenness: 1.0 + uneven.clamp(-0.7, 0.7) * (1.0 - even),
            jacobian: jacobian[voxel.index],
        }
    };
    atlas.voxels.iter().map(person_voxel).collect()
}

/// Multiplies the odds of sulcal fluid and keeps the sum.
fn with_fluid_odds(shares: &[f32; LANES], odds: f32) -> [f32; LANES] {
    let sum: f32 = shares.iter().sum();
    let changed = sum + shares[SULCAL] * (odds - 1.0);
    let scale = if changed > 1e-6 { sum / changed } else { 1.0 };
    let mut shares = *shares;
    shares[SULCAL] *= odds;
    shares.map(|share| share * scale)
}

/// Lets the growth (first lane; second: brain mask) ride with the tissue and displace it.
fn flow(atlas: &Atlas, growth: &[[f32; 2]], mut backward: Vec<[f32; 4]>) -> Vec<[f32; 4]> {
    let shape = atlas.brain.shape;
    for _ in 0..FLOW_STEPS {
        let here = carried(growth, &backward, shape);
        // The cranium keeps its volume: no net flow through it.
        let sum = |lane: usize| here.iter().map(|pair| f64::from(pair[lane])).sum::<f64>();
        let mean = (sum(0) / sum(1).max(1.0)) as f32;
        let share = 1.0 / FLOW_STEPS as f32;
        let g = here
            .iter()
            .map(|[g, mask]| (g - mask * mean) * share)
            .collect();
        let step = backward_exponential(&atlas.poisson.velocity(g), shape);
        backward = composed(&backward, &step, shape);
    }
    backward
}

/// Displacement of the map that first takes the step `inner` and then `outer`.
fn composed(outer: &[[f32; 4]], inner: &[[f32; 4]], shape: [usize; 3]) -> Vec<[f32; 4]> {
    let mut both = carried(outer, inner, shape);
    for (d, inner) in both.iter_mut().zip(inner) {
        for (d, inner) in d.iter_mut().zip(inner) {
            *d += inner;
        }
    }
    both
}

/// exp(−v) by scaling and squaring, from steps of at most .6 of a voxel.
fn backward_exponential(velocity_mm: &[Vec<f32>; 3], shape: [usize; 3]) -> Vec<[f32; 4]> {
    let [vx, vy, vz] = velocity_mm;
    let speeds = vx
        .iter()
        .zip(vy)
        .zip(vz)
        .map(|((x, y), z)| x * x + y * y + z * z);
    let fastest_mm = speeds.fold(0.0, f32::max).sqrt();
    let doublings = (fastest_mm / (0.6 * STEP_MM)).max(1.0).log2().ceil() as i32;
    let scale = -0.5_f32.powi(doublings);
    let mut step: Vec<[f32; 4]> = vx
        .iter()
        .zip(vy)
        .zip(vz)
        .map(|((x, y), z)| [x * scale, y * scale, z * scale, 0.0])
        .collect();
    for _ in 0..doublings {
        step = composed(&step, &step, shape);
    }
    step
}

/// Volumes of the regions as they will be drawn: sampled through the backward map, at every second row and slice.
fn volumes(atlas: &Atlas, voxels: &[PersonVoxel], backward: &[[f32; 4]]) -> [f64; N_REGIONS] {
    let shape = atlas.brain.shape;
    let [nx, ny, _] = shape;
    let sampled = |i: usize| (i / nx % ny).is_multiple_of(2) && (i / (nx * ny)).is_multiple_of(2);
    let places: Vec<[f32; 3]> = voxels
        .iter()
        .map(|voxel| voxel.index)
        .filter(|i| sampled(*i))
        .map(|i| {
            let d = backward[i].map(|d| d / STEP_MM);
            let at = [i % nx, i / nx % ny, i / (nx * ny)].map(|i| i as f32);
            [at[0] + d[0], at[1] + d[1], at[2] + d[2]]
        })
        .collect();
    let mut four = vec![[0.0; 4]; atlas.brain.n_voxels()];
    let mut volumes = [0.0; N_REGIONS];
    for (lanes, volumes) in volumes.chunks_mut(4).enumerate() {
        for voxel in voxels {
            four[voxel.index].copy_from_slice(&voxel.regions[4 * lanes..4 * lanes + 4]);
        }
        for at in &places {
            let values = trilinear(&four, shape, *at);
            for (volume, value) in volumes.iter_mut().zip(values) {
                *volume += f64::from(value) * 4.0 * VOXEL_ML;
            }
        }
    }
    volumes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::atlas::atlas;
    use crate::population::{REGION_NAMES, Sex, draw_person, log_ratios_at};

    #[test]
    fn regions_reach_about_the_volumes_that_were_aimed_at() {
        let atlas = atlas().unwrap();
        for (subject, age) in [(1, 30.0), (2, 70.0)] {
            let key = HeadKey::of(4, subject);
            let person = draw_person(age, Sex::Male, 1.0, &mut key.stream(Stage::Anatomy));
            let morph = morph(atlas, &person, key);
            let total: f64 = morph.volumes_ml.iter().sum();
            let wanted: f64 = morph.targets_ml.iter().sum();
            for r in 0..N_REGIONS {
                let error = (morph.volumes_ml[r] / total * wanted / morph.targets_ml[r]).ln();
                assert!(error.abs() < 0.15, "region {r} at {age}: {error}");
            }
        }
    }

    /// Mean ln(V/V at 40 years) of two people with mean anatomy at an age: as measured in the heads, and as calibrated.
    fn change_since_40(age: f64, at_40: &[[f64; N_REGIONS]; 2]) -> [[f64; 2]; N_DRIVEN] {
        let heads = volumes_at(age);
        let curve = [log_ratios_at(age), log_ratios_at(40.0)];
        std::array::from_fn(|r| {
            let logs = heads
                .iter()
                .zip(at_40)
                .map(|(now, then)| (now[r] / then[r]).ln());
            [logs.sum::<f64>() / 2.0, curve[0][r] - curve[1][r]]
        })
    }

    /// Volumes in parts of the cranium of a woman and a man whose anatomy is the mean for their age.
    fn volumes_at(age: f64) -> [[f64; N_REGIONS]; 2] {
        let atlas = atlas().unwrap();
        [(1, Sex::Female), (2, Sex::Male)].map(|(subject, sex)| {
            let key = HeadKey::of(6, subject);
            let person = draw_person(age, sex, 0.0, &mut key.stream(Stage::Anatomy));
            let volumes = morph(atlas, &person, key).volumes_ml;
            let total: f64 = volumes.iter().sum();
            volumes.map(|volume| volume / total)
        })
    }

    #[test]
    fn volumes_of_heads_follow_the_calibrated_curves_from_20_to_90_years() {
        let at_40 = volumes_at(40.0);
        for age in [20.0, 60.0, 75.0, 90.0] {
            let changes = change_since_40(age, &at_40);
            for (r, [found, expected]) in changes.into_iter().enumerate() {
                // The soft map of the third ventricle carries a third of its growth; the lateral ventricles' flow loses
                // some where they grow to the fourfold.
                let tolerance = match r {
                    V3 => continue,
                    LV => 0.05 + 0.1 * expected.abs(),
                    _ => 0.03,
                };
                let off = found - expected;
                let name = REGION_NAMES[r];
                assert!(
                    off.abs() < tolerance,
                    "{name} at {age}: {found:.3}, expected {expected:.3}"
                );
            }
        }
    }

    #[test]
    fn the_exponential_of_a_constant_velocity_is_a_shift() {
        let shape = [10, 9, 8];
        let velocity = [2.5, -1.0, 0.25].map(|v| vec![v; 720]);
        for d in backward_exponential(&velocity, shape) {
            for (found, expected) in d.iter().zip([-2.5, 1.0, -0.25, 0.0]) {
                assert!((found - expected).abs() < 1e-5);
            }
        }
    }
}
