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
    /// Done before this program began; they say nothing about its speed.
    n_before: AtomicU64,
    started: Instant,
    display: Display,
}

#[derive(Debug)]
enum Display {
    Silent,
    Lines(Mutex<Lines>),
    Bar(ProgressBar),
}

/// What has been written so far.
#[derive(Debug)]
struct Lines {
    last: Instant,
    note: String,
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
            ProgressStyle::Lines => Display::Lines(Mutex::new(Lines {
                last: started,
                note: String::new(),
            })),
            ProgressStyle::Bar(bars) => Display::Bar(bars.add(bar(what, unit, n_total))),
        };
        let progress = Self {
            what: what.to_owned(),
            unit,
            n_total,
            n_done: AtomicU64::new(0),
            n_before: AtomicU64::new(0),
            started,
            display,
        };
        if let Display::Lines(_) = progress.display {
            let count = n_total.map(|n| format!(" {n} {unit}")).unwrap_or_default();
            write_line(&format!("{what}:{count} …"));
        }
        progress
    }

    /// `n_done` were done before, by an earlier program that was stopped.
    pub fn resume_at(&self, n_done: u64) {
        self.n_before.store(n_done, Ordering::Relaxed);
        self.n_done.store(n_done, Ordering::Relaxed);
        if let Display::Bar(bar) = &self.display {
            bar.set_position(n_done);
            bar.reset_eta();
        }
    }

    /// `n` more are done.
    pub fn advance(&self, n: u64) {
        self.show(self.n_done.fetch_add(n, Ordering::Relaxed) + n);
    }

    /// `n_done` are done altogether.
    pub fn set(&self, n_done: u64) {
        self.n_done.store(n_done, Ordering::Relaxed);
        self.show(n_done);
    }

    /// A few words beside the count, such as a loss; the last ones stay.
    pub fn note(&self, text: &str) {
        match &self.display {
            Display::Silent => {}
            Display::Lines(lines) => {
                text.clone_into(&mut lines.lock().unwrap_or_else(PoisonError::into_inner).note);
            }
            Display::Bar(bar) => bar.set_message(text.to_owned()),
        }
    }

    fn show(&self, n_done: u64) {
        match &self.display {
            Display::Silent => {}
            Display::Lines(lines) => {
                let mut lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
                if lines.last.elapsed() >= BETWEEN_LINES {
                    lines.last = Instant::now();
                    write_line(&self.status(n_done, &lines.note));
                }
            }
            Display::Bar(bar) => bar.set_position(n_done),
        }
    }

    /// `preprocess: 12/80 scans, 0:35, about 3:10 left, loss 4.2`
    fn status(&self, n_done: u64, note: &str) -> String {
        let elapsed = self.started.elapsed();
        let total = self.n_total.map(|n| format!("/{n}")).unwrap_or_default();
        let mut status = format!(
            "{}: {n_done}{total} {}, {}",
            self.what,
            self.unit,
            clock(elapsed)
        );
        let n_before = self.n_before.load(Ordering::Relaxed);
        let (n_new, n_rest) = (
            n_done.saturating_sub(n_before),
            self.n_total.map(|n| n.saturating_sub(n_before)),
        );
        if let Some(left) = n_rest.and_then(|n| remaining(n_new, n, elapsed)) {
            status = format!("{status}, about {} left", clock(left));
        }
        if note.is_empty() {
            status
        } else {
            format!("{status}, {note}")
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        match &self.display {
            Display::Silent => {}
            Display::Lines(lines) => {
                let lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
                let n_done = self.n_done.load(Ordering::Relaxed);
                write_line(&self.status(n_done, &lines.note));
            }
            Display::Bar(bar) => bar.finish_and_clear(),
        }
    }
}

fn bar(what: &str, unit: &'static str, n_total: Option<u64>) -> ProgressBar {
    let (bar, template) = match n_total {
        Some(n) => (
            ProgressBar::new(n),
            "{prefix} {bar:30} {pos}/{len} UNIT, {eta} left  {msg}",
        ),
        None => (
            ProgressBar::new_spinner(),
            "{prefix} {spinner} {pos} UNIT, {elapsed}  {msg}",
        ),
    };
    // A template that does not parse leaves the style as it is; the test below reads both.
    if let Ok(style) = BarStyle::with_template(&template.replace("UNIT", unit)) {
        bar.set_style(style);
    }
    bar.set_prefix(what.to_owned());
    if n_total.is_none() {
        bar.enable_steady_tick(BETWEEN_TICKS);
    }
    bar
}

/// Time left if the rest goes as fast as what is done; `None` before the first and after the last.
fn remaining(n_done: u64, n_total: u64, elapsed: Duration) -> Option<Duration> {
    let n_left = n_total.checked_sub(n_done).filter(|n| *n > 0)?;
    (n_done > 0).then(|| elapsed.mul_f64(n_left as f64 / n_done as f64))
}

/// `1:02:03`, or `2:03` below an hour.
fn clock(time: Duration) -> String {
    let secs = time.as_secs();
    let (hours, minutes, secs) = (secs / 3600, secs / 60 % 60, secs % 60);
    if hours > 0 {
        format!("{hours}:{minutes:02}:{secs:02}")
    } else {
        format!("{minutes}:{secs:02}")
    }
}

fn write_line(text: &str) {
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
    fn a_status_line_has_the_count_the_time_left_and_the_note() {
        let mut progress = silent(Some(80));
        progress.started = Instant::now().checked_sub(Duration::from_mins(1)).unwrap();
        assert_eq!(
            progress.status(20, "loss 4.2"),
            "preprocess: 20/80 scans, 1:00, about 3:00 left, loss 4.2"
        );
        assert_eq!(progress.status(80, ""), "preprocess: 80/80 scans, 1:00");
        progress.resume_at(60);
        let resumed = "preprocess: 70/80 scans, 1:00, about 1:00 left";
        assert_eq!(progress.status(70, ""), resumed);
        assert_eq!(silent(None).status(3, ""), "preprocess: 3 scans, 0:00");
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
