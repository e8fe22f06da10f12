//! The `brainage` program; all it does is in [`brainage::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    brainage::cli::run(std::env::args_os())
}
