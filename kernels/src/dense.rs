//! Fully connected layers, y = W·x + b of each row: values, gradients of input, matrix and bias.
//!
//! Rows are contiguous: inputs `[rows][inputs]`, W `[outputs][inputs]`, values `[rows][outputs]`. Slices that don't fit the
//! sizes give an empty result. Results do not depend on the number of threads.
#![expect(unsafe_code, reason = "results are not zeroed before they are written")]

use std::mem::MaybeUninit;

use rayon::prelude::*;

use crate::conv3d::simd::Level;
use crate::matrix::{Matrix, Product, Start, transposed};
use crate::output::{places, written};

/// Rows of a task.
const ROWS: usize = 128;
/// Parts that the rows are cut into for the gradient of the matrix, if there are then not too few.
const PARTS: usize = 4;
/// Rows in a part, at least.
const FEWEST_TERMS: usize = 128;
/// Rows of the matrix in a task, at least.
const FEWEST_ROWS: usize = 48;
/// Numbers of a task that adds parts.
const AT_ONCE: usize = 16 << 10;

/// Sizes of one layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// How many inputs there are.
    pub rows: usize,
    /// Numbers of an input.
    pub inputs: usize,
    /// Numbers of an output.
    pub outputs: usize,
}

impl Sizes {
    fn fit(self, input: usize, weight: usize, output: usize) -> bool {
        input == self.rows * self.inputs
            && weight == self.inputs * self.outputs
            && output == self.rows * self.outputs
    }
}

/// W·x + b of each row.
pub fn forward(sizes: Sizes, input: &[f32], weight: &[f32], bias: &[f32]) -> Vec<f32> {
    let Sizes {
        rows,
        inputs,
        outputs,
    } = sizes;
    if !sizes.fit(input.len(), weight.len(), rows * outputs) || bias.len() != outputs {
        return Vec::new();
    }
    let by_input = transposed(weight, [outputs, inputs]);
    let right = Matrix::of_rows(&by_input, [inputs, outputs], outputs);
    let left = Matrix::of_rows(input, [rows, inputs], inputs);
    row_by_row(left, right, Start::OfColumns(bias))
}

/// Gradient of the input: Wᵀ·g of each row.
pub fn input_gradient(sizes: Sizes, gradient: &[f32], weight: &[f32]) -> Vec<f32> {
    let Sizes {
        rows,
        inputs,
        outputs,
    } = sizes;
    if !sizes.fit(rows * inputs, weight.len(), gradient.len()) {
        return Vec::new();
    }
    let left = Matrix::of_rows(gradient, [rows, outputs], outputs);
    let right = Matrix::of_rows(weight, [outputs, inputs], inputs);
    row_by_row(left, right, Start::Zero)
}

/// Gradient of W: the sum of g·xᵀ.
pub fn weight_gradient(sizes: Sizes, input: &[f32], gradient: &[f32]) -> Vec<f32> {
    let Sizes {
        rows,
        inputs,
        outputs,
    } = sizes;
    if !sizes.fit(input.len(), inputs * outputs, gradient.len()) {
        return Vec::new();
    }
    let left = Matrix::of_rows(gradient, [rows, outputs], outputs).transposed();
    let right = Matrix::of_rows(input, [rows, inputs], inputs);
    part_by_part(left, right)
}

/// Gradient of b: the sum of g.
pub fn bias_gradient(sizes: Sizes, gradient: &[f32]) -> Vec<f32> {
    let outputs = sizes.outputs;
    if gradient.len() != sizes.rows * outputs {
        return Vec::new();
    }
    let parts: Vec<Vec<f32>> = gradient
        .par_chunks((ROWS * outputs).max(1))
        .map(|rows| {
            let mut sums = vec![0.0; outputs];
            for row in rows.chunks(outputs) {
                for (sum, g) in sums.iter_mut().zip(row) {
                    *sum += g;
                }
            }
            sums
        })
        .collect();
    let sum = |at: usize| parts.iter().map(|part| f64::from(part[at])).sum::<f64>() as f32;
    (0..outputs).map(sum).collect()
}

fn row_by_row(left: Matrix<'_>, right: Matrix<'_>, start: Start<'_>) -> Vec<f32> {
    let ([m, k], [_, n]) = (left.shape(), right.shape());
    let write = |to: &mut [MaybeUninit<f32>]| {
        let tasks = to.par_chunks_mut((ROWS * n).max(1)).enumerate();
        tasks.for_each(|(task, to)| {
            let first = task * ROWS;
            let mut rows: Vec<&mut [MaybeUninit<f32>]> = to.chunks_mut(n).collect();
            let left = left.part(first..m.min(first + ROWS), 0..k);
            Level::widest().run(Product::new(left, right, start, &mut rows));
        });
    };
    // SAFETY: the tasks cover all rows, and each writes all of its own.
    unsafe { written(m * n, write) }
}

/// `left · right` for factors with many terms, in tasks of some rows and a part of the terms: what lies side by side in memory
/// is multiplied together. Parts are added in f64.
fn part_by_part(left: Matrix<'_>, right: Matrix<'_>) -> Vec<f32> {
    let ([m, k], [_, n]) = (left.shape(), right.shape());
    let terms = k.div_ceil(PARTS).max(FEWEST_TERMS);
    let rows = m.div_ceil(2).max(FEWEST_ROWS);
    let n_parts = k.div_ceil(terms).max(1);
    let mut parts: Vec<Vec<f32>> = (0..n_parts).map(|_| vec![0.0; m * n]).collect();
    let tasks: Vec<_> = parts
        .iter_mut()
        .enumerate()
        .flat_map(|(part, sums)| {
            let tasks = sums.chunks_mut((rows * n).max(1)).enumerate();
            tasks.map(move |(number, to)| (part, number * rows, to))
        })
        .collect();
    tasks.into_par_iter().for_each(|(part, row, to)| {
        let terms = part * terms..k.min((part + 1) * terms);
        let left = left.part(row..m.min(row + rows), terms.clone());
        // SAFETY: only numbers are written.
        let mut to: Vec<_> = unsafe { places(to) }.chunks_mut(n).collect();
        let right = right.part(terms, 0..n);
        Level::widest().run(Product::new(left, right, Start::Zero, &mut to));
    });
    let mut sums = parts.remove(0);
    if parts.is_empty() {
        return sums;
    }
    sums.par_chunks_mut(AT_ONCE)
        .enumerate()
        .for_each(|(number, sums)| {
            for (at, sum) in sums.iter_mut().enumerate() {
                let at = number * AT_ONCE + at;
                let others = parts.iter().map(|part| f64::from(part[at]));
                *sum = (f64::from(*sum) + others.sum::<f64>()) as f32;
            }
        });
    sums
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Small whole numbers, so that sums are exact.
    fn numbers(len: usize, salt: usize) -> Vec<f32> {
        (0..len)
            .map(|i| ((i * 7 + salt) % 11) as f32 - 5.0)
            .collect()
    }

    #[test]
    fn values_and_gradients_are_their_definitions() {
        for [rows, inputs, outputs] in [
            [1, 1, 1],
            [70, 5, 19],
            [130, 33, 10],
            [300, 17, 100],
            [3, 40, 130],
            [2, 300, 3],
        ] {
            let sizes = Sizes {
                rows,
                inputs,
                outputs,
            };
            let (x, w) = (numbers(rows * inputs, 1), numbers(inputs * outputs, 2));
            let (b, g) = (numbers(outputs, 3), numbers(rows * outputs, 4));
            let found = forward(sizes, &x, &w, &b);
            for (at, found) in found.iter().enumerate() {
                let (row, o) = (at / outputs, at % outputs);
                let sum: f32 = (0..inputs)
                    .map(|i| x[row * inputs + i] * w[o * inputs + i])
                    .sum();
                assert_eq!(*found, b[o] + sum, "{sizes:?}");
            }
            let found = input_gradient(sizes, &g, &w);
            for (at, found) in found.iter().enumerate() {
                let (row, i) = (at / inputs, at % inputs);
                let sum: f32 = (0..outputs)
                    .map(|o| g[row * outputs + o] * w[o * inputs + i])
                    .sum();
                assert_eq!(*found, sum, "{sizes:?}");
            }
            let found = weight_gradient(sizes, &x, &g);
            for (at, found) in found.iter().enumerate() {
                let (o, i) = (at / inputs, at % inputs);
                let sum: f32 = (0..rows)
                    .map(|row| g[row * outputs + o] * x[row * inputs + i])
                    .sum();
                assert_eq!(*found, sum, "{sizes:?}");
            }
            for (o, found) in bias_gradient(sizes, &g).into_iter().enumerate() {
                let sum: f32 = (0..rows).map(|row| g[row * outputs + o]).sum();
                assert_eq!(found, sum, "{sizes:?}");
            }
        }
    }

    #[test]
    fn slices_that_do_not_fit_give_nothing() {
        let sizes = Sizes {
            rows: 1,
            inputs: 2,
            outputs: 1,
        };
        assert!(forward(sizes, &[1.0], &[1.0, 1.0], &[0.0]).is_empty());
        assert!(input_gradient(sizes, &[1.0], &[1.0]).is_empty());
        assert!(weight_gradient(sizes, &[1.0, 2.0], &[1.0, 2.0]).is_empty());
        assert!(bias_gradient(sizes, &[]).is_empty());
    }
}
