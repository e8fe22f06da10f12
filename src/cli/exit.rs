//! How a command ends: its exit code, and the lines that say why.
//!
//! An error becomes one `error:` line (the whole chain of causes) and, where somebody knows what to do, one `hint:`
//! line. Libraries keep their hints beside their errors; each of them is asked.

use std::error::Error as StdError;
use std::io;
use std::process::ExitCode;

use brainage_pipelines::format::ReadError;
use brainage_viewer::review::ReviewError;

use crate::Error;
use crate::config::project::ProjectError;
use crate::predict::table::TableError;

use super::printer::{Printer, on_one_line};

/// Exit code of a command that failed.
pub const FAILED: u8 = 1;
/// Exit code of wrong usage, or of a wrong project file or config.
pub const WRONG_USAGE: u8 = 2;
/// Exit code of a command that did its work except for some scans.
pub const SOME_REFUSED: u8 = 3;

/// How a command that did its work ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitStatus {
    /// Everything was done.
    Done,
    /// Some scans were refused; the command has listed them with reasons.
    SomeRefused,
}

impl ExitStatus {
    /// [`ExitStatus::SomeRefused`] where scans were refused.
    pub fn from_refused(n_refused: usize) -> Self {
        if n_refused == 0 {
            Self::Done
        } else {
            Self::SomeRefused
        }
    }
}

/// An error that the command line itself finds.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CliError {
    /// Arguments that parse, but ask for what cannot be; exit code 2.
    #[error("{message}")]
    Usage {
        /// What is wrong.
        message: String,
        /// What to do.
        hint: String,
    },
    /// The command cannot go on; exit code 1.
    #[error("{message}")]
    Failed {
        /// What is wrong.
        message: String,
        /// What to do.
        hint: String,
    },
}

impl CliError {
    /// Wrong usage; `hint` says what to do.
    pub fn usage(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Usage {
            message: message.into(),
            hint: hint.into(),
        }
    }

    /// A failure; `hint` says what to do.
    pub fn failed(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Failed {
            message: message.into(),
            hint: hint.into(),
        }
    }

    fn hint(&self) -> &str {
        match self {
            Self::Usage { hint, .. } | Self::Failed { hint, .. } => hint,
        }
    }
}

/// Prints the error and its hint, if there is one, and answers with the exit code.
pub(super) fn report(result: anyhow::Result<ExitStatus>, printer: &Printer) -> ExitCode {
    let error = match result {
        Ok(ExitStatus::Done) => return ExitCode::SUCCESS,
        Ok(ExitStatus::SomeRefused) => return ExitCode::from(SOME_REFUSED),
        // Whoever read our answer has seen enough, as in `brainage info scan.nii | head -1`.
        Err(error) if error.chain().any(is_broken_pipe) => return ExitCode::SUCCESS,
        Err(error) => error,
    };
    printer.error(&error_line(&error));
    if let Some(hint) = error.chain().find_map(hint_of) {
        printer.hint(&hint);
    }
    let wrong_usage = error.chain().any(is_wrong_usage);
    ExitCode::from(if wrong_usage { WRONG_USAGE } else { FAILED })
}

/// The chain of causes on one line, outermost first; a cause that its effect has told already is left out.
pub(super) fn error_line(error: &anyhow::Error) -> String {
    let mut told = String::new();
    for cause in error.chain() {
        let text = on_one_line(&cause.to_string());
        if told.is_empty() {
            told = text;
        } else if !told.contains(&text) {
            told = format!("{told}: {text}");
        }
    }
    told
}

fn is_broken_pipe(cause: &(dyn StdError + 'static)) -> bool {
    cause
        .downcast_ref::<io::Error>()
        .is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe)
}

fn is_wrong_usage(cause: &(dyn StdError + 'static)) -> bool {
    matches!(cause.downcast_ref(), Some(CliError::Usage { .. }))
        || matches!(
            cause.downcast_ref(),
            Some(Error::Config { .. } | Error::Toml { .. })
        )
        || matches!(
            cause.downcast_ref(),
            Some(
                brainage_pipelines::Error::UnknownRecipe { .. }
                    | brainage_pipelines::Error::Recipe { .. }
            )
        )
        || cause.is::<ProjectError>()
}

fn hint_of(cause: &(dyn StdError + 'static)) -> Option<String> {
    if let Some(error) = cause.downcast_ref::<CliError>() {
        return Some(error.hint().to_owned());
    }
    let hint = if let Some(error) = cause.downcast_ref::<ProjectError>() {
        error.hint()
    } else if let Some(error) = cause.downcast_ref::<Error>() {
        error.hint()
    } else if let Some(error) = cause.downcast_ref::<brainage_cohorts::Error>() {
        error.hint()
    } else if let Some(error) = cause.downcast_ref::<brainage_pipelines::Error>() {
        error.hint()
    } else if let Some(error) = cause.downcast_ref::<brainage_synth::Error>() {
        error.hint()
    } else if let Some(error) = cause.downcast_ref::<brainage_viewer::Error>() {
        error.hint()
    } else if let Some(error) = cause.downcast_ref::<ReviewError>() {
        error.hint()
    } else if let Some(error) = cause.downcast_ref::<TableError>() {
        error.hint()
    } else {
        cause.downcast_ref::<ReadError>()?.hint()
    };
    hint.map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chain_of_causes_is_one_line_and_repeats_nothing() {
        let error = anyhow::Error::new(io::Error::other("disk\nfull"))
            .context("cannot write (disk full)")
            .context("index");
        assert_eq!(error_line(&error), "index: cannot write (disk full)");
        let error = anyhow::Error::new(io::Error::other("disk full")).context("index");
        assert_eq!(error_line(&error), "index: disk full");
    }

    #[test]
    fn wrong_usage_is_told_from_failure_wherever_it_is_in_the_chain() {
        let usage =
            anyhow::Error::new(CliError::usage("no scans", "name some")).context("preprocess");
        assert!(usage.chain().any(is_wrong_usage));
        assert_eq!(
            usage.chain().find_map(hint_of).as_deref(),
            Some("name some")
        );
        let failed = anyhow::Error::new(CliError::failed("no scans", "name some"));
        assert!(!failed.chain().any(is_wrong_usage));
    }
}
