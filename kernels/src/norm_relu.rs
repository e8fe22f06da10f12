//! Batch normalization, then what follows it in a residual unit: a shortcut that is added, and ReLU; values and gradients.
//!
//! Arrays are `[batch][channel][voxel]`, voxels fastest. A task has some channels of all samples, few enough to stay in the
//! second-level cache while their mean, their variance and their values are computed one after the other. Sums are taken in
//! f64, so that results do not depend on how a batch is cut.
#![expect(unsafe_code, reason = "results are not zeroed before they are written")]
#![expect(
    clippy::inline_always,
    reason = "so that the caller's instruction set reaches the code"
)]

use crate::batch_norm::{Channels, Dims, Gradients};
use crate::conv3d::simd::{Kernel, Level, Simd};
use crate::output::written;
use crate::sums::sums;
use rayon::prelude::*;
use std::mem::MaybeUninit;

/// Numbers of a sample that a task has, if there are so many.
const AT_ONCE: usize = 1024;

/// What follows the normalization.
#[derive(Clone, Copy, Debug, Default)]
pub struct Then<'a> {
    /// Is added; as long as the input.
    pub shortcut: Option<&'a [f32]>,
    /// Whether what is below 0 becomes 0.
    pub relu: bool,
}

/// What a training pass gives.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Normalized {
    /// As long as the input.
    pub values: Vec<f32>,
    /// Of the batch, one number for each channel.
    pub mean: Vec<f32>,
    /// The same; of the n values, not of n − 1.
    pub variance: Vec<f32>,
}

/// What a training pass gave, for its gradients.
#[derive(Clone, Copy, Debug)]
pub struct Given<'a> {
    /// The input.
    pub input: &'a [f32],
    /// The values; looked at only where a shortcut was added.
    pub values: &'a [f32],
    /// Whether a shortcut was added.
    pub added: bool,
    /// Whether what was below 0 became 0.
    pub relu: bool,
}

/// Normalizes by the batch's own mean and variance.
///
/// Slices that don't fit `dims` give an empty result.
pub fn forward(
    input: &[f32],
    dims: Dims,
    [gamma, beta]: [&[f32]; 2],
    epsilon: f32,
    then: Then<'_>,
) -> Normalized {
    let [_, channels, _] = dims;
    let fits = gamma.len() >= channels && beta.len() >= channels && fits(input, dims, then);
    if !fits {
        return Normalized::default();
    }
    let (mut mean, mut variance) = (vec![0.0; channels], vec![0.0; channels]);
    let write = |values: &mut [MaybeUninit<f32>]| {
        let tasks = tasks(dims, [values]);
        let at_once = channels_at_once(dims);
        let statistics = mean
            .par_chunks_mut(at_once)
            .zip(variance.par_chunks_mut(at_once));
        tasks
            .into_par_iter()
            .zip(statistics)
            .for_each(|(mut task, (mean, variance))| {
                statistics_of(&task, input, dims, (&mut *mean, &mut *variance));
                for number in 0..mean.len() {
                    let channel = task.first + number;
                    let scale = gamma[channel] / (variance[number] + epsilon).sqrt();
                    let line = Line {
                        mean: mean[number],
                        scale,
                        shift: beta[channel],
                    };
                    task.write(input, dims, number, line, then);
                }
            });
    };
    // SAFETY: the tasks cover all channels of all samples, and each writes all of its own.
    let values = unsafe { written(input.len(), write) };
    Normalized {
        values,
        mean,
        variance,
    }
}

/// Normalizes by given statistics.
///
/// Slices that don't fit `dims` give an empty result.
pub fn normalize(input: &[f32], dims: Dims, of: Channels<'_>, then: Then<'_>) -> Vec<f32> {
    if !of.fit(dims[1]) || !fits(input, dims, then) {
        return Vec::new();
    }
    let write = |values: &mut [MaybeUninit<f32>]| {
        tasks(dims, [values]).into_par_iter().for_each(|mut task| {
            for number in 0..task.n_channels {
                let line = Line::of(of, task.first + number);
                task.write(input, dims, number, line, then);
            }
        });
    };
    // SAFETY: the tasks cover all channels of all samples, and each writes all of its own.
    unsafe { written(input.len(), write) }
}

/// Gradients of what [`forward`] gave, and that of the shortcut, empty where none was added; `of` holds the batch's own
/// statistics.
///
/// Slices that don't fit `dims` give an empty result.
pub fn gradients(
    gradient: &[f32],
    given: Given<'_>,
    dims: Dims,
    of: Channels<'_>,
) -> (Gradients, Vec<f32>) {
    let [batch, channels, voxels] = dims;
    let len = batch * channels * voxels;
    let fits = gradient.len() == len
        && given.input.len() == len
        && (!given.added || given.values.len() == len)
        && of.fit(channels);
    let mut found = Gradients {
        input: Vec::new(),
        gamma: vec![0.0; channels],
        beta: vec![0.0; channels],
    };
    if !fits {
        return (found, Vec::new());
    }
    let (of_gamma, of_beta) = (&mut found.gamma, &mut found.beta);
    let mut of_shortcut = Vec::new();
    let at_once = channels_at_once(dims);
    let mut run = |to: &mut [MaybeUninit<f32>], masked: &mut [MaybeUninit<f32>]| {
        let sums = of_gamma
            .par_chunks_mut(at_once)
            .zip(of_beta.par_chunks_mut(at_once));
        let masked = if given.added {
            tasks(dims, [masked])
        } else {
            tasks(dims, [&mut []])
        };
        tasks(dims, [to])
            .into_par_iter()
            .zip(masked)
            .zip(sums)
            .for_each(|((mut to, mut masked), (of_gamma, of_beta))| {
                for number in 0..to.n_channels {
                    let channel = to.first + number;
                    let mut totals = [0.0; 2];
                    let line = Line::of(of, channel);
                    for sample in 0..batch {
                        let volume = volume(dims, sample, channel);
                        Level::widest().run(Products {
                            g: &gradient[volume.clone()],
                            x: &given.input[volume.clone()],
                            y: given.added.then(|| &given.values[volume]),
                            masked: masked.volumes.get_mut(sample * to.n_channels + number),
                            line,
                            relu: given.relu,
                            totals: &mut totals,
                        });
                    }
                    let deviation = of.deviation(channel);
                    of_gamma[number] = (totals[1] / f64::from(deviation)) as f32;
                    of_beta[number] = totals[0] as f32;
                    let n = (batch * voxels) as f64;
                    for sample in 0..batch {
                        let volume = volume(dims, sample, channel);
                        let at = sample * to.n_channels + number;
                        let masked = masked.volumes.get(at);
                        Level::widest().run(InputGradient {
                            g: match masked {
                                // SAFETY: the products have just written it.
                                Some(masked) => unsafe { masked.assume_init_ref() },
                                None => &gradient[volume.clone()],
                            },
                            x: &given.input[volume],
                            to: &mut *to.volumes[at],
                            line,
                            // What has been masked need not be masked again.
                            relu: given.relu && masked.is_none(),
                            constant: (totals[0] / n) as f32,
                            slope: (totals[1] / n / f64::from(deviation).powi(2)) as f32,
                        });
                    }
                }
            });
    };
    let write = |to: &mut [MaybeUninit<f32>]| {
        if given.added {
            // SAFETY: the tasks cover all channels of all samples, and each writes all of its own.
            of_shortcut = unsafe { written(len, |masked| run(to, masked)) };
        } else {
            run(to, &mut []);
        }
    };
    // SAFETY: as above.
    found.input = unsafe { written(len, write) };
    (found, of_shortcut)
}

fn fits(input: &[f32], dims: Dims, then: Then<'_>) -> bool {
    let len = dims.iter().product();
    input.len() == len && then.shortcut.is_none_or(|shortcut| shortcut.len() == len)
}

fn channels_at_once([_, channels, voxels]: Dims) -> usize {
    (AT_ONCE / voxels.max(1)).clamp(1, channels.max(1))
}

fn volume([_, channels, voxels]: Dims, sample: usize, channel: usize) -> std::ops::Range<usize> {
    let first = (sample * channels + channel) * voxels;
    first..first + voxels
}

/// Some channels of all samples.
struct Task<'o> {
    first: usize,
    n_channels: usize,
    /// `[sample][channel]`; none where there is nothing to write.
    volumes: Vec<&'o mut [MaybeUninit<f32>]>,
}

fn tasks<'o>(dims: Dims, [output]: [&'o mut [MaybeUninit<f32>]; 1]) -> Vec<Task<'o>> {
    let [batch, channels, voxels] = dims;
    let at_once = channels_at_once(dims);
    let starts = (0..channels).step_by(at_once);
    let mut tasks: Vec<Task<'o>> = starts
        .map(|first| Task {
            first,
            n_channels: at_once.min(channels - first),
            volumes: Vec::with_capacity(batch * at_once),
        })
        .collect();
    for (number, volume) in output.chunks_mut(voxels.max(1)).enumerate() {
        tasks[number % channels / at_once].volumes.push(volume);
    }
    tasks
}

impl Task<'_> {
    /// Writes one channel of all samples.
    fn write(&mut self, input: &[f32], dims: Dims, number: usize, line: Line, then: Then<'_>) {
        for (sample, to) in self
            .volumes
            .iter_mut()
            .skip(number)
            .step_by(self.n_channels)
            .enumerate()
        {
            let volume = volume(dims, sample, self.first + number);
            Level::widest().run(Values {
                x: &input[volume.clone()],
                shortcut: then.shortcut.map(|shortcut| &shortcut[volume]),
                to,
                line,
                relu: then.relu,
            });
        }
    }
}

/// Means and variances of a task's channels.
fn statistics_of(
    task: &Task<'_>,
    input: &[f32],
    dims: Dims,
    (mean, variance): (&mut [f32], &mut [f32]),
) {
    let [batch, _, voxels] = dims;
    let n = (batch * voxels) as f64;
    let total = |channel: usize, mean: f32, squared: bool| {
        let mut total = 0.0;
        for sample in 0..batch {
            let x = &input[volume(dims, sample, channel)];
            let (squared, total) = (squared, &mut total);
            Level::widest().run(Centered {
                x,
                mean,
                squared,
                total,
            });
        }
        total / n
    };
    for (number, (mean, variance)) in mean.iter_mut().zip(variance).enumerate() {
        let channel = task.first + number;
        *mean = total(channel, 0.0, false) as f32;
        *variance = total(channel, *mean, true) as f32;
    }
}

/// `(x − mean) · scale + shift`.
#[derive(Clone, Copy)]
struct Line {
    mean: f32,
    scale: f32,
    shift: f32,
}

impl Line {
    fn of(of: Channels<'_>, channel: usize) -> Self {
        Self {
            mean: of.mean[channel],
            scale: of.gamma[channel] / of.deviation(channel),
            shift: of.beta[channel],
        }
    }

    /// Always in the same way, so that a gradient sees the value that was handed on.
    #[inline(always)]
    fn at(self, x: f32) -> f32 {
        (x - self.mean) * self.scale + self.shift
    }
}

#[inline(always)]
fn rectified(x: f32) -> f32 {
    // `max` would hide NaN.
    if x < 0.0 { 0.0 } else { x }
}

struct Centered<'a> {
    x: &'a [f32],
    mean: f32,
    squared: bool,
    total: &'a mut f64,
}

impl Kernel for Centered<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let (x, mean) = (self.x, self.mean);
        let [sum] = if self.squared {
            sums(x.len(), |at| {
                let centered = f64::from(x[at] - mean);
                [centered * centered]
            })
        } else {
            sums(x.len(), |at| [f64::from(x[at])])
        };
        *self.total += sum;
    }
}

struct Values<'a, 'o> {
    x: &'a [f32],
    shortcut: Option<&'a [f32]>,
    to: &'a mut &'o mut [MaybeUninit<f32>],
    line: Line,
    relu: bool,
}

impl Kernel for Values<'_, '_> {
    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let places = self.to.iter_mut().zip(self.x);
        let line = self.line;
        match (self.shortcut, self.relu) {
            (None, false) => places.for_each(|(to, x)| {
                to.write(line.at(*x));
            }),
            (None, true) => places.for_each(|(to, x)| {
                to.write(rectified(line.at(*x)));
            }),
            (Some(shortcut), false) => places.zip(shortcut).for_each(|((to, x), shortcut)| {
                to.write(line.at(*x) + shortcut);
            }),
            (Some(shortcut), true) => places.zip(shortcut).for_each(|((to, x), shortcut)| {
                to.write(rectified(line.at(*x) + shortcut));
            }),
        }
    }
}

/// Sums of the gradient, where ReLU lets it through, and of its products with the centered voxels.
struct Products<'a, 'o> {
    g: &'a [f32],
    x: &'a [f32],
    /// The values, where they are more than the normalized input.
    y: Option<&'a [f32]>,
    /// Takes what ReLU lets through.
    masked: Option<&'a mut &'o mut [MaybeUninit<f32>]>,
    line: Line,
    relu: bool,
    totals: &'a mut [f64; 2],
}

impl Kernel for Products<'_, '_> {
    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let n = self.g.len().min(self.x.len());
        let (g, x, line) = (&self.g[..n], &self.x[..n], self.line);
        let terms = |g: f32, x: f32| [f64::from(g), f64::from(g) * f64::from(x - line.mean)];
        let through = |g: f32, y: f32| if y <= 0.0 { 0.0 } else { g };
        let [of_g, of_products] = match (self.relu, self.y, self.masked) {
            (true, Some(y), Some(masked)) => {
                let (y, masked) = (&y[..n], &mut masked[..n]);
                sums(n, |at| {
                    let g = through(g[at], y[at]);
                    masked[at].write(g);
                    terms(g, x[at])
                })
            }
            (false, _, Some(masked)) => {
                let masked = &mut masked[..n];
                sums(n, |at| {
                    masked[at].write(g[at]);
                    terms(g[at], x[at])
                })
            }
            (true, _, _) => sums(n, |at| terms(through(g[at], line.at(x[at])), x[at])),
            (false, _, None) => sums(n, |at| terms(g[at], x[at])),
        };
        self.totals[0] += of_g;
        self.totals[1] += of_products;
    }
}

struct InputGradient<'a> {
    g: &'a [f32],
    x: &'a [f32],
    to: &'a mut [MaybeUninit<f32>],
    line: Line,
    relu: bool,
    constant: f32,
    slope: f32,
}

impl Kernel for InputGradient<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let (line, constant, slope) = (self.line, self.constant, self.slope);
        let of = |g: f32, x: f32| (g - constant - (x - line.mean) * slope) * line.scale;
        let places = self.to.iter_mut().zip(self.g.iter().zip(self.x));
        if self.relu {
            for (to, (g, x)) in places {
                let g = if line.at(*x) <= 0.0 { 0.0 } else { *g };
                to.write(of(g, *x));
            }
        } else {
            for (to, (g, x)) in places {
                to.write(of(*g, *x));
            }
        }
    }
}

#[cfg(test)]
mod tests;
