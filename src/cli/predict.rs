//! `brainage predict`: a table with the predicted age of every scan.

use std::path::{Path, PathBuf};

use brainage_pipelines::batch::{Batch, ScanReport};
use brainage_pipelines::cache::Cache;
use brainage_pipelines::format::ReadOptions;
use brainage_pipelines::template::template;

use crate::engine::device::{DeviceName, n_cores, open_one};
use crate::predict::predictor::{AgePredictor, PredictSettings, Visit};
use crate::predict::row::PredictionRow;
use crate::predict::stream::predict_stream;
use crate::predict::table::{PredictionWriter, TableFormat};

use super::ages::AgeTable;
use super::bench::at_least_one;
use super::resources::{available_memory, free_disk, gigabytes, parse_size};
use super::saliency::SaliencyArgs;
use super::scans::{listed_scans, resolve_scans, visit_in_names};
use super::{CliError, Context, ExitStatus};

/// Memory that a scan takes while it is preprocessed, bytes: a 256³ scan through the recipes without and with the
/// learned mask (docs/performance.md), rounded up.
const BYTES_PER_SCAN: u64 = 700_000_000;
/// Memory of the program and of a network at 128³ with one volume, bytes.
const BYTES_OF_NETWORK: u64 = 700_000_000;

/// Predict ages of scans
///
/// Scans go through the recipe of the model. One row a scan, in the order given, written as it is done; a scan that cannot
/// be used has its reason in the column `error`. Several models of one recipe are an ensemble: their mean is the
/// prediction.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  brainage predict scans/ --model model.safetensors --out predictions.csv\n  \
    brainage predict scans/ --model model.safetensors --ages ages.csv --tta\n  \
    brainage predict --list scans.txt --model a.safetensors --model b.safetensors --format jsonl --out predictions.jsonl\n  \
    brainage predict scan.nii.gz --model model.safetensors --saliency maps --saliency-method gradient,occlusion\n  \
    brainage predict scans/ --model model.safetensors --out predictions.csv --resume"
)]
pub struct Args {
    /// Scan files, folders or patterns; of a BIDS data set its T1w images
    #[arg(required_unless_present = "list")]
    pub scans: Vec<PathBuf>,
    /// File with a scan a line, relative to its own folder; `#` begins a remark
    #[arg(long, value_name = "FILE")]
    pub list: Option<PathBuf>,
    /// Model file; several make an ensemble
    #[arg(long, value_name = "FILE", required = true)]
    pub model: Vec<PathBuf>,
    /// Table that is written
    #[arg(long, value_name = "FILE", default_value = "predictions.csv")]
    pub out: PathBuf,
    /// Format of the table; otherwise by its name
    #[arg(long, value_enum)]
    pub format: Option<TableFormat>,
    /// Table with age_years and scan or participant_id; the gaps are then written too
    #[arg(long, value_name = "FILE")]
    pub ages: Option<PathBuf>,
    /// Go on with a table that was not finished
    #[arg(long)]
    pub resume: bool,
    /// Predict also from the mirror image and from six shifted copies: the mean is the prediction, and takes eight times as
    /// long in the network
    #[arg(long)]
    pub tta: bool,
    /// Share of people whose age the interval is to hold: 0.5, 0.8, 0.9 or 0.95; otherwise 0.9, or the largest that the
    /// model's validation set allowed
    #[arg(long, value_name = "SHARE")]
    pub coverage: Option<f64>,
    /// How many scans are preprocessed at once; otherwise as many as the machine has cores
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub jobs: Option<usize>,
    /// Memory to stay within, such as 4G: fewer scans are in work at once
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub max_memory: Option<u64>,
    /// Where the models looked.
    #[command(flatten)]
    pub saliency: SaliencyArgs,
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
/// Where a model, a device or the cache is unusable, the memory too small, or the table cannot be written.
pub fn run(args: &Args, context: &Context) -> anyhow::Result<ExitStatus> {
    let scans = scans_of(args)?;
    let template = template()?;
    let settings = PredictSettings {
        test_time_augmentation: args.tta,
        coverage: args.coverage,
    };
    let predictor = AgePredictor::load(&args.model, open_one(args.device)?, settings)?;
    tell_of_interval(&predictor, args, context)?;
    let ages = args.ages.as_deref().map(AgeTable::read).transpose()?;
    let cache = context.cache(args.cache.as_deref())?;
    let (mut table, done) = open_table(args, predictor.n_blocks())?;
    check_done(&done, &scans, &predictor)?;
    let rest = scans.get(done.len()..).unwrap_or_default();
    let n_jobs = n_jobs(args)?;
    let mut maps = args.saliency.open(&predictor)?;
    tell_of_needs(rest.len(), n_jobs, &predictor, &cache, context);

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
    let mut counts = Counts::of(&done);
    let mut predict = |report: &ScanReport| {
        let mut row = predictor.row(report, visit_of(&report.scan, ages.as_ref()));
        if let Some(maps) = &mut maps
            && let Err(error) = maps.add(report, &predictor, context)
        {
            row.warnings.push(format!("no saliency map: {error:#}"));
        }
        let entry = report.outcome.entry();
        (row, entry.is_some_and(|entry| !entry.header.synthetic))
    };
    let mut tell = |(row, is_real): (PredictionRow, bool)| -> anyhow::Result<()> {
        counts.add(&row, is_real);
        if let Some(reason) = &row.error {
            context.printer.warning(&format!("refused: {reason}"));
        }
        table.write(&row)?;
        progress.advance(1);
        Ok(())
    };
    let n_told = predict_stream(rest, &batch, n_jobs, &mut predict, &mut tell)?;
    drop(progress);
    if n_told < rest.len() {
        let hint = "go on with the same command and --resume";
        return Err(CliError::failed("stopped; what was predicted is kept", hint).into());
    }
    if let Some(maps) = maps {
        maps.finish(&predictor)?;
    }
    table.finish()?;
    counts.tell(&predictor, args, context)?;
    Ok(ExitStatus::from_refused(counts.refused))
}

fn scans_of(args: &Args) -> anyhow::Result<Vec<PathBuf>> {
    let listed = args.list.as_deref().map(listed_scans).transpose()?;
    let named: Vec<PathBuf> = args
        .scans
        .iter()
        .cloned()
        .chain(listed.unwrap_or_default())
        .collect();
    resolve_scans(&named)
}

/// Who was scanned: as the table of ages says, else as the names of a BIDS data set do.
fn visit_of(scan: &Path, ages: Option<&AgeTable>) -> Visit {
    let told = ages.map(|ages| ages.visit_of(scan)).unwrap_or_default();
    if told.participant_id.is_some() {
        return told;
    }
    let named = visit_in_names(scan);
    // A table that names people as the files do, and not the files.
    let by_name = ages.and_then(|ages| ages.visit_of_participant(&named));
    by_name.unwrap_or(Visit {
        age_years: told.age_years,
        ..named
    })
}

fn open_table(
    args: &Args,
    n_blocks: usize,
) -> anyhow::Result<(PredictionWriter, Vec<PredictionRow>)> {
    make_folder_of(&args.out)?;
    let by_name = TableFormat::of_name(&args.out);
    let format = args.format.unwrap_or(by_name);
    if args.resume {
        return Ok(PredictionWriter::resume(&args.out, format, n_blocks)?);
    }
    let table = PredictionWriter::create(&args.out, format, n_blocks)?;
    Ok((table, Vec::new()))
}

fn make_folder_of(path: &Path) -> std::io::Result<()> {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => fs_err::create_dir_all(folder),
        _ => Ok(()),
    }
}

/// That the rows which were resumed are of the first scans and of these models.
fn check_done(
    done: &[PredictionRow],
    scans: &[PathBuf],
    predictor: &AgePredictor,
) -> Result<(), CliError> {
    let name = predictor.name();
    if let Some(other) = done.iter().find(|row| row.model != name) {
        let message = format!(
            "the unfinished table is of model {}, expected {name}",
            other.model
        );
        let hint = "resume with the model that it was begun with, or begin without --resume";
        return Err(CliError::failed(message, hint));
    }
    let mut pairs = done.iter().zip(scans);
    let differs = pairs.find(|(row, scan)| row.scan != scan.display().to_string());
    if let Some((row, scan)) = differs {
        let message = format!(
            "the unfinished table has `{}` where this command has `{}`",
            row.scan,
            scan.display()
        );
        let hint = "resume with the scans that it was begun with, or begin without --resume";
        return Err(CliError::failed(message, hint));
    }
    Ok(())
}

/// Scans in work at once.
fn n_jobs(args: &Args) -> Result<usize, CliError> {
    let wanted = args.jobs.unwrap_or_else(n_cores);
    let Some(most) = args.max_memory else {
        return Ok(wanted);
    };
    let fitting = most.saturating_sub(BYTES_OF_NETWORK) / BYTES_PER_SCAN;
    if fitting == 0 {
        let least = gigabytes(BYTES_OF_NETWORK + BYTES_PER_SCAN);
        let message = format!(
            "--max-memory is {}, one scan and a network take up to {least}",
            gigabytes(most)
        );
        return Err(CliError::usage(message, "allow more"));
    }
    Ok(wanted.min(fitting as usize))
}

/// Says what the run may take, and warns where there is less.
fn tell_of_needs(
    n_scans: usize,
    n_jobs: usize,
    predictor: &AgePredictor,
    cache: &Cache,
    context: &Context,
) {
    let memory = BYTES_OF_NETWORK + BYTES_PER_SCAN * n_jobs as u64;
    let n_voxels: usize = predictor.recipe.grid.shape.0.iter().product();
    // Two bytes a voxel, and a header.
    let disk = (2 * n_voxels as u64 + 16_384) * n_scans as u64;
    context.printer.status(&format!(
        "{n_scans} scans, {n_jobs} at once: up to {} of memory, {} of disk for the cache",
        gigabytes(memory),
        gigabytes(disk)
    ));
    if let Some(free) = available_memory().filter(|free| *free < memory) {
        context.printer.warning(&format!(
            "only {} of memory are available: give --jobs or --max-memory if the system begins to swap",
            gigabytes(free)
        ));
    }
    if let Some(free) = free_disk(cache.root()).filter(|free| *free < disk) {
        context.printer.warning(&format!(
            "only {} are free for the cache: name a folder on a larger disk with --cache (`{}`)",
            gigabytes(free),
            cache.root().display()
        ));
    }
}

/// That there is an interval of the share that was asked for, or why there is none.
fn tell_of_interval(
    predictor: &AgePredictor,
    args: &Args,
    context: &Context,
) -> Result<(), CliError> {
    let [model] = predictor.models() else {
        let said = "an ensemble has no calibrated interval: those of its models are not that of their mean";
        context.printer.status(said);
        return Ok(());
    };
    match &model.description.facts.interval {
        None => context
            .printer
            .status("this model has no calibrated interval: its validation set was too small"),
        Some(interval) => {
            let mut coverages = interval.coverages();
            if let Some(asked) = args.coverage
                && !coverages.any(|share| (share - asked).abs() < 1e-9)
            {
                let stored: Vec<String> = interval.coverages().map(|c| c.to_string()).collect();
                let message = format!(
                    "the model has no interval for a share of {asked}, only for {}",
                    stored.join(", ")
                );
                return Err(CliError::usage(
                    message,
                    "give one of these with --coverage",
                ));
            }
        }
    }
    Ok(())
}

/// What came of a batch.
struct Counts {
    all: usize,
    refused: usize,
    /// Of people, as far as this run of the command preprocessed or found them.
    real: usize,
    outside: usize,
    learned: usize,
    failed_qc: usize,
}

impl Counts {
    fn of(done: &[PredictionRow]) -> Self {
        let mut counts = Self {
            all: 0,
            refused: 0,
            real: 0,
            outside: 0,
            learned: 0,
            failed_qc: 0,
        };
        for row in done {
            counts.add(row, false);
        }
        counts
    }

    fn add(&mut self, row: &PredictionRow, is_real: bool) {
        self.all += 1;
        self.refused += usize::from(row.error.is_some());
        self.real += usize::from(is_real);
        let outside = |warning: &String| warning.contains("outside the training ages");
        self.outside += usize::from(row.warnings.iter().any(outside));
        self.learned += usize::from(row.in_training.is_some());
        let failed = row.qc == Some(brainage_pipelines::qc::QcVerdict::Fail);
        self.failed_qc += usize::from(failed);
    }

    fn tell(&self, predictor: &AgePredictor, args: &Args, context: &Context) -> anyhow::Result<()> {
        let printer = &context.printer;
        let n_synthetic: usize = predictor
            .models()
            .iter()
            .map(|model| model.description.facts.training.n_synthetic)
            .sum();
        if self.real > 0 && n_synthetic > 0 {
            printer.warning(&format!(
                "{n_synthetic} training scans of this model were synthetic heads: its ages of the {} real scans mean nothing",
                self.real
            ));
        }
        if self.learned > 0 {
            printer.warning(&format!(
                "{} scans are of the model's own training (column in_training): how well they are predicted says nothing",
                self.learned
            ));
        }
        if self.outside > 0 {
            let [youngest, oldest] = predictor.training_ages_years();
            printer.warning(&format!(
                "{} ages or predictions lie outside the training ages {youngest:.1}–{oldest:.1} (column warnings)",
                self.outside
            ));
        }
        if self.failed_qc > 0 {
            printer.warning(&format!(
                "{} scans failed quality control: their predictions are not to be trusted (columns qc, qc_reasons)",
                self.failed_qc
            ));
        }
        printer.object(&serde_json::json!({
            "out": args.out,
            "n": self.all,
            "predicted": self.all - self.refused,
            "refused": self.refused,
            "failed_qc": self.failed_qc,
            "in_training": self.learned,
            "outside_training_ages": self.outside,
        }))?;
        printer.line(&format!(
            "{} of {} scans predicted: `{}`",
            self.all - self.refused,
            self.all,
            args.out.display()
        ))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser as _;

    #[derive(clap::Parser)]
    struct Command {
        #[command(flatten)]
        args: Args,
    }

    fn args(rest: &[&str]) -> Args {
        let words = ["predict", "a.nii", "--model", "m"].iter().chain(rest);
        Command::parse_from(words).args
    }

    #[test]
    fn memory_bounds_the_scans_in_work() {
        assert_eq!(n_jobs(&args(&["--jobs", "8"])).unwrap(), 8);
        let bounded = args(&["--jobs", "8", "--max-memory", "2.2G"]);
        assert_eq!(n_jobs(&bounded).unwrap(), 2);
        let refused = n_jobs(&args(&["--max-memory", "1G"])).unwrap_err();
        assert!(refused.to_string().contains("1.4 GB"), "{refused}");
    }
}
