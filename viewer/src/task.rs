//! Long work on a thread of its own, with progress: predictions, layers, opening of folders.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use eframe::egui;

use crate::predictor::{Progress, Watch};

/// Shares of work below which a guess of the time left says nothing.
const TOO_EARLY: f32 = 0.05;

enum Report<T> {
    Progress(Progress),
    Done(Result<T, String>),
}

/// Work under way.
pub(crate) struct Task<T> {
    /// What it said last.
    pub(crate) progress: Progress,
    begun: Instant,
    canceled: Arc<AtomicBool>,
    reports: mpsc::Receiver<Report<T>>,
}

impl<T> Drop for Task<T> {
    /// Calls the work off where it is still under way: nobody hears its answer.
    fn drop(&mut self) {
        self.canceled.store(true, Ordering::Relaxed);
    }
}

impl<T: Send + 'static> Task<T> {
    /// Starts `work`; wakes `ctx` whenever there is news.
    ///
    /// # Errors
    /// A plain sentence where no thread can be had.
    pub(crate) fn start(
        ctx: &egui::Context,
        name: &str,
        work: impl FnOnce(Watch<'_>) -> Result<T, String> + Send + 'static,
    ) -> Result<Self, String> {
        let (sender, reports) = mpsc::channel();
        let canceled = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&canceled);
        let ctx = ctx.clone();
        std::thread::Builder::new()
            .name(name.into())
            .spawn(move || {
                // A send fails only where nobody waits for the answer any more.
                let report = |report| {
                    sender.send(report).ok();
                    ctx.request_repaint();
                };
                let progress = |progress| report(Report::Progress(progress));
                let watch = Watch {
                    progress: &progress,
                    canceled: &seen,
                };
                let work = || work(watch);
                let done = catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
                    Err("the work stopped unexpectedly, see the terminal".into())
                });
                report(Report::Done(done));
            })
            .map_err(|error| format!("no thread could be started: {error}"))?;
        Ok(Self {
            progress: Progress::new("starting", 0.0),
            begun: Instant::now(),
            canceled,
            reports,
        })
    }

    /// Takes in what was reported since the last frame; the answer, once it is there.
    pub(crate) fn poll(&mut self) -> Option<Result<T, String>> {
        loop {
            match self.reports.try_recv() {
                Ok(Report::Progress(progress)) => self.progress = progress,
                Ok(Report::Done(answer)) => return Some(answer),
                Err(mpsc::TryRecvError::Empty) => return None,
                Err(mpsc::TryRecvError::Disconnected) => {
                    return Some(Err("the work ended without an answer".into()));
                }
            }
        }
    }

    /// Waits for the answer.
    pub(crate) fn wait(&mut self) -> Result<T, String> {
        loop {
            match self.reports.recv() {
                Ok(Report::Progress(progress)) => self.progress = progress,
                Ok(Report::Done(answer)) => return answer,
                Err(_) => return Err("the work ended without an answer".into()),
            }
        }
    }

    /// How long it will go on if it goes on as it did.
    pub(crate) fn time_left(&self) -> Option<Duration> {
        time_left(self.begun.elapsed(), self.progress.share)
    }
}

fn time_left(elapsed: Duration, share: f32) -> Option<Duration> {
    (share > TOO_EARLY && share < 1.0)
        .then(|| elapsed.mul_f32(((1.0 - share) / share).clamp(0.0, 1e3)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_that_panics_gives_an_error_and_not_a_dead_viewer() {
        let ctx = egui::Context::default();
        let mut task: Task<()> = Task::start(&ctx, "faulty", |watch| {
            watch.tell("reading", 0.5);
            panic!("a bug");
        })
        .unwrap();
        assert!(matches!(task.wait(), Err(reason) if reason.contains("unexpectedly")));
        assert_eq!(task.progress, Progress::new("reading", 0.5));
    }

    #[test]
    fn work_that_nobody_waits_for_any_more_is_called_off() {
        let (sender, ended) = mpsc::channel();
        let task: Task<()> = Task::start(&egui::Context::default(), "endless", move |watch| {
            while !watch.is_canceled() {
                std::thread::yield_now();
            }
            sender.send(()).unwrap();
            Ok(())
        })
        .unwrap();
        assert!(ended.try_recv().is_err());
        drop(task);
        ended.recv_timeout(Duration::from_mins(1)).unwrap();
    }

    #[test]
    fn the_time_left_follows_from_the_share_that_is_done() {
        let elapsed = Duration::from_secs(3);
        assert_eq!(time_left(elapsed, 0.75), Some(Duration::from_secs(1)));
        assert_eq!(time_left(elapsed, 0.01), None);
    }
}
