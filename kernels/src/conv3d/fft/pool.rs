//! Max-pooling of a channel's outputs while they are still in the cache: whole planes come in, from first to last, and
//! only the pooled values and their positions go to memory.

#![expect(
    clippy::inline_always,
    reason = "the work must end up inside the function that has the vector instructions"
)]

use super::lanes::{Kernel, Lanes};

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
    /// Two numbers for each voxel of a row.
    pub(super) best: &'a mut [f32],
    pub(super) corner: &'a mut [u32],
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
                // Rows of the cell in the order of memory, so the first of equal values wins.
                let rows = [0, nz, ny * nz, ny * nz + nz]
                    .map(|corner| &planes[2 * y * nz + corner..][..2 * pz]);
                let best = &mut self.best[..2 * pz];
                let corner = &mut self.corner[..2 * pz];
                best.copy_from_slice(rows[0]);
                corner.fill(0);
                for (row, at) in rows.into_iter().zip(0_u32..).skip(1) {
                    for ((best, corner), value) in best.iter_mut().zip(&mut *corner).zip(row) {
                        let wins = *value > *best || (value.is_nan() && !best.is_nan());
                        *best = if wins { *value } else { *best };
                        *corner = if wins { at } else { *corner };
                    }
                }
                let origin = ((x * ny + 2 * y) * nz) as u32;
                let (nz, plane) = (nz as u32, (ny * nz) as u32);
                let out = y * pz..(y + 1) * pz;
                let results = values[out.clone()].iter_mut().zip(&mut positions[out]);
                let cells = best.chunks_exact(2).zip(corner.chunks_exact(2));
                for (((value, position), (best, corner)), z) in results.zip(cells).zip(0_u32..) {
                    let ([a, b], [i, j]) = ([best[0], best[1]], [corner[0], corner[1]]);
                    let larger = b > a || (b.is_nan() && !a.is_nan());
                    let equal = a == b || (a.is_nan() && b.is_nan());
                    let second = larger || (equal && j < i);
                    *value = if second { b } else { a };
                    let corner = if second { j } else { i };
                    *position = origin
                        + (corner & 1) * nz
                        + (corner >> 1) * plane
                        + 2 * z
                        + u32::from(second);
                }
            }
        }
    }
}
