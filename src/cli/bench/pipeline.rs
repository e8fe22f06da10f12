//! `brainage bench pipeline`: block-local training on several devices against backprop on one.

use std::path::PathBuf;

use brainage_pipelines::recipe::Recipe;
use serde::Serialize;

use crate::bench::machine::Machine;
use crate::bench::pipeline::{Measured, Settings, measure, n_rounds};
use crate::bench::pipeline_rows::{Row, rows};
use crate::engine::device::{DeviceName, n_cores};

use super::super::{CliError, Context, ExitStatus, Printer};
use super::at_least_one;

/// Measure block-local training on several devices against backprop on one
///
/// Measures each block, the backprop step and the pipelined run in turns on made-up volumes, and computes from the
/// blocks' times what data parallel training, GPipe, 1F1B and more devices would take. Computed numbers are marked as
/// such. Other work on the machine disturbs the times: min and max tell how much.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  brainage bench pipeline\n  \
    brainage bench pipeline --set train.batch_size=2 --devices cpu:0,cpu:1,cpu:2,cpu:3 --json")]
pub struct Args {
    /// Training config; otherwise the small one inside the program
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Change one key of the config; repeatable
    #[arg(long, value_name = "SECTION.KEY=VALUE")]
    pub set: Vec<String>,
    /// Devices of the pipelined run, all of one kind; "one device" is the first of them
    #[arg(
        long,
        value_name = "LIST",
        value_delimiter = ',',
        default_value = "cpu:0,cpu:1"
    )]
    pub devices: Vec<DeviceName>,
    /// Batches over which each measurement is averaged
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = at_least_one)]
    pub batches: usize,
    /// How often all is measured
    #[arg(long, value_name = "R", default_value_t = 5, value_parser = at_least_one)]
    pub repeats: usize,
    /// Bandwidth between devices that computed times assume, in 10^9 bytes a second
    #[arg(long, value_name = "GB/S", default_value_t = 10.0, value_parser = bandwidth)]
    pub bandwidth: f64,
}

/// The answer for machines.
#[derive(Serialize)]
struct Answer<'a> {
    machine: &'a Machine,
    device: DeviceName,
    threads_per_device: usize,
    batch_size: usize,
    grid: [usize; 3],
    batches: usize,
    assumed_bytes_per_second: f64,
    rows: &'a [Row],
}

/// Measures and prints the table.
///
/// # Errors
/// Where the config or a device is not usable.
pub fn run(args: &Args, context: &Context) -> anyhow::Result<ExitStatus> {
    let printer = &context.printer;
    let config = super::config(args.config.as_deref(), &args.set)?;
    let grid = Recipe::named(&config.data.recipe)?.grid.shape.0;
    check_devices(&args.devices, printer)?;
    let settings = Settings {
        config: &config,
        grid,
        devices: &args.devices,
        n_batches: args.batches,
        repeats: args.repeats,
    };
    let progress = printer.progress("bench", "rounds", Some(n_rounds(args.repeats) as u64));
    let measured = measure(&settings, &mut || progress.advance(1))?;
    drop(progress);

    let machine = Machine::here();
    let bytes_per_second = args.bandwidth * 1e9;
    let rows = rows(&measured, bytes_per_second);
    print_measured(&settings, &measured, &machine, &rows, printer)?;
    print_computed(args.bandwidth, &rows, printer)?;
    printer.object(&Answer {
        machine: &machine,
        device: measured.device,
        threads_per_device: measured.n_threads,
        batch_size: config.train.batch_size,
        grid,
        batches: args.batches,
        assumed_bytes_per_second: bytes_per_second,
        rows: &rows,
    })?;
    Ok(ExitStatus::Done)
}

/// Times of one kind of device say nothing about another.
fn check_devices(devices: &[DeviceName], printer: &Printer) -> anyhow::Result<()> {
    let kinds = devices.windows(2);
    if kinds
        .into_iter()
        .any(|pair| std::mem::discriminant(&pair[0]) != std::mem::discriminant(&pair[1]))
    {
        let hint = "name devices of one kind, such as --devices cpu:0,cpu:1";
        return Err(CliError::usage("devices of several kinds cannot be compared", hint).into());
    }
    let on_cores = devices
        .iter()
        .filter(|device| matches!(device, DeviceName::LogicalCpu(_)));
    let (n_logical, n_cores) = (on_cores.count(), n_cores());
    if n_logical > n_cores {
        printer.warning(&format!(
            "{n_logical} devices share {n_cores} cores: the pipelined run cannot be as fast as computed"
        ));
    }
    Ok(())
}

fn print_measured(
    settings: &Settings<'_>,
    measured: &Measured,
    machine: &Machine,
    rows: &[Row],
    printer: &Printer,
) -> anyhow::Result<()> {
    let Machine {
        cpu,
        cores,
        threads,
    } = machine;
    let [x, y, z] = settings.grid;
    printer.line(&format!(
        "{cpu}, {cores} cores, {threads} threads; one device is {} with {} thread{}; batches of {} volumes, {x}×{y}×{z}",
        measured.device,
        measured.n_threads,
        if measured.n_threads == 1 { "" } else { "s" },
        settings.config.train.batch_size,
    ))?;
    printer.line("")?;
    printer.line(&format!(
        "Measured: seconds a batch, median of {} means over {} batches",
        settings.repeats, settings.n_batches
    ))?;
    printer.line(&format!(
        "  {:<46} {:>8} {:>8} {:>8} {:>7} {:>6}",
        "", "median", "min", "max", "speed", "MACs"
    ))?;
    let measured_rows = || rows.iter().filter(|row| row.measured);
    for row in measured_rows() {
        let text = |value: Option<f64>| value.map_or(String::new(), |value| format!("{value:.4}"));
        let speed = row
            .speedup
            .map_or(String::new(), |speed| format!("{speed:.2}×"));
        let share = row
            .mac_share
            .map_or(String::new(), |share| format!("{:.1}%", 100.0 * share));
        let line = format!(
            "  {:<46} {:>8.4} {:>8} {:>8} {speed:>7} {share:>6}",
            described(row),
            row.seconds,
            text(row.min),
            text(row.max),
        );
        printer.line(line.trim_end())?;
    }
    printer.line("")?;
    printer.line("Pipelined runs: computed from the blocks' times / measured")?;
    for row in measured_rows() {
        if let (Some(computed), Some(ratio)) = (row.computed_seconds, row.computed_over_measured) {
            printer.line(&format!(
                "  {:<46} {computed:>8.4} / {:.4} = {ratio:.2}",
                described(row),
                row.seconds
            ))?;
        }
    }
    Ok(())
}

/// What a measured row is, with its placement.
fn described(row: &Row) -> String {
    match &row.placement {
        Some(placement) => format!("{}: {placement}", row.what),
        None => row.what.clone(),
    }
}

fn print_computed(bandwidth: f64, rows: &[Row], printer: &Printer) -> anyhow::Result<()> {
    let computed: Vec<&Row> = rows.iter().filter(|row| !row.measured).collect();
    let methods: Vec<&[&Row]> = computed.chunk_by(|a, b| a.what == b.what).collect();
    printer.line("")?;
    printer.line(&format!(
        "Computed from the measured times, NOT measured: seconds a batch ({bandwidth} GB/s between devices assumed)"
    ))?;
    let header = methods.first().copied().unwrap_or_default().iter();
    let header: Vec<String> = header
        .map(|row| {
            let plural = if row.devices == 1 { "" } else { "s" };
            format!(" {:>16}", format!("{} device{plural}", row.devices))
        })
        .collect();
    printer.line(&format!("  {:<32}{}", "", header.concat()))?;
    for method in &methods {
        let cells: Vec<String> = method
            .iter()
            .map(|row| {
                let speed = row.speedup.unwrap_or(f64::NAN);
                format!(" {:>16}", format!("{:.4} {speed:>5.2}×", row.seconds))
            })
            .collect();
        printer.line(&format!("  {:<32}{}", method[0].what, cells.concat()))?;
    }
    let placed = computed
        .iter()
        .filter(|row| row.name.starts_with("block-local") && row.devices > 1);
    for row in placed {
        let placement = row.placement.as_deref().unwrap_or_default();
        printer.line(&format!("  blocks of {}: {placement}", row.name))?;
    }
    Ok(())
}

fn bandwidth(text: &str) -> Result<f64, String> {
    let number = text.parse::<f64>().ok();
    let positive = number.filter(|number| number.is_finite() && *number > 0.0);
    positive.ok_or_else(|| "not a number above 0".into())
}
