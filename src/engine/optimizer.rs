//! AdamW with decoupled weight decay (Loshchilov & Hutter, ICLR 2019), one for each block.
//!
//! Own code, because the framework's optimizer keys its state by random identifiers, loads it onto a default device and
//! clips each tensor by itself; here the state has names, lives where the block lives, and the block's gradient is
//! clipped as one vector. Bases Q and P, biases and normalization never decay: decay would shrink an orthonormal basis.

use std::collections::BTreeMap;

use burn::module::{Module as _, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Device, Gradients, Tensor, TensorData};
use serde::{Deserialize, Serialize};

use crate::models::Block;
use crate::models::parameters::NamedTensors;

/// Names of the parameters that decay: W itself and Λ.
const DECAYING: [&str; 2] = ["matrix", "lambda"];

/// The `[train.optimizer]` part of a config.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OptimizerConfig {
    /// Method.
    pub name: OptimizerName,
    /// Highest learning rate.
    pub learning_rate: f64,
    /// Decay of W or Λ per unit of learning rate.
    pub weight_decay: f64,
    /// Memory of the mean gradient.
    pub beta1: f64,
    /// Memory of the mean squared gradient.
    pub beta2: f64,
    /// Added to the root of the mean square.
    pub epsilon: f64,
    /// Longest gradient of a block; longer ones are scaled down to it.
    pub max_gradient_norm: f64,
}

/// Methods.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OptimizerName {
    /// Adam with decoupled weight decay.
    AdamW,
}

/// The optimizer of one block.
pub struct AdamW {
    config: OptimizerConfig,
    /// By parameter name, flattened.
    moments: BTreeMap<String, Moments>,
    n_steps: u64,
}

#[derive(Clone)]
struct Moments {
    first: Tensor<1>,
    second: Tensor<1>,
}

impl AdamW {
    /// No step taken yet.
    pub fn new(config: OptimizerConfig) -> Self {
        Self {
            config,
            moments: BTreeMap::new(),
            n_steps: 0,
        }
    }

    /// Moves a block against its gradient.
    pub fn step(&mut self, block: Block, gradients: &Gradients, learning_rate: f64) -> Block {
        self.n_steps += 1;
        let mut norm = GradientNorm {
            gradients,
            sum_of_squares: 0.0,
        };
        block.visit(&mut norm);
        let norm = norm.sum_of_squares.sqrt();
        let clip = if norm > self.config.max_gradient_norm {
            self.config.max_gradient_norm / norm
        } else {
            1.0
        };
        block.map(&mut Update {
            optimizer: self,
            gradients,
            learning_rate,
            clip,
            path: Vec::new(),
        })
    }

    /// The whole state by name.
    pub fn state(&self) -> (u64, NamedTensors) {
        let mut tensors = NamedTensors::new();
        for (name, moments) in &self.moments {
            tensors.insert(format!("first.{name}"), moments.first.clone().into_data());
            tensors.insert(format!("second.{name}"), moments.second.clone().into_data());
        }
        (self.n_steps, tensors)
    }

    /// An optimizer that goes on from a state on `device`; `None` where a moment lacks its twin.
    pub fn resume(
        config: OptimizerConfig,
        n_steps: u64,
        state: &NamedTensors,
        device: &Device,
    ) -> Option<Self> {
        let tensor = |data: &TensorData| Tensor::<1>::from_data(data.clone(), device);
        let mut moments = BTreeMap::new();
        for (name, first) in state
            .iter()
            .filter_map(|(key, data)| Some((key.strip_prefix("first.")?, data)))
        {
            let second = state.get(&format!("second.{name}"))?;
            moments.insert(
                name.to_owned(),
                Moments {
                    first: tensor(first),
                    second: tensor(second),
                },
            );
        }
        Some(Self {
            config,
            moments,
            n_steps,
        })
    }

    /// Change of one parameter, flattened, for its gradient.
    fn change(
        &mut self,
        name: String,
        gradient: Tensor<1>,
        value: Tensor<1>,
        learning_rate: f64,
    ) -> Tensor<1> {
        let OptimizerConfig {
            beta1,
            beta2,
            epsilon,
            weight_decay,
            ..
        } = self.config;
        let decays = DECAYING
            .iter()
            .any(|last| name.rsplit('.').next() == Some(last));
        let old = self.moments.remove(&name).unwrap_or_else(|| Moments {
            first: gradient.zeros_like(),
            second: gradient.zeros_like(),
        });
        let first = old.first * beta1 + gradient.clone() * (1.0 - beta1);
        let second = old.second * beta2 + gradient.square() * (1.0 - beta2);
        let steps = self.n_steps as i32;
        let mean = first.clone() / (1.0 - beta1.powi(steps));
        let root = (second.clone() / (1.0 - beta2.powi(steps))).sqrt() + epsilon;
        self.moments.insert(name, Moments { first, second });
        let change = mean / root * learning_rate;
        if decays {
            change + value * (learning_rate * weight_decay)
        } else {
            change
        }
    }
}

struct GradientNorm<'a> {
    gradients: &'a Gradients,
    sum_of_squares: f64,
}

impl ModuleVisitor for GradientNorm<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = param.val().grad(self.gradients) {
            let sum: f32 = gradient.square().sum().into_scalar();
            self.sum_of_squares += f64::from(sum);
        }
    }
}

struct Update<'a> {
    optimizer: &'a mut AdamW,
    gradients: &'a Gradients,
    learning_rate: f64,
    clip: f64,
    path: Vec<String>,
}

impl ModuleMapper for Update<'_> {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(gradient) = param.val().grad(self.gradients) else {
            return param;
        };
        let name = self.path.join(".");
        param.map(|value| {
            let value = value.inner();
            let (dims, n) = (value.dims(), value.dims().iter().product::<usize>());
            let gradient = gradient.reshape([n]) * self.clip;
            let flat = value.reshape([n]);
            let change = self
                .optimizer
                .change(name, gradient, flat.clone(), self.learning_rate);
            Tensor::from_inner((flat - change).reshape(dims)).require_grad()
        })
    }
}
