//! `brainage bench preprocess`: seconds and memory of each stage of preprocessing.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use brainage_pipelines::template::template;
use brainage_synth::{SynthLayout, SynthParams, write_scan_folder};
use serde::Serialize;

use crate::bench::machine::Machine;
use crate::bench::preprocess::{StageRow, measure_stages};

use super::super::preprocess::read_recipe;
use super::super::scans::resolve_scans;
use super::super::{CliError, Context, ExitStatus};

/// Measure the seconds and the peak memory of each stage of preprocessing a scan
///
/// The scan is taken through the recipe again and again, past the cache. Without one, a synthetic head with voxels of 1 mm.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  brainage bench preprocess scan.nii.gz --recipe standard")]
pub struct Args {
    /// Scan file
    pub scan: Option<PathBuf>,
    /// Name of a recipe, or a recipe file (.toml)
    #[arg(long, default_value = "standard", value_name = "NAME")]
    pub recipe: String,
    /// How often, after one time that does not count
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = super::at_least_one)]
    pub repeats: usize,
}

/// The answer for machines.
#[derive(Serialize)]
struct Answer {
    machine: Machine,
    scan: PathBuf,
    recipe: String,
    rows: Vec<StageRow>,
}

/// Measures and prints.
///
/// # Errors
/// Where the recipe is unknown or the scan is refused.
pub fn run(args: &Args, context: &Context) -> anyhow::Result<ExitStatus> {
    let recipe = read_recipe(&args.recipe)?;
    let folder = tempfile::tempdir()?;
    let scan = match &args.scan {
        Some(scan) => scan.clone(),
        None => synthetic_head(&folder.path().join("heads"))?,
    };
    let rows = measure_stages(&scan, &recipe, template()?, args.repeats)?;
    let printer = &context.printer;
    printer.line(&format!("recipe {}: `{}`", recipe.name, scan.display()))?;
    for row in &rows {
        let memory = row.peak_mb.map(|peak| format!("{peak:8.0} MB"));
        printer.line(&format!(
            "  {:10} {:8.3} s ({:.3} to {:.3}){}",
            row.what,
            row.spread.seconds,
            row.spread.min,
            row.spread.max,
            memory.unwrap_or_default()
        ))?;
    }
    printer.object(&Answer {
        machine: Machine::here(),
        scan,
        recipe: recipe.name,
        rows,
    })?;
    Ok(ExitStatus::Done)
}

/// Makes a head with voxels of 1 mm.
fn synthetic_head(folder: &Path) -> anyhow::Result<PathBuf> {
    let params = SynthParams {
        layout: SynthLayout::Bids,
        n_subjects: 1,
        seed: 1,
        age_years: [50.0, 51.0],
        spread: 1.0,
        voxel_size_mm: 1.0,
    };
    write_scan_folder(folder, &params, &AtomicBool::new(false), &|_| ())?;
    let scans = resolve_scans(&[folder.to_path_buf()])?;
    let missing = || CliError::failed("no synthetic head was made", "name a scan");
    Ok(scans.into_iter().next().ok_or_else(missing)?)
}
