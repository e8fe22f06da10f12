//! A block on one device, with its optimizer: one of the copies that split a batch, or the only one.

use std::sync::Arc;

use burn::module::Module as _;
use burn::tensor::Tensor;

use super::average::WeightAverage;
use super::device::Lane;
use super::feedback::Feedback;
use super::gradients::{BlockGradient, Learned};
use super::lesson::{self, Taught};
use super::objective::Objective;
use super::optimizer::Optimizer;
use super::worker::BlockState;
use crate::Error;
use crate::data::batch::Truth;
use crate::models::Block;
use crate::models::parameters::{self, Misfit};
use crate::nn::exchange::Participant;
use crate::nn::pass::{Pass, TrainingPass};

/// A block on one device, with its optimizer.
pub(super) struct Replica {
    block: Block,
    optimizer: Optimizer,
    average: Option<WeightAverage>,
    feedback: Feedback,
    pub(super) lane: Arc<Lane>,
}

/// Some members of a batch.
pub(super) struct Members<'a> {
    /// Step of the run.
    pub(super) step: u64,
    pub(super) samples: &'a [u64],
    pub(super) truths: &'a [Truth],
    /// Without a graph, on any device.
    pub(super) features: Tensor<5>,
    /// What the network was given, where that is not the same and heads need it.
    pub(super) input: Option<Tensor<5>>,
}

impl Replica {
    /// Brings a block to its device.
    pub(super) fn new(block: Block, objective: &Objective, lane: Arc<Lane>) -> Self {
        let block = block.to_device(&lane.device).train();
        let optimizer = Optimizer::new(objective.optimizer.clone());
        let average =
            (objective.average > 0.0).then(|| WeightAverage::new(objective.average, block.valid()));
        Self {
            block,
            optimizer,
            average,
            feedback: Feedback::default(),
            lane,
        }
    }

    /// Goes on from a state.
    ///
    /// # Errors
    /// The first tensor that does not fit.
    pub(super) fn resume(self, state: BlockState, objective: &Objective) -> Result<Self, Misfit> {
        let config = objective.optimizer.clone();
        let tensors = (&state.optimizer, &state.parameters);
        let optimizer = Optimizer::resume(config, state.n_steps, tensors, &self.lane.device)?;
        let block = parameters::put(self.block, state.parameters)?;
        let average = if self.average.is_some() {
            let mean = state.average.ok_or_else(|| Misfit::Missing {
                name: "the mean of the weights".into(),
            })?;
            let mean = parameters::put(block.valid(), mean)?;
            Some(WeightAverage::new(objective.average, mean))
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

    /// The block as inference uses it, without autodiff.
    pub(super) fn block(&self) -> Block {
        let average = self.average.as_ref();
        average.map_or_else(|| self.block.valid(), |mean| mean.block().clone())
    }

    pub(super) fn n_heads(&self) -> usize {
        self.block.n_heads()
    }

    pub(super) fn orthogonality_errors(&self) -> Vec<f64> {
        self.block.orthogonality_errors()
    }

    pub(super) fn state(&self) -> BlockState {
        let (n_steps, optimizer) = self.optimizer.state();
        let average = self.average.as_ref();
        BlockState {
            parameters: parameters::take(&self.block),
            optimizer,
            average: average.map(|mean| parameters::take(mean.block())),
            n_steps,
        }
    }

    /// Losses and gradient of some members of a batch, and what the block hands on of them, computed before any update.
    /// The input enters without a graph, so nothing flows back and the first layer needs no gradient of its input.
    ///
    /// A participant stands for its share of the batch alone: loss, error and gradient come out as parts of the whole.
    ///
    /// # Errors
    /// [`Error::NotFinite`] where the loss is no number.
    pub(super) fn learn_from(
        &self,
        (number, objective): (usize, &Objective),
        members: Members<'_>,
        participant: Option<Participant>,
    ) -> Result<(Learned, Tensor<5>), Error> {
        let device = &self.lane.device;
        let share = participant.as_ref().map(Participant::share);
        let part_of = |value: f64| share.map_or(value, |share| value * share);
        let pass = TrainingPass::new(objective.seed, members.step, members.samples.into());
        let mut pass = Pass::Training(match participant {
            Some(participant) => pass.of_replica(participant),
            None => pass,
        });
        let features = Tensor::from_inner(members.features.to_device(device));
        let input = match members.input {
            Some(input) => Tensor::from_inner(input.to_device(device)),
            None => features.clone(),
        };
        let taught = Taught {
            step: members.step,
            block: number,
            samples: members.samples,
            truths: members.truths,
        };
        let block = (&self.block, objective, &self.feedback);
        let lesson = lesson::of_regime(block, &taught, (features, &input), &mut pass)?;
        if let Some(loss) = lesson.losses.iter().find(|loss| !loss.is_finite()) {
            let names = members.samples.iter().map(|s| format!("{s:016x}"));
            return Err(Error::NotFinite {
                loss: *loss as f32,
                block: number + 1,
                step: members.step,
                samples: names.collect::<Vec<_>>().join(" "),
            });
        }
        let total = match share {
            Some(share) => lesson.total * share,
            None => lesson.total,
        };
        let learned = Learned {
            losses: lesson.losses.into_iter().map(part_of).collect(),
            errors: lesson.errors.into_iter().map(part_of).collect(),
            gradient: BlockGradient::of(&self.block, &total.backward()),
            statistics: vec![pass.into_statistics()],
        };
        Ok((learned, lesson.handed_on))
    }

    /// Takes a step; `learned` may lie on any device.
    pub(super) fn update(&mut self, learned: Learned, objective: &Objective, learning_rate: f64) {
        let learned = learned.to_device(&self.lane.device);
        let block = self.block.clone();
        let mut block = self.optimizer.step(block, learned.gradient, learning_rate);
        if objective.orthogonality.retracts() {
            block = block.retract();
        }
        for statistics in learned.statistics {
            block = block.absorb(statistics);
        }
        self.block = block.followed();
        if let Some(average) = &mut self.average {
            average.take_in(self.block.valid(), self.optimizer.n_steps());
        }
    }

    /// What each head says, and what the block hands on.
    pub(super) fn estimate(
        &self,
        objective: &Objective,
        features: Tensor<5>,
    ) -> (Vec<Vec<f64>>, Tensor<5>) {
        let input = features.to_device(&self.lane.device);
        let (outputs, handed_on) = self.block().answers(input);
        let target = &objective.target;
        let estimates = outputs.into_iter().map(|outputs| target.estimates(outputs));
        (estimates.collect(), handed_on)
    }
}
