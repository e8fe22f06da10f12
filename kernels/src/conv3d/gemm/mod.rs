//! Convolution as a product of matrices, where channels are many: weights times the inputs as columns (Chellapilla et al.
//! 2006, "High performance convolutional neural networks for document processing").
//!
//! The matrix of inputs (a row for each input channel and tap, a column for each position) is never whole in memory: tasks
//! build the part they multiply, of a few channels and positions. A kernel of one tap needs no such copy. The gradient of the
//! input multiplies the other way round, and adds each product to the voxel that its column was copied from.
#![expect(unsafe_code, reason = "outputs are not zeroed before they are written")]

mod columns;
mod product;

use super::correlation::Correlation;
use super::packing::with_workspace;
use super::simd::Level;
use crate::output::written;
use columns::{Columns, Span};
use product::{Matrix, multiply};
use rayon::prelude::*;
use std::mem::MaybeUninit;
use std::ops::Range;

/// Tasks that a pass is cut into, if they are then not too small; a fixed number, for results must not depend on the threads.
const TASKS: usize = 8;
/// Fewest columns of a product, if there are so many: weights are read once for each.
const FEWEST_COLUMNS: usize = 96;
/// Fewest rows of a product, if there are so many: inputs are copied once for each.
const FEWEST_ROWS: usize = 64;
/// Numbers in a factor or product that shall stay in the second-level cache.
const BLOCK: usize = 128 << 10;

/// The weights as a matrix of output channels × (input channels, taps), in any order of memory.
#[derive(Clone, Copy)]
struct Weights<'a> {
    numbers: &'a [f32],
    /// Whether rows and columns change places.
    transposed: bool,
}

impl<'a> Weights<'a> {
    /// The part between some output channels and some input channels.
    fn part(self, c: &Correlation, out: Range<usize>, channels: Range<usize>) -> Matrix<'a> {
        let n_taps = c.n_taps();
        let (first_in, n_in) = (channels.start, channels.len());
        if self.transposed {
            // One tap, see [`input_gradient`].
            let numbers = &self.numbers[first_in * c.out_channels + out.start..];
            return Matrix::of_rows(numbers, [n_in, out.len()], c.out_channels).transposed();
        }
        let row_len = c.in_channels * n_taps;
        let numbers = &self.numbers[out.start * row_len + first_in * n_taps..];
        Matrix::of_rows(numbers, [out.len(), n_in * n_taps], row_len)
    }
}

/// Positions of a product with `n_rows` rows.
fn positions_at_once(c: &Correlation, n_rows: usize) -> usize {
    let share = (c.batch * c.n_positions()).div_ceil(TASKS);
    let most = (BLOCK / n_rows.max(1)).max(FEWEST_COLUMNS);
    share.clamp(FEWEST_COLUMNS, most)
}

/// Input channels whose part of the matrix stays in the cache.
fn channels_at_once(c: &Correlation, n_positions: usize) -> usize {
    let most = (BLOCK / (c.n_taps() * n_positions).max(1)).clamp(1, c.in_channels);
    c.in_channels.div_ceil(c.in_channels.div_ceil(most))
}

/// Some positions of some output channels.
struct ValuesTask<'o> {
    span: Span,
    channels: Range<usize>,
    /// For each sample each channel.
    outputs: Vec<&'o mut [MaybeUninit<f32>]>,
}

/// `bias + correlation`, for a correlation that is not empty; weights as [`super::forward`] has them.
pub(crate) fn forward(
    level: Level,
    c: &Correlation,
    (input, weight, bias): (&[f32], &[f32], Option<&[f32]>),
) -> Vec<f32> {
    let weights = Weights {
        numbers: weight,
        transposed: false,
    };
    values(level, c, (input, weights, bias))
}

fn values(
    level: Level,
    c: &Correlation,
    (input, weights, bias): (&[f32], Weights<'_>, Option<&[f32]>),
) -> Vec<f32> {
    let columns = Columns::new(c);
    let write = |output: &mut [MaybeUninit<f32>]| {
        values_tasks(c, output).into_par_iter().for_each(|task| {
            run_values_task(level, &columns, (input, weights, bias), task);
        });
    };
    // SAFETY: the spans cover all positions of every channel, and each task writes all of its places.
    unsafe { written(c.batch * c.out_channels * c.n_positions(), write) }
}

fn values_tasks<'o>(c: &Correlation, output: &'o mut [MaybeUninit<f32>]) -> Vec<ValuesTask<'o>> {
    let spans = Span::all(c, positions_at_once(c, c.out_channels));
    let n_groups = TASKS
        .div_ceil(spans.len())
        .min(c.out_channels.div_ceil(FEWEST_ROWS));
    let group = c.out_channels.div_ceil(n_groups);
    let mut samples = output.chunks_mut(c.out_channels * c.n_positions());
    let mut tasks = Vec::new();
    // Spans of the same samples follow each other.
    for spans in spans.chunk_by(|a, b| a.samples == b.samples) {
        let first_task = tasks.len();
        let starts = (0..c.out_channels).step_by(group);
        tasks.extend(starts.flat_map(|start| {
            let channels = start..c.out_channels.min(start + group);
            spans.iter().map(move |span| ValuesTask {
                span: span.clone(),
                channels: channels.clone(),
                outputs: Vec::with_capacity(span.samples.len() * channels.len()),
            })
        }));
        for sample in samples.by_ref().take(spans[0].samples.len()) {
            for (channel, mut positions) in sample.chunks_mut(c.n_positions()).enumerate() {
                let of_group = first_task + channel / group * spans.len();
                for task in &mut tasks[of_group..of_group + spans.len()] {
                    let (of_span, rest) = positions.split_at_mut(task.span.n_of_sample(c));
                    task.outputs.push(of_span);
                    positions = rest;
                }
            }
        }
    }
    tasks
}

fn run_values_task(
    level: Level,
    columns: &Columns<'_>,
    (input, weights, bias): (&[f32], Weights<'_>, Option<&[f32]>),
    task: ValuesTask<'_>,
) {
    let c = columns.correlation();
    let (span, out) = (&task.span, task.channels);
    let n = span.n_positions(c);
    let block = channels_at_once(c, n);
    let products_len = out.len() * n;
    with_workspace(products_len + columns.buffer_len(block, span), |buffer| {
        let (products, buffer) = buffer.split_at_mut(products_len);
        for first in (0..c.in_channels).step_by(block) {
            let channels = first..c.in_channels.min(first + block);
            let buffer = &mut buffer[..columns.buffer_len(channels.len(), span)];
            let weights = weights.part(c, out.clone(), channels.clone());
            let matrix = columns.matrix(level, input, channels, span, buffer);
            multiply(weights, matrix, products, first > 0);
        }
        for (at, to) in task.outputs.into_iter().enumerate() {
            let (sample, channel) = (at / out.len(), at % out.len());
            let bias = bias.map_or(0.0, |bias| bias[out.start + channel]);
            let from = &products[channel * n + sample * to.len()..];
            for (to, from) in to.iter_mut().zip(from) {
                to.write(from + bias);
            }
        }
    });
}

/// Gradient of the input of a correlation that is not empty.
pub(crate) fn input_gradient(
    level: Level,
    c: &Correlation,
    (output_gradient, weight): (&[f32], &[f32]),
) -> Vec<f32> {
    let columns = Columns::new(c);
    if columns.are_inputs() {
        let swapped = Correlation {
            in_channels: c.out_channels,
            out_channels: c.in_channels,
            ..c.clone()
        };
        let weights = Weights {
            numbers: weight,
            transposed: true,
        };
        return values(level, &swapped, (output_gradient, weights, None));
    }
    let volume: usize = c.input.iter().product();
    let sample_len = c.in_channels * volume;
    let together = (FEWEST_COLUMNS / c.n_positions()).clamp(1, c.batch);
    let n_groups = TASKS.div_ceil(c.batch.div_ceil(together));
    let group = c.in_channels.div_ceil(n_groups);
    let write = |gradient: &mut [MaybeUninit<f32>]| {
        let mut tasks = Vec::new();
        for (at, samples) in gradient.chunks_mut(sample_len * together).enumerate() {
            let first_task = tasks.len();
            let n_samples = samples.len() / sample_len;
            tasks.extend((0..c.in_channels).step_by(group).map(|start| GradientTask {
                samples: at * together..at * together + n_samples,
                first_channel: start,
                gradients: Vec::with_capacity(n_samples),
            }));
            for sample in samples.chunks_mut(sample_len) {
                let groups = sample.chunks_mut(group * volume);
                for (task, channels) in tasks[first_task..].iter_mut().zip(groups) {
                    task.gradients.push(channels);
                }
            }
        }
        tasks.into_par_iter().for_each(|task| {
            run_gradient_task(level, &columns, (output_gradient, weight), task);
        });
    };
    // SAFETY: each task zeroes its part, and the parts cover all.
    unsafe { written(c.batch * sample_len, write) }
}

/// Some input channels of some samples.
struct GradientTask<'g> {
    samples: Range<usize>,
    first_channel: usize,
    /// For each sample, its channels.
    gradients: Vec<&'g mut [MaybeUninit<f32>]>,
}

fn run_gradient_task(
    level: Level,
    columns: &Columns<'_>,
    (output_gradient, weight): (&[f32], &[f32]),
    task: GradientTask<'_>,
) {
    let c = columns.correlation();
    let n_taps = c.n_taps();
    let gradients = task.gradients.into_iter().map(zeroed);
    let mut gradients: Vec<&mut [f32]> = gradients.collect();
    let len = gradients.first().map_or(0, |first| first.len());
    let n_rows = len / c.input.iter().product::<usize>() * n_taps;
    let weights = &weight[task.first_channel * n_taps..];
    let weights = Matrix::of_rows(weights, [c.out_channels, n_rows], c.in_channels * n_taps);
    let part = Correlation {
        batch: task.samples.len(),
        ..c.clone()
    };
    for mut span in Span::all(&part, (BLOCK / n_rows).max(FEWEST_COLUMNS)) {
        let of_span = &mut gradients[span.samples.clone()];
        let shift = |sample: usize| sample + task.samples.start;
        span.samples = shift(span.samples.start)..shift(span.samples.end);
        let (n, n_of_sample) = (span.n_positions(c), span.n_of_sample(c));
        let gathered = span.buffer_len(c, c.out_channels);
        with_workspace(n_rows * n + gathered, |buffer| {
            let (products, buffer) = buffer.split_at_mut(n_rows * n);
            let channels = (0..c.out_channels, c.out_channels);
            let right = span.of_volumes(c, output_gradient, channels, buffer);
            multiply(weights.transposed(), right, products, false);
            for (at, gradient) in of_span.iter_mut().enumerate() {
                let of_sample = (n, at * n_of_sample);
                columns.add_back(level, products, of_sample, span.rows.clone(), gradient);
            }
        });
    }
}

/// Writes zeros; the same places as numbers.
fn zeroed(places: &mut [MaybeUninit<f32>]) -> &mut [f32] {
    for place in &mut *places {
        place.write(0.0);
    }
    // SAFETY: all have just been written.
    unsafe { places.assume_init_mut() }
}

/// Gradient of the weights of a correlation that is not empty. Sums over many positions are taken in parts, which are
/// added in f64.
pub(crate) fn weight_gradient(
    level: Level,
    c: &Correlation,
    input: &[f32],
    output_gradient: &[f32],
) -> Vec<f32> {
    let columns = Columns::new(c);
    let n_taps = c.n_taps();
    let group = c
        .in_channels
        .div_ceil(TASKS)
        .max(FEWEST_ROWS.div_ceil(n_taps));
    let group = group.min(c.in_channels);
    let n_groups = c.in_channels.div_ceil(group);
    let spans = Span::all(c, positions_at_once(c, group * n_taps));
    let at_once = spans.len().div_ceil(TASKS.div_ceil(n_groups));
    let parts: Vec<&[Span]> = spans.chunks(at_once).collect();
    let sums: Vec<Vec<f64>> = (0..n_groups * parts.len())
        .into_par_iter()
        .map(|task| {
            let first_in = task / parts.len() * group;
            let channels = first_in..c.in_channels.min(first_in + group);
            let spans = parts[task % parts.len()];
            group_sums(level, &columns, (input, output_gradient), channels, spans)
        })
        .collect();
    let row_len = c.in_channels * n_taps;
    let mut gradient = vec![0.0; c.out_channels * row_len];
    for (at, parts) in sums.chunks(parts.len()).enumerate() {
        let first = at * group * n_taps;
        let len = parts[0].len() / c.out_channels;
        for (channel, row) in gradient.chunks_mut(row_len).enumerate() {
            for (column, to) in row[first..first + len].iter_mut().enumerate() {
                let from = channel * len + column;
                *to = parts.iter().map(|part| part[from]).sum::<f64>() as f32;
            }
        }
    }
    gradient
}

/// `[output channel][input channel][tap]`: sums over some positions.
fn group_sums(
    level: Level,
    columns: &Columns<'_>,
    (input, output_gradient): (&[f32], &[f32]),
    channels: Range<usize>,
    spans: &[Span],
) -> Vec<f64> {
    let c = columns.correlation();
    let len = c.out_channels * channels.len() * c.n_taps();
    let mut sums = vec![0.0; len];
    for span in spans {
        let gathered = span.buffer_len(c, c.out_channels);
        let buffer_len = len + gathered + columns.buffer_len(channels.len(), span);
        with_workspace(buffer_len, |buffer| {
            let (products, buffer) = buffer.split_at_mut(len);
            let (gathered, buffer) = buffer.split_at_mut(gathered);
            let all = (0..c.out_channels, c.out_channels);
            let left = span.of_volumes(c, output_gradient, all, gathered);
            let matrix = columns.matrix(level, input, channels.clone(), span, buffer);
            multiply(left, matrix.transposed(), products, false);
            for (sum, product) in sums.iter_mut().zip(products) {
                *sum += f64::from(*product);
            }
        });
    }
    sums
}
