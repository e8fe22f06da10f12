//! `brainage vision curves`: how the heads of runs got better, epoch by epoch.

use std::path::PathBuf;

use brainage_pipelines::atomic::write_atomically;

use crate::run::dir::RunDir;
use crate::vision::curves::{curve_points, to_csv};

use super::super::training::events;
use super::super::{CliError, Context, ExitStatus};

/// Options of `vision curves`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  brainage vision curves runs/* --csv curves.csv")]
pub struct Args {
    /// Run folders, finished or not
    #[arg(value_name = "RUNS", required = true)]
    runs: Vec<PathBuf>,
    /// Into a file instead of onto the screen
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
}

/// Writes a line for each epoch and head of each run.
///
/// # Errors
/// Where a folder is no run, no run has done an epoch, or the file cannot be written.
pub fn run(args: &Args, context: &Context) -> anyhow::Result<ExitStatus> {
    let mut points = Vec::new();
    for folder in &args.runs {
        let run = RunDir::open(folder.clone())?;
        // `runs/one/` is `runs/one`.
        let name: PathBuf = folder.components().collect();
        points.extend(curve_points(&name.display().to_string(), &events(&run)?));
    }
    if points.is_empty() {
        let hint = "a training enters each epoch into metrics.jsonl when it is done";
        return Err(CliError::failed("no run has done an epoch", hint).into());
    }
    let printer = &context.printer;
    printer.object(&points)?;
    let csv = to_csv(&points)?;
    match &args.csv {
        Some(path) => {
            write_atomically(path, |out| out.write_all(csv.as_bytes()))?;
            printer.status(&format!("{} lines in `{}`", points.len(), path.display()));
        }
        None => printer.line(csv.trim_end())?,
    }
    Ok(ExitStatus::Done)
}
