//! Direct convolution: rows of the input are copied once for each tap along z, and all other taps are offsets.
//!
//! With the rows of a plane back to back, as long as the output's, a vector may run over the end of a row: no lane is
//! lost to padding or to short rows, and the inner loop has no borders. Strides along y sort the rows by their rest.

#![expect(
    clippy::inline_always,
    reason = "so that the caller's instruction set reaches the code"
)]

mod row_copy;

use super::blocks::SLACK;
use super::correlation::Correlation;
use super::packing::{BUFFER, Offsets, Packing, Segments, Tile, channel_block, tile_that_fits};
use super::simd::{Kernel, Level, Simd};
pub(crate) use row_copy::copy;
use row_copy::{RowCopy, zero};

/// A packed input channel is `[tap along z][rest of y][x][y][output z]`.
pub(crate) struct Rows {
    correlation: Correlation,
    channel_block: usize,
    tile: [usize; 2],
    /// Sides of a packed channel, without the z.
    sides: Sides,
    offsets: Offsets,
    /// For each tap along z.
    copies: Vec<RowCopy>,
}

#[derive(Clone, Copy)]
struct Sides {
    rests: usize,
    planes: usize,
    rows: usize,
}

impl Sides {
    fn new(c: &Correlation, [nx, ny]: [usize; 2]) -> Self {
        Self {
            rests: c.stride[1].min(c.kernel[1]),
            planes: (nx - 1) * c.stride[0] + c.kernel[0],
            rows: ny + (c.kernel[1] - 1) / c.stride[1],
        }
    }

    fn channel_len(self, c: &Correlation) -> usize {
        c.kernel[2] * self.rests * self.planes * self.rows * c.output[2]
    }
}

impl Rows {
    /// The packing for a correlation that is not empty.
    pub(crate) fn new(correlation: &Correlation) -> Self {
        let block = channel_block(correlation);
        let revisited = correlation.in_channels > block;
        let tile = tile_that_fits(correlation.output, |nx, ny| {
            let outputs = nx * ny * correlation.output[2] * correlation.out_channels;
            block * Sides::new(correlation, [nx, ny]).channel_len(correlation) <= BUFFER
                && (!revisited || outputs <= BUFFER)
        });
        Self::with_tile(correlation, block, tile)
    }

    /// The packing in given blocks and tiles.
    pub(crate) fn with_tile(c: &Correlation, channel_block: usize, tile: [usize; 2]) -> Self {
        let sides = Sides::new(c, tile);
        let mut offsets = Vec::with_capacity(channel_block * c.n_taps());
        for channel in 0..channel_block {
            for x in 0..c.kernel[0] {
                for y in 0..c.kernel[1] {
                    for z in 0..c.kernel[2] {
                        let row = (z * sides.rests + y % c.stride[1]) * sides.planes + x;
                        let row = row * sides.rows + y / c.stride[1];
                        offsets.push(channel * sides.channel_len(c) + row * c.output[2]);
                    }
                }
            }
        }
        Self {
            correlation: c.clone(),
            channel_block,
            tile,
            sides,
            offsets: Offsets::new(offsets),
            copies: (0..c.kernel[2]).map(|tap| RowCopy::new(c, tap)).collect(),
        }
    }

    pub(crate) fn channel_len(&self) -> usize {
        self.sides.channel_len(&self.correlation)
    }

    #[inline(always)]
    fn pack_channel<S: Simd>(&self, simd: S, channel: &[f32], tile: &Tile, packed: &mut [f32]) {
        let c = &self.correlation;
        let [_, iy, iz] = c.input;
        let oz = c.output[2];
        let inside = |at: usize, axis: usize| {
            let at = at.checked_add_signed(-c.before[axis])?;
            (at < c.input[axis]).then_some(at)
        };
        let n_planes = (tile.nx - 1) * c.stride[0] + c.kernel[0];
        let n_rows = tile.ny + (c.kernel[1] - 1) / c.stride[1];
        let tap_len = self.sides.rests * self.sides.planes * self.sides.rows * oz;
        for rest in 0..self.sides.rests {
            for plane in 0..n_planes {
                let x = inside(tile.x * c.stride[0] + plane, 0);
                for row in 0..n_rows {
                    let y = inside((tile.y + row) * c.stride[1] + rest, 1);
                    let to = (rest * self.sides.planes + plane) * self.sides.rows + row;
                    let taps = packed[to * oz..].chunks_mut(tap_len);
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

struct Pack<'a> {
    rows: &'a Rows,
    channels: &'a [f32],
    tile: &'a Tile,
    buffer: &'a mut [f32],
}

impl Kernel for Pack<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let voxels = self.rows.correlation.input.iter().product();
        let channels = self.channels.chunks(voxels);
        let packed = self.buffer.chunks_mut(self.rows.channel_len());
        for (channel, packed) in channels.zip(packed) {
            self.rows.pack_channel(simd, channel, self.tile, packed);
        }
    }
}

impl Packing for Rows {
    fn channel_block(&self) -> usize {
        self.channel_block
    }

    fn tile(&self) -> [usize; 2] {
        self.tile
    }

    fn buffer_len(&self) -> usize {
        self.channel_block * self.channel_len() + SLACK
    }

    fn offsets(&self) -> &Offsets {
        &self.offsets
    }

    fn segments(&self, tile: &Tile) -> Segments {
        let c = &self.correlation;
        Segments {
            count: tile.nx,
            step: c.stride[0] * self.sides.rows * c.output[2],
            len: tile.ny * c.output[2],
        }
    }

    fn pack(&self, level: Level, channels: &[f32], tile: &Tile, buffer: &mut [f32]) {
        level.run(Pack {
            rows: self,
            channels,
            tile,
            buffer,
        });
    }
}
