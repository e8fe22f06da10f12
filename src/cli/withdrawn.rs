//! Forgetting who has withdrawn: what the cache holds of them goes with the next command, and `index --purge` takes them
//! out of old run folders too. How much was removed is said, never whose it was.
//!
//! A scan is a withdrawn participant's where the listing says so; where the scan itself is gone already, where a former
//! index said so, or where its path under the cohort's folder names someone on the lists. What a person said of such a
//! scan in the viewer goes too.

mod tables;

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};

use brainage_cohorts::{CohortIndex, CohortListing, ParticipantList};
use brainage_pipelines::batch::keys_in_use;
use brainage_pipelines::cache::Cache;
use brainage_pipelines::format::ReadOptions;
use brainage_pipelines::recipe::Recipe;
use brainage_pipelines::template::template;
use brainage_viewer::review::REVIEW_FILE;
use serde::Serialize;

use crate::report::write_report;
use crate::run::dir::RunDir;

use super::upkeep::recipes_with;
use super::{Context, report};
use tables::{Scrubbed, scrub_review, scrub_table, scrub_text};

/// How deep below a folder runs are looked for.
const DEEPEST: usize = 4;

/// Who has withdrawn from one cohort.
struct Cohort {
    name: String,
    root: PathBuf,
    list: ParticipantList,
}

/// Who has withdrawn from any of the cohorts.
pub(super) struct Withdrawn {
    cohorts: Vec<Cohort>,
    /// Scans that are known to be theirs.
    scans: BTreeSet<PathBuf>,
}

/// What `index --purge` removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Purge {
    /// Run folders that were looked through.
    runs: usize,
    /// Rows of indices.
    index_rows: usize,
    /// Rows of predictions.
    prediction_rows: usize,
    /// Lines of other texts.
    lines: usize,
    /// Files that were removed because their name or content named someone.
    files: usize,
    /// Reports that were written anew.
    reports: usize,
    /// Rows of judgments.
    judgments: usize,
}

impl fmt::Display for Purge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            runs,
            index_rows,
            prediction_rows,
            lines,
            files,
            reports,
            judgments,
        } = self;
        write!(
            f,
            "{runs} runs purged of withdrawn participants: {index_rows} rows of indices, {prediction_rows} predictions, \
             {judgments} judgments, {lines} other lines and {files} files removed, {reports} reports written anew"
        )
    }
}

impl Withdrawn {
    /// Reads the lists that the listings applied; `None` where nobody has withdrawn.
    ///
    /// # Errors
    /// Where a list cannot be read.
    pub(super) fn of(listings: &[CohortListing]) -> anyhow::Result<Option<Self>> {
        let mut cohorts = Vec::new();
        for listing in listings {
            let list = ParticipantList::read(&listing.withdrawals_used)?;
            if !list.is_empty() {
                let (name, root) = (listing.name.clone(), listing.root.clone());
                cohorts.push(Cohort { name, root, list });
            }
        }
        let scans = listings.iter().flat_map(|listing| &listing.withdrawn);
        let scans = scans.cloned().collect();
        Ok((!cohorts.is_empty()).then_some(Self { cohorts, scans }))
    }

    /// Adds the scans that an index says are theirs. One that cannot be read is passed over.
    fn learn_from(&mut self, index: &Path) {
        let Ok(index) = CohortIndex::read_csv(index) else {
            return;
        };
        for row in index.rows {
            if self.is_row(&row.cohort, row.participant_id.as_str(), &row.scan) {
                self.scans.insert(row.scan);
            }
        }
    }

    /// Whether a row of an index is about one of them.
    fn is_row(&self, cohort: &str, participant: &str, scan: &Path) -> bool {
        let mut cohorts = self.cohorts.iter();
        self.scans.contains(scan)
            || cohorts.any(|known| known.name == cohort && known.list.contains(participant))
    }

    /// Whether a scan is one of theirs; `participant` is empty where nobody is named.
    fn is_scan(&self, scan: &Path, participant: &str) -> bool {
        let absolute = std::path::absolute(scan).unwrap_or_else(|_| scan.to_path_buf());
        let named = |cohort: &Cohort| {
            let inner = absolute.strip_prefix(&cohort.root).ok();
            inner.is_some_and(|inner| match participant {
                "" => is_gone(&absolute) && cohort.list.is_named_in(inner),
                participant => cohort.list.contains(participant),
            })
        };
        self.scans.contains(scan)
            || self.scans.contains(&absolute)
            || self.cohorts.iter().any(named)
    }
}

/// Whether there is no file any more, and no archive that the path leads into.
fn is_gone(scan: &Path) -> bool {
    !scan.ancestors().any(Path::is_file)
}

/// Removes what the cache holds of withdrawn participants' scans, and says how many volumes that were, not whose.
///
/// Known are entries of scans that are still there, by the program's recipes, and of scans that are gone, by the path
/// that the entry was made from; `preprocess --gc` removes all others too.
///
/// # Errors
/// Where a list cannot be read, or an entry not be listed or removed.
pub(super) fn forget_withdrawn(
    listings: &[CohortListing],
    cache: &Cache,
    context: &Context,
) -> anyhow::Result<()> {
    let Some(mut withdrawn) = Withdrawn::of(listings)? else {
        return Ok(());
    };
    for index in former_indices(context)? {
        withdrawn.learn_from(&index);
    }
    let there = withdrawn.scans.iter().filter(|scan| !is_gone(scan));
    let there: Vec<PathBuf> = there.cloned().collect();
    let recipes = recipes_with(&Recipe::named("fast")?)?;
    let in_use = keys_in_use(&there, ReadOptions::default(), &recipes, template()?);
    // In whatever order: it does not matter which goes first.
    let mut n_removed = in_use
        .keys
        .iter()
        .try_fold(0, |n, key| anyhow::Ok(n + usize::from(cache.remove(key)?)))?;
    for entry in cache.entries()? {
        let source = entry.source();
        if source.is_some_and(|source| withdrawn.is_scan(&source, "")) {
            n_removed += usize::from(cache.remove(&entry.key)?);
        }
    }
    if n_removed > 0 {
        context.printer.status(&format!(
            "{n_removed} volumes of withdrawn participants removed from the cache"
        ));
    }
    for folder in places(context)? {
        let table = folder.join(REVIEW_FILE);
        let n_removed = scrub_review(&table, &withdrawn)?;
        if n_removed > 0 {
            let table = table.display();
            context.printer.status(&format!(
                "{n_removed} judgments of withdrawn participants' scans removed: `{table}`"
            ));
        }
    }
    Ok(())
}

/// The indices that former commands left: beside the project file, in the working directory, and in runs of either.
fn former_indices(context: &Context) -> anyhow::Result<Vec<PathBuf>> {
    let mut indices = Vec::new();
    for folder in places(context)? {
        indices.push(folder.join("index.csv"));
        indices.extend(runs_below(&folder.join("runs")).iter().map(RunDir::index));
    }
    indices.retain(|index| index.is_file());
    Ok(indices)
}

/// The project's folder and the working directory.
fn places(context: &Context) -> anyhow::Result<BTreeSet<PathBuf>> {
    let project = context.project()?;
    let beside = project.and_then(|project| project.path.parent().map(Path::to_path_buf));
    let folders = [beside.unwrap_or_default(), PathBuf::new()];
    let absolute = |folder: PathBuf| std::path::absolute(Path::new(".").join(folder));
    Ok(folders
        .into_iter()
        .filter_map(|folder| absolute(folder).ok())
        .collect())
}

/// The folder itself, where it is a run, and the runs below it.
fn runs_below(folder: &Path) -> Vec<RunDir> {
    let mut runs = Vec::new();
    let mut waiting = vec![(folder.to_path_buf(), 0)];
    while let Some((folder, depth)) = waiting.pop() {
        if let Ok(run) = RunDir::open(folder.clone()) {
            runs.push(run);
        } else if depth < DEEPEST
            && let Ok(entries) = fs_err::read_dir(&folder)
        {
            let folders = entries.flatten().map(|entry| entry.path());
            // Links could lead out of the folder, or round in it.
            let folders = folders.filter(|path| path.is_dir() && !path.is_symlink());
            waiting.extend(folders.map(|path| (path, depth + 1)));
        }
    }
    runs.sort_by(|a, b| a.path().cmp(b.path()));
    runs
}

/// Takes withdrawn participants out of the run folders below `folders`; none: `runs` beside the project file and in the
/// working directory. Rows of indices and predictions go, reports are written anew, other texts lose the lines that name
/// someone, and files whose name or content cannot be kept are removed. Models stay as they are.
///
/// # Errors
/// Where a list cannot be read, or a file of a run not be read, written or removed.
pub(super) fn purge_runs(
    listings: &[CohortListing],
    folders: &[PathBuf],
    context: &Context,
) -> anyhow::Result<Purge> {
    let mut purge = Purge::default();
    let Some(mut withdrawn) = Withdrawn::of(listings)? else {
        return Ok(purge);
    };
    let folders: Vec<PathBuf> = match folders {
        [] => places(context)?
            .iter()
            .map(|place| place.join("runs"))
            .collect(),
        given => given.to_vec(),
    };
    let runs: Vec<RunDir> = folders
        .iter()
        .flat_map(|folder| runs_below(folder))
        .collect();
    // What one run's index knows may be named in another run's predictions.
    for run in &runs {
        withdrawn.learn_from(&run.index());
    }
    for run in &runs {
        purge.runs += 1;
        purge_run(run, &withdrawn, &mut purge)?;
    }
    Ok(purge)
}

fn purge_run(run: &RunDir, withdrawn: &Withdrawn, purge: &mut Purge) -> anyhow::Result<()> {
    let mut names: BTreeSet<String> = BTreeSet::new();
    let files = files_below(run.path());
    let mut others = Vec::new();
    for file in files {
        if file.file_name().is_some_and(|name| name == REVIEW_FILE) {
            purge.judgments += scrub_review(&file, withdrawn)?;
            continue;
        }
        match scrub_table(&file, withdrawn, &mut names)? {
            Scrubbed::Index(n) => purge.index_rows += n,
            Scrubbed::Predictions(n) => purge.prediction_rows += n,
            Scrubbed::NoTable => others.push(file),
        }
    }
    if names.is_empty() {
        return Ok(());
    }
    for file in others {
        let name = file
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if tables::names_any(&name, &names) {
            fs_err::remove_file(&file)?;
            purge.files += 1;
        } else if file == run.report() {
            // Without what a report needs it can only be removed.
            let written = report::of_run(run, None).map(|report| write_report(&file, &report));
            if let Ok(Ok(())) = written {
                purge.reports += 1;
            } else {
                fs_err::remove_file(&file)?;
                purge.files += 1;
            }
        } else {
            let (lines, removed) = scrub_text(&file, &names)?;
            purge.lines += lines;
            purge.files += usize::from(removed);
        }
    }
    Ok(())
}

/// All files below a folder, links not followed.
fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut waiting = vec![folder.to_path_buf()];
    while let Some(folder) = waiting.pop() {
        for entry in fs_err::read_dir(&folder).into_iter().flatten().flatten() {
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => waiting.push(entry.path()),
                Ok(kind) if kind.is_file() => files.push(entry.path()),
                _ => {}
            }
        }
    }
    files.sort();
    files
}
