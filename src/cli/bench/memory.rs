//! `brainage bench memory`: peak memory of a training step, local against backprop.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Context as _;
use brainage_pipelines::recipe::Recipe;
use serde::Serialize;

use crate::bench::machine::Machine;
use crate::bench::memory::{StepMemory, measure_steps};
use crate::engine::device::DeviceName;

use super::super::{CliError, Context, ExitStatus};

/// Measure the peak memory of a training step, local against backprop
///
/// Each regime takes two steps on made-up volumes in a process of its own, all blocks one after the other on one device.
/// Counted is resident memory above what network and batch take: activations, gradients, the optimizer's memory, buffers.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  brainage bench memory --config configs/brain-cnn.toml --set train.batch_size=1"
)]
pub struct Args {
    /// Training config; otherwise the small one inside the program
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Change one key of the config; repeatable
    #[arg(long, value_name = "SECTION.KEY=VALUE")]
    pub set: Vec<String>,
    /// Device
    #[arg(long, value_name = "DEVICE", default_value = "cpu")]
    pub device: DeviceName,
    /// Measure the config's own regime in this process (the command starts itself so)
    #[arg(long, hide = true)]
    pub in_process: bool,
}

/// The answer for machines.
#[derive(Serialize)]
struct Answer {
    machine: Machine,
    device: DeviceName,
    batch_size: usize,
    grid: [usize; 3],
    rows: [Row; 2],
    local_over_backprop: f64,
}

/// A regime.
#[derive(Serialize)]
struct Row {
    name: &'static str,
    what: &'static str,
    /// Most resident memory during the steps above what was there before them, 10^6 bytes.
    peak_mb: f64,
    /// Before the first step, 10^6 bytes.
    before_mb: f64,
}

/// Measures and prints.
///
/// # Errors
/// Where the config or the device is not usable, or the system tells no peak.
pub fn run(args: &Args, context: &Context) -> anyhow::Result<ExitStatus> {
    let printer = &context.printer;
    let config = super::config(args.config.as_deref(), &args.set)?;
    let grid = Recipe::named(&config.data.recipe)?.grid.shape.0;
    if args.in_process {
        let measured = measure_steps(&config, grid, config.train.regime, args.device)?;
        printer.line(&serde_json::to_string(&measured)?)?;
        return Ok(ExitStatus::Done);
    }
    if !cfg!(target_os = "linux") {
        let hint = "run it on Linux";
        return Err(
            CliError::failed("this system does not tell the peak of a process", hint).into(),
        );
    }
    let [backprop, local] = ["backprop", "local"].map(|regime| in_child(args, regime));
    let (backprop, local) = (backprop?, local?);
    let ratio = local.of_steps() as f64 / backprop.of_steps().max(1) as f64;
    let row = |name, what, memory: StepMemory| Row {
        name,
        what,
        peak_mb: memory.of_steps() as f64 / 1e6,
        before_mb: memory.before as f64 / 1e6,
    };
    let rows = [
        row("backprop/step", "backprop", backprop),
        row("local/step", "local", local),
    ];
    let [x, y, z] = grid;
    let batch_size = config.train.batch_size;
    printer.line(&format!(
        "peak memory of a step, batches of {batch_size} volumes, {x}×{y}×{z}, on {}",
        args.device
    ))?;
    for row in &rows {
        printer.line(&format!(
            "  {:9} {:8.0} MB above {:.0} MB",
            row.what, row.peak_mb, row.before_mb
        ))?;
    }
    printer.line(&format!("  local / backprop = {:.0} %", 100.0 * ratio))?;
    printer.object(&Answer {
        machine: Machine::here(),
        device: args.device,
        batch_size,
        grid,
        rows,
        local_over_backprop: ratio,
    })?;
    Ok(ExitStatus::Done)
}

/// Measures a regime in a process of its own.
fn in_child(args: &Args, regime: &str) -> anyhow::Result<StepMemory> {
    let mut child = Command::new(std::env::current_exe()?);
    child.args(["bench", "memory", "--in-process", "--device"]);
    child.arg(args.device.to_string());
    if let Some(path) = &args.config {
        child.arg("--config").arg(path);
    }
    let regime = format!("train.regime={regime}");
    for change in args.set.iter().chain([&regime]) {
        child.args(["--set", change]);
    }
    let output = child.output()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(CliError::failed(said, "the measurement of one regime failed").into());
    }
    serde_json::from_slice(&output.stdout).context("the measurement gave no numbers")
}
