//! Inputs as columns of a matrix: a row for each input channel and tap, a column for each position.
#![expect(unsafe_code, reason = "masked loads that begin outside of a row")]
#![expect(
    clippy::inline_always,
    reason = "so that the caller's instruction set reaches the code"
)]

use super::super::correlation::Correlation;
use super::super::row_copy::{RowCopy, zero};
use super::super::simd::{Kernel, Level, Simd};
use crate::matrix::{Matrix, Transpose};
use std::ops::Range;

/// Positions that are columns of one product: some rows of the output, counted over x and y, of some samples.
#[derive(Clone, Debug)]
pub(super) struct Span {
    pub(super) samples: Range<usize>,
    /// All of them, if samples are several.
    pub(super) rows: Range<usize>,
}

impl Span {
    /// All positions of the batch, in spans of about `n_positions`, evenly; samples of at least `alone` positions are not
    /// joined.
    pub(super) fn all(c: &Correlation, n_positions: usize, alone: usize) -> Vec<Self> {
        let n_rows = c.output[0] * c.output[1];
        let n_spans = (n_rows * c.output[2])
            .div_ceil(n_positions)
            .clamp(1, n_rows);
        let together = if n_spans > 1 || c.n_positions() >= alone {
            1
        } else {
            (n_positions / c.n_positions()).clamp(1, c.batch)
        };
        let n_groups = c.batch.div_ceil(together);
        let part = |n: usize, n_parts: usize, at: usize| n * at / n_parts..n * (at + 1) / n_parts;
        (0..n_groups * n_spans)
            .map(|at| Self {
                samples: part(c.batch, n_groups, at / n_spans),
                rows: part(n_rows, n_spans, at % n_spans),
            })
            .collect()
    }

    /// Positions of each sample.
    pub(super) fn n_of_sample(&self, c: &Correlation) -> usize {
        self.rows.len() * c.output[2]
    }

    /// Columns of the product.
    pub(super) fn n_positions(&self, c: &Correlation) -> usize {
        self.samples.len() * self.n_of_sample(c)
    }

    /// The output channels of each of the span's positions, `stride` numbers from one to the next.
    pub(super) fn by_position(
        &self,
        level: Level,
        c: &Correlation,
        volumes: &[f32],
        (to, stride): (&mut [f32], usize),
    ) {
        let (positions, n) = (c.n_positions(), self.n_of_sample(c));
        for (sample, to) in self.samples.clone().zip(to.chunks_mut((n * stride).max(1))) {
            let first = sample * c.out_channels * positions + self.rows.start * c.output[2];
            level.run(Transpose {
                from: &volumes[first..],
                shape: [c.out_channels, n],
                strides: [positions, stride],
                to,
            });
        }
    }
}

/// How the matrix of a correlation is filled.
pub(super) struct Columns<'c> {
    c: &'c Correlation,
    /// For each tap along z.
    copies: Vec<RowCopy>,
}

impl<'c> Columns<'c> {
    pub(super) fn new(c: &'c Correlation) -> Self {
        Self {
            c,
            copies: (0..c.kernel[2]).map(|tap| RowCopy::new(c, tap)).collect(),
        }
    }

    pub(super) fn correlation(&self) -> &'c Correlation {
        self.c
    }

    /// Whether the inputs are the matrix already: a kernel of one tap that meets every voxel.
    pub(super) fn are_inputs(&self) -> bool {
        let c = self.c;
        c.kernel == [1; 3] && c.stride == [1; 3] && c.before == [0; 3] && c.input == c.output
    }

    /// Numbers that [`Columns::matrix`] wants for some channels.
    pub(super) fn buffer_len(&self, n_channels: usize, span: &Span) -> usize {
        n_channels * self.c.n_taps() * row_stride(span.n_positions(self.c))
    }

    /// The matrix of some channels.
    pub(super) fn matrix<'a>(
        &self,
        level: Level,
        input: &'a [f32],
        channels: Range<usize>,
        span: &Span,
        buffer: &'a mut [f32],
    ) -> Matrix<'a> {
        let c = self.c;
        let voxels: usize = c.input.iter().product();
        let n_columns = span.n_positions(c);
        let row_stride = row_stride(n_columns);
        let copies_whole_rows = self.are_inputs();
        let n_rows = channels.len() * c.n_taps();
        for (at, sample) in span.samples.clone().enumerate() {
            let first = (sample * c.in_channels + channels.start) * voxels;
            let of_sample = &input[first..][..channels.len() * voxels];
            let first_column = at * span.n_of_sample(c);
            if copies_whole_rows {
                let n = span.n_of_sample(c);
                let from = of_sample.chunks_exact(voxels);
                for (to, from) in buffer.chunks_mut(row_stride).zip(from) {
                    let from = &from[span.rows.start * c.output[2]..][..n];
                    to[first_column..first_column + n].copy_from_slice(from);
                }
            } else {
                level.run(Fill {
                    columns: self,
                    channels: of_sample,
                    rows: span.rows.clone(),
                    to: buffer,
                    row_stride,
                    first_column,
                });
            }
        }
        Matrix::of_rows(buffer, [n_rows, n_columns], row_stride)
    }

    /// The row of the input, counted over x and y, that a tap along x and y meets at a row of the output.
    #[inline(always)]
    fn met(&self, row: usize, tap: [usize; 2]) -> Option<usize> {
        let c = self.c;
        let [x, y] = [row / c.output[1], row % c.output[1]];
        let inside = |at: usize, axis: usize| {
            let at = (at * c.stride[axis] + tap[axis]).checked_add_signed(-c.before[axis])?;
            (at < c.input[axis]).then_some(at)
        };
        Some(inside(x, 0)? * c.input[1] + inside(y, 1)?)
    }
}

/// Numbers from a row of the matrix to the next: whole cache lines, and an odd number of them, so that the rows of some
/// columns do not all fall on the same few places of the cache.
pub(super) fn row_stride(n_columns: usize) -> usize {
    const LINE: usize = 16;
    LINE * (n_columns.div_ceil(LINE) | 1)
}

struct Fill<'a> {
    columns: &'a Columns<'a>,
    channels: &'a [f32],
    rows: Range<usize>,
    to: &'a mut [f32],
    row_stride: usize,
    first_column: usize,
}

impl Kernel for Fill<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let c = self.columns.c;
        let [x, y, z] = c.input;
        // Divisions are slow, so what a tap along x and y meets is found once for all channels.
        let mut met: Vec<Option<usize>> = Vec::new();
        for tap in 0..c.kernel[0] * c.kernel[1] {
            let tap = [tap / c.kernel[1], tap % c.kernel[1]];
            met.extend(self.rows.clone().map(|row| self.columns.met(row, tap)));
        }
        let copies = self.columns.copies.iter();
        let vectors: Option<Vec<_>> = copies.map(|copy| copy.vectors(simd)).collect();
        let n_rows = self.rows.len().max(1);
        let mut to = self.to.chunks_exact_mut(self.row_stride);
        for channel in self.channels.chunks_exact(x * y * z) {
            for met in met.chunks_exact(n_rows) {
                for (number, copy) in self.columns.copies.iter().enumerate() {
                    let Some(to) = to.next() else { return };
                    let to = to[self.first_column..].chunks_exact_mut(c.output[2]);
                    for (met, to) in met.iter().zip(to) {
                        let from = met.map(|met| &channel[met * z..][..z]);
                        match (from, &vectors) {
                            (None, _) => zero(simd, to),
                            (Some(from), Some(vectors)) => {
                                fill_row(simd, &vectors[number], from, to);
                            }
                            (Some(from), None) => copy.run(simd, from, to),
                        }
                    }
                }
            }
        }
    }
}

/// What [`RowCopy::run`] does, by the [`RowCopy::vectors`] of the same copy.
#[inline(always)]
fn fill_row<S: Simd>(simd: S, vectors: &[(isize, S::Mask)], from: &[f32], to: &mut [f32]) {
    let (whole, rest) = (to.len() / S::LANES, to.len() % S::LANES);
    assert!(vectors.len() == to.len().div_ceil(S::LANES));
    for (number, (first, mask)) in vectors.iter().enumerate() {
        let from = from.as_ptr().wrapping_offset(*first);
        // SAFETY: the mask has only lanes whose voxels lie inside of the row.
        let vector = unsafe { simd.load_masked(from, *mask) };
        let to = to.as_mut_ptr().wrapping_add(number * S::LANES);
        if number < whole {
            // SAFETY: so many vectors fit.
            unsafe { simd.store(to, vector) };
        } else {
            // SAFETY: the rest of the row has as many numbers.
            unsafe { simd.store_masked(to, simd.mask(0..rest), vector) };
        }
    }
}
