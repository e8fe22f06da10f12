//! Seconds and memory of each stage of preprocessing.

use std::ops::ControlFlow;
use std::path::Path;
use std::time::Instant;

use brainage_pipelines::format::ReadOptions;
use brainage_pipelines::preprocess::{Stage, preprocess_watched};
use brainage_pipelines::recipe::Recipe;
use brainage_pipelines::template::Template;
use serde::Serialize;

use super::timing::Spread;
use crate::process::{forget_peak, peak};
use brainage_pipelines::Error;

/// A stage, or all of them together.
#[derive(Clone, Debug, Serialize)]
pub struct StageRow {
    /// `preprocess/STAGE`.
    pub name: String,
    /// The stage, or `all`.
    pub what: &'static str,
    /// Seconds.
    #[serde(flatten)]
    pub spread: Spread,
    /// Most resident memory of the whole process meanwhile, 10^6 bytes, in any run; where the system tells it.
    pub peak_mb: Option<f64>,
}

/// Takes a scan through a recipe `repeats` times after one that does not count; a row for each stage, then their sum.
///
/// # Errors
/// Where the scan is refused.
pub fn measure_stages(
    scan: &Path,
    recipe: &Recipe,
    template: &Template,
    repeats: usize,
) -> Result<Vec<StageRow>, Error> {
    let mut seconds: [Vec<f64>; Stage::ALL.len()] = Default::default();
    let mut peaks = [None::<u64>; Stage::ALL.len()];
    for repeat in 0..=repeats {
        forget_peak().ok();
        let mut begun = Instant::now();
        let mut after = |stage: Stage| {
            let took = begun.elapsed().as_secs_f64();
            if repeat > 0 {
                seconds[stage as usize].push(took);
                peaks[stage as usize] = peaks[stage as usize].max(peak());
            }
            forget_peak().ok();
            begun = Instant::now();
            ControlFlow::Continue(())
        };
        preprocess_watched(scan, ReadOptions::default(), recipe, template, &mut after)?;
    }
    let sums = (0..repeats).map(|run| seconds.iter().filter_map(|all| all.get(run)).sum());
    let sums: Vec<f64> = sums.collect();
    let of_stages = Stage::ALL.into_iter().zip(seconds).zip(peaks);
    let rows = of_stages.map(|((stage, seconds), peak)| (stage.name(), seconds, peak));
    let all = ("all", sums, peaks.into_iter().flatten().max());
    Ok(rows
        .chain([all])
        .filter_map(|(what, seconds, peak)| {
            Some(StageRow {
                name: format!("preprocess/{what}"),
                what,
                spread: Spread::of(seconds)?,
                peak_mb: peak.map(|peak| peak as f64 / 1e6),
            })
        })
        .collect())
}
