//! The three passes over a packing: fixed tasks for the pool, each with its own outputs or its own sums.

use super::blocks::{Accumulate, CHANNELS, Start};
use super::correlation::{Correlation, PackedWeights};
use super::dots::Dots;
use super::packing::{Packing, Tile, tiles, with_workspace};
use super::simd::Level;
use rayon::prelude::*;

/// Tasks that a pass is cut into where it has so many: a fixed number, for results must not depend on the threads.
const TASKS: usize = 16;

struct ValuesTask<'o> {
    sample: usize,
    tile: Tile,
    first_channel: usize,
    /// The tile's positions in each output channel of the task.
    outputs: Vec<&'o mut [f32]>,
}

/// Writes `bias + correlation` to the whole output.
pub(crate) fn values(
    level: Level,
    c: &Correlation,
    packing: &impl Packing,
    (input, weights, bias): (&[f32], &PackedWeights, Option<&[f32]>),
    output: &mut [f32],
) {
    let in_voxels: usize = c.input.iter().product();
    let sample_len = c.in_channels * in_voxels;
    values_tasks(c, packing.tile(), output)
        .into_par_iter()
        .for_each(|mut task| {
            let sample = &input[task.sample * sample_len..][..sample_len];
            let block_len = packing.channel_block() * in_voxels;
            with_workspace(packing.buffer_len(), |buffer| {
                for (block, channels) in sample.chunks(block_len).enumerate() {
                    packing.pack(level, channels, &task.tile, buffer);
                    let first = block * packing.channel_block();
                    let n_in = channels.len() / in_voxels;
                    level.run(Accumulate {
                        start: if block > 0 {
                            Start::Output
                        } else {
                            Start::Bias(bias.map(|bias| &bias[task.first_channel..]))
                        },
                        inputs: buffer,
                        offsets: packing.offsets(),
                        n_taps: n_in * c.n_taps(),
                        segments: packing.segments(&task.tile),
                        weights: weights.block(first, n_in, task.first_channel),
                        outputs: &mut task.outputs,
                    });
                }
            });
        });
}

/// Cuts the output into tiles and, where these are few, groups of channels.
fn values_tasks<'o>(
    c: &Correlation,
    tile: [usize; 2],
    output: &'o mut [f32],
) -> Vec<ValuesTask<'o>> {
    let tiles = tiles(c.output, tile);
    let n_groups = TASKS
        .div_ceil(c.batch * tiles.len())
        .min(c.out_channels.div_ceil(4 * CHANNELS));
    let group = c.out_channels.div_ceil(n_groups).next_multiple_of(CHANNELS);
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

/// Sums `output gradient · input` for every weight.
///
/// Each block of input channels is summed apart; where blocks are few, their samples and tiles are cut into runs, whose
/// sums are added in order.
pub(crate) fn weight_gradient(
    level: Level,
    c: &Correlation,
    packing: &impl Packing,
    input: &[f32],
    output_gradient: &[f32],
) -> Vec<f32> {
    let tiles = tiles(c.output, packing.tile());
    let n_blocks = c.in_channels.div_ceil(packing.channel_block());
    let n_items = c.batch * tiles.len();
    let items_in_run = n_items.div_ceil(TASKS.div_ceil(n_blocks));
    let n_runs = n_items.div_ceil(items_in_run);
    let sums: Vec<Vec<f64>> = (0..n_blocks * n_runs)
        .into_par_iter()
        .map(|task| {
            let (block, run) = (task / n_runs, task % n_runs);
            let items = run * items_in_run..n_items.min((run + 1) * items_in_run);
            let items = items.map(|item| (item / tiles.len(), &tiles[item % tiles.len()]));
            block_sums(level, c, packing, (input, output_gradient), block, items)
        })
        .collect();
    let mut gradient = vec![0.0; c.out_channels * c.in_channels * c.n_taps()];
    let row_len = c.in_channels * c.n_taps();
    for (block, runs) in sums.chunks(n_runs).enumerate() {
        let first = block * packing.channel_block() * c.n_taps();
        let len = runs[0].len() / c.out_channels;
        for (channel, row) in gradient.chunks_mut(row_len).enumerate() {
            for (tap, to) in row[first..first + len].iter_mut().enumerate() {
                let sum: f64 = runs.iter().map(|sums| sums[channel * len + tap]).sum();
                *to = sum as f32;
            }
        }
    }
    gradient
}

/// `[output channel][input channel of the block][tap]`, summed over tiles.
fn block_sums<'t>(
    level: Level,
    c: &Correlation,
    packing: &impl Packing,
    (input, output_gradient): (&[f32], &[f32]),
    block: usize,
    items: impl Iterator<Item = (usize, &'t Tile)>,
) -> Vec<f64> {
    let in_voxels: usize = c.input.iter().product();
    let first = block * packing.channel_block();
    let n_in = packing.channel_block().min(c.in_channels - first);
    let mut sums = vec![0.0; c.out_channels * n_in * c.n_taps()];
    for (sample, tile) in items {
        let channels = &input[(sample * c.in_channels + first) * in_voxels..][..n_in * in_voxels];
        let position = (tile.x * c.output[1] + tile.y) * c.output[2];
        let n_positions = tile.nx * tile.ny * c.output[2];
        let gradients: Vec<&[f32]> = output_gradient
            .chunks(c.n_positions())
            .skip(sample * c.out_channels)
            .take(c.out_channels)
            .map(|channel| &channel[position..position + n_positions])
            .collect();
        with_workspace(packing.buffer_len(), |buffer| {
            packing.pack(level, channels, tile, buffer);
            level.run(Dots {
                inputs: buffer,
                offsets: packing.offsets(),
                n_taps: n_in * c.n_taps(),
                segments: packing.segments(tile),
                gradients: &gradients,
                sums: &mut sums,
            });
        });
    }
    sums
}
