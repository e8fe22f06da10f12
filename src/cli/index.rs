//! `brainage index`: cohort folders become one index, with what was skipped and why.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use brainage_cohorts::{
    Cohort, CohortIndex, CohortListing, SplitFractions, assign_splits, check_leakage, list_cohort,
};
use serde::Serialize;

use crate::config::project::Project;
use crate::config::train::{BRAIN_CNN, TrainConfig};

use super::index_check::{ImageCheck, check_images};
use super::review::Rejected;
use super::withdrawn::{Purge, forget_withdrawn, purge_runs};
use super::{CliError, Context, ExitStatus};

/// List the scans of the cohorts in one index
///
/// Every scan that can be used becomes a row with its participant's age and its split; every one that cannot is counted
/// under a reason.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  brainage index --check\n  brainage index --cohorts ukbb,hcp --out index.csv\n  brainage index --purge"
)]
pub struct Args {
    /// Cohorts of the project file; otherwise all
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    cohorts: Vec<String>,
    /// Index that is written
    #[arg(long, value_name = "FILE", default_value = "index.csv")]
    out: PathBuf,
    /// Judgments of scans whose rejected ones are left out; otherwise qc_review.csv beside the project file, if it is there
    #[arg(long, value_name = "FILE")]
    review: Option<PathBuf>,
    /// Only check, write nothing; the headers of all scans are read
    #[arg(long, conflicts_with = "out")]
    check: bool,
    /// With --check: also read every scan whole, and name those that stand under two participants
    #[arg(long, requires = "check")]
    same_images: bool,
    /// Take withdrawn participants out of old run folders, too
    #[arg(long, conflicts_with = "check")]
    purge: bool,
    /// Folders with runs for --purge; otherwise `runs` beside the project file and here
    #[arg(long, value_name = "DIR", requires = "purge")]
    runs: Vec<PathBuf>,
}

/// Tables that are named; some layouts have one for each participant.
const TABLES_NAMED: usize = 5;

/// The answer for machines.
#[derive(Serialize)]
struct Answer<'a> {
    cohorts: BTreeMap<&'a str, CohortAnswer<'a>>,
    /// Where it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    purged: Option<Purge>,
}

#[derive(Serialize)]
struct CohortAnswer<'a> {
    participants: usize,
    scans: usize,
    indexed: usize,
    skipped: &'a BTreeMap<String, usize>,
    skipped_examples: &'a BTreeMap<String, Vec<String>>,
    missing_ages: usize,
    missing_files: usize,
    /// Visits of whose images one was chosen, by the rule that decided.
    choices: &'a BTreeMap<&'static str, usize>,
    /// What the scans' own headers say; only with --check.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    images: Option<ImageCheck>,
    /// Scans by sex (F, M, O, U) and decade of age.
    ages: BTreeMap<&'static str, BTreeMap<u32, usize>>,
    layout: &'static str,
    recognized_by: &'a [String],
    demographics: &'a [PathBuf],
}

/// Lists the cohorts, and writes the index unless it is only a check.
///
/// # Errors
/// Without a project, with a cohort that cannot be listed at all, or where nothing is left to index.
pub fn run(args: &Args, context: &Context) -> anyhow::Result<ExitStatus> {
    let project = context.required_project()?;
    let cohorts = project.cohorts_named(&args.cohorts)?;
    if cohorts.is_empty() {
        let message = format!("the project has no cohorts: `{}`", project.path.display());
        return Err(
            CliError::usage(message, "add a [cohorts.NAME] table to the project file").into(),
        );
    }
    let rejected = Rejected::read(args.review.as_deref(), context)?;
    let mut listings = list_all(&cohorts, context)?;
    let n_rejected = listings
        .iter_mut()
        .map(|listing| rejected.leave_out_of(listing))
        .sum();
    for (cohort, listing) in cohorts.iter().zip(&listings) {
        tell(cohort, listing, context)?;
    }
    if let Some(said) = rejected.summary(n_rejected) {
        context.printer.line(&said)?;
    }
    if args.check {
        let mut checks = Vec::new();
        for (cohort, listing) in cohorts.iter().zip(&listings) {
            let check = check_images(listing, args.same_images, context)?;
            context.printer.line(&format!("{}:", cohort.name))?;
            for line in check.lines() {
                context.printer.line(&line)?;
            }
            checks.push(check);
        }
        context
            .printer
            .object(&answer(&cohorts, &listings, None, checks))?;
        return Ok(ExitStatus::Done);
    }
    // Before the index is written: the former one knows scans that are gone.
    forget_withdrawn(&listings, &context.cache(None)?, context)?;
    let purged = if args.purge {
        let purged = purge_runs(&listings, &args.runs, context)?;
        context.printer.line(&purged.to_string())?;
        Some(purged)
    } else {
        None
    };
    context
        .printer
        .object(&answer(&cohorts, &listings, purged, Vec::new()))?;
    let rows = listings
        .into_iter()
        .flat_map(|listing| listing.rows)
        .collect();
    let index = with_splits(CohortIndex { rows }, &project)?;
    if index.rows.is_empty() {
        let hint = "see the reasons above; `brainage index --check` repeats them";
        return Err(CliError::failed("no scan can be indexed", hint).into());
    }
    make_folder_of(&args.out)?;
    index.write_csv(&args.out)?;
    context.printer.line(&format!(
        "{} scans: `{}`",
        index.rows.len(),
        args.out.display()
    ))?;
    Ok(ExitStatus::Done)
}

/// Lists each cohort.
///
/// # Errors
/// The first cohort that cannot be listed at all.
pub(super) fn list_all(
    cohorts: &[Cohort],
    context: &Context,
) -> anyhow::Result<Vec<CohortListing>> {
    let mut listings = Vec::new();
    for cohort in cohorts {
        if context.stop.is_set() {
            return Err(CliError::failed("stopped before the last cohort", "begin again").into());
        }
        context.printer.status(&format!(
            "listing {} ({})",
            cohort.name,
            cohort.root.display()
        ));
        listings.push(list_cohort(cohort)?);
    }
    Ok(listings)
}

/// Splits as the project's trainings make them, so that the index shows what `train` will do.
fn with_splits(mut index: CohortIndex, project: &Project) -> anyhow::Result<CohortIndex> {
    let config = match &project.train_config {
        Some(path) => TrainConfig::parse(&fs_err::read_to_string(path)?, path, &[])?,
        None => TrainConfig::parse(BRAIN_CNN, Path::new("configs/brain-cnn.toml"), &[])?,
    };
    let split = config.data.split;
    let fractions = SplitFractions {
        validation: split.validation,
        test: split.test,
    };
    assign_splits(&mut index, config.train.seed.0, fractions)?;
    check_leakage(&index)?;
    Ok(index)
}

fn tell(cohort: &Cohort, listing: &CohortListing, context: &Context) -> anyhow::Result<()> {
    let printer = &context.printer;
    printer.line(&format!(
        "{}: {} participants, {} scans, {} indexed",
        cohort.name,
        listing.participants,
        listing.scans,
        listing.rows.len()
    ))?;
    for seen in &listing.recognized_by {
        printer.line(&format!("  recognized by {seen}"))?;
    }
    for table in listing.demographics_used.iter().take(TABLES_NAMED) {
        printer.line(&format!("  ages from `{}`", table.display()))?;
    }
    if let Some(more @ 1..) = listing.demographics_used.len().checked_sub(TABLES_NAMED) {
        printer.line(&format!("  and from {more} more tables"))?;
    }
    for (rule, n) in &listing.choices {
        printer.line(&format!("  {n} visits with several images: {rule}"))?;
    }
    for (sex, decades) in ages(listing) {
        let counts = decades
            .iter()
            .map(|(decade, n)| format!("{decade}-{}: {n}", decade + 9));
        let counts: Vec<_> = counts.collect();
        printer.line(&format!("  {sex} by age {}", counts.join(", ")))?;
    }
    let (no_age, no_file) = (listing.missing_ages(), listing.missing_files());
    printer.line(&format!(
        "  {no_age} without a usable age, {no_file} without a file"
    ))?;
    for (reason, n) in &listing.skipped {
        printer.line(&format!("  {n} skipped: {reason}"))?;
        let examples = listing.skipped_examples.get(reason);
        if let Some(example) = examples.and_then(|examples| examples.first()) {
            printer.line(&format!("    such as {example}"))?;
        }
    }
    for warning in &listing.warnings {
        printer.warning(&format!("{}: {warning}", cohort.name));
    }
    Ok(())
}

fn answer<'a>(
    cohorts: &'a [Cohort],
    listings: &'a [CohortListing],
    purged: Option<Purge>,
    checks: Vec<ImageCheck>,
) -> Answer<'a> {
    let checks = checks.into_iter().map(Some).chain(std::iter::repeat(None));
    let one = |((cohort, listing), images): ((&'a Cohort, &'a CohortListing), _)| {
        let answer = CohortAnswer {
            participants: listing.participants,
            scans: listing.scans,
            indexed: listing.rows.len(),
            skipped: &listing.skipped,
            skipped_examples: &listing.skipped_examples,
            missing_ages: listing.missing_ages(),
            missing_files: listing.missing_files(),
            choices: &listing.choices,
            images,
            ages: ages(listing),
            layout: listing.layout.name(),
            recognized_by: &listing.recognized_by,
            demographics: &listing.demographics_used,
        };
        (cohort.name.as_str(), answer)
    };
    Answer {
        cohorts: cohorts.iter().zip(listings).zip(checks).map(one).collect(),
        purged,
    }
}

/// Scans that can be used, by sex and decade.
fn ages(listing: &CohortListing) -> BTreeMap<&'static str, BTreeMap<u32, usize>> {
    let mut ages: BTreeMap<_, BTreeMap<_, _>> = BTreeMap::new();
    for ((sex, decade), n) in listing.by_sex_and_decade() {
        ages.entry(sex.letter()).or_default().insert(decade, n);
    }
    ages
}

/// Makes the folder that a file is to be written in.
pub(super) fn make_folder_of(file: &Path) -> std::io::Result<()> {
    match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => fs_err::create_dir_all(folder),
        _ => Ok(()),
    }
}
