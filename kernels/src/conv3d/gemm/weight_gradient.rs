//! The gradient of the weights: products of the inputs as columns with the output's gradient, summed over positions.
#![expect(
    unsafe_code,
    reason = "products write to places, and add to what is there"
)]

use super::super::correlation::Correlation;
use super::super::packing::with_workspace;
use super::super::simd::Level;
use super::columns::{Columns, Span, row_stride};
use super::{ALONE, BLOCK, COLUMNS, TASKS};
use crate::matrix::{Matrix, Product, Start, Transpose};
use crate::output::places;
use rayon::prelude::*;
use std::ops::Range;

/// Side of the squares of sums that are put into their places at once: rows of both lie in pages of their own.
const SIDE: usize = 64;

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
    let spans = Span::all(c, COLUMNS, ALONE);
    let longest = spans.iter().map(|span| span.n_positions(c)).max();
    let most = (BLOCK / (n_taps * longest.unwrap_or(1)).max(1)).clamp(1, c.in_channels);
    let n_groups = c.in_channels.div_ceil(most);
    let group = c.in_channels.div_ceil(n_groups);
    let n_groups = c.in_channels.div_ceil(group);
    let at_once = spans.len().div_ceil(TASKS.div_ceil(n_groups));
    let parts: Vec<&[Span]> = spans.chunks(at_once).collect();
    let sums: Vec<Vec<f32>> = (0..n_groups * parts.len())
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
    gradient
        .par_chunks_mut(SIDE * row_len)
        .enumerate()
        .for_each(|(at, rows)| {
            for (number, parts) in sums.chunks(parts.len()).enumerate() {
                let to = &mut rows[number * group * n_taps..];
                put_together(level, c, (parts, at * SIDE), (to, row_len));
            }
        });
    gradient
}

/// Adds parts of sums for some output channels from `first` on, and writes them as rows of the gradient, square by square.
fn put_together(
    level: Level,
    c: &Correlation,
    (parts, first): (&[Vec<f32>], usize),
    (to, row_len): (&mut [f32], usize),
) {
    let n_rows = parts.first().map_or(0, Vec::len) / c.out_channels;
    let n_columns = SIDE.min(c.out_channels - first);
    let mut square = [0.0; SIDE * SIDE];
    for row in (0..n_rows).step_by(SIDE) {
        let n = SIDE.min(n_rows - row);
        for (number, to) in square.chunks_mut(SIDE).take(n).enumerate() {
            let from = (row + number) * c.out_channels + first;
            for (column, to) in to.iter_mut().take(n_columns).enumerate() {
                let of_parts = parts.iter().map(|part| f64::from(part[from + column]));
                *to = of_parts.sum::<f64>() as f32;
            }
        }
        level.run(Transpose {
            from: &square,
            shape: [n, n_columns],
            strides: [SIDE, row_len],
            to: &mut to[row..],
        });
    }
}

/// `[input channel][tap][output channel]`: sums over some positions.
fn group_sums(
    level: Level,
    columns: &Columns<'_>,
    (input, output_gradient): (&[f32], &[f32]),
    channels: Range<usize>,
    spans: &[Span],
) -> Vec<f32> {
    let c = columns.correlation();
    let n_rows = channels.len() * c.n_taps();
    let mut sums = vec![0.0; n_rows * c.out_channels];
    // SAFETY: only numbers are written.
    let mut to: Vec<_> = unsafe { places(&mut sums) }
        .chunks_mut(c.out_channels)
        .collect();
    for span in spans {
        let n = span.n_positions(c);
        let stride = row_stride(c.out_channels);
        let buffer_len = n * stride + columns.buffer_len(channels.len(), span);
        with_workspace(buffer_len, |buffer| {
            let (by_position, buffer) = buffer.split_at_mut(n * stride);
            span.by_position(level, c, output_gradient, (by_position, stride));
            let left = columns.matrix(level, input, channels.clone(), span, buffer);
            let right = Matrix::of_rows(by_position, [n, c.out_channels], stride);
            let product = Product::new(left, right, Start::Zero, &mut to);
            // SAFETY: the sums begin with zeros.
            level.run(unsafe { product.adding() });
        });
    }
    sums
}
