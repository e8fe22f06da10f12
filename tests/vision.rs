//! What image classifiers promise: they learn from every combination of weights and regime, resume bit for bit, and the
//! commands `vision train`, `eval` and `table` go from files to figures.

#![expect(clippy::expect_used, reason = "what fails in a helper fails its test")]

mod classifiers;
mod phantoms;
mod program;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::SystemTime;

use brainage::engine::event::Event;
use brainage::models::parameters::NamedTensors;
use brainage::run::metrics_log;
use classifiers::{CONFIG, check_same_bits, config, last_error_percent, train, write_cifar10};
use phantoms::{How, assert_same_bits};
use program::{Answer, brainage, check_refusal};

/// Two units that are shaped like later ones.
const AUGMENTED: &str = "model.head={ augmented = { depth = 2 } }";

#[test]
fn a_resumed_or_pipelined_classifier_ends_with_the_bits_of_an_uninterrupted_one() {
    check_same_bits(4, &[]);
}

#[test]
fn so_does_one_with_augmented_heads_that_learn_similarity_too() {
    check_same_bits(4, &[AUGMENTED, "train.auxiliary.similarity=0.9"]);
}

#[test]
fn so_does_one_with_deep_supervision() {
    let changes = [
        "train.regime=deep-supervision",
        AUGMENTED,
        "train.auxiliary.similarity=0.9",
    ];
    check_same_bits(1, &changes);
}

#[test]
fn no_later_block_changes_what_the_first_one_learns() {
    let data = tempfile::tempdir().expect("a folder");
    write_cifar10(data.path(), 3, 1);
    let first_block = |cuts: &str, head: &str| {
        let similarity = "train.auxiliary.similarity=0.5";
        let changes = [cuts, head, similarity, "train.epochs=1"];
        let folder = tempfile::tempdir().expect("a folder");
        let trained = train(
            &config(data.path(), &changes),
            How::Sequential,
            folder.path(),
            None,
        );
        trained.blocks.expect("finished").swap_remove(0)
    };
    for head in ["model.head=gap-linear", AUGMENTED] {
        assert_same_bits(
            &first_block("model.cuts=[3]", head),
            &first_block("model.cuts=[3, 5, 7]", head),
        );
    }
}

#[test]
fn deep_supervision_whose_inner_heads_weigh_nothing_is_backprop() {
    let data = tempfile::tempdir().expect("a folder");
    write_cifar10(data.path(), 3, 1);
    let trained = |regime: &str, weight: &str| {
        let changes = [regime, weight, "model.weights=dense", AUGMENTED];
        let folder = tempfile::tempdir().expect("a folder");
        let config = config(data.path(), &changes);
        let trained = train(&config, How::Sequential, folder.path(), None);
        trained.blocks.expect("finished").swap_remove(0)
    };
    let without_inner = |mut block: NamedTensors| {
        block.retain(|name, _| !name.starts_with("inner."));
        block
    };
    let backprop = trained("train.regime=backprop", "train.auxiliary.weight=1.0");
    let weightless = trained(
        "train.regime=deep-supervision",
        "train.auxiliary.weight=0.0",
    );
    assert!(weightless.len() > backprop.len());
    assert_same_bits(&without_inner(weightless), &backprop);
    // With a weight the inner heads move the trunk.
    let supervised = trained(
        "train.regime=deep-supervision",
        "train.auxiliary.weight=1.0",
    );
    let moved = backprop.iter().filter(|(name, data)| {
        name.starts_with("units.0.") && data.as_bytes() != supervised[*name].as_bytes()
    });
    assert!(moved.count() > 0);
}

#[test]
fn every_combination_of_weights_and_regime_learns_far_better_than_chance() {
    let data = tempfile::tempdir().expect("a folder");
    write_cifar10(data.path(), 30, 1);
    let (plain, similar) = (
        "train.auxiliary.similarity=0.0",
        "train.auxiliary.similarity=0.99",
    );
    let convolutions = "model.head=conv-gap-mlp";
    for (regime, head, similarity) in [
        ("backprop", convolutions, plain),
        ("local", convolutions, plain),
        ("local", AUGMENTED, similar),
        ("deep-supervision", convolutions, plain),
    ] {
        for weights in ["dense", "eigen"] {
            let (regime, weights) = (
                format!("train.regime={regime}"),
                format!("model.weights={weights}"),
            );
            let changes = [
                &regime,
                &weights,
                head,
                similarity,
                "train.epochs=6",
                "train.optimizer.learning_rate=5e-3",
                "data.validation=0.2",
            ];
            let folder = tempfile::tempdir().expect("a folder");
            let events = train(
                &config(data.path(), &changes),
                How::Sequential,
                folder.path(),
                None,
            )
            .events;
            // Guessing is wrong on 90 %; some 60 images are watched, so two standard deviations are 8 %.
            let last = last_error_percent(&events);
            assert!(last < 50.0, "{regime} {weights}: {last}");
        }
    }
}

#[test]
fn a_study_goes_on_where_it_stopped_and_leaves_finished_runs_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    fs_err::create_dir(folder.path().join("data")).expect("a folder");
    write_cifar10(&folder.path().join("data"), 3, 1);
    fs_err::write(folder.path().join("config.toml"), CONFIG).expect("written");
    let run = |action: &str, more: &[&str]| {
        let command = ["vision", action];
        let arguments = [
            command.as_slice(),
            &["--config", "config.toml", "--data", "data"],
            &["--set", "data.side=16", "--set", "model.width=0.0625"],
            &["--set", "train.batch_size=10"],
            more,
        ];
        brainage(folder.path(), &arguments.concat()).expect("a run")
    };
    let study = |seeds: &str, epochs: &str| {
        let vary = ["--vary", "train.regime=backprop|local", "--seeds", seeds];
        let more = ["--out", "study", "--set", epochs];
        run("study", &[vary, more].concat())
    };
    let one = study("1", "train.epochs=1");
    assert_eq!(one.code, Some(0), "{}", one.stderr);
    let log = folder.path().join("study/local_seed-1/metrics.jsonl");
    let before = fs_err::metadata(&log)
        .expect("a log")
        .modified()
        .expect("a time");
    let two = study("1,2", "train.epochs=1");
    assert_eq!(two.code, Some(0), "{}", two.stderr);
    let after = fs_err::metadata(&log)
        .expect("a log")
        .modified()
        .expect("a time");
    assert_eq!(before, after);
    assert!(
        two.stdout.contains("(2)") && two.stderr.contains("run 4 of 4"),
        "{}",
        two.stdout
    );
    for file in [
        "table.md",
        "table.csv",
        "table.svg",
        "curves.csv",
        "local_seed-2/evaluation.json",
    ] {
        assert!(folder.path().join("study").join(file).is_file(), "{file}");
    }
    // Another recipe under the name of a run that is there is no continuation.
    check_refusal(
        &study("1", "train.epochs=2"),
        1,
        &["another recipe", "--out"],
    );
    // An ablation is a study of one setting, if the setting has an effect.
    let short = ["--out", "ablation", "--set", "train.epochs=1"];
    let blocks = run("ablate", &[&["--blocks", "1,3"][..], &short].concat());
    assert_eq!(blocks.code, Some(0), "{}", blocks.stderr);
    for cuts in ["| [] (", "| [3, 6] ("] {
        assert!(blocks.stdout.contains(cuts), "{cuts}: {}", blocks.stdout);
    }
    let dense = ["--lambda", "0,1e-4", "--set", "model.weights=dense"];
    let refused = run("ablate", &[dense, short].concat());
    check_refusal(&refused, 2, &["changes nothing", "model.weights=eigen"]);
}

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
    let small = [
        "data.side=16",
        "data.validation=0.2",
        "model.width=0.0625",
        "train.batch_size=10",
        "train.epochs=1",
    ];
    let small = small.iter().flat_map(|change| ["--set", change]);
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
fn the_commands_train_judge_and_compare() {
    let folder = tempfile::tempdir().expect("a folder");
    let run = |arguments: &[&str]| brainage(folder.path(), arguments).expect("a run");
    fs_err::create_dir(folder.path().join("data")).expect("a folder");
    write_cifar10(&folder.path().join("data"), 5, 2);
    fs_err::write(folder.path().join("config.toml"), CONFIG).expect("written");
    let small = [
        "data.side=16",
        "model.width=0.0625",
        "train.epochs=1",
        "train.batch_size=10",
    ];
    for (out, seed) in [
        ("one", &["train.seed=1"][..]),
        ("two", &["train.seed=2"][..]),
        ("deep", &["train.regime=deep-supervision"][..]),
        (
            "augmented",
            &[AUGMENTED, "train.auxiliary.similarity=0.99"][..],
        ),
    ] {
        let mut arguments = vec![
            "vision",
            "train",
            "--config",
            "config.toml",
            "--data",
            "data",
            "--out",
            out,
        ];
        for change in small.iter().chain(seed).copied() {
            arguments.extend(["--set", change]);
        }
        let answer = run(&arguments);
        assert_eq!(answer.code, Some(0), "{}", answer.stderr);
    }
    check_judgments(&run);
    let all = ["one", "two", "deep", "augmented"];
    let files = ["--csv", "table.csv", "--svg", "table.svg"];
    let text = run(&[&["vision", "table"][..], &all, &files].concat()).stdout;
    for part in [
        "ENN-ℓ",
        "(2)",
        "As published",
        "deep supervision, eigen",
        "stages (augmented 2, similarity 0.99)",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let csv = fs_err::read_to_string(folder.path().join("table.csv")).expect("a file");
    assert!(csv.starts_with("source,dataset,"), "{csv}");
    let svg = fs_err::read_to_string(folder.path().join("table.svg")).expect("a file");
    assert!(svg.starts_with("<svg"), "{svg}");
    // A heading, and four heads of each run after the one epoch.
    let curves = run(&[&["vision", "curves"][..], &all].concat()).stdout;
    assert_eq!(curves.lines().count(), 1 + 16, "{curves}");
    let answer = run(&["--json", "vision", "inspect", "one"]);
    let found: serde_json::Value = serde_json::from_str(&answer.stdout).expect("JSON");
    let n = |key: &str| found[key].as_array().map(Vec::len);
    assert_eq!((n("correlations"), n("orthogonality")), (Some(4), Some(4)));
    assert!(n("spectra").is_some_and(|n| n > 20), "{}", answer.stderr);
    // What is not there is named, and no run folder is made for it.
    let refused = run(&[
        "vision",
        "train",
        "--config",
        "config.toml",
        "--data",
        "nothing",
        "--out",
        "three",
    ]);
    check_refusal(&refused, 1, &["nothing", "--data"]);
    assert!(!folder.path().join("three").exists());
}

/// Checks what `vision eval` says of the runs `one`, `deep` and `augmented`.
fn check_judgments(run: &impl Fn(&[&str]) -> Answer) {
    let answer = run(&["--json", "vision", "eval", "--run", "one"]);
    let judged: serde_json::Value = serde_json::from_str(&answer.stdout).expect("JSON");
    assert_eq!(judged["n"], 20);
    let by_block = judged["error_percent_by_block"]
        .as_array()
        .expect("numbers");
    assert_eq!(
        (by_block.len(), by_block.last()),
        (4, judged.get("error_percent"))
    );
    assert!(
        judged["images_per_second"]
            .as_f64()
            .is_some_and(|speed| speed > 0.0)
    );
    // Heads together: the last of the list is the last head alone, the first is what counts.
    for name in ["deep", "augmented"] {
        let answer = run(&[
            "--json", "vision", "eval", "--run", name, "--heads", "ensemble",
        ]);
        let judged: serde_json::Value = serde_json::from_str(&answer.stdout).expect("JSON");
        let errors = |key: &str| judged[key].as_array().expect("numbers").clone();
        let (alone, together) = (
            errors("error_percent_by_block"),
            errors("error_percent_from_block"),
        );
        assert_eq!((alone.len(), together.len()), (4, 4), "{name}");
        assert_eq!(alone.last(), together.last());
        assert_eq!(together.first(), judged.get("error_percent"));
        assert_eq!(judged["heads"], "ensemble");
    }
}
