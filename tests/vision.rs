//! What image classifiers promise: they learn from every combination of weights and regime, resume bit for bit, and the
//! commands `vision train`, `eval` and `table` go from files to figures.

#![expect(clippy::expect_used, reason = "what fails in a helper fails its test")]

mod phantoms;
mod program;

use std::path::Path;
use std::sync::atomic::AtomicBool;

use brainage::data::batch::BatchPlan;
use brainage::data::sampling::Draw;
use brainage::engine::checkpoint::Checkpoints;
use brainage::engine::device::{self, DeviceName};
use brainage::engine::event::Event;
use brainage::engine::executor::{Executor, Pipelined, Sequential};
use brainage::engine::target::Metric;
use brainage::engine::trainer::{Outcome, Training, workers};
use brainage::models::parameters::{NamedTensors, take};
use brainage::models::{Block, NetworkDraw};
use brainage::vision::config::VisionConfig;
use burn::tensor::Device;
use phantoms::{How, Sink, Trained, assert_same_bits, without_waiting};
use program::{brainage, check_refusal};

/// Two units that are shaped like later ones.
const AUGMENTED: &str = "model.head={ augmented = { depth = 2 } }";

const CONFIG: &str = include_str!("../configs/vision/cifar10-resnet18-small.toml");

/// A record of CIFAR-10: stripes whose direction and color say the class, under noise.
fn record(class: u8, number: u32) -> Vec<u8> {
    let mut bytes = vec![class];
    for channel in 0..3_u32 {
        for y in 0..32_u32 {
            for x in 0..32_u32 {
                let along = if class < 5 { x } else { y };
                let stripe = ((along + number) / 4).is_multiple_of(2);
                let bright = u32::from(class) % 5 == channel
                    || u32::from(class) % 5 > 2 && channel != u32::from(class) % 5 - 3;
                let signal = if stripe && bright { 150 } else { 60 };
                let place = x + 32 * (y + 32 * (channel + 3 * number));
                let noise = place.wrapping_mul(2_654_435_761).rotate_right(16) % 60;
                bytes.push((signal + noise) as u8);
            }
        }
    }
    bytes
}

/// A data set in the layout of CIFAR-10, so many images of each class.
fn write_cifar10(folder: &Path, n_training: u32, n_test: u32) {
    let file = |numbers: std::ops::Range<u32>| -> Vec<u8> {
        numbers
            .flat_map(|number| (0..10).flat_map(move |class| record(class, number)))
            .collect()
    };
    fs_err::write(folder.join("data_batch_1.bin"), file(0..n_training)).expect("written");
    fs_err::write(folder.join("test_batch.bin"), file(500..500 + n_test)).expect("written");
}

fn config(data: &Path, changes: &[&str]) -> VisionConfig {
    let root = format!("data.root=\"{}\"", data.display());
    let small = [
        &root,
        "data.side=16",
        "data.augmentation.crop={ padded = { pixels = 1 } }",
        "model.width=0.0625",
        "train.epochs=2",
        "train.batch_size=10",
        "train.checkpoint.every_minutes=0.0",
    ];
    let changes: Vec<String> = small
        .iter()
        .chain(changes)
        .map(|c| (*c).to_owned())
        .collect();
    VisionConfig::parse(CONFIG, Path::new("small.toml"), &changes).expect("a valid config")
}

/// Trains to the end, or until after a step, from the newest checkpoint in `folder`.
fn train(config: &VisionConfig, how: How, folder: &Path, stop_after: Option<u64>) -> Trained {
    let splits = config.data.open().expect("a data set");
    let section = &config.train;
    let checkpoints = Checkpoints::new(folder.to_path_buf(), 2);
    let stop = AtomicBool::new(false);
    let training = Training {
        training: &splits.training,
        validation: &splits.validation,
        metric: Metric::WrongPercent,
        plan: BatchPlan {
            n_samples: splits.training.images.len(),
            batch_size: section.batch_size,
            seed: section.seed,
            draw: Draw::Shuffled,
        },
        epochs: section.epochs,
        learning_rate: section.optimizer.learning_rate,
        schedule: section.schedule.clone(),
        checkpoints: &checkpoints,
        checkpoint: section.checkpoint,
        selection: section.selection,
        stop: &stop,
    };
    let draw = NetworkDraw {
        n_outputs: splits.classes.len(),
        regime: section.regime,
        seed: section.seed,
        device: &Device::flex(),
    };
    let network = config
        .model
        .network(config.data.side, draw)
        .expect("a network");
    let network = section.prepared(network, config.model.weights);
    let n_blocks = network.blocks.len();
    let latest = checkpoints.load_latest(n_blocks).expect("readable");
    let (progress, states) = latest.map_or_else(Default::default, |c| (c.progress, Some(c.blocks)));
    let n_lanes = match how {
        How::Sequential => 1,
        How::Pipelined(n) => n,
        How::Replicated(n) => n * n_blocks,
    };
    let names: Vec<DeviceName> = (0..n_lanes).map(DeviceName::LogicalCpu).collect();
    let objective = section.objective(config.target(splits.classes.len()));
    let lanes = device::open(&names).expect("logical devices");
    let stages = how.stages(n_blocks);
    let workers =
        workers(&network, &stages, lanes, &objective, states.as_deref()).expect("fitting states");
    let executor: Box<dyn Executor> = match how {
        How::Sequential => Box::new(Sequential::new(workers)),
        How::Pipelined(_) | How::Replicated(_) => {
            Box::new(Pipelined::start(workers).expect("threads"))
        }
    };
    let mut sink = Sink {
        events: Vec::new(),
        stop: stop_after.map(|step| (&stop, step)),
    };
    let outcome = training
        .run(executor, n_blocks, progress, &mut sink)
        .expect("a training without errors");
    let blocks = match outcome {
        Outcome::Finished(blocks) => Some(blocks.iter().map(|block: &Block| take(block)).collect()),
        Outcome::Stopped { .. } => None,
    };
    Trained {
        blocks,
        events: sink.events,
    }
}

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

fn check_same_bits(n_blocks: usize, changes: &[&str]) {
    let data = tempfile::tempdir().expect("a folder");
    write_cifar10(data.path(), 6, 1);
    let mixing = [
        "data.augmentation.mixup=0.2",
        "data.augmentation.cutmix=1.0",
    ];
    let changes: Vec<&str> = mixing.iter().chain(changes).copied().collect();
    let config = config(data.path(), &changes);
    let run = |how, stop_after: &[Option<u64>]| {
        let folder = tempfile::tempdir().expect("a folder");
        // One after the other: each goes on where the one before stopped.
        let mut last = None;
        for stop in stop_after {
            last = Some(train(&config, how, folder.path(), *stop));
        }
        last.expect("a training")
    };
    let whole = run(How::Sequential, &[None]);
    let resumed = run(How::Sequential, &[Some(3), None]);
    let pipelined = run(How::Pipelined(2), &[None]);
    assert_eq!(
        without_waiting(&whole.events),
        without_waiting(&pipelined.events)
    );
    let blocks = whole.blocks.expect("finished");
    assert_eq!(blocks.len(), n_blocks);
    for other in [resumed, pipelined] {
        for (a, b) in blocks.iter().zip(&other.blocks.expect("finished")) {
            assert_same_bits(a, b);
        }
    }
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
            let last = events.iter().rev().find_map(|event| match event {
                Event::Validation {
                    error_percent,
                    mae_years,
                    ..
                } if mae_years.is_empty() => Some(error_percent),
                _ => None,
            });
            // Guessing is wrong on 90 %; some 60 images are watched, so two standard deviations are 8 %.
            let last = last.expect("a validation");
            assert!(
                last.last().is_some_and(|error| *error < 50.0),
                "{regime} {weights}: {last:?}"
            );
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
