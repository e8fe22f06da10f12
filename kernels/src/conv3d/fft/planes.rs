//! From voxels to columns of spectra and back: the transforms along z and y.
//!
//! A plane is all of y and z of a tile at one x. Eight planes lie in the lanes, so rows and columns of a plane are
//! transformed without a shuffle; one transposition of 8×8 blocks when voxels are read, another when spectra are written,
//! after which the lanes are eight frequencies and x is the only axis left to transform.

#![expect(
    clippy::inline_always,
    reason = "the work must end up inside the function that has the vector instructions"
)]

use std::ops::Range;

use super::codelet::LARGEST;
use super::lanes::{Kernel, LANES, Lanes, Line, array, load_or_zero, parts, parts_mut};
use super::plan::Tiling;
use super::real;
use super::transform::{InPlace, in_place};

/// Lines of a row of voxels, with room for a block that begins with its last voxel.
const ROW: usize = LARGEST / 2 + LANES / 2;
type Row = [Line; ROW];

/// Distances in an array of voxels, in numbers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Strides {
    pub(super) image: usize,
    pub(super) plane: usize,
    pub(super) row: usize,
}

/// Transforms some images of one tile along z and y.
pub(super) struct ToColumns<'a> {
    pub(super) tiling: &'a Tiling,
    /// Begins with the first voxel that the first image has in the tile.
    pub(super) voxels: &'a [f32],
    pub(super) strides: Strides,
    pub(super) images: usize,
    pub(super) planes: usize,
    /// Rows and voxels of a row that the tile has; zeros elsewhere.
    pub(super) rows: Range<usize>,
    pub(super) cells: Range<usize>,
    /// `[block][image][plane]`
    pub(super) columns: &'a mut [Line],
    /// See [`scratch_lines`].
    pub(super) scratch: &'a mut [Line],
}

/// Lines of scratch memory that one plane stage needs.
pub(super) fn scratch_lines(tiling: &Tiling) -> usize {
    tiling.blocks() * LANES
}

impl Kernel for ToColumns<'_> {
    #[inline(always)]
    fn run<S: Lanes>(self) {
        let n_planes = self.images * self.planes;
        if self.rows.is_empty() || self.cells.is_empty() || n_planes == 0 {
            self.columns.fill(Line::ZERO);
            return;
        }
        let [_, ny, nz] = self.tiling.side;
        let half = self.tiling.half();
        let twiddles = real::twiddles(nz / 2);
        let mut cells: Row = [Line::ZERO; ROW];
        let mut between = [Line::ZERO; LARGEST / 2];
        for group in 0..n_planes.div_ceil(LANES) {
            // Lanes left over repeat the last plane.
            let planes: [usize; LANES] =
                std::array::from_fn(|lane| (group * LANES + lane).min(n_planes - 1));
            let starts = planes.map(|plane| {
                plane / self.planes * self.strides.image + plane % self.planes * self.strides.plane
            });
            self.scratch[..self.rows.start * half].fill(Line::ZERO);
            self.scratch[self.rows.end * half..].fill(Line::ZERO);
            for row in 0..self.rows.len() {
                let at = starts.map(|start| start + row * self.strides.row);
                read_cells::<S>(self.voxels, at, &self.cells, &mut cells);
                let spectrum = &mut self.scratch[(self.rows.start + row) * half..][..half];
                real::forward::<S>(&cells[..nz / 2], &twiddles, &mut between, spectrum);
            }
            in_place::<S, false>(
                ny,
                InPlace {
                    lines: &mut self.scratch[..ny * half],
                    stride: half,
                },
            );
            for (block, source) in self.scratch.chunks_exact(LANES).enumerate() {
                // Blocks are far apart, which the processor does not see coming.
                if let Some(ahead) = self.columns.get((block + 2) * n_planes..) {
                    for line in ahead.iter().skip(planes[0]).take(LANES) {
                        S::prefetch(line);
                    }
                }
                let target = &mut self.columns[block * n_planes..][..n_planes];
                for part in 0..2 {
                    let lanes = S::transpose(array!(8, i => S::load(&source[i].0[part])));
                    array!(8, i => lanes[i].store(&mut target[planes[i]].0[part]));
                }
            }
        }
    }
}

/// Reads a row of each of eight planes; number z of a row becomes half of line `z / 2`.
#[inline(always)]
fn read_cells<S: Lanes>(voxels: &[f32], at: [usize; LANES], valid: &Range<usize>, cells: &mut Row) {
    let cells = parts_mut(cells);
    for first in (0..valid.len()).step_by(LANES) {
        let rows = array!(8, lane => load_or_zero::<S>(voxels, at[lane] + first));
        let columns = S::transpose(rows);
        if let Some(cells) = cells.get_mut(valid.start + first..valid.start + first + LANES) {
            array!(8, i => columns[i].store(&mut cells[i]));
        }
    }
    // What the last block read beyond the end of the row may be anything, even NaN.
    let read = valid.start + valid.len().next_multiple_of(LANES);
    for cell in &mut cells[valid.end..read] {
        *cell = [0.0; LANES];
    }
}

/// Where the outputs of one tile come from and go to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Piece {
    /// Line of its first plane inside a block of columns; the others follow.
    pub(super) source: usize,
    /// Place of its first voxel in the target.
    pub(super) target: usize,
    /// Planes, rows and voxels of a row that are wanted.
    pub(super) extent: [usize; 3],
}

/// Transforms columns back along y and z.
pub(super) struct ToPlanes<'a> {
    pub(super) tiling: &'a Tiling,
    /// `[block][…]`, blocks `block_stride` lines apart.
    pub(super) columns: &'a [Line],
    pub(super) block_stride: usize,
    pub(super) pieces: &'a [Piece],
    /// First wanted place of a tile in y and z.
    pub(super) origin: [usize; 2],
    pub(super) plane_stride: usize,
    pub(super) row_stride: usize,
    /// Added to each value.
    pub(super) bias: f32,
    pub(super) target: &'a mut [f32],
    /// See [`scratch_lines`].
    pub(super) scratch: &'a mut [Line],
}

/// One plane's share of a [`ToPlanes`].
#[derive(Clone, Copy, Default)]
struct Plane {
    source: usize,
    target: usize,
    rows: usize,
    cells: usize,
}

impl Kernel for ToPlanes<'_> {
    #[inline(always)]
    fn run<S: Lanes>(self) {
        let [_, ny, nz] = self.tiling.side;
        let half = self.tiling.half();
        let twiddles = real::twiddles(nz / 2);
        let scale = S::splat(1.0 / self.tiling.gain());
        let bias = S::splat(self.bias);
        let mut cells: Row = [Line::ZERO; ROW];
        let mut between = [Line::ZERO; LARGEST / 2];
        let planes: Vec<Plane> = self
            .pieces
            .iter()
            .flat_map(|piece| {
                let [planes, rows, cells] = piece.extent;
                (0..planes).map(move |plane| Plane {
                    source: piece.source + plane,
                    target: piece.target + plane * self.plane_stride,
                    rows,
                    cells,
                })
            })
            .collect();
        for group in planes.chunks(LANES) {
            let lanes: [Plane; LANES] =
                std::array::from_fn(|lane| group[lane.min(group.len() - 1)]);
            for (block, target) in self.scratch.chunks_exact_mut(LANES).enumerate() {
                let source = &self.columns[block * self.block_stride..];
                // Blocks are far apart, which the processor does not see coming.
                if let Some(ahead) = source.get(2 * self.block_stride..) {
                    for plane in &lanes {
                        if let Some(line) = ahead.get(plane.source) {
                            S::prefetch(line);
                        }
                    }
                }
                for part in 0..2 {
                    let lines = array!(8, lane => S::load(&source[lanes[lane].source].0[part]));
                    let values = S::transpose(lines);
                    array!(8, i => values[i].store(&mut target[i].0[part]));
                }
            }
            let rows = group.iter().map(|plane| plane.rows).max().unwrap_or(0);
            let row_cells = group.iter().map(|plane| plane.cells).max().unwrap_or(0);
            let least_rows = group.iter().map(|plane| plane.rows).min().unwrap_or(0);
            let least_cells = group.iter().map(|plane| plane.cells).min().unwrap_or(0);
            in_place::<S, true>(
                ny,
                InPlace {
                    lines: &mut self.scratch[..ny * half],
                    stride: half,
                },
            );
            for row in 0..rows {
                let spectrum = &self.scratch[(self.origin[0] + row) * half..][..half];
                real::inverse::<S>(spectrum, &twiddles, &mut between, &mut cells[..nz / 2]);
                for block in 0..row_cells.div_ceil(LANES) {
                    // The last block overlaps the one before, so that it is whole.
                    let first = (block * LANES).min(row_cells.saturating_sub(LANES));
                    let parts = &parts(&cells)[self.origin[1] + first..][..LANES];
                    let values =
                        S::transpose(array!(8, i => S::load(&parts[i]).mul_add(scale, bias)));
                    let at = row * self.row_stride + first;
                    if group.len() == LANES && row < least_rows && first + LANES <= least_cells {
                        array!(8, lane => {
                            write::<S>(values[lane], self.target, lanes[lane].target + at, LANES);
                        });
                        continue;
                    }
                    for (plane, values) in group.iter().zip(values) {
                        if row < plane.rows && first < plane.cells {
                            let wanted = plane.cells - first;
                            write::<S>(values, self.target, plane.target + at, wanted);
                        }
                    }
                }
            }
        }
    }
}

/// Writes the first `wanted` of eight numbers.
#[inline(always)]
fn write<S: Lanes>(values: S, target: &mut [f32], at: usize, wanted: usize) {
    if wanted >= LANES {
        if let Some(Ok(whole)) = target
            .get_mut(at..at + LANES)
            .map(<&mut [f32; LANES]>::try_from)
        {
            values.store(whole);
        }
        return;
    }
    let mut copy = [0.0; LANES];
    values.store(&mut copy);
    if let Some(rest) = target.get_mut(at..at + wanted) {
        // Pieces of known length: a call to copy so few numbers costs more than they do.
        let mut done = 0;
        for piece in [4, 2, 1] {
            if wanted & piece != 0 {
                match piece {
                    4 => rest[done..done + 4].copy_from_slice(&copy[done..done + 4]),
                    2 => rest[done..done + 2].copy_from_slice(&copy[done..done + 2]),
                    _ => rest[done] = copy[done],
                }
                done += piece;
            }
        }
    }
}
