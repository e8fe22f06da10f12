//! Quantization of a weight matrix by coordinate descent, from what its layer is given.
//!
//! Zhang et al., "COMQ: A Backpropagation-Free Algorithm for Post-Training Quantization" (2025, arXiv 2403.07134): of each row
//! w of W a row q on a grid is sought that makes ‖X(w − q)‖ small, X being what the layer is given. One number of q at a time
//! moves to its best place on the grid, so the error never rises; the order goes by ‖x_j‖·|w_j|, largest first.

use rayon::prelude::*;

/// What a layer is given: rows of X, kept by column.
#[derive(Clone, Debug, PartialEq)]
pub struct Inputs {
    n_rows: usize,
    n_columns: usize,
    /// `[columns, rows]`.
    by_column: Vec<f32>,
}

/// How a matrix is quantized.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ComqParams {
    /// Bits of a weight, 2 to 8.
    pub bits: u32,
    /// Times that every number of a row is visited; none: each weight goes to its nearest place on the grid.
    pub sweeps: usize,
}

/// Factor on the step of the grid at 2 bits, where few weights lie at the ends; 1 otherwise (published code).
const SCALE_AT_2_BITS: f32 = 0.65;

impl Inputs {
    /// From rows, `[rows, columns]`.
    pub fn from_rows(rows: &[f32], n_columns: usize) -> Self {
        let n_rows = rows.len().checked_div(n_columns).unwrap_or(0);
        let mut by_column = Vec::with_capacity(n_rows * n_columns);
        for column in 0..n_columns {
            by_column.extend((0..n_rows).map(|row| rows[row * n_columns + column]));
        }
        Self {
            n_rows,
            n_columns,
            by_column,
        }
    }

    fn column(&self, number: usize) -> &[f32] {
        &self.by_column[number * self.n_rows..(number + 1) * self.n_rows]
    }

    /// ‖X(w − q)‖² of two rows.
    pub fn error(&self, w: &[f32], q: &[f32]) -> f64 {
        let squares = self.residual(w, q).into_iter();
        squares.map(|u| f64::from(u) * f64::from(u)).sum()
    }

    fn residual(&self, w: &[f32], q: &[f32]) -> Vec<f32> {
        let mut residual = vec![0.0; self.n_rows];
        for (column, (w, q)) in w.iter().zip(q).enumerate() {
            add(&mut residual, w - q, self.column(column));
        }
        residual
    }
}

/// The equidistant values that a row may have.
struct Grid {
    step: f32,
    first: f32,
    n: u32,
}

impl Grid {
    /// From the smallest to the largest number of a row, which has to hold a number other than 0.
    fn of(row: &[f32], bits: u32) -> Option<Self> {
        let (low, high) = row
            .iter()
            .fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), v| {
                (low.min(*v), high.max(*v))
            });
        let n = 1 << bits;
        let scale = if bits == 2 { SCALE_AT_2_BITS } else { 1.0 };
        let whole = (high - low) / (n - 1) as f32;
        if !whole.is_finite() || whole <= 0.0 {
            return None;
        }
        Some(Self {
            step: whole * scale,
            first: (low / whole).round(),
            n,
        })
    }

    fn nearest(&self, value: f32) -> f32 {
        let place = (value / self.step - self.first).round();
        self.step * (self.first + place.clamp(0.0, (self.n - 1) as f32))
    }
}

/// A matrix with each row on a grid of its own; rows that hold one value alone stay as they are.
///
/// # Shapes
/// `matrix` is `[rows, columns]`, as many columns as the inputs have.
pub fn quantize(matrix: &[f32], inputs: &Inputs, params: ComqParams) -> Vec<f32> {
    let norms: Vec<f32> = (0..inputs.n_columns)
        .map(|column| dot(inputs.column(column), inputs.column(column)))
        .collect();
    let rows = matrix.par_chunks(inputs.n_columns.max(1));
    let quantized: Vec<Vec<f32>> = rows
        .map(|row| quantize_row(row, inputs, &norms, params))
        .collect();
    quantized.concat()
}

fn quantize_row(row: &[f32], inputs: &Inputs, norms: &[f32], params: ComqParams) -> Vec<f32> {
    let Some(grid) = Grid::of(row, params.bits) else {
        return row.to_vec();
    };
    let mut quantized: Vec<f32> = row.iter().map(|w| grid.nearest(*w)).collect();
    let mut order: Vec<usize> = (0..row.len())
        .filter(|column| norms[*column] > 0.0)
        .collect();
    let weight = |column: usize| norms[column].sqrt() * row[column].abs();
    order.sort_by(|a, b| weight(*b).total_cmp(&weight(*a)));
    let mut residual = inputs.residual(row, &quantized);
    for _ in 0..params.sweeps {
        for column in &order {
            let x = inputs.column(*column);
            let before = quantized[*column];
            let best = grid.nearest(before + dot(&residual, x) / norms[*column]);
            if best != before {
                add(&mut residual, before - best, x);
                quantized[*column] = best;
            }
        }
    }
    quantized
}

fn dot(one: &[f32], other: &[f32]) -> f32 {
    // Eight sums at once, in one order whatever the machine.
    let mut sums = [0.0_f32; 8];
    let (mut ones, mut others) = (one.chunks_exact(8), other.chunks_exact(8));
    for (a, b) in ones.by_ref().zip(others.by_ref()) {
        for lane in 0..8 {
            sums[lane] += a[lane] * b[lane];
        }
    }
    let rest = ones.remainder().iter().zip(others.remainder());
    sums.iter().sum::<f32>() + rest.map(|(a, b)| a * b).sum::<f32>()
}

/// `to += factor · x`.
fn add(to: &mut [f32], factor: f32, x: &[f32]) {
    for (to, x) in to.iter_mut().zip(x) {
        *to += factor * x;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn inputs(n_rows: usize, n_columns: usize) -> impl Strategy<Value = Inputs> {
        proptest::collection::vec(-2.0_f32..2.0, n_rows * n_columns)
            .prop_map(move |rows| Inputs::from_rows(&rows, n_columns))
    }

    proptest! {
        #[test]
        fn no_sweep_raises_the_error(
            inputs in inputs(30, 9),
            row in proptest::collection::vec(-1.0_f32..1.0, 9),
            bits in 2_u32..=8,
        ) {
            let error = |sweeps| {
                let quantized = quantize(&row, &inputs, ComqParams { bits, sweeps });
                inputs.error(&row, &quantized)
            };
            let errors: Vec<f64> = (0..5).map(error).collect();
            for pair in errors.windows(2) {
                // f32 sums over 30 rows: some 1e-5 of what is summed.
                prop_assert!(pair[1] <= pair[0] + 1e-4, "{errors:?}");
            }
        }

        #[test]
        fn inputs_that_do_not_overlap_give_the_best_of_all_rows_on_the_grid(
            row in proptest::collection::vec(-1.0_f32..1.0, 3),
            sizes in proptest::collection::vec(0.1_f32..3.0, 3),
        ) {
            // X is diagonal, so columns don't meddle with each other.
            let rows: Vec<f32> = (0..9).map(|i| if i % 4 == 0 { sizes[i / 4] } else { 0.0 }).collect();
            let inputs = Inputs::from_rows(&rows, 3);
            let found = quantize(&row, &inputs, ComqParams { bits: 3, sweeps: 2 });
            let Some(grid) = Grid::of(&row, 3) else { return Ok(()); };
            let value = |place: usize| grid.step * (grid.first + place as f32);
            let mut best = f64::INFINITY;
            for i in 0..512 {
                let all = [value(i % 8), value(i / 8 % 8), value(i / 64)];
                best = best.min(inputs.error(&row, &all));
            }
            prop_assert!((inputs.error(&row, &found) - best).abs() < 1e-6);
        }
    }

    #[test]
    fn overlapping_inputs_of_a_tiny_layer_come_to_the_best_of_all_rows_on_the_grid() {
        // The same in double precision by another program: 0.102721 rounded, 0.001432 after four sweeps, the best of all 512.
        let rows = [1.0, 0.9, 0.1, 0.8, 1.0, 0.2, 0.1, 0.3, 1.0, 0.4, 0.5, 0.6];
        let (inputs, row) = (Inputs::from_rows(&rows, 3), [0.9, -0.887, 0.55]);
        let grid = Grid::of(&row, 3).unwrap();
        let value = |place: usize| grid.step * (grid.first + place as f32);
        let all = (0..512).map(|i| [value(i % 8), value(i / 8 % 8), value(i / 64)]);
        let best = all
            .map(|all| inputs.error(&row, &all))
            .fold(f64::INFINITY, f64::min);
        let error = |sweeps| {
            let quantized = quantize(&row, &inputs, ComqParams { bits: 3, sweeps });
            inputs.error(&row, &quantized)
        };
        assert!((error(0) - 0.102_721).abs() < 1e-5, "{}", error(0));
        assert!((error(4) - 0.001_432).abs() < 1e-5, "{}", error(4));
        assert!((error(4) - best).abs() < 1e-6, "{best}");
    }

    #[test]
    fn eight_bits_are_near_and_a_constant_row_stays() {
        let row: Vec<f32> = (0..40).map(|i| (i as f32 * 0.7).sin()).collect();
        let rows: Vec<f32> = (0..400).map(|i| (i as f32 * 1.3).cos()).collect();
        let inputs = Inputs::from_rows(&rows, 40);
        let found = quantize(&row, &inputs, ComqParams { bits: 8, sweeps: 0 });
        // Half a step of 2/255, and half of one more where the grid's first value was rounded.
        assert!(
            row.iter()
                .zip(&found)
                .all(|(w, q)| (w - q).abs() < 2.0 / 255.0)
        );
        let constant = vec![0.3; 40];
        assert_eq!(
            quantize(&constant, &inputs, ComqParams { bits: 2, sweeps: 3 }),
            constant
        );
    }
}
