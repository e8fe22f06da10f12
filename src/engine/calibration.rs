//! How long the training step of each block takes, measured on made-up volumes before blocks are placed.

use std::sync::Arc;
use std::time::Instant;

use burn::tensor::{Device, Tensor, TensorData};
use rand_distr::{Distribution as _, StandardNormal};

use super::device::Lane;
use super::objective::Objective;
use super::seed::{Purpose, Seed};
use super::worker::{BlockTrainer, Job, Message};
use crate::Error;
use crate::data::batch::Truth;
use crate::models::Block;

/// Ages of the youngest and of the oldest made-up volume.
pub const AGES_YEARS: [f64; 2] = [20.0, 80.0];
/// Rounds that count, after one that fills caches.
const ROUNDS: usize = 3;

/// A batch of noise, to be learned from again and again.
pub struct NoiseBatch {
    /// `[batch, channels, x, y, z]`.
    pub volumes: Tensor<5>,
    samples: Arc<[u64]>,
    truths: Arc<[Truth]>,
}

impl NoiseBatch {
    /// `n` volumes on a grid, drawn from the seed.
    pub fn new(n: usize, [x, y, z]: [usize; 3], seed: Seed) -> Self {
        let [youngest, oldest] = AGES_YEARS;
        let age = |i: usize| youngest + (oldest - youngest) * i as f64 / n as f64;
        Self::with(n, [1, x, y, z], seed, age)
    }

    /// `n` square color images, drawn from the seed.
    pub fn of_images(n: usize, side: usize, n_classes: usize, seed: Seed) -> Self {
        Self::with(n, [3, 1, side, side], seed, |i| {
            (i % n_classes.max(1)) as f64
        })
    }

    fn with(n: usize, shape: [usize; 4], seed: Seed, truth: impl Fn(usize) -> f64) -> Self {
        let [channels, x, y, z] = shape;
        let n_values: usize = shape.iter().product();
        let mut voxels: Vec<f32> = Vec::with_capacity(n * n_values);
        for sample in 0..n {
            let mut rng = seed.stream(Purpose::Benchmark, &[sample as u64]);
            let mut draw = || -> f32 { StandardNormal.sample(&mut rng) };
            voxels.extend((0..n_values).map(|_| draw()));
        }
        let data = TensorData::new(voxels, [n, channels, x, y, z]);
        Self {
            volumes: Tensor::from_data(data, &Device::flex()),
            samples: (0..n as u64).collect(),
            truths: (0..n).map(|i| truth(i).into()).collect(),
        }
    }

    /// A training step on it.
    pub fn message(&self, step: u64) -> Message {
        let job = Job::Train {
            step,
            // Small, so that learning one batch by heart stays finite; the time does not depend on it.
            learning_rate: 1e-5,
            samples: Arc::clone(&self.samples),
            truths: Arc::clone(&self.truths),
        };
        Message::new(job, Some(self.volumes.clone()))
    }
}

/// Seconds of each block's training step on a device, head and update included: the fastest of a few rounds. The blocks
/// are used up, for what they learned is noise.
///
/// # Errors
/// What stops a block.
pub fn block_seconds(
    blocks: &[Block],
    objective: &Objective,
    lane: &Arc<Lane>,
    batch: &NoiseBatch,
) -> Result<Vec<f64>, Error> {
    let on_lane = std::slice::from_ref(lane);
    let trainer = |(number, block): (usize, &Block)| {
        BlockTrainer::new(number, block, objective.clone(), on_lane)
    };
    let mut trainers = blocks
        .iter()
        .enumerate()
        .map(trainer)
        .collect::<Result<Vec<_>, Error>>()?;
    let mut fastest = vec![f64::INFINITY; trainers.len()];
    for round in 0..=ROUNDS {
        let mut message = batch.message(round as u64);
        for (trainer, fastest) in trainers.iter_mut().zip(&mut fastest) {
            let clock = Instant::now();
            message = trainer.handle(message)?.1;
            lane.wait()?;
            if round > 0 {
                *fastest = fastest.min(clock.elapsed().as_secs_f64());
            }
        }
    }
    Ok(fastest)
}
