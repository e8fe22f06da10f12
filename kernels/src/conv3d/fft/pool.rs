//! Max-pooling of a channel's outputs while they are still in the cache: whole planes come in, from first to last, and
//! only the pooled values and their positions go to memory.

#![expect(
    clippy::inline_always,
    reason = "the work must end up inside the function that has the vector instructions"
)]

use super::lanes::{Kernel, LANES, Lanes, array, load_or_zero};

/// Pools pairs of planes.
pub(super) struct PoolPlanes<'a> {
    /// Planes `x, x + 1, …` of the output; an odd one left over is not looked at.
    pub(super) planes: &'a [f32],
    /// First plane; even.
    pub(super) x: usize,
    /// Rows of a plane and voxels of a row.
    pub(super) sides: [usize; 2],
    /// Pooled volume of the channel.
    pub(super) values: &'a mut [f32],
    pub(super) positions: &'a mut [u32],
}

impl Kernel for PoolPlanes<'_> {
    #[inline(always)]
    fn run<S: Lanes>(self) {
        let [ny, nz] = self.sides;
        let (py, pz) = (ny / 2, nz / 2);
        if py == 0 || pz == 0 {
            return;
        }
        let pairs = self.planes.chunks_exact(2 * ny * nz);
        for (pair, planes) in pairs.enumerate() {
            let x = self.x + 2 * pair;
            let first = x / 2 * py * pz;
            let (Some(values), Some(positions)) = (
                self.values.get_mut(first..first + py * pz),
                self.positions.get_mut(first..first + py * pz),
            ) else {
                return;
            };
            for y in 0..py {
                let origin = (x * ny + 2 * y) * nz;
                let rows = &planes[2 * y * nz..];
                for z in (0..pz).step_by(LANES) {
                    let (value, offset) = cells::<S>(rows, [nz, ny * nz], 2 * z);
                    let (mut largest, mut offsets) = ([0.0; LANES], [0.0; LANES]);
                    value.store(&mut largest);
                    offset.store(&mut offsets);
                    let wanted = LANES.min(pz - z);
                    let at = y * pz + z;
                    values[at..at + wanted].copy_from_slice(&largest[..wanted]);
                    let places = positions[at..at + wanted].iter_mut().zip(offsets);
                    for (i, (position, offset)) in places.enumerate() {
                        let corner = [0, nz, ny * nz, ny * nz + nz][offset as usize / 2];
                        let second = offset as usize % 2;
                        *position = (origin + corner + 2 * (z + i) + second) as u32;
                    }
                }
            }
        }
    }
}

/// Largest values of eight cells from voxel `z` on, and which voxel of its cell each is: 0 to 7 in the order of memory,
/// so that the first of equal values wins.
#[inline(always)]
fn cells<S: Lanes>(rows: &[f32], [row, plane]: [usize; 2], z: usize) -> (S, S) {
    // What is read beyond the end of a row belongs to cells that nobody asks for.
    let load = |corner: usize, half: usize| corner + z + half * LANES;
    let mut best = array!(2, half => load_or_zero::<S>(rows, load(0, half)));
    let mut which = [S::splat(0.0); 2];
    for (corner, name) in [(row, 2.0), (plane, 4.0), (plane + row, 6.0)] {
        for half in 0..2 {
            let candidate = load_or_zero::<S>(rows, load(corner, half));
            let wins = candidate.beats(best[half]);
            best[half] = candidate.select(wins, best[half]);
            which[half] = S::splat(name).select(wins, which[half]);
        }
    }
    let [first, second] = S::halves(best[0], best[1]);
    let [first_which, second_which] = S::halves(which[0], which[1]);
    let earlier = second_which.less(first_which);
    let wins = second.beats(first).or(earlier.except(first.beats(second)));
    (
        second.select(wins, first),
        second_which.add(S::splat(1.0)).select(wins, first_which),
    )
}
