//! The runs of a study of any kind, one after the other: what is finished is left alone, what was begun goes on.

use std::path::Path;

use brainage_pipelines::atomic::write_atomically;

use crate::Error;
use crate::engine::seed::Seed;
use crate::run::dir::RunDir;
use crate::study::recipe::{StudyConfig, same_recipe};
use crate::study::tuning::{Trial, Tuning, last_validation_error};
use crate::study::{Grid, StudyRun, Variant, Variation, runs};

use super::super::exit::error_line;
use super::super::training::events;
use super::super::{CliError, Printer};

/// What a study tries.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Sweep {
    /// Values of a key, each of which is tried; repeatable, for all combinations
    #[arg(long, value_name = "SECTION.KEY=VALUE|VALUE")]
    vary: Vec<Variation>,
    /// Changes that belong together, tried beside those of the other --variant; repeatable
    #[arg(long, value_name = "SECTION.KEY=VALUE; …")]
    variant: Vec<Variant>,
    /// Values of a key of which each combination takes its best: the first seed tries all, and the lowest validation error
    /// of the last head after the last epoch decides for the other seeds. What was tried goes to tuning.csv
    #[arg(long, value_name = "SECTION.KEY=VALUE|VALUE")]
    tune: Option<Variation>,
    #[command(flatten)]
    seeds: Seeds,
}

/// What varies besides settings.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Seeds {
    /// Seeds, each of which is tried with everything
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "1")]
    seeds: Vec<u64>,
}

impl Seeds {
    /// In the order in which they are tried.
    pub(in crate::cli) fn in_order(&self) -> Vec<Seed> {
        self.seeds.iter().copied().map(Seed).collect()
    }
}

impl Sweep {
    /// All of it.
    pub(in crate::cli) fn grid(&self) -> Grid<'_> {
        Grid {
            variations: &self.vary,
            variants: &self.variant,
            tuned: self
                .tune
                .as_ref()
                .map(Variation::variants)
                .unwrap_or_default(),
            seeds: self.seeds.in_order(),
        }
    }
}

/// How runs of one kind are made.
pub(in crate::cli) trait Kind {
    /// Their configs.
    type Config: StudyConfig;

    /// The config of all runs with some changes.
    fn config(&self, changes: &[String]) -> Result<Self::Config, Error>;

    /// Writes what a new run begins with besides its config.
    fn begin(&self, run: &RunDir, config: &Self::Config) -> anyhow::Result<()>;

    /// Refuses a run that is there already if its data are not those of the study.
    fn check(&self, run: &RunDir, config: &Self::Config) -> anyhow::Result<()>;

    /// Trains and judges, from the last checkpoint if there is one; writes the run's evaluation. Answers how many scans were
    /// refused.
    fn execute(&self, run: &RunDir, config: &Self::Config) -> anyhow::Result<usize>;

    /// The result of a finished run in a few words.
    fn told(&self, run: &RunDir) -> anyhow::Result<String>;
}

/// What a study has done.
pub(in crate::cli) struct Done {
    /// Names and folders of the runs that count, in their order.
    pub(in crate::cli) runs: Vec<(String, RunDir)>,
    /// What was tried of the tuned key; `None` where none is tuned.
    pub(in crate::cli) tuning: Option<Tuning>,
    /// Most scans that a run was refused.
    pub(in crate::cli) n_refused: usize,
}

/// How a run ended.
enum End {
    Finished {
        n_refused: usize,
    },
    /// Its loss ceased to be a number; in its words.
    Diverged(String),
}

/// Trains what is not trained yet. Of a tuned key the first seed tries all values, the others have the best one of their
/// combination, and runs with others don't count; a run whose loss ceases to be a number stops a study only where nothing is tuned.
///
/// # Errors
/// Where a config or the data are not usable, a run of the same name has another recipe, or a training ends early.
pub(in crate::cli) fn carry_out<K: Kind>(
    kind: &K,
    grid: &Grid<'_>,
    out: &Path,
    printer: &Printer,
) -> anyhow::Result<Done> {
    let planned = runs(grid, |changes| kind.config(changes))?;
    let first_seed = grid.seeds.first().copied();
    let (first, later): (Vec<_>, Vec<_>) = planned
        .into_iter()
        .partition(|run| Some(run.config.seed()) == first_seed);
    let is_tuned = !grid.tuned.is_empty();
    let n_values = grid.tuned.len().max(1);
    let n_runs = first.len() + later.len() / n_values;
    let (mut number, mut n_refused) = (0, 0);
    let mut one = |planned: &StudyRun<K::Config>| -> anyhow::Result<(RunDir, End)> {
        number += 1;
        let name = &planned.name;
        printer.status(&format!("study: run {number} of {n_runs}, {name}"));
        let run = open(kind, out, planned)?;
        let end = finish(kind, &run, planned)?;
        match &end {
            End::Finished { n_refused: of_run } => {
                n_refused = n_refused.max(*of_run);
                printer.status(&format!("{name}: {}", kind.told(&run)?));
            }
            End::Diverged(said) if is_tuned => {
                printer.warning(&format!("{name}: {said}"));
            }
            End::Diverged(said) => {
                let hint = format!(
                    "lower train.optimizer.learning_rate; delete `{}` to have it trained again",
                    run.diverged().display()
                );
                return Err(CliError::failed(format!("{name}: {said}"), hint).into());
            }
        }
        Ok((run, end))
    };
    let mut done = Vec::with_capacity(n_runs);
    let mut trials = Vec::new();
    for planned in &first {
        let (run, end) = one(planned)?;
        if is_tuned {
            trials.push(trial(planned, &run, &end)?);
        }
        if matches!(end, End::Finished { .. }) {
            done.push((planned, run));
        }
    }
    let tuning = Tuning::new(K::Config::ERROR_UNIT, trials);
    if is_tuned {
        let csv = tuning.to_csv()?;
        write_atomically(&out.join("tuning.csv"), |out| out.write_all(csv.as_bytes()))?;
        for combination in tuning.without_value() {
            printer.warning(&format!(
                "no value left the loss a number, so this is left out: {combination}"
            ));
        }
    }
    let counts = |planned: &StudyRun<K::Config>| {
        !is_tuned || tuning.has_chosen(&planned.combination, &planned.tuned)
    };
    done.retain(|(planned, _)| counts(planned));
    for planned in later.iter().filter(|planned| counts(planned)) {
        if let (run, End::Finished { .. }) = one(planned)? {
            done.push((planned, run));
        }
    }
    let named = |(planned, run): (&StudyRun<K::Config>, RunDir)| (planned.name.clone(), run);
    Ok(Done {
        runs: done.into_iter().map(named).collect(),
        tuning: is_tuned.then_some(tuning),
        n_refused,
    })
}

/// What the first seed says of a value.
fn trial<C: StudyConfig>(planned: &StudyRun<C>, run: &RunDir, end: &End) -> anyhow::Result<Trial> {
    let validation_error = match end {
        End::Diverged(_) => None,
        End::Finished { .. } => Some(last_validation_error(&events(run)?).ok_or_else(|| {
            let said = format!("nothing was validated in `{}`", run.path().display());
            CliError::failed(
                said,
                "set a share of the training data aside for validation",
            )
        })?),
    };
    Ok(Trial {
        run: planned.name.clone(),
        combination: planned.combination.clone(),
        value: planned.tuned.clone(),
        validation_error: validation_error.filter(|error| error.is_finite()),
        chosen: false,
    })
}

/// Trains a run to its end, unless it came there before.
fn finish<K: Kind>(kind: &K, run: &RunDir, planned: &StudyRun<K::Config>) -> anyhow::Result<End> {
    if run.evaluation().is_file() {
        return Ok(End::Finished { n_refused: 0 });
    }
    if run.diverged().is_file() {
        let said = fs_err::read_to_string(run.diverged())?;
        return Ok(End::Diverged(said.trim().to_owned()));
    }
    match kind.execute(run, &planned.config) {
        Ok(n_refused) if run.evaluation().is_file() => Ok(End::Finished { n_refused }),
        Ok(_) => {
            let said = "the data have no test set here";
            Err(CliError::failed(said, "a study compares errors on it").into())
        }
        Err(error) if error.downcast_ref().is_some_and(Error::is_divergence) => {
            let said = error_line(&error);
            write_atomically(&run.diverged(), |out| writeln!(out, "{said}"))?;
            Ok(End::Diverged(said))
        }
        Err(error) => Err(error),
    }
}

/// The folder of a run: a new one, or the one that is there if recipe and data are the same.
fn open<K: Kind>(kind: &K, study: &Path, planned: &StudyRun<K::Config>) -> anyhow::Result<RunDir> {
    let (path, config) = (study.join(&planned.name), &planned.config);
    let Ok(run) = RunDir::open(path.clone()) else {
        let run = RunDir::create(path)?;
        kind.begin(&run, config)?;
        run.write_config(&config.to_toml()?)?;
        return Ok(run);
    };
    let kept: K::Config = read_config(&run)?;
    if kept.seed() != config.seed() || !same_recipe(&kept, config) {
        let said = format!(
            "the run in `{}` has another recipe than the study asks for",
            run.path().display()
        );
        let hint = "name another --out, or ask for what the run's config.toml says";
        return Err(CliError::failed(said, hint).into());
    }
    kind.check(&run, config)?;
    Ok(run)
}

/// The config that a run keeps.
pub(in crate::cli) fn read_config<C: StudyConfig>(run: &RunDir) -> anyhow::Result<C> {
    let text = fs_err::read_to_string(run.config())?;
    Ok(C::parse(&text, &run.config(), &[])?)
}
