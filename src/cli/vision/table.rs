//! `brainage vision table`: runs compared.

use std::path::PathBuf;

use brainage_pipelines::atomic::write_atomically;

use crate::run::dir::RunDir;
use crate::study::cost::Cost;
use crate::vision::evaluation::ClassifierEvaluation;
use crate::vision::table::{Entry, Table};

use super::super::study::runs::read_config;
use super::super::training::events;
use super::super::{CliError, Context, ExitStatus};

/// Options of `vision table`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  brainage vision table runs/* --csv table.csv --svg table.svg")]
pub struct Args {
    /// Run folders; those that are not finished are left out, with a word
    #[arg(value_name = "RUNS", required = true)]
    runs: Vec<PathBuf>,
    /// Also as comma-separated values
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
    /// Also as a figure: bars of test errors
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
}

/// Prints the table as Markdown.
///
/// # Errors
/// Where no run is finished, or a file cannot be written.
pub fn run(args: &Args, context: &Context) -> anyhow::Result<ExitStatus> {
    let printer = &context.printer;
    let mut entries = Vec::new();
    for folder in &args.runs {
        let run = RunDir::open(folder.clone())?;
        if !run.evaluation().is_file() {
            printer.warning(&format!("not finished, left out: `{}`", folder.display()));
            continue;
        }
        entries.push(entry(&run)?);
    }
    if entries.is_empty() {
        let hint = "a training writes evaluation.json at its end; continue it with `brainage vision train --resume RUN`";
        return Err(CliError::failed("no run has an evaluation", hint).into());
    }
    let table = Table::of(&entries);
    for (path, text) in [(&args.csv, table.to_csv()?), (&args.svg, table.to_svg()?)] {
        if let Some(path) = path {
            write_atomically(path, |out| out.write_all(text.as_bytes()))?;
        }
    }
    printer.object(&table)?;
    printer.line(table.to_markdown().trim_end())?;
    Ok(ExitStatus::Done)
}

/// A finished run.
pub(super) fn entry(run: &RunDir) -> anyhow::Result<Entry> {
    Ok(Entry {
        config: read_config(run)?,
        evaluation: ClassifierEvaluation::read(&run.evaluation())?,
        cost: Cost::of(&events(run)?),
    })
}
