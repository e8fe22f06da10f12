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
use super::packing::{BUFFER, Offsets, Packing, Segments, Tile, channel_block, tile_that_fits};
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
        let columns = |nx: usize, ny: usize| nx * ny * c.output[2];
        let tile = tile_that_fits(c.output, |nx, ny| {
            block * c.n_taps() * columns(nx, ny) <= BUFFER
        });
        let n_positions = columns(tile[0], tile[1]).next_multiple_of(8);
        let offsets = (0..block * c.n_taps()).map(|row| row * n_positions);
        Self {
            rows: Rows::with_tile(c, 1, tile),
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

    fn buffer_len(&self) -> usize {
        self.channel_block * self.n_taps * self.n_positions + SLACK + self.rows.buffer_len()
    }

    fn offsets(&self) -> &Offsets {
        &self.offsets
    }

    fn segments(&self, tile: &Tile) -> Segments {
        let Segments { count, len, .. } = self.rows.segments(tile);
        Segments {
            count: 1,
            step: 0,
            len: count * len,
        }
    }

    fn pack(&self, level: Level, channels: &[f32], tile: &Tile, buffer: &mut [f32]) {
        let matrix_len = self.channel_block * self.n_taps * self.n_positions;
        let (matrix, rows) = buffer.split_at_mut(matrix_len + SLACK);
        let matrices = matrix.chunks_mut(self.n_taps * self.n_positions);
        for (channel, matrix) in channels.chunks(self.input_voxels).zip(matrices) {
            self.rows.pack(level, channel, tile, rows);
            level.run(Expand {
                rows,
                offsets: self.rows.offsets().first(self.n_taps).0,
                segments: self.rows.segments(tile),
                matrix,
                n_positions: self.n_positions,
            });
        }
    }
}

/// Copies the positions of every tap from one channel's rows.
struct Expand<'a> {
    rows: &'a [f32],
    offsets: &'a [usize],
    segments: Segments,
    matrix: &'a mut [f32],
    n_positions: usize,
}

impl Kernel for Expand<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Segments { count, step, len } = self.segments;
        for (offset, row) in self
            .offsets
            .iter()
            .zip(self.matrix.chunks_mut(self.n_positions))
        {
            for (segment, to) in row[..count * len].chunks_mut(len).enumerate() {
                copy(simd, &self.rows[offset + segment * step..][..len], to);
            }
        }
    }
}
