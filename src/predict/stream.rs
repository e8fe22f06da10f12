//! Many scans, one after the other through preprocessing and network at once, in the order in which they were given.
//!
//! Some threads preprocess; the caller's thread predicts what comes out, while they are at the next scans. Scans are handed out in
//! order, and never further than a few ahead of the first one that is not told yet, so that what is told in order does not
//! wait in memory, and a kill loses no more than those few.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Condvar, Mutex, PoisonError, mpsc};

use brainage_pipelines::batch::{Batch, ScanReport, preprocess_scans};

use crate::Error;

/// Scans in work or waiting, for each preprocessing thread.
const AHEAD_PER_JOB: usize = 4;

/// Preprocesses scans on `n_jobs` threads; `predict` makes a row of each report as it comes, `tell` takes the rows in
/// the order of `scans`. Both run on the caller's thread. Where the batch is stopped, scans that were not begun are not
/// told; the answer is how many were told.
///
/// # Errors
/// The first one of `tell`, after which nothing more is begun; [`Error::Data`] where there are no threads to be had.
pub fn predict_stream<R, E: From<Error>>(
    scans: &[PathBuf],
    batch: &Batch<'_>,
    n_jobs: usize,
    predict: &mut dyn FnMut(&ScanReport) -> R,
    tell: &mut dyn FnMut(R) -> Result<(), E>,
) -> Result<usize, E> {
    let n_jobs = n_jobs.max(1);
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(n_jobs)
        .thread_name(|number| format!("preprocess/{number}"))
        .build()
        .map_err(|error| Error::Data(format!("no threads to preprocess with ({error})")))?;
    let queue = Queue::new(scans.len(), n_jobs * AHEAD_PER_JOB);
    let (send, receive) = mpsc::channel();
    std::thread::scope(|threads| {
        let (queue, pool) = (&queue, &pool);
        threads.spawn(move || {
            pool.in_place_scope(|scope| {
                for _ in 0..n_jobs {
                    let send = send.clone();
                    scope.spawn(move |_| {
                        while let Some(number) = queue.take() {
                            let one = scans.get(number..=number).unwrap_or_default();
                            if batch.stop.load(Ordering::Relaxed) {
                                queue.close();
                                break;
                            }
                            let report = preprocess_scans(one, batch, &|_, _| {}).pop();
                            if send.send((number, report)).is_err() {
                                break;
                            }
                        }
                    });
                }
                drop(send);
            });
        });
        // However this ends, the threads must not wait for it.
        let _closed = CloseAtEnd(queue);
        let mut waiting = BTreeMap::new();
        let mut n_told = 0;
        for (number, report) in receive {
            let Some(report) = report else { continue };
            waiting.insert(number, predict(&report));
            while let Some(row) = waiting.remove(&n_told) {
                tell(row)?;
                n_told += 1;
                queue.told(n_told);
            }
        }
        Ok(n_told)
    })
}

/// Hands out numbers in order, not too far ahead.
struct Queue {
    place: Mutex<Place>,
    moved: Condvar,
    n_all: usize,
    ahead: usize,
}

struct Place {
    next: usize,
    n_told: usize,
    closed: bool,
}

impl Queue {
    fn new(n_all: usize, ahead: usize) -> Self {
        let place = Place {
            next: 0,
            n_told: 0,
            closed: false,
        };
        Self {
            place: Mutex::new(place),
            moved: Condvar::new(),
            n_all,
            ahead,
        }
    }

    /// The next number, once it is not too far ahead; `None` at the end.
    fn take(&self) -> Option<usize> {
        let mut place = self.place.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if place.closed || place.next >= self.n_all {
                return None;
            }
            if place.next < place.n_told + self.ahead {
                place.next += 1;
                return Some(place.next - 1);
            }
            place = self
                .moved
                .wait(place)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn told(&self, n_told: usize) {
        self.change(|place| place.n_told = n_told);
    }

    /// No more numbers: those who wait for one get none.
    fn close(&self) {
        self.change(|place| place.closed = true);
    }

    fn change(&self, change: impl FnOnce(&mut Place)) {
        change(&mut self.place.lock().unwrap_or_else(PoisonError::into_inner));
        self.moved.notify_all();
    }
}

struct CloseAtEnd<'a>(&'a Queue);

impl Drop for CloseAtEnd<'_> {
    fn drop(&mut self) {
        self.0.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicBool;

    use brainage_pipelines::batch::ScanOutcome;
    use brainage_pipelines::cache::Cache;
    use brainage_pipelines::format::ReadOptions;
    use brainage_pipelines::recipe::Recipe;
    use brainage_pipelines::template::template;

    /// Streams scans that do not exist: each is refused, by name.
    fn stream(
        n: usize,
        n_jobs: usize,
        stop: &AtomicBool,
        tell: &mut dyn FnMut(String) -> Result<(), Error>,
    ) -> Result<usize, Error> {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(folder.path()).unwrap();
        let recipe = Recipe::named("coarse").unwrap();
        let batch = Batch {
            read: ReadOptions::default(),
            recipe: &recipe,
            template: template().unwrap(),
            cache: &cache,
            stop,
        };
        let scans: Vec<PathBuf> = (0..n).map(|i| format!("none-{i}.nii").into()).collect();
        let mut name = |report: &ScanReport| {
            assert!(matches!(report.outcome, ScanOutcome::Refused { .. }));
            report.scan.display().to_string()
        };
        predict_stream(&scans, &batch, n_jobs, &mut name, tell)
    }

    #[test]
    fn rows_come_in_the_order_of_the_scans_whatever_the_number_of_threads() {
        for n_jobs in [1, 3] {
            let mut told = Vec::new();
            let never = AtomicBool::new(false);
            let n = stream(50, n_jobs, &never, &mut |row| {
                told.push(row);
                Ok(())
            });
            assert_eq!(n.unwrap(), 50);
            let expected: Vec<String> = (0..50).map(|i| format!("none-{i}.nii")).collect();
            assert_eq!(told, expected);
        }
    }

    #[test]
    fn a_row_that_cannot_be_written_ends_it_with_that_error() {
        let mut n_told = 0;
        let never = AtomicBool::new(false);
        let answer = stream(100, 2, &never, &mut |_| {
            n_told += 1;
            if n_told == 3 {
                Err(Error::Data("disk full".into()))
            } else {
                Ok(())
            }
        });
        assert!(answer.unwrap_err().to_string().contains("disk full"));
        assert_eq!(n_told, 3);
    }

    #[test]
    fn what_was_not_begun_when_it_was_stopped_is_not_told() {
        let stop = AtomicBool::new(true);
        let told = stream(10, 2, &stop, &mut |_| Ok(())).unwrap();
        assert_eq!(told, 0);
    }

    #[test]
    fn numbers_are_handed_out_in_order_and_not_too_far_ahead() {
        let queue = Queue::new(5, 2);
        assert_eq!([queue.take(), queue.take()], [Some(0), Some(1)]);
        queue.told(1);
        assert_eq!(queue.take(), Some(2));
        queue.told(3);
        assert_eq!([queue.take(), queue.take()], [Some(3), Some(4)]);
        assert_eq!(queue.take(), None);
    }
}
