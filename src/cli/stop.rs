//! One flag that says: finish what is under way, save, and end.
//!
//! Ctrl-C and SIGTERM set it; the long commands look at it between scans, steps and heads. A second Ctrl-C ends the
//! program at once, which harms nothing: files are written whole or not at all.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::Builder;
use std::time::Duration;

use anyhow::Context as _;

use super::printer::Printer;

/// Exit code of a program ended by Ctrl-C, as shells know it (128 + SIGINT).
const ENDED_BY_SIGNAL: i32 = 130;
/// What the first signal makes the program say, on a line of its own after the terminal's `^C`.
const STOPPING: &str = "\nstopping after the work in hand; press Ctrl-C again to end at once";
/// How long a signal waits for a terminal that takes nothing.
const LONGEST_WAIT: Duration = Duration::from_millis(200);

/// The stop flag of one command.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// A flag that Ctrl-C and SIGTERM set.
    ///
    /// # Errors
    /// Where the system refuses a signal handler, or there is one already.
    pub fn on_signals(printer: &Printer) -> anyhow::Result<Self> {
        let stop = Self::default();
        let (flag, printer) = (stop.clone(), printer.clone());
        ctrlc::set_handler(move || flag.on_signal(&printer))
            .context("signal handler could not be set")?;
        Ok(stop)
    }

    /// Whether to stop.
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// The bare flag, for libraries.
    pub fn flag(&self) -> &AtomicBool {
        &self.0
    }

    /// The bare flag, for threads that outlive the command's borrow.
    pub fn shared_flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.0)
    }

    fn on_signal(&self, printer: &Printer) {
        let printer = printer.clone();
        let again = self.0.swap(true, Ordering::Relaxed);
        wait_shortly(move || {
            if again {
                printer.clear_bars();
            } else {
                printer.interrupt(STOPPING);
            }
        });
        if again {
            end_at_once();
        }
    }
}

/// Does it in a thread of its own: the next signal must come through even where this one's words cannot be written.
fn wait_shortly(work: impl FnOnce() + Send + 'static) {
    let (done, wait) = mpsc::channel();
    let started = Builder::new().name("signal".into()).spawn(move || {
        work();
        done.send(()).ok();
    });
    // Where there is no thread to be had, nothing is said.
    if started.is_ok() {
        wait.recv_timeout(LONGEST_WAIT).ok();
    }
}

#[expect(
    clippy::exit,
    reason = "the user asked twice, and nothing half-written is left behind"
)]
fn end_at_once() {
    std::process::exit(ENDED_BY_SIGNAL);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::printer::{Answers, Verbosity};

    #[test]
    fn the_first_signal_sets_the_flag_for_all_who_hold_it() {
        let stop = Stop::default();
        let held = stop.shared_flag();
        assert!(!stop.is_set());
        stop.on_signal(&Printer::new(Verbosity::Quiet, Answers::Silent));
        assert!(stop.is_set() && held.load(Ordering::Relaxed));
    }
}
