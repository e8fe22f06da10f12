//! `brainage train` as its user runs it, on a few synthetic heads.

#![expect(clippy::expect_used, reason = "what fails in a helper fails its test")]

mod program;

use std::path::{Path, PathBuf};

use serde_json::Value;

/// Runs the program in a folder; answers what it said, errors included.
fn brainage(folder: &Path, arguments: &[&str]) -> String {
    let output = assert_cmd::cargo::cargo_bin_cmd!("brainage")
        .args(arguments)
        .current_dir(folder)
        .env("XDG_CACHE_HOME", folder.join("user-cache"))
        .env_remove("BRAINAGE_LOG")
        .output()
        .expect("the program runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{arguments:?}: {said}");
    said
}

fn placement(run: &Path) -> Value {
    let text = fs_err::read_to_string(run.join("placement.json")).expect("a placement");
    serde_json::from_str(&text).expect("JSON")
}

#[test]
fn cuts_and_places_are_decided_once_and_kept_by_the_run() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |arguments: &[&str]| brainage(folder.path(), arguments);
    at(&[
        "synth",
        "--layout",
        "bids",
        "--subjects",
        "8",
        "--out",
        "heads",
    ]);
    fs_err::write(
        folder.path().join("brainage.toml"),
        "[cohorts.heads]\nlayout = \"bids\"\nroot = \"heads\"\n",
    )
    .expect("a project file");
    fs_err::write(
        folder.path().join("small.toml"),
        brainage::config::train::BRAIN_CNN_SMALL,
    )
    .expect("a config");
    let of_two = [
        "--devices",
        "cpu:0,cpu:1",
        "--epochs",
        "1",
        "--config",
        "small.toml",
    ];
    let train = |out: &'static str, changes: &[&'static str]| {
        let changes = changes.iter().flat_map(|change| ["--set", change]);
        let arguments: Vec<&str> = ["train", "--out", out]
            .into_iter()
            .chain(of_two)
            .chain(changes)
            .collect();
        at(&arguments);
        placement(&folder.path().join(out))
    };

    let balanced = train("balanced", &["model.cuts=balanced"]);
    let cuts = balanced["cuts"].as_array().expect("numbers of units");
    assert_eq!(cuts.len(), 1, "two devices make two blocks");
    assert_eq!(balanced["block_seconds"].as_array().map(Vec::len), Some(2));
    assert_eq!(balanced["stages"].as_array().map(Vec::len), Some(2));
    // On another device the run keeps its blocks: its checkpoints are made of them.
    at(&["train", "--resume", "balanced", "--devices", "cpu"]);
    let resumed = placement(&folder.path().join("balanced"));
    assert_eq!(resumed["cuts"], balanced["cuts"]);
    assert_eq!(resumed["stages"].as_array().map(Vec::len), Some(1));

    let backprop = train("backprop", &["train.regime=backprop"]);
    assert_eq!(
        backprop["stages"][0]["replicas"], 2,
        "data-parallel on both devices"
    );
}

/// All scans below a folder.
fn scans_in(folder: &Path) -> Vec<PathBuf> {
    let entries = fs_err::read_dir(folder).expect("a folder");
    let mut scans = Vec::new();
    for path in entries.map(|entry| entry.expect("an entry").path()) {
        if path.is_dir() {
            scans.extend(scans_in(&path));
        } else if path.to_string_lossy().ends_with(".nii.gz") {
            scans.push(path);
        }
    }
    scans
}

#[test]
fn what_a_person_rejected_is_not_trained_on_and_the_report_says_so() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    let synth = "synth --layout bids --subjects 10 --voxel-size 4 --out heads";
    let words: Vec<&str> = synth.split(' ').collect();
    brainage(folder.path(), &words);
    let project = "[cohorts.heads]\nlayout = \"bids\"\nroot = \"heads\"\n";
    fs_err::write(at("brainage.toml"), project).expect("a project file");
    let small = brainage::config::train::BRAIN_CNN_SMALL;
    fs_err::write(at("small.toml"), small).expect("a config");
    let scans = scans_in(folder.path());
    let review = |scan: &Path, comment: &str| {
        let row = format!("{},,reject,{comment}\n", scan.display());
        let table = format!("scan,name,verdict,comment\n{row}");
        fs_err::write(at("qc_review.csv"), table).expect("judgments");
    };
    review(&scans[0], "moved");
    let train = "train --config small.toml --epochs 1 --out run";
    let words: Vec<&str> = train.split(' ').collect();
    brainage(folder.path(), &words);
    let read = |name: &str| fs_err::read_to_string(at(name)).expect("a file of the run");
    let name = scans[0].file_name().expect("a name").to_string_lossy();
    assert!(!read("run/index.csv").contains(name.as_ref()));
    assert!(read("run/left_out.csv").contains("heads,rejected in review: moved,1"));
    assert!(read("run/report.html").contains("rejected in review: moved"));

    // Of a scan that was predicted before it was rejected, the report says it; its figures stay.
    let predictions = read("run/predictions.csv");
    let predicted = scans
        .iter()
        .find(|scan| predictions.contains(scan.to_string_lossy().as_ref()))
        .expect("a test scan");
    review(predicted, "blurred");
    brainage(folder.path(), &["report", "run"]);
    let report = read("run/report.html");
    assert!(report.contains("rejected in review: blurred"));
    assert!(report.contains("1 of them a person has rejected since"));
}

#[test]
fn one_image_in_two_splits_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let synth = "synth --layout bids --subjects 10 --voxel-size 4 --out heads";
    let words: Vec<&str> = synth.split(' ').collect();
    brainage(folder.path(), &words);
    let project = "[cohorts.heads]\nlayout = \"bids\"\nroot = \"heads\"\n";
    fs_err::write(folder.path().join("brainage.toml"), project).expect("a project file");
    let small = brainage::config::train::BRAIN_CNN_SMALL;
    fs_err::write(folder.path().join("small.toml"), small).expect("a config");
    let scans = scans_in(folder.path());
    for scan in &scans[1..] {
        fs_err::copy(&scans[0], scan).expect("copied");
    }
    let arguments = ["train", "--cohorts", "heads", "--config", "small.toml"];
    let answer = program::brainage(folder.path(), &arguments).expect("the program runs");
    let expected = ["the same image stands in two splits", "hint: ", "exclude"];
    program::check_refusal(&answer, 1, &expected);
}
