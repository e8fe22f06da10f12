//! What registration needs of the template, made once per process.

use std::panic::resume_unwind;
use std::thread::Builder;

use crate::field_of_view::foreground;
use crate::pyramid::reduce;
use crate::register::start::{Head, center_of_top};
use crate::space::VoxelShape;
use crate::volume::{Mask, Volume};

/// Voxel sizes from coarse to fine, in mm.
pub(super) const LEVELS_MM: [f64; 3] = [8.0, 4.0, 2.0];
/// How far the compared region reaches beyond the brain, by level, in mm: at first the outline of the head helps.
const HEAD_REACH_MM: [f64; 3] = [16.0, 6.0, 6.0];
/// The same for a scan without a skull, whose strongest edge is the brain's own.
const BRAIN_REACH_MM: [f64; 3] = [6.0; 3];
/// At the finest level every third point is enough.
const STRIDES: [usize; 3] = [1, 1, 3];
/// Share of a coarse voxel that must be brain.
const BRAIN_SHARE: f32 = 0.3;
/// Air is looked for above this height in MNI space, in mm: below it heads differ in where they are cut.
const AIR_ABOVE_MM: f64 = -40.0;
/// Distance of the scalp from the brain in mm, so that no brain is taken for it.
const BESIDE_BRAIN_MM: f64 = 8.0;
/// Distance of air from the brain in mm: beyond any scalp.
const AIR_DISTANCE_MM: f64 = 40.0;

/// The template at three resolutions, for scans with and without a skull.
#[derive(Debug)]
pub(crate) struct TemplateLevels {
    pub(super) whole_head: Reference,
    pub(super) skull_stripped: Reference,
    /// Brain at 4 mm.
    pub(super) brain: Vec<[f32; 3]>,
    /// Air about the head at 8 mm.
    pub(super) air: Vec<[f32; 3]>,
    /// Scalp, skull and face about the brain at 8 mm.
    around: Vec<[f32; 3]>,
    /// The brain's surface at 4 mm.
    surface: Vec<[f32; 3]>,
}

/// One picture that scans are compared with.
#[derive(Debug)]
pub(super) struct Reference {
    /// From coarse to fine.
    pub(super) levels: [Points; 3],
    /// Center of the upper part of the head, MNI mm.
    pub(super) center: [f64; 3],
}

/// Points of the template with their values, mean 0 and standard deviation 1.
#[derive(Debug)]
pub(super) struct Points {
    /// MNI mm.
    pub(super) at: Vec<[f32; 3]>,
    pub(super) value: Vec<f32>,
}

impl TemplateLevels {
    pub(crate) fn new(t1: &Volume, mask: &Mask) -> Self {
        let brain = mask.map(|inside| f32::from(u8::from(*inside)));
        let mut stripped = t1.clone();
        let both = stripped.values_mut().iter_mut().zip(mask.values());
        both.filter(|(_, inside)| !**inside)
            .for_each(|(value, _)| *value = 0.0);

        let [heads, strippeds, brains] = at_all_levels([t1, &stripped, &brain]);
        let [brain_8, brain_4, _] = &brains;
        let head_8 = &heads[0];
        let inside_4 = brain_4.map(|share| *share >= 0.5);
        let near = dilate(&brain_8.map(|share| *share > BRAIN_SHARE), AIR_DISTANCE_MM);
        let head = foreground(head_8.values(), head_8.shape());
        let air = (0..head.len()).filter(|i| !head[*i] && !near.values()[*i]);
        let air = air
            .map(|i| position(head_8, i))
            .filter(|p| f64::from(p[2]) > AIR_ABOVE_MM);
        let surface = (0..brain_4.values().len())
            .filter(|i| (0.05..0.95).contains(&brain_4.values()[*i]))
            .map(|i| position(brain_4, i));
        let beside = dilate(&brain_8.map(|share| *share > 0.0), BESIDE_BRAIN_MM);
        let around = (0..head.len()).filter(|i| {
            head[*i] && !beside.values()[*i] && f64::from(position(head_8, *i)[2]) > AIR_ABOVE_MM
        });
        Self {
            around: around.map(|i| position(head_8, i)).collect(),
            air: air.collect(),
            surface: surface.collect(),
            brain: (0..inside_4.values().len())
                .filter(|i| inside_4.values()[*i])
                .map(|i| position(brain_4, i))
                .collect(),
            whole_head: Reference::new(&heads, &brains, HEAD_REACH_MM),
            skull_stripped: Reference::new(&strippeds, &brains, BRAIN_REACH_MM),
        }
    }
}

impl TemplateLevels {
    /// Points in the air about the head, MNI mm.
    pub(crate) fn air(&self) -> &[[f32; 3]] {
        &self.air
    }

    /// Points in scalp, skull and face, MNI mm.
    pub(crate) fn around(&self) -> &[[f32; 3]] {
        &self.around
    }

    /// Points on the brain's surface, MNI mm.
    pub(crate) fn surface(&self) -> &[[f32; 3]] {
        &self.surface
    }
}

/// Each picture at [`LEVELS_MM`], at the same time: every first scan of a process waits for this.
///
/// On threads of their own, not on rayon's: what waits there may take up a scan, which would wait for these in turn.
fn at_all_levels(pictures: [&Volume; 3]) -> [[Volume; 3]; 3] {
    let levels = |picture: &Volume| LEVELS_MM.map(|mm| reduce(picture, mm));
    std::thread::scope(|scope| {
        let begun = pictures.map(|picture| {
            let thread = Builder::new().name("template".into());
            (picture, thread.spawn_scoped(scope, move || levels(picture)))
        });
        begun.map(|(picture, thread)| match thread {
            Ok(thread) => thread.join().unwrap_or_else(|panic| resume_unwind(panic)),
            Err(_) => levels(picture),
        })
    })
}

impl Reference {
    fn new(pictures: &[Volume; 3], brains: &[Volume; 3], reach_mm: [f64; 3]) -> Self {
        let levels = std::array::from_fn(|i| {
            let inside = brains[i].map(|share| *share > BRAIN_SHARE);
            Points::new(&pictures[i], &dilate(&inside, reach_mm[i]), STRIDES[i])
        });
        let head = Head::find(&pictures[0]);
        let center = head.map_or([0.0; 3], |head| center_of_top(&head, [0.0, 0.0, 1.0]));
        Self { levels, center }
    }
}

impl Points {
    fn new(picture: &Volume, region: &Mask, stride: usize) -> Self {
        let [nx, ny, _] = picture.shape().0;
        let on_lattice = |i: usize| (i % nx + i / nx % ny + i / (nx * ny)).is_multiple_of(stride);
        let chosen: Vec<usize> = (0..region.values().len())
            .filter(|i| region.values()[*i] && on_lattice(*i))
            .collect();
        let count = chosen.len().max(1) as f64;
        let values = || chosen.iter().map(|i| f64::from(picture.values()[*i]));
        let mean = values().sum::<f64>() / count;
        let deviation = (values().map(|v| (v - mean).powi(2)).sum::<f64>() / count)
            .sqrt()
            .max(1e-9);
        Self {
            at: chosen.iter().map(|i| position(picture, *i)).collect(),
            value: values().map(|v| ((v - mean) / deviation) as f32).collect(),
        }
    }
}

/// The world position of the voxel at an offset.
fn position<T: Copy>(grid: &crate::volume::Grid<T>, offset: usize) -> [f32; 3] {
    let [nx, ny, _] = grid.shape().0;
    let voxel = [offset % nx, offset / nx % ny, offset / (nx * ny)].map(|v| v as f64);
    grid.world_from_voxel().apply(voxel).map(|v| v as f32)
}

/// All voxels within `reach_mm` of the mask; voxels are cubes.
fn dilate(mask: &Mask, reach_mm: f64) -> Mask {
    let VoxelShape([nx, ny, nz]) = mask.shape();
    let reach = reach_mm / mask.voxel_size_mm()[0];
    let whole = reach.floor() as i64;
    let span = || -whole..=whole;
    let mut ball = Vec::new();
    for (dz, dy) in span().flat_map(|dz| span().map(move |dy| (dz, dy))) {
        let offsets = span().filter(|dx| ((dx * dx + dy * dy + dz * dz) as f64) <= reach * reach);
        ball.extend(offsets.map(|dx| [dx, dy, dz]));
    }
    let mut wide = mask.clone();
    for (i, _) in mask
        .values()
        .iter()
        .enumerate()
        .filter(|(_, inside)| **inside)
    {
        let at = [i % nx, i / nx % ny, i / (nx * ny)];
        for offset in &ball {
            let moved: [i64; 3] = std::array::from_fn(|axis| at[axis] as i64 + offset[axis]);
            let is_inside = moved
                .iter()
                .zip([nx, ny, nz])
                .all(|(v, side)| *v >= 0 && *v < side as i64);
            if is_inside {
                wide.values_mut()[mask.shape().offset(moved.map(|v| v as usize))] = true;
            }
        }
    }
    wide
}
