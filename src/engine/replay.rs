//! A buffer between blocks that don't wait for each other: asynchronous decoupled greedy learning.
//!
//! Belilovsky, Eickenberg & Oyallon (ICML 2020, arXiv 1901.08164), section 3.2 and algorithm 2: what a block hands on goes
//! into a buffer of the next one, which learns from a batch drawn out of it, be it the newest or not; a slow block then
//! holds nobody up. Here each block draws once for each batch that arrives, so that all take as many steps and a run of one
//! seed has the same bits with every executor; what the buffer does to learning, it does here as well.

use std::collections::VecDeque;
use std::sync::Arc;

use burn::tensor::Tensor;
use rand::RngExt as _;

use super::seed::{Purpose, Seed};
use crate::data::batch::Truth;

/// A batch as a block hands it on.
#[derive(Clone, Debug)]
pub(super) struct HandedOn {
    /// Who is in it.
    pub(super) samples: Arc<[u64]>,
    /// What heads should say of them.
    pub(super) truths: Arc<[Truth]>,
    /// `[batch, channels, x, y, z]` without a graph.
    pub(super) features: Tensor<5>,
    /// What the network was given, where blocks need it.
    pub(super) input: Option<Tensor<5>>,
}

/// The newest batches that came to a block.
#[derive(Debug)]
pub(super) struct Replay {
    seed: Seed,
    block: u64,
    most: usize,
    batches: VecDeque<HandedOn>,
}

impl Replay {
    /// For block `block`, from 0, with room for `most` batches, at least one.
    pub(super) fn new(seed: Seed, block: usize, most: usize) -> Self {
        Self {
            seed,
            block: block as u64,
            most: most.max(1),
            batches: VecDeque::new(),
        }
    }

    /// Takes a batch in, the oldest one out where there is no room, and draws one.
    pub(super) fn draw(&mut self, step: u64, newest: HandedOn) -> HandedOn {
        if self.batches.len() == self.most {
            self.batches.pop_front();
        }
        self.batches.push_back(newest.clone());
        let mut rng = self.seed.stream(Purpose::Replay, &[step, self.block]);
        let drawn = rng.random_range(0..self.batches.len());
        self.batches.get(drawn).cloned().unwrap_or(newest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;
    use std::collections::BTreeSet;

    fn drawn(most: usize, n_steps: u64) -> Vec<u64> {
        let mut replay = Replay::new(Seed(1), 2, most);
        let steps = 0..n_steps;
        steps
            .map(|step| {
                let batch = HandedOn {
                    samples: [step].into(),
                    truths: [0.0.into()].into(),
                    features: Tensor::zeros([1, 1, 1, 1, 1], &Device::flex()),
                    input: None,
                };
                replay.draw(step, batch).samples[0]
            })
            .collect()
    }

    #[test]
    fn a_buffer_of_one_batch_is_the_order_of_arrival() {
        assert_eq!(drawn(1, 5), [0, 1, 2, 3, 4]);
    }

    #[test]
    fn a_larger_one_gives_each_of_the_newest_batches_about_as_often_and_no_older_one() {
        let drawn = drawn(4, 400);
        let ages = drawn.iter().enumerate().map(|(step, d)| step as u64 - d);
        let ages: Vec<u64> = ages.skip(3).collect();
        assert_eq!(
            ages.iter().copied().collect::<BTreeSet<_>>(),
            (0..4).collect()
        );
        // A quarter of 397, give or take four standard deviations (8.6).
        for age in 0..4 {
            let n = ages.iter().filter(|a| **a == age).count();
            assert!((65..=134).contains(&n), "{age}: {n}");
        }
    }
}
