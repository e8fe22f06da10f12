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

mod passes;

use crate::batch_norm::{Channels, Dims, Gradients};
use crate::conv3d::simd::Level;
use crate::output::written;
use passes::{Centered, InputGradient, Line, Products, Slope, Values};
use rayon::prelude::*;
use std::mem::MaybeUninit;
use std::ops::Range;

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
        let at_once = channels_at_once(dims);
        let statistics = mean
            .par_chunks_mut(at_once)
            .zip(variance.par_chunks_mut(at_once));
        tasks(dims, values)
            .into_par_iter()
            .zip(statistics)
            .for_each(|(task, (mean, variance))| {
                statistics_of(&task, input, dims, (&mut *mean, &mut *variance));
                let line = |number: usize| Line {
                    mean: mean[number],
                    scale: gamma[task.first + number] / (variance[number] + epsilon).sqrt(),
                    shift: beta[task.first + number],
                };
                let lines: Vec<Line> = (0..mean.len()).map(line).collect();
                task.write(input, dims, &lines, then);
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
        tasks(dims, values).into_par_iter().for_each(|task| {
            let lines = task.lines(of);
            task.write(input, dims, &lines, then);
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
        tasks(dims, to)
            .into_par_iter()
            .zip(tasks(dims, masked))
            .zip(sums)
            .for_each(|((to, masked), (of_gamma, of_beta))| {
                let slopes = to.sum_products(gradient, given, dims, of, masked.runs);
                for (number, slope) in slopes.iter().enumerate() {
                    of_gamma[number] = slope.of_gamma;
                    of_beta[number] = slope.of_beta;
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

/// Some channels of all samples.
struct Task<'o> {
    first: usize,
    n_channels: usize,
    /// The channels of each sample, which lie together; none where there is nothing to write.
    runs: Vec<&'o mut [MaybeUninit<f32>]>,
}

fn tasks(dims: Dims, output: &mut [MaybeUninit<f32>]) -> Vec<Task<'_>> {
    let [batch, channels, voxels] = dims;
    let at_once = channels_at_once(dims);
    let starts = (0..channels).step_by(at_once);
    let mut tasks: Vec<Task<'_>> = starts
        .map(|first| Task {
            first,
            n_channels: at_once.min(channels - first),
            runs: Vec::with_capacity(batch),
        })
        .collect();
    for sample in output.chunks_mut((channels * voxels).max(1)) {
        for (task, run) in tasks
            .iter_mut()
            .zip(sample.chunks_mut((at_once * voxels).max(1)))
        {
            task.runs.push(run);
        }
    }
    tasks
}

impl Task<'_> {
    /// Where its channels of a sample lie.
    fn run(&self, [_, channels, voxels]: Dims, sample: usize) -> Range<usize> {
        let first = (sample * channels + self.first) * voxels;
        first..first + self.n_channels * voxels
    }

    fn lines(&self, of: Channels<'_>) -> Vec<Line> {
        let numbers = 0..self.n_channels;
        numbers
            .map(|number| Line::of(of, self.first + number))
            .collect()
    }

    /// Writes all values.
    fn write(self, input: &[f32], dims: Dims, lines: &[Line], then: Then<'_>) {
        let runs: Vec<Range<usize>> = (0..dims[0]).map(|sample| self.run(dims, sample)).collect();
        for (to, run) in self.runs.into_iter().zip(runs) {
            Level::widest().run(Values {
                x: &input[run.clone()],
                shortcut: then.shortcut.map(|shortcut| &shortcut[run]),
                to,
                lines,
                voxels: dims[2],
                relu: then.relu,
            });
        }
    }

    /// Sums up the gradient, and writes that of the input; `masked` takes what ReLU lets through, if a shortcut was added.
    fn sum_products(
        mut self,
        gradient: &[f32],
        given: Given<'_>,
        dims: Dims,
        of: Channels<'_>,
        mut masked: Vec<&mut [MaybeUninit<f32>]>,
    ) -> Vec<Slope> {
        let [batch, _, voxels] = dims;
        let lines = self.lines(of);
        let mut totals = vec![[0.0; 2]; self.n_channels];
        for sample in 0..batch {
            let run = self.run(dims, sample);
            Level::widest().run(Products {
                g: &gradient[run.clone()],
                x: &given.input[run.clone()],
                y: given.added.then(|| &given.values[run]),
                masked: masked.get_mut(sample).map(|masked| &mut **masked),
                lines: &lines,
                voxels,
                relu: given.relu,
                totals: &mut totals,
            });
        }
        let n = (batch * voxels) as f64;
        let slope = |number: usize| {
            let deviation = f64::from(of.deviation(self.first + number));
            let [of_g, of_products] = totals[number];
            Slope {
                constant: (of_g / n) as f32,
                per_unit: (of_products / n / deviation.powi(2)) as f32,
                of_gamma: (of_products / deviation) as f32,
                of_beta: of_g as f32,
            }
        };
        let slopes: Vec<Slope> = (0..self.n_channels).map(slope).collect();
        for sample in 0..batch {
            let run = self.run(dims, sample);
            let masked = masked.get(sample);
            Level::widest().run(InputGradient {
                g: match masked {
                    // SAFETY: the products have just written it.
                    Some(masked) => unsafe { masked.assume_init_ref() },
                    None => &gradient[run.clone()],
                },
                x: &given.input[run],
                to: &mut *self.runs[sample],
                lines: &lines,
                slopes: &slopes,
                voxels,
                // What has been masked need not be masked again.
                relu: given.relu && masked.is_none(),
            });
        }
        slopes
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
    let totals = |means: Option<&[f32]>| {
        let mut totals = vec![0.0; task.n_channels];
        for sample in 0..batch {
            Level::widest().run(Centered {
                x: &input[task.run(dims, sample)],
                voxels,
                means,
                totals: &mut totals,
            });
        }
        totals
    };
    for (mean, total) in mean.iter_mut().zip(totals(None)) {
        *mean = (total / n) as f32;
    }
    for (variance, total) in variance.iter_mut().zip(totals(Some(mean))) {
        *variance = (total / n) as f32;
    }
}

#[cfg(test)]
mod tests;
