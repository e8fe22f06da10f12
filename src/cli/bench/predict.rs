//! `brainage bench predict`: seconds a scan of batch prediction.

use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

use brainage_pipelines::template::template;
use brainage_synth::{SynthLayout, SynthParams, write_scan_folder};
use serde::Serialize;

use crate::bench::machine::Machine;
use crate::bench::predict::{PredictBench, measure_prediction};

use super::super::scans::resolve_scans;
use super::super::{Context, ExitStatus};

/// Measure batch prediction: preprocessing and network alone on one core, and both at once on all
///
/// Without scans, of synthetic heads with voxels of 1 mm, which are made first.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  brainage bench predict --model model.safetensors --heads 20")]
pub struct Args {
    /// Scan files, folders or patterns
    pub scans: Vec<PathBuf>,
    /// Model file
    #[arg(long, value_name = "FILE")]
    pub model: PathBuf,
    /// How many synthetic heads, where no scans are given
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = super::at_least_one)]
    pub heads: usize,
}

/// The answer for machines.
#[derive(Serialize)]
struct Answer {
    machine: Machine,
    rows: Vec<PredictBench>,
    /// Rate of `together` by that of the slower part alone on one core.
    share_of_slower_part: f64,
}

/// Measures and prints.
///
/// # Errors
/// Where the model or a scan is refused.
pub fn run(args: &Args, context: &Context) -> anyhow::Result<ExitStatus> {
    let folder = tempfile::tempdir()?;
    let scans = if args.scans.is_empty() {
        let heads = folder.path().join("heads");
        let params = SynthParams {
            layout: SynthLayout::Bids,
            n_subjects: args.heads,
            seed: 1,
            age_years: [20.0, 80.0],
            voxel_size_mm: 1.0,
            spread: 1.0,
        };
        write_scan_folder(&heads, &params, &AtomicBool::new(false), &|_| ())?;
        resolve_scans(&[heads])?
    } else {
        resolve_scans(&args.scans)?
    };
    let rows = measure_prediction(&scans, &args.model, template()?, folder.path())?;
    let printer = &context.printer;
    for row in &rows {
        let memory = row.peak_mb.map(|peak| format!("{peak:8.0} MB"));
        printer.line(&format!(
            "  {:14} {:8.3} s a scan, {} scans, threads {} + {}{}",
            row.what,
            row.seconds,
            row.scans,
            row.threads[0],
            row.threads[1],
            memory.unwrap_or_default()
        ))?;
    }
    let seconds = |what: &str| {
        let row = rows.iter().find(|row| row.what == what);
        row.map_or(f64::NAN, |row| row.seconds)
    };
    let slower = seconds("preprocessing").max(seconds("network"));
    let share = slower / seconds("together");
    printer.line(&format!(
        "  {share:.2} times the rate of the slower part alone on one core"
    ))?;
    printer.object(&Answer {
        machine: Machine::here(),
        rows,
        share_of_slower_part: share,
    })?;
    Ok(ExitStatus::Done)
}
