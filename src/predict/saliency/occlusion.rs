//! Maps from predictions of volumes with a part taken out.

use std::sync::atomic::{AtomicBool, Ordering};

use super::{NetworkInput, ages_years};
use crate::engine::device::Lane;
use crate::model_file::Model;

/// Side of the cube that is taken out.
pub(super) const CUBE_MM: f64 = 16.0;
/// Distance from one cube to the next: they overlap, and each voxel's value is a mean over those that hold it.
const STEP_MM: f64 = 8.0;
/// Volumes that go through the network at once.
const BATCH: usize = 4;

/// For every voxel, the mean over the cubes that hold it of: prediction less prediction without the cube. Cubes without
/// brain are not tried; their voxels are 0.
pub(super) fn occlusion(
    model: &Model,
    input: &NetworkInput,
    lane: &Lane,
    stop: &AtomicBool,
) -> Option<Vec<f32>> {
    let whole = ages_years(model, input.batch(lane, 1, |_, _| ()));
    let whole = whole.first().copied().unwrap_or(f64::NAN);
    let cubes: Vec<Cube> = cubes(input)
        .filter(|cube| {
            cube.rows(input)
                .any(|row| input.voxels[row].iter().any(|v| *v != 0.0))
        })
        .collect();
    let (mut sums, mut counts) = (
        vec![0.0_f64; input.voxels.len()],
        vec![0_u32; input.voxels.len()],
    );
    for group in cubes.chunks(BATCH) {
        if stop.load(Ordering::Relaxed) {
            return None;
        }
        let batch = input.batch(lane, group.len(), |copy, voxels| {
            for row in group[copy].rows(input) {
                voxels[row].fill(0.0);
            }
        });
        for (cube, age) in group.iter().zip(ages_years(model, batch)) {
            for row in cube.rows(input) {
                sums[row.clone()]
                    .iter_mut()
                    .for_each(|sum| *sum += whole - age);
                counts[row].iter_mut().for_each(|count| *count += 1);
            }
        }
    }
    let means = sums.iter().zip(&counts);
    let means = means.map(|(sum, count)| (sum / f64::from((*count).max(1))) as f32);
    Some(means.collect())
}

/// A box of voxels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cube {
    first: [usize; 3],
    end: [usize; 3],
}

impl Cube {
    /// Its voxels, as runs along z.
    fn rows(self, input: &NetworkInput) -> impl Iterator<Item = std::ops::Range<usize>> {
        let [_, ny, nz] = input.sides;
        let [xs, ys, zs] = [0, 1, 2].map(|axis| self.first[axis]..self.end[axis]);
        xs.flat_map(move |x| {
            let zs = zs.clone();
            ys.clone().map(move |y| {
                let row = (x * ny + y) * nz;
                row + zs.start..row + zs.end
            })
        })
    }
}

/// Cubes that cover the volume.
fn cubes(input: &NetworkInput) -> impl Iterator<Item = Cube> + use<> {
    let voxels = |mm: f64, axis: usize| ((mm / input.voxel_size_mm[axis]).round() as usize).max(1);
    let starts = [0, 1, 2].map(|axis| {
        let (side, cube, step) = (
            input.sides[axis],
            voxels(CUBE_MM, axis),
            voxels(STEP_MM, axis),
        );
        let last = side.saturating_sub(cube);
        let starts: Vec<[usize; 2]> = (0..last)
            .step_by(step)
            .chain([last])
            .map(|start| [start, (start + cube).min(side)])
            .collect();
        starts
    });
    let [xs, ys, zs] = starts;
    xs.into_iter().flat_map(move |x| {
        let zs = zs.clone();
        ys.clone().into_iter().flat_map(move |y| {
            zs.clone().into_iter().map(move |z| Cube {
                first: [x[0], y[0], z[0]],
                end: [x[1], y[1], z[1]],
            })
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cubes_cover_every_voxel_and_stay_inside() {
        let input = NetworkInput {
            voxels: vec![1.0; 11 * 5 * 8],
            sides: [11, 5, 8],
            voxel_size_mm: [4.0, 4.0, 2.0],
        };
        let mut covered = vec![0; input.voxels.len()];
        for cube in cubes(&input) {
            assert!((0..3).all(|axis| cube.end[axis] <= input.sides[axis]));
            for row in cube.rows(&input) {
                covered[row].iter_mut().for_each(|count| *count += 1);
            }
        }
        assert!(covered.iter().all(|count| *count >= 1));
    }
}
