//! A running mean of a block's weights, used for inference: smoother than any single step's (Polyak & Juditsky 1992).

use std::collections::BTreeMap;

use burn::module::{Module as _, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::Tensor;

use crate::models::Block;

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
        let mut parameters = Flat(BTreeMap::new(), Vec::new());
        self.block.visit(&mut parameters);
        self.block = newest.map(&mut Mix {
            old: parameters.0,
            decay,
            path: Vec::new(),
        });
    }

    /// The block with the mean weights.
    pub fn block(&self) -> &Block {
        &self.block
    }
}

/// Trainable parameters by name, flattened.
struct Flat(BTreeMap<String, Tensor<1>>, Vec<String>);

impl ModuleVisitor for Flat {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.1.push(name.to_owned());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.1.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let value = param.val();
        let n = value.dims().iter().product::<usize>();
        self.0.insert(self.1.join("."), value.reshape([n]));
    }
}

struct Mix {
    old: BTreeMap<String, Tensor<1>>,
    decay: f64,
    path: Vec<String>,
}

impl ModuleMapper for Mix {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let name = self.path.join(".");
        let is_running = self
            .path
            .last()
            .is_some_and(|last| last.starts_with("running_"));
        match self.old.remove(&name).filter(|_| !is_running) {
            None => param,
            Some(old) => param.map(|value| {
                let dims = value.dims();
                old.reshape(dims) * self.decay + value * (1.0 - self.decay)
            }),
        }
    }
}
