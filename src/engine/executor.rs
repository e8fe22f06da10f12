//! Who runs the blocks: one after the other, or all at once on successive batches.
//!
//! A pipelined executor has one thread for each device with a bounded queue before it, so a slow block holds the others
//! back and memory stays bounded. Both executors do the same sums in the same order for each block: same bits.

use std::any::Any;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;

use super::meter::{Meter, Meters, Receiver, Sender, metered_queue};
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

    /// How busy the workers are; may be read while they work.
    fn meters(&self) -> Meters;

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
    fn meter(&self, queue: usize) -> Arc<Meter> {
        Arc::new(Meter::new(self.devices.clone(), queue))
    }

    /// Takes a message through all blocks of the worker. `step` is that of the run and kept for jobs that have none.
    fn handle(
        &mut self,
        step: &mut u64,
        mut message: Message,
        mut report: impl FnMut(Report) + Send,
    ) -> Result<Message, Error> {
        let Self { devices, blocks } = self;
        *step = step_of(&message.job).unwrap_or(*step);
        let mut in_hand = 0;
        let through = AssertUnwindSafe(|| {
            for block in blocks.iter_mut() {
                in_hand = block.number();
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
        let outcome = catch_unwind(through);
        outcome
            .unwrap_or_else(|panic| Err(panicked(&*panic)))
            .map_err(|cause| Error::Block {
                device: devices.clone(),
                block: in_hand + 1,
                step: *step,
                cause: Box::new(cause),
            })
    }
}

fn step_of(job: &Job) -> Option<u64> {
    match job {
        Job::Train { step, .. } | Job::Save { step } => Some(*step),
        Job::Estimate { .. } | Job::Inspect { .. } => None,
    }
}

fn meters_of<'a>(workers: impl Iterator<Item = (&'a Worker, &'a Arc<Meter>)>) -> Meters {
    let of_heads = workers.flat_map(|(worker, meter)| {
        let n_heads = worker.blocks.iter().map(BlockTrainer::n_heads).sum();
        std::iter::repeat_n(Arc::clone(meter), n_heads)
    });
    Meters::new(of_heads.collect())
}

fn panicked(panic: &(dyn Any + Send)) -> Error {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    Error::Panic(text.unwrap_or("a panic without words").to_owned())
}

/// All blocks in the calling thread, one job after the other.
pub struct Sequential {
    workers: Vec<(Worker, Arc<Meter>)>,
    step: u64,
    reports: VecDeque<Report>,
}

impl Sequential {
    /// Takes the workers in the order of their blocks.
    pub fn new(workers: Vec<Worker>) -> Self {
        let metered = |worker: Worker| {
            let meter = worker.meter(0);
            (worker, meter)
        };
        Self {
            workers: workers.into_iter().map(metered).collect(),
            step: 0,
            reports: VecDeque::new(),
        }
    }
}

impl Executor for Sequential {
    fn submit(&mut self, message: Message) -> Result<(), Error> {
        let Self {
            workers,
            step,
            reports,
        } = self;
        workers
            .iter_mut()
            .try_fold(message, |message, (worker, meter)| {
                meter.time(|| worker.handle(step, message, |r| reports.push_back(r)))
            })?;
        Ok(())
    }

    fn try_receive(&mut self) -> Result<Option<Report>, Error> {
        Ok(self.reports.pop_front())
    }

    fn receive(&mut self) -> Result<Report, Error> {
        self.reports.pop_front().ok_or_else(no_report)
    }

    fn meters(&self) -> Meters {
        meters_of(self.workers.iter().map(|(worker, meter)| (worker, meter)))
    }

    fn finish(self: Box<Self>) -> Result<Vec<BlockTrainer>, Error> {
        Ok(self
            .workers
            .into_iter()
            .flat_map(|(worker, _)| worker.blocks)
            .collect())
    }
}

/// One thread for each device; successive batches are worked on at once.
pub struct Pipelined {
    first: Sender<Message>,
    meters: Meters,
    reports: mpsc::Receiver<Result<Report, Error>>,
    threads: Vec<JoinHandle<Vec<BlockTrainer>>>,
}

impl Pipelined {
    /// Starts the threads.
    ///
    /// # Errors
    /// [`Error::Block`] where the system gives no thread.
    pub fn start(workers: Vec<Worker>) -> Result<Self, Error> {
        let (report, reports) = mpsc::channel();
        let mut threads = Vec::with_capacity(workers.len());
        let meter_of_each: Vec<Arc<Meter>> = workers.iter().map(|w| w.meter(QUEUE)).collect();
        let meters = meters_of(workers.iter().zip(&meter_of_each));
        let mut next: Option<Sender<Message>> = None;
        for (mut worker, meter) in workers.into_iter().zip(meter_of_each).rev() {
            let (sender, inbox) = metered_queue(&meter);
            let onward = next.replace(sender);
            let report = report.clone();
            let name = worker.devices.clone();
            let block = worker.blocks.first().map_or(0, BlockTrainer::number) + 1;
            let thread = std::thread::Builder::new()
                .name(format!("worker {name}"))
                .spawn(move || {
                    run(&mut worker, &meter, &inbox, onward.as_ref(), &report);
                    worker.blocks
                });
            threads.push(thread.map_err(|error| Error::Block {
                device: name,
                block,
                step: 0,
                cause: Box::new(error.into()),
            })?);
        }
        threads.reverse();
        let first = next.ok_or_else(|| Error::Data("a network without blocks".into()))?;
        Ok(Self {
            first,
            meters,
            reports,
            threads,
        })
    }
}

/// A worker's life: until the queue before it closes, it or a later worker fails.
fn run(
    worker: &mut Worker,
    meter: &Meter,
    inbox: &Receiver<Message>,
    onward: Option<&Sender<Message>>,
    reports: &mpsc::Sender<Result<Report, Error>>,
) {
    let mut step = 0;
    while let Some(message) = inbox.next() {
        // Nobody listens any more only when the run is being given up.
        let report = |report| drop(reports.send(Ok(report)));
        let outcome = meter.time(|| worker.handle(&mut step, message, report));
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

    fn meters(&self) -> Meters {
        self.meters.clone()
    }

    fn finish(self: Box<Self>) -> Result<Vec<BlockTrainer>, Error> {
        let Self {
            first,
            reports,
            threads,
            ..
        } = *self;
        drop(first);
        let mut blocks = Vec::new();
        for thread in threads {
            blocks.extend(thread.join().map_err(|panic| panicked(&*panic))?);
        }
        reports
            .into_iter()
            .find_map(Result::err)
            .map_or(Ok(blocks), Err)
    }
}

fn no_report() -> Error {
    Error::Panic("a worker ended without a report".into())
}
