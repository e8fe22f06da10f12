//! What studies promise: of a tuned key the lowest validation error is chosen, runs that are there are taken as they are, a
//! search writes the config that it found, and all trainings on ages see the same scans in the same splits.

#![expect(clippy::expect_used, reason = "what fails in a helper fails its test")]

mod classifiers;
mod phantoms;
mod program;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::SystemTime;

use brainage::engine::event::Event;
use brainage::run::metrics_log;
use brainage::vision::config::VisionConfig;
use classifiers::{CONFIG, last_error_percent, write_cifar10};
use program::{Answer, brainage, check_refusal};
use serde_json::Value;

fn read(path: &Path) -> String {
    fs_err::read_to_string(path).expect("a file")
}

fn modified(path: &Path) -> SystemTime {
    let file = fs_err::metadata(path).expect("a file");
    file.modified().expect("a time")
}

/// Lines of a table by their first field, which no comma is in.
fn by_first_field(csv: &str) -> BTreeMap<&str, Vec<&str>> {
    let fields = csv.lines().skip(1).map(|line| line.split(','));
    let lines = fields.map(|mut fields| (fields.next().unwrap_or_default(), fields.collect()));
    lines.collect()
}

/// A small network on small images, some of which watch.
const SMALL: [&str; 4] = [
    "data.side=16",
    "data.validation=0.2",
    "model.width=0.0625",
    "train.batch_size=10",
];

/// A study of two regimes on sixty small images.
fn study_images(folder: &Path, more: &[&str]) -> Answer {
    let alike = [
        "vision",
        "study",
        "--config",
        "config.toml",
        "--data",
        "data",
        "--out",
        "study",
        "--vary",
        "train.regime=backprop|local",
    ];
    let small = SMALL.iter().chain(&["train.epochs=1"]);
    let small = small.flat_map(|change| ["--set", change]);
    let arguments: Vec<&str> = alike
        .into_iter()
        .chain(small)
        .chain(more.to_vec())
        .collect();
    brainage(folder, &arguments).expect("the program runs")
}

#[test]
fn the_value_of_the_lowest_validation_error_is_trained_with_the_other_seeds() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join("study").join(name);
    fs_err::create_dir(folder.path().join("data")).expect("a folder");
    write_cifar10(&folder.path().join("data"), 6, 2);
    fs_err::write(folder.path().join("config.toml"), CONFIG).expect("written");
    let key = "train.optimizer.learning_rate";
    // Trained before anybody thought of tuning.
    let varied = format!("{key}=1e-3|2e-3");
    let varied = study_images(folder.path(), &["--vary", &varied]);
    assert_eq!(varied.code, Some(0), "{}", varied.stderr);
    let log = at("local_2e-3_seed-1/metrics.jsonl");
    let before = modified(&log);

    let tuned = format!("{key}=1e-3|2e-3|1e30");
    let tune = || study_images(folder.path(), &["--tune", &tuned, "--seeds", "1,2"]);
    let answer = tune();
    assert_eq!(answer.code, Some(0), "{}", answer.stderr);
    assert_eq!(modified(&log), before);
    assert!(answer.stderr.contains("run 8 of 8"), "{}", answer.stderr);
    let csv = read(&at("tuning.csv"));
    let trials = by_first_field(&csv);
    assert_eq!(trials.len(), 6);
    for regime in ["backprop", "local"] {
        let name = |value: &str, seed| format!("{regime}_{value}_seed-{seed}");
        let error = |value| {
            let log = at(&name(value, 1)).join("metrics.jsonl");
            last_error_percent(&metrics_log::read(&log).expect("a log"))
        };
        let [chosen, other] = if error("1e-3") <= error("2e-3") {
            ["1e-3", "2e-3"]
        } else {
            ["2e-3", "1e-3"]
        };
        for (value, is_chosen) in [(chosen, "true"), (other, "false")] {
            let trial = &trials[name(value, 1).as_str()];
            assert_eq!(trial[0], format!("train.regime={regime}"));
            assert_eq!(trial[1], format!("{key}={value}"));
            assert_eq!(trial[2].parse::<f64>(), Ok(error(value)));
            assert_eq!(trial[3..], ["%", is_chosen]);
        }
        assert!(at(&name(chosen, 2)).join("evaluation.json").is_file());
        assert!(!at(&name(other, 2)).exists());
        // Too large a step leaves no number: no error, no model, a note.
        let diverged = name("1e30", 1);
        assert_eq!(trials[diverged.as_str()][2..], ["", "%", "false"]);
        let note = read(&at(&diverged).join("diverged.txt"));
        assert!(note.contains("loss is"), "{note}");
    }
    // Rows are those of the chosen values, over both seeds.
    let table = read(&at("table.csv"));
    let n_rows = table.lines().filter(|line| line.starts_with("runs,"));
    assert_eq!(n_rows.count(), 2);
    assert_eq!(read(&at("table.md")).matches("(2)").count(), 2);

    // The same command finds all done, and does not try again what diverged.
    let diverged = at("local_1e30_seed-1/metrics.jsonl");
    let before = modified(&diverged);
    let again = tune();
    assert_eq!(again.stdout, answer.stdout, "{}", again.stderr);
    assert_eq!(modified(&diverged), before);
    // Without a choice there is none to leave out.
    let varied = format!("{key}=1e30");
    let refused = study_images(folder.path(), &["--vary", &varied]);
    check_refusal(&refused, 1, &["loss is", "diverged.txt"]);
}

#[test]
fn an_epoch_tells_processor_time_and_memory_and_the_table_shows_them() {
    let folder = tempfile::tempdir().expect("a folder");
    fs_err::create_dir(folder.path().join("data")).expect("a folder");
    write_cifar10(&folder.path().join("data"), 6, 2);
    fs_err::write(folder.path().join("config.toml"), CONFIG).expect("written");
    let answer = study_images(folder.path(), &[]);
    assert_eq!(answer.code, Some(0), "{}", answer.stderr);
    let log = folder.path().join("study/local_seed-1/metrics.jsonl");
    let costs = metrics_log::read(&log).expect("a log");
    let costs = costs.iter().find_map(|event| match event {
        Event::Epoch {
            cpu_seconds_per_step,
            peak_memory_bytes,
            ..
        } => Some((*cpu_seconds_per_step, *peak_memory_bytes)),
        _ => None,
    });
    let (cpu_seconds, bytes) = costs.expect("an epoch");
    let table = read(&folder.path().join("study/table.csv"));
    let heading: Vec<&str> = table
        .lines()
        .next()
        .expect("a heading")
        .split(',')
        .collect();
    for column in ["cpu_seconds_per_step", "peak_memory_bytes"] {
        assert!(heading.contains(&column), "{table}");
    }
    if cfg!(target_os = "linux") {
        // Less than a hundredth of a second in a whole epoch reads as 0.
        assert!(cpu_seconds.is_some_and(|seconds| (0.0..60.0).contains(&seconds)));
        assert!(bytes.is_some_and(|bytes| (1 << 20..1 << 36).contains(&bytes)));
        let bytes = bytes.unwrap_or_default().to_string();
        assert!(table.contains(&bytes), "{bytes}: {table}");
    }
}

#[test]
fn a_search_writes_the_config_of_its_lowest_validation_error_with_all_epochs() {
    let folder = tempfile::tempdir().expect("a folder");
    fs_err::create_dir(folder.path().join("data")).expect("a folder");
    write_cifar10(&folder.path().join("data"), 6, 2);
    fs_err::write(folder.path().join("config.toml"), CONFIG).expect("written");
    let search = |more: &[&str]| {
        let alike = [
            "--json",
            "vision",
            "search",
            "--config",
            "config.toml",
            "--data",
            "data",
            "--out",
            "search",
            "--heads",
            "gap-linear",
            "--heads",
            "mlp-sr",
        ];
        let changes = [SMALL.as_slice(), &["train.epochs=20", "train.seed=3"], more].concat();
        let changes = changes.iter().flat_map(|change| ["--set", change]);
        let arguments: Vec<&str> = alike.into_iter().chain(changes).collect();
        brainage(folder.path(), &arguments).expect("the program runs")
    };
    let answer = search(&[]);
    assert_eq!(answer.code, Some(0), "{}", answer.stderr);
    let said: Value = serde_json::from_str(&answer.stdout).expect("JSON");
    let trials = said["tuning"]["trials"].as_array().expect("trials");
    let names: Vec<&str> = trials
        .iter()
        .filter_map(|trial| trial["run"].as_str())
        .collect();
    let expected = [
        "published_gap-linear_seed-3",
        "published_mlp-sr_seed-3",
        "2-4-6_gap-linear_seed-3",
        "2-4-6_mlp-sr_seed-3",
    ];
    assert_eq!(names, expected);
    let read_config = |path: &Path| {
        let text = read(path);
        VisionConfig::parse(&text, path, &[]).expect("a whole config")
    };
    let mut best = (f64::INFINITY, None);
    for name in names {
        let run = folder.path().join("search").join(name);
        let log = metrics_log::read(&run.join("metrics.jsonl")).expect("a log");
        let config = read_config(&run.join("config.toml"));
        // A tenth of twenty.
        assert_eq!(config.train.epochs, 2);
        let error = last_error_percent(&log);
        if error < best.0 {
            best = (error, Some(config));
        }
    }
    let mut expected = best.1.expect("a best pair");
    expected.train.epochs = 20;
    let found = read_config(&folder.path().join("search/config.toml"));
    assert_eq!(found, expected);
    let refused = search(&["train.regime=backprop"]);
    check_refusal(&refused, 2, &["change nothing", "train.regime=local"]);
}

#[test]
fn trainings_on_ages_are_compared_on_the_same_split_whatever_their_seed() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    let say = |words: &str| {
        let words: Vec<&str> = words.split(' ').collect();
        brainage(folder.path(), &words).expect("the program runs")
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
        splits.push(read(&at("study").join(run).join("index.csv")));
        let second = at("study").join(run.replace("seed-1", "seed-2"));
        assert_eq!(second.is_dir(), *is_chosen, "{}", second.display());
        if second.is_dir() {
            splits.push(read(&second.join("index.csv")));
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
        let text = read(&at("study").join(run).join("evaluation.json"));
        let evaluation: Value = serde_json::from_str(&text).expect("JSON");
        evaluation["mae"].as_f64().expect("an error")
    };
    let of_backprop = |(run, is_chosen): &&(&str, bool)| *is_chosen && run.starts_with("backprop");
    let (run, _) = trials.iter().find(of_backprop).expect("a chosen value");
    let expected = f64::midpoint(mae(run), mae(&run.replace("seed-1", "seed-2")));
    let found = rows[0]["mean"].as_f64().expect("a number");
    assert!((found - expected).abs() < 1e-9, "{found} {expected}");
    let table = read(&at("study/table.md"));
    assert!(
        table.contains("test MAE, years") && table.contains("(2)"),
        "{table}"
    );
    assert!(read(&at("study/table.csv")).starts_with("method,blocks,settings,mae_years,"));

    let refused = say(&format!("{study} --split kfold:5:0"));
    check_refusal(&refused, 1, &["other splits", "--split"]);
    let refused = say(&format!("{study} --set train.batch_size=3"));
    check_refusal(&refused, 1, &["another recipe", "--out"]);
}

#[test]
fn a_model_of_ages_does_with_eight_bits_as_with_all_and_is_judged_as_the_run_was() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    let say = |words: &str| {
        let words: Vec<&str> = words.split(' ').collect();
        brainage(folder.path(), &words).expect("the program runs")
    };
    say("synth --layout bids --subjects 10 --voxel-size 4 --out heads");
    let project = "[cohorts.heads]\nlayout = \"bids\"\nroot = \"heads\"\n";
    fs_err::write(at("brainage.toml"), project).expect("a project file");
    let small = brainage::config::train::BRAIN_CNN_SMALL;
    fs_err::write(at("small.toml"), small).expect("a config");
    let trained = say("train --config small.toml --epochs 1 --set data.split.test=0.4 --out run");
    assert_eq!(trained.code, Some(0), "{}", trained.stderr);
    let answer = say("--json quantize --run run --bits 2,8 --scans 3");
    assert_eq!(answer.code, Some(0), "{}", answer.stderr);
    let table: Value = serde_json::from_str(&answer.stdout).expect("JSON");
    let evaluation: Value = serde_json::from_str(&read(&at("run/evaluation.json"))).expect("JSON");
    let number = |value: &Value| value.as_f64().expect("a number");
    let full = number(&table["full_error"]);
    assert!((full - number(&evaluation["mae"])).abs() < 1e-6, "{full}");
    assert_eq!(table["n_test"], evaluation["n"]);
    assert_eq!(
        (&table["unit"], &table["n_matrices"]),
        (&"years".into(), &4.into())
    );
    let [two, eight] = [0, 1].map(|line| &table["by_bits"][line]);
    for bits in [two, eight] {
        assert!(number(&bits["comq_residual"]) <= number(&bits["rounding_residual"]));
    }
    // A step of 1/255 of a row's range moves what is said little, though one epoch says no ages yet.
    assert!(
        (number(&eight["comq"]) - full).abs() < 0.01 * full,
        "{table}"
    );
    assert!(number(&two["comq_residual"]) > number(&eight["comq_residual"]));
}
