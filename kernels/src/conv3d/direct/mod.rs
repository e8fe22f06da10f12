//! Direct convolution: rows of the input are copied once for each tap along z, and all other taps are offsets.
//!
//! With the rows of a plane back to back, as long as the output's, a vector may run over the end of a row: no lane is
//! lost to padding or to short rows, and the inner loop has no borders. Strides along y sort the rows by their rest.

use super::blocks::SLACK;
use super::correlation::Correlation;
use super::packing::{BUFFER, Offsets, Packing, Segments, Tile, channel_block, tile_that_fits};

/// A packed input channel is `[tap along z][rest of y][x][y][output z]`.
pub(crate) struct Rows {
    correlation: Correlation,
    channel_block: usize,
    tile: [usize; 2],
    /// Sides of a packed channel, without the z.
    sides: Sides,
    offsets: Offsets,
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
        }
    }

    pub(crate) fn channel_len(&self) -> usize {
        self.sides.channel_len(&self.correlation)
    }

    fn pack_channel(&self, channel: &[f32], tile: &Tile, packed: &mut [f32]) {
        let c = &self.correlation;
        let [ix, iy, iz] = c.input;
        let inside = |at: usize, axis: usize| {
            let at = at.checked_add_signed(-c.before[axis])?;
            (at < c.input[axis]).then_some(at)
        };
        let n_planes = (tile.nx - 1) * c.stride[0] + c.kernel[0];
        let n_rows = tile.ny + (c.kernel[1] - 1) / c.stride[1];
        debug_assert_eq!(channel.len(), ix * iy * iz);
        for tap in 0..c.kernel[2] {
            let row = RowCopy::new(c, tap);
            for rest in 0..self.sides.rests {
                for plane in 0..n_planes {
                    let x = inside(tile.x * c.stride[0] + plane, 0);
                    let to = ((tap * self.sides.rests + rest) * self.sides.planes + plane)
                        * self.sides.rows
                        * c.output[2];
                    let rows = packed[to..].chunks_mut(c.output[2]).take(n_rows);
                    for (r, to) in rows.enumerate() {
                        let y = inside((tile.y + r) * c.stride[1] + rest, 1);
                        match (x, y) {
                            (Some(x), Some(y)) => {
                                row.copy(&channel[(x * iy + y) * iz..][..iz], to);
                            }
                            _ => to.fill(0.0),
                        }
                    }
                }
            }
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

    fn pack(&self, channels: &[f32], tile: &Tile, buffer: &mut [f32]) {
        let voxels = self.correlation.input.iter().product();
        let channels = channels.chunks(voxels);
        for (channel, packed) in channels.zip(buffer.chunks_mut(self.channel_len())) {
            self.pack_channel(channel, tile, packed);
        }
    }
}

/// How one tap sees a row along z: zeros, every `stride`-th voxel from `first` on, zeros.
struct RowCopy {
    zeros_before: usize,
    end: usize,
    first: usize,
    stride: usize,
}

impl RowCopy {
    fn new(c: &Correlation, tap: usize) -> Self {
        let (n, stride) = (c.output[2], c.stride[2]);
        let outside = c.before[2] - tap as isize;
        let zeros_before = usize::try_from(outside)
            .unwrap_or(0)
            .div_ceil(stride)
            .min(n);
        let end = c.input[2].saturating_add_signed(outside).div_ceil(stride);
        Self {
            zeros_before,
            end: end.clamp(zeros_before, n),
            first: (zeros_before * stride).saturating_add_signed(-outside),
            stride,
        }
    }

    #[inline]
    fn copy(&self, from: &[f32], to: &mut [f32]) {
        to[..self.zeros_before].fill(0.0);
        to[self.end..].fill(0.0);
        let to = &mut to[self.zeros_before..self.end];
        if to.is_empty() {
            return;
        }
        let from = &from[self.first..];
        if self.stride == 1 {
            to.copy_from_slice(&from[..to.len()]);
        } else {
            for (to, from) in to.iter_mut().zip(from.iter().step_by(self.stride)) {
                *to = *from;
            }
        }
    }
}
