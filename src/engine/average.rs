//! A running mean of a block's weights, used for inference: smoother than any single step's (Polyak & Juditsky 1992).

use crate::models::Block;
use crate::models::parameters::{self, Graph};

/// The mean of one block's weights. Running statistics of normalization layers are means already; the newest are taken.
#[derive(Clone, Debug)]
pub struct WeightAverage {
    decay: f64,
    /// On the block's device, without autodiff.
    block: Block,
}

impl WeightAverage {
    /// Begins with the block as it is, without autodiff; each step keeps `decay` of the mean.
    pub fn new(decay: f64, block: Block) -> Self {
        Self { decay, block }
    }

    /// Takes in the block, without autodiff, after its `n_steps`-th step. Early on the mean forgets faster, so that the
    /// start does not linger in it.
    pub fn take_in(&mut self, newest: Block, n_steps: u64) {
        let n = n_steps as f64;
        let decay = self.decay.min((1.0 + n) / (10.0 + n));
        self.block = parameters::mixed(newest, &self.block, decay, Graph::None);
    }

    /// The block with the mean weights.
    pub fn block(&self) -> &Block {
        &self.block
    }
}
