//! The command line: what each command takes, and which function does it.
//!
//! A command's file resolves its arguments, calls the libraries and prints; nothing is computed here. What
//! all commands share stands in [`Context`]: the printer, the stop flag and the project file. Data go to stdout, all
//! else to stderr; the exit code is 0 (all done), 1 (failed), 2 (wrong usage or config) or 3 (done, but some scans
//! were refused).

pub mod context;
pub mod exit;
pub mod printer;
pub mod progress;
pub mod resources;
pub mod saliency;
pub mod scans;
pub mod selftest;
pub mod stop;

pub mod ages;
pub mod bench;
pub mod demo;
pub mod doctor;
pub mod evaluate;
pub mod index;
mod index_check;
pub mod info;
pub mod init;
pub mod methods;
pub mod model;
pub mod predict;
pub mod preprocess;
pub mod quantize;
pub mod report;
mod review;
pub mod study;
pub mod synth;
pub mod train;
pub mod training;
mod upkeep;
pub mod view;
pub mod vision;
mod withdrawn;
pub mod worker;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{ArgAction, Parser, Subcommand};

pub use context::Context;
pub use exit::{CliError, ExitStatus};
pub use printer::{Answers, Printer, Verbosity};
pub use progress::Progress;
pub use stop::Stop;

/// Predicts the age of a brain from a T1-weighted MRI scan.
///
/// Research software, not a medical device.
#[derive(Debug, Parser)]
#[command(
    name = "brainage",
    version,
    after_help = "Example:\n  brainage predict scans/ --model model.safetensors\n\n\
        Exit codes: 0 all done, 1 failed or stopped, 2 wrong usage or config, 3 done but some scans were refused."
)]
struct Cli {
    #[command(flatten)]
    global: GlobalArgs,
    #[command(subcommand)]
    command: Command,
}

/// Options of every command.
#[derive(Debug, clap::Args)]
struct GlobalArgs {
    /// Say more (-v) or much more (-vv, -vvv)
    #[arg(short, long, global = true, action = ArgAction::Count, conflicts_with = "quiet")]
    verbose: u8,
    /// Say nothing but errors and answers
    #[arg(short, long, global = true)]
    quiet: bool,
    /// Print the answer as one JSON object
    #[arg(long, global = true)]
    json: bool,
    /// Project file; otherwise `brainage.toml` here or in a folder above
    #[arg(long, global = true, value_name = "FILE")]
    project: Option<PathBuf>,
}

/// What can be done, in the data's order.
#[derive(Debug, Subcommand)]
enum Command {
    Demo(demo::Args),
    Init(init::Args),
    Synth(synth::Args),
    Index(index::Args),
    Info(info::Args),
    Preprocess(preprocess::Args),
    Train(train::Args),
    Study(study::Args),
    Predict(predict::Args),
    Evaluate(evaluate::Args),
    Quantize(quantize::Args),
    Report(report::Args),
    View(view::Args),
    Worker(worker::Args),
    Model(model::Args),
    Bench(bench::Args),
    Doctor(doctor::Args),
    Vision(vision::Args),
    Methods(methods::Args),
}

impl Command {
    /// Whether Ctrl-C lets the command finish and save what is in hand, instead of ending it at once.
    fn stops_cleanly(&self) -> bool {
        match self {
            Self::Demo(_)
            | Self::Synth(_)
            | Self::Index(_)
            | Self::Preprocess(_)
            | Self::Train(_)
            | Self::Study(_)
            | Self::Predict(_) => true,
            Self::Vision(args) => args.stops_cleanly(),
            Self::Init(_)
            | Self::Info(_)
            | Self::Evaluate(_)
            | Self::Quantize(_)
            | Self::Report(_)
            | Self::View(_)
            | Self::Worker(_)
            | Self::Model(_)
            | Self::Bench(_)
            | Self::Doctor(_)
            | Self::Methods(_) => false,
        }
    }

    fn run(&self, context: &Context) -> anyhow::Result<ExitStatus> {
        match self {
            Self::Demo(args) => demo::run(args, context),
            Self::Init(args) => init::run(args, context),
            Self::Synth(args) => synth::run(args, context),
            Self::Index(args) => index::run(args, context),
            Self::Info(args) => info::run(args, context),
            Self::Preprocess(args) => preprocess::run(args, context),
            Self::Train(args) => train::run(args, context),
            Self::Study(args) => study::run(args, context),
            Self::Predict(args) => predict::run(args, context),
            Self::Evaluate(args) => evaluate::run(args, context),
            Self::Quantize(args) => quantize::run(args, context),
            Self::Report(args) => report::run(args, context),
            Self::View(args) => view::run(args, context),
            Self::Worker(args) => worker::run(args, context),
            Self::Model(args) => model::run(args, context),
            Self::Bench(args) => bench::run(args, context),
            Self::Doctor(args) => doctor::run(args, context),
            Self::Vision(args) => vision::run(args, context),
            Self::Methods(args) => methods::run(args, context),
        }
    }
}

/// Parses the command line (program name first), does what it says, and answers with the exit code.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(refusal) => {
            // Where neither stream can be written, the code says it all.
            refusal.print().ok();
            return ExitCode::from(u8::try_from(refusal.exit_code()).unwrap_or(exit::WRONG_USAGE));
        }
    };
    let verbosity = Verbosity::from_flags(cli.global.quiet, cli.global.verbose);
    let answers = if cli.global.json {
        Answers::Json
    } else {
        Answers::Text
    };
    let printer = Printer::new(verbosity, answers);
    printer.start_log();
    let stop = if cli.command.stops_cleanly() {
        Stop::on_signals(&printer)
    } else {
        Ok(Stop::default())
    };
    let result = stop.and_then(|stop| {
        let context = Context {
            printer: printer.clone(),
            stop,
            project_file: cli.global.project,
        };
        cli.command.run(&context)
    });
    exit::report(result, &printer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_has_no_clashing_options() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_help_of_every_command_has_an_example() {
        for command in Cli::command().get_subcommands() {
            let help = command
                .get_after_help()
                .map(ToString::to_string)
                .unwrap_or_default();
            let call = format!("brainage {}", command.get_name());
            assert!(
                help.contains(&call),
                "`{}` shows no example of itself",
                command.get_name()
            );
        }
    }

    #[test]
    fn global_options_may_follow_the_command() {
        let cli = Cli::try_parse_from(["brainage", "info", "a.nii", "--json", "-vv"]).unwrap();
        assert!(cli.global.json);
        assert_eq!(cli.global.verbose, 2);
    }
}
