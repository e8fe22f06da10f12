//! The one problem that values and input gradients come down to, and the weights in the order the inner loop reads them.

use super::Geometry;
use super::blocks::CHANNELS;
use rayon::prelude::*;

/// `out[n,o,p] = Σ_{i,k} in[n,i,stride·p + k − before] · w[o,i,k]`, zeros outside.
///
/// Unlike a [`Geometry`] it has an output of any size, and `before` may be negative: the gradient of an input with much
/// padding begins inside the output's gradient.
#[derive(Clone, Debug)]
pub(crate) struct Correlation {
    pub(crate) batch: usize,
    pub(crate) in_channels: usize,
    pub(crate) out_channels: usize,
    pub(crate) input: [usize; 3],
    pub(crate) output: [usize; 3],
    pub(crate) kernel: [usize; 3],
    pub(crate) stride: [usize; 3],
    pub(crate) before: [isize; 3],
}

impl Correlation {
    /// The values of a convolution.
    pub(crate) fn of_values(g: &Geometry) -> Self {
        Self {
            batch: g.batch,
            in_channels: g.in_channels,
            out_channels: g.out_channels,
            input: g.input,
            output: g.output(),
            kernel: g.kernel,
            stride: g.stride,
            before: g.padding.map(|padding| padding as isize),
        }
    }

    pub(crate) fn n_taps(&self) -> usize {
        self.kernel.iter().product()
    }

    pub(crate) fn n_positions(&self) -> usize {
        self.output.iter().product()
    }

    /// Whether there is neither an output nor a product to compute.
    pub(crate) fn is_empty(&self) -> bool {
        let voxels: usize = self.input.iter().product();
        let products = self.n_taps() * self.n_positions() * voxels;
        self.batch * self.in_channels * self.out_channels * products == 0
    }
}

/// One axis of one phase of an input gradient. Input voxels whose distance from the padded border leaves the same rest
/// when divided by the stride meet the same taps, so their gradients are a correlation of stride 1.
#[derive(Clone, Copy)]
struct PhaseAxis {
    rest: usize,
    n_taps: usize,
    n_voxels: usize,
    first_voxel: usize,
    before: isize,
}

impl PhaseAxis {
    fn new(g: &Geometry, axis: usize, rest: usize) -> Self {
        let (stride, padding) = (g.stride[axis], g.padding[axis]);
        let n_taps = g.kernel[axis].saturating_sub(rest).div_ceil(stride);
        let first = padding.saturating_sub(rest).div_ceil(stride);
        let end = (g.input[axis] + padding)
            .saturating_sub(rest)
            .div_ceil(stride);
        Self {
            rest,
            n_taps,
            n_voxels: end.saturating_sub(first),
            first_voxel: (rest + stride * first).saturating_sub(padding),
            before: n_taps as isize - 1 - first as isize,
        }
    }
}

/// The part of an input gradient that one phase of the stride gives.
pub(crate) struct Phase {
    axes: [PhaseAxis; 3],
    stride: [usize; 3],
    kernel: [usize; 3],
    /// From the output's gradient to the gradient of this phase's voxels.
    pub(crate) correlation: Correlation,
}

impl Phase {
    /// All phases of a geometry that have voxels and taps; the other voxels have gradient 0.
    pub(crate) fn all(g: &Geometry) -> Vec<Self> {
        let mut phases = Vec::new();
        for x in 0..g.stride[0] {
            for y in 0..g.stride[1] {
                for z in 0..g.stride[2] {
                    let rests = [x, y, z];
                    let axes = std::array::from_fn(|axis| PhaseAxis::new(g, axis, rests[axis]));
                    let phase = Self::new(g, axes);
                    if !phase.correlation.is_empty() {
                        phases.push(phase);
                    }
                }
            }
        }
        phases
    }

    fn new(g: &Geometry, axes: [PhaseAxis; 3]) -> Self {
        let correlation = Correlation {
            batch: g.batch,
            in_channels: g.out_channels,
            out_channels: g.in_channels,
            input: g.output(),
            output: axes.map(|axis| axis.n_voxels),
            kernel: axes.map(|axis| axis.n_taps),
            stride: [1; 3],
            before: axes.map(|axis| axis.before),
        };
        Self {
            axes,
            stride: g.stride,
            kernel: g.kernel,
            correlation,
        }
    }

    /// The taps of the convolution that the taps of this phase's correlation are: mirrored, and every `stride`-th.
    pub(crate) fn taps(&self) -> Vec<usize> {
        let [_, ky, kz] = self.correlation.kernel;
        let tap_of = |tap: usize| {
            let place = [tap / (ky * kz), tap / kz % ky, tap % kz];
            let [x, y, z]: [usize; 3] = std::array::from_fn(|axis| {
                let PhaseAxis { rest, n_taps, .. } = self.axes[axis];
                rest + self.stride[axis] * (n_taps - 1 - place[axis])
            });
            (x * self.kernel[1] + y) * self.kernel[2] + z
        };
        (0..self.correlation.n_taps()).map(tap_of).collect()
    }

    /// Whether the phase is the whole gradient, in its order.
    pub(crate) fn is_whole(&self) -> bool {
        self.stride == [1; 3]
    }

    /// Writes this phase's gradient where it belongs in the gradient of the whole input.
    pub(crate) fn scatter(&self, phase: &[f32], gradient: &mut [f32], input: [usize; 3]) {
        let [px, py, pz] = self.correlation.output;
        let [_, iy, iz] = input;
        gradient
            .par_chunks_mut(input.iter().product())
            .zip(phase.par_chunks(px * py * pz))
            .for_each(|(gradient, phase)| {
                for (row, values) in phase.chunks(pz).enumerate() {
                    let x = self.axes[0].first_voxel + self.stride[0] * (row / py);
                    let y = self.axes[1].first_voxel + self.stride[1] * (row % py);
                    let to = &mut gradient[(x * iy + y) * iz + self.axes[2].first_voxel..];
                    for (to, value) in to.iter_mut().step_by(self.stride[2]).zip(values) {
                        *to = *value;
                    }
                }
            });
    }
}

/// Weights as the inner loop reads them: `[block of input channels][block of output channels][input channel][tap][output
/// channel]`.
pub(crate) struct PackedWeights {
    numbers: Vec<f32>,
    out_channels: usize,
    n_taps: usize,
}

impl PackedWeights {
    /// Packs `weight(output channel, input channel, tap)` in blocks of `channel_block` input channels.
    pub(crate) fn new(
        c: &Correlation,
        channel_block: usize,
        weight: impl Fn(usize, usize, usize) -> f32 + Sync,
    ) -> Self {
        let n_taps = c.n_taps();
        let mut numbers = vec![0.0; c.out_channels * c.in_channels * n_taps];
        numbers
            .par_chunks_mut(channel_block * c.out_channels * n_taps)
            .enumerate()
            .for_each(|(block, numbers)| {
                let first_in = block * channel_block;
                let n_in = channel_block.min(c.in_channels - first_in);
                let mut numbers = numbers.iter_mut();
                for first in (0..c.out_channels).step_by(CHANNELS) {
                    let end = c.out_channels.min(first + CHANNELS);
                    for i in first_in..first_in + n_in {
                        for tap in 0..n_taps {
                            for (o, number) in (first..end).zip(numbers.by_ref()) {
                                *number = weight(o, i, tap);
                            }
                        }
                    }
                }
            });
        Self {
            numbers,
            out_channels: c.out_channels,
            n_taps,
        }
    }

    /// The weights between `n_in` input channels, which are a block, and the output channels from `first_out` on.
    pub(crate) fn block(&self, first_in: usize, n_in: usize, first_out: usize) -> &[f32] {
        let block = self.out_channels * first_in * self.n_taps;
        &self.numbers[block + first_out * n_in * self.n_taps..]
            [..(self.out_channels - first_out) * n_in * self.n_taps]
    }
}
