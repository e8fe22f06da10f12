//! Matrices with rows and columns in each other's places.
#![expect(
    unsafe_code,
    reason = "squares are read and written without further checks"
)]
#![expect(
    clippy::inline_always,
    reason = "so that the caller's instruction set reaches the code"
)]

use rayon::prelude::*;

use crate::conv3d::simd::{Kernel, Level, Simd};

/// Rows of the result that a task writes.
const ROWS: usize = 16;

/// A matrix with contiguous rows, transposed.
pub(crate) fn transposed(numbers: &[f32], [rows, columns]: [usize; 2]) -> Vec<f32> {
    assert!(numbers.len() == rows * columns);
    let mut transposed = vec![0.0; numbers.len()];
    if transposed.is_empty() {
        return transposed;
    }
    transposed
        .par_chunks_mut(ROWS * rows)
        .enumerate()
        .for_each(|(at, to)| {
            let first = at * ROWS;
            Level::widest().run(Transpose {
                from: &numbers[first..],
                shape: [rows, ROWS.min(columns - first)],
                strides: [columns, rows],
                to,
            });
        });
    transposed
}

/// Writes a matrix of `shape` to the matrix that it is transposed; from a row to the next are `strides`, before and after.
pub(crate) struct Transpose<'a> {
    pub(crate) from: &'a [f32],
    pub(crate) shape: [usize; 2],
    pub(crate) strides: [usize; 2],
    pub(crate) to: &'a mut [f32],
}

impl Kernel for Transpose<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let ([rows, columns], [before, after]) = (self.shape, self.strides);
        if rows == 0 || columns == 0 {
            return;
        }
        assert!((rows - 1) * before + columns <= self.from.len());
        assert!((columns - 1) * after + rows <= self.to.len());
        let side = S::LANES;
        let whole = [rows / side * side, columns / side * side];
        for row in (0..whole[0]).step_by(side) {
            for column in (0..whole[1]).step_by(side) {
                let from = self.from.as_ptr().wrapping_add(row * before + column);
                let to = self.to.as_mut_ptr().wrapping_add(column * after + row);
                // SAFETY: the square lies inside of both, by the assertions.
                unsafe { simd.transpose((from, before), (to, after)) };
            }
        }
        for row in 0..rows {
            let first = if row < whole[0] { whole[1] } else { 0 };
            for column in first..columns {
                self.to[column * after + row] = self.from[row * before + column];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conv3d::simd::Portable;

    #[test]
    fn rows_and_columns_change_places() {
        for [rows, columns] in [[1, 1], [3, 50], [33, 17], [16, 16], [64, 48], [0, 4]] {
            let numbers: Vec<f32> = (0..rows * columns).map(|i| i as f32).collect();
            for (at, found) in transposed(&numbers, [rows, columns])
                .into_iter()
                .enumerate()
            {
                assert_eq!(found, numbers[at % rows * columns + at / rows]);
            }
        }
    }

    #[test]
    fn nothing_is_written_besides() {
        for level in [Level::Portable(Portable), Level::detect(), Level::widest()] {
            let (rows, columns) = (21, 35);
            let from: Vec<f32> = (0..rows * 40).map(|i| i as f32).collect();
            let mut to = vec![-1.0; columns * 30];
            level.run(Transpose {
                from: &from,
                shape: [rows, columns],
                strides: [40, 30],
                to: &mut to,
            });
            for (at, found) in to.into_iter().enumerate() {
                let (column, row) = (at / 30, at % 30);
                let expected = if row < rows {
                    from[row * 40 + column]
                } else {
                    -1.0
                };
                assert_eq!(found, expected, "{row} {column}");
            }
        }
    }
}
