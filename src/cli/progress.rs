//! How far a long piece of work has come.
//!
//! On a terminal a bar; elsewhere a line at the start, at most one every few seconds, and one at the end, so that the
//! log of a night's run stays short. Any thread may report.

use std::io::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle as BarStyle};

/// Least time between two lines.
const BETWEEN_LINES: Duration = Duration::from_secs(10);
/// How often a bar without a known end turns.
const BETWEEN_TICKS: Duration = Duration::from_millis(120);

/// In which form progress is shown.
pub(super) enum ProgressStyle {
    /// Not at all.
    Silent,
    /// As lines on stderr.
    Lines,
    /// As a bar among others.
    Bar(MultiProgress),
}

/// The progress of one piece of work; ends when dropped.
#[derive(Debug)]
pub struct Progress {
    what: String,
    unit: &'static str,
    n_total: Option<u64>,
    n_done: AtomicU64,
    started: Instant,
    display: Display,
}

#[derive(Debug)]
enum Display {
    Silent,
    Lines {
        /// When the last one was written.
        last: Mutex<Instant>,
    },
    Bar(ProgressBar),
}

impl Progress {
    pub(super) fn start(
        what: &str,
        unit: &'static str,
        n_total: Option<u64>,
        style: ProgressStyle,
    ) -> Self {
        let started = Instant::now();
        let display = match style {
            ProgressStyle::Silent => Display::Silent,
            ProgressStyle::Lines => Display::Lines {
                last: Mutex::new(started),
            },
            ProgressStyle::Bar(bars) => Display::Bar(bar(&bars, what, unit, n_total)),
        };
        let progress = Self {
            what: what.to_owned(),
            unit,
            n_total,
            n_done: AtomicU64::new(0),
            started,
            display,
        };
        if let Display::Lines { .. } = progress.display {
            let count = n_total.map(|n| format!(" {n} {unit}")).unwrap_or_default();
            write_line(&format!("{what}:{count} …"));
        }
        progress
    }

    /// `n` more are done.
    pub fn advance(&self, n: u64) {
        self.show(self.n_done.fetch_add(n, Ordering::Relaxed) + n);
    }

    fn show(&self, n_done: u64) {
        match &self.display {
            Display::Silent => {}
            Display::Lines { last } => {
                let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
                if last.elapsed() >= BETWEEN_LINES {
                    *last = Instant::now();
                    write_line(&self.status(n_done));
                }
            }
            Display::Bar(bar) => bar.set_position(n_done),
        }
    }

    /// `preprocess: 12/80 scans, 0:35, about 3:10 left`
    fn status(&self, n_done: u64) -> String {
        let elapsed = self.started.elapsed();
        let total = self.n_total.map(|n| format!("/{n}")).unwrap_or_default();
        let status = format!(
            "{}: {n_done}{total} {}, {}",
            self.what,
            self.unit,
            clock(elapsed)
        );
        match self.n_total.and_then(|n| remaining(n_done, n, elapsed)) {
            Some(left) => format!("{status}, about {} left", clock(left)),
            None => status,
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        match &self.display {
            Display::Silent => {}
            Display::Lines { .. } => {
                write_line(&self.status(self.n_done.load(Ordering::Relaxed)));
            }
            Display::Bar(bar) => bar.finish_and_clear(),
        }
    }
}

/// Is drawn only once it is among the others: what a bar draws alone, the others do not take away.
fn bar(bars: &MultiProgress, what: &str, unit: &'static str, n_total: Option<u64>) -> ProgressBar {
    let (bar, template) = match n_total {
        Some(n) => (
            ProgressBar::new(n),
            "{prefix} {bar:30} {pos}/{len} UNIT, {eta} left",
        ),
        None => (
            ProgressBar::new_spinner(),
            "{prefix} {spinner} {pos} UNIT, {elapsed}",
        ),
    };
    // A template that does not parse would leave the style as it is.
    let bar = match BarStyle::with_template(&template.replace("UNIT", unit)) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    };
    let bar = bars.add(bar.with_prefix(what.to_owned()));
    if n_total.is_none() {
        bar.enable_steady_tick(BETWEEN_TICKS);
    }
    bar
}

/// Time left if the rest goes as fast as what is done; `None` before the first and after the last.
pub(super) fn remaining(n_done: u64, n_total: u64, elapsed: Duration) -> Option<Duration> {
    let n_left = n_total.checked_sub(n_done).filter(|n| *n > 0)?;
    (n_done > 0).then(|| elapsed.mul_f64(n_left as f64 / n_done as f64))
}

/// `1:02:03`, or `2:03` below an hour.
pub(super) fn clock(time: Duration) -> String {
    let secs = time.as_secs();
    let (hours, minutes, secs) = (secs / 3600, secs / 60 % 60, secs % 60);
    if hours > 0 {
        format!("{hours}:{minutes:02}:{secs:02}")
    } else {
        format!("{minutes}:{secs:02}")
    }
}

pub(super) fn write_line(text: &str) {
    // Where stderr is gone there is nobody to tell.
    writeln!(std::io::stderr().lock(), "{text}").ok();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn silent(n_total: Option<u64>) -> Progress {
        Progress::start("preprocess", "scans", n_total, ProgressStyle::Silent)
    }

    #[test]
    fn a_status_line_has_the_count_and_the_time_left() {
        let mut progress = silent(Some(80));
        progress.started = Instant::now().checked_sub(Duration::from_mins(1)).unwrap();
        assert_eq!(
            progress.status(20),
            "preprocess: 20/80 scans, 1:00, about 3:00 left"
        );
        assert_eq!(progress.status(80), "preprocess: 80/80 scans, 1:00");
        assert_eq!(silent(None).status(3), "preprocess: 3 scans, 0:00");
    }

    #[test]
    fn the_clock_shows_hours_only_when_there_are_any() {
        assert_eq!(clock(Duration::from_secs(123)), "2:03");
        assert_eq!(clock(Duration::from_secs(3723)), "1:02:03");
    }

    #[test]
    fn reports_from_several_threads_add_up() {
        let progress = silent(Some(400));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..100 {
                        progress.advance(1);
                    }
                });
            }
        });
        assert_eq!(progress.n_done.load(Ordering::Relaxed), 400);
    }
}
