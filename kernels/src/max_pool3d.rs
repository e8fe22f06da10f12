//! Max-pooling of volumes by two: kernel 2, stride 2, odd rests dropped.
//!
//! The framework has no 3D pooling of its own. One pass keeps the position of each maximum, so the gradient needs no
//! second look at the input.
//!
//! The loops choose without branches, since which voxel is largest cannot be foreseen; so written, the compiler makes
//! vectors of them for whatever instructions `Level::run` allows.

#![expect(
    clippy::inline_always,
    reason = "so that the caller's instruction set reaches the code"
)]
#![expect(
    unsafe_code,
    reason = "gradients are not zeroed before they are written"
)]

use crate::conv3d::simd::{Kernel, Level, Simd};
use crate::output::written;
use rayon::prelude::*;
use std::mem::MaybeUninit;

/// Sides of a batch of volumes: batch, channels, x, y, z; z is the fastest in memory.
pub type Dims = [usize; 5];

/// Voxels that are worth a task of their own.
const TASK_VOXELS: usize = 1 << 15;

/// The pooled volumes, and for each value where in its input volume it came from.
#[derive(Debug, Default, PartialEq)]
pub struct Pooled {
    /// Maxima, of shape [`output_dims`].
    pub values: Vec<f32>,
    /// Offset of each maximum inside its own channel's volume.
    pub positions: Vec<u32>,
}

/// Shape after pooling: sides halved, rounded down.
pub fn output_dims([batch, channels, x, y, z]: Dims) -> Dims {
    [batch, channels, x / 2, y / 2, z / 2]
}

/// Largest value of each 2×2×2 cell; of equal values the first in memory wins, and NaN wins over all.
///
/// # Shapes
/// `input` has shape `dims`; the result has shape [`output_dims`]. Slices shorter than their shape give an empty result.
pub fn forward(input: &[f32], dims: Dims) -> Pooled {
    forward_at(Level::detect(), input, dims)
}

fn forward_at(level: Level, input: &[f32], dims: Dims) -> Pooled {
    let [batch, channels, nx, ny, nz] = dims;
    let [_, _, px, py, pz] = output_dims(dims);
    let n_cells = batch * channels * px * py * pz;
    if n_cells == 0 || input.len() < batch * channels * nx * ny * nz {
        return Pooled::default();
    }
    let mut values = vec![0.0; n_cells];
    let mut positions = vec![0; n_cells];
    values
        .par_chunks_mut(py * pz)
        .zip(positions.par_chunks_mut(py * pz))
        .enumerate()
        .with_min_len(TASK_VOXELS.div_ceil(2 * ny * nz))
        .for_each(|(plane, (values, positions))| {
            let (volume, x) = (plane / px, 2 * (plane % px));
            level.run(PoolPlanes {
                rows: &input[(volume * nx + x) * ny * nz..][..2 * ny * nz],
                n_rows: ny,
                place: [x, 0],
                sides: [ny, nz],
                values,
                positions,
            });
        });
    Pooled { values, positions }
}

/// Pools rows of two neighboring planes.
pub(crate) struct PoolPlanes<'a> {
    /// `n_rows` rows of one plane, then those of the next.
    pub(crate) rows: &'a [f32],
    pub(crate) n_rows: usize,
    /// Plane and row where they begin in their volume; both even.
    pub(crate) place: [usize; 2],
    /// Rows of a whole plane and voxels of a row.
    pub(crate) sides: [usize; 2],
    /// The pooled rows.
    pub(crate) values: &'a mut [f32],
    pub(crate) positions: &'a mut [u32],
}

impl Kernel for PoolPlanes<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let [ny, nz] = self.sides;
        let values = self.values.chunks_exact_mut(nz / 2);
        let positions = self.positions.chunks_exact_mut(nz / 2);
        let corners = |n_rows| [0, nz, n_rows * nz, n_rows * nz + nz];
        for (y, (values, positions)) in values.zip(positions).enumerate() {
            let first = 2 * y * nz;
            let rows = corners(self.n_rows).map(|corner| &self.rows[first + corner..][..nz]);
            let corners = corners(ny).map(|corner| corner as u32);
            let first = (self.place[0] * ny + self.place[1]) * nz + first;
            pool_row(rows, corners, first as u32, values, positions);
        }
    }
}

/// Pools four rows, which begin `corners` after the position `first`.
#[inline(always)]
fn pool_row(
    rows: [&[f32]; 4],
    corners: [u32; 4],
    first: u32,
    values: &mut [f32],
    positions: &mut [u32],
) {
    let n = values.len().min(positions.len());
    let (values, positions) = (&mut values[..n], &mut positions[..n]);
    let [a, b, c, d] = rows.map(|row| &row.as_chunks::<2>().0[..n]);
    let [_, of_b, of_c, of_d] = corners;
    for z in 0..n {
        let (mut largest, mut place) = (a[z][0], 0);
        for (candidate, its_place) in [
            (a[z][1], 1),
            (b[z][0], of_b),
            (b[z][1], of_b + 1),
            (c[z][0], of_c),
            (c[z][1], of_c + 1),
            (d[z][0], of_d),
            (d[z][1], of_d + 1),
        ] {
            // Evaluated whole: the second half of an `&&` would be a branch.
            let wins = ((candidate > largest) | candidate.is_nan()) & !largest.is_nan();
            largest = if wins { candidate } else { largest };
            place = if wins { its_place } else { place };
        }
        values[z] = largest;
        positions[z] = first + place + 2 * z as u32;
    }
}

/// Gradient of the input: each output's gradient goes to the voxel that gave the maximum, all else is 0.
///
/// # Shapes
/// `gradient` and `positions` have shape [`output_dims`] of `dims`, each position inside its own cell; the result has
/// shape `dims`. Slices shorter than their shape give an empty result.
pub fn backward(gradient: &[f32], positions: &[u32], dims: Dims) -> Vec<f32> {
    backward_at(Level::detect(), gradient, positions, dims)
}

fn backward_at(level: Level, gradient: &[f32], positions: &[u32], dims: Dims) -> Vec<f32> {
    let [batch, channels, nx, ny, nz] = dims;
    let n_voxels = batch * channels * nx * ny * nz;
    let n_cells: usize = output_dims(dims).iter().product();
    if gradient.len() < n_cells || positions.len() < n_cells {
        return Vec::new();
    }
    let write = |result: &mut [MaybeUninit<f32>]| {
        expand(level, (gradient, positions), dims, result);
    };
    // SAFETY: `expand` writes all places.
    unsafe { written(n_voxels, write) }
}

/// Writes [`backward`]'s result, all of it, to `result`, which has shape `dims`.
pub(crate) fn expand(
    level: Level,
    (gradient, positions): (&[f32], &[u32]),
    dims: Dims,
    result: &mut [MaybeUninit<f32>],
) {
    let [_, _, nx, ny, nz] = dims;
    let [_, _, px, py, pz] = output_dims(dims);
    result
        .par_chunks_mut((ny * nz).max(1))
        .enumerate()
        .with_min_len(TASK_VOXELS.div_ceil((ny * nz).max(1)))
        .for_each(|(plane, voxels)| {
            let (volume, x) = (plane / nx, plane % nx);
            let n_cells = if x / 2 < px { py * pz } else { 0 };
            let cells = (volume * px + (x / 2).min(px)) * py * pz;
            level.run(ExpandRows {
                gradient: &gradient[cells..][..n_cells],
                positions: &positions[cells..][..n_cells],
                place: [x, 0],
                sides: [ny, nz],
                voxels,
            });
        });
}

/// Rows of one plane of the input's gradient. Writes every voxel.
pub(crate) struct ExpandRows<'a> {
    /// Of all cells of the plane; empty if it has none.
    pub(crate) gradient: &'a [f32],
    pub(crate) positions: &'a [u32],
    /// Plane and row where the rows begin in their volume.
    pub(crate) place: [usize; 2],
    /// Rows of a whole plane and voxels of a row.
    pub(crate) sides: [usize; 2],
    pub(crate) voxels: &'a mut [MaybeUninit<f32>],
}

impl Kernel for ExpandRows<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let [ny, nz] = self.sides;
        let pz = nz / 2;
        let [x, first_row] = self.place;
        for (row_at, row) in self.voxels.chunks_exact_mut(nz).enumerate() {
            let y = first_row + row_at;
            let cells = y / 2 * pz..(y / 2 + 1) * pz;
            if let (Some(gradient), Some(positions)) = (
                self.gradient.get(cells.clone()),
                self.positions.get(cells.clone()),
            ) {
                let first = (x * ny + y) * nz;
                expand_row(gradient, positions, first as u32, row);
            } else {
                row.fill(MaybeUninit::new(0.0));
            }
        }
    }
}

/// One row of the input's gradient, which begins at the position `first`.
#[inline(always)]
fn expand_row(gradient: &[f32], positions: &[u32], first: u32, row: &mut [MaybeUninit<f32>]) {
    let n = gradient.len();
    let (cells, rest) = row.as_chunks_mut::<2>();
    rest.fill(MaybeUninit::new(0.0));
    let (cells, positions) = (&mut cells[..n], &positions[..n]);
    for z in 0..n {
        let voxel = positions[z].wrapping_sub(first + 2 * z as u32);
        let of = |wanted| if voxel == wanted { gradient[z] } else { 0.0 };
        cells[z] = [MaybeUninit::new(of(0)), MaybeUninit::new(of(1))];
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conv3d::simd::Portable;
    use proptest::prelude::*;

    /// The definition, voxel by voxel.
    fn naive(input: &[f32], [b, c, nx, ny, nz]: Dims) -> Vec<f32> {
        let at = |n: usize, x: usize, y: usize, z: usize| input[((n * nx + x) * ny + y) * nz + z];
        let mut out = Vec::new();
        for n in 0..b * c {
            for x in 0..nx / 2 {
                for y in 0..ny / 2 {
                    for z in 0..nz / 2 {
                        let mut m = f32::NEG_INFINITY;
                        for i in 0..8 {
                            m = m.max(at(n, 2 * x + i / 4, 2 * y + i / 2 % 2, 2 * z + i % 2));
                        }
                        out.push(m);
                    }
                }
            }
        }
        out
    }

    /// What [`forward`] promises, one voxel after the other.
    fn first_largest(input: &[f32], dims: Dims) -> Pooled {
        let [batch, channels, nx, ny, nz] = dims;
        let mut pooled = Pooled::default();
        for volume in input.chunks(nx * ny * nz).take(batch * channels) {
            for cell in 0..nx / 2 * (ny / 2) * (nz / 2) {
                let (y_z, z) = (cell / (nz / 2), 2 * (cell % (nz / 2)));
                let corner = (2 * (y_z / (ny / 2)) * ny + 2 * (y_z % (ny / 2))) * nz + z;
                let mut best = corner;
                for voxel in 1..8 {
                    let at = corner + (voxel / 4 * ny + voxel / 2 % 2) * nz + voxel % 2;
                    let (now, candidate) = (volume[best], volume[at]);
                    if candidate > now || (candidate.is_nan() && !now.is_nan()) {
                        best = at;
                    }
                }
                pooled.values.push(volume[best]);
                pooled.positions.push(best as u32);
            }
        }
        pooled
    }

    const LEVELS: [fn() -> Level; 2] = [Level::detect, || Level::Portable(Portable)];

    proptest! {
        #[test]
        fn the_first_largest_of_equal_and_undefined_values_wins_on_all_instruction_sets(
            dims in prop::array::uniform2(2usize..7)
                .prop_flat_map(|[x, y]| (1usize..3, 1usize..3, Just(x), Just(y), 2usize..40)),
            seed in any::<u32>(),
        ) {
            let dims: Dims = dims.into();
            let few = [0.0, -0.0, 1.0, -1.0, f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -f32::NAN];
            let input: Vec<f32> = (0..dims.iter().product::<usize>() as u32)
                .map(|i| few[((i ^ seed).wrapping_mul(2_654_435_761) >> 29) as usize])
                .collect();
            let expected = first_largest(&input, dims);
            let bits = |values: &[f32]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
            for level in LEVELS {
                let found = forward_at(level(), &input, dims);
                prop_assert_eq!(&found.positions, &expected.positions);
                prop_assert_eq!(bits(&found.values), bits(&expected.values));
                let gradient: Vec<f32> = (1..=expected.values.len()).map(|i| i as f32).collect();
                let mut scattered = vec![0.0; input.len()];
                let volume_len: usize = dims[2..].iter().product();
                let n_cells: usize = output_dims(dims)[2..].iter().product();
                for (at, (g, position)) in gradient.iter().zip(&found.positions).enumerate() {
                    scattered[at / n_cells * volume_len + *position as usize] = *g;
                }
                prop_assert_eq!(
                    backward_at(level(), &gradient, &found.positions, dims),
                    scattered
                );
            }
        }

        #[test]
        fn pooling_equals_the_definition_and_its_gradient_lands_on_the_maxima(
            dims in prop::array::uniform5(1usize..6),
            seed in any::<u32>(),
        ) {
            let n: usize = dims.iter().product();
            let input: Vec<f32> = (0..n as u32)
                .map(|i| ((i.wrapping_mul(2_654_435_761) ^ seed) % 1009) as f32 - 500.0)
                .collect();
            let pooled = forward(&input, dims);
            prop_assert_eq!(&pooled.values, &naive(&input, dims));
            let ones = vec![1.0; pooled.values.len()];
            let gradient = backward(&ones, &pooled.positions, dims);
            prop_assert_eq!(gradient.iter().sum::<f32>(), ones.len() as f32);
            let dot: f32 = gradient.iter().zip(&input).map(|(g, v)| g * v).sum();
            prop_assert_eq!(dot, pooled.values.iter().sum::<f32>());
        }
    }

    #[test]
    fn a_nan_in_a_cell_is_not_hidden() {
        let mut input = vec![1.0; 8];
        input[3] = f32::NAN;
        assert!(forward(&input, [1, 1, 2, 2, 2]).values[0].is_nan());
    }

    #[test]
    fn a_side_of_one_pools_to_nothing() {
        assert!(forward(&[1.0; 4], [1, 1, 1, 2, 2]).values.is_empty());
    }
}
