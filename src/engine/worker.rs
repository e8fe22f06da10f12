//! One block and all that trains it: loss, optimizer, and the answers to what it is asked.

use std::sync::Arc;

use burn::module::Module as _;
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use super::average::WeightAverage;
use super::gradients::{BlockGradient, Learned};
use super::optimizer::{Optimizer, OptimizerConfig};
use super::seed::Seed;
use super::target::{AgeEstimate, AgeTarget};
use crate::Error;
use crate::models::Block;
use crate::models::parameters::{self, Misfit, NamedTensors};
use crate::nn::pass::{Pass, TrainingPass};

/// What all blocks of a run have in common.
#[derive(Clone, Debug)]
pub struct Objective {
    /// Seed of the run.
    pub seed: Seed,
    /// What heads learn to say.
    pub target: AgeTarget,
    /// How bases are kept orthonormal.
    pub orthogonality: OrthogonalityConfig,
    /// Settings of the optimizer.
    pub optimizer: OptimizerConfig,
    /// Parts of a batch that go through a block one after the other, for one update.
    pub accumulate: usize,
    /// Decay of a running mean of the weights that is used for inference; 0: none.
    pub average: f64,
}

/// The `[train.orthogonality]` part of a config.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OrthogonalityConfig {
    /// Factor λ of the penalty; published: 2e-4.
    pub weight: f64,
    /// What keeps Q and P orthonormal.
    pub mode: OrthogonalityMode,
}

/// What keeps Q and P orthonormal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OrthogonalityMode {
    /// λ(‖QᵀQ − I‖² + ‖PᵀP − I‖²) in the loss of each block.
    Penalty,
    /// A Newton–Schulz step towards the nearest orthonormal basis after each update, and no penalty.
    Retract,
    /// Both.
    Both,
}

impl OrthogonalityConfig {
    /// λ, where the loss has the penalty.
    fn penalty_weight(self) -> Option<f64> {
        match self.mode {
            OrthogonalityMode::Penalty | OrthogonalityMode::Both => Some(self.weight),
            OrthogonalityMode::Retract => None,
        }
    }

    fn retracts(self) -> bool {
        match self.mode {
            OrthogonalityMode::Penalty => false,
            OrthogonalityMode::Retract | OrthogonalityMode::Both => true,
        }
    }
}

/// What a message asks of each block on its way.
#[derive(Clone, Debug)]
pub enum Job {
    /// Learn from a batch.
    Train {
        /// Step of the run.
        step: u64,
        /// Learning rate of the step.
        learning_rate: f64,
        /// Who is in the batch.
        samples: Arc<[u64]>,
        /// Their ages, years.
        ages_years: Arc<[f64]>,
    },
    /// Estimate ages.
    Estimate {
        /// Which batch.
        batch: usize,
    },
    /// Say how orthonormal the bases are.
    Inspect {
        /// After which epoch.
        epoch: u64,
    },
    /// Hand out the state.
    Save {
        /// Steps that were taken.
        step: u64,
    },
}

/// A job on its way through the blocks, with what the block before computed.
#[derive(Clone, Debug)]
pub struct Message {
    /// What to do.
    pub job: Job,
    /// `[batch, channels, x, y, z]` without a graph; `None` for jobs that need no data.
    pub features: Option<Tensor<5>>,
}

/// What a block says to a job.
#[derive(Debug)]
pub enum Answer {
    /// It took a step.
    Trained {
        /// Step of the run.
        step: u64,
        /// Task and penalty.
        loss: f64,
        /// Mean absolute error, years.
        mae_years: f64,
    },
    /// It estimated ages.
    Estimated {
        /// Which batch.
        batch: usize,
        /// One for each member.
        ages: Vec<AgeEstimate>,
    },
    /// See [`Block::orthogonality_errors`].
    Inspected {
        /// After which epoch.
        epoch: u64,
        /// Of each layer, trunk first, then head; none for dense weights.
        orthogonality_errors: Vec<f64>,
    },
    /// Its state.
    Saved(BlockState),
}

/// Everything that a block needs to go on.
#[derive(Clone, Debug)]
pub struct BlockState {
    /// Parameters and running statistics.
    pub parameters: NamedTensors,
    /// What the optimizer remembers.
    pub optimizer: NamedTensors,
    /// The running mean of the weights, if one is kept.
    pub average: Option<NamedTensors>,
    /// Steps that the optimizer took.
    pub n_steps: u64,
}

/// A block with its optimizer on a device.
pub struct BlockTrainer {
    number: usize,
    block: Block,
    optimizer: Optimizer,
    average: Option<WeightAverage>,
    objective: Objective,
    device: Device,
}

impl BlockTrainer {
    /// `block` must live on `device` with autodiff; `device` is the plain one.
    pub fn new(number: usize, block: Block, objective: Objective, device: Device) -> Self {
        let optimizer = Optimizer::new(objective.optimizer.clone());
        let average =
            (objective.average > 0.0).then(|| WeightAverage::new(objective.average, block.valid()));
        Self {
            number,
            block,
            optimizer,
            average,
            objective,
            device,
        }
    }

    /// Goes on from a state.
    ///
    /// # Errors
    /// The first tensor that does not fit.
    pub fn resume(self, state: BlockState) -> Result<Self, Misfit> {
        let block = parameters::put(self.block, state.parameters)?;
        let config = self.objective.optimizer.clone();
        let missing = |name: &str| Misfit::Missing { name: name.into() };
        let optimizer = Optimizer::resume(config, state.n_steps, &state.optimizer, &self.device)
            .ok_or_else(|| missing("a memory of the optimizer"))?;
        let average = if self.average.is_some() {
            let mean = state
                .average
                .ok_or_else(|| missing("the mean of the weights"))?;
            let mean = parameters::put(block.valid(), mean)?;
            Some(WeightAverage::new(self.objective.average, mean))
        } else {
            None
        };
        Ok(Self {
            block,
            optimizer,
            average,
            ..self
        })
    }

    /// Number of the block, from 0.
    pub fn number(&self) -> usize {
        self.number
    }

    /// The block as inference uses it, without autodiff.
    pub fn block(&self) -> Block {
        let average = self.average.as_ref();
        average.map_or_else(|| self.block.valid(), |mean| mean.block().clone())
    }

    /// Does a job; the message that comes back is for the next block.
    ///
    /// # Errors
    /// [`Error::NotFinite`] where the loss is no number; the block is then as it was before the step.
    pub fn handle(&mut self, message: Message) -> Result<(Answer, Message), Error> {
        let Message { job, features } = message;
        let (answer, features) = match (&job, features) {
            (
                Job::Train {
                    step,
                    learning_rate,
                    samples,
                    ages_years,
                },
                Some(features),
            ) => {
                let (learned, features) =
                    self.train((*step, *learning_rate), samples, ages_years, features)?;
                let answer = Answer::Trained {
                    step: *step,
                    loss: learned.loss,
                    mae_years: learned.mae_years,
                };
                (answer, Some(features))
            }
            (Job::Estimate { batch }, Some(features)) => {
                let (ages, features) = self.estimate(features);
                let answer = Answer::Estimated {
                    batch: *batch,
                    ages,
                };
                (answer, Some(features))
            }
            (Job::Inspect { epoch }, features) => {
                let answer = Answer::Inspected {
                    epoch: *epoch,
                    orthogonality_errors: self.block.orthogonality_errors(),
                };
                (answer, features)
            }
            (Job::Save { .. }, features) => (Answer::Saved(self.state()), features),
            (Job::Train { .. } | Job::Estimate { .. }, None) => {
                return Err(Error::Data("a batch came without features".into()));
            }
        };
        Ok((answer, Message { job, features }))
    }

    /// One step on the block's own loss: task + λ · penalty.
    ///
    /// The input enters without a graph, so nothing flows back and the first layer needs no gradient of its input;
    /// what is handed on was computed before the update.
    fn train(
        &mut self,
        (step, learning_rate): (u64, f64),
        samples: &Arc<[u64]>,
        ages_years: &[f64],
        features: Tensor<5>,
    ) -> Result<(Learned, Tensor<5>), Error> {
        let features = features.to_device(&self.device);
        let n = ages_years.len();
        let n_parts = self.objective.accumulate.clamp(1, n.max(1));
        let (mut learned, mut handed_on) = (Vec::with_capacity(n_parts), Vec::new());
        for part in 0..n_parts {
            let members = part * n / n_parts..(part + 1) * n / n_parts;
            let features = if n_parts == 1 {
                features.clone()
            } else {
                features.clone().slice_dim(0, members.clone())
            };
            let part = Part {
                samples: samples.get(members.clone()).unwrap_or_default().into(),
                ages_years: ages_years.get(members).unwrap_or_default(),
                features,
            };
            let share = part.ages_years.len() as f64 / n as f64;
            let (of_part, output) = self.learn_from(step, part)?;
            handed_on.push(output);
            learned.push((of_part, share));
        }
        let learned = Learned::weighted_sum(learned);
        self.update(&learned, learning_rate);
        let handed_on = match handed_on.pop() {
            Some(only) if handed_on.is_empty() => only,
            Some(last) => {
                handed_on.push(last);
                Tensor::cat(handed_on, 0)
            }
            None => return Err(Error::Data("an empty batch".into())),
        };
        Ok((learned, handed_on))
    }

    /// Loss and gradient of a part of a batch, and what the block hands on of it.
    fn learn_from(&self, step: u64, part: Part<'_>) -> Result<(Learned, Tensor<5>), Error> {
        let target = &self.objective.target;
        let labels = target.labels(part.ages_years, &self.device.clone().autodiff());
        let mut pass = Pass::Training(TrainingPass::new(
            self.objective.seed,
            step,
            Arc::clone(&part.samples),
        ));
        let input = Tensor::from_inner(part.features);
        let output = self.block.forward(input, &mut pass);
        let handed_on = output.clone().inner();
        let outputs = self.block.outputs(output, &mut pass);
        let estimates = target.estimates(outputs.clone().inner());
        let task = target.loss(outputs, labels);
        let penalty = self
            .objective
            .orthogonality
            .penalty_weight()
            .and_then(|weight| Some(self.block.orthogonality_penalty()? * weight));
        let loss = match penalty {
            Some(penalty) => task + penalty,
            None => task,
        };
        let value: f32 = loss.clone().into_scalar();
        if !value.is_finite() {
            let names: Vec<String> = part.samples.iter().map(|s| format!("{s:016x}")).collect();
            return Err(Error::NotFinite {
                loss: value,
                block: self.number + 1,
                step,
                samples: names.join(" "),
            });
        }
        let gaps = estimates.iter().zip(part.ages_years);
        let error_sum: f64 = gaps.map(|(e, age)| (e.age_years - age).abs()).sum();
        let learned = Learned {
            loss: f64::from(value),
            mae_years: error_sum / part.ages_years.len() as f64,
            gradient: BlockGradient::of(&self.block, &loss.backward()),
            statistics: vec![pass.into_statistics()],
        };
        Ok((learned, handed_on))
    }

    fn update(&mut self, learned: &Learned, learning_rate: f64) {
        let factors = &self.objective.optimizer.block_factors;
        let factor = factors.get(self.number).copied().unwrap_or(1.0);
        let (block, gradient) = (self.block.clone(), learned.gradient.clone());
        let mut block = self.optimizer.step(block, gradient, learning_rate * factor);
        if self.objective.orthogonality.retracts() {
            block = block.retract();
        }
        for statistics in learned.statistics.clone() {
            block = block.absorb(statistics);
        }
        self.block = block;
        if let Some(average) = &mut self.average {
            average.take_in(self.block.valid(), self.optimizer.n_steps());
        }
    }

    fn estimate(&self, features: Tensor<5>) -> (Vec<AgeEstimate>, Tensor<5>) {
        let block = self.block();
        let output = block.forward(features.to_device(&self.device), &mut Pass::Inference);
        let outputs = block.outputs(output.clone(), &mut Pass::Inference);
        (self.objective.target.estimates(outputs), output)
    }

    fn state(&self) -> BlockState {
        let (n_steps, optimizer) = self.optimizer.state();
        BlockState {
            parameters: parameters::take(&self.block),
            optimizer,
            average: self
                .average
                .as_ref()
                .map(|mean| parameters::take(mean.block())),
            n_steps,
        }
    }
}

/// Some members of a batch.
struct Part<'a> {
    samples: Arc<[u64]>,
    ages_years: &'a [f64],
    /// On the block's device, without a graph.
    features: Tensor<5>,
}
