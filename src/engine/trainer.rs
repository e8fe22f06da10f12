//! The training loop: batches go in, events and the trained blocks come out.
//!
//! ```text
//! for each step:   batch of the plan, made ready by a loader → all blocks learn
//!   end of epoch:  all blocks say how orthonormal they are; the validation set is estimated
//!   now and then:  all blocks hand out their state → checkpoint
//! ```
//!
//! Jobs are answered in the order in which they were sent, so events come in the same order from every executor.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use burn::module::Module as _;
use burn::tensor::Device;

use super::checkpoint::{Checkpoint, CheckpointConfig, Checkpoints, Progress};
use super::device::Lane;
use super::event::{Event, EventSink};
use super::executor::{Executor, Worker, spread};
use super::schedule::ScheduleConfig;
use super::worker::{Answer, BlockState, BlockTrainer, Job, Message, Objective};
use crate::Error;
use crate::data::augment::AugmentationConfig;
use crate::data::batch::{AgeScaling, Batch, BatchPlan, SampleSource, load_batch};
use crate::data::loader::{Loader, Loading};
use crate::models::{Block, Network};

/// What a training is made of, besides its blocks.
pub struct Training<'a> {
    /// Scans to learn from.
    pub training: &'a dyn SampleSource,
    /// Scans to watch; may be empty.
    pub validation: &'a dyn SampleSource,
    /// Of the training ages.
    pub scaling: AgeScaling,
    /// Changes of training volumes.
    pub augmentation: AugmentationConfig,
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
    /// Set from outside to end after saving.
    pub stop: &'a AtomicBool,
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

/// Puts the blocks of a network on their devices, each with its optimizer.
///
/// # Errors
/// [`Error::Checkpoint`] where `states` do not fit the network.
pub fn workers(
    network: Network,
    lanes: Vec<Lane>,
    objective: &Objective,
    states: Option<Vec<BlockState>>,
) -> Result<Vec<Worker>, Error> {
    let n_blocks = network.blocks.len();
    let mut states = states.map(Vec::into_iter);
    let mut blocks = network.blocks.into_iter().enumerate();
    let mut workers = Vec::new();
    for (run, lane) in spread(n_blocks, lanes.len()).into_iter().zip(lanes) {
        let mut trainers = Vec::with_capacity(run.len());
        for (number, block) in blocks.by_ref().take(run.len()) {
            let block = block.to_device(&lane.device).train();
            let trainer = BlockTrainer::new(number, block, objective.clone(), lane.device.clone());
            trainers.push(match states.as_mut().and_then(Iterator::next) {
                Some(state) => trainer.resume(state).map_err(|misfit| Error::Checkpoint {
                    path: format!("block {number}").into(),
                    message: misfit.to_string(),
                })?,
                None => trainer,
            });
        }
        workers.push(Worker {
            lane,
            blocks: trainers,
        });
    }
    Ok(workers)
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
            augmentation: &self.augmentation,
            plan: &self.plan,
        };
        thread::scope(|scope| {
            let batches = Loader::start(scope, loading, steps.clone())?;
            let ledger = Ledger::new(self, n_blocks, progress);
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
        for step in steps {
            if self.stop.load(Ordering::Relaxed) {
                ledger.submit(&mut *executor, Expected::State, message(Job::Save { step }))?;
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
                self.submit_validation(&mut *executor, &mut ledger, epoch, sink)?;
            }
            if done % self.checkpoint.every_steps == 0 && done < self.n_steps() {
                ledger.submit(
                    &mut *executor,
                    Expected::State,
                    message(Job::Save { step: done }),
                )?;
            }
        }
        ledger.settle(&mut *executor, sink)?;
        let trainers = executor.finish()?;
        Ok(Outcome::Finished(
            trainers.iter().map(BlockTrainer::block).collect(),
        ))
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
        let targets = batch
            .ages_years
            .iter()
            .map(|age| self.scaling.standardize(*age))
            .collect();
        let job = Job::Train {
            step,
            learning_rate,
            samples: batch.samples,
            targets,
        };
        let expected = Expected::Step {
            step,
            epoch,
            learning_rate,
            n: batch.ages_years.len(),
        };
        ledger.submit(
            executor,
            expected,
            Message {
                job,
                features: Some(batch.volumes),
            },
        )
    }

    fn submit_validation(
        &self,
        executor: &mut dyn Executor,
        ledger: &mut Ledger<'_>,
        epoch: u64,
        sink: &mut dyn EventSink,
    ) -> Result<(), Error> {
        let all: Vec<usize> = (0..self.validation.len()).collect();
        let batches = all.chunks(self.plan.batch_size);
        let last = batches.len().saturating_sub(1);
        for (batch, members) in batches.enumerate() {
            let loaded = load_batch(self.validation, members, None, &Device::flex())?;
            let message = Message {
                job: Job::Estimate { batch },
                features: Some(loaded.volumes),
            };
            let ages_years = loaded.ages_years;
            let expected = Expected::Estimates {
                epoch,
                ages_years,
                last: batch == last,
            };
            ledger.submit(executor, expected, message)?;
            ledger.collect(executor, sink)?;
        }
        Ok(())
    }
}

fn message(job: Job) -> Message {
    Message {
        job,
        features: None,
    }
}

/// What answers to a job mean.
enum Expected {
    Step {
        step: u64,
        epoch: u64,
        learning_rate: f64,
        n: usize,
    },
    Epoch {
        epoch: u64,
        data_wait_share: f64,
    },
    Estimates {
        epoch: u64,
        ages_years: Vec<f64>,
        last: bool,
    },
    State,
}

/// A job that not all blocks have answered yet.
struct Pending {
    expected: Expected,
    answers: Vec<Option<Answer>>,
}

/// Jobs under way in the order they were sent; turns complete answers into events and checkpoints.
struct Ledger<'a> {
    training: &'a Training<'a>,
    n_blocks: usize,
    pending: VecDeque<Pending>,
    progress: Progress,
    /// Absolute errors of the validation set under way, years, and how many.
    validation: (Vec<f64>, usize),
}

impl<'a> Ledger<'a> {
    fn new(training: &'a Training<'a>, n_blocks: usize, mut progress: Progress) -> Self {
        progress.error_sums.resize(n_blocks, 0.0);
        let validation = (vec![0.0; n_blocks], 0);
        Self {
            training,
            n_blocks,
            pending: VecDeque::new(),
            progress,
            validation,
        }
    }

    fn submit(
        &mut self,
        executor: &mut dyn Executor,
        expected: Expected,
        message: Message,
    ) -> Result<(), Error> {
        let answers = (0..self.n_blocks).map(|_| None).collect();
        self.pending.push_back(Pending { expected, answers });
        executor.submit(message)
    }

    /// Takes in what has been answered so far.
    fn collect(
        &mut self,
        executor: &mut dyn Executor,
        sink: &mut dyn EventSink,
    ) -> Result<(), Error> {
        while let Some(report) = executor.try_receive()? {
            self.note(report.block, report.answer);
        }
        self.conclude(sink)
    }

    /// Waits until all jobs are answered.
    fn settle(
        &mut self,
        executor: &mut dyn Executor,
        sink: &mut dyn EventSink,
    ) -> Result<(), Error> {
        while !self.pending.is_empty() {
            let report = executor.receive()?;
            self.note(report.block, report.answer);
            self.conclude(sink)?;
        }
        Ok(())
    }

    /// A block answers jobs in order, so its answer belongs to the first job that lacks one of it.
    fn note(&mut self, block: usize, answer: Answer) {
        let waiting = self
            .pending
            .iter_mut()
            .map(|pending| &mut pending.answers[block]);
        if let Some(slot) = waiting.into_iter().find(|slot| slot.is_none()) {
            *slot = Some(answer);
        }
    }

    fn conclude(&mut self, sink: &mut dyn EventSink) -> Result<(), Error> {
        while let Some(front) = self
            .pending
            .pop_front_if(|p| p.answers.iter().all(Option::is_some))
        {
            let answers = front.answers.into_iter().flatten().collect();
            if let Some(event) = self.event(front.expected, answers)? {
                sink.emit(&event)?;
            }
        }
        Ok(())
    }

    fn event(&mut self, expected: Expected, answers: Vec<Answer>) -> Result<Option<Event>, Error> {
        match expected {
            Expected::Step {
                step,
                epoch,
                learning_rate,
                n,
            } => Ok(Some(self.step_event(
                (step, epoch),
                learning_rate,
                n,
                &answers,
            ))),
            Expected::Epoch {
                epoch,
                data_wait_share,
            } => Ok(Some(self.epoch_event(epoch, data_wait_share, &answers))),
            Expected::Estimates {
                epoch,
                ages_years,
                last,
            } => Ok(self.validation_event(epoch, &ages_years, last, &answers)),
            Expected::State => {
                let blocks = answers.into_iter().filter_map(|answer| match answer {
                    Answer::Saved(state) => Some(state),
                    _ => None,
                });
                let checkpoint = Checkpoint {
                    progress: self.progress.clone(),
                    blocks: blocks.collect(),
                };
                self.training.checkpoints.save(&checkpoint)?;
                Ok(Some(Event::Checkpoint {
                    step: self.progress.step,
                }))
            }
        }
    }

    fn step_event(
        &mut self,
        (step, epoch): (u64, u64),
        learning_rate: f64,
        n: usize,
        answers: &[Answer],
    ) -> Event {
        let sd_years = self.training.scaling.sd_years;
        let (mut mae_years, mut losses) = (Vec::new(), Vec::new());
        for (answer, sum) in answers.iter().zip(&mut self.progress.error_sums) {
            if let Answer::Trained { loss, error, .. } = answer {
                *sum += f64::from(*error) * n as f64;
                mae_years.push(f64::from(*error) * sd_years);
                losses.push(f64::from(*loss));
            }
        }
        self.progress.n_samples += n as u64;
        self.progress.step = step + 1;
        Event::Step {
            step,
            epoch,
            learning_rate,
            mae_years,
            loss: losses,
        }
    }

    fn epoch_event(&mut self, epoch: u64, data_wait_share: f64, answers: &[Answer]) -> Event {
        let scale = self.training.scaling.sd_years / self.progress.n_samples.max(1) as f64;
        let mae_years = self
            .progress
            .error_sums
            .iter()
            .map(|sum| sum * scale)
            .collect();
        let orthogonality_error = answers.iter().map(|answer| match answer {
            Answer::Inspected {
                orthogonality_error,
                ..
            } => f64::from(*orthogonality_error),
            _ => f64::NAN,
        });
        let orthogonality_error = orthogonality_error.collect();
        self.progress.n_samples = 0;
        self.progress.error_sums.fill(0.0);
        Event::Epoch {
            epoch,
            step: self.progress.step,
            mae_years,
            orthogonality_error,
            data_wait_share,
        }
    }

    fn validation_event(
        &mut self,
        epoch: u64,
        ages_years: &[f64],
        last: bool,
        answers: &[Answer],
    ) -> Option<Event> {
        let scaling = self.training.scaling;
        let (sums, n) = &mut self.validation;
        for (answer, sum) in answers.iter().zip(sums.iter_mut()) {
            if let Answer::Estimated { values, .. } = answer {
                let gaps = values.iter().zip(ages_years);
                *sum += gaps
                    .map(|(v, age)| (scaling.years(*v) - age).abs())
                    .sum::<f64>();
            }
        }
        *n += ages_years.len();
        if !last {
            return None;
        }
        let mae_years = sums.iter().map(|sum| sum / *n as f64).collect();
        let event = Event::Validation {
            epoch,
            step: self.progress.step,
            n: *n,
            mae_years,
        };
        sums.fill(0.0);
        *n = 0;
        Some(event)
    }
}
