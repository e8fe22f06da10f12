//! The `brainage` program; all it does is in [`brainage::cli`].

use std::process::ExitCode;

use brainage_kernels::recycling::Recycling;

/// Training asks for the same large arrays in every step.
#[global_allocator]
static ALLOCATOR: Recycling = Recycling;

fn main() -> ExitCode {
    brainage::cli::run(std::env::args_os())
}
