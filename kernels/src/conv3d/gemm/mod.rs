//! Convolution as a product of matrices, where channels are many: weights times the inputs as columns (Chellapilla et al.
//! 2006, "High performance convolutional neural networks for document processing").
//!
//! The matrix of inputs (a row for each input channel and tap, a column for each position) is never whole in memory: tasks
//! build the part they multiply, of a few channels and positions. The gradient of the input is a correlation of the output's
//! gradient with the turned kernels, for strides one for each phase.
#![expect(unsafe_code, reason = "outputs are not zeroed before they are written")]

mod columns;
mod turned;
mod weight_gradient;

use super::Geometry;
use super::correlation::{Correlation, Phase};
use super::packing::with_workspace;
use super::simd::Level;
use crate::matrix::{Matrix, Product, Start, transposed};
use crate::output::{places, written};
use columns::{Columns, Span};
use rayon::prelude::*;
use std::mem::MaybeUninit;
use std::ops::Range;
use turned::turned;
pub(crate) use weight_gradient::weight_gradient;

/// Tasks that a pass is cut into, if they are then not too small; a fixed number, for results must not depend on the threads.
const TASKS: usize = 8;
/// Columns of a product, if there are so many.
const COLUMNS: usize = 512;
/// Fewest columns of a product, if there are so many: weights are read once for each.
const FEWEST_COLUMNS: usize = 96;
/// Parts that few positions are cut into.
const PARTS: usize = 4;
/// Positions of a sample that are columns of a product by themselves; fewer are joined to those of other samples.
const ALONE: usize = 192;
/// Fewest rows of a product, if there are so many: inputs are copied once for each.
const FEWEST_ROWS: usize = 64;
/// Numbers of the matrix of inputs that shall stay in the second-level cache.
const BLOCK: usize = 128 << 10;

/// Columns of a product: of few positions a part, so that few tasks build the same columns.
fn columns_at_once(c: &Correlation) -> usize {
    let part = (c.batch * c.n_positions()).div_ceil(PARTS);
    part.clamp(FEWEST_COLUMNS, COLUMNS)
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
    let n_columns = c.in_channels * c.n_taps();
    let weights = Matrix::of_rows(weight, [c.out_channels, n_columns], n_columns);
    values(level, c, (input, weights, bias))
}

fn values(
    level: Level,
    c: &Correlation,
    (input, weights, bias): (&[f32], Matrix<'_>, Option<&[f32]>),
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
    let spans = Span::all(c, columns_at_once(c), ALONE);
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
    (input, weights, bias): (&[f32], Matrix<'_>, Option<&[f32]>),
    task: ValuesTask<'_>,
) {
    let c = columns.correlation();
    let (span, out, mut outputs) = (&task.span, task.channels, task.outputs);
    let n = span.n_positions(c);
    let block = channels_at_once(c, n);
    let weights = weights.part(out.clone(), 0..c.in_channels * c.n_taps());
    let start = bias.map_or(Start::Zero, |bias| Start::OfRows(&bias[out.clone()]));
    let multiply = |buffer: &mut [f32], to: &mut [&mut [MaybeUninit<f32>]]| {
        for first in (0..c.in_channels).step_by(block) {
            let channels = first..c.in_channels.min(first + block);
            let terms = channels.start * c.n_taps()..channels.end * c.n_taps();
            let left = weights.part(0..out.len(), terms);
            let right = columns.matrix(level, input, channels, span, buffer);
            if first == 0 {
                level.run(Product::new(left, right, start, to));
            } else {
                let product = Product::new(left, right, Start::Zero, to);
                // SAFETY: the first channels have written all.
                level.run(unsafe { product.adding() });
            }
        }
    };
    // Of several samples, the positions of a channel do not lie together.
    let joined = span.samples.len() > 1;
    let products_len = if joined { out.len() * n } else { 0 };
    with_workspace(products_len + columns.buffer_len(block, span), |buffer| {
        let (products, buffer) = buffer.split_at_mut(products_len);
        if !joined {
            multiply(buffer, &mut outputs);
            return;
        }
        // SAFETY: products are only written.
        let mut rows: Vec<_> = unsafe { places(products) }.chunks_mut(n).collect();
        multiply(buffer, &mut rows);
        let n_of_sample = span.n_of_sample(c);
        for (at, to) in outputs.iter_mut().enumerate() {
            let (sample, channel) = (at / out.len(), at % out.len());
            to.copy_from_slice(&rows[channel][sample * n_of_sample..][..n_of_sample]);
        }
    });
}

/// Gradient of the input of a convolution whose correlation is not empty.
pub(crate) fn input_gradient(
    level: Level,
    g: &Geometry,
    (output_gradient, weight): (&[f32], &[f32]),
) -> Vec<f32> {
    let mut gradient = Vec::new();
    for phase in Phase::all(g) {
        let c = &phase.correlation;
        let n_terms = c.in_channels * c.n_taps();
        let shape = [c.out_channels, n_terms];
        // Output and input channels change places.
        let turned_weights = if g.kernel == [1; 3] {
            transposed(weight, [n_terms, c.out_channels])
        } else {
            turned(g, weight, &phase.taps())
        };
        let weights = Matrix::of_rows(&turned_weights, shape, n_terms);
        let part = values(level, c, (output_gradient, weights, None));
        if phase.is_whole() {
            return part;
        }
        if gradient.is_empty() {
            gradient = vec![0.0; g.input_len()];
        }
        phase.scatter(&part, &mut gradient, g.input);
    }
    gradient.resize(g.input_len(), 0.0);
    gradient
}
