//! Inputs as columns of a matrix: a row for each input channel and tap, a column for each position.
#![expect(
    clippy::inline_always,
    reason = "so that the caller's instruction set reaches the code"
)]

use super::super::correlation::Correlation;
use super::super::row_copy::{RowCopy, zero};
use super::super::simd::{Kernel, Level, Simd};
use super::product::Matrix;
use std::ops::Range;

/// Positions that are columns of one product: some rows of the output, counted over x and y, of some samples.
#[derive(Clone, Debug)]
pub(super) struct Span {
    pub(super) samples: Range<usize>,
    /// All of them, if samples are several.
    pub(super) rows: Range<usize>,
}

impl Span {
    /// All positions of the batch, in spans of about `n_positions`, evenly.
    pub(super) fn all(c: &Correlation, n_positions: usize) -> Vec<Self> {
        let n_rows = c.output[0] * c.output[1];
        let n_spans = (n_rows * c.output[2])
            .div_ceil(n_positions)
            .clamp(1, n_rows);
        let together = if n_spans > 1 {
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

    /// Numbers that [`Span::of_volumes`] wants for some channels.
    pub(super) fn buffer_len(&self, c: &Correlation, n_channels: usize) -> usize {
        if self.samples.len() == 1 {
            0
        } else {
            n_channels * self.n_positions(c)
        }
    }

    /// The span's positions of `channels`, where each sample has `n_channels`: a row for each channel.
    pub(super) fn of_volumes<'a>(
        &self,
        c: &Correlation,
        volumes: &'a [f32],
        (channels, n_channels): (Range<usize>, usize),
        buffer: &'a mut [f32],
    ) -> Matrix<'a> {
        let (positions, n) = (c.n_positions(), self.n_of_sample(c));
        let first = |sample: usize, channel: usize| {
            (sample * n_channels + channel) * positions + self.rows.start * c.output[2]
        };
        if self.samples.len() == 1 {
            let numbers = &volumes[first(self.samples.start, channels.start)..];
            return Matrix::of_rows(numbers, [channels.len(), n], positions);
        }
        let n_columns = self.n_positions(c);
        for (row, channel) in buffer.chunks_exact_mut(n_columns).zip(channels.clone()) {
            for (to, sample) in row.chunks_exact_mut(n).zip(self.samples.clone()) {
                to.copy_from_slice(&volumes[first(sample, channel)..][..n]);
            }
        }
        Matrix::of_rows(buffer, [channels.len(), n_columns], n_columns)
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
        if self.are_inputs() {
            span.buffer_len(self.c, n_channels)
        } else {
            n_channels * self.c.n_taps() * span.n_positions(self.c)
        }
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
        if self.are_inputs() {
            return span.of_volumes(c, input, (channels, c.in_channels), buffer);
        }
        let voxels: usize = c.input.iter().product();
        let n_columns = span.n_positions(c);
        let n_rows = channels.len() * c.n_taps();
        for (at, sample) in span.samples.clone().enumerate() {
            let first = (sample * c.in_channels + channels.start) * voxels;
            level.run(Fill {
                columns: self,
                channels: &input[first..][..channels.len() * voxels],
                rows: span.rows.clone(),
                to: buffer,
                n_columns,
                first_column: at * span.n_of_sample(c),
            });
        }
        Matrix::of_rows(buffer, [n_rows, n_columns], n_columns)
    }

    /// Adds the elements of a matrix, `n_columns` in each row, from `first_column` on to the voxels of some channels of one
    /// sample that [`Columns::matrix`] would have taken them from.
    pub(super) fn add_back(
        &self,
        level: Level,
        matrix: &[f32],
        (n_columns, first_column): (usize, usize),
        rows: Range<usize>,
        channels: &mut [f32],
    ) {
        level.run(AddBack {
            columns: self,
            channels,
            rows,
            matrix,
            n_columns,
            first_column,
        });
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

struct Fill<'a> {
    columns: &'a Columns<'a>,
    channels: &'a [f32],
    rows: Range<usize>,
    to: &'a mut [f32],
    n_columns: usize,
    first_column: usize,
}

impl Kernel for Fill<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let c = self.columns.c;
        let [_, iy, iz] = c.input;
        let oz = c.output[2];
        let mut matrix_rows = self.to.chunks_exact_mut(self.n_columns);
        for channel in self.channels.chunks_exact(c.input[0] * iy * iz) {
            for x in 0..c.kernel[0] {
                for y in 0..c.kernel[1] {
                    for copy in &self.columns.copies {
                        let Some(to) = matrix_rows.next() else { return };
                        let to = &mut to[self.first_column..];
                        for (row, to) in self.rows.clone().zip(to.chunks_exact_mut(oz)) {
                            match self.columns.met(row, [x, y]) {
                                Some(met) => copy.run(simd, &channel[met * iz..][..iz], to),
                                None => zero(simd, to),
                            }
                        }
                    }
                }
            }
        }
    }
}

struct AddBack<'a> {
    columns: &'a Columns<'a>,
    matrix: &'a [f32],
    rows: Range<usize>,
    channels: &'a mut [f32],
    n_columns: usize,
    first_column: usize,
}

impl Kernel for AddBack<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let c = self.columns.c;
        let [_, iy, iz] = c.input;
        let oz = c.output[2];
        let mut matrix_rows = self.matrix.chunks_exact(self.n_columns);
        for channel in self.channels.chunks_exact_mut(c.input[0] * iy * iz) {
            for x in 0..c.kernel[0] {
                for y in 0..c.kernel[1] {
                    for copy in &self.columns.copies {
                        let Some(from) = matrix_rows.next() else {
                            return;
                        };
                        let from = &from[self.first_column..];
                        for (row, from) in self.rows.clone().zip(from.chunks_exact(oz)) {
                            if let Some(met) = self.columns.met(row, [x, y]) {
                                copy.add_back(simd, from, &mut channel[met * iz..][..iz]);
                            }
                        }
                    }
                }
            }
        }
    }
}
