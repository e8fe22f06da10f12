//! A training that is killed at any moment, or stopped, and resumed ends with the bytes of one that never was.
//!
//! The program itself runs, on synthetic heads that it made itself. A kill is SIGKILL: the program gets no word in.
//! When it comes is drawn from a fixed seed in steps of the training, so that a slow machine is hit in the same places.

#![cfg(unix)]
#![expect(clippy::expect_used, reason = "what fails in a helper fails its test")]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread::sleep;
use std::time::{Duration, Instant};

use brainage::engine::event::Event;
use brainage::run::metrics_log;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

const HEADS: &str = "8";
const EPOCHS: u64 = 8;
/// Kills spread over the run: one before the first step, the others after 0/16, 1/16 … 11/16 of all steps. What is left
/// then is room for a busy machine, which says late how far it came.
const KILLS: u64 = 13;
const PARTS: u64 = 16;
/// Kills that have to find the program running.
const FEWEST_KILLS: u64 = 10;
const BETWEEN_LOOKS: Duration = Duration::from_millis(2);
/// How long the program may take to come so far; a hundred times what it takes.
const PATIENCE: Duration = Duration::from_mins(5);

/// A cohort with its project file, and a training of it that nothing disturbed.
struct Study {
    folder: tempfile::TempDir,
    whole: Run,
    /// Wall time of the undisturbed training, preprocessing included.
    took: Duration,
    /// Wall time of one of its steps, the slowest epoch's.
    step: Duration,
}

/// What a training left.
#[derive(PartialEq)]
struct Run {
    model: Vec<u8>,
    events: Vec<Event>,
}

/// The study that tests at the same time have in common; it goes with the last of them.
static STUDY: Mutex<Weak<Study>> = Mutex::new(Weak::new());

impl Study {
    fn shared() -> Arc<Self> {
        let mut shared = STUDY.lock().unwrap_or_else(PoisonError::into_inner);
        shared.upgrade().unwrap_or_else(|| {
            let study = Arc::new(Self::new());
            *shared = Arc::downgrade(&study);
            study
        })
    }

    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let project = "[cohorts.study]\nlayout = \"bids\"\nroot = \"study\"\n";
        fs_err::write(folder.path().join("brainage.toml"), project).expect("written");
        let mut synth = brainage(folder.path(), "synth --layout bids --out study");
        synth.args(["--voxel-size=4", "--ages=20,85", "--subjects", HEADS]);
        check_ended_well(&synth.output().expect("started"));
        let started = Instant::now();
        let mut training = begin(folder.path(), ("whole", "cache"), 1);
        check_ended_well(&training.output().expect("started"));
        let took = started.elapsed();
        let whole = run_in(folder.path(), "whole");
        let step = slowest_step(&folder.path().join("whole/metrics.jsonl"));
        Self {
            folder,
            whole,
            took,
            step,
        }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn n_steps(&self) -> u64 {
        steps_of(&self.whole.events)
    }
}

/// The program with these words, in the folder, silent.
fn brainage(folder: &Path, words: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_brainage"));
    command
        .args(words.split(' '))
        .current_dir(folder)
        .env_remove("BRAINAGE_LOG")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}

/// A training from the beginning: tiny, but with all that a resumption has to bring back.
fn begin(folder: &Path, (run, cache): (&str, &str), checkpoint_every: u64) -> Command {
    let config = concat!(env!("CARGO_MANIFEST_DIR"), "/configs/brain-cnn-small.toml");
    let mut command = brainage(folder, &format!("train --out {run} --cache {cache}"));
    command.args(["--config", config, "--devices=cpu:0,cpu:1"]);
    for change in [
        "model.width=0.25",
        "model.head=gap-linear",
        "model.final_hidden=8",
        "data.split.validation=0.3",
        "data.split.test=0.1",
        "train.batch_size=2",
        "train.average=0.9",
        "train.selection.epoch=best",
        &format!("train.epochs={EPOCHS}"),
        &format!("train.checkpoint.every_steps={checkpoint_every}"),
    ] {
        command.arg("--set").arg(change);
    }
    command
}

/// The training goes on; from the beginning, where it was killed before there was a run.
fn go_on(folder: &Path, (run, cache): (&str, &str), checkpoint_every: u64) -> Command {
    if folder.join(run).join("config.toml").exists() {
        let words = format!("train --resume {run} --cache {cache} --devices=cpu:0,cpu:1");
        brainage(folder, &words)
    } else {
        begin(folder, (run, cache), checkpoint_every)
    }
}

fn check_ended_well(output: &Output) {
    assert!(output.status.success(), "{output:?}");
}

fn run_in(folder: &Path, run: &str) -> Run {
    let run = folder.join(run);
    Run {
        model: fs_err::read(run.join("model.safetensors")).expect("a model"),
        events: events_of(&run.join("metrics.jsonl")),
    }
}

/// The events of a log, less what depends on how fast the machine was; none where there is no log yet.
fn events_of(log: &Path) -> Vec<Event> {
    let events = if log.exists() {
        metrics_log::read(log).expect("a log")
    } else {
        Vec::new()
    };
    events.into_iter().map(Event::reproducible).collect()
}

/// Wall time of a step in the epoch where steps took longest.
fn slowest_step(log: &Path) -> Duration {
    let events = metrics_log::read(log).expect("a log");
    let seconds = events.iter().filter_map(|event| match event {
        Event::Epoch {
            seconds_per_step, ..
        } => *seconds_per_step,
        _ => None,
    });
    Duration::from_secs_f64(seconds.fold(0.0, f64::max))
}

/// Steps that were taken.
fn steps_of(events: &[Event]) -> u64 {
    let last = events.iter().rev().find_map(|event| match event {
        Event::Step { step, .. } => Some(step + 1),
        _ => None,
    });
    last.unwrap_or(0)
}

/// Waits until the log says that `n_steps` were taken; whether the program was still running.
fn wait_for(program: &mut Child, log: &Path, n_steps: u64) -> bool {
    let started = Instant::now();
    loop {
        if program.try_wait().expect("a status").is_some() {
            return false;
        }
        if n_steps == 0 || steps_of(&events_of(log)) >= n_steps {
            return true;
        }
        if started.elapsed() > PATIENCE {
            program.kill().expect("a child of ours");
        }
        sleep(BETWEEN_LOOKS);
    }
}

/// Names in a run's folder of checkpoints.
fn checkpoints_in(run: &Path) -> Vec<String> {
    let entries = fs_err::read_dir(run.join("checkpoints")).expect("a folder");
    let names = entries.map(|entry| entry.expect("an entry").file_name());
    let mut names: Vec<String> = names
        .map(|name| name.to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

#[test]
fn a_training_that_is_killed_again_and_again_ends_with_the_bytes_of_one_that_never_was() {
    let study = Study::shared();
    // With a cache of its own, so that preprocessing is hit too.
    let life = || go_on(study.path(), ("killed", "killed-cache"), 1);
    let mut rng = ChaCha8Rng::seed_from_u64(4);
    let log = study.path().join("killed/metrics.jsonl");
    let mut n_killed = 0;
    for number in 0..KILLS {
        let mut program = life().spawn().expect("started");
        let (n_steps, longest) = match number.checked_sub(1) {
            None => (0, study.took / 2),
            Some(part) => (study.n_steps() * part / PARTS, study.step),
        };
        if wait_for(&mut program, &log, n_steps) {
            sleep(longest.mul_f64(rng.random_range(0.0..1.0)));
        }
        program.kill().expect("a child of ours");
        let status = program.wait().expect("a status");
        n_killed += u64::from(status.code().is_none());
    }
    assert!(
        n_killed >= FEWEST_KILLS,
        "only {n_killed} came before the end"
    );
    let output = life().output().expect("started");
    check_ended_well(&output);
    let killed = run_in(study.path(), "killed");
    assert_eq!(killed.events, study.whole.events);
    assert!(killed.model == study.whole.model, "other bytes");
    let left = checkpoints_in(&study.path().join("killed"));
    assert_eq!(left, checkpoints_in(&study.path().join("whole")));
}

/// Sends a signal by its name, as a shell does.
fn signal(program: &Child, name: &str) {
    let kill = format!("kill -{name} {}", program.id());
    let status = Command::new("sh").args(["-c", &kill]).status();
    assert!(status.expect("a shell").success());
}

fn without_checkpoints(events: &[Event]) -> Vec<&Event> {
    let is_checkpoint = |event: &&Event| matches!(event, Event::Checkpoint { .. });
    events
        .iter()
        .filter(|event| !is_checkpoint(event))
        .collect()
}

#[test]
fn a_training_that_is_asked_to_stop_saves_says_so_and_can_go_on() {
    let study = Study::shared();
    // So many that there is no checkpoint but the one asked for.
    let never = 1000;
    for name in ["TERM", "INT"] {
        let path: PathBuf = study.path().join(name);
        let mut program = begin(study.path(), (name, "cache"), never)
            .stderr(Stdio::piped())
            .spawn()
            .expect("started");
        assert!(wait_for(&mut program, &path.join("metrics.jsonl"), 3));
        signal(&program, name);
        let output = program.wait_with_output().expect("an end");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{said}");
        let n_steps = steps_of(&events_of(&path.join("metrics.jsonl")));
        let stopped = format!("stopped at step {n_steps}; the run can be resumed");
        assert!(said.contains(&stopped), "{said}");
        assert!(said.contains("--resume"), "{said}");
        let saved = checkpoints_in(&path);
        assert!(saved.contains(&format!("step-{n_steps:09}")), "{saved:?}");
        assert!(!path.join("model.safetensors").exists());

        let mut rest = go_on(study.path(), (name, "cache"), never);
        check_ended_well(&rest.output().expect("started"));
        let resumed = run_in(study.path(), name);
        assert_eq!(
            without_checkpoints(&resumed.events),
            without_checkpoints(&study.whole.events)
        );
        assert!(resumed.model == study.whole.model, "{name}: other bytes");
    }
}
