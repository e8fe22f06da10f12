//! One block and all that trains it: loss, optimizer, and the answers to what it is asked.
//!
//! Several devices may hold a copy of the block each. They split every batch into runs of members, exchange the
//! statistics of their normalization layers on the way, and all take the same step with the sum of their gradients. The
//! step is that of one device up to the order of sums over the batch: a relative 1e-5 or so in f32.

use std::ops::Range;
use std::sync::Arc;
use std::thread;

use burn::tensor::Tensor;

use super::device::Lane;
use super::gradients::Learned;
use super::objective::Objective;
use super::replay::{HandedOn, Replay};
use super::replica::{Members, Replica};
use crate::Error;
use crate::data::batch::Truth;
use crate::models::Block;
use crate::models::parameters::{Misfit, NamedTensors};
use crate::nn::exchange::Participant;

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
        /// What heads should say of them.
        truths: Arc<[Truth]>,
    },
    /// Say what heads make of a batch.
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
    /// What the network was given, where blocks learn to reconstruct it; the first block puts it there.
    pub input: Option<Tensor<5>>,
}

impl Message {
    /// A job with what the network is given, or without data.
    pub fn new(job: Job, features: Option<Tensor<5>>) -> Self {
        Self {
            job,
            features,
            input: None,
        }
    }
}

/// What a block says to a job.
#[derive(Debug)]
pub enum Answer {
    /// It took a step.
    Trained {
        /// Step of the run.
        step: u64,
        /// Of each head: its loss, and the penalty on the block's weights.
        losses: Vec<f64>,
        /// Of each head the mean error, see [`super::target::Metric`].
        errors: Vec<f64>,
    },
    /// What its heads say.
    Estimated {
        /// Which batch.
        batch: usize,
        /// By head, an age in years or the number of a class for each member.
        estimates: Vec<Vec<f64>>,
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

/// A block with its optimizer, on one device or on several that split each batch.
pub struct BlockTrainer {
    number: usize,
    objective: Objective,
    /// At least one; all alike.
    replicas: Vec<Replica>,
    /// Where the block does not learn from what comes, but from what came of late.
    replay: Option<Replay>,
}

impl BlockTrainer {
    /// Brings block `number`, from 0, to a device, or copies of it to several.
    ///
    /// # Errors
    /// [`Error::Data`] without a device.
    pub fn new(
        number: usize,
        block: &Block,
        objective: Objective,
        lanes: &[Arc<Lane>],
    ) -> Result<Self, Error> {
        if lanes.is_empty() {
            return Err(Error::Data("a block without a device".into()));
        }
        let replica = |lane: &Arc<Lane>| Replica::new(block.clone(), &objective, Arc::clone(lane));
        Ok(Self {
            number,
            replicas: lanes.iter().map(replica).collect(),
            replay: (number > 0 && objective.replay > 0)
                .then(|| Replay::new(objective.seed, number, objective.replay)),
            objective,
        })
    }

    /// Goes on from a state.
    ///
    /// # Errors
    /// The first tensor that does not fit.
    pub fn resume(self, state: &BlockState) -> Result<Self, Misfit> {
        let replicas = self.replicas.into_iter();
        let replicas = replicas.map(|replica| replica.resume(state.clone(), &self.objective));
        Ok(Self {
            replicas: replicas.collect::<Result<_, _>>()?,
            ..self
        })
    }

    /// Number of the block, from 0.
    pub fn number(&self) -> usize {
        self.number
    }

    /// How many heads the block has.
    pub fn n_heads(&self) -> usize {
        self.lead().n_heads()
    }

    /// The block as inference uses it, without autodiff.
    pub fn block(&self) -> Block {
        self.lead().block()
    }

    /// The replica that speaks for all of them: they are alike.
    fn lead(&self) -> &Replica {
        &self.replicas[0]
    }

    /// Does a job; the message that comes back is for the next block.
    ///
    /// # Errors
    /// [`Error::NotFinite`] where the loss is no number; the block is then as it was before the step.
    pub fn handle(&mut self, message: Message) -> Result<(Answer, Message), Error> {
        let lane = Arc::clone(&self.lead().lane);
        lane.pool.install(|| self.answer(message))
    }

    fn answer(&mut self, message: Message) -> Result<(Answer, Message), Error> {
        let Message {
            job,
            features,
            input,
        } = message;
        let answer = match (&job, features) {
            (
                Job::Train {
                    step,
                    learning_rate,
                    samples,
                    truths,
                },
                Some(features),
            ) => {
                let came = HandedOn {
                    samples: Arc::clone(samples),
                    truths: Arc::clone(truths),
                    input: input.or_else(|| self.input_for_all(&features)),
                    features,
                };
                return self.learn((*step, *learning_rate), came);
            }
            (Job::Estimate { batch }, Some(features)) => {
                let (estimates, features) = self.estimate(&features)?;
                let answer = Answer::Estimated {
                    batch: *batch,
                    estimates,
                };
                return Ok((answer, Message::new(job, Some(features))));
            }
            (Job::Inspect { epoch }, _) => Answer::Inspected {
                epoch: *epoch,
                orthogonality_errors: self.lead().orthogonality_errors(),
            },
            (Job::Save { .. }, _) => Answer::Saved(self.lead().state()),
            (Job::Train { .. } | Job::Estimate { .. }, None) => {
                return Err(Error::Data("a batch came without features".into()));
            }
        };
        Ok((answer, Message::new(job, None)))
    }

    /// What the first block is given, where this or a later block learns to reconstruct it.
    fn input_for_all(&self, features: &Tensor<5>) -> Option<Tensor<5>> {
        let reconstructs = self.objective.auxiliary.reconstruction != [0.0; 2];
        (self.number == 0 && reconstructs).then(|| features.clone())
    }

    /// A step on the batch that came, or on one that came of late, and what there is for the next block.
    fn learn(
        &mut self,
        (step, learning_rate): (u64, f64),
        came: HandedOn,
    ) -> Result<(Answer, Message), Error> {
        let HandedOn {
            samples,
            truths,
            features,
            input,
        } = match &mut self.replay {
            Some(replay) => replay.draw(step, came),
            None => came,
        };
        let batch = Members {
            step,
            samples: &samples,
            truths: &truths,
            features,
            input: input.clone(),
        };
        let (learned, features) = self.train(&batch, learning_rate)?;
        let answer = Answer::Trained {
            step,
            losses: learned.losses,
            errors: learned.errors,
        };
        let job = Job::Train {
            step,
            learning_rate,
            samples,
            truths,
        };
        let message = Message {
            job,
            features: Some(features),
            input,
        };
        Ok((answer, message))
    }

    /// One step on the block's own loss, see [`Objective`].
    fn train(
        &mut self,
        batch: &Members<'_>,
        learning_rate: f64,
    ) -> Result<(Learned, Tensor<5>), Error> {
        let n = batch.truths.len();
        let (mut learned, mut handed_on) = (Vec::new(), Vec::new());
        for members in even_parts(0..n, self.objective.accumulate) {
            let share = members.len() as f64 / n as f64;
            let (of_part, output) = self.learn_from(batch, members)?;
            handed_on.extend(output);
            learned.push((of_part, share));
        }
        let learned = Learned::weighted_sum(learned);
        let factors = &self.objective.optimizer.block_factors;
        let rate = learning_rate * factors.get(self.number).copied().unwrap_or(1.0);
        let objective = &self.objective;
        on_each(self.replicas.iter_mut(), |replica| {
            let learned = learned.clone();
            let lane = Arc::clone(&replica.lane);
            lane.pool
                .install(|| replica.update(learned, objective, rate));
        });
        Ok((learned, joined(handed_on)?))
    }

    /// What the replicas learn from some members of a batch, a run of them each, and what they hand on.
    fn learn_from(
        &self,
        batch: &Members<'_>,
        members: Range<usize>,
    ) -> Result<(Learned, Vec<Tensor<5>>), Error> {
        let n = members.len() as f64;
        let runs = even_parts(members, self.replicas.len());
        let participants: Vec<Option<Participant>> = if runs.len() == 1 {
            vec![None]
        } else {
            let shares: Vec<f64> = runs.iter().map(|run| run.len() as f64 / n).collect();
            Participant::of_shares(&shares)
                .into_iter()
                .map(Some)
                .collect()
        };
        let parts = self.replicas.iter().zip(runs).zip(participants);
        let outcomes = on_each(parts, |((replica, run), participant)| {
            let members = Members {
                step: batch.step,
                samples: batch.samples.get(run.clone()).unwrap_or_default(),
                truths: batch.truths.get(run.clone()).unwrap_or_default(),
                features: part_of(&batch.features, run.clone()),
                input: batch.input.as_ref().map(|input| part_of(input, run)),
            };
            let learn = || replica.learn_from((self.number, &self.objective), members, participant);
            replica.lane.pool.install(learn)
        });
        let (mut learned, mut handed_on) = (Vec::new(), Vec::new());
        for outcome in outcomes {
            let (of_replica, output) = outcome?;
            learned.push(of_replica.to_device(&self.lead().lane.device));
            handed_on.push(output);
        }
        Ok((Learned::sum_of_replicas(learned), handed_on))
    }

    fn estimate(&self, features: &Tensor<5>) -> Result<(Vec<Vec<f64>>, Tensor<5>), Error> {
        let runs = even_parts(0..features.dims()[0], self.replicas.len());
        let outcomes = on_each(self.replicas.iter().zip(runs), |(replica, run)| {
            let members = part_of(features, run);
            let estimate = || replica.estimate(&self.objective, members);
            replica.lane.pool.install(estimate)
        });
        let mut by_head = vec![Vec::new(); self.n_heads()];
        let mut handed_on = Vec::with_capacity(outcomes.len());
        for (estimates, output) in outcomes {
            for (all, of_run) in by_head.iter_mut().zip(estimates) {
                all.extend(of_run);
            }
            handed_on.push(output);
        }
        Ok((by_head, joined(handed_on)?))
    }
}

/// At most `n` runs, none of them empty, as even as can be.
fn even_parts(whole: Range<usize>, n: usize) -> Vec<Range<usize>> {
    let (start, len) = (whole.start, whole.len());
    let n = n.clamp(1, len.max(1));
    let bound = |part: usize| start + part * len / n;
    (0..n).map(|part| bound(part)..bound(part + 1)).collect()
}

/// Members of a batch; the tensor itself for all of them.
fn part_of(features: &Tensor<5>, run: Range<usize>) -> Tensor<5> {
    if run == (0..features.dims()[0]) {
        features.clone()
    } else {
        features.clone().slice_dim(0, run)
    }
}

/// Parts of a batch as one again, on the device of the first.
fn joined(mut parts: Vec<Tensor<5>>) -> Result<Tensor<5>, Error> {
    match (parts.pop(), parts.first()) {
        (Some(only), None) => Ok(only),
        (Some(last), Some(first)) => {
            let device = first.device();
            parts.push(last);
            let parts = parts.into_iter().map(|part| part.to_device(&device));
            Ok(Tensor::cat(parts.collect(), 0))
        }
        (None, _) => Err(Error::Data("an empty batch".into())),
    }
}

/// Runs `act` on each item at the same time, the first one in this thread; answers in order. A panic goes on here.
fn on_each<I: Send, O: Send>(
    items: impl Iterator<Item = I>,
    act: impl Fn(I) -> O + Sync,
) -> Vec<O> {
    let mut items = items.into_iter();
    let Some(first) = items.next() else {
        return Vec::new();
    };
    let act = &act;
    thread::scope(|scope| {
        let others: Vec<_> = items.map(|item| scope.spawn(move || act(item))).collect();
        let mut answers = vec![act(first)];
        for other in others {
            answers.push(
                other
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
            );
        }
        answers
    })
}
