//! What reaches stdout, stderr and the progress bars.
//!
//! Answers (lines, or one JSON object) go to stdout; status, warnings, errors, log and progress to stderr. `-q` leaves
//! answers, warnings and errors. Bars are drawn only on a terminal, and stand aside while a line is written.

use std::io::{self, IsTerminal as _, Write};

use indicatif::MultiProgress;
use serde::Serialize;
use tracing_subscriber::EnvFilter;

use super::progress::{Progress, ProgressStyle};

/// Environment variable with log directives such as `brainage=debug`; it overrides `-v`.
const LOG_VARIABLE: &str = "BRAINAGE_LOG";

/// How much is said on stderr.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verbosity {
    /// Warnings and errors only.
    Quiet,
    /// Status and progress too.
    Normal,
    /// Log lines too; the number is how often `-v` was given.
    Verbose(u8),
}

impl Verbosity {
    /// From `-q` and the number of `-v`.
    pub fn from_flags(quiet: bool, n_verbose: u8) -> Self {
        match (quiet, n_verbose) {
            (true, _) => Self::Quiet,
            (false, 0) => Self::Normal,
            (false, n) => Self::Verbose(n),
        }
    }

    fn log_directives(self) -> &'static str {
        match self {
            Self::Quiet => "error",
            Self::Normal => "warn",
            Self::Verbose(1) => "warn,brainage=info",
            Self::Verbose(2) => "warn,brainage=debug",
            Self::Verbose(_) => "info,brainage=trace",
        }
    }
}

/// In which form a command answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answers {
    /// Lines for people.
    Text,
    /// One JSON object.
    Json,
    /// None: the command is a step of another one that answers.
    Silent,
}

/// Writes for one command; clones write to the same streams.
#[derive(Clone, Debug)]
pub struct Printer {
    verbosity: Verbosity,
    answers: Answers,
    bars: MultiProgress,
}

impl Printer {
    /// A printer on the process's own streams.
    pub fn new(verbosity: Verbosity, answers: Answers) -> Self {
        Self {
            verbosity,
            answers,
            bars: MultiProgress::new(),
        }
    }

    /// A printer for the steps of a command that makes the answer for machines itself: lines are answered as before,
    /// objects are not.
    pub fn for_steps(&self) -> Self {
        Self {
            answers: match self.answers {
                Answers::Text => Answers::Text,
                Answers::Json | Answers::Silent => Answers::Silent,
            },
            ..self.clone()
        }
    }

    /// Whether the answer is to be one JSON object ([`Printer::object`]) instead of lines ([`Printer::line`]).
    pub fn wants_json(&self) -> bool {
        self.answers == Answers::Json
    }

    /// Writes one line of the answer to stdout; nothing under `--json`.
    ///
    /// # Errors
    /// Where stdout cannot be written, such as a pipe that its reader has closed.
    pub fn line(&self, text: &str) -> io::Result<()> {
        match self.answers {
            Answers::Text => self.to_stdout(text),
            Answers::Json | Answers::Silent => Ok(()),
        }
    }

    /// Writes the whole answer as one JSON object to stdout; nothing without `--json`.
    ///
    /// # Errors
    /// Where stdout cannot be written.
    pub fn object(&self, answer: &impl Serialize) -> io::Result<()> {
        match self.answers {
            Answers::Text | Answers::Silent => Ok(()),
            Answers::Json => self.to_stdout(&serde_json::to_string_pretty(answer)?),
        }
    }

    /// Says on stderr what is going on; nothing under `-q`.
    pub fn status(&self, text: &str) {
        if self.verbosity != Verbosity::Quiet {
            self.to_stderr(text);
        }
    }

    /// Says on stderr that something was done otherwise than asked, or that a scan was refused.
    pub fn warning(&self, text: &str) {
        self.to_stderr(&format!("warning: {}", on_one_line(text)));
    }

    /// Says on stderr what went wrong.
    pub fn error(&self, text: &str) {
        self.to_stderr(&format!("error: {}", on_one_line(text)));
    }

    /// Says on stderr what to do about the line before.
    pub fn hint(&self, text: &str) {
        self.to_stderr(&format!("hint: {}", on_one_line(text)));
    }

    /// Shows how far a long piece of work has come: a bar on a terminal, now and then a line elsewhere.
    ///
    /// `what` names the work ("preprocess"), `unit` what is counted ("scans"); `n_total` is `None` where the end is
    /// not known.
    pub fn progress(&self, what: &str, unit: &'static str, n_total: Option<u64>) -> Progress {
        Progress::start(what, unit, n_total, self.progress_style())
    }

    /// In which form progress is shown.
    pub(super) fn progress_style(&self) -> ProgressStyle {
        match self.verbosity {
            Verbosity::Quiet => ProgressStyle::Silent,
            // Bars and a stream of log lines on one terminal cannot both be read.
            Verbosity::Verbose(_) => ProgressStyle::Lines,
            Verbosity::Normal if io::stderr().is_terminal() => {
                ProgressStyle::Bar(self.bars.clone())
            }
            Verbosity::Normal => ProgressStyle::Lines,
        }
    }

    /// Says at once, from whatever thread, that a signal came; the bars stand aside.
    pub(super) fn interrupt(&self, text: &str) {
        self.to_stderr(text);
    }

    /// Takes the bars off the terminal, for a program that ends without dropping them.
    pub(super) fn clear_bars(&self) {
        // Where the terminal is gone there is nothing to clear.
        self.bars.clear().ok();
    }

    /// Sends the log of this program's libraries to stderr, as much of it as `-v` asks for.
    pub(super) fn start_log(&self) {
        let filter = EnvFilter::try_from_env(LOG_VARIABLE)
            .unwrap_or_else(|_| EnvFilter::new(self.verbosity.log_directives()));
        let bars = self.bars.clone();
        let started = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(move || BesideBars(bars.clone()))
            .with_ansi(io::stderr().is_terminal())
            .without_time()
            .try_init();
        if started.is_err() {
            self.warning("a log was started already; -v has no effect");
        }
    }

    fn to_stdout(&self, text: &str) -> io::Result<()> {
        self.bars.suspend(|| {
            let mut stdout = io::stdout().lock();
            writeln!(stdout, "{text}")?;
            stdout.flush()
        })
    }

    fn to_stderr(&self, text: &str) {
        // Where stderr is gone there is nobody to tell.
        self.bars
            .suspend(|| writeln!(io::stderr().lock(), "{text}"))
            .ok();
    }
}

/// Writes log lines to stderr while the bars stand aside.
struct BesideBars(MultiProgress);

impl Write for BesideBars {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.suspend(|| io::stderr().lock().write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().lock().flush()
    }
}

/// The text with every run of white space, line ends included, as one space.
pub(super) fn on_one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quiet_wins_and_v_counts() {
        assert_eq!(Verbosity::from_flags(true, 0), Verbosity::Quiet);
        assert_eq!(Verbosity::from_flags(false, 0), Verbosity::Normal);
        assert_eq!(Verbosity::from_flags(false, 2), Verbosity::Verbose(2));
    }

    #[test]
    fn every_verbosity_has_directives_that_parse() {
        for verbosity in [
            Verbosity::Quiet,
            Verbosity::Normal,
            Verbosity::Verbose(1),
            Verbosity::Verbose(9),
        ] {
            assert!(
                EnvFilter::try_new(verbosity.log_directives()).is_ok(),
                "{verbosity:?}"
            );
        }
    }

    #[test]
    fn several_lines_become_one() {
        assert_eq!(on_one_line("a\n  | b\r\n"), "a | b");
    }
}
