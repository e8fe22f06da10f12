//! Convolution of volumes: values, gradient of the input and gradient of the kernels, by several algorithms.
//!
//! As networks mean it, without flipping the kernel: `out[n,o,p] = bias[o] + Σ_{i,k} in[n,i,stride·p + k − padding]
//! · weight[o,i,k]`, zeros outside. All arrays are dense, the last axis fastest: input `[batch, in, x, y, z]`, weight
//! `[out, in, kx, ky, kz]`, output `[batch, out, x', y', z']`.
//!
//! Borders are computed as if the padding were in memory: an infinite weight or gradient that meets a padding zero gives
//! NaN (not in input gradients by GEMM, which never meet the padding). Results do not depend on the number of threads.
//!
//! Errors relative to the largest value of a result: at most 1e-6 by the direct convolution, 5e-6 by matrices, 1e-5 by Fourier
//! transforms; the tests compare with f64. Where a result has few values that are all near 0 by cancellation, relative to the
//! size that sums of so many products have.
//!
//! Besides the result, a call needs one workspace a thread and, for weight gradients, sums in f64. Direct: about 300 kB (more
//! only if one row of outputs needs more; for weight gradients of small planes about 1 MB and 3 kB for each output channel), a
//! copy of the weights, at most 16 times their number of sums, and for input gradients with strides one phase of the result.
//! GEMM: about 1 MB for each of factor and product, and for weight gradients the weights of a group of channels once more a
//! task. Fourier transforms: see [`fft`].

mod blocks;
mod correlation;
mod cost;
mod direct;
mod dots;
pub mod fft;
mod gemm;
mod merged;
mod packing;
mod passes;
mod pooled;
#[cfg(test)]
mod reference;
pub(crate) mod row_copy;
pub(crate) mod simd;
#[cfg(test)]
mod tests;

pub use cost::{Pass, choose, choose_pooled};
pub use pooled::{
    PooledGradient, forward_pooled, pooled_bias_gradient, pooled_input_gradient,
    pooled_weight_gradient,
};

use correlation::{Correlation, PackedWeights, Phase};
use direct::Rows;
use passes::OutputGradient;
use rayon::prelude::*;
use simd::Level;

/// Ways to compute the same convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// Products along rows of the input.
    Direct,
    /// Products of matrices, tile by tile.
    Gemm,
    /// Fourier transforms of tiles, see [`fft`].
    Fft,
}

/// What the algorithms that multiply numbers of the input by weights differ in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Layout {
    /// The input in padded rows: [`Algorithm::Direct`].
    Rows,
    /// The input as columns of a matrix: [`Algorithm::Gemm`].
    Columns,
}

impl Layout {
    /// The instruction set that it uses: rows of outputs are often too short for the longest vectors.
    fn level(self) -> Level {
        match self {
            Self::Rows => Level::detect(),
            Self::Columns => Level::widest(),
        }
    }
}

impl Algorithm {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Direct, Self::Gemm, Self::Fft];

    /// Its name in `BRAINAGE_CONV` and in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Gemm => "gemm",
            Self::Fft => "fft",
        }
    }

    /// Whether it can compute this convolution.
    pub fn supports(self, geometry: &Geometry) -> bool {
        match self {
            Self::Direct | Self::Gemm => geometry.stride.iter().all(|stride| *stride > 0),
            Self::Fft => fft::supports(geometry),
        }
    }

    /// How it lays out what it multiplies, if it multiplies numbers of the input.
    fn layout(self) -> Option<Layout> {
        match self {
            Self::Direct => Some(Layout::Rows),
            Self::Gemm => Some(Layout::Columns),
            Self::Fft => None,
        }
    }
}

/// Sizes of one convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Geometry {
    /// Volumes.
    pub batch: usize,
    /// Channels of the input.
    pub in_channels: usize,
    /// Channels of the output.
    pub out_channels: usize,
    /// Sides of the input, in voxels.
    pub input: [usize; 3],
    /// Sides of the kernel, in voxels.
    pub kernel: [usize; 3],
    /// Step between outputs, in voxels; at least 1.
    pub stride: [usize; 3],
    /// Zeros on either side, in voxels.
    pub padding: [usize; 3],
}

impl Geometry {
    /// Sides of the output; 0 where the kernel does not fit.
    pub fn output(&self) -> [usize; 3] {
        std::array::from_fn(|axis| {
            (self.input[axis] + 2 * self.padding[axis])
                .checked_sub(self.kernel[axis])
                .and_then(|room| room.checked_div(self.stride[axis]))
                .map_or(0, |steps| steps + 1)
        })
    }

    /// Numbers in the input.
    pub fn input_len(&self) -> usize {
        self.batch * self.in_channels * self.input.iter().product::<usize>()
    }

    /// Numbers in the kernels.
    pub fn weight_len(&self) -> usize {
        self.out_channels * self.in_channels * self.kernel.iter().product::<usize>()
    }

    /// Numbers in the output.
    pub fn output_len(&self) -> usize {
        self.batch * self.out_channels * self.output().iter().product::<usize>()
    }

    /// Multiply-adds of a direct convolution that multiplies the padding too.
    pub fn macs(&self) -> usize {
        self.output_len() * self.in_channels * self.kernel.iter().product::<usize>()
    }
}

/// Values of the convolution.
///
/// # Shapes
/// As the module says; `bias` has one number for each output channel. Arrays of other lengths than the geometry says, and
/// geometries that the algorithm does not support, give an empty result.
pub fn forward(
    algorithm: Algorithm,
    geometry: &Geometry,
    input: &[f32],
    weight: &[f32],
    bias: Option<&[f32]>,
) -> Vec<f32> {
    let lens_fit = input.len() == geometry.input_len()
        && weight.len() == geometry.weight_len()
        && bias.is_none_or(|bias| bias.len() == geometry.out_channels);
    if !lens_fit || !algorithm.supports(geometry) {
        return Vec::new();
    }
    match algorithm.layout() {
        Some(layout) => forward_at(layout.level(), layout, geometry, (input, weight, bias)),
        None => fft::forward(geometry, input, weight, bias),
    }
}

fn forward_at(
    level: Level,
    layout: Layout,
    g: &Geometry,
    (input, weight, bias): (&[f32], &[f32], Option<&[f32]>),
) -> Vec<f32> {
    let c = Correlation::of_values(g);
    if !c.is_empty() {
        if matches!(layout, Layout::Columns) {
            return gemm::forward(level, &c, (input, weight, bias));
        }
        let n_taps = c.n_taps();
        let weight =
            |o: usize, i: usize, tap: usize| weight[(o * c.in_channels + i) * n_taps + tap];
        return correlate(level, &c, (input, &weight, bias));
    }
    let mut output = vec![0.0; g.output_len()];
    if let Some(bias) = bias {
        for (at, volume) in output.chunks_mut(c.n_positions().max(1)).enumerate() {
            volume.fill(bias[at % g.out_channels]);
        }
    }
    output
}

fn correlate(
    level: Level,
    c: &Correlation,
    (input, weight, bias): (
        &[f32],
        &(impl Fn(usize, usize, usize) -> f32 + Sync),
        Option<&[f32]>,
    ),
) -> Vec<f32> {
    let weights = PackedWeights::new(c, packing::channel_block(c), weight);
    passes::values(level, c, &Rows::new(c, 1), (input, &weights, bias))
}

/// Gradient of the input, given the gradient of the output.
///
/// # Shapes
/// As the module says; arrays of other lengths and unsupported geometries give an empty result.
pub fn input_gradient(
    algorithm: Algorithm,
    geometry: &Geometry,
    output_gradient: &[f32],
    weight: &[f32],
) -> Vec<f32> {
    if !algorithm.supports(geometry)
        || output_gradient.len() != geometry.output_len()
        || weight.len() != geometry.weight_len()
    {
        return Vec::new();
    }
    let arrays = (output_gradient, weight);
    match algorithm.layout() {
        Some(layout) => input_gradient_at(layout.level(), layout, geometry, arrays),
        None => fft::input_gradient(geometry, output_gradient, weight),
    }
}

fn input_gradient_at(
    level: Level,
    layout: Layout,
    g: &Geometry,
    (output_gradient, weight): (&[f32], &[f32]),
) -> Vec<f32> {
    if matches!(layout, Layout::Columns) {
        let c = Correlation::of_values(g);
        if c.is_empty() {
            return vec![0.0; g.input_len()];
        }
        return gemm::input_gradient(level, g, (output_gradient, weight));
    }
    let n_taps: usize = g.kernel.iter().product();
    let mut gradient = Vec::new();
    for phase in Phase::all(g) {
        let c = &phase.correlation;
        let taps = phase.taps();
        // Output and input channels change places.
        let weight =
            |o: usize, i: usize, tap: usize| weight[(i * g.in_channels + o) * n_taps + taps[tap]];
        let arrays = (output_gradient, &weight, None);
        if phase.is_whole() {
            return correlate(level, c, arrays);
        }
        let part = correlate(level, c, arrays);
        gradient.resize(g.input_len(), 0.0);
        phase.scatter(&part, &mut gradient, g.input);
    }
    gradient.resize(g.input_len(), 0.0);
    gradient
}

/// Gradient of the weights, given the gradient of the output.
///
/// # Shapes
/// As the module says; arrays of other lengths and unsupported geometries give an empty result.
pub fn weight_gradient(
    algorithm: Algorithm,
    geometry: &Geometry,
    input: &[f32],
    output_gradient: &[f32],
) -> Vec<f32> {
    if !algorithm.supports(geometry)
        || input.len() != geometry.input_len()
        || output_gradient.len() != geometry.output_len()
    {
        return Vec::new();
    }
    let arrays = (input, OutputGradient::Dense(output_gradient));
    match algorithm.layout() {
        Some(layout) => weight_gradient_at(layout.level(), layout, geometry, arrays),
        None => fft::weight_gradient(geometry, input, output_gradient),
    }
}

fn weight_gradient_at(
    level: Level,
    layout: Layout,
    g: &Geometry,
    (input, output_gradient): (&[f32], OutputGradient<'_>),
) -> Vec<f32> {
    let c = &Correlation::of_values(g);
    if c.is_empty() {
        return vec![0.0; g.weight_len()];
    }
    match layout {
        Layout::Rows => passes::weight_gradient(
            level,
            c,
            &Rows::new(c, dots::POSITIONS),
            input,
            output_gradient,
        ),
        Layout::Columns => match output_gradient {
            OutputGradient::Dense(gradient) => gemm::weight_gradient(level, c, input, gradient),
            OutputGradient::Pooled(pooled) => pooled::with_full(g, pooled, |full| {
                gemm::weight_gradient(level, c, input, full)
            }),
        },
    }
}

/// Gradient of the bias: the sum of each output channel's gradient.
///
/// # Shapes
/// `output_gradient` as the module says, else the result is empty.
pub fn bias_gradient(geometry: &Geometry, output_gradient: &[f32]) -> Vec<f32> {
    if output_gradient.len() != geometry.output_len() {
        return Vec::new();
    }
    let positions: usize = geometry.output().iter().product();
    channel_sums(output_gradient, geometry.out_channels, positions)
}

/// Sums over samples and positions: `[sample][channel][position]` → `[channel]`.
fn channel_sums(numbers: &[f32], n_channels: usize, positions: usize) -> Vec<f32> {
    let mut sums = vec![0.0f64; n_channels];
    if positions > 0 {
        let volumes: Vec<f64> = numbers.par_chunks(positions).map(sum).collect();
        for sample in volumes.chunks(n_channels) {
            for (sum, volume) in sums.iter_mut().zip(sample) {
                *sum += volume;
            }
        }
    }
    sums.iter().map(|sum| *sum as f32).collect()
}

/// Eight running sums, so that the additions need not wait for each other.
fn sum(numbers: &[f32]) -> f64 {
    let mut sums = [0.0; 8];
    let (eights, rest) = numbers.as_chunks::<8>();
    for eight in eights {
        for (sum, number) in sums.iter_mut().zip(eight) {
            *sum += f64::from(*number);
        }
    }
    sums.iter().sum::<f64>() + rest.iter().copied().map(f64::from).sum::<f64>()
}
