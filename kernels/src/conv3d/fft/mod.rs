//! Convolution by Fourier transforms of overlapping tiles (overlap-save), for stride 1 and kernels that are large enough
//! to pay.
//!
//! A tile of side `N` gives `N + 1 − kernel` outputs along each axis. Sides come from a set of products of 2, 3 and 5 and
//! are chosen by counting cycles, so that tiles fit the output: see `plan`. A pass goes through three stages, described in
//! `passes`: voxels to columns of spectra (`planes`), products of columns (`columns`), and back.
//!
//! # Accuracy
//! Errors are those of f32 sums over a tile: about 1e-6 of the output's largest value, wherever in the output.
//!
//! # NaN and infinity
//! A voxel that is NaN or infinite makes NaN of all outputs of the tiles that contain it, and of no other; in a kernel, of
//! all outputs of its output channel; in the gradient of the kernels, of all numbers of the kernels of its channel. A
//! direct convolution would spoil only the outputs that see the voxel. Values so large that a sum over a tile overflows
//! do the same.
//!
//! # Memory
//! [`workspace_bytes`] tells what a pass needs beside its arguments and its result: at most 0.11 GB for any layer of the
//! published network, batch 1. Buffers are kept for the next call, up to 512 MB in all, and each thread keeps a few MB.

mod codelet;
mod columns;
mod lanes;
mod passes;
mod plan;
mod planes;
mod pool;
mod product;
mod real;
mod transform;
mod workspace;

#[cfg(test)]
mod tests;

use rayon::prelude::*;

use super::{Geometry, Pass};
use crate::large_pages;
use crate::max_pool3d::Pooled;
use lanes::Path;
use passes::{Kernels, Outputs, Pass as Stages};
use plan::{Kind, Sizes, Tiling};
use pool::PoolPlanes;

/// Most bytes of [`workspace_bytes`] that are thought reasonable.
const MOST_BYTES: usize = 1_500_000_000;

/// Whether this algorithm can do a convolution: stride 1, kernels of 1 to 13 voxels a side, a bounded workspace. Any
/// padding.
pub fn supports(geometry: &Geometry) -> bool {
    computable(geometry) && workspace_bytes(geometry) <= MOST_BYTES
}

/// [`supports`] without the limit on memory, which is left to whoever chooses the algorithm.
fn computable(geometry: &Geometry) -> bool {
    geometry.stride == [1; 3] && plan::fits(geometry.kernel)
}

/// The convolution. Results don't depend on the number of threads.
///
/// # Shapes
/// As in the module [`super`]; `bias` has a number for each output channel. Slices shorter than their shape,
/// another stride or a larger kernel give an empty result.
pub fn forward(
    geometry: &Geometry,
    input: &[f32],
    weight: &[f32],
    bias: Option<&[f32]>,
) -> Vec<f32> {
    forward_on(Path::detect(), geometry, input, weight, bias)
}

/// The convolution, max-pooled by two as [`crate::max_pool3d::forward`] does it: the same values and positions, to the
/// last bit, without the full output ever being in memory.
///
/// # Shapes
/// As [`forward`]; the result is that of pooling its result.
pub fn forward_pooled(
    geometry: &Geometry,
    input: &[f32],
    weight: &[f32],
    bias: Option<&[f32]>,
) -> Pooled {
    forward_pooled_on(Path::detect(), geometry, input, weight, bias)
}

/// Gradient of the input: each output's gradient goes back to the voxels that it saw.
///
/// # Shapes
/// `output_gradient` has the output's shape, the result the input's. Slices shorter than their shape, another
/// stride or a larger kernel give an empty result.
pub fn input_gradient(geometry: &Geometry, output_gradient: &[f32], weight: &[f32]) -> Vec<f32> {
    input_gradient_on(Path::detect(), geometry, output_gradient, weight)
}

/// Gradient of the kernels, summed over the batch.
///
/// # Shapes
/// `output_gradient` has the output's shape, the result that of the kernels. Slices shorter than their
/// shape, another stride or a larger kernel give an empty result.
pub fn weight_gradient(geometry: &Geometry, input: &[f32], output_gradient: &[f32]) -> Vec<f32> {
    weight_gradient_on(Path::detect(), geometry, input, output_gradient)
}

/// Most bytes that any of the passes needs beside its arguments and its result: buffers between stages and, once, the
/// scratch memory that each thread keeps.
pub fn workspace_bytes(geometry: &Geometry) -> usize {
    let of = |sizes: Sizes, kind| {
        Tiling::choose(&sizes, kind).map_or(0, |tiling| {
            Stages::new(Path::Portable, &sizes, &tiling).workspace_bytes()
        })
    };
    of(correlation(geometry), Kind::Correlate)
        .max(of(correlation(geometry), Kind::Weights))
        .max(of(transposed(geometry), Kind::Correlate))
}

/// Estimated cycles of one pass on one core of a current server processor; infinite where it is not supported.
pub fn cycles(geometry: &Geometry, pass: Pass) -> f64 {
    if !supports(geometry) {
        return f64::INFINITY;
    }
    let (sizes, kind) = match pass {
        Pass::Forward => (correlation(geometry), Kind::Correlate),
        Pass::InputGradient => (transposed(geometry), Kind::Correlate),
        Pass::WeightGradient => (correlation(geometry), Kind::Weights),
    };
    Tiling::choose(&sizes, kind).map_or(0.0, |tiling| tiling.cycles(&sizes, kind))
}

fn forward_on(
    path: Path,
    geometry: &Geometry,
    input: &[f32],
    weight: &[f32],
    bias: Option<&[f32]>,
) -> Vec<f32> {
    if !computable(geometry)
        || input.len() < geometry.input_len()
        || weight.len() < geometry.weight_len()
        || bias.is_some_and(|bias| bias.len() < geometry.out_channels)
    {
        return Vec::new();
    }
    let sizes = correlation(geometry);
    let mut output = large_pages::untouched(vec![0.0; geometry.output_len()]);
    let Some(tiling) = Tiling::choose(&sizes, Kind::Correlate).filter(|_| !output.is_empty())
    else {
        return output;
    };
    if geometry.input_len() == 0 {
        let voxels: usize = sizes.output.iter().product();
        for (channel, values) in output.chunks_exact_mut(voxels).enumerate() {
            values.fill(bias_of(bias, channel % geometry.out_channels));
        }
        return output;
    }
    let kernels = Kernels {
        weight,
        strides: [geometry.in_channels, 1],
        conjugate: true,
    };
    let stages = Stages::new(path, &sizes, &tiling);
    stages.correlate(input, kernels, |outputs| {
        to_volumes(&stages, outputs, bias, &mut output);
    });
    output
}

fn input_gradient_on(
    path: Path,
    geometry: &Geometry,
    output_gradient: &[f32],
    weight: &[f32],
) -> Vec<f32> {
    if !computable(geometry)
        || output_gradient.len() < geometry.output_len()
        || weight.len() < geometry.weight_len()
    {
        return Vec::new();
    }
    let mut gradient = large_pages::untouched(vec![0.0; geometry.input_len()]);
    if geometry.output_len() == 0 || gradient.is_empty() {
        return gradient;
    }
    let sizes = transposed(geometry);
    let Some(tiling) = Tiling::choose(&sizes, Kind::Correlate) else {
        return gradient;
    };
    let kernels = Kernels {
        weight,
        strides: [1, geometry.in_channels],
        conjugate: false,
    };
    let stages = Stages::new(path, &sizes, &tiling);
    stages.correlate(output_gradient, kernels, |outputs| {
        to_volumes(&stages, outputs, None, &mut gradient);
    });
    gradient
}

fn weight_gradient_on(
    path: Path,
    geometry: &Geometry,
    input: &[f32],
    output_gradient: &[f32],
) -> Vec<f32> {
    if !computable(geometry)
        || input.len() < geometry.input_len()
        || output_gradient.len() < geometry.output_len()
    {
        return Vec::new();
    }
    let sizes = correlation(geometry);
    if geometry.output_len() == 0 || geometry.input_len() == 0 {
        return vec![0.0; geometry.weight_len()];
    }
    Tiling::choose(&sizes, Kind::Weights).map_or_else(Vec::new, |tiling| {
        Stages::new(path, &sizes, &tiling).weights(input, output_gradient)
    })
}

fn forward_pooled_on(
    path: Path,
    geometry: &Geometry,
    input: &[f32],
    weight: &[f32],
    bias: Option<&[f32]>,
) -> Pooled {
    let [px, py, pz] = geometry.output().map(|side| side / 2);
    let pooled_volume = px * py * pz;
    let volumes = geometry.batch * geometry.out_channels;
    let sizes = correlation(geometry);
    let usable = computable(geometry)
        && input.len() >= geometry.input_len()
        && weight.len() >= geometry.weight_len()
        && bias.is_none_or(|bias| bias.len() >= geometry.out_channels);
    let tiling = Tiling::choose(&sizes, Kind::Correlate);
    let Some(tiling) = tiling.filter(|_| usable && pooled_volume * volumes > 0) else {
        return Pooled {
            values: Vec::new(),
            positions: Vec::new(),
        };
    };
    if geometry.input_len() == 0 {
        let [x, y, z] = sizes.output;
        let output = forward_on(path, geometry, input, weight, bias);
        let dims = [geometry.batch, geometry.out_channels, x, y, z];
        return crate::max_pool3d::forward(&output, dims);
    }
    let mut pooled = Pooled {
        values: large_pages::untouched(vec![0.0; volumes * pooled_volume]),
        positions: large_pages::untouched(vec![0; volumes * pooled_volume]),
    };
    let kernels = Kernels {
        weight,
        strides: [geometry.in_channels, 1],
        conjugate: true,
    };
    let plane = sizes.output[1] * sizes.output[2];
    // Where a band ends with the first plane of a pair, that plane waits here for the next band.
    let mut waiting = vec![0.0; volumes * plane];
    let stages = Stages::new(path, &sizes, &tiling);
    stages.correlate(input, kernels, |outputs| {
        let jobs: Vec<_> = pooled
            .values
            .chunks_exact_mut(pooled_volume)
            .zip(pooled.positions.chunks_exact_mut(pooled_volume))
            .zip(waiting.chunks_exact_mut(plane))
            .enumerate()
            .filter_map(|(at, job)| wanted(outputs, at, geometry.out_channels).map(|to| (to, job)))
            .collect();
        jobs.into_par_iter()
            .for_each(|(place, ((values, positions), waiting))| {
                let channel = Channel {
                    stages: &stages,
                    outputs,
                    place,
                    bias: bias_of(bias, place[1]),
                };
                channel.pool(values, positions, waiting);
            });
    });
    pooled
}

/// One channel of a group, to be pooled.
struct Channel<'a> {
    stages: &'a Stages<'a>,
    outputs: &'a Outputs<'a>,
    /// Sample and channel.
    place: [usize; 2],
    bias: f32,
}

impl Channel<'_> {
    fn pool(&self, values: &mut [f32], positions: &mut [u32], waiting: &mut [f32]) {
        let (sizes, tiling) = (self.stages.sizes, self.stages.tiling);
        let [nx, ny, nz] = sizes.output;
        let plane = ny * nz;
        let valid = tiling.valid[0];
        workspace::with_voxels((valid + 1) * plane, |planes| {
            for band in self.outputs.part.bands.clone() {
                let x = band * valid;
                let end = (x + valid).min(nx);
                let odd = x % 2;
                planes[..odd * plane].copy_from_slice(&waiting[..odd * plane]);
                let fresh = &mut planes[odd * plane..][..(end - x) * plane];
                self.stages
                    .to_voxels(self.outputs, self.place, band..band + 1, self.bias, fresh);
                let planes = &planes[..(end - x + odd) * plane];
                self.stages.path.call(PoolPlanes {
                    planes,
                    x: x - odd,
                    sides: [ny, nz],
                    values,
                    positions,
                });
                waiting.copy_from_slice(&planes[planes.len() - plane..]);
            }
        });
    }
}

/// Sample and channel of volume `at`, if it belongs to a group.
fn wanted(outputs: &Outputs<'_>, at: usize, channels: usize) -> Option<[usize; 2]> {
    let place = [at / channels, at % channels];
    (outputs.part.samples.contains(&place[0]) && outputs.channels.contains(&place[1]))
        .then_some(place)
}

fn bias_of(bias: Option<&[f32]>, channel: usize) -> f32 {
    bias.map_or(0.0, |bias| bias[channel])
}

/// Last stage: each volume of a group to its place.
fn to_volumes(
    stages: &Stages<'_>,
    outputs: &Outputs<'_>,
    bias: Option<&[f32]>,
    result: &mut [f32],
) {
    let [nx, ny, nz] = stages.sizes.output;
    let jobs: Vec<_> = result
        .chunks_exact_mut(nx * ny * nz)
        .enumerate()
        .filter_map(|(at, volume)| {
            wanted(outputs, at, stages.sizes.out_channels).map(|place| (place, volume))
        })
        .collect();
    let bands = &outputs.part.bands;
    let first = bands.start * stages.tiling.valid[0] * ny * nz;
    jobs.into_par_iter().for_each(|(place, volume)| {
        let bias = bias_of(bias, place[1]);
        stages.to_voxels(outputs, place, bands.clone(), bias, &mut volume[first..]);
    });
}

/// A convolution as the tiles see it.
fn correlation(geometry: &Geometry) -> Sizes {
    Sizes {
        batch: geometry.batch,
        in_channels: geometry.in_channels,
        out_channels: geometry.out_channels,
        input: geometry.input,
        kernel: geometry.kernel,
        output: geometry.output(),
        padding: geometry.padding.map(|zeros| zeros as isize),
    }
}

/// The gradient of the input: a convolution of the output's gradient, which gets as many zeros as the kernel reaches
/// beyond it.
fn transposed(geometry: &Geometry) -> Sizes {
    Sizes {
        batch: geometry.batch,
        in_channels: geometry.out_channels,
        out_channels: geometry.in_channels,
        input: geometry.output(),
        kernel: geometry.kernel,
        output: geometry.input,
        padding: std::array::from_fn(|axis| {
            geometry.kernel[axis] as isize - 1 - geometry.padding[axis] as isize
        }),
    }
}
