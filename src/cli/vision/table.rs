//! `brainage vision table`: runs compared.

use std::path::PathBuf;

use brainage_pipelines::atomic::write_atomically;

use crate::run::dir::RunDir;
use crate::vision::evaluation::ClassifierEvaluation;
use crate::vision::table::{Entry, Table};

use super::super::{CliError, Context, ExitStatus};
use super::train::read_config;

/// Options of `vision table`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  brainage vision table runs/* --csv table.csv")]
pub struct Args {
    /// Run folders; those that are not finished are left out, with a word
    #[arg(value_name = "RUNS", required = true)]
    runs: Vec<PathBuf>,
    /// Also as comma-separated values
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
}

/// Prints the table as Markdown.
///
/// # Errors
/// Where no run is finished, or the file cannot be written.
pub fn run(args: &Args, context: &Context) -> anyhow::Result<ExitStatus> {
    let printer = &context.printer;
    let mut entries = Vec::new();
    for folder in &args.runs {
        let run = RunDir::open(folder.clone())?;
        if !run.evaluation().is_file() {
            printer.warning(&format!("not finished, left out: `{}`", folder.display()));
            continue;
        }
        entries.push(Entry {
            config: read_config(&run)?,
            evaluation: ClassifierEvaluation::read(&run.evaluation())?,
        });
    }
    if entries.is_empty() {
        let hint = "a training writes evaluation.json at its end; continue it with `brainage vision train --resume RUN`";
        return Err(CliError::failed("no run has an evaluation", hint).into());
    }
    let table = Table::of(&entries);
    if let Some(path) = &args.csv {
        let csv = table.to_csv()?;
        write_atomically(path, |out| out.write_all(csv.as_bytes()))?;
    }
    printer.object(&table)?;
    printer.line(table.to_markdown().trim_end())?;
    Ok(ExitStatus::Done)
}
