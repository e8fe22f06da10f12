//! Products of matrices that lie in slices, by the library `gemm`.
#![expect(unsafe_code, reason = "the library takes pointers")]

use gemm::Parallelism;

/// A matrix within a slice.
#[derive(Clone, Copy)]
pub(super) struct Matrix<'a> {
    numbers: &'a [f32],
    shape: [usize; 2],
    /// From a row to the next, from a column to the next.
    strides: [usize; 2],
}

impl<'a> Matrix<'a> {
    /// Rows of contiguous numbers, `row_stride` apart.
    pub(super) fn of_rows(numbers: &'a [f32], shape: [usize; 2], row_stride: usize) -> Self {
        let matrix = Self {
            numbers,
            shape,
            strides: [row_stride, 1],
        };
        assert!(matrix.furthest().is_none_or(|at| at < numbers.len()));
        matrix
    }

    pub(super) fn transposed(self) -> Self {
        let ([rows, columns], [row, column]) = (self.shape, self.strides);
        Self {
            numbers: self.numbers,
            shape: [columns, rows],
            strides: [column, row],
        }
    }

    /// Where the last element lies; none where there is no element.
    fn furthest(&self) -> Option<usize> {
        let [rows, columns] = self.shape;
        let (row, column) = (rows.checked_sub(1)?, columns.checked_sub(1)?);
        Some(row * self.strides[0] + column * self.strides[1])
    }
}

/// `to = left · right`, or with `add` the sum of both; `to` is `[rows][columns]`. On this thread alone, so that results
/// don't depend on the number of threads.
pub(super) fn multiply(left: Matrix<'_>, right: Matrix<'_>, to: &mut [f32], add: bool) {
    let ([m, k], [inner, n]) = (left.shape, right.shape);
    assert!(k == inner && to.len() == m * n);
    if to.is_empty() || k == 0 {
        if !add {
            to.fill(0.0);
        }
        return;
    }
    // SAFETY: every element of `to` is at `row · n + column` below `m · n`; constructors have checked where the last
    // elements of the others lie. `to` is borrowed for itself alone.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            to.as_mut_ptr(),
            1,
            n as isize,
            add,
            left.numbers.as_ptr(),
            left.strides[1] as isize,
            left.strides[0] as isize,
            right.numbers.as_ptr(),
            right.strides[1] as isize,
            right.strides[0] as isize,
            1.0,
            1.0,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_product_is_its_definition_for_rows_columns_and_sums() {
        let left: Vec<f32> = (0..40).map(|i| (i * 7 % 11) as f32).collect();
        let right: Vec<f32> = (0..40).map(|i| (i * 5 % 13) as f32).collect();
        // 3×4 within rows of 5, 4×2 as the transposed of 2×4 within rows of 6.
        let a = Matrix::of_rows(&left[2..], [3, 4], 5);
        let b = Matrix::of_rows(&right[1..], [2, 4], 6).transposed();
        let mut product = vec![1.0; 6];
        multiply(a, b, &mut product, true);
        for row in 0..3 {
            for column in 0..2 {
                let terms = (0..4).map(|i| left[2 + 5 * row + i] * right[1 + 6 * column + i]);
                // Small whole numbers: exact.
                assert_eq!(product[2 * row + column], 1.0 + terms.sum::<f32>());
            }
        }
        multiply(
            Matrix::of_rows(&[], [3, 0], 0),
            Matrix::of_rows(&[], [0, 2], 0),
            &mut product,
            false,
        );
        assert_eq!(product, [0.0; 6]);
    }
}
