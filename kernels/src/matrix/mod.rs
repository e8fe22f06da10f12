//! Products of matrices of f32, on the thread that asks: the core of convolutions by matrices, of dense layers and of
//! attention.
//!
//! [`Product`] adds up multiples of contiguous rows of its right factor, so that the left one may lie in any order and
//! need not be copied. Results do not depend on the number of threads.

mod product;
mod transpose;

use std::ops::Range;

pub(crate) use product::{Product, Start};
pub(crate) use transpose::{Transpose, transposed};

/// A matrix within a slice.
#[derive(Clone, Copy)]
pub(crate) struct Matrix<'a> {
    numbers: &'a [f32],
    shape: [usize; 2],
    /// From a row to the next, from a column to the next.
    strides: [usize; 2],
}

impl<'a> Matrix<'a> {
    /// Rows of contiguous numbers, `row_stride` apart.
    pub(crate) fn of_rows(numbers: &'a [f32], shape: [usize; 2], row_stride: usize) -> Self {
        Self::strided(numbers, shape, [row_stride, 1])
    }

    /// Numbers that are `strides` apart, from a row to the next and from a column to the next.
    pub(crate) fn strided(numbers: &'a [f32], shape: [usize; 2], strides: [usize; 2]) -> Self {
        let matrix = Self {
            numbers,
            shape,
            strides,
        };
        // Products read without further checks.
        assert!(matrix.furthest().is_none_or(|at| at < numbers.len()));
        matrix
    }

    pub(crate) fn transposed(self) -> Self {
        let ([rows, columns], [row, column]) = (self.shape, self.strides);
        Self {
            numbers: self.numbers,
            shape: [columns, rows],
            strides: [column, row],
        }
    }

    /// Some rows and some columns.
    pub(crate) fn part(self, rows: Range<usize>, columns: Range<usize>) -> Self {
        assert!(rows.end <= self.shape[0] && columns.end <= self.shape[1]);
        let first = rows.start * self.strides[0] + columns.start * self.strides[1];
        Self {
            // Beyond the end only where the part has no element.
            numbers: self.numbers.get(first..).unwrap_or_default(),
            shape: [rows.len(), columns.len()],
            strides: self.strides,
        }
    }

    pub(crate) fn shape(&self) -> [usize; 2] {
        self.shape
    }

    /// Where the last element lies; none where there is no element.
    fn furthest(&self) -> Option<usize> {
        let [rows, columns] = self.shape;
        let (row, column) = (rows.checked_sub(1)?, columns.checked_sub(1)?);
        Some(row * self.strides[0] + column * self.strides[1])
    }

    /// Where an element lies; beyond the slice for one that is not there.
    fn at(&self, row: usize, column: usize) -> *const f32 {
        self.numbers
            .as_ptr()
            .wrapping_add(row * self.strides[0] + column * self.strides[1])
    }
}
