//! `brainage doctor`: is everything there that the other commands need?

use std::path::{Path, PathBuf};

use brainage_pipelines::cache::Cache;
use brainage_pipelines::recipe::Recipe;
use brainage_pipelines::template::template;
use serde::Serialize;

use crate::engine::device::{n_cores, n_cuda_devices};

use super::exit::error_line;
use super::resources::{available_memory, free_disk, gigabytes};
use super::selftest::{Agreement, SelfTest, TOLERANCE_YEARS};
use super::{Context, ExitStatus};

/// Memory that one scan takes at most while it is preprocessed, bytes.
const BYTES_PER_SCAN: u64 = 1 << 30;
/// Least free disk for the cache of a small study, bytes.
const LEAST_DISK: u64 = 2 << 30;

/// Check what the other commands need
///
/// Versions, devices, threads, memory, disk, cache and project file: each OK, or what to do.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  brainage doctor\n  brainage doctor --selftest")]
pub struct Args {
    /// Also make, preprocess and predict a synthetic head, and compare with the numbers that must come out
    #[arg(long)]
    selftest: bool,
    /// The same with this model, to make the numbers that are stored
    #[arg(long, value_name = "FILE", hide = true)]
    selftest_model: Option<PathBuf>,
}

/// One thing that was looked at.
#[derive(Debug, Serialize)]
struct Check {
    name: &'static str,
    status: Status,
    found: String,
    /// What to do; empty where it is OK.
    advice: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Status {
    Ok,
    /// Works, but there may be better.
    Note,
    /// Something will fail.
    Problem,
}

/// The answer for machines.
#[derive(Serialize)]
struct Answer {
    checks: Vec<Check>,
    #[serde(skip_serializing_if = "Option::is_none")]
    selftest: Option<SelfTest>,
}

/// Looks at everything and says what was found; [`super::exit::FAILED`] where something will not work.
///
/// # Errors
/// With one line that counts the problems.
pub fn run(args: &Args, context: &Context) -> anyhow::Result<ExitStatus> {
    let mut checks = vec![
        version(),
        parts(),
        threads(),
        cuda(),
        memory(),
        project(context),
    ];
    checks.extend(cache(context));
    let selftest = selftest(args)?;
    // Numbers of another model are there to be stored, not to be compared.
    if let (Some(found), None) = (&selftest, &args.selftest_model) {
        checks.push(compared(found)?);
    }
    for check in &checks {
        let mark = match check.status {
            Status::Ok => "OK     ",
            Status::Note => "note   ",
            Status::Problem => "PROBLEM",
        };
        context
            .printer
            .line(&format!("{mark}  {:<10} {}", check.name, check.found))?;
        if !check.advice.is_empty() {
            context
                .printer
                .line(&format!("{:20} -> {}", "", check.advice))?;
        }
    }
    let n_problems = checks
        .iter()
        .filter(|check| check.status == Status::Problem)
        .count();
    context.printer.object(&Answer { checks, selftest })?;
    anyhow::ensure!(
        n_problems == 0,
        "{n_problems} of the checks found a problem"
    );
    Ok(ExitStatus::Done)
}

impl Check {
    fn ok(name: &'static str, found: impl Into<String>) -> Self {
        Self {
            name,
            status: Status::Ok,
            found: found.into(),
            advice: String::new(),
        }
    }

    fn note(name: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self {
            name,
            status: Status::Note,
            found: found.into(),
            advice: advice.into(),
        }
    }

    fn problem(name: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self {
            name,
            status: Status::Problem,
            found: found.into(),
            advice: advice.into(),
        }
    }
}

/// What came out of the self-test, where it was asked for.
fn selftest(args: &Args) -> anyhow::Result<Option<SelfTest>> {
    match &args.selftest_model {
        Some(model) => Ok(Some(SelfTest::with_model(model)?)),
        None if args.selftest => Ok(Some(SelfTest::run()?)),
        None => Ok(None),
    }
}

fn compared(found: &SelfTest) -> anyhow::Result<Check> {
    let expected = SelfTest::expected()?;
    let ages = |of: &SelfTest| {
        let ages = of.block_ages_years.iter().map(|age| format!("{age:.3}"));
        ages.collect::<Vec<_>>().join(", ")
    };
    let said = format!("a synthetic head is {} years old", ages(found));
    Ok(match found.agreement(&expected) {
        Agreement::Same => Check::ok("selftest", format!("{said}: as stored, bit for bit")),
        Agreement::Close => Check::ok(
            "selftest",
            format!("{said}: within {TOLERANCE_YEARS} years of what is stored"),
        ),
        Agreement::Different => Check::problem(
            "selftest",
            format!("{said}, expected {}", ages(&expected)),
            "this installation does not compute what it should: build it again, and report it if that does not help",
        ),
    })
}

fn version() -> Check {
    let (os, arch) = (std::env::consts::OS, std::env::consts::ARCH);
    Check::ok(
        "version",
        format!("brainage {} on {os} {arch}", env!("CARGO_PKG_VERSION")),
    )
}

/// What is embedded in the program.
fn parts() -> Check {
    let names = Recipe::names();
    let recipes = names
        .iter()
        .try_for_each(|name| Recipe::named(name).map(drop));
    match template().map(drop).and(recipes) {
        Ok(()) => Check::ok("template", format!("whole; recipes {}", names.join(", "))),
        Err(error) => Check::problem("template", error.to_string(), "build the program again"),
    }
}

fn threads() -> Check {
    Check::ok("threads", format!("{} (device `cpu`)", n_cores()))
}

fn cuda() -> Check {
    match (cfg!(feature = "cuda"), n_cuda_devices()) {
        (false, _) => Check::note(
            "cuda",
            "this program was built without it",
            "for NVIDIA devices build with `--features cuda`; without, the processor does the work",
        ),
        (true, 0) => Check::note(
            "cuda",
            "no NVIDIA device can be used",
            "look whether `nvidia-smi` lists one; if not, install its driver",
        ),
        (true, n) => Check::ok("cuda", format!("{n} devices (cuda:0 to cuda:{})", n - 1)),
    }
}

fn memory() -> Check {
    let Some(available) = available_memory() else {
        return Check::note(
            "memory",
            "unknown on this system",
            "have at least 1 GB a thread free",
        );
    };
    let found = format!("{} available", gigabytes(available));
    let wanted = BYTES_PER_SCAN * n_cores() as u64;
    if available >= wanted {
        return Check::ok("memory", found);
    }
    let n_scans = (available / BYTES_PER_SCAN).max(1);
    let advice = format!("1 mm scans take up to 1 GB a thread; set RAYON_NUM_THREADS={n_scans}");
    Check::note("memory", found, advice)
}

fn project(context: &Context) -> Check {
    match context.project() {
        Ok(Some(project)) => {
            let missing: Vec<String> = project
                .cohorts
                .iter()
                .filter(|cohort| !cohort.root.is_dir())
                .map(|cohort| format!("{} (`{}`)", cohort.name, cohort.root.display()))
                .collect();
            let found = format!(
                "{}, {} cohorts",
                project.path.display(),
                project.cohorts.len()
            );
            if missing.is_empty() {
                return Check::ok("project", found);
            }
            let advice = format!("these cohorts have no folder: {}", missing.join(", "));
            Check::problem("project", found, advice)
        }
        Ok(None) => Check::note(
            "project",
            "no brainage.toml here or above",
            "`brainage init` writes one; only cohorts need it",
        ),
        Err(error) => Check::problem(
            "project",
            error_line(&error),
            "correct the line, or see `brainage init`",
        ),
    }
}

/// The cache's folder and the disk that it is on; nothing is made.
fn cache(context: &Context) -> Vec<Check> {
    // A project file that cannot be read has been told of already.
    let Ok(folder) = context.cache_dir(None) else {
        return Vec::new();
    };
    let shown = folder.display();
    let Some(existing) = folder
        .ancestors()
        .find(|above| above.is_dir())
        .map(Path::to_path_buf)
    else {
        return vec![Check::problem(
            "cache",
            format!("`{shown}`"),
            "name a folder that can be made",
        )];
    };
    // Made and removed again: the permissions of a folder do not tell all.
    let writable = tempfile::tempfile_in(&existing).is_ok();
    let cache = if writable {
        Check::ok("cache", format!("`{shown}`, {}", contents(&folder)))
    } else {
        let advice = "set `dir` of [cache] to a folder that can be written, or give --cache";
        Check::problem("cache", format!("`{shown}` cannot be written"), advice)
    };
    vec![cache, disk(&existing)]
}

fn contents(folder: &Path) -> String {
    if !folder.is_dir() {
        return "not made yet".into();
    }
    let counted = Cache::open(folder).and_then(|cache| Ok((cache.len()?, cache.size_bytes()?)));
    match counted {
        Ok((n, bytes)) => format!("{n} volumes, {}", gigabytes(bytes)),
        Err(error) => error.to_string(),
    }
}

fn disk(folder: &Path) -> Check {
    match free_disk(folder) {
        Some(free) if free < LEAST_DISK => Check::note(
            "disk",
            format!("{} free for the cache", gigabytes(free)),
            "a volume takes about 2 MB; name a folder on a larger disk in [cache]",
        ),
        Some(free) => Check::ok("disk", format!("{} free for the cache", gigabytes(free))),
        None => Check::note(
            "disk",
            "free space is unknown",
            "have 2 MB a scan free for the cache",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_embedded_in_the_program_is_whole() {
        assert_eq!(parts().status, Status::Ok);
    }
}
