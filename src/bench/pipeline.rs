//! Measures block-local training against backprop: single blocks, whole steps on one device, and the pipelined run.
//!
//! All are measured in one process and in turns, on made-up volumes that are drawn from the seed; loading is not part of
//! any time. What one device takes is measured with the threads that each device of the pipelined run has.

use std::sync::Arc;
use std::time::Instant;

use burn::tensor::Device;

use super::timing::{Spread, in_turns, mean_of};
use crate::Error;
use crate::config::train::TrainConfig;
use crate::engine::calibration::{AGES_YEARS, NoiseBatch};
use crate::engine::device::{DeviceName, Lane, open};
use crate::engine::executor::{Executor as _, Pipelined};
use crate::engine::placement::{Replicas, Stage, best, even};
use crate::engine::target::AgeTarget;
use crate::engine::trainer::workers;
use crate::engine::worker::{Answer, BlockTrainer};
use crate::models::parameters::count;
use crate::models::{Block, Network, Regime};
use crate::nn::pass::Pass;

/// Rounds that fill caches and start threads before any time counts.
const WARM_UP_ROUNDS: usize = 1;
/// Rounds that tell how to place the blocks.
const PLACEMENT_ROUNDS: usize = 3;
/// Bytes of a parameter or a feature.
const BYTES: usize = 4;
/// What is measured, and how often.
#[derive(Clone, Copy, Debug)]
pub struct Settings<'a> {
    /// Network, batch size, seed, optimizer; its regime and its devices don't matter.
    pub config: &'a TrainConfig,
    /// Sides x, y, z of the volumes.
    pub grid: [usize; 3],
    /// Devices of the pipelined run, all of one kind; the first one also stands for "one device".
    pub devices: &'a [DeviceName],
    /// Batches of each measurement that count, without the first one and those that fill or empty a pipeline; at
    /// least 1.
    pub n_batches: usize,
    /// How often all is measured.
    pub repeats: usize,
}

/// What runs through the executor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunKind {
    /// All blocks on one device: what queues and threads cost.
    OneDevice,
    /// As many blocks on each device.
    Even,
    /// So that the slowest device is as fast as can be, by the times measured; each block once.
    Balanced,
    /// The same with slow blocks on several devices that split the batch.
    Replicated,
    /// Backprop, the whole network on all devices, which split the batch.
    DataParallel,
}

impl RunKind {
    fn regime(self) -> Regime {
        match self {
            Self::DataParallel => Regime::Backprop,
            Self::OneDevice | Self::Even | Self::Balanced | Self::Replicated => Regime::Local,
        }
    }
}

/// A run through the executor.
#[derive(Clone, Debug, PartialEq)]
pub struct PipelinedRun {
    /// What it was.
    pub kind: RunKind,
    /// Blocks of each device.
    pub stages: Vec<Stage>,
    /// Of a step in the steady state.
    pub step: Spread,
}

/// Times and sizes of a network, all for one batch.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    /// The device that stands for "one device".
    pub device: DeviceName,
    /// Its threads, which all the devices have.
    pub n_threads: usize,
    /// Devices of the pipelined runs.
    pub n_devices: usize,
    /// Each block on one device: forward, backward, update, head included.
    pub local: Vec<Spread>,
    /// Each block on one device: forward alone, without head.
    pub forward: Vec<Spread>,
    /// All blocks on one device, one after the other.
    pub local_step: Spread,
    /// The same layers on one device with one loss at their end.
    pub backprop_step: Spread,
    /// On the devices; those with the placement of another are left out.
    pub pipelined: Vec<PipelinedRun>,
    /// For each block: what it hands on, bytes.
    pub feature_bytes: Vec<usize>,
    /// For each block: its parameters, bytes.
    pub parameter_bytes: Vec<usize>,
    /// Parameters of the backprop network, bytes.
    pub backprop_parameter_bytes: usize,
    /// For each block: its part of the network's multiply-adds, which a count would place blocks by.
    pub mac_shares: Vec<f64>,
}

/// Measures; `on_round` is called after each of the [`n_rounds`].
///
/// # Errors
/// [`Error::Config`] where network and grid don't fit, [`Error::Device`] for a device that is not there, and what
/// stops a block.
pub fn measure(settings: &Settings<'_>, on_round: &mut dyn FnMut()) -> Result<Measured, Error> {
    let Settings {
        config,
        grid,
        devices,
        repeats,
        ..
    } = *settings;
    let mac_shares = mac_shares(config, grid)?;
    let batch = NoiseBatch::new(config.train.batch_size, grid, config.train.seed);
    let lane = open(devices)?.into_iter().next().map(Arc::new);
    let lane = lane.ok_or_else(|| Error::Data("no device was named".into()))?;
    let mut one = OneDevice::new(config, &lane)?;

    let rough = in_turns(WARM_UP_ROUNDS, PLACEMENT_ROUNDS, || {
        let seconds = lane.pool.install(|| one.local_step(&batch))?;
        on_round();
        Ok::<_, Error>(seconds)
    })?;
    let n_blocks = one.blocks.len();
    let mut pipelines = Vec::new();
    for (kind, stages) in runs(&rough[..n_blocks], devices.len()) {
        pipelines.push(Pipeline::start(config, devices, kind, stages)?);
    }
    let spreads = in_turns(WARM_UP_ROUNDS, repeats, || {
        let mut seconds = lane
            .pool
            .install(|| one.round(&batch, settings.n_batches))?;
        for pipeline in &mut pipelines {
            seconds.push(pipeline.seconds_per_step(&batch, settings.n_batches)?);
        }
        on_round();
        Ok::<_, Error>(seconds)
    })?;
    // The order of `OneDevice::round`, then the pipelines.
    let (local, rest) = spreads.split_at(n_blocks);
    let (local_step, rest) = (rest[0], &rest[1..]);
    let (forward, rest) = rest.split_at(n_blocks);
    let (backprop_step, rest) = (rest[0], &rest[1..]);
    let mut pipelined = Vec::new();
    for (pipeline, step) in pipelines.into_iter().zip(rest) {
        pipelined.push(pipeline.finish(*step)?);
    }
    Ok(Measured {
        device: lane.name,
        n_threads: lane.pool.current_num_threads(),
        n_devices: devices.len(),
        local: local.to_vec(),
        forward: forward.to_vec(),
        local_step,
        backprop_step,
        pipelined,
        feature_bytes: one.feature_bytes,
        parameter_bytes: one.blocks.iter().map(|b| bytes_of(&b.block())).collect(),
        backprop_parameter_bytes: bytes_of(&one.backprop.block()),
        mac_shares,
    })
}

/// Rounds of [`measure`].
pub fn n_rounds(repeats: usize) -> usize {
    2 * WARM_UP_ROUNDS + PLACEMENT_ROUNDS + repeats.max(1)
}

fn bytes_of(block: &Block) -> usize {
    BYTES * count(block)
}

fn mac_shares(config: &TrainConfig, grid: [usize; 3]) -> Result<Vec<f64>, Error> {
    let macs = config.model.forward_macs(grid)?;
    let starts = config.model.part_starts(Regime::Local)?;
    let ends = starts.iter().skip(1).copied().chain([macs.len()]);
    let total: u64 = macs.iter().sum();
    let of_blocks = starts.iter().zip(ends).map(|(start, end)| {
        let of_block: u64 = macs[*start..end].iter().sum();
        of_block as f64 / total as f64
    });
    Ok(of_blocks.collect())
}

/// The runs that differ from each other.
fn runs(local: &[Spread], n_devices: usize) -> Vec<(RunKind, Vec<Stage>)> {
    let n_blocks = local.len();
    let by_time = |replicas| {
        best(n_blocks, n_devices, replicas, |stage| {
            let of_stage = &local[stage.blocks.clone()];
            of_stage.iter().map(|block| block.min).sum::<f64>() / stage.replicas as f64
        })
    };
    let mut all = vec![(RunKind::OneDevice, even(n_blocks, 1))];
    for (kind, stages) in [
        (RunKind::Even, even(n_blocks, n_devices)),
        (RunKind::Balanced, by_time(Replicas::One)),
        (RunKind::Replicated, by_time(Replicas::OfBlock)),
    ] {
        if all.iter().all(|(_, known)| *known != stages) {
            all.push((kind, stages));
        }
    }
    if n_devices > 1 {
        let all_devices = Stage {
            blocks: 0..1,
            replicas: n_devices,
        };
        all.push((RunKind::DataParallel, vec![all_devices]));
    }
    all
}

fn target(config: &TrainConfig) -> Result<AgeTarget, Error> {
    AgeTarget::of(config.train.loss, &AGES_YEARS)
}

/// A network for made-up ages.
pub(super) fn network(config: &TrainConfig, regime: Regime) -> Result<Network, Error> {
    let n_outputs = target(config)?.n_outputs();
    let (seed, device) = (config.train.seed, Device::flex());
    let network = Network::new(&config.model, n_outputs, regime, seed, &device)?;
    Ok(config.train.prepared(network, config.model.weights))
}

/// All that is measured on one device.
pub(super) struct OneDevice {
    lane: Arc<Lane>,
    blocks: Vec<BlockTrainer>,
    backprop: BlockTrainer,
    feature_bytes: Vec<usize>,
    step: u64,
}

impl OneDevice {
    /// The network twice, for both regimes.
    pub(super) fn new(config: &TrainConfig, lane: &Arc<Lane>) -> Result<Self, Error> {
        let objective = config.train.objective(target(config)?);
        let of = |regime| -> Result<Vec<BlockTrainer>, Error> {
            let blocks = network(config, regime)?.blocks;
            let numbered = blocks.iter().enumerate();
            let on_lane = std::slice::from_ref(lane);
            let trainer =
                |(number, block)| BlockTrainer::new(number, block, objective.clone(), on_lane);
            numbered.map(trainer).collect()
        };
        let backprop = of(Regime::Backprop)?.pop();
        Ok(Self {
            lane: Arc::clone(lane),
            blocks: of(Regime::Local)?,
            backprop: backprop.ok_or_else(|| Error::Data("a network without blocks".into()))?,
            feature_bytes: Vec::new(),
            step: 0,
        })
    }

    /// Seconds of each block's local step, of all of them, of each block's forward pass, and of the backprop step; each
    /// a mean over `n_batches`, as the pipelined runs are.
    fn round(&mut self, batch: &NoiseBatch, n_batches: usize) -> Result<Vec<f64>, Error> {
        let mut seconds = mean_of(n_batches, || self.local_step(batch))?;
        seconds.extend(mean_of(n_batches, || self.forward(batch))?);
        seconds.extend(mean_of(n_batches, || self.backprop_step(batch))?);
        Ok(seconds)
    }

    /// Seconds of a step of backprop.
    pub(super) fn backprop_step(&mut self, batch: &NoiseBatch) -> Result<Vec<f64>, Error> {
        self.step += 1;
        let clock = Instant::now();
        self.backprop.handle(batch.message(self.step))?;
        self.lane.wait()?;
        Ok(vec![clock.elapsed().as_secs_f64()])
    }

    /// Seconds of each block's local step, then of all of them.
    pub(super) fn local_step(&mut self, batch: &NoiseBatch) -> Result<Vec<f64>, Error> {
        self.step += 1;
        self.feature_bytes.clear();
        let mut message = batch.message(self.step);
        let (mut seconds, start) = (Vec::new(), Instant::now());
        for number in 0..self.blocks.len() {
            let clock = Instant::now();
            let (_, next) = self.blocks[number].handle(message)?;
            self.lane.wait()?;
            seconds.push(clock.elapsed().as_secs_f64());
            let n_features = next
                .features
                .as_ref()
                .map_or(0, |f| f.dims().iter().product());
            self.feature_bytes.push(BYTES * n_features);
            message = next;
        }
        seconds.push(start.elapsed().as_secs_f64());
        Ok(seconds)
    }

    /// Seconds of each block's forward pass.
    fn forward(&self, batch: &NoiseBatch) -> Result<Vec<f64>, Error> {
        let blocks: Vec<Block> = self.blocks.iter().map(BlockTrainer::block).collect();
        let mut features = batch.volumes.clone().to_device(&self.lane.device);
        let mut seconds = Vec::with_capacity(blocks.len());
        for block in &blocks {
            let clock = Instant::now();
            features = block.forward(features, &mut Pass::Inference);
            self.lane.wait()?;
            seconds.push(clock.elapsed().as_secs_f64());
        }
        Ok(seconds)
    }
}

/// A pipelined run that stays alive between measurements.
struct Pipeline {
    kind: RunKind,
    stages: Vec<Stage>,
    executor: Box<Pipelined>,
    step: u64,
}

impl Pipeline {
    fn start(
        config: &TrainConfig,
        devices: &[DeviceName],
        kind: RunKind,
        stages: Vec<Stage>,
    ) -> Result<Self, Error> {
        let network = network(config, kind.regime())?;
        let objective = config.train.objective(target(config)?);
        // Opened by all the names, so that each device has its share of the cores even if fewer are needed.
        let lanes = open(devices)?;
        let workers = workers(&network, &stages, lanes, &objective, None)?;
        Ok(Self {
            kind,
            stages,
            executor: Box::new(Pipelined::start(workers)?),
            step: 0,
        })
    }

    /// Time between two answers of the last block, on average over `n_batches`, while all devices have work.
    fn seconds_per_step(&mut self, batch: &NoiseBatch, n_batches: usize) -> Result<f64, Error> {
        let n_workers = self.stages.len();
        let last_block = self.stages.last().map_or(0, |stage| stage.blocks.end - 1);
        // Before the clock starts the pipeline fills; after it has stopped the pipeline empties.
        let (first, last) = (n_workers, n_workers + n_batches);
        let n_total = last + n_workers;
        let (mut n_sent, mut n_answered) = (0, 0);
        let (mut clock, mut seconds) = (Instant::now(), 0.0);
        while n_answered < n_total {
            while n_sent < n_total && n_sent - n_answered < 2 * n_workers {
                self.step += 1;
                n_sent += 1;
                self.executor.submit(batch.message(self.step))?;
            }
            let report = self.executor.receive()?;
            if report.block == last_block && matches!(report.answer, Answer::Trained { .. }) {
                n_answered += 1;
                if n_answered == first {
                    clock = Instant::now();
                } else if n_answered == last {
                    seconds = clock.elapsed().as_secs_f64();
                }
            }
        }
        Ok(seconds / n_batches as f64)
    }

    fn finish(self, step: Spread) -> Result<PipelinedRun, Error> {
        self.executor.finish()?;
        Ok(PipelinedRun {
            kind: self.kind,
            stages: self.stages,
            step,
        })
    }
}
