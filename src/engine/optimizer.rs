//! How the parameters of a block move: AdamW (Loshchilov & Hutter, ICLR 2019) or SGD with momentum.
//!
//! Own code, because the framework's optimizer keys its state by random identifiers, loads it onto a default device and
//! clips each tensor by itself; here the state has names, lives where the block lives, and the block's gradient is
//! clipped as one vector. Bases Q and P, biases and normalization never decay: decay would shrink an orthonormal basis.

use std::collections::BTreeMap;

use brainage_kernels::adam::Step;
use burn::module::{Module as _, ModuleMapper, Param};
use burn::tensor::{Device, Tensor, TensorData};
use serde::{Deserialize, Serialize};

use super::gradients::BlockGradient;
use crate::models::Block;
use crate::models::parameters::{Misfit, NamedTensors};
use crate::nn::adam_op::adam_step;

/// Names of the parameters that decay: W itself, Λ, and how filters are mixed.
const DECAYING: [&str; 3] = ["matrix", "lambda", "mixing"];

/// The `[train.optimizer]` part of a config.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OptimizerConfig {
    /// Method.
    pub name: OptimizerName,
    /// Highest learning rate.
    pub learning_rate: f64,
    /// Factor on the learning rate of each block, first block first; empty: all 1.
    pub block_factors: Vec<f64>,
    /// Decay of W or Λ: AdamW's is decoupled, per unit of learning rate; SGD's is added to the gradient.
    pub weight_decay: f64,
    /// AdamW: memory of the mean gradient.
    pub beta1: f64,
    /// AdamW: memory of the mean squared gradient.
    pub beta2: f64,
    /// AdamW: added to the root of the mean square.
    pub epsilon: f64,
    /// SGD: memory of the velocity.
    pub momentum: f64,
    /// SGD: whether the velocity looks ahead (Nesterov).
    pub nesterov: bool,
    /// Longest gradient of a block; longer ones are scaled down to it.
    pub max_gradient_norm: f64,
}

/// Methods.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OptimizerName {
    /// Adam with decoupled weight decay.
    AdamW,
    /// Stochastic gradient descent with momentum.
    Sgd,
}

/// The optimizer of one block.
pub struct Optimizer {
    config: OptimizerConfig,
    /// By kind and parameter name, such as `first.units.0.…`; flattened.
    memory: BTreeMap<String, Tensor<1>>,
    n_steps: u64,
}

impl Optimizer {
    /// No step taken yet.
    pub fn new(config: OptimizerConfig) -> Self {
        Self {
            config,
            memory: BTreeMap::new(),
            n_steps: 0,
        }
    }

    /// Moves a block against its gradient.
    pub fn step(&mut self, block: Block, gradient: BlockGradient, learning_rate: f64) -> Block {
        self.n_steps += 1;
        let norm = gradient.norm();
        let clip = if norm > self.config.max_gradient_norm {
            self.config.max_gradient_norm / norm
        } else {
            1.0
        };
        block.map(&mut Update {
            optimizer: self,
            gradient,
            learning_rate,
            clip,
            path: Vec::new(),
        })
    }

    /// Steps that were taken.
    pub fn n_steps(&self) -> u64 {
        self.n_steps
    }

    /// The whole state by name.
    pub fn state(&self) -> (u64, NamedTensors) {
        let tensors = self.memory.iter();
        let tensors = tensors.map(|(name, tensor)| (name.clone(), tensor.clone().into_data()));
        (self.n_steps, tensors.collect())
    }

    /// An optimizer that goes on from a state on `device`, for a block with the given parameters.
    ///
    /// # Errors
    /// The first memory that is one of another method, of no parameter, or not as long as its parameter.
    pub fn resume(
        config: OptimizerConfig,
        n_steps: u64,
        (state, parameters): (&NamedTensors, &NamedTensors),
        device: &Device,
    ) -> Result<Self, Misfit> {
        let kinds: &[&str] = match config.name {
            OptimizerName::AdamW => &["first.", "second."],
            OptimizerName::Sgd => &["velocity."],
        };
        for (key, memory) in state {
            let name = kinds.iter().find_map(|kind| key.strip_prefix(kind));
            let parameter = name.and_then(|name| Some((name, parameters.get(name)?)));
            let Some((name, parameter)) = parameter else {
                return Err(Misfit::Unknown { name: key.clone() });
            };
            let expected = vec![parameter.num_elements()];
            if memory.shape().to_vec() != expected || memory.as_slice::<f32>().is_err() {
                return Err(Misfit::Shape {
                    name: key.clone(),
                    found: memory.shape().to_vec(),
                    expected,
                });
            }
            let mut wanted = kinds.iter().map(|kind| format!("{kind}{name}"));
            if let Some(name) = wanted.find(|key| !state.contains_key(key)) {
                return Err(Misfit::Missing { name });
            }
        }
        let tensor = |data: &TensorData| Tensor::<1>::from_data(data.clone(), device);
        let memory = state.iter();
        Ok(Self {
            config,
            memory: memory
                .map(|(name, data)| (name.clone(), tensor(data)))
                .collect(),
            n_steps,
        })
    }

    /// A running mean of the parameter's past, replaced by what `next` makes of it.
    fn remember(
        &mut self,
        kind: &str,
        name: &str,
        gradient: &Tensor<1>,
        next: impl FnOnce(Tensor<1>) -> Tensor<1>,
    ) -> Tensor<1> {
        let key = format!("{kind}.{name}");
        let old = self.memory.remove(&key);
        let new = next(old.unwrap_or_else(|| gradient.zeros_like()));
        self.memory.insert(key, new.clone());
        new
    }

    /// Change of one parameter, flattened, for its gradient.
    fn change(
        &mut self,
        name: &str,
        gradient: Tensor<1>,
        value: Tensor<1>,
        learning_rate: f64,
    ) -> Tensor<1> {
        let decay = self.decay(name);
        let decays = decay > 0.0;
        match self.config.name {
            OptimizerName::AdamW => {
                let change = self.adam(name, &gradient, learning_rate);
                if decays {
                    change + value * (learning_rate * decay)
                } else {
                    change
                }
            }
            OptimizerName::Sgd => {
                let gradient = if decays {
                    gradient + value * decay
                } else {
                    gradient
                };
                self.descend(name, gradient, learning_rate)
            }
        }
    }

    /// Decay of a parameter, 0 for those that never decay.
    fn decay(&self, name: &str) -> f64 {
        let last = name.rsplit('.').next();
        if DECAYING.iter().any(|decaying| last == Some(decaying)) {
            self.config.weight_decay
        } else {
            0.0
        }
    }

    fn adam(&mut self, name: &str, gradient: &Tensor<1>, learning_rate: f64) -> Tensor<1> {
        let OptimizerConfig {
            beta1,
            beta2,
            epsilon,
            ..
        } = self.config;
        let first = self.remember("first", name, gradient, |old| {
            old * beta1 + gradient.clone() * (1.0 - beta1)
        });
        let second = self.remember("second", name, gradient, |old| {
            old * beta2 + gradient.clone().square() * (1.0 - beta2)
        });
        let steps = self.n_steps as i32;
        let mean = first / (1.0 - beta1.powi(steps));
        let root = (second / (1.0 - beta2.powi(steps))).sqrt() + epsilon;
        mean / root * learning_rate
    }

    /// The parameter after a step of AdamW in one go, on devices that have it; the gradient is not clipped yet.
    fn adam_at_once(
        &mut self,
        name: &str,
        gradient: &Tensor<1>,
        value: &Tensor<1>,
        (learning_rate, clip): (f64, f64),
    ) -> Option<Tensor<1>> {
        let config = &self.config;
        if config.name != OptimizerName::AdamW {
            return None;
        }
        let betas = [config.beta1, config.beta2];
        let step = Step {
            learning_rate: learning_rate as f32,
            decay: (learning_rate * self.decay(name)) as f32,
            clip: clip as f32,
            betas: betas.map(|beta| beta as f32),
            rests: betas.map(|beta| (1.0 - beta) as f32),
            corrections: betas.map(|beta| (1.0 - beta.powi(self.n_steps as i32)) as f32),
            epsilon: config.epsilon as f32,
        };
        let keys = ["first", "second"].map(|kind| format!("{kind}.{name}"));
        let memory = &mut self.memory;
        let moved = adam_step(step, value, gradient, || {
            keys.each_ref()
                .map(|key| memory.remove(key).unwrap_or_else(|| gradient.zeros_like()))
        });
        let [moved, first, second] = moved?;
        for (key, tensor) in keys.into_iter().zip([first, second]) {
            self.memory.insert(key, tensor);
        }
        Some(moved)
    }

    fn descend(&mut self, name: &str, gradient: Tensor<1>, learning_rate: f64) -> Tensor<1> {
        let momentum = self.config.momentum;
        let velocity = self.remember("velocity", name, &gradient, |old| {
            old * momentum + gradient.clone()
        });
        if self.config.nesterov {
            (velocity * momentum + gradient) * learning_rate
        } else {
            velocity * learning_rate
        }
    }
}

struct Update<'a> {
    optimizer: &'a mut Optimizer,
    gradient: BlockGradient,
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
        let name = self.path.join(".");
        let Some(gradient) = self.gradient.take(&name) else {
            return param;
        };
        param.map(|value| {
            let value = value.inner();
            let (dims, n) = (value.dims(), value.dims().iter().product::<usize>());
            let flat = value.reshape([n]);
            let (learning_rate, clip) = (self.learning_rate, self.clip);
            let at_once =
                (self.optimizer).adam_at_once(&name, &gradient, &flat, (learning_rate, clip));
            if let Some(moved) = at_once {
                return Tensor::from_inner(moved.reshape(dims)).require_grad();
            }
            let change = self.optimizer.change(
                &name,
                gradient * self.clip,
                flat.clone(),
                self.learning_rate,
            );
            Tensor::from_inner((flat - change).reshape(dims)).require_grad()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(name: OptimizerName) -> OptimizerConfig {
        OptimizerConfig {
            name,
            learning_rate: 0.1,
            block_factors: Vec::new(),
            weight_decay: 0.01,
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-8,
            momentum: 0.9,
            nesterov: false,
            max_gradient_norm: 1.0,
        }
    }

    /// The values of a parameter `name` that starts at 2, after each of the gradients.
    fn path(config: OptimizerConfig, name: &str, gradients: &[f32]) -> Vec<f32> {
        let device = Device::flex();
        let tensor = |v: f32| Tensor::<1>::from_data(TensorData::new(vec![v], [1]), &device);
        let (mut optimizer, mut value) = (Optimizer::new(config), 2.0_f32);
        let step = |gradient: &f32| {
            optimizer.n_steps += 1;
            let change = optimizer.change(name, tensor(*gradient), tensor(value), 0.1);
            value -= change.into_scalar::<f32>();
            value
        };
        gradients.iter().map(step).collect()
    }

    fn assert_near(found: &[f32], expected: &[f64]) {
        for (found, expected) in found.iter().zip(expected) {
            assert!(
                (f64::from(*found) - expected).abs() < 1e-5,
                "{found} {expected}"
            );
        }
    }

    #[test]
    fn the_first_step_of_adam_is_the_learning_rate_whatever_the_gradient() {
        for gradient in [3.0, -0.02] {
            let moved = path(config(OptimizerName::AdamW), "bias", &[gradient]);
            assert_near(&moved, &[2.0 - 0.1 * f64::from(gradient.signum())]);
        }
    }

    #[test]
    fn adam_at_once_moves_as_by_single_operations() {
        let device = Device::flex();
        let numbers = |salt: usize| -> Tensor<1> {
            let values = (0..300).map(|i| ((i * 7919 + salt) % 101) as f32 / 50.0 - 1.0);
            Tensor::from_data(TensorData::new(values.collect::<Vec<_>>(), [300]), &device)
        };
        for name in ["bias", "weight.matrix"] {
            let config = config(OptimizerName::AdamW);
            let (mut fused, mut parts) = (Optimizer::new(config.clone()), Optimizer::new(config));
            let (mut a, mut b) = (numbers(1), numbers(1));
            for salt in 2..6 {
                (fused.n_steps, parts.n_steps) = (fused.n_steps + 1, parts.n_steps + 1);
                let gradient = numbers(salt);
                a = fused.adam_at_once(name, &gradient, &a, (0.1, 0.5)).unwrap();
                b = b.clone() - parts.change(name, gradient * 0.5, b, 0.1);
            }
            let apart: f32 = (a - b).abs().max().into_scalar();
            assert!(apart < 1e-6, "{name}: {apart}");
            let keys = |optimizer: &Optimizer| -> Vec<String> {
                optimizer.memory.keys().cloned().collect()
            };
            assert_eq!(keys(&fused), keys(&parts));
        }
    }

    #[test]
    fn sgd_follows_its_velocity_and_nesterov_looks_ahead() {
        // v: 1, then 0.9 + 1 = 1.9.
        let plain = path(config(OptimizerName::Sgd), "bias", &[1.0, 1.0]);
        assert_near(&plain, &[1.9, 1.71]);
        let nesterov = OptimizerConfig {
            nesterov: true,
            ..config(OptimizerName::Sgd)
        };
        // Moves by 0.9·v + g: 1.9, then 2.71.
        assert_near(&path(nesterov, "bias", &[1.0, 1.0]), &[1.81, 1.539]);
    }

    #[test]
    fn lambda_decays_and_bases_do_not() {
        for (name, last) in [
            (OptimizerName::AdamW, 2.0 * (1.0 - 0.1 * 0.01)),
            (OptimizerName::Sgd, 2.0 - 0.1 * 0.02),
        ] {
            assert_near(&path(config(name), "weight.lambda", &[0.0]), &[last]);
            assert_near(&path(config(name), "weight.q", &[0.0]), &[2.0]);
        }
    }

    /// Why a state with memories of one number for a parameter `a` of `n` numbers is refused.
    fn refusal(name: OptimizerName, kinds: &[&str], n: usize) -> Option<String> {
        let numbers = |n: usize| TensorData::new(vec![1.0_f32; n], [n]);
        let memory = |kind: &&str| (format!("{kind}.a"), numbers(1));
        let state: NamedTensors = kinds.iter().map(memory).collect();
        let parameters = NamedTensors::from([("a".to_owned(), numbers(n))]);
        let device = Device::flex();
        let resumed = Optimizer::resume(config(name), 1, (&state, &parameters), &device);
        resumed.err().map(|misfit| misfit.to_string())
    }

    #[test]
    fn a_state_of_another_method_is_not_taken_for_ones_own() {
        assert_eq!(refusal(OptimizerName::Sgd, &["velocity"], 1), None);
        let said = refusal(OptimizerName::AdamW, &["velocity"], 1).unwrap();
        assert!(said.contains("`velocity.a` is not part"), "{said}");
        assert_eq!(refusal(OptimizerName::AdamW, &["first", "second"], 1), None);
        let said = refusal(OptimizerName::AdamW, &["second"], 1).unwrap();
        assert!(said.contains("`first.a`"), "{said}");
    }

    #[test]
    fn a_memory_that_is_not_as_long_as_its_parameter_is_refused() {
        let said = refusal(OptimizerName::AdamW, &["first", "second"], 3).unwrap();
        assert!(
            said.contains("`first.a` has shape [1], expected [3]"),
            "{said}"
        );
    }
}
