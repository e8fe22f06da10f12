//! Small trainings of classifiers on made-up images, for tests of the vision benchmarks and of training methods.

#![expect(clippy::expect_used, reason = "what fails in a helper fails its test")]
#![allow(dead_code, reason = "each test file uses a part of it")]

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
use brainage::models::parameters::take;
use brainage::models::{Block, NetworkDraw};
use brainage::vision::config::VisionConfig;
use burn::tensor::Device;

use crate::phantoms::{How, Sink, Trained, assert_same_bits, without_waiting};

pub(crate) const CONFIG: &str = include_str!("../../configs/vision/cifar10-resnet18-small.toml");

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
pub(crate) fn write_cifar10(folder: &Path, n_training: u32, n_test: u32) {
    let file = |numbers: std::ops::Range<u32>| -> Vec<u8> {
        numbers
            .flat_map(|number| (0..10).flat_map(move |class| record(class, number)))
            .collect()
    };
    fs_err::write(folder.join("data_batch_1.bin"), file(0..n_training)).expect("written");
    fs_err::write(folder.join("test_batch.bin"), file(500..500 + n_test)).expect("written");
}

pub(crate) fn config(data: &Path, changes: &[&str]) -> VisionConfig {
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
pub(crate) fn train(
    config: &VisionConfig,
    how: How,
    folder: &Path,
    stop_after: Option<u64>,
) -> Trained {
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

/// Checks that a run that was stopped, and one on two devices, end as an uninterrupted one on one device does.
pub(crate) fn check_same_bits(n_blocks: usize, changes: &[&str]) {
    let resumed = (How::Sequential, vec![Some(3), None]);
    let pipelined = (How::Pipelined(2), vec![None]);
    check_same_end(n_blocks, changes, vec![resumed, pipelined]);
}

/// Checks that a run on two devices ends as one on one device does.
pub(crate) fn check_same_bits_of_executors(n_blocks: usize, changes: &[&str]) {
    check_same_end(n_blocks, changes, vec![(How::Pipelined(2), vec![None])]);
}

/// Checks that runs end as an uninterrupted one on one device does; each is stopped after the given steps and goes on.
fn check_same_end(n_blocks: usize, changes: &[&str], others: Vec<(How, Vec<Option<u64>>)>) {
    let data = tempfile::tempdir().expect("a folder");
    write_cifar10(data.path(), 6, 1);
    let mixing = [
        "data.augmentation.mixup=0.2",
        "data.augmentation.cutmix=1.0",
    ];
    let changes: Vec<&str> = mixing.iter().chain(changes).copied().collect();
    let config = config(data.path(), &changes);
    let run = |how, stop_after: Vec<Option<u64>>| {
        let folder = tempfile::tempdir().expect("a folder");
        // One after the other: each goes on where the one before stopped.
        let mut last = None;
        for stop in stop_after {
            last = Some(train(&config, how, folder.path(), stop));
        }
        last.expect("a training")
    };
    let whole = run(How::Sequential, vec![None]);
    let blocks = whole.blocks.expect("finished");
    assert_eq!(blocks.len(), n_blocks);
    for (how, stop_after) in others {
        let was_stopped = stop_after.len() > 1;
        let other = run(how, stop_after);
        if !was_stopped {
            let (a, b) = (&whole.events, &other.events);
            assert_eq!(without_waiting(a), without_waiting(b));
        }
        for (a, b) in blocks.iter().zip(&other.blocks.expect("finished")) {
            assert_same_bits(a, b);
        }
    }
}

/// The error of the last head at the last validation, percent.
pub(crate) fn last_error_percent(events: &[Event]) -> f64 {
    let last = events.iter().rev().find_map(|event| match event {
        Event::Validation {
            error_percent,
            mae_years,
            ..
        } if mae_years.is_empty() => error_percent.last().copied(),
        _ => None,
    });
    last.expect("a validation")
}
