//! Training on devices that two worker processes of this machine lend.

#![cfg(all(feature = "remote", unix))]
#![expect(clippy::expect_used, reason = "what fails in a helper fails its test")]

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use brainage::engine::event::Event;
use brainage::run::metrics_log;

/// A `brainage worker` that ends with its owner.
struct Lent {
    process: Child,
    /// Such as `remote:127.0.0.1:40111`.
    device: String,
}

impl Lent {
    fn start(folder: &Path) -> Self {
        let mut process = brainage(folder)
            .args(["worker", "--listen=127.0.0.1:0", "--token-file=token"])
            .stderr(Stdio::piped())
            .spawn()
            .expect("a worker");
        let said = BufReader::new(process.stderr.take().expect("piped")).lines();
        let device = said.map_while(Result::ok).find_map(|line| {
            let (_, rest) = line.split_once(" at ")?;
            Some(rest.split(';').next()?.to_owned())
        });
        Self {
            process,
            device: device.expect("a worker says where it listens"),
        }
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

/// The program in a folder, with the framework's own convolutions, which remote devices compute too.
fn brainage(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_brainage"));
    command
        .current_dir(folder)
        .env_remove("BRAINAGE_LOG")
        .env("BRAINAGE_CONV", "burn")
        .env("BRAINAGE_TOKEN_FILE", folder.join("token"))
        .stdin(Stdio::null());
    command
}

fn study() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let project =
        "[cohorts.study]\nlayout = \"bids\"\nroot = \"study\"\n\n[cache]\ndir = \"cache\"\n";
    fs_err::write(folder.path().join("brainage.toml"), project).expect("written");
    let words = "synth --layout bids --out study --voxel-size=4 --subjects 8";
    let made = brainage(folder.path()).args(words.split(' ')).output();
    assert!(made.expect("started").status.success());
    folder
}

fn training(folder: &Path, run: &str, devices: &str, epochs: u64) -> Command {
    let config = concat!(env!("CARGO_MANIFEST_DIR"), "/configs/brain-cnn-small.toml");
    let mut command = brainage(folder);
    command.args([
        "train",
        "--config",
        config,
        "--out",
        run,
        "--devices",
        devices,
    ]);
    command.args(["--epochs", &epochs.to_string()]);
    for change in [
        "model.width=0.25",
        "train.batch_size=2",
        "train.checkpoint.every_steps=1",
    ] {
        command.args(["--set", change]);
    }
    command
}

fn check_ended_well(output: &Output) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
}

/// Loss of each block at each step.
fn losses(run: &Path) -> Vec<Vec<f64>> {
    let events = metrics_log::read(&run.join("metrics.jsonl")).expect("a log");
    let of_step = |event| match event {
        Event::Step { loss, .. } => Some(loss),
        _ => None,
    };
    events.into_iter().filter_map(of_step).collect()
}

#[test]
fn two_workers_train_two_blocks_each_with_the_losses_of_this_process() {
    let folder = study();
    let at = folder.path();
    let here = training(at, "here", "cpu:0,cpu:1", 2).output();
    check_ended_well(&here.expect("started"));
    let (first, second) = (Lent::start(at), Lent::start(at));
    let devices = format!("{},{}", first.device, second.device);
    let there = training(at, "there", &devices, 2).output();
    check_ended_well(&there.expect("started"));
    let (here, there) = (losses(&at.join("here")), losses(&at.join("there")));
    assert_eq!(here.len(), there.len());
    for (here, there) in here.iter().flatten().zip(there.iter().flatten()) {
        // The same operations on the same processor: rounding differs only where the two group them differently.
        assert!((here - there).abs() <= 1e-3 * here.abs(), "{here} {there}");
    }
}

#[test]
fn nobody_is_served_without_the_token() {
    let folder = study();
    let at = folder.path();
    let worker = Lent::start(at);
    let wrong = at.join("wrong");
    fs_err::copy(at.join("token"), &wrong).expect("copied, mode and all");
    fs_err::write(&wrong, "0000000000000000000000000000\n").expect("written");
    for token_file in [Some(wrong), None::<PathBuf>] {
        let mut command = training(at, "refused", &worker.device, 1);
        match &token_file {
            Some(path) => command.env("BRAINAGE_TOKEN_FILE", path),
            None => command.env_remove("BRAINAGE_TOKEN_FILE"),
        };
        let output = command.output().expect("started");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(
            said.contains("token") || said.contains("credential"),
            "{said}"
        );
        fs_err::remove_dir_all(at.join("refused")).ok();
    }
}

#[test]
fn a_killed_worker_ends_the_run_with_its_name_and_leaves_a_checkpoint_to_resume_from() {
    let folder = study();
    let at = folder.path();
    let (first, mut second) = (Lent::start(at), Lent::start(at));
    let devices = format!("{},{}", first.device, second.device);
    let mut run = training(at, "run", &devices, 500)
        .stderr(Stdio::piped())
        .spawn()
        .expect("started");
    let log = at.join("run/metrics.jsonl");
    while fs_err::read_to_string(&log).map_or(0, |text| text.lines().count()) < 8 {
        assert!(
            run.try_wait().expect("a process").is_none(),
            "ended too early"
        );
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    second.process.kill().expect("killed");
    let output = run.wait_with_output().expect("an end");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains(&second.device), "{said}");
    let stopped_at = losses(&at.join("run")).len();
    assert!(stopped_at > 0);
    // What is left goes on elsewhere.
    let mut resumed = brainage(at);
    resumed.args(["train", "--resume", "run", "--devices", "cpu:0,cpu:1"]);
    let mut resumed = resumed.stderr(Stdio::null()).spawn().expect("started");
    while losses(&at.join("run")).len() <= stopped_at {
        assert!(
            resumed.try_wait().expect("a process").is_none(),
            "ended too early"
        );
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    resumed.kill().expect("killed");
    resumed.wait().expect("an end");
}
