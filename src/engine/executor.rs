//! Who runs the blocks: one after the other, or all at once on successive batches.
//!
//! A pipelined executor has one thread for each device with a bounded queue before it, so a slow block holds the others
//! back and memory stays bounded. Both executors do the same sums in the same order for each block: same bits.

use std::any::Any;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc;
use std::thread::JoinHandle;

use super::worker::{Answer, BlockTrainer, Job, Message};
use crate::Error;

/// Messages that wait before each worker.
const QUEUE: usize = 2;

/// What one block said.
#[derive(Debug)]
pub struct Report {
    /// Number of the block, from 0.
    pub block: usize,
    /// Its answer.
    pub answer: Answer,
}

/// Sends jobs through the blocks and collects what they say.
pub trait Executor {
    /// Sends a job; waits while the first queue is full.
    ///
    /// # Errors
    /// What stopped a worker.
    fn submit(&mut self, message: Message) -> Result<(), Error>;

    /// The next report if there is one already.
    ///
    /// # Errors
    /// What stopped a worker.
    fn try_receive(&mut self) -> Result<Option<Report>, Error>;

    /// Waits for the next report; call it only while a job is under way.
    ///
    /// # Errors
    /// What stopped a worker.
    fn receive(&mut self) -> Result<Report, Error>;

    /// Lets all jobs end and gives the blocks back, in order.
    ///
    /// # Errors
    /// What stopped a worker.
    fn finish(self: Box<Self>) -> Result<Vec<BlockTrainer>, Error>;
}

/// A device, or several that split each batch, with the blocks that live there.
pub struct Worker {
    /// Names of the devices.
    pub devices: String,
    /// Blocks, in order.
    pub blocks: Vec<BlockTrainer>,
}

impl Worker {
    /// Takes a message through all blocks of the worker.
    fn handle(
        &mut self,
        mut message: Message,
        mut report: impl FnMut(Report) + Send,
    ) -> Result<Message, Error> {
        let Self { devices, blocks } = self;
        let step = step_of(&message.job);
        let through = AssertUnwindSafe(|| {
            for block in blocks.iter_mut() {
                let (answer, next) = block.handle(message)?;
                report(Report {
                    block: block.number(),
                    answer,
                });
                message = next;
            }
            Ok(message)
        });
        // A device's driver panics rather than answer; the run must end with its words, not hang.
        catch_unwind(through).unwrap_or_else(|panic| {
            Err(Error::Worker {
                device: devices.clone(),
                step,
                reason: words_of(&*panic),
            })
        })
    }
}

fn step_of(job: &Job) -> u64 {
    match job {
        Job::Train { step, .. } | Job::Save { step } => *step,
        Job::Estimate { .. } | Job::Inspect { .. } => 0,
    }
}

fn words_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("unknown")
        .to_owned()
}

/// All blocks in the calling thread, one job after the other.
pub struct Sequential {
    workers: Vec<Worker>,
    reports: VecDeque<Report>,
}

impl Sequential {
    /// Takes the workers in the order of their blocks.
    pub fn new(workers: Vec<Worker>) -> Self {
        Self {
            workers,
            reports: VecDeque::new(),
        }
    }
}

impl Executor for Sequential {
    fn submit(&mut self, message: Message) -> Result<(), Error> {
        let reports = &mut self.reports;
        self.workers
            .iter_mut()
            .try_fold(message, |message, worker| {
                worker.handle(message, |r| reports.push_back(r))
            })?;
        Ok(())
    }

    fn try_receive(&mut self) -> Result<Option<Report>, Error> {
        Ok(self.reports.pop_front())
    }

    fn receive(&mut self) -> Result<Report, Error> {
        self.reports.pop_front().ok_or_else(no_report)
    }

    fn finish(self: Box<Self>) -> Result<Vec<BlockTrainer>, Error> {
        Ok(self
            .workers
            .into_iter()
            .flat_map(|worker| worker.blocks)
            .collect())
    }
}

/// One thread for each device; successive batches are worked on at once.
pub struct Pipelined {
    first: mpsc::SyncSender<Message>,
    reports: mpsc::Receiver<Result<Report, Error>>,
    threads: Vec<JoinHandle<Vec<BlockTrainer>>>,
}

impl Pipelined {
    /// Starts the threads.
    ///
    /// # Errors
    /// [`Error::Worker`] where the system gives no thread.
    pub fn start(workers: Vec<Worker>) -> Result<Self, Error> {
        let (report, reports) = mpsc::channel();
        let mut threads = Vec::with_capacity(workers.len());
        let mut next: Option<mpsc::SyncSender<Message>> = None;
        for mut worker in workers.into_iter().rev() {
            let (sender, inbox) = mpsc::sync_channel(QUEUE);
            let onward = next.replace(sender);
            let report = report.clone();
            let name = worker.devices.clone();
            let thread = std::thread::Builder::new()
                .name(format!("worker {name}"))
                .spawn(move || {
                    run(&mut worker, &inbox, onward.as_ref(), &report);
                    worker.blocks
                });
            threads.push(thread.map_err(|error| Error::Worker {
                device: name,
                step: 0,
                reason: format!("no thread could be started ({error})"),
            })?);
        }
        threads.reverse();
        let first = next.ok_or_else(|| Error::Data("a network without blocks".into()))?;
        Ok(Self {
            first,
            reports,
            threads,
        })
    }
}

/// A worker's life: until the queue before it closes, it or a later worker fails.
fn run(
    worker: &mut Worker,
    inbox: &mpsc::Receiver<Message>,
    onward: Option<&mpsc::SyncSender<Message>>,
    reports: &mpsc::Sender<Result<Report, Error>>,
) {
    for message in inbox {
        let outcome = worker.handle(message, |report| {
            // Nobody listens any more only when the run is being given up.
            reports.send(Ok(report)).ok();
        });
        match (outcome, onward) {
            (Ok(message), Some(next)) => {
                if next.send(message).is_err() {
                    return;
                }
            }
            (Ok(_), None) => {}
            (Err(error), _) => {
                reports.send(Err(error)).ok();
                return;
            }
        }
    }
}

impl Executor for Pipelined {
    fn submit(&mut self, message: Message) -> Result<(), Error> {
        if self.first.send(message).is_ok() {
            return Ok(());
        }
        // The first worker is gone; its last word says why.
        loop {
            match self.reports.recv() {
                Ok(Ok(_)) => {}
                Ok(Err(error)) => return Err(error),
                Err(_) => return Err(no_report()),
            }
        }
    }

    fn try_receive(&mut self) -> Result<Option<Report>, Error> {
        match self.reports.try_recv() {
            Ok(report) => report.map(Some),
            Err(mpsc::TryRecvError::Empty) => Ok(None),
            Err(mpsc::TryRecvError::Disconnected) => Err(no_report()),
        }
    }

    fn receive(&mut self) -> Result<Report, Error> {
        self.reports.recv().unwrap_or_else(|_| Err(no_report()))
    }

    fn finish(self: Box<Self>) -> Result<Vec<BlockTrainer>, Error> {
        let Self {
            first,
            reports,
            threads,
        } = *self;
        drop(first);
        let mut blocks = Vec::new();
        for thread in threads {
            blocks.extend(thread.join().map_err(|panic| Error::Worker {
                device: "unknown".into(),
                step: 0,
                reason: words_of(&*panic),
            })?);
        }
        reports
            .into_iter()
            .find_map(Result::err)
            .map_or(Ok(blocks), Err)
    }
}

fn no_report() -> Error {
    Error::Worker {
        device: "unknown".into(),
        step: 0,
        reason: "no report came".into(),
    }
}
