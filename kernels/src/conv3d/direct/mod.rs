//! Direct convolution: rows of the input are copied once for each tap along z, and all other taps are offsets.
//!
//! With the rows of a plane back to back, as long as the output's, a vector may run over the end of a row: no lane is
//! lost to padding or to short rows, and the inner loop has no borders. Strides along y sort the rows by their rest.

#![expect(
    clippy::inline_always,
    reason = "so that the caller's instruction set reaches the code"
)]

use super::blocks::SLACK;
use super::correlation::Correlation;
use super::packing::{BUFFER, Offsets, Segment, Step, channel_block, part_that_fits};
use super::row_copy::{RowCopy, zero};
use super::simd::{Kernel, Level, Simd};
use std::ops::Range;

/// Tasks to cut a pass into, if the planes that neighbours both pack are few against their own.
const TASKS: usize = 16;

/// A packed input channel is `[tap along z][rest of y][plane][row][output z]`. Its planes are a ring: each step of a tile
/// overwrites those that only earlier steps needed.
pub(crate) struct Rows {
    correlation: Correlation,
    channel_block: usize,
    tile: [usize; 2],
    step: usize,
    rests: usize,
    ring: usize,
    height: usize,
    /// For each place in the ring that the first plane of an output may have.
    offsets: Vec<Offsets>,
    /// For each tap along z.
    copies: Vec<RowCopy>,
}

impl Rows {
    /// The packing for a correlation that is not empty. Where planes are small, a step has at least `positions`.
    pub(crate) fn new(c: &Correlation, positions: usize) -> Self {
        let [ox, oy, oz] = c.output;
        let block = channel_block(c);
        let len = |step, ny| block * Self::with_tile(c, 1, [step, ny], step).channel_len();
        let ny = part_that_fits(oy, |ny| len(1, ny) <= BUFFER);
        if ny < oy {
            return Self::with_tile(c, block, [1, ny], 1);
        }
        let step = positions.div_ceil(oy * oz).min(ox);
        let step = part_that_fits(step, |step| len(step, oy) <= BUFFER);
        let most_runs = (ox / (4 * c.kernel[0]).max(step)).max(1);
        let n_runs = TASKS.div_ceil(c.batch).min(most_runs);
        let nx = ox.div_ceil(n_runs).next_multiple_of(step);
        Self::with_tile(c, block, [nx, oy], step)
    }

    /// The packing in given blocks, tiles and steps.
    pub(crate) fn with_tile(
        c: &Correlation,
        channel_block: usize,
        tile: [usize; 2],
        step: usize,
    ) -> Self {
        let mut rows = Self {
            correlation: c.clone(),
            channel_block,
            tile,
            step,
            rests: c.stride[1].min(c.kernel[1]),
            ring: (step - 1) * c.stride[0] + c.kernel[0],
            height: tile[1] + (c.kernel[1] - 1) / c.stride[1],
            offsets: Vec::new(),
            copies: (0..c.kernel[2]).map(|tap| RowCopy::new(c, tap)).collect(),
        };
        rows.offsets = (0..rows.ring)
            .map(|first| rows.offsets_from(first))
            .collect();
        rows
    }

    fn offsets_from(&self, first: usize) -> Offsets {
        let c = &self.correlation;
        let mut offsets = Vec::with_capacity(self.channel_block * c.n_taps());
        for channel in 0..self.channel_block {
            for x in 0..c.kernel[0] {
                for y in 0..c.kernel[1] {
                    for z in 0..c.kernel[2] {
                        let plane = (z * self.rests + y % c.stride[1]) * self.ring;
                        let plane = plane + (first + x) % self.ring;
                        let row = plane * self.height + y / c.stride[1];
                        offsets.push(channel * self.channel_len() + row * c.output[2]);
                    }
                }
            }
        }
        Offsets::new(offsets)
    }

    pub(crate) fn channel_len(&self) -> usize {
        let c = &self.correlation;
        c.kernel[2] * self.rests * self.ring * self.height * c.output[2]
    }

    /// Planes of the padded input that a step adds to what the tile's steps before it have packed.
    fn new_planes(&self, step: &Step) -> Range<usize> {
        let (stride, kernel) = (self.correlation.stride[0], self.correlation.kernel[0]);
        let first = step.xs.start * stride;
        let packed = if step.xs.start > 0 {
            first - stride + kernel
        } else {
            0
        };
        first.max(packed)..(step.xs.end - 1) * stride + kernel
    }

    #[inline(always)]
    fn pack_channel<S: Simd>(&self, simd: S, channel: &[f32], step: &Step, packed: &mut [f32]) {
        let c = &self.correlation;
        let tile = step.tile;
        let [_, iy, iz] = c.input;
        let oz = c.output[2];
        let inside = |at: usize, axis: usize| {
            let at = at.checked_add_signed(-c.before[axis])?;
            (at < c.input[axis]).then_some(at)
        };
        let n_rows = tile.ny + (c.kernel[1] - 1) / c.stride[1];
        let tap_len = self.rests * self.ring * self.height * oz;
        for rest in 0..self.rests {
            for plane in self.new_planes(step) {
                let x = inside(tile.x * c.stride[0] + plane, 0);
                let to = (rest * self.ring + plane % self.ring) * self.height;
                for row in 0..n_rows {
                    let y = inside((tile.y + row) * c.stride[1] + rest, 1);
                    let taps = packed[(to + row) * oz..].chunks_mut(tap_len);
                    if let (Some(x), Some(y)) = (x, y) {
                        let from = &channel[(x * iy + y) * iz..][..iz];
                        for (copy, to) in self.copies.iter().zip(taps) {
                            copy.run(simd, from, &mut to[..oz]);
                        }
                    } else {
                        for to in taps {
                            zero(simd, &mut to[..oz]);
                        }
                    }
                }
            }
        }
    }
}

impl Rows {
    /// Input channels that are packed together.
    pub(crate) fn channel_block(&self) -> usize {
        self.channel_block
    }

    /// `[nx, ny]` of the tiles; more than one x only with whole planes.
    pub(crate) fn tile(&self) -> [usize; 2] {
        self.tile
    }

    /// How many x of a tile are packed, and computed, at once.
    pub(crate) fn step(&self) -> usize {
        self.step
    }

    /// Numbers in the buffer, with what the inner loops may read beyond.
    pub(crate) fn buffer_len(&self) -> usize {
        self.channel_block * self.channel_len() + SLACK
    }

    /// Packs input channels of one sample, at most a block, for the x of a step. The steps of a tile come in order and
    /// find the buffer as the one before left it.
    pub(crate) fn pack(&self, level: Level, channels: &[f32], step: &Step, buffer: &mut [f32]) {
        level.run(Pack {
            rows: self,
            channels,
            step,
            buffer,
        });
    }

    /// The step's outputs, in runs that the packed inputs have, too.
    pub(crate) fn segments(&self, step: &Step) -> Vec<Segment<'_>> {
        let c = &self.correlation;
        let len = step.tile.ny * c.output[2];
        let segment = |x: usize| Segment {
            offsets: &self.offsets[x * c.stride[0] % self.ring],
            position: x * len,
            len,
        };
        step.xs.clone().map(segment).collect()
    }
}

struct Pack<'a> {
    rows: &'a Rows,
    channels: &'a [f32],
    step: &'a Step,
    buffer: &'a mut [f32],
}

impl Kernel for Pack<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let voxels = self.rows.correlation.input.iter().product();
        let channels = self.channels.chunks(voxels);
        let packed = self.buffer.chunks_mut(self.rows.channel_len());
        for (channel, packed) in channels.zip(packed) {
            self.rows.pack_channel(simd, channel, self.step, packed);
        }
    }
}
