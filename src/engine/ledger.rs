//! The jobs under way, and what their answers add up to: events for the sinks, states for the checkpoints.
//!
//! Blocks answer each job in the order in which jobs were sent, so complete answers leave in that order too, whatever the
//! executor.

use std::collections::VecDeque;
use std::time::Instant;

use super::checkpoint::{BestEpoch, Checkpoint, Checkpoints, Progress};
use super::event::{Event, EventSink};
use super::executor::Executor;
use super::meter::Meters;
use super::target::Metric;
use super::trainer::Training;
use super::worker::{Answer, Message};
use crate::Error;
use crate::data::batch::Truth;
use crate::process;

/// What answers to a job mean.
pub(super) enum Expected {
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
        truths: Vec<Truth>,
        last: bool,
    },
    State,
    /// The state after an epoch, kept if it is the best so far.
    Candidate {
        epoch: u64,
    },
}

/// A job that not all blocks have answered yet.
struct Pending {
    expected: Expected,
    answers: Vec<Option<Answer>>,
}

/// Tells the time between steps of an epoch.
#[derive(Default)]
struct StepClock {
    first: Option<Reading>,
    last: Option<Reading>,
    n_between: u32,
}

/// What clocks show.
#[derive(Clone, Copy)]
struct Reading {
    at: Instant,
    cpu_seconds: Option<f64>,
}

/// Means from one step to the next; none for fewer than two steps, or where the system does not tell.
#[derive(Default)]
struct StepTimes {
    seconds: Option<f64>,
    cpu_seconds: Option<f64>,
}

impl StepClock {
    /// A step is done.
    fn tick(&mut self) {
        let now = Reading {
            at: Instant::now(),
            cpu_seconds: process::cpu_seconds(),
        };
        if self.first.is_some() {
            self.n_between += 1;
        }
        self.first.get_or_insert(now);
        self.last = Some(now);
    }

    /// Times of the steps since the last call.
    fn take(&mut self) -> StepTimes {
        let clock = std::mem::take(self);
        let (Some(first), Some(last), 1..) = (clock.first, clock.last, clock.n_between) else {
            return StepTimes::default();
        };
        let n = f64::from(clock.n_between);
        let cpu = first.cpu_seconds.zip(last.cpu_seconds);
        StepTimes {
            seconds: Some(last.at.duration_since(first.at).as_secs_f64() / n),
            cpu_seconds: cpu.map(|(first, last)| (last - first) / n),
        }
    }
}

/// Jobs under way in the order they were sent; turns complete answers into events and checkpoints.
pub(super) struct Ledger<'a> {
    checkpoints: &'a Checkpoints,
    metric: Metric,
    n_blocks: usize,
    meters: Meters,
    pending: VecDeque<Pending>,
    pub(super) progress: Progress,
    /// Errors on the validation set under way, and how many.
    validation: (Vec<f64>, usize),
    clock: StepClock,
}

impl<'a> Ledger<'a> {
    pub(super) fn new(
        training: &Training<'a>,
        n_blocks: usize,
        meters: Meters,
        mut progress: Progress,
    ) -> Self {
        let n_heads = meters.of_heads().len();
        progress.error_sums.resize(n_heads, 0.0);
        let validation = (vec![0.0; n_heads], 0);
        Self {
            checkpoints: training.checkpoints,
            metric: training.metric,
            n_blocks,
            meters,
            pending: VecDeque::new(),
            progress,
            validation,
            clock: StepClock::default(),
        }
    }

    pub(super) fn submit(
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
    pub(super) fn collect(
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
    pub(super) fn settle(
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
                truths,
                last,
            } => Ok(self.validation_event(epoch, &truths, last, &answers)),
            Expected::State => {
                self.checkpoints.save(&self.checkpoint(answers))?;
                Ok(Some(Event::Checkpoint {
                    step: self.progress.step,
                }))
            }
            Expected::Candidate { epoch } => {
                if self.progress.best.is_some_and(|best| best.epoch == epoch) {
                    let checkpoint = self.checkpoint(answers);
                    self.checkpoints.save_best(&checkpoint, epoch)?;
                }
                Ok(None)
            }
        }
    }

    fn checkpoint(&self, answers: Vec<Answer>) -> Checkpoint {
        let blocks = answers.into_iter().filter_map(|answer| match answer {
            Answer::Saved(state) => Some(state),
            _ => None,
        });
        Checkpoint {
            progress: self.progress.clone(),
            blocks: blocks.collect(),
        }
    }

    fn step_event(
        &mut self,
        (step, epoch): (u64, u64),
        learning_rate: f64,
        n: usize,
        answers: &[Answer],
    ) -> Event {
        let (mut errors, mut loss) = (Vec::new(), Vec::new());
        for answer in answers {
            if let Answer::Trained {
                losses,
                errors: of_block,
                ..
            } = answer
            {
                errors.extend(of_block);
                loss.extend(losses);
            }
        }
        for (error, sum) in errors.iter().zip(&mut self.progress.error_sums) {
            *sum += error * n as f64;
        }
        self.progress.n_samples += n as u64;
        self.progress.step = step + 1;
        self.clock.tick();
        let [mae_years, error_percent] = self.metric.columns(errors);
        Event::Step {
            step,
            epoch,
            learning_rate,
            mae_years,
            error_percent,
            loss,
        }
    }

    fn epoch_event(&mut self, epoch: u64, data_wait_share: f64, answers: &[Answer]) -> Event {
        let loads = self.meters.take_loads();
        let times = self.clock.take();
        let n_samples = self.progress.n_samples.max(1) as f64;
        let sums = self.progress.error_sums.iter();
        let of_epoch = sums.map(|sum| sum / n_samples).collect();
        let [mae_years, error_percent] = self.metric.columns(of_epoch);
        let errors = answers.iter().map(|answer| match answer {
            Answer::Inspected {
                orthogonality_errors,
                ..
            } => orthogonality_errors.clone(),
            _ => Vec::new(),
        });
        let orthogonality_error = errors.collect();
        self.progress.n_samples = 0;
        self.progress.error_sums.fill(0.0);
        Event::Epoch {
            epoch,
            step: self.progress.step,
            mae_years,
            error_percent,
            orthogonality_error,
            data_wait_share,
            busy_share: loads.iter().map(|load| load.busy_share).collect(),
            queue_fill: loads.iter().map(|load| load.queue_fill).collect(),
            seconds_per_step: times.seconds,
            cpu_seconds_per_step: times.cpu_seconds,
            peak_memory_bytes: process::peak(),
        }
    }

    fn validation_event(
        &mut self,
        epoch: u64,
        truths: &[Truth],
        last: bool,
        answers: &[Answer],
    ) -> Option<Event> {
        let (sums, n) = &mut self.validation;
        let of_heads = answers.iter().flat_map(|answer| match answer {
            Answer::Estimated { estimates, .. } => estimates.as_slice(),
            _ => &[],
        });
        for (estimates, sum) in of_heads.zip(sums.iter_mut()) {
            let pairs = estimates.iter().zip(truths);
            *sum += pairs
                .map(|(estimate, truth)| self.metric.error(*estimate, *truth))
                .sum::<f64>();
        }
        *n += truths.len();
        if !last {
            return None;
        }
        let errors: Vec<f64> = sums.iter().map(|sum| sum / *n as f64).collect();
        let best = self.progress.best.map_or(f64::INFINITY, |best| best.error);
        if let Some(error) = errors.last().copied().filter(|error| *error < best) {
            self.progress.best = Some(BestEpoch { epoch, error });
        }
        let [mae_years, error_percent] = self.metric.columns(errors);
        let event = Event::Validation {
            epoch,
            step: self.progress.step,
            n: *n,
            mae_years,
            error_percent,
        };
        sums.fill(0.0);
        *n = 0;
        Some(event)
    }
}
