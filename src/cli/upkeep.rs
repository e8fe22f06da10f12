//! Looking after the cache: `preprocess --gc` and `preprocess --verify`.

use std::path::PathBuf;

use brainage_pipelines::batch::{KeysInUse, keys_in_use};
use brainage_pipelines::cache::{Cache, PurgeMode, Purged};
use brainage_pipelines::format::ReadOptions;
use brainage_pipelines::recipe::Recipe;
use brainage_pipelines::template::template;
use serde::Serialize;

use super::index::list_all;
use super::{CliError, Context, ExitStatus};

/// Megabytes, 10^6 bytes.
fn mb(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

/// Files of a cache.
#[derive(Serialize)]
struct Files {
    n: usize,
    bytes: u64,
}

/// The answer of `--gc` for machines.
#[derive(Serialize)]
struct PurgeAnswer {
    removed: Files,
    unfinished: Files,
    kept: Files,
    spared: Files,
    failed: Vec<String>,
    dry_run: bool,
}

/// The answer of `--verify` for machines.
#[derive(Serialize)]
struct VerifyAnswer {
    whole: Files,
    damaged: Vec<String>,
}

/// The recipes of the program, and one more.
pub(super) fn recipes_with(given: &Recipe) -> anyhow::Result<Vec<Recipe>> {
    let mut recipes = Recipe::names()
        .into_iter()
        .map(Recipe::named)
        .collect::<Result<Vec<_>, _>>()?;
    if !recipes.contains(given) {
        recipes.push(given.clone());
    }
    Ok(recipes)
}

/// Removes every entry that no scan of the project's cohorts needs by `recipe` or a recipe of the program, and what a crash
/// left; with `Count` only says what that would be.
///
/// # Errors
/// Without a project, where a cohort cannot be listed or a scan not be read, or where nothing would be kept.
pub(super) fn purge(
    cache: &Cache,
    recipe: &Recipe,
    options: ReadOptions,
    mode: PurgeMode,
    context: &Context,
) -> anyhow::Result<ExitStatus> {
    let printer = &context.printer;
    let cohorts = context.required_project()?.cohorts_named(&[])?;
    let listings = list_all(&cohorts, context)?;
    let rows = listings.into_iter().flat_map(|listing| listing.rows);
    let scans: Vec<PathBuf> = rows.map(|row| row.scan).collect();
    let KeysInUse { keys, unreadable } =
        keys_in_use(&scans, options, &recipes_with(recipe)?, template()?);
    if let Some(first) = unreadable.first() {
        let message = format!(
            "{} scans cannot be read, the first is `{}`",
            unreadable.len(),
            first.display()
        );
        let hint = "their entries would be removed: mount or exclude them first";
        return Err(CliError::failed(message, hint).into());
    }
    if keys.is_empty() {
        let hint = "to empty the cache, delete its folder";
        return Err(CliError::failed("the cohorts have no scan, nothing would stay", hint).into());
    }
    let Purged {
        entries,
        temporaries,
        kept,
        spared,
        failed,
    } = cache.purge(&keys, mode)?;
    let dry_run = mode == PurgeMode::Count;
    printer.line(&format!(
        "{} {} entries ({:.0} MB) and {} unfinished files ({:.0} MB); {} kept ({:.0} MB)",
        if dry_run { "would remove" } else { "removed" },
        entries.n,
        mb(entries.bytes),
        temporaries.n,
        mb(temporaries.bytes),
        kept.n,
        mb(kept.bytes)
    ))?;
    if spared.n > 0 {
        printer.line(&format!("{} spared: younger than an hour", spared.n))?;
    }
    for (path, problem) in &failed {
        printer.warning(&format!("not removed: `{}`: {problem}", path.display()));
    }
    let files = |n, bytes| Files { n, bytes };
    let n_failed = failed.len();
    printer.object(&PurgeAnswer {
        removed: files(entries.n, entries.bytes),
        unfinished: files(temporaries.n, temporaries.bytes),
        kept: files(kept.n, kept.bytes),
        spared: files(spared.n, spared.bytes),
        failed: failed
            .into_iter()
            .map(|(path, problem)| format!("{}: {problem}", path.display()))
            .collect(),
        dry_run,
    })?;
    Ok(ExitStatus::from_refused(n_failed))
}

/// Reads every entry and says which are damaged; the next command that needs one makes it anew.
///
/// # Errors
/// Where the cache cannot be listed.
pub(super) fn verify(cache: &Cache, context: &Context) -> anyhow::Result<ExitStatus> {
    let printer = &context.printer;
    let progress = printer.progress("verify", "entries", Some(cache.len()? as u64));
    let verification = cache.verify(&|| progress.advance(1))?;
    drop(progress);
    for entry in &verification.damaged {
        printer.warning(&format!(
            "damaged: `{}`: {}",
            entry.path.display(),
            entry.problem
        ));
    }
    let n_damaged = verification.damaged.len();
    printer.line(&format!(
        "{} entries are whole ({:.0} MB), {n_damaged} are damaged",
        verification.n_whole,
        mb(verification.whole_bytes)
    ))?;
    printer.object(&VerifyAnswer {
        whole: Files {
            n: verification.n_whole,
            bytes: verification.whole_bytes,
        },
        damaged: verification
            .damaged
            .iter()
            .map(|entry| format!("{}: {}", entry.path.display(), entry.problem))
            .collect(),
    })?;
    Ok(ExitStatus::from_refused(n_damaged))
}
