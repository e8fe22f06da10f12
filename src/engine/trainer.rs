//! The training loop: batches go in, events and the trained blocks come out.
//!
//! ```text
//! for each step:   batch of the plan, made ready by a loader → all blocks learn
//!   end of epoch:  all blocks say how orthonormal they are; the validation set is estimated
//!   now and then:  all blocks hand out their state → checkpoint
//! ```
//!
//! Jobs are answered in the order in which they were sent, so events come in the same order from every executor.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::checkpoint::{BestEpoch, CheckpointConfig, Checkpoints, Progress};
use super::device::Lane;
use super::event::EventSink;
use super::executor::{Executor, Worker};
use super::ledger::{Expected, Ledger};
use super::objective::Objective;
use super::placement::Stage;
use super::schedule::ScheduleConfig;
use super::target::Metric;
use super::worker::{BlockState, BlockTrainer, Job, Message};
use crate::Error;
use crate::data::batch::{Batch, BatchPlan, BatchSource};
use crate::data::loader::{Loader, Loading};
use crate::models::parameters::Misfit;
use crate::models::{Block, Network};

/// What a training is made of, besides its blocks.
pub struct Training<'a> {
    /// Samples to learn from.
    pub training: &'a dyn BatchSource,
    /// Samples to watch; may be empty.
    pub validation: &'a dyn BatchSource,
    /// What errors are.
    pub metric: Metric,
    /// Who is in which batch.
    pub plan: BatchPlan,
    /// Passes over the training set.
    pub epochs: u64,
    /// Highest learning rate.
    pub learning_rate: f64,
    /// How it changes.
    pub schedule: ScheduleConfig,
    /// Where states are kept.
    pub checkpoints: &'a Checkpoints,
    /// When they are.
    pub checkpoint: CheckpointConfig,
    /// Which epoch becomes the model, and when to give up.
    pub selection: SelectionConfig,
    /// Set from outside to end after saving.
    pub stop: &'a AtomicBool,
}

/// The `[train.selection]` part of a config. The error is that of the last block on the validation set; the test set has
/// no part in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SelectionConfig {
    /// The epoch whose weights become the model.
    pub epoch: SelectedEpoch,
    /// Epochs without a lower error after which training ends; 0: never.
    pub patience: u64,
}

/// The epoch whose weights become the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SelectedEpoch {
    /// The last one.
    Last,
    /// The one with the lowest error; the last one where there is no validation set.
    Best,
}

/// How a training ended.
pub enum Outcome {
    /// All epochs are done.
    Finished(Vec<Block>),
    /// It was asked to stop; the state after this many steps is in a checkpoint.
    Stopped {
        /// Steps that were taken.
        step: u64,
    },
}

/// Puts the blocks of a network on their devices, each with its optimizer. A stage takes as many of the devices as it
/// has replicas, in order; what is left stays free.
///
/// # Errors
/// [`Error::Checkpoint`] where `states` do not fit the network, [`Error::Data`] where there are too few devices.
pub fn workers(
    network: &Network,
    stages: &[Stage],
    lanes: Vec<Lane>,
    objective: &Objective,
    states: Option<&[BlockState]>,
) -> Result<Vec<Worker>, Error> {
    let mut lanes = lanes.into_iter().map(Arc::new);
    let mut workers = Vec::new();
    for stage in stages {
        let of_stage: Vec<Arc<Lane>> = lanes.by_ref().take(stage.replicas).collect();
        let names: Vec<String> = of_stage.iter().map(|lane| lane.name.to_string()).collect();
        let mut blocks = Vec::with_capacity(stage.blocks.len());
        for number in stage.blocks.clone() {
            let Some(block) = network.blocks.get(number) else {
                return Err(Error::Data(format!("no block {} to place", number + 1)));
            };
            let trainer = BlockTrainer::new(number, block, objective.clone(), &of_stage)?;
            blocks.push(match states.and_then(|states| states.get(number)) {
                Some(state) => trainer
                    .resume(state)
                    .map_err(|misfit| misfit_in(number, &misfit))?,
                None => trainer,
            });
        }
        workers.push(Worker {
            devices: names.join("+"),
            blocks,
        });
    }
    Ok(workers)
}

fn misfit_in(number: usize, misfit: &Misfit) -> Error {
    Error::Checkpoint {
        path: format!("block {number}").into(),
        message: misfit.to_string(),
    }
}

impl Training<'_> {
    /// Steps of the whole training.
    pub fn n_steps(&self) -> u64 {
        self.epochs * self.plan.steps_per_epoch()
    }

    /// Trains from where `progress` says to the end.
    ///
    /// # Errors
    /// What stopped a worker, a volume that cannot be read, a checkpoint or log that cannot be written.
    pub fn run(
        &self,
        executor: Box<dyn Executor>,
        n_blocks: usize,
        progress: Progress,
        sink: &mut dyn EventSink,
    ) -> Result<Outcome, Error> {
        let steps = progress.step..self.n_steps();
        let loading = Loading {
            source: self.training,
            plan: &self.plan,
        };
        thread::scope(|scope| {
            let batches = Loader::start(scope, loading, steps.clone())?;
            let ledger = Ledger::new(self, n_blocks, executor.meters(), progress);
            self.take_steps(steps, batches, executor, ledger, sink)
        })
    }

    fn take_steps(
        &self,
        steps: Range<u64>,
        mut batches: Loader,
        mut executor: Box<dyn Executor>,
        mut ledger: Ledger<'_>,
        sink: &mut dyn EventSink,
    ) -> Result<Outcome, Error> {
        let mut last_save = Instant::now();
        // A training that goes on does so from a checkpoint, which need not be written again.
        let mut saved = (steps.start > 0).then_some(steps.start);
        for step in steps {
            if self.stop.load(Ordering::Relaxed) {
                if saved != Some(step) {
                    ledger.submit(&mut *executor, Expected::State, message(Job::Save { step }))?;
                }
                ledger.settle(&mut *executor, sink)?;
                return Ok(Outcome::Stopped { step });
            }
            let (epoch, _) = self.plan.place(step);
            let batch = batches.next_batch()?;
            self.submit_step(&mut *executor, &mut ledger, (step, epoch), batch)?;
            ledger.collect(&mut *executor, sink)?;
            let done = step + 1;
            if self.plan.place(done).1 == 0 {
                let expected = Expected::Epoch {
                    epoch,
                    data_wait_share: batches.take_wait_share(),
                };
                ledger.submit(&mut *executor, expected, message(Job::Inspect { epoch }))?;
                self.submit_validation(&mut *executor, &mut ledger, (epoch, done), sink)?;
                if self.is_out_of_patience(&mut *executor, &mut ledger, epoch, sink)? {
                    break;
                }
            }
            if self.checkpoint.is_due(done, last_save.elapsed()) && done < self.n_steps() {
                let job = message(Job::Save { step: done });
                ledger.submit(&mut *executor, Expected::State, job)?;
                last_save = Instant::now();
                saved = Some(done);
            }
        }
        ledger.settle(&mut *executor, sink)?;
        let best = ledger.progress.best;
        self.selected(executor.finish()?, best)
            .map(Outcome::Finished)
    }

    /// Whether the validation error has not fallen for too long. Waits for the epoch's answers, so that every executor
    /// ends after the same epoch.
    fn is_out_of_patience(
        &self,
        executor: &mut dyn Executor,
        ledger: &mut Ledger<'_>,
        epoch: u64,
        sink: &mut dyn EventSink,
    ) -> Result<bool, Error> {
        if self.selection.patience == 0 {
            return Ok(false);
        }
        ledger.settle(executor, sink)?;
        let best = ledger.progress.best;
        Ok(best.is_some_and(|best| epoch - best.epoch >= self.selection.patience))
    }

    /// The blocks of the epoch that becomes the model.
    fn selected(
        &self,
        trainers: Vec<BlockTrainer>,
        best: Option<BestEpoch>,
    ) -> Result<Vec<Block>, Error> {
        let (SelectedEpoch::Best, Some(best)) = (self.selection.epoch, best) else {
            return Ok(trainers.iter().map(BlockTrainer::block).collect());
        };
        let states = self.checkpoints.load_best(best, trainers.len())?.blocks;
        let of_best = |(trainer, state): (BlockTrainer, BlockState)| {
            let number = trainer.number();
            let trainer = trainer
                .resume(&state)
                .map_err(|misfit| misfit_in(number, &misfit))?;
            Ok(trainer.block())
        };
        trainers.into_iter().zip(states).map(of_best).collect()
    }

    fn submit_step(
        &self,
        executor: &mut dyn Executor,
        ledger: &mut Ledger<'_>,
        (step, epoch): (u64, u64),
        batch: Batch,
    ) -> Result<(), Error> {
        let learning_rate = self
            .schedule
            .learning_rate(step, self.n_steps(), self.learning_rate);
        let n = batch.truths.len();
        let job = Job::Train {
            step,
            learning_rate,
            samples: batch.samples,
            truths: batch.truths.into(),
        };
        let expected = Expected::Step {
            step,
            epoch,
            learning_rate,
            n,
        };
        ledger.submit(executor, expected, Message::new(job, Some(batch.volumes)))
    }

    fn submit_validation(
        &self,
        executor: &mut dyn Executor,
        ledger: &mut Ledger<'_>,
        (epoch, step): (u64, u64),
        sink: &mut dyn EventSink,
    ) -> Result<(), Error> {
        let all: Vec<usize> = (0..self.validation.len()).collect();
        let batches = all.chunks(self.plan.batch_size);
        let last = batches.len().saturating_sub(1);
        for (batch, members) in batches.enumerate() {
            let loaded = self.validation.batch(members, None)?;
            let message = Message::new(Job::Estimate { batch }, Some(loaded.volumes));
            let truths = loaded.truths;
            let expected = Expected::Estimates {
                epoch,
                truths,
                last: batch == last,
            };
            ledger.submit(executor, expected, message)?;
            ledger.collect(executor, sink)?;
        }
        if self.selection.epoch == SelectedEpoch::Best && !self.validation.is_empty() {
            let job = message(Job::Save { step });
            ledger.submit(executor, Expected::Candidate { epoch }, job)?;
        }
        Ok(())
    }
}

fn message(job: Job) -> Message {
    Message::new(job, None)
}
