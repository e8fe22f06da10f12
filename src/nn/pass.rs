//! What a forward pass is for, and what it leaves behind.

use std::sync::Arc;

use burn::tensor::Tensor;
use rand_chacha::ChaCha8Rng;

use crate::engine::seed::{Purpose, Seed};

/// Mean and variance of one batch, per channel: `[channels]` each.
pub type BatchStatistics = (Tensor<1>, Tensor<1>);

/// One forward pass through a block.
#[derive(Debug)]
pub enum Pass {
    /// For an answer: running statistics, no dropout.
    Inference,
    /// For an update: batch statistics, keyed dropout.
    Training(TrainingPass),
}

/// What a training pass needs to draw its masks, and the statistics that it meets on its way.
#[derive(Debug)]
pub struct TrainingPass {
    seed: Seed,
    step: u64,
    block: u64,
    samples: Arc<[u64]>,
    n_dropouts: u64,
    statistics: Vec<BatchStatistics>,
}

impl TrainingPass {
    /// A pass of step `step` through block `block`; `samples` names the batch's members in order.
    pub fn new(seed: Seed, step: u64, block: u64, samples: Arc<[u64]>) -> Self {
        Self { seed, step, block, samples, n_dropouts: 0, statistics: Vec::new() }
    }

    /// One stream per sample for the next dropout layer on the way.
    pub fn dropout_streams(&mut self) -> Vec<ChaCha8Rng> {
        let layer = self.n_dropouts;
        self.n_dropouts += 1;
        let key = |sample| [self.step, self.block, layer, sample];
        self.samples
            .iter()
            .map(|sample| self.seed.stream(Purpose::Dropout, &key(*sample)))
            .collect()
    }

    /// Notes the statistics of a normalization layer, in the order of the layers.
    pub fn note_statistics(&mut self, statistics: BatchStatistics) {
        self.statistics.push(statistics);
    }

    /// All statistics, in the order of the layers.
    pub fn into_statistics(self) -> Vec<BatchStatistics> {
        self.statistics
    }
}
