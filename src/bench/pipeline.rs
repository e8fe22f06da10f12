//! Measures block-local training against backprop: single blocks, whole steps on one device, and the pipelined run.
//!
//! All are measured in one process and in turns, on made-up volumes that are drawn from the seed; loading is not part of
//! any time. What one device takes is measured with the threads that each device of the pipelined run has.

use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use burn::module::Module as _;
use burn::tensor::{Device, Tensor, TensorData};
use rand_distr::{Distribution as _, StandardNormal};

use super::placement::{Replicas, best};
use super::timing::{Spread, in_turns, mean_of};
use crate::Error;
use crate::config::train::TrainConfig;
use crate::engine::device::{DeviceName, Lane, open};
use crate::engine::executor::{Executor as _, Pipelined, Worker, spread};
use crate::engine::seed::{Purpose, Seed};
use crate::engine::target::AgeTarget;
use crate::engine::worker::{Answer, BlockTrainer, Job, Message};
use crate::models::parameters::count;
use crate::models::{Block, Network, Regime};
use crate::nn::pass::Pass;

/// Rounds that fill caches and start threads before any time counts.
const WARM_UP_ROUNDS: usize = 1;
/// Rounds that tell how to place the blocks.
const PLACEMENT_ROUNDS: usize = 3;
/// Bytes of a parameter or a feature.
const BYTES: usize = 4;
/// Ages of the made-up volumes.
const AGES_YEARS: [f64; 2] = [20.0, 80.0];

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

/// How the blocks of a pipelined run were placed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// As many blocks on each device, as `train` does.
    Even,
    /// So that the slowest device is as fast as can be, by the times measured.
    Balanced,
}

/// A pipelined run.
#[derive(Clone, Debug, PartialEq)]
pub struct PipelinedRun {
    /// How the blocks were placed.
    pub placement: Placement,
    /// Blocks of each device.
    pub blocks: Vec<Range<usize>>,
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
    /// Each block on one device: forward, backward, update, head included.
    pub local: Vec<Spread>,
    /// Each block on one device: forward alone, without head.
    pub forward: Vec<Spread>,
    /// All blocks on one device, one after the other.
    pub local_step: Spread,
    /// The same layers on one device with one loss at their end.
    pub backprop_step: Spread,
    /// On all the devices; the balanced one is left out where it is the even one.
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
    let batch = Batch::new(config.train.batch_size, grid, config.train.seed);
    let lane = open(devices)?.into_iter().next();
    let lane = lane.ok_or_else(|| Error::Data("no device was named".into()))?;
    let mut one = OneDevice::new(config, &lane)?;

    let rough = in_turns(WARM_UP_ROUNDS, PLACEMENT_ROUNDS, || {
        let seconds = lane.pool.install(|| one.local_step(&batch))?;
        on_round();
        Ok::<_, Error>(seconds)
    })?;
    let n_blocks = one.blocks.len();
    let mut pipelines = Vec::new();
    for (placement, blocks) in placements(&rough[..n_blocks], devices.len()) {
        pipelines.push(Pipeline::start(config, devices, placement, blocks)?);
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
    let starts = config.model.block_starts(Regime::Local)?;
    let ends = starts.iter().skip(1).copied().chain([macs.len()]);
    let total: u64 = macs.iter().sum();
    let of_blocks = starts.iter().zip(ends).map(|(start, end)| {
        let of_block: u64 = macs[*start..end].iter().sum();
        of_block as f64 / total as f64
    });
    Ok(of_blocks.collect())
}

fn placements(local: &[Spread], n_devices: usize) -> Vec<(Placement, Vec<Range<usize>>)> {
    let even = spread(local.len(), n_devices);
    let stages = best(local.len(), n_devices, Replicas::One, |stage| {
        local[stage.blocks.clone()]
            .iter()
            .map(|block| block.min)
            .sum()
    });
    let balanced: Vec<_> = stages.into_iter().map(|stage| stage.blocks).collect();
    let mut all = vec![(Placement::Even, even)];
    if balanced != all[0].1 {
        all.push((Placement::Balanced, balanced));
    }
    all
}

/// Numbered blocks on a device, each with its optimizer.
fn trainers(
    blocks: impl Iterator<Item = (usize, Block)>,
    config: &TrainConfig,
    device: &Device,
) -> Result<Vec<BlockTrainer>, Error> {
    let objective = config.train.objective(target(config)?);
    let trainer = |(number, block): (usize, Block)| {
        let block = block.to_device(device).train();
        BlockTrainer::new(number, block, objective.clone(), device.clone())
    };
    Ok(blocks.map(trainer).collect())
}

fn target(config: &TrainConfig) -> Result<AgeTarget, Error> {
    AgeTarget::of(config.train.loss, &AGES_YEARS)
}

fn blocks_of(config: &TrainConfig, regime: Regime) -> Result<Vec<Block>, Error> {
    let n_outputs = target(config)?.n_outputs();
    let (seed, device) = (config.train.seed, Device::flex());
    let network = Network::new(&config.model, n_outputs, regime, seed, &device)?;
    Ok(network.blocks)
}

/// The batch that all learn from, again and again.
struct Batch {
    volumes: Tensor<5>,
    samples: Arc<[u64]>,
    ages_years: Arc<[f64]>,
}

impl Batch {
    fn new(n: usize, [x, y, z]: [usize; 3], seed: Seed) -> Self {
        let [youngest, oldest] = AGES_YEARS;
        let mut voxels: Vec<f32> = Vec::with_capacity(n * x * y * z);
        for sample in 0..n {
            let mut rng = seed.stream(Purpose::Benchmark, &[sample as u64]);
            let mut draw = || -> f32 { StandardNormal.sample(&mut rng) };
            voxels.extend((0..x * y * z).map(|_| draw()));
        }
        let data = TensorData::new(voxels, [n, 1, x, y, z]);
        Self {
            volumes: Tensor::from_data(data, &Device::flex()),
            samples: (0..n as u64).collect(),
            ages_years: (0..n)
                .map(|i| youngest + (oldest - youngest) * i as f64 / n as f64)
                .collect(),
        }
    }

    fn message(&self, step: u64) -> Message {
        Message {
            job: Job::Train {
                step,
                // Small, so that learning one batch by heart stays finite; the time does not depend on it.
                learning_rate: 1e-5,
                samples: Arc::clone(&self.samples),
                ages_years: Arc::clone(&self.ages_years),
            },
            features: Some(self.volumes.clone()),
        }
    }
}

/// All that is measured on one device.
struct OneDevice {
    device: Device,
    name: DeviceName,
    blocks: Vec<BlockTrainer>,
    backprop: BlockTrainer,
    feature_bytes: Vec<usize>,
    step: u64,
}

impl OneDevice {
    fn new(config: &TrainConfig, lane: &Lane) -> Result<Self, Error> {
        let of = |regime| -> Result<Vec<BlockTrainer>, Error> {
            let blocks = blocks_of(config, regime)?.into_iter().enumerate();
            trainers(blocks, config, &lane.device)
        };
        let backprop = of(Regime::Backprop)?.pop();
        Ok(Self {
            device: lane.device.clone(),
            name: lane.name,
            blocks: of(Regime::Local)?,
            backprop: backprop.ok_or_else(|| Error::Data("a network without blocks".into()))?,
            feature_bytes: Vec::new(),
            step: 0,
        })
    }

    /// Seconds of each block's local step, of all of them, of each block's forward pass, and of the backprop step; each
    /// a mean over `n_batches`, as the pipelined runs are.
    fn round(&mut self, batch: &Batch, n_batches: usize) -> Result<Vec<f64>, Error> {
        let mut seconds = mean_of(n_batches, || self.local_step(batch))?;
        seconds.extend(mean_of(n_batches, || self.forward(batch))?);
        seconds.extend(mean_of(n_batches, || self.backprop_step(batch))?);
        Ok(seconds)
    }

    fn backprop_step(&mut self, batch: &Batch) -> Result<Vec<f64>, Error> {
        self.step += 1;
        let clock = Instant::now();
        self.backprop.handle(batch.message(self.step))?;
        self.wait()?;
        Ok(vec![clock.elapsed().as_secs_f64()])
    }

    /// Seconds of each block's local step, then of all of them.
    fn local_step(&mut self, batch: &Batch) -> Result<Vec<f64>, Error> {
        self.step += 1;
        self.feature_bytes.clear();
        let mut message = batch.message(self.step);
        let (mut seconds, start) = (Vec::new(), Instant::now());
        for number in 0..self.blocks.len() {
            let clock = Instant::now();
            let (_, next) = self.blocks[number].handle(message)?;
            self.wait()?;
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
    fn forward(&self, batch: &Batch) -> Result<Vec<f64>, Error> {
        let blocks: Vec<Block> = self.blocks.iter().map(BlockTrainer::block).collect();
        let mut features = batch.volumes.clone().to_device(&self.device);
        let mut seconds = Vec::with_capacity(blocks.len());
        for block in &blocks {
            let clock = Instant::now();
            features = block.forward(features, &mut Pass::Inference);
            self.wait()?;
            seconds.push(clock.elapsed().as_secs_f64());
        }
        Ok(seconds)
    }

    /// Until the device has done all it was given.
    fn wait(&self) -> Result<(), Error> {
        self.device.sync().map_err(|error| Error::Worker {
            device: self.name.to_string(),
            step: self.step,
            reason: error.to_string(),
        })
    }
}

/// A pipelined run that stays alive between measurements.
struct Pipeline {
    placement: Placement,
    blocks: Vec<Range<usize>>,
    executor: Box<Pipelined>,
    step: u64,
}

impl Pipeline {
    fn start(
        config: &TrainConfig,
        devices: &[DeviceName],
        placement: Placement,
        blocks: Vec<Range<usize>>,
    ) -> Result<Self, Error> {
        let mut all = blocks_of(config, Regime::Local)?.into_iter().enumerate();
        let mut workers = Vec::with_capacity(blocks.len());
        // Opened by all the names, so that each device has its share of the cores even if fewer are needed.
        for (run, lane) in blocks.iter().zip(open(devices)?) {
            workers.push(Worker {
                blocks: trainers(all.by_ref().take(run.len()), config, &lane.device)?,
                lane,
            });
        }
        let executor = Box::new(Pipelined::start(workers)?);
        Ok(Self {
            placement,
            blocks,
            executor,
            step: 0,
        })
    }

    /// Time between two answers of the last block, on average over `n_batches`, while all devices have work.
    fn seconds_per_step(&mut self, batch: &Batch, n_batches: usize) -> Result<f64, Error> {
        let n_devices = self.blocks.len();
        let last_block = self.blocks.last().map_or(0, |run| run.end - 1);
        // Before the clock starts the pipeline fills; after it has stopped the pipeline empties.
        let (first, last) = (n_devices, n_devices + n_batches);
        let n_total = last + n_devices;
        let (mut n_sent, mut n_answered) = (0, 0);
        let (mut clock, mut seconds) = (Instant::now(), 0.0);
        while n_answered < n_total {
            while n_sent < n_total && n_sent - n_answered < 2 * n_devices {
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
            placement: self.placement,
            blocks: self.blocks,
            step,
        })
    }
}
