//! One block and all that trains it: loss, optimizer, and the answers to what it is asked.

use std::sync::Arc;

use burn::tensor::{Device, Tensor, TensorData};
use serde::{Deserialize, Serialize};

use super::optimizer::{AdamW, OptimizerConfig};
use super::seed::Seed;
use crate::Error;
use crate::models::Block;
use crate::models::parameters::{self, Misfit, NamedTensors};
use crate::nn::pass::{Pass, TrainingPass};

/// What all blocks of a run have in common.
#[derive(Clone, Debug)]
pub struct Objective {
    /// Seed of the run.
    pub seed: Seed,
    /// How bases are kept orthonormal.
    pub orthogonality: OrthogonalityConfig,
    /// Settings of the optimizer.
    pub optimizer: OptimizerConfig,
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
        /// Their standardized ages.
        targets: Arc<[f32]>,
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
        loss: f32,
        /// Mean absolute error, standardized.
        error: f32,
    },
    /// It estimated standardized ages.
    Estimated {
        /// Which batch.
        batch: usize,
        /// One for each member.
        values: Vec<f32>,
    },
    /// See [`Block::orthogonality_error`].
    Inspected {
        /// After which epoch.
        epoch: u64,
        /// The largest one of the block.
        orthogonality_error: f32,
    },
    /// Its state.
    Saved(BlockState),
}

/// Everything that a block needs to go on.
#[derive(Clone, Debug)]
pub struct BlockState {
    /// Parameters and running statistics.
    pub parameters: NamedTensors,
    /// Moments of the optimizer.
    pub optimizer: NamedTensors,
    /// Steps that the optimizer took.
    pub n_steps: u64,
}

/// A block with its optimizer on a device.
pub struct BlockTrainer {
    number: usize,
    block: Block,
    optimizer: AdamW,
    objective: Objective,
    device: Device,
}

impl BlockTrainer {
    /// `block` must live on `device` with autodiff; `device` is the plain one.
    pub fn new(number: usize, block: Block, objective: Objective, device: Device) -> Self {
        let optimizer = AdamW::new(objective.optimizer.clone());
        Self {
            number,
            block,
            optimizer,
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
        let optimizer = AdamW::resume(config, state.n_steps, &state.optimizer, &self.device)
            .ok_or_else(|| Misfit::Missing {
                name: "a moment of the optimizer".into(),
            })?;
        Ok(Self {
            block,
            optimizer,
            ..self
        })
    }

    /// Number of the block, from 0.
    pub fn number(&self) -> usize {
        self.number
    }

    /// The block as it is now, without autodiff.
    pub fn block(&self) -> Block {
        use burn::module::Module as _;
        self.block.valid()
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
                    targets,
                },
                Some(features),
            ) => {
                let (loss, error, features) =
                    self.train((*step, *learning_rate), samples, targets, features)?;
                (
                    Answer::Trained {
                        step: *step,
                        loss,
                        error,
                    },
                    Some(features),
                )
            }
            (Job::Estimate { batch }, Some(features)) => {
                let (values, features) = self.estimate(features);
                (
                    Answer::Estimated {
                        batch: *batch,
                        values,
                    },
                    Some(features),
                )
            }
            (Job::Inspect { epoch }, features) => {
                let orthogonality_error = self.block.orthogonality_error();
                (
                    Answer::Inspected {
                        epoch: *epoch,
                        orthogonality_error,
                    },
                    features,
                )
            }
            (Job::Save { .. }, features) => (Answer::Saved(self.state()), features),
            (Job::Train { .. } | Job::Estimate { .. }, None) => {
                return Err(Error::Data("a batch came without features".into()));
            }
        };
        Ok((answer, Message { job, features }))
    }

    /// One step on the block's own loss: mean |estimate − age| + λ · penalty.
    ///
    /// The input enters without a graph, so nothing flows back and the first layer needs no gradient of its input;
    /// what is handed on was computed before the update.
    fn train(
        &mut self,
        (step, learning_rate): (u64, f64),
        samples: &Arc<[u64]>,
        targets: &[f32],
        features: Tensor<5>,
    ) -> Result<(f32, f32, Tensor<5>), Error> {
        let features = features.to_device(&self.device);
        let targets = TensorData::new(targets.to_vec(), [targets.len(), 1]);
        let targets = Tensor::<2>::from_data(targets, &self.device.clone().autodiff());
        let mut pass = Pass::Training(TrainingPass::new(
            self.objective.seed,
            step,
            Arc::clone(samples),
        ));

        let output = self.block.forward(Tensor::from_inner(features), &mut pass);
        let handed_on = output.clone().inner();
        let error = (self.block.estimate(output, &mut pass) - targets)
            .abs()
            .mean();
        let loss = match self.block.orthogonality_penalty() {
            Some(penalty) => error.clone() + penalty * self.objective.orthogonality.weight,
            None => error.clone(),
        };
        let value: f32 = loss.clone().into_scalar();
        if !value.is_finite() {
            return Err(Error::NotFinite {
                loss: value,
                block: self.number + 1,
                step,
                samples: samples
                    .iter()
                    .map(|s| format!("{s:016x}"))
                    .collect::<Vec<_>>()
                    .join(" "),
            });
        }
        let error: f32 = error.into_scalar();
        let gradients = loss.backward();
        let stepped = self
            .optimizer
            .step(self.block.clone(), &gradients, learning_rate);
        self.block = stepped.absorb(pass.into_statistics());
        Ok((value, error, handed_on))
    }

    fn estimate(&self, features: Tensor<5>) -> (Vec<f32>, Tensor<5>) {
        let block = self.block();
        let output = block.forward(features.to_device(&self.device), &mut Pass::Inference);
        let estimates = block.estimate(output.clone(), &mut Pass::Inference);
        (
            estimates
                .into_data()
                .try_into_vec::<f32>()
                .unwrap_or_default(),
            output,
        )
    }

    fn state(&self) -> BlockState {
        let (n_steps, optimizer) = self.optimizer.state();
        BlockState {
            parameters: parameters::take(&self.block),
            optimizer,
            n_steps,
        }
    }
}
