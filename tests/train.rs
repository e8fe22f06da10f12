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

fn read(path: PathBuf) -> String {
    fs_err::read_to_string(path).expect("a file")
}

#[test]
fn trainings_on_ages_are_compared_on_the_same_split_whatever_their_seed() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    let say = |words: &str| {
        let words: Vec<&str> = words.split(' ').collect();
        program::brainage(folder.path(), &words).expect("the program runs")
    };
    say("synth --layout bids --subjects 14 --voxel-size 4 --out heads");
    let project = "[cohorts.heads]\nlayout = \"bids\"\nroot = \"heads\"\n";
    fs_err::write(at("brainage.toml"), project).expect("a project file");
    let small = brainage::config::train::BRAIN_CNN_SMALL;
    fs_err::write(at("small.toml"), small).expect("a config");
    let study = "study --config small.toml --set train.epochs=1 --set data.split.validation=0.3 \
                 --set data.split.test=0.3 --vary train.regime=backprop|local \
                 --tune train.optimizer.learning_rate=1e-3|3e-3 --out study";
    let answer = say(&format!("--json {study} --seeds 1,2"));
    assert_eq!(answer.code, Some(0), "{}", answer.stderr);
    let found: Value = serde_json::from_str(&answer.stdout).expect("JSON");
    assert_eq!(found["tuning"]["unit"], "years");
    let trials = found["tuning"]["trials"].as_array().expect("trials");
    let trials: Vec<(&str, bool)> = trials
        .iter()
        .filter_map(|trial| Some((trial["run"].as_str()?, trial["chosen"].as_bool()?)))
        .collect();
    assert_eq!(trials.len(), 4);
    let mut splits = Vec::new();
    for (run, is_chosen) in &trials {
        splits.push(read(at("study").join(run).join("index.csv")));
        let second = at("study").join(run.replace("seed-1", "seed-2"));
        assert_eq!(second.is_dir(), *is_chosen, "{}", second.display());
        if second.is_dir() {
            splits.push(read(second.join("index.csv")));
            for file in ["model.safetensors", "report.html", "left_out.csv"] {
                assert!(second.join(file).is_file(), "{file}");
            }
        }
    }
    assert_eq!(splits.len(), 6);
    assert!(splits.iter().all(|split| *split == splits[0]));
    // The test error of a row is the mean of what its runs say themselves.
    let rows = found["rows"].as_array().expect("rows");
    let methods: Vec<&Value> = rows.iter().map(|row| &row["method"]).collect();
    assert_eq!(methods, ["ENN", "ENN-ℓ"]);
    let mae = |run: &str| -> f64 {
        let text = read(at("study").join(run).join("evaluation.json"));
        let evaluation: Value = serde_json::from_str(&text).expect("JSON");
        evaluation["mae"].as_f64().expect("an error")
    };
    let of_backprop = |(run, is_chosen): &&(&str, bool)| *is_chosen && run.starts_with("backprop");
    let (run, _) = trials.iter().find(of_backprop).expect("a chosen value");
    let expected = f64::midpoint(mae(run), mae(&run.replace("seed-1", "seed-2")));
    let found = rows[0]["mean"].as_f64().expect("a number");
    assert!((found - expected).abs() < 1e-9, "{found} {expected}");
    let table = read(at("study/table.md"));
    assert!(
        table.contains("test MAE, years") && table.contains("(2)"),
        "{table}"
    );
    assert!(read(at("study/table.csv")).starts_with("method,blocks,settings,mae_years,"));

    let refused = say(&format!("{study} --split kfold:5:0"));
    program::check_refusal(&refused, 1, &["other splits", "--split"]);
    let refused = say(&format!("{study} --set train.batch_size=3"));
    program::check_refusal(&refused, 1, &["another recipe", "--out"]);
}
