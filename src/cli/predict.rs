//! `brainage predict`: scans become a table of ages with quality flags.

use std::path::PathBuf;

use brainage_pipelines::batch::{Batch, preprocess_scans};
use brainage_pipelines::format::ReadOptions;
use brainage_pipelines::template::template;

use crate::engine::device::{DeviceName, open_one};
use crate::predict::predictor::AgePredictor;
use crate::predict::table::PredictionWriter;

use super::ages::AgeTable;
use super::index::make_folder_of;
use super::scans::resolve_scans;
use super::{CliError, Context, ExitStatus};

/// Predict ages of scans
///
/// Scans go through the recipe of the model. One row a scan, in the order given; a scan that cannot be used has its
/// reason in the column `error`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  brainage predict scans/ --model model.safetensors --out predictions.csv\n  \
    brainage predict scans/ --model model.safetensors --ages ages.csv\n  \
    brainage predict scans/ --model model.safetensors --out predictions.csv --resume"
)]
pub struct Args {
    /// Scan files, folders or patterns
    #[arg(required = true)]
    pub scans: Vec<PathBuf>,
    /// Model file
    #[arg(long, value_name = "FILE")]
    pub model: PathBuf,
    /// Table that is written
    #[arg(long, value_name = "FILE", default_value = "predictions.csv")]
    pub out: PathBuf,
    /// Table with age_years and scan or participant_id; the gaps are then written too
    #[arg(long, value_name = "FILE")]
    pub ages: Option<PathBuf>,
    /// Go on with a table that was not finished
    #[arg(long)]
    pub resume: bool,
    /// Folder of the cache; otherwise the project's, or the user's
    #[arg(long, value_name = "DIR")]
    pub cache: Option<PathBuf>,
    /// Device that predicts, such as cpu or cuda:0
    #[arg(long, value_name = "DEVICE", default_value = "cpu")]
    pub device: DeviceName,
}

/// Predicts and writes the table.
///
/// # Errors
/// Where the model, a device or the cache is unusable, or the table cannot be written.
pub fn run(args: &Args, context: &Context) -> anyhow::Result<ExitStatus> {
    let scans = resolve_scans(&args.scans)?;
    let template = template()?;
    let predictor = AgePredictor::load(&args.model, template, open_one(args.device)?)?;
    let ages = args.ages.as_deref().map(AgeTable::read).transpose()?;
    let cache = context.cache(args.cache.as_deref())?;
    make_folder_of(&args.out)?;
    let n_blocks = predictor.model.network.blocks.len();
    let (mut table, done) = if args.resume {
        PredictionWriter::resume(&args.out, n_blocks)?
    } else {
        (PredictionWriter::create(&args.out, n_blocks)?, Vec::new())
    };
    let mut n_real = 0;
    let mut n_refused = done.iter().filter(|row| row.error.is_some()).count();
    let rest = scans.get(done.len()..).unwrap_or_default();
    let batch = Batch {
        read: ReadOptions::default(),
        recipe: &predictor.recipe,
        template,
        cache: &cache,
        stop: context.stop.flag(),
    };
    let progress = context
        .printer
        .progress("predict", "scans", Some(rest.len() as u64));
    for chunk in rest.chunks(CHUNK) {
        for report in preprocess_scans(chunk, &batch, &|_, _| {}) {
            if context.stop.is_set() {
                let hint = "go on with the same command and --resume";
                return Err(CliError::failed("stopped; what was predicted is kept", hint).into());
            }
            let visit = ages.as_ref().map(|ages| ages.visit_of(&report.scan));
            let row = predictor.row(&report, visit.unwrap_or_default());
            let entry = report.outcome.entry();
            n_real += usize::from(entry.is_some_and(|entry| !entry.header.synthetic));
            if let Some(reason) = &row.error {
                n_refused += 1;
                context.printer.warning(&format!("refused: {reason}"));
            }
            table.write(&row)?;
            progress.advance(1);
        }
    }
    drop(progress);
    table.finish()?;
    let n_synthetic = predictor.model.description.facts.training.n_synthetic;
    if n_real > 0 && n_synthetic > 0 {
        context.printer.warning(&format!(
            "{n_synthetic} training scans of this model were synthetic heads: its ages of the {n_real} real scans mean nothing"
        ));
    }
    let n = scans.len();
    context.printer.line(&format!(
        "{} of {n} scans predicted: `{}`",
        n - n_refused,
        args.out.display()
    ))?;
    Ok(ExitStatus::from_refused(n_refused))
}

/// Scans that are preprocessed at once before their rows are written.
const CHUNK: usize = 16;
