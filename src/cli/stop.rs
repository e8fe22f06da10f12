//! One flag that says: finish what is under way, save, and end.
//!
//! Ctrl-C and SIGTERM set it; the long commands look at it between scans, steps and heads. A second Ctrl-C ends the
//! program at once, which harms nothing: files are written whole or not at all.

use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context as _;

/// Exit code of a program ended by Ctrl-C, as shells know it (128 + SIGINT).
const ENDED_BY_SIGNAL: i32 = 130;

/// The stop flag of one command.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// A flag that Ctrl-C and SIGTERM set.
    ///
    /// # Errors
    /// Where the system refuses a signal handler, or there is one already.
    pub fn on_signals() -> anyhow::Result<Self> {
        let stop = Self::default();
        let flag = stop.clone();
        ctrlc::set_handler(move || flag.on_signal()).context("signal handler could not be set")?;
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

    fn on_signal(&self) {
        if self.0.swap(true, Ordering::Relaxed) {
            end_at_once();
        }
        let said = "\nstopping after the work in hand; press Ctrl-C again to end at once\n";
        // Where stderr is gone there is nobody to tell.
        std::io::stderr().write_all(said.as_bytes()).ok();
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

    #[test]
    fn the_first_signal_sets_the_flag_for_all_who_hold_it() {
        let stop = Stop::default();
        let held = stop.shared_flag();
        assert!(!stop.is_set());
        stop.on_signal();
        assert!(stop.is_set() && held.load(Ordering::Relaxed));
    }
}
