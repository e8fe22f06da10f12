//! How busy the workers are: counters that their threads write and anyone may read while they run.
//!
//! What they say is not the same in two runs; nothing that a training computes may depend on it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// The counters of one worker.
#[derive(Debug)]
pub struct Meter {
    device: String,
    started: Instant,
    /// Messages that the queue before the worker holds; 0: there is none.
    capacity: usize,
    /// Time spent on messages that are done.
    busy_nanos: AtomicU64,
    /// When work on the message in hand began, after `started`; 0: there is none.
    busy_since_nanos: AtomicU64,
    n_taken: AtomicU64,
    /// Sum over the messages taken of how many waited behind each.
    waiting_sum: AtomicU64,
    n_waiting: AtomicU64,
}

/// What a worker did between two looks at its meter.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Load {
    /// Share of the time, 0 to 1, that the worker worked on a message.
    pub busy_share: f64,
    /// Share of its queue, 0 to 1, that was full when it took a message, on average; 0 without a queue.
    pub queue_fill: f64,
}

/// Counters at one time.
#[derive(Clone, Copy, Debug, Default)]
struct Reading {
    at: Duration,
    busy: Duration,
    n_taken: u64,
    waiting_sum: u64,
}

impl Meter {
    /// Of a worker with these devices and a queue of `capacity` messages.
    pub(super) fn new(device: String, capacity: usize) -> Self {
        Self {
            device,
            started: Instant::now(),
            capacity,
            busy_nanos: AtomicU64::new(0),
            busy_since_nanos: AtomicU64::new(0),
            n_taken: AtomicU64::new(0),
            waiting_sum: AtomicU64::new(0),
            n_waiting: AtomicU64::new(0),
        }
    }

    /// Name of the worker's device.
    pub fn device(&self) -> &str {
        &self.device
    }

    /// Messages that wait before the worker, one that does not fit into the queue yet included.
    pub fn n_waiting(&self) -> u64 {
        self.n_waiting.load(Ordering::Relaxed)
    }

    /// Does the worker's work on a message, and counts the time.
    pub(super) fn time<T>(&self, work: impl FnOnce() -> T) -> T {
        let begin = self.nanos();
        self.busy_since_nanos.store(begin.max(1), Ordering::Relaxed);
        let done = work();
        self.busy_since_nanos.store(0, Ordering::Relaxed);
        self.busy_nanos
            .fetch_add(self.nanos().saturating_sub(begin), Ordering::Relaxed);
        done
    }

    fn nanos(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    fn take_one(&self) {
        let before = self.n_waiting.fetch_sub(1, Ordering::Relaxed);
        let behind = before.saturating_sub(1).min(self.capacity as u64);
        self.n_taken.fetch_add(1, Ordering::Relaxed);
        self.waiting_sum.fetch_add(behind, Ordering::Relaxed);
    }

    fn reading(&self) -> Reading {
        let now = self.nanos();
        let in_hand = match self.busy_since_nanos.load(Ordering::Relaxed) {
            0 => 0,
            since => now.saturating_sub(since),
        };
        Reading {
            at: Duration::from_nanos(now),
            busy: Duration::from_nanos(self.busy_nanos.load(Ordering::Relaxed) + in_hand),
            n_taken: self.n_taken.load(Ordering::Relaxed),
            waiting_sum: self.waiting_sum.load(Ordering::Relaxed),
        }
    }

    fn load(&self, before: Reading, now: Reading) -> Load {
        let passed = now.at.saturating_sub(before.at).as_secs_f64();
        let busy = now.busy.saturating_sub(before.busy).as_secs_f64();
        let places = (now.n_taken - before.n_taken) * self.capacity as u64;
        let waited = now.waiting_sum.saturating_sub(before.waiting_sum);
        let share = |part: f64, whole: f64| match whole {
            0.0 => 0.0,
            _ => (part / whole).min(1.0),
        };
        Load {
            busy_share: share(busy, passed),
            queue_fill: share(waited as f64, places as f64),
        }
    }
}

/// A meter for each head of a network, in order: that of the worker which has the head's block.
#[derive(Clone, Debug)]
pub struct Meters {
    of_heads: Vec<Arc<Meter>>,
    before: Vec<Reading>,
}

impl Meters {
    pub(super) fn new(of_heads: Vec<Arc<Meter>>) -> Self {
        let before = of_heads.iter().map(|_| Reading::default()).collect();
        Self { of_heads, before }
    }

    /// One for each head; a block has one, but for deep supervision.
    pub fn of_heads(&self) -> &[Arc<Meter>] {
        &self.of_heads
    }

    /// The load of each head's worker since the last call, or since the worker began.
    pub fn take_loads(&mut self) -> Vec<Load> {
        let meters = self.of_heads.iter().zip(&mut self.before);
        meters
            .map(|(meter, before)| {
                let now = meter.reading();
                meter.load(std::mem::replace(before, now), now)
            })
            .collect()
    }
}

/// A bounded queue whose messages a meter counts.
pub(super) fn metered_queue<T>(meter: &Arc<Meter>) -> (Sender<T>, Receiver<T>) {
    let (sender, receiver) = mpsc::sync_channel(meter.capacity);
    let sender = Sender {
        sender,
        meter: Arc::clone(meter),
    };
    let receiver = Receiver {
        receiver,
        meter: Arc::clone(meter),
    };
    (sender, receiver)
}

/// The end of a queue where messages go in.
pub(super) struct Sender<T> {
    sender: mpsc::SyncSender<T>,
    meter: Arc<Meter>,
}

impl<T> Sender<T> {
    /// Waits while the queue is full; gives the message back where nobody takes any more.
    pub(super) fn send(&self, message: T) -> Result<(), mpsc::SendError<T>> {
        // Before it is there, so that it is never taken before it is counted.
        self.meter.n_waiting.fetch_add(1, Ordering::Relaxed);
        self.sender.send(message).inspect_err(|_refused| {
            self.meter.n_waiting.fetch_sub(1, Ordering::Relaxed);
        })
    }
}

/// The end of a queue where messages come out.
pub(super) struct Receiver<T> {
    receiver: mpsc::Receiver<T>,
    meter: Arc<Meter>,
}

impl<T> Receiver<T> {
    /// The next message; `None` after the last one.
    pub(super) fn next(&self) -> Option<T> {
        let message = self.receiver.recv().ok()?;
        self.meter.take_one();
        Some(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_load_is_the_share_of_the_time_and_of_the_queue_between_two_readings() {
        let meter = Meter::new("cpu:0".into(), 2);
        let reading = |at, busy, n_taken, waiting_sum| Reading {
            at: Duration::from_secs(at),
            busy: Duration::from_secs(busy),
            n_taken,
            waiting_sum,
        };
        let load = meter.load(reading(10, 4, 5, 6), reading(20, 11, 9, 8));
        assert_eq!(load.busy_share, 0.7);
        assert_eq!(load.queue_fill, 0.25);
        let still = reading(20, 11, 9, 8);
        assert_eq!(meter.load(still, still), Load::default());
        let without_queue = Meter::new("cpu".into(), 0);
        let load = without_queue.load(Reading::default(), reading(2, 1, 0, 0));
        assert_eq!((load.busy_share, load.queue_fill), (0.5, 0.0));
    }

    #[test]
    fn messages_are_counted_from_the_moment_they_are_sent_until_they_are_taken() {
        let meter = Arc::new(Meter::new("cpu:0".into(), 2));
        let (sender, receiver) = metered_queue(&meter);
        for message in [1, 2] {
            sender.send(message).unwrap();
        }
        assert_eq!(meter.n_waiting(), 2);
        assert_eq!((receiver.next(), meter.n_waiting()), (Some(1), 1));
        assert_eq!((receiver.next(), meter.n_waiting()), (Some(2), 0));
        // One of two places was full when the first was taken, none when the second was.
        let mut meters = Meters::new(vec![Arc::clone(&meter)]);
        assert_eq!(meters.take_loads()[0].queue_fill, 0.25);
        assert_eq!(meters.take_loads()[0].queue_fill, 0.0);
        drop(receiver);
        assert!(sender.send(3).is_err());
        assert_eq!(meter.n_waiting(), 0);
    }

    #[test]
    fn work_counts_while_it_is_in_hand_and_afterwards() {
        let meter = Arc::new(Meter::new("cpu:0".into(), 2));
        let mut meters = Meters::new(vec![Arc::clone(&meter)]);
        assert_eq!(meters.take_loads()[0].busy_share, 0.0);
        let (during, answer) = meter.time(|| {
            std::hint::black_box((0..1000_u64).map(std::hint::black_box).sum::<u64>());
            (meters.take_loads()[0].busy_share, 7)
        });
        assert!(during > 0.0 && during <= 1.0, "{during}");
        assert_eq!(answer, 7);
        assert!(meter.reading().busy > Duration::ZERO);
    }
}
