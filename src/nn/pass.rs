//! What a forward pass is for, and what it leaves behind.

use std::sync::Arc;

use burn::tensor::Tensor;
use rand_chacha::ChaCha8Rng;

use super::conv3d::Conv3d;
use super::exchange::Participant;
use super::linear::Linear;
use super::observer::Observer;
use crate::engine::seed::{Purpose, Seed};

/// Mean and variance of one batch, per channel: `[channels]` each.
pub type BatchStatistics = (Tensor<1>, Tensor<1>);

/// Where in the network a layer stands: it keys the layer's random draws, whatever the cuts between blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// A unit of the trunk, counted from the input.
    Unit(usize),
    /// The head that reads what this unit gives.
    HeadAfter(usize),
}

impl Place {
    /// Part of random keys: fixed for good.
    pub fn key(self) -> u64 {
        match self {
            Self::Unit(unit) => unit as u64,
            Self::HeadAfter(unit) => 1 << 32 | unit as u64,
        }
    }
}

/// One forward pass through a block.
#[derive(Debug)]
pub enum Pass {
    /// For an answer: running statistics, no dropout.
    Inference,
    /// For an update: batch statistics, keyed dropout.
    Training(TrainingPass),
    /// As inference, with some of what layers are given kept.
    Observing(Observer),
}

impl Pass {
    /// Says which part of the network is entered.
    pub fn enter(&mut self, place: Place) {
        if let Self::Training(training) = self {
            training.place = place;
            training.n_dropouts = 0;
        }
    }

    /// Says what a convolution is given.
    pub fn see(&mut self, convolution: &Conv3d, input: &Tensor<5>) {
        if let Self::Observing(observer) = self {
            observer.see_convolution(convolution, input);
        }
    }

    /// Says what a linear layer is given.
    pub fn see_linear(&mut self, linear: &Linear, input: &Tensor<2>) {
        if let Self::Observing(observer) = self {
            observer.see_linear(linear, input);
        }
    }

    /// From here on the batch holds its members `n` times, all of them and then all again; copies of a member drop the same.
    pub fn repeat_members(&mut self, n: usize) {
        if let Self::Training(training) = self {
            training.samples = training.samples.repeat(n).into();
        }
    }

    /// Ends the pass, after its backward part too: the statistics met on the way, in the order of the layers; none for
    /// inference.
    pub fn into_statistics(self) -> Vec<BatchStatistics> {
        match self {
            Self::Inference | Self::Observing(_) => Vec::new(),
            Self::Training(training) => {
                if let Some(participant) = training.participant {
                    participant.done();
                }
                training.statistics
            }
        }
    }
}

/// What a training pass needs to draw its masks, and the statistics that it meets on its way.
#[derive(Debug)]
pub struct TrainingPass {
    seed: Seed,
    step: u64,
    samples: Arc<[u64]>,
    place: Place,
    n_dropouts: u64,
    statistics: Vec<BatchStatistics>,
    /// Where replicas that split the batch meet, if there are any.
    participant: Option<Participant>,
}

impl TrainingPass {
    /// A pass of step `step`; `samples` names the batch's members in order.
    pub fn new(seed: Seed, step: u64, samples: Arc<[u64]>) -> Self {
        Self {
            seed,
            step,
            samples,
            place: Place::Unit(0),
            n_dropouts: 0,
            statistics: Vec::new(),
            participant: None,
        }
    }

    /// The same pass for one of several replicas that split the batch; `samples` are its members alone.
    pub fn of_replica(self, participant: Participant) -> Self {
        Self {
            participant: Some(participant),
            ..self
        }
    }

    /// Whether this pass has all members of the batch, so that their mean is [`Self::mean_over_batch`].
    pub fn sees_whole_batch(&self) -> bool {
        self.participant.is_none()
    }

    /// The mean over the whole batch, from the mean over the members that this pass sees.
    ///
    /// # Shapes
    /// `[n]`, unchanged.
    pub fn mean_over_batch(&mut self, of_members: Tensor<1>) -> Tensor<1> {
        match &mut self.participant {
            Some(participant) => participant.mean(of_members),
            None => of_members,
        }
    }

    /// One stream per sample for the next dropout layer on the way.
    pub fn dropout_streams(&mut self) -> Vec<ChaCha8Rng> {
        let layer = self.n_dropouts;
        self.n_dropouts += 1;
        let key = |sample| [self.step, self.place.key(), layer, sample];
        self.samples
            .iter()
            .map(|sample| self.seed.stream(Purpose::Dropout, &key(*sample)))
            .collect()
    }

    /// Notes the statistics of a normalization layer, in the order of the layers.
    pub fn note_statistics(&mut self, statistics: BatchStatistics) {
        self.statistics.push(statistics);
    }
}
