//! What image classifiers promise: they learn from every combination of weights and regime, resume bit for bit, and the
//! commands `vision train`, `eval` and `table` go from files to figures.

#![expect(clippy::expect_used, reason = "what fails in a helper fails its test")]

mod classifiers;
mod phantoms;
mod program;

use brainage::models::parameters::NamedTensors;
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
    // The run keeps the network's own answer, whatever else was asked.
    let kept = fs_err::read_to_string(folder.path().join("deep/evaluation.json")).expect("a file");
    let kept: serde_json::Value = serde_json::from_str(&kept).expect("JSON");
    assert_eq!(kept["heads"], "last");
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
