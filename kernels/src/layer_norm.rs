//! Layer normalization (Ba et al. 2016, arXiv 1607.06450): each row gets mean 0 and variance 1, then each of its numbers a
//! scale and a shift; values and gradients.
//!
//! Rows are contiguous, `[rows][channels]`. Slices that don't fit give empty results.
#![expect(unsafe_code, reason = "results are not zeroed before they are written")]
#![expect(
    clippy::inline_always,
    reason = "so that the caller's instruction set reaches the code"
)]

use std::mem::MaybeUninit;

use rayon::prelude::*;

use crate::conv3d::simd::{Kernel, Level, Simd};
use crate::output::written;
use crate::sums::sums;

/// Rows of a task.
const ROWS: usize = 64;

/// Gradients of everything that [`forward`] reads.
#[derive(Debug, PartialEq)]
pub struct Gradients {
    /// Of the input.
    pub input: Vec<f32>,
    /// Of the scales.
    pub gamma: Vec<f32>,
    /// Of the shifts.
    pub beta: Vec<f32>,
}

/// Normalizes each row, as long as `gamma` and `beta`.
pub fn forward(input: &[f32], gamma: &[f32], beta: &[f32], epsilon: f32) -> Vec<f32> {
    let channels = gamma.len();
    if beta.len() != channels || channels == 0 || !input.len().is_multiple_of(channels) {
        return Vec::new();
    }
    let write = |to: &mut [MaybeUninit<f32>]| {
        let at_once = ROWS * channels;
        let parts = to.par_chunks_mut(at_once).zip(input.par_chunks(at_once));
        parts.for_each(|(to, x)| {
            Level::widest().run(Values {
                x,
                gamma,
                beta,
                epsilon,
                to,
            });
        });
    };
    // SAFETY: the parts cover all rows, and each is written whole.
    unsafe { written(input.len(), write) }
}

/// Gradients, from that of the values.
pub fn gradients(gradient: &[f32], input: &[f32], gamma: &[f32], epsilon: f32) -> Gradients {
    let channels = gamma.len();
    let fits =
        channels > 0 && input.len().is_multiple_of(channels) && gradient.len() == input.len();
    if !fits {
        return Gradients {
            input: Vec::new(),
            gamma: Vec::new(),
            beta: Vec::new(),
        };
    }
    let at_once = ROWS * channels;
    let mut sums: Vec<[Vec<f32>; 2]> = Vec::new();
    let write = |to: &mut [MaybeUninit<f32>]| {
        to.par_chunks_mut(at_once)
            .zip(gradient.par_chunks(at_once))
            .zip(input.par_chunks(at_once))
            .map(|((to, g), x)| {
                let mut sums = [vec![0.0; channels], vec![0.0; channels]];
                let sums_of_rows = &mut sums;
                Level::widest().run(Backward {
                    g,
                    x,
                    gamma,
                    epsilon,
                    to,
                    sums: sums_of_rows,
                });
                sums
            })
            .collect_into_vec(&mut sums);
    };
    // SAFETY: the parts cover all rows, and each is written whole.
    let of_input = unsafe { written(input.len(), write) };
    let total = |which: usize| -> Vec<f32> {
        let of_channel = |at: usize| {
            sums.iter()
                .map(|part| f64::from(part[which][at]))
                .sum::<f64>()
        };
        (0..channels).map(|at| of_channel(at) as f32).collect()
    };
    Gradients {
        input: of_input,
        gamma: total(0),
        beta: total(1),
    }
}

/// Mean of a row, and one over its standard deviation.
#[inline(always)]
fn statistics(row: &[f32], epsilon: f32) -> [f32; 2] {
    let n = row.len() as f64;
    let [sum] = sums(row.len(), |at| [f64::from(row[at])]);
    let mean = (sum / n) as f32;
    let [squares] = sums(row.len(), |at| {
        let centered = f64::from(row[at] - mean);
        [centered * centered]
    });
    let variance = (squares / n) as f32;
    [mean, 1.0 / (variance + epsilon).sqrt()]
}

struct Values<'a> {
    x: &'a [f32],
    gamma: &'a [f32],
    beta: &'a [f32],
    epsilon: f32,
    to: &'a mut [MaybeUninit<f32>],
}

impl Kernel for Values<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let channels = self.gamma.len();
        for (to, x) in self.to.chunks_mut(channels).zip(self.x.chunks(channels)) {
            let [mean, scale] = statistics(x, self.epsilon);
            let affine = self.gamma.iter().zip(self.beta);
            for ((to, x), (gamma, beta)) in to.iter_mut().zip(x).zip(affine) {
                to.write((x - mean) * scale * gamma + beta);
            }
        }
    }
}

struct Backward<'a> {
    g: &'a [f32],
    x: &'a [f32],
    gamma: &'a [f32],
    epsilon: f32,
    to: &'a mut [MaybeUninit<f32>],
    /// Of scales and of shifts.
    sums: &'a mut [Vec<f32>; 2],
}

impl Kernel for Backward<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let (channels, gamma) = (self.gamma.len(), self.gamma);
        let n = channels as f64;
        let [of_gamma, of_beta] = self.sums;
        let rows = self.g.chunks(channels).zip(self.x.chunks(channels));
        for (to, (g, x)) in self.to.chunks_mut(channels).zip(rows) {
            let [mean, scale] = statistics(x, self.epsilon);
            let [total, products] = sums(channels, |at| {
                let scaled = g[at] * gamma[at];
                let normalized = (x[at] - mean) * scale;
                [f64::from(scaled), f64::from(scaled) * f64::from(normalized)]
            });
            let (constant, slope) = ((total / n) as f32, (products / n) as f32);
            for at in 0..channels {
                let normalized = (x[at] - mean) * scale;
                of_gamma[at] += g[at] * normalized;
                of_beta[at] += g[at];
                to[at].write((g[at] * gamma[at] - constant - normalized * slope) * scale);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EPSILON: f32 = 1e-3;

    fn numbers(len: usize, salt: u32) -> Vec<f32> {
        let mixed = (0..len as u32).map(|at| (at ^ salt).wrapping_mul(0x9E37_79B1).rotate_left(9));
        mixed.map(|at| at as f32 / 2e9 - 0.9).collect()
    }

    fn reference(input: &[f64], gamma: &[f64], beta: &[f64]) -> Vec<f64> {
        let n = gamma.len() as f64;
        let of_row = |row: &[f64]| -> Vec<f64> {
            let mean = row.iter().sum::<f64>() / n;
            let variance = row.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n;
            let scale = 1.0 / (variance + f64::from(EPSILON)).sqrt();
            let affine = gamma.iter().zip(beta);
            let values = row.iter().zip(affine);
            values
                .map(|(x, (gamma, beta))| (x - mean) * scale * gamma + beta)
                .collect()
        };
        input.chunks(gamma.len()).flat_map(of_row).collect()
    }

    #[test]
    fn values_and_gradients_are_those_of_the_definition() {
        for [rows, channels] in [[1, 1], [3, 7], [70, 33], [2, 192]] {
            let len = rows * channels;
            let (input, weights) = (numbers(len, 1), numbers(len, 2));
            let (gamma, beta) = (numbers(channels, 3), numbers(channels, 4));
            let wide =
                |numbers: &[f32]| -> Vec<f64> { numbers.iter().copied().map(f64::from).collect() };
            let arrays = [wide(&input), wide(&gamma), wide(&beta)];
            let expected = reference(&arrays[0], &arrays[1], &arrays[2]);
            let found = forward(&input, &gamma, &beta, EPSILON);
            for (found, expected) in found.iter().zip(&expected) {
                assert!((f64::from(*found) - expected).abs() < 1e-5);
            }
            let loss = |arrays: &[Vec<f64>; 3]| -> f64 {
                let values = reference(&arrays[0], &arrays[1], &arrays[2]);
                values
                    .iter()
                    .zip(&weights)
                    .map(|(y, weight)| y * f64::from(*weight))
                    .sum()
            };
            let found = gradients(&weights, &input, &gamma, EPSILON);
            for (which, found) in [&found.input, &found.gamma, &found.beta]
                .into_iter()
                .enumerate()
            {
                assert_eq!(found.len(), arrays[which].len());
                for at in (0..found.len()).step_by(5) {
                    let moved = |by: f64| {
                        let mut moved = arrays.clone();
                        moved[which][at] += by;
                        loss(&moved)
                    };
                    let slope = (moved(1e-6) - moved(-1e-6)) / 2e-6;
                    let error = (f64::from(found[at]) - slope).abs();
                    assert!(error < 1e-4, "{rows}×{channels}, {which}, {at}: {error}");
                }
            }
        }
    }

    #[test]
    fn slices_that_do_not_fit_give_nothing() {
        assert!(forward(&[1.0; 3], &[1.0; 2], &[0.0; 2], EPSILON).is_empty());
        assert!(
            gradients(&[1.0; 2], &[1.0; 4], &[1.0; 2], EPSILON)
                .input
                .is_empty()
        );
    }
}
