//! `brainage preprocess`: scans, or those of cohorts, become volumes in the cache, and files where asked.

use std::path::{Path, PathBuf};

use brainage_pipelines::batch::{
    Batch, BatchParams, ScanOutcome, ScanReport, preprocess_scans_with,
};
use brainage_pipelines::cache::{Cache, PurgeMode};
use brainage_pipelines::format::ReadOptions;
use brainage_pipelines::quality_page::{RefusedScan, write_quality_page};
use brainage_pipelines::recipe::Recipe;
use brainage_pipelines::template::template;
use rayon::ThreadPoolBuilder;
use serde::Serialize;

use super::bench::at_least_one;
use super::index::list_all;
use super::resources::parse_size;
use super::review::Rejected;
use super::scans::resolve_scans;
use super::withdrawn::forget_withdrawn;
use super::{CliError, Context, ExitStatus, upkeep};

/// Preprocess scans into the cache
///
/// Scans that are in the cache already are not done again. A scan that cannot be used is listed with the reason, and
/// the rest goes on.
#[derive(Debug, clap::Args)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a switch of the command line"
)]
#[command(
    after_help = "Examples:\n  brainage preprocess --cohorts ukbb\n  brainage preprocess scans/ --out preprocessed\n  \
    brainage preprocess --cohorts ukbb --shard 3/16 --max-memory 2GB\n  brainage preprocess --recipe standard --show-recipe > mine.toml"
)]
pub struct Args {
    /// Scan files, folders or patterns
    #[arg(required_unless_present_any = ["cohorts", "show_recipe", "gc", "verify"],
        conflicts_with_all = ["cohorts", "gc", "verify"])]
    scans: Vec<PathBuf>,
    /// Cohorts of the project file
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    cohorts: Vec<String>,
    /// Name of a recipe, or a recipe file (.toml)
    #[arg(long, default_value = "fast", value_name = "NAME")]
    recipe: String,
    /// Print the recipe with all its settings, as a file that `--recipe` takes, and do nothing else
    #[arg(long)]
    show_recipe: bool,
    /// Take this volume, from 0, of scans that hold several; otherwise such scans are refused
    #[arg(long, value_name = "N")]
    volume: Option<usize>,
    /// Read Analyze 7.5 pairs too, whose x is taken to run to the left
    #[arg(long)]
    analyze: bool,
    /// Remove the entries that no scan of the project's cohorts needs, and what a crash left
    #[arg(long, conflicts_with_all = ["cohorts", "verify", "shard", "out"])]
    gc: bool,
    /// With --gc: only say what would be removed
    #[arg(long, requires = "gc")]
    dry_run: bool,
    /// Read every entry of the cache and say which are damaged
    #[arg(long, conflicts_with_all = ["cohorts", "shard", "out"])]
    verify: bool,
    /// How many scans are in work at once; otherwise as many as the machine has cores
    ///
    /// Each takes about 300 MB, up to 700 MB with the learned mask.
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    jobs: Option<usize>,
    /// Most memory for the whole program, such as 2GB or 800MB: as many scans are in work at once as fit
    ///
    /// What a scan needs is told from its header and the recipe. One that does not fit alone is refused.
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    max_memory: Option<u64>,
    /// Only the i-th of n parts of the scans, such as 1/4
    #[arg(long, value_name = "I/N", value_parser = parse_shard)]
    shard: Option<Shard>,
    /// With --cohorts: judgments of scans whose rejected ones are left out; otherwise qc_review.csv beside the project file
    #[arg(long, value_name = "FILE", requires = "cohorts")]
    review: Option<PathBuf>,
    /// Folder for NIfTI volumes, masks, affines and quality reports
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Folder of the cache; otherwise the project's, or the user's
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,
}

/// Part `number` (from 1) of `of`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Shard {
    number: usize,
    of: usize,
}

/// The answer for machines.
#[derive(Serialize)]
struct Answer {
    scans: Vec<ScanAnswer>,
}

#[derive(Serialize)]
struct ScanAnswer {
    scan: PathBuf,
    status: &'static str,
    qc: Option<String>,
    reasons: Vec<String>,
    seconds: f64,
    error: Option<String>,
    #[serde(skip)]
    hint: Option<&'static str>,
}

/// Fills the cache and says how each scan ended.
///
/// # Errors
/// Where no scan is named, the recipe is unknown, the cache cannot be used, or Ctrl-C came first.
pub fn run(args: &Args, context: &Context) -> anyhow::Result<ExitStatus> {
    let recipe = read_recipe(&args.recipe)?;
    if args.show_recipe {
        context.printer.line(recipe.to_toml().trim_end())?;
        return Ok(ExitStatus::Done);
    }
    if args.verify {
        return upkeep::verify(&context.cache(args.cache.as_deref())?, context);
    }
    if args.gc {
        let cache = context.cache(args.cache.as_deref())?;
        let mode = if args.dry_run {
            PurgeMode::Count
        } else {
            PurgeMode::Remove
        };
        return upkeep::purge(&cache, &recipe, args.read_options(), mode, context);
    }
    match args.jobs {
        None => preprocess(args, &recipe, context),
        Some(jobs) => ThreadPoolBuilder::new()
            .num_threads(jobs)
            .build()?
            .install(|| preprocess(args, &recipe, context)),
    }
}

/// In the pool of the caller.
fn preprocess(args: &Args, recipe: &Recipe, context: &Context) -> anyhow::Result<ExitStatus> {
    let cache = context.cache(args.cache.as_deref())?;
    let scans = Shard::pick(args.shard, scans_of(args, &cache, context)?);
    let template = template()?;
    let batch = Batch {
        read: args.read_options(),
        recipe,
        template,
        cache: &cache,
        stop: context.stop.flag(),
    };
    if let Some(out) = &args.out {
        fs_err::create_dir_all(out)?;
    }
    let progress = context
        .printer
        .progress("preprocess", "scans", Some(scans.len() as u64));
    let params = BatchParams {
        out: args.out.as_deref(),
        max_memory: args.max_memory,
    };
    let reports = preprocess_scans_with(&scans, &batch, params, &|_, _| progress.advance(1));
    drop(progress);
    let answers: Vec<ScanAnswer> = reports.iter().map(ScanAnswer::of).collect();
    if let Some(out) = &args.out {
        let page = write_quality_page(out, &refused(&answers))?;
        let said = format!("all scans on one page: `{}`", page.display());
        context.printer.status(&said);
    }
    tell(&answers, context)?;
    let n_refused = answers
        .iter()
        .filter(|answer| answer.error.is_some())
        .count();
    context.printer.object(&Answer { scans: answers })?;
    if context.stop.is_set() {
        let hint = "the same command goes on where it stopped";
        return Err(CliError::failed("stopped before the last scan", hint).into());
    }
    Ok(ExitStatus::from_refused(n_refused))
}

/// The recipe of this name, or of this file.
///
/// # Errors
/// Where there is none, or the file is no recipe.
pub(super) fn read_recipe(name: &str) -> anyhow::Result<Recipe> {
    if Path::new(name)
        .extension()
        .is_some_and(|ending| ending == "toml")
    {
        let text = fs_err::read_to_string(name)?;
        return Ok(Recipe::parse(&text, name)?);
    }
    Ok(Recipe::named(name)?)
}

fn scans_of(args: &Args, cache: &Cache, context: &Context) -> anyhow::Result<Vec<PathBuf>> {
    if args.cohorts.is_empty() {
        return resolve_scans(&args.scans);
    }
    let cohorts = context.required_project()?.cohorts_named(&args.cohorts)?;
    let rejected = Rejected::read(args.review.as_deref(), context)?;
    let mut listings = list_all(&cohorts, context)?;
    let n_rejected = listings
        .iter_mut()
        .map(|listing| rejected.leave_out_of(listing))
        .sum();
    if let Some(said) = rejected.summary(n_rejected) {
        context.printer.status(&said);
    }
    forget_withdrawn(&listings, cache, context)?;
    let rows = listings.into_iter().flat_map(|listing| listing.rows);
    let scans: Vec<PathBuf> = rows.map(|row| row.scan).collect();
    if scans.is_empty() {
        let hint = "`brainage index --check` says what was skipped and why";
        return Err(CliError::failed("the cohorts have no scan that can be used", hint).into());
    }
    Ok(scans)
}

/// For the page that shows all scans.
fn refused(answers: &[ScanAnswer]) -> Vec<RefusedScan> {
    let of = |answer: &ScanAnswer| {
        Some(RefusedScan {
            scan: answer.scan.clone(),
            reason: answer.error.clone()?,
            hint: answer.hint.map(str::to_owned),
        })
    };
    answers.iter().filter_map(of).collect()
}

fn tell(answers: &[ScanAnswer], context: &Context) -> anyhow::Result<()> {
    let printer = &context.printer;
    for answer in answers {
        let scan = answer.scan.display();
        match (&answer.error, &answer.qc) {
            (Some(error), _) => {
                printer.warning(&format!("refused: {}", named(error, &answer.scan)));
                if let Some(hint) = answer.hint {
                    printer.hint(hint);
                }
            }
            (None, Some(qc)) if !answer.reasons.is_empty() => {
                printer.status(&format!("{scan}: qc {qc} ({})", answer.reasons.join("; ")));
            }
            (None, _) => {}
        }
    }
    let n = |status| {
        answers
            .iter()
            .filter(|answer| answer.status == status)
            .count()
    };
    let (done, cached, refused) = (n("done"), n("cached"), n("refused"));
    printer.line(&format!(
        "{done} done, {cached} from the cache, {refused} refused"
    ))?;
    Ok(())
}

/// The text with the scan in it; most reasons name it already.
fn named(text: &str, scan: &Path) -> String {
    let scan = scan.display().to_string();
    if text.contains(&scan) {
        text.to_owned()
    } else {
        format!("{text}: `{scan}`")
    }
}

impl Args {
    fn read_options(&self) -> ReadOptions {
        ReadOptions {
            volume: self.volume,
            analyze: self.analyze,
        }
    }
}

impl ScanAnswer {
    fn of(report: &ScanReport) -> Self {
        let (status, error) = match &report.outcome {
            ScanOutcome::Done(_) => ("done", None),
            ScanOutcome::Cached(_) => ("cached", None),
            ScanOutcome::Refused { reason } => ("refused", Some(reason.clone())),
        };
        let qc = report.outcome.entry().map(|entry| &entry.header.qc);
        Self {
            scan: report.scan.clone(),
            status,
            qc: qc.map(|qc| qc.verdict.to_string()),
            reasons: qc.map(|qc| qc.reasons.clone()).unwrap_or_default(),
            seconds: report.seconds,
            error,
            hint: report.hint,
        }
    }
}

impl Shard {
    /// Every `of`-th scan: the shards are disjoint and together hold all scans.
    fn pick(shard: Option<Self>, scans: Vec<PathBuf>) -> Vec<PathBuf> {
        let Some(Self { number, of }) = shard else {
            return scans;
        };
        scans.into_iter().skip(number - 1).step_by(of).collect()
    }
}

fn parse_shard(text: &str) -> Result<Shard, String> {
    let parts = text
        .split_once('/')
        .and_then(|(number, of)| Some((number.parse().ok()?, of.parse().ok()?)));
    match parts {
        Some((number, of)) if (1..=of).contains(&number) => Ok(Shard { number, of }),
        _ => Err("expected part/parts such as 1/4".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_are_disjoint_and_together_hold_all_scans() {
        let scans: Vec<PathBuf> = (0..10).map(|i| format!("{i}.nii").into()).collect();
        let mut all: Vec<PathBuf> = (1..=3)
            .flat_map(|number| Shard::pick(Some(Shard { number, of: 3 }), scans.clone()))
            .collect();
        all.sort();
        assert_eq!(all, scans);
        assert_eq!(Shard::pick(None, scans.clone()), scans);
    }

    #[test]
    fn a_shard_is_one_of_its_number_of_parts() {
        assert_eq!(parse_shard("4/4"), Ok(Shard { number: 4, of: 4 }));
        for text in ["", "1", "0/4", "5/4", "1/0", "-1/3", "a/b"] {
            assert!(parse_shard(text).is_err(), "{text}");
        }
    }
}
