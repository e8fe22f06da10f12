//! Trainings on made-up volumes whose mean says the age: what the tests of the engine have in common.

#![expect(clippy::expect_used, reason = "what fails in a helper fails its test")]
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::sync::atomic::{AtomicBool, Ordering};

use brainage::Error;
use brainage::config::train::{BRAIN_CNN_SMALL, TrainConfig};
use brainage::data::batch::{BatchPlan, SampleSource, Volumes};
use brainage::data::sampling::Draw;
use brainage::engine::checkpoint::{Checkpoints, Progress};
use brainage::engine::device::{self, DeviceName};
use brainage::engine::event::{Event, EventSink};
use brainage::engine::executor::{Executor, Pipelined, Sequential};
use brainage::engine::placement::{Stage, even};
use brainage::engine::target::{AgeTarget, Metric};
use brainage::engine::trainer::{Outcome, Training, workers};
use brainage::models::parameters::{NamedTensors, take};
use brainage::models::{Block, Network};
use burn::tensor::Device;

/// Volumes of 16 voxels a side whose mean says the age.
pub(crate) struct Phantoms(pub usize);

impl SampleSource for Phantoms {
    fn len(&self) -> usize {
        self.0
    }
    fn id(&self, sample: usize) -> u64 {
        sample as u64 * 7919
    }
    fn age_years(&self, sample: usize) -> f64 {
        20.0 + 5.0 * sample as f64
    }
    fn cohort(&self, _: usize) -> &'static str {
        "phantoms"
    }
    fn sides(&self) -> [usize; 3] {
        [16; 3]
    }
    fn voxel_size_mm(&self) -> [f64; 3] {
        [4.0; 3]
    }
    fn volume(&self, sample: usize) -> Result<Vec<f32>, Error> {
        let value = |i: usize| ((i * 31 + sample * 17) % 101) as f32 / 50.0 - 1.0;
        Ok((0..4096).map(|i| value(i) + 0.1 * sample as f32).collect())
    }
}

/// Keeps events; asks to stop after a step.
pub(crate) struct Sink<'a> {
    pub events: Vec<Event>,
    pub stop: Option<(&'a AtomicBool, u64)>,
}

impl EventSink for Sink<'_> {
    fn emit(&mut self, event: &Event) -> std::io::Result<()> {
        if let (Event::Step { step, .. }, Some((flag, last))) = (event, self.stop) {
            flag.fetch_or(*step >= last, Ordering::Relaxed);
        }
        self.events.push(event.clone());
        Ok(())
    }
}

pub(crate) fn config(changes: &[&str]) -> TrainConfig {
    let small = [
        "model.width=0.5",
        "model.final_hidden=8",
        "train.epochs=3",
        "train.batch_size=3",
        "train.checkpoint.every_steps=100",
    ];
    let changes: Vec<String> = small
        .iter()
        .chain(changes)
        .map(|c| (*c).to_owned())
        .collect();
    TrainConfig::parse(BRAIN_CNN_SMALL, "small.toml".as_ref(), &changes).expect("a valid config")
}

#[derive(Clone, Copy)]
pub(crate) enum How {
    Sequential,
    Pipelined(usize),
    /// Each block on this many devices.
    Replicated(usize),
}

impl How {
    pub(crate) fn stages(self, n_blocks: usize) -> Vec<Stage> {
        let replicas = match self {
            Self::Sequential => return even(n_blocks, 1),
            Self::Pipelined(n) => return even(n_blocks, n),
            Self::Replicated(n) => n,
        };
        let stage = |block| Stage {
            blocks: block..block + 1,
            replicas,
        };
        (0..n_blocks).map(stage).collect()
    }
}

pub(crate) struct Trained {
    pub blocks: Option<Vec<NamedTensors>>,
    pub events: Vec<Event>,
}

/// Trains for all epochs, or until after `stop_after`, from the newest checkpoint in `folder`.
pub(crate) fn train(
    config: &TrainConfig,
    how: How,
    folder: &std::path::Path,
    stop_after: Option<u64>,
) -> Trained {
    train_on(&Phantoms(7), config, how, folder, stop_after).expect("a training without errors")
}

pub(crate) fn train_on(
    source: &dyn SampleSource,
    config: &TrainConfig,
    how: How,
    folder: &std::path::Path,
    stop_after: Option<u64>,
) -> Result<Trained, Error> {
    let section = &config.train;
    let checkpoints = Checkpoints::new(folder.to_path_buf(), 2);
    let augmentation = config.data.augmentation;
    let changed = Volumes {
        source,
        augmentation,
    };
    let watched = Volumes {
        source: &Phantoms(2),
        augmentation,
    };
    let stop = AtomicBool::new(false);
    let ages: Vec<f64> = (0..7).map(|i| source.age_years(i)).collect();
    let training = Training {
        training: &changed,
        validation: &watched,
        metric: Metric::AbsoluteYears,
        plan: BatchPlan {
            n_samples: 7,
            batch_size: section.batch_size,
            seed: section.seed,
            draw: Draw::new(config.data.sampling.balance, source),
        },
        epochs: section.epochs,
        learning_rate: section.optimizer.learning_rate,
        schedule: section.schedule.clone(),
        checkpoints: &checkpoints,
        checkpoint: section.checkpoint,
        selection: section.selection,
        stop: &stop,
    };
    let target = AgeTarget::of(section.loss, &ages).expect("different ages");
    let (n_outputs, regime) = (target.n_outputs(), section.regime);
    let network = Network::new(
        &config.model,
        n_outputs,
        regime,
        section.seed,
        &Device::flex(),
    )
    .expect("a network");
    let network = section.prepared(network, config.model.weights);
    let n_blocks = network.blocks.len();
    let latest = checkpoints.load_latest(n_blocks).expect("readable");
    let (progress, states) = latest.map_or((Progress::default(), None), |c| {
        (c.progress, Some(c.blocks))
    });
    let n_lanes = match how {
        How::Sequential => 1,
        How::Pipelined(n) => n,
        How::Replicated(n) => n * n_blocks,
    };
    let names: Vec<DeviceName> = (0..n_lanes).map(DeviceName::LogicalCpu).collect();
    let objective = section.objective(target);
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
    let outcome = training.run(executor, n_blocks, progress, &mut sink)?;
    let blocks = match outcome {
        Outcome::Finished(blocks) => Some(blocks.iter().map(|block: &Block| take(block)).collect()),
        Outcome::Stopped { .. } => None,
    };
    Ok(Trained {
        blocks,
        events: sink.events,
    })
}

pub(crate) fn train_whole(config: &TrainConfig, how: How) -> Trained {
    let folder = tempfile::tempdir().expect("a folder");
    train(config, how, folder.path(), None)
}

/// Events without the figures that depend on how fast the machine was.
pub(crate) fn without_waiting(events: &[Event]) -> Vec<Event> {
    let mut n_busy = Vec::new();
    for event in events {
        if let Event::Epoch {
            data_wait_share,
            busy_share,
            queue_fill,
            mae_years,
            error_percent,
            ..
        } = event
        {
            let n_blocks = mae_years.len() + error_percent.len();
            assert_eq!((busy_share.len(), queue_fill.len()), (n_blocks, n_blocks));
            for share in [data_wait_share]
                .into_iter()
                .chain(busy_share)
                .chain(queue_fill)
            {
                assert!((0.0..=1.0).contains(share), "{event:?}");
            }
            n_busy.resize(n_blocks, 0);
            for (n_busy, share) in n_busy.iter_mut().zip(busy_share) {
                *n_busy += usize::from(*share > 0.0);
            }
        }
    }
    // A fast block may be through with a short epoch before the one before it ends.
    assert!(n_busy.iter().all(|n| *n > 0), "{n_busy:?}");
    events.iter().cloned().map(Event::reproducible).collect()
}

pub(crate) fn assert_same_bits(a: &NamedTensors, b: &NamedTensors) {
    assert_eq!(a.keys().collect::<Vec<_>>(), b.keys().collect::<Vec<_>>());
    for (name, data) in a {
        assert_eq!(data.as_bytes(), b[name].as_bytes(), "{name}");
    }
}
