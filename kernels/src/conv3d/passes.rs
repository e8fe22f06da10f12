//! The three passes over a packing: fixed tasks for the pool, each with its own outputs or its own sums.
#![expect(unsafe_code, reason = "outputs are not zeroed before they are written")]

use super::blocks::{Accumulate, CHANNELS, Start};
use super::correlation::{Correlation, PackedWeights};
use super::direct::Rows;
use super::dots::{DotSegment, Dots, POSITIONS};
use super::merged::Merged;
use super::packing::{BUFFER, Step, Tile, tiles, with_workspace};
use super::pooled::PooledGradient;
use super::simd::Level;
use crate::max_pool3d::ExpandRows;
use crate::output::{places, written};
use rayon::prelude::*;
use std::mem::MaybeUninit;
use std::ops::Range;

/// Tasks that a pass is cut into where it has so many: a fixed number, for results must not depend on the threads.
pub(crate) const TASKS: usize = 16;
/// Where tasks are fewer, output channels are cut into groups, although each then packs the same inputs.
const TASKS_OF_GROUPS: usize = 8;

/// How many output channels to give to one task, where each sample has some tiles.
pub(crate) fn channel_group(c: &Correlation, n_tiles: usize) -> usize {
    let n_groups = TASKS_OF_GROUPS
        .div_ceil(c.batch * n_tiles)
        .min(c.out_channels.div_ceil(4 * CHANNELS));
    c.out_channels.div_ceil(n_groups).next_multiple_of(CHANNELS)
}

struct ValuesTask<'o> {
    sample: usize,
    tile: Tile,
    first_channel: usize,
    /// The tile's positions in each output channel of the task.
    outputs: Vec<&'o mut [MaybeUninit<f32>]>,
}

/// `bias + correlation`.
pub(crate) fn values(
    level: Level,
    c: &Correlation,
    packing: &Rows,
    arrays: (&[f32], &PackedWeights, Option<&[f32]>),
) -> Vec<f32> {
    let write = |output: &mut [MaybeUninit<f32>]| write_values(level, c, packing, arrays, output);
    // SAFETY: the tiles cover all places of every channel of every sample, and blocks write their whole tile.
    unsafe { written(c.batch * c.out_channels * c.n_positions(), write) }
}

/// Writes to every place of the output.
fn write_values(
    level: Level,
    c: &Correlation,
    packing: &Rows,
    (input, weights, bias): (&[f32], &PackedWeights, Option<&[f32]>),
    output: &mut [MaybeUninit<f32>],
) {
    let in_voxels: usize = c.input.iter().product();
    let sample_len = c.in_channels * in_voxels;
    let block_len = packing.channel_block() * in_voxels;
    values_tasks(c, packing.tile(), output)
        .into_par_iter()
        .for_each(|mut task| {
            let sample = &input[task.sample * sample_len..][..sample_len];
            with_workspace(packing.buffer_len(), |buffer| {
                for (block, channels) in sample.chunks(block_len).enumerate() {
                    let first = block * packing.channel_block();
                    let n_in = channels.len() / in_voxels;
                    for step in task.tile.steps(packing.step()) {
                        packing.pack(level, channels, &step, buffer);
                        let accumulate = Accumulate {
                            start: if block > 0 {
                                Start::Output
                            } else {
                                Start::Bias(bias.map(|bias| &bias[task.first_channel..]))
                            },
                            inputs: buffer,
                            n_taps: n_in * c.n_taps(),
                            segments: &packing.segments(&step),
                            weights: weights.block(first, n_in, task.first_channel),
                            outputs: &mut task.outputs,
                        };
                        // SAFETY: the first block of input channels has written the outputs of all steps.
                        level.run(unsafe { accumulate.vouched() });
                    }
                }
            });
        });
}

/// Cuts the output into tiles and, where these are few, groups of channels.
fn values_tasks<'o>(
    c: &Correlation,
    tile: [usize; 2],
    output: &'o mut [MaybeUninit<f32>],
) -> Vec<ValuesTask<'o>> {
    let tiles = tiles(c.output, tile);
    let group = channel_group(c, tiles.len());
    let mut tasks: Vec<ValuesTask<'o>> = Vec::new();
    let channels = output.chunks_mut(c.n_positions());
    for (index, mut positions) in channels.enumerate() {
        let (sample, channel) = (index / c.out_channels, index % c.out_channels);
        if channel.is_multiple_of(group) {
            tasks.extend(tiles.iter().map(|tile| ValuesTask {
                sample,
                tile: *tile,
                first_channel: channel,
                outputs: Vec::with_capacity(group),
            }));
        }
        let first_task = tasks.len() - tiles.len();
        for (tile, task) in tiles.iter().zip(&mut tasks[first_task..]) {
            let (of_tile, rest) = positions.split_at_mut(tile.nx * tile.ny * c.output[2]);
            task.outputs.push(of_tile);
            positions = rest;
        }
    }
    tasks
}

/// The output's gradient.
#[derive(Clone, Copy)]
pub(crate) enum OutputGradient<'a> {
    Dense(&'a [f32]),
    /// Expanded where it is needed, so that it is never whole in memory.
    Pooled(PooledGradient<'a>),
}

impl OutputGradient<'_> {
    /// Numbers that [`OutputGradient::expand`] wants for a step of one sample.
    fn expanded_len(self, c: &Correlation, packing: &Rows) -> usize {
        match self {
            Self::Dense(_) => 0,
            Self::Pooled(_) => c.out_channels * packing.step() * packing.tile()[1] * c.output[2],
        }
    }

    /// Expands the outputs of a step: `[channel][x][row][z]`.
    fn expand(self, level: Level, c: &Correlation, (sample, step): (usize, &Step), to: &mut [f32]) {
        let Self::Pooled(PooledGradient { values, positions }) = self else {
            return;
        };
        let [_, oy, oz] = c.output;
        let [px, py, pz] = c.output.map(|side| side / 2);
        let planes = to.chunks_mut(step.tile.ny * oz);
        let channels = sample * c.out_channels..(sample + 1) * c.out_channels;
        let all = channels.flat_map(|channel| step.xs.clone().map(move |x| (channel, x)));
        for (plane, (channel, x)) in planes.zip(all) {
            let x = step.tile.x + x;
            let cells = (channel * px + (x / 2).min(px)) * py * pz;
            let n_cells = if x / 2 < px { py * pz } else { 0 };
            level.run(ExpandRows {
                gradient: &values[cells..][..n_cells],
                positions: &positions[cells..][..n_cells],
                place: [x, step.tile.y],
                sides: [oy, oz],
                // SAFETY: the kernel writes numbers.
                voxels: unsafe { places(plane) },
            });
        }
    }

    /// The run in each output channel; what [`OutputGradient::expand`] wrote lies in `expanded`.
    fn runs<'b>(
        &'b self,
        c: &Correlation,
        (sample, step): (usize, &Step),
        run: Range<usize>,
        expanded: &'b [f32],
    ) -> Vec<&'b [f32]> {
        let tile = step.tile;
        let plane = tile.ny * c.output[2];
        match self {
            Self::Dense(gradient) => {
                let first = (tile.x * c.output[1] + tile.y) * c.output[2];
                gradient
                    .chunks(c.n_positions())
                    .skip(sample * c.out_channels)
                    .take(c.out_channels)
                    .map(|channel| &channel[first + run.start..first + run.end])
                    .collect()
            }
            Self::Pooled(_) => {
                let first = step.xs.start * plane;
                expanded
                    .chunks(step.xs.len() * plane)
                    .take(c.out_channels)
                    .map(|channel| &channel[run.start - first..run.end - first])
                    .collect()
            }
        }
    }
}

/// Sums `output gradient · input` for every weight.
///
/// Each block of input channels is summed apart; where blocks are few, their samples and tiles are cut into runs, whose
/// sums are added in order.
pub(crate) fn weight_gradient(
    level: Level,
    c: &Correlation,
    packing: &Rows,
    input: &[f32],
    output_gradient: OutputGradient<'_>,
) -> Vec<f32> {
    let items = weight_items(c, packing);
    let n_blocks = c.in_channels.div_ceil(packing.channel_block());
    let items_in_run = items.len().div_ceil(TASKS.div_ceil(n_blocks));
    let n_runs = items.len().div_ceil(items_in_run);
    let sums: Vec<Vec<f64>> = (0..n_blocks * n_runs)
        .into_par_iter()
        .map(|task| {
            let (block, run) = (task / n_runs, task % n_runs);
            let end = items.len().min((run + 1) * items_in_run);
            let items = &items[run * items_in_run..end];
            block_sums(level, c, packing, (input, output_gradient), block, items)
        })
        .collect();
    let mut gradient = vec![0.0; c.out_channels * c.in_channels * c.n_taps()];
    let row_len = c.in_channels * c.n_taps();
    for (block, runs) in sums.chunks(n_runs).enumerate() {
        let first = block * packing.channel_block() * c.n_taps();
        let len = runs[0].len() / c.out_channels.next_multiple_of(CHANNELS);
        for (channel, row) in gradient.chunks_mut(row_len).enumerate() {
            let from = channel / CHANNELS * len * CHANNELS + channel % CHANNELS;
            for (tap, to) in row[first..first + len].iter_mut().enumerate() {
                let sum: f64 = runs.iter().map(|sums| sums[from + tap * CHANNELS]).sum();
                *to = sum as f32;
            }
        }
    }
    gradient
}

/// One tile in some samples.
struct WeightItem {
    samples: Range<usize>,
    tile: Tile,
}

/// All tiles of all samples. Tiny volumes go together, for long dot products.
fn weight_items(c: &Correlation, packing: &Rows) -> Vec<WeightItem> {
    let tiles = tiles(c.output, packing.tile());
    let together = if packing.step() >= c.output[0] && tiles.len() == 1 {
        let most = (POSITIONS / c.n_positions()).min(BUFFER / packing.buffer_len());
        most.clamp(1, c.batch)
    } else {
        1
    };
    let mut items = Vec::new();
    for first in (0..c.batch).step_by(together) {
        items.extend(tiles.iter().map(|tile| WeightItem {
            samples: first..c.batch.min(first + together),
            tile: *tile,
        }));
    }
    items
}

/// The sums of a block of input channels over some items, ordered as in [`Dots`].
fn block_sums(
    level: Level,
    c: &Correlation,
    packing: &Rows,
    (input, output_gradient): (&[f32], OutputGradient<'_>),
    block: usize,
    items: &[WeightItem],
) -> Vec<f64> {
    let in_voxels: usize = c.input.iter().product();
    let first = block * packing.channel_block();
    let n_in = packing.channel_block().min(c.in_channels - first);
    let mut sums = vec![0.0; c.out_channels.next_multiple_of(CHANNELS) * n_in * c.n_taps()];
    let buffer_len = packing.buffer_len();
    let mut merged = Merged::default();
    let expanded_len = output_gradient.expanded_len(c, packing);
    for WeightItem { samples, tile } in items {
        with_workspace((buffer_len + expanded_len) * samples.len(), |buffer| {
            let (buffer, expanded) = buffer.split_at_mut(buffer_len * samples.len());
            for step in tile.steps(packing.step()) {
                for (at, sample) in samples.clone().enumerate() {
                    let channels = (sample * c.in_channels + first) * in_voxels;
                    let channels = &input[channels..][..n_in * in_voxels];
                    packing.pack(level, channels, &step, &mut buffer[at * buffer_len..]);
                    let expanded = &mut expanded[at * expanded_len..];
                    output_gradient.expand(level, c, (sample, &step), expanded);
                }
                let mut segments = Vec::new();
                for (at, sample) in samples.clone().enumerate() {
                    let expanded = &expanded[at * expanded_len..];
                    let of_sample = packing.segments(&step).into_iter();
                    segments.extend(of_sample.map(|segment| {
                        let run = segment.position..segment.position + segment.len;
                        DotSegment {
                            inputs_from: at * buffer_len,
                            gradients: output_gradient.runs(c, (sample, &step), run, expanded),
                            segment,
                        }
                    }));
                }
                let n_taps = n_in * c.n_taps();
                let mut add = |inputs: &[f32], segments: &[DotSegment<'_>]| {
                    level.run(Dots {
                        n_channels: c.out_channels,
                        inputs,
                        n_taps,
                        segments,
                        sums: &mut sums,
                    });
                };
                if merged.join(buffer, &segments, n_taps) {
                    let (inputs, run) = merged.parts();
                    add(inputs, &[run]);
                } else {
                    add(buffer, &segments);
                }
            }
        });
    }
    sums
}
