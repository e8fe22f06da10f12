//! ReLU and batch normalization in one: each voxel is rectified, then its channel gets mean 0 and variance 1 over batch
//! and voxels, then a scale and a shift.
//!
//! Rectifying costs nothing while a number is in a register, and neither what is rectified nor what is centered needs to
//! be in memory. Sums are f64, each channel's taken in the order of the batch. NaN stays NaN.

#![expect(
    clippy::inline_always,
    reason = "so that the caller's instruction set reaches the code"
)]
#![expect(unsafe_code, reason = "results are not zeroed before they are written")]

use crate::conv3d::simd::{Kernel, Level, Simd};
use crate::output::written;
use rayon::prelude::*;
use std::mem::MaybeUninit;

/// Batch, channels, voxels of a volume; the last is the fastest in memory.
pub type Dims = [usize; 3];

/// What is done to each channel; all slices have one number for each.
#[derive(Clone, Copy, Debug)]
pub struct Channels<'a> {
    /// Mean of the rectified voxels.
    pub mean: &'a [f32],
    /// Their variance: the mean square of their distance from the mean.
    pub variance: &'a [f32],
    /// Scale.
    pub gamma: &'a [f32],
    /// Shift.
    pub beta: &'a [f32],
    /// Added to the variance.
    pub epsilon: f32,
}

/// Gradients of everything that [`normalize`] reads.
#[derive(Debug, PartialEq)]
pub struct Gradients {
    /// Of the voxels before they are rectified.
    pub input: Vec<f32>,
    /// Of the scales.
    pub gamma: Vec<f32>,
    /// Of the shifts.
    pub beta: Vec<f32>,
}

/// Mean and variance of each channel's rectified voxels.
///
/// # Shapes
/// `input` has shape `dims`, both results `[channels]`; empty if `input` is shorter.
pub fn statistics(input: &[f32], dims: Dims) -> [Vec<f32>; 2] {
    let [batch, channels, voxels] = dims;
    if input.len() < batch * channels * voxels {
        return [Vec::new(), Vec::new()];
    }
    let n = (batch * voxels) as f64;
    let of_channel = |channel: usize| {
        let mut total = 0.0;
        for x in volumes(input, dims, channel) {
            Level::detect().run(Sum {
                x,
                total: &mut total,
            });
        }
        let mean = (total / n) as f32;
        let mut squares = 0.0;
        for x in volumes(input, dims, channel) {
            let total = &mut squares;
            Level::detect().run(Squares { x, mean, total });
        }
        (mean, (squares / n) as f32)
    };
    let (mean, variance) = (0..channels).into_par_iter().map(of_channel).unzip();
    [mean, variance]
}

/// The volumes of one channel.
fn volumes(
    numbers: &[f32],
    [batch, channels, voxels]: Dims,
    channel: usize,
) -> impl Iterator<Item = &[f32]> {
    (0..batch).map(move |sample| &numbers[(sample * channels + channel) * voxels..][..voxels])
}

/// `(max(x, 0) − mean) / √(variance + ε) · gamma + beta`.
///
/// # Shapes
/// `input` has shape `dims`, and so has the result; empty if a slice is shorter than its shape.
pub fn normalize(input: &[f32], dims: Dims, of: Channels<'_>) -> Vec<f32> {
    let [batch, channels, voxels] = dims;
    let len = batch * channels * voxels;
    if input.len() < len || !of.fit(channels) {
        return Vec::new();
    }
    let write = |output: &mut [MaybeUninit<f32>]| {
        output
            .par_chunks_mut(voxels.max(1))
            .zip(input.par_chunks(voxels.max(1)))
            .enumerate()
            .for_each(|(volume, (y, x))| {
                let channel = volume % channels;
                Level::detect().run(Normalize {
                    x,
                    y,
                    mean: of.mean[channel],
                    scale: of.gamma[channel] / of.deviation(channel),
                    shift: of.beta[channel],
                });
            });
    };
    // SAFETY: the volumes cover all places, and each is written whole.
    unsafe { written(len, write) }
}

/// Gradients where mean and variance are the input's own, see [`statistics`].
///
/// # Shapes
/// `gradient` and `input` have shape `dims`; empty results if a slice is shorter than its shape.
pub fn gradients(gradient: &[f32], input: &[f32], dims: Dims, of: Channels<'_>) -> Gradients {
    let [batch, channels, voxels] = dims;
    let len = batch * channels * voxels;
    if gradient.len() < len || input.len() < len || !of.fit(channels) {
        return Gradients {
            input: Vec::new(),
            gamma: Vec::new(),
            beta: Vec::new(),
        };
    }
    let sums: Vec<[f64; 2]> = (0..channels)
        .into_par_iter()
        .map(|channel| {
            let mut totals = [0.0; 2];
            let volumes = volumes(gradient, dims, channel).zip(volumes(input, dims, channel));
            for (g, x) in volumes {
                let (mean, totals) = (of.mean[channel], &mut totals);
                Level::detect().run(Products { g, x, mean, totals });
            }
            totals
        })
        .collect();
    let n = (batch * voxels) as f64;
    let write = |result: &mut [MaybeUninit<f32>]| {
        result
            .par_chunks_mut(voxels.max(1))
            .zip(gradient.par_chunks(voxels.max(1)))
            .zip(input.par_chunks(voxels.max(1)))
            .enumerate()
            .for_each(|(volume, ((to, g), x))| {
                let channel = volume % channels;
                let [of_g, of_products] = sums[channel];
                let deviation = of.deviation(channel);
                Level::detect().run(InputGradient {
                    g,
                    x,
                    to,
                    mean: of.mean[channel],
                    scale: of.gamma[channel] / deviation,
                    constant: (of_g / n) as f32,
                    slope: (of_products / n / f64::from(deviation).powi(2)) as f32,
                });
            });
    };
    Gradients {
        // SAFETY: the volumes cover all places, and each is written whole.
        input: unsafe { written(len, write) },
        gamma: (0..channels)
            .map(|channel| (sums[channel][1] / f64::from(of.deviation(channel))) as f32)
            .collect(),
        beta: sums.iter().map(|[of_g, _]| *of_g as f32).collect(),
    }
}

impl Channels<'_> {
    pub(crate) fn fit(&self, channels: usize) -> bool {
        [self.mean, self.variance, self.gamma, self.beta]
            .iter()
            .all(|numbers| numbers.len() >= channels)
    }

    pub(crate) fn deviation(&self, channel: usize) -> f32 {
        (self.variance[channel] + self.epsilon).sqrt()
    }
}

#[inline(always)]
fn rectified(x: f32) -> f32 {
    // `max` would hide NaN.
    if x < 0.0 { 0.0 } else { x }
}

/// Sums of `f(number of the place)` over `n` places, eight running ones so that they need not wait for each other.
#[inline(always)]
fn sums<const K: usize>(n: usize, f: impl Fn(usize) -> [f64; K]) -> [f64; K] {
    let mut running = [[0.0; 8]; K];
    for first in (0..n / 8 * 8).step_by(8) {
        for lane in 0..8 {
            let terms = f(first + lane);
            for (running, term) in running.iter_mut().zip(terms) {
                running[lane] += term;
            }
        }
    }
    for place in n / 8 * 8..n {
        let terms = f(place);
        for (running, term) in running.iter_mut().zip(terms) {
            running[0] += term;
        }
    }
    running.map(|running| running.iter().sum())
}

struct Sum<'a> {
    x: &'a [f32],
    total: &'a mut f64,
}

impl Kernel for Sum<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let [sum] = sums(self.x.len(), |at| [f64::from(rectified(self.x[at]))]);
        *self.total += sum;
    }
}

struct Squares<'a> {
    x: &'a [f32],
    mean: f32,
    total: &'a mut f64,
}

impl Kernel for Squares<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let [sum] = sums(self.x.len(), |at| {
            let centered = f64::from(rectified(self.x[at]) - self.mean);
            [centered * centered]
        });
        *self.total += sum;
    }
}

struct Normalize<'a> {
    x: &'a [f32],
    y: &'a mut [MaybeUninit<f32>],
    mean: f32,
    scale: f32,
    shift: f32,
}

impl Kernel for Normalize<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        for (y, x) in self.y.iter_mut().zip(self.x) {
            y.write((rectified(*x) - self.mean) * self.scale + self.shift);
        }
    }
}

/// Sums of the gradient and of its products with the centered voxels.
struct Products<'a> {
    g: &'a [f32],
    x: &'a [f32],
    mean: f32,
    totals: &'a mut [f64; 2],
}

impl Kernel for Products<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let n = self.g.len().min(self.x.len());
        let (g, x) = (&self.g[..n], &self.x[..n]);
        let [of_g, of_products] = sums(n, |at| {
            let (g, centered) = (f64::from(g[at]), rectified(x[at]) - self.mean);
            [g, g * f64::from(centered)]
        });
        self.totals[0] += of_g;
        self.totals[1] += of_products;
    }
}

struct InputGradient<'a> {
    g: &'a [f32],
    x: &'a [f32],
    to: &'a mut [MaybeUninit<f32>],
    mean: f32,
    scale: f32,
    constant: f32,
    slope: f32,
}

impl Kernel for InputGradient<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        for ((to, g), x) in self.to.iter_mut().zip(self.g).zip(self.x) {
            let centered = rectified(*x) - self.mean;
            let all = (g - self.constant - centered * self.slope) * self.scale;
            to.write(if *x <= 0.0 { 0.0 } else { all });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIMS: Dims = [3, 2, 37];
    const EPSILON: f32 = 1e-3;

    fn numbers(len: usize, salt: u32) -> Vec<f32> {
        let mixed = (0..len as u32).map(|at| (at ^ salt).wrapping_mul(0x9E37_79B1).rotate_left(9));
        mixed.map(|at| at as f32 / 2e9 - 0.9).collect()
    }

    /// The whole operation in f64, straight from its definition.
    fn reference(input: &[f64], gamma: &[f32], beta: &[f32]) -> Vec<f64> {
        let [batch, channels, voxels] = DIMS;
        let mut output = vec![0.0; input.len()];
        for channel in 0..channels {
            let places: Vec<usize> = (0..batch * voxels)
                .map(|at| (at / voxels * channels + channel) * voxels + at % voxels)
                .collect();
            let n = places.len() as f64;
            let mean = places.iter().map(|at| input[*at].max(0.0)).sum::<f64>() / n;
            let square = |at: &usize| (input[*at].max(0.0) - mean).powi(2);
            let variance = places.iter().map(square).sum::<f64>() / n;
            let scale = f64::from(gamma[channel]) / (variance + f64::from(EPSILON)).sqrt();
            for at in places {
                output[at] = (input[at].max(0.0) - mean) * scale + f64::from(beta[channel]);
            }
        }
        output
    }

    #[test]
    fn values_are_those_of_the_definition_and_gradients_its_differences() {
        let len = DIMS.iter().product();
        let (input, weights) = (numbers(len, 1), numbers(len, 2));
        let (gamma, beta) = ([1.5, -0.7], [0.3, 0.1]);
        let [mean, variance] = statistics(&input, DIMS);
        let of = Channels {
            mean: &mean,
            variance: &variance,
            gamma: &gamma,
            beta: &beta,
            epsilon: EPSILON,
        };
        let wide: Vec<f64> = input.iter().copied().map(f64::from).collect();
        let expected = reference(&wide, &gamma, &beta);
        for (found, expected) in normalize(&input, DIMS, of).iter().zip(&expected) {
            assert!((f64::from(*found) - expected).abs() < 1e-5);
        }
        // Of the sum of all outputs, each weighted by another number.
        let loss = |input: &[f64], gamma: &[f32], beta: &[f32]| -> f64 {
            let outputs = reference(input, gamma, beta);
            let terms = outputs.iter().zip(&weights);
            terms.map(|(y, weight)| y * f64::from(*weight)).sum()
        };
        let found = gradients(&weights, &input, DIMS, of);
        for at in 0..len {
            let moved = |by: f64| {
                let mut moved = wide.clone();
                moved[at] += by;
                loss(&moved, &gamma, &beta)
            };
            let expected = (moved(1e-6) - moved(-1e-6)) / 2e-6;
            assert!((f64::from(found.input[at]) - expected).abs() < 1e-5, "{at}");
        }
        for channel in 0..2 {
            let moved = |by: f32, of: &[f32; 2]| {
                let mut moved = *of;
                moved[channel] += by;
                moved
            };
            // Linear in both, so the differences are exact but for rounding.
            let of_gamma =
                loss(&wide, &moved(0.5, &gamma), &beta) - loss(&wide, &moved(-0.5, &gamma), &beta);
            let of_beta =
                loss(&wide, &gamma, &moved(0.5, &beta)) - loss(&wide, &gamma, &moved(-0.5, &beta));
            assert!((f64::from(found.gamma[channel]) - of_gamma).abs() < 1e-4);
            assert!((f64::from(found.beta[channel]) - of_beta).abs() < 1e-4);
        }
    }

    #[test]
    fn nan_is_not_hidden() {
        let input = [1.0, f32::NAN, -1.0, 2.0];
        let [mean, variance] = statistics(&input, [1, 1, 4]);
        assert!(mean[0].is_nan() && variance[0].is_nan());
        let of = Channels {
            mean: &[0.0],
            variance: &[1.0],
            gamma: &[1.0],
            beta: &[0.0],
            epsilon: 0.0,
        };
        let values = normalize(&input, [1, 1, 4], of);
        assert!(values[1].is_nan() && values[2] == 0.0);
    }

    #[test]
    fn short_slices_give_nothing() {
        assert_eq!(statistics(&[1.0], [1, 1, 2]), [vec![], vec![]]);
    }
}
