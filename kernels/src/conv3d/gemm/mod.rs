//! Convolution as a product of matrices, for volumes so small that their planes fill few vectors.
//!
//! The matrix of inputs (a row for each input channel and tap, a column for each position) is never whole in memory: a
//! tile of it, small enough for the second-level cache, is built from the direct convolution's rows. The product is the
//! direct convolution's inner loop, over all positions of the tile in one run.
#![expect(
    clippy::inline_always,
    reason = "so that the caller's instruction set reaches the code"
)]

use super::blocks::SLACK;
use super::correlation::Correlation;
use super::direct::{Rows, copy};
use super::packing::{BUFFER, Offsets, Packing, Segment, Step, channel_block, part_that_fits};
use super::simd::{Kernel, Level, Simd};

/// Packed inputs are `[input channel][tap][position]`; one channel of [`Rows`] lies behind them while packing.
pub(crate) struct Columns {
    rows: Rows,
    channel_block: usize,
    n_taps: usize,
    n_positions: usize,
    input_voxels: usize,
    offsets: Offsets,
}

impl Columns {
    /// The packing for a correlation that is not empty.
    pub(crate) fn new(c: &Correlation) -> Self {
        let block = channel_block(c);
        let [ox, oy, oz] = c.output;
        let fits = |nx: usize, ny: usize| block * c.n_taps() * nx * ny * oz <= BUFFER;
        let tile = if fits(1, oy) {
            [part_that_fits(ox, |nx| fits(nx, oy)), oy]
        } else {
            [1, part_that_fits(oy, |ny| fits(1, ny))]
        };
        let n_positions = (tile[0] * tile[1] * oz).next_multiple_of(8);
        let offsets = (0..block * c.n_taps()).map(|row| row * n_positions);
        Self {
            rows: Rows::with_tile(c, 1, tile, tile[0]),
            channel_block: block,
            n_taps: c.n_taps(),
            n_positions,
            input_voxels: c.input.iter().product(),
            offsets: Offsets::new(offsets.collect()),
        }
    }
}

impl Packing for Columns {
    fn channel_block(&self) -> usize {
        self.channel_block
    }

    fn tile(&self) -> [usize; 2] {
        self.rows.tile()
    }

    fn step(&self) -> usize {
        self.rows.step()
    }

    fn buffer_len(&self) -> usize {
        self.channel_block * self.n_taps * self.n_positions + SLACK + self.rows.buffer_len()
    }

    fn pack(&self, level: Level, channels: &[f32], step: &Step, buffer: &mut [f32]) {
        let matrix_len = self.channel_block * self.n_taps * self.n_positions;
        let (matrix, rows) = buffer.split_at_mut(matrix_len + SLACK);
        let matrices = matrix.chunks_mut(self.n_taps * self.n_positions);
        let segments = self.rows.segments(step);
        for (channel, matrix) in channels.chunks(self.input_voxels).zip(matrices) {
            self.rows.pack(level, channel, step, rows);
            level.run(Expand {
                rows,
                segments: &segments,
                n_taps: self.n_taps,
                matrix,
                n_positions: self.n_positions,
            });
        }
    }

    fn segments(&self, step: &Step) -> Vec<Segment<'_>> {
        let segments = self.rows.segments(step);
        vec![Segment {
            offsets: &self.offsets,
            position: 0,
            len: segments.iter().map(|segment| segment.len).sum(),
        }]
    }
}

/// Copies the positions of every tap from one channel's rows.
struct Expand<'a> {
    rows: &'a [f32],
    segments: &'a [Segment<'a>],
    n_taps: usize,
    matrix: &'a mut [f32],
    n_positions: usize,
}

impl Kernel for Expand<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        for segment in self.segments {
            let offsets = segment.offsets.first(self.n_taps).0;
            for (offset, row) in offsets.iter().zip(self.matrix.chunks_mut(self.n_positions)) {
                let to = &mut row[segment.position..segment.position + segment.len];
                copy(simd, &self.rows[*offset..offset + segment.len], to);
            }
        }
    }
}
