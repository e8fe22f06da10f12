//! How long the training step of each block takes, measured on made-up volumes before blocks are placed.

use std::sync::Arc;
use std::time::Instant;

use burn::tensor::{Device, Tensor, TensorData};
use rand_distr::{Distribution as _, StandardNormal};

use super::device::Lane;
use super::seed::{Purpose, Seed};
use super::worker::{BlockTrainer, Job, Message, Objective};
use crate::Error;
use crate::models::Block;

/// Ages of the youngest and of the oldest made-up volume.
pub const AGES_YEARS: [f64; 2] = [20.0, 80.0];
/// Rounds that count, after one that fills caches.
const ROUNDS: usize = 3;

/// A batch of noise, to be learned from again and again.
pub struct NoiseBatch {
    /// `[batch, 1, x, y, z]`.
    pub volumes: Tensor<5>,
    samples: Arc<[u64]>,
    ages_years: Arc<[f64]>,
}

impl NoiseBatch {
    /// `n` volumes on a grid, drawn from the seed.
    pub fn new(n: usize, [x, y, z]: [usize; 3], seed: Seed) -> Self {
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

    /// A training step on it.
    pub fn message(&self, step: u64) -> Message {
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
