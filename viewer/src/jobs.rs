//! Work beside the window: pictures, tables and settings are made and written on one thread, in order.
//!
//! What comes of each is a sentence for the user. The thread ends with the viewer, after what it has been given.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::mpsc;
use std::thread::JoinHandle;

use brainage_pipelines::atomic::write_atomically;
use eframe::egui;

/// What came of a job: what was done, or what went wrong; nothing where there is nothing to say.
pub(crate) type JobOutcome = Result<Option<String>, String>;

type Job = Box<dyn FnOnce() -> JobOutcome + Send>;

/// The thread and what it was given.
pub(crate) struct Jobs {
    sender: Option<mpsc::Sender<Job>>,
    outcomes: mpsc::Receiver<JobOutcome>,
    n_under_way: usize,
    thread: Option<JoinHandle<()>>,
}

impl Jobs {
    /// Starts the thread; it wakes `ctx` after each job.
    ///
    /// # Errors
    /// What the system answered where no thread can be had.
    pub(crate) fn start(ctx: &egui::Context) -> std::io::Result<Self> {
        let (jobs, to_do) = mpsc::channel::<Job>();
        let (done, outcomes) = mpsc::channel();
        let ctx = ctx.clone();
        let thread = std::thread::Builder::new()
            .name("viewer-jobs".into())
            .spawn(move || {
                for job in to_do {
                    let outcome = catch_unwind(AssertUnwindSafe(job)).unwrap_or_else(|_| {
                        Err("stopped unexpectedly, see the terminal; please report it".into())
                    });
                    // Nobody waits for it where the viewer is closing: the rest is done all the same.
                    done.send(outcome).ok();
                    ctx.request_repaint();
                }
            })?;
        Ok(Self {
            sender: Some(jobs),
            outcomes,
            n_under_way: 0,
            thread: Some(thread),
        })
    }

    /// Does this after all that was given before.
    pub(crate) fn run(&mut self, job: impl FnOnce() -> JobOutcome + Send + 'static) {
        if let Some(jobs) = &self.sender
            && jobs.send(Box::new(job)).is_ok()
        {
            self.n_under_way += 1;
        }
    }

    /// What has been done since the last frame.
    pub(crate) fn poll(&mut self) -> Vec<JobOutcome> {
        let done: Vec<JobOutcome> = self.outcomes.try_iter().collect();
        self.n_under_way = self.n_under_way.saturating_sub(done.len());
        done
    }

    /// Waits until everything is done.
    #[cfg(test)]
    pub(crate) fn finish(&mut self) -> Vec<JobOutcome> {
        let n = std::mem::take(&mut self.n_under_way);
        self.outcomes.iter().take(n).collect()
    }
}

impl Drop for Jobs {
    fn drop(&mut self) {
        self.sender = None;
        if let Some(thread) = self.thread.take() {
            // It catches every panic of a job.
            thread.join().ok();
        }
    }
}

/// Writes a file, and says so.
pub(crate) fn write_file(path: &Path, bytes: &[u8]) -> JobOutcome {
    match write_atomically(path, |file| file.write_all(bytes)) {
        Ok(()) => Ok(Some(format!("Saved: {}", path.display()))),
        Err(error) => Err(format!("not saved ({error}): `{}`", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_that_panics_says_so_and_the_next_one_is_done() {
        let mut jobs = Jobs::start(&egui::Context::default()).unwrap();
        jobs.run(|| panic!("a bug"));
        jobs.run(|| Ok(Some("done".into())));
        let outcomes = jobs.finish();
        assert!(matches!(&outcomes[0], Err(text) if text.contains("unexpectedly")));
        assert_eq!(outcomes[1], Ok(Some("done".into())));
    }

    #[test]
    fn what_was_given_is_done_before_the_viewer_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        let mut jobs = Jobs::start(&egui::Context::default()).unwrap();
        let to = path.clone();
        jobs.run(move || write_file(&to, b"kept"));
        drop(jobs);
        assert_eq!(fs_err::read(path).unwrap(), b"kept");
    }
}
