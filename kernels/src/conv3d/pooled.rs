//! Convolution and max-pooling by two in one pass, and the gradients from the gradient of the pooled values: the full
//! output, eight times as large, need not be in memory.
#![expect(
    unsafe_code,
    reason = "blocks write to places, and the caller vouches for them"
)]

use super::blocks::{Accumulate, CHANNELS, Start};
use super::correlation::{Correlation, PackedWeights};
use super::direct::Rows;
use super::packing::{Step, Tile, channel_block, part_that_fits, tiles, with_workspace};
use super::passes::{OutputGradient, TASKS, channel_group};
use super::simd::Level;
use super::{Algorithm, Geometry, Layout, channel_sums, fft};
use crate::max_pool3d::{self, Dims, PoolPlanes, Pooled};
use crate::output::places;
use rayon::prelude::*;
use std::sync::{Mutex, PoisonError};

/// Numbers in a packed buffer of two planes.
const BUFFER: usize = 72 << 10;
/// Output channels that are computed before they are pooled, so that they are still in the cache.
const CHANNELS_AT_ONCE: usize = 2 * CHANNELS;
/// Numbers of full gradients that rest between calls, in all.
const KEPT: usize = 64 << 20;

/// Shape of the output.
fn output_dims(g: &Geometry) -> Dims {
    let [x, y, z] = g.output();
    [g.batch, g.out_channels, x, y, z]
}

/// Numbers in the pooled output.
fn pooled_len(g: &Geometry) -> usize {
    max_pool3d::output_dims(output_dims(g)).iter().product()
}

/// Values of the convolution, max-pooled by two: the same values and positions, to the last bit, as
/// [`max_pool3d::forward`] of [`super::forward`]'s result.
///
/// [`Algorithm::Gemm`] goes through the full output, which is small where it pays.
///
/// # Shapes
/// As [`super::forward`]; the result is that of pooling its result. Arrays of other lengths than the geometry says, and
/// geometries that the algorithm does not support, give an empty result.
pub fn forward_pooled(
    algorithm: Algorithm,
    geometry: &Geometry,
    input: &[f32],
    weight: &[f32],
    bias: Option<&[f32]>,
) -> Pooled {
    forward_pooled_at(Level::detect(), algorithm, geometry, (input, weight, bias))
}

pub(super) fn forward_pooled_at(
    level: Level,
    algorithm: Algorithm,
    g: &Geometry,
    (input, weight, bias): (&[f32], &[f32], Option<&[f32]>),
) -> Pooled {
    let lens_fit = input.len() == g.input_len()
        && weight.len() == g.weight_len()
        && bias.is_none_or(|bias| bias.len() == g.out_channels);
    if !lens_fit || !algorithm.supports(g) || pooled_len(g) == 0 {
        return Pooled::default();
    }
    let c = Correlation::of_values(g);
    match algorithm {
        Algorithm::Fft => fft::forward_pooled(g, input, weight, bias),
        Algorithm::Direct if !c.is_empty() => {
            let n_taps = c.n_taps();
            let weights = PackedWeights::new(&c, channel_block(&c), |o, i, tap| {
                weight[(o * c.in_channels + i) * n_taps + tap]
            });
            pooled_values(level, &c, (input, &weights, bias))
        }
        Algorithm::Direct | Algorithm::Gemm => {
            let arrays = (input, weight, bias);
            let output = super::forward_at(level, Layout::Columns, g, arrays);
            max_pool3d::forward(&output, output_dims(g))
        }
    }
}

/// Rows, two planes at once, and the outputs to compute with them.
struct Planes {
    rows: Rows,
    /// Of even sides; what pooling drops is left out.
    tiles: Vec<Tile>,
    /// Output channels that are computed before any is pooled.
    channels_at_once: usize,
}

impl Planes {
    fn new(c: &Correlation) -> Self {
        let [px, py, _] = c.output.map(|side| side / 2);
        let block = channel_block(c);
        let one_block = block == c.in_channels;
        let fits = |py| block * Rows::with_tile(c, 1, [2, 2 * py], 2).channel_len() <= BUFFER;
        let rows = part_that_fits(py, fits);
        // Planes stay packed from step to step only if no other channels come in between.
        let nx = if one_block && rows == py {
            let most_runs = (px / (2 * c.kernel[0])).max(1);
            px.div_ceil(TASKS.div_ceil(c.batch).min(most_runs))
        } else {
            1
        };
        let tile = [2 * nx, 2 * rows];
        Self {
            rows: Rows::with_tile(c, block, tile, 2),
            tiles: tiles([2 * px, 2 * py, c.output[2]], tile),
            channels_at_once: if one_block {
                CHANNELS_AT_ONCE
            } else {
                c.out_channels
            },
        }
    }
}

struct Task<'o> {
    sample: usize,
    tile: Tile,
    first_channel: usize,
    /// The tile's pooled values and their positions, in each output channel of the task.
    outputs: Vec<(&'o mut [f32], &'o mut [u32])>,
}

fn pooled_values(
    level: Level,
    c: &Correlation,
    arrays: (&[f32], &PackedWeights, Option<&[f32]>),
) -> Pooled {
    let planes = Planes::new(c);
    let volume: usize = c.output.iter().map(|side| side / 2).product();
    let n = c.batch * c.out_channels * volume;
    let mut pooled = Pooled {
        values: vec![0.0; n],
        positions: vec![0; n],
    };
    let channels = pooled
        .values
        .chunks_mut(volume)
        .zip(pooled.positions.chunks_mut(volume));
    let group = channel_group(c, planes.tiles.len());
    let mut tasks: Vec<Task<'_>> = Vec::new();
    for (index, (mut values, mut positions)) in channels.enumerate() {
        let (sample, channel) = (index / c.out_channels, index % c.out_channels);
        if channel.is_multiple_of(group) {
            tasks.extend(planes.tiles.iter().map(|tile| Task {
                sample,
                tile: *tile,
                first_channel: channel,
                outputs: Vec::with_capacity(group),
            }));
        }
        let first_task = tasks.len() - planes.tiles.len();
        for (tile, task) in planes.tiles.iter().zip(&mut tasks[first_task..]) {
            let len = tile.nx / 2 * (tile.ny / 2) * (c.output[2] / 2);
            let (of_tile, rest) = values.split_at_mut(len);
            let (its_positions, rest_positions) = positions.split_at_mut(len);
            task.outputs.push((of_tile, its_positions));
            (values, positions) = (rest, rest_positions);
        }
    }
    tasks
        .into_par_iter()
        .for_each(|mut task| task.run(level, c, &planes, arrays));
    pooled
}

impl Task<'_> {
    fn run(
        &mut self,
        level: Level,
        c: &Correlation,
        planes: &Planes,
        (input, weights, bias): (&[f32], &PackedWeights, Option<&[f32]>),
    ) {
        let rows = &planes.rows;
        let in_voxels: usize = c.input.iter().product();
        let sample_len = c.in_channels * in_voxels;
        let sample = &input[self.sample * sample_len..][..sample_len];
        let block_len = rows.channel_block() * in_voxels;
        let n_blocks = c.in_channels.div_ceil(rows.channel_block());
        let pair_len = 2 * self.tile.ny * c.output[2];
        let at_once = planes.channels_at_once.min(self.outputs.len());
        with_workspace(rows.buffer_len() + at_once * pair_len, |buffer| {
            let (packed, values) = buffer.split_at_mut(rows.buffer_len());
            for step in self.tile.steps(2) {
                let mut segments = rows.segments(&step);
                for segment in &mut segments {
                    segment.position -= step.xs.start / 2 * pair_len;
                }
                for (block, channels) in sample.chunks(block_len).enumerate() {
                    rows.pack(level, channels, &step, packed);
                    let n_in = channels.len() / in_voxels;
                    for first in (0..self.outputs.len()).step_by(at_once) {
                        let n = at_once.min(self.outputs.len() - first);
                        let channel = self.first_channel + first;
                        let values = &mut values[..n * pair_len];
                        let mut outputs: Vec<_> = values
                            .chunks_mut(pair_len)
                            // SAFETY: blocks write numbers.
                            .map(|values| unsafe { places(values) })
                            .collect();
                        let accumulate = Accumulate {
                            start: if block > 0 {
                                Start::Output
                            } else {
                                Start::Bias(bias.map(|bias| &bias[channel..]))
                            },
                            inputs: packed,
                            n_taps: n_in * c.n_taps(),
                            segments: &segments,
                            weights: weights.block(block * rows.channel_block(), n_in, channel),
                            outputs: &mut outputs,
                        };
                        // SAFETY: the workspace holds numbers, those of the first block where there are several.
                        level.run(unsafe { accumulate.vouched() });
                        if block + 1 == n_blocks {
                            self.pool(level, c, &step, first, values);
                        }
                    }
                }
            }
        });
    }

    /// Pools a pair of planes of the output channels from `first` of the task on.
    fn pool(&mut self, level: Level, c: &Correlation, step: &Step, first: usize, values: &[f32]) {
        let [_, oy, oz] = c.output;
        let n_cells = self.tile.ny / 2 * (oz / 2);
        let cells = step.xs.start / 2 * n_cells..(step.xs.start / 2 + 1) * n_cells;
        let pairs = values.chunks(2 * self.tile.ny * oz);
        for (rows, (values, positions)) in pairs.zip(&mut self.outputs[first..]) {
            level.run(PoolPlanes {
                rows,
                n_rows: self.tile.ny,
                place: [self.tile.x + step.xs.start, self.tile.y],
                sides: [oy, oz],
                values: &mut values[cells.clone()],
                positions: &mut positions[cells.clone()],
            });
        }
    }
}

/// The gradient of pooled values.
#[derive(Clone, Copy, Debug)]
pub struct PooledGradient<'a> {
    /// One number for each pooled value.
    pub values: &'a [f32],
    /// As [`forward_pooled`] gave them.
    pub positions: &'a [u32],
}

impl PooledGradient<'_> {
    fn fits(&self, g: &Geometry) -> bool {
        self.values.len() == pooled_len(g) && self.positions.len() == pooled_len(g)
    }
}

/// Gradient of the weights, given the gradient of the pooled values.
///
/// # Shapes
/// As [`super::weight_gradient`] and [`PooledGradient`] say; arrays of other lengths and unsupported geometries give an
/// empty result.
pub fn pooled_weight_gradient(
    algorithm: Algorithm,
    geometry: &Geometry,
    input: &[f32],
    gradient: PooledGradient<'_>,
) -> Vec<f32> {
    if !algorithm.supports(geometry)
        || input.len() != geometry.input_len()
        || !gradient.fits(geometry)
    {
        return Vec::new();
    }
    if let Some(layout) = algorithm.layout() {
        let arrays = (input, OutputGradient::Pooled(gradient));
        super::weight_gradient_at(Level::detect(), layout, geometry, arrays)
    } else {
        with_full(geometry, gradient, |full| {
            fft::weight_gradient(geometry, input, full)
        })
    }
}

/// Gradient of the input, given the gradient of the pooled values.
///
/// # Shapes
/// As [`super::input_gradient`] and [`PooledGradient`] say; arrays of other lengths and unsupported geometries give an
/// empty result.
pub fn pooled_input_gradient(
    algorithm: Algorithm,
    geometry: &Geometry,
    gradient: PooledGradient<'_>,
    weight: &[f32],
) -> Vec<f32> {
    if !gradient.fits(geometry) {
        return Vec::new();
    }
    with_full(geometry, gradient, |full| {
        super::input_gradient(algorithm, geometry, full, weight)
    })
}

/// Gradient of the bias, given the gradient of the pooled values: the sum of each channel's.
///
/// # Shapes
/// `gradient` has the shape of the pooled output, else the result is empty.
pub fn pooled_bias_gradient(geometry: &Geometry, gradient: &[f32]) -> Vec<f32> {
    if gradient.len() != pooled_len(geometry) {
        return Vec::new();
    }
    let positions = geometry.output().iter().map(|side| side / 2).product();
    channel_sums(gradient, geometry.out_channels, positions)
}

/// Full gradients of earlier calls: fresh pages cost more than the expansion.
static FULL: Mutex<Vec<Vec<f32>>> = Mutex::new(Vec::new());

/// Lends the output's gradient.
pub(super) fn with_full<R>(
    g: &Geometry,
    gradient: PooledGradient<'_>,
    work: impl FnOnce(&[f32]) -> R,
) -> R {
    let kept = || FULL.lock().unwrap_or_else(PoisonError::into_inner);
    let mut numbers = kept().pop().unwrap_or_default();
    if numbers.len() < g.output_len() {
        numbers = vec![0.0; g.output_len()];
    }
    let full = &mut numbers[..g.output_len()];
    // SAFETY: the expansion writes numbers.
    let to = unsafe { places(full) };
    let arrays = (gradient.values, gradient.positions);
    max_pool3d::expand(Level::detect(), arrays, output_dims(g), to);
    let result = work(full);
    let mut kept = kept();
    if kept.iter().map(Vec::len).sum::<usize>() + numbers.len() <= KEPT {
        kept.push(numbers);
        kept.sort_by_key(Vec::len);
    }
    result
}
