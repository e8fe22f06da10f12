//! What block-local training promises, on a tiny network: same bits from every executor, exact resumption, no gradient
//! between blocks, and one block alone is plain backprop.

#![expect(clippy::expect_used, reason = "what fails in a helper fails its test")]

use std::sync::atomic::{AtomicBool, Ordering};

use brainage::Error;
use brainage::config::train::{BRAIN_CNN, BRAIN_CNN_SMALL, TrainConfig};
use brainage::data::batch::{BatchPlan, SampleSource};
use brainage::data::sampling::Draw;
use brainage::engine::checkpoint::{Checkpoints, Progress};
use brainage::engine::device::{self, DeviceName};
use brainage::engine::event::{Event, EventSink};
use brainage::engine::executor::{Executor, Pipelined, Sequential};
use brainage::engine::placement::{Stage, even};
use brainage::engine::seed::Seed;
use brainage::engine::target::AgeTarget;
use brainage::engine::trainer::{Outcome, Training, workers};
use brainage::engine::worker::{BlockTrainer, Job, Message};
use brainage::models::parameters::{NamedTensors, take};
use brainage::models::{Block, Network, Regime};
use burn::tensor::{Device, Tensor, TensorData};

/// Volumes of 16 voxels a side whose mean says the age.
struct Phantoms(usize);

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
struct Sink<'a> {
    events: Vec<Event>,
    stop: Option<(&'a AtomicBool, u64)>,
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

fn config(changes: &[&str]) -> TrainConfig {
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
enum How {
    Sequential,
    Pipelined(usize),
    /// Each block on this many devices.
    Replicated(usize),
}

impl How {
    fn stages(self, n_blocks: usize) -> Vec<Stage> {
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

struct Trained {
    blocks: Option<Vec<NamedTensors>>,
    events: Vec<Event>,
}

/// Trains for all epochs, or until after `stop_after`, from the newest checkpoint in `folder`.
fn train(
    config: &TrainConfig,
    how: How,
    folder: &std::path::Path,
    stop_after: Option<u64>,
) -> Trained {
    train_on(&Phantoms(7), config, how, folder, stop_after).expect("a training without errors")
}

fn train_on(
    source: &dyn SampleSource,
    config: &TrainConfig,
    how: How,
    folder: &std::path::Path,
    stop_after: Option<u64>,
) -> Result<Trained, Error> {
    let section = &config.train;
    let checkpoints = Checkpoints::new(folder.to_path_buf(), 2);
    let (validation, stop) = (Phantoms(2), AtomicBool::new(false));
    let ages: Vec<f64> = (0..7).map(|i| source.age_years(i)).collect();
    let training = Training {
        training: source,
        validation: &validation,
        augmentation: config.data.augmentation,
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

fn train_whole(config: &TrainConfig, how: How) -> Trained {
    let folder = tempfile::tempdir().expect("a folder");
    train(config, how, folder.path(), None)
}

/// Events without the figures that depend on how fast the machine was.
fn without_waiting(events: &[Event]) -> Vec<Event> {
    for event in events {
        if let Event::Epoch {
            data_wait_share,
            busy_share,
            queue_fill,
            mae_years,
            ..
        } = event
        {
            let n_blocks = mae_years.len();
            assert_eq!((busy_share.len(), queue_fill.len()), (n_blocks, n_blocks));
            for share in [data_wait_share]
                .into_iter()
                .chain(busy_share)
                .chain(queue_fill)
            {
                assert!((0.0..=1.0).contains(share), "{event:?}");
            }
            assert!(busy_share.iter().all(|share| *share > 0.0), "{event:?}");
        }
    }
    events.iter().cloned().map(Event::reproducible).collect()
}

fn assert_same_bits(a: &NamedTensors, b: &NamedTensors) {
    assert_eq!(a.keys().collect::<Vec<_>>(), b.keys().collect::<Vec<_>>());
    for (name, data) in a {
        assert_eq!(data.as_bytes(), b[name].as_bytes(), "{name}");
    }
}

#[test]
fn pipelined_workers_give_the_bits_and_the_events_of_the_sequential_run() {
    let config = config(&[]);
    let sequential = train_whole(&config, How::Sequential);
    let blocks = sequential.blocks.expect("finished");
    assert_eq!(blocks.len(), 4);
    let events = without_waiting(&sequential.events);
    for n_workers in [1, 2, 3, 4] {
        let pipelined = train_whole(&config, How::Pipelined(n_workers));
        let same = without_waiting(&pipelined.events) == events;
        assert!(same, "{n_workers} workers: {:?}", pipelined.events);
        for (a, b) in blocks.iter().zip(pipelined.blocks.expect("finished")) {
            assert_same_bits(a, &b);
        }
    }
}

#[test]
fn a_run_that_was_stopped_and_resumed_ends_with_the_bits_of_an_uninterrupted_one() {
    // More steps than fit into the queues, so that stopping takes effect before the end.
    let config = config(&["train.epochs=12"]);
    let whole = train_whole(&config, How::Pipelined(4))
        .blocks
        .expect("finished");
    for stop_after in [0, 3] {
        let folder = tempfile::tempdir().expect("a folder");
        let first = train(&config, How::Pipelined(4), folder.path(), Some(stop_after));
        assert!(first.blocks.is_none(), "it was to stop");
        let rest = train(&config, How::Pipelined(2), folder.path(), None);
        for (a, b) in whole.iter().zip(rest.blocks.expect("finished")) {
            assert_same_bits(a, &b);
        }
    }
}

#[test]
fn a_training_that_is_stopped_after_a_checkpoint_writes_it_once() {
    let config = config(&["train.epochs=12", "train.checkpoint.every_steps=1"]);
    let folder = tempfile::tempdir().expect("a folder");
    let mut events = Vec::new();
    for stop_after in [Some(3), Some(0), None] {
        events.extend(train(&config, How::Pipelined(2), folder.path(), stop_after).events);
    }
    let checkpoints = events.iter().filter_map(|event| match event {
        Event::Checkpoint { step } => Some(*step),
        _ => None,
    });
    assert_eq!(checkpoints.collect::<Vec<_>>(), (1..36).collect::<Vec<_>>());
}

/// Phantoms with another volume of this many voxels a side.
struct Odd(usize, fn(usize) -> Result<Vec<f32>, Error>);

impl SampleSource for Odd {
    fn len(&self) -> usize {
        7
    }
    fn id(&self, sample: usize) -> u64 {
        Phantoms(7).id(sample)
    }
    fn age_years(&self, sample: usize) -> f64 {
        Phantoms(7).age_years(sample)
    }
    fn cohort(&self, _: usize) -> &'static str {
        "phantoms"
    }
    fn sides(&self) -> [usize; 3] {
        [self.0; 3]
    }
    fn voxel_size_mm(&self) -> [f64; 3] {
        Phantoms(7).voxel_size_mm()
    }
    fn volume(&self, sample: usize) -> Result<Vec<f32>, Error> {
        (self.1)(sample)
    }
}

/// What a training on such phantoms says, with all causes, whoever runs the blocks.
fn said_of(odd: &Odd) -> String {
    let said = [How::Sequential, How::Pipelined(1)].map(|how| {
        let folder = tempfile::tempdir().expect("a folder");
        let ended = train_on(odd, &config(&[]), how, folder.path(), None);
        let error = anyhow::Error::new(ended.err().expect("an error"));
        format!("{error:#}")
    });
    assert_eq!(said[0], said[1]);
    said[0].clone()
}

#[test]
fn a_volume_that_cannot_be_read_ends_the_training_with_its_error() {
    let damaged = Odd(16, |sample| match sample {
        4 => Err(Error::Data("the fifth is damaged".into())),
        _ => Phantoms(7).volume(sample),
    });
    assert_eq!(said_of(&damaged), "the fifth is damaged");
}

#[test]
fn a_failing_worker_ends_the_training_and_names_device_block_and_step() {
    let not_a_number = Odd(16, |sample| match sample {
        4 => Ok(vec![f32::NAN; 4096]),
        _ => Phantoms(7).volume(sample),
    });
    let said = said_of(&not_a_number);
    let place = "worker of device cpu:0 stopped in block 1 at step ";
    assert!(said.starts_with(place), "{said}");
    assert!(said.contains(": loss is NaN (samples "), "{said}");
    // Nothing is left to pool in the third block, where the back end panics.
    let too_small = Odd(4, |sample| Ok(vec![sample as f32; 64]));
    let said = said_of(&too_small);
    let place = "worker of device cpu:0 stopped in block 3 at step 0: ";
    assert!(
        said.starts_with(place) && said.len() > place.len(),
        "{said}"
    );
}

#[test]
fn a_balanced_training_gives_the_same_bits_from_every_executor_and_others_than_a_shuffled_one() {
    let balanced = config(&["data.sampling.balance=age-bins"]);
    let one = train_whole(&balanced, How::Sequential);
    let other = train_whole(&balanced, How::Pipelined(3));
    assert_eq!(without_waiting(&one.events), without_waiting(&other.events));
    let shuffled = train_whole(&config(&[]), How::Sequential);
    assert_ne!(
        without_waiting(&one.events),
        without_waiting(&shuffled.events)
    );
}

#[test]
fn no_later_block_changes_what_the_first_one_learns() {
    let first_block = |changes: &[&str]| {
        let mut blocks = train_whole(&config(changes), How::Sequential)
            .blocks
            .expect("finished");
        blocks.swap_remove(0)
    };
    // The same four stages; the last three blocks learn as one, with other heads.
    let cut_once = first_block(&["model.cuts=[1]", "model.head=gap-linear"]);
    let cut_thrice = first_block(&["model.cuts=[1, 2, 3]", "model.head=gap-linear"]);
    assert_same_bits(&cut_once, &cut_thrice);
}

#[test]
fn local_training_of_one_block_is_backprop() {
    let local = train_whole(&config(&["model.cuts=[]"]), How::Sequential)
        .blocks
        .expect("finished");
    let backprop = train_whole(&config(&["train.regime=backprop"]), How::Sequential)
        .blocks
        .expect("finished");
    assert_eq!((local.len(), backprop.len()), (1, 1));
    assert_same_bits(&local[0], &backprop[0]);
}

#[test]
fn every_block_learns_and_its_bases_stay_orthonormal() {
    let config = config(&["train.epochs=12", "train.optimizer.learning_rate=1e-3"]);
    let events = train_whole(&config, How::Pipelined(2)).events;
    let epochs: Vec<(&Vec<f64>, &Vec<Vec<f64>>)> = events
        .iter()
        .filter_map(|event| match event {
            Event::Epoch {
                mae_years,
                orthogonality_error,
                ..
            } => Some((mae_years, orthogonality_error)),
            _ => None,
        })
        .collect();
    assert_eq!(epochs.len(), 12);
    let (first, last) = (epochs[0], epochs[11]);
    for block in 0..4 {
        assert!(
            last.0[block] < first.0[block],
            "block {}: {first:?} {last:?}",
            block + 1
        );
        // Above 0.1 a basis would no longer be orthonormal (see Weight::orthogonality_error).
        assert!(
            last.1[block].iter().all(|error| *error < 0.1),
            "block {}: {:?}",
            block + 1,
            last.1[block]
        );
    }
}

#[test]
fn the_published_network_has_the_published_numbers_of_parameters_and_multiply_adds() {
    // Yin et al. 2023, conv4k6d2 with a linear output: 2,343,729 with batch-norm statistics.
    let changes = [
        "model.weights=dense".to_owned(),
        "train.regime=backprop".to_owned(),
    ];
    let config = TrainConfig::parse(BRAIN_CNN, "brain-cnn.toml".as_ref(), &changes).expect("valid");
    let network = Network::new(
        &config.model,
        1,
        config.train.regime,
        Seed(1),
        &Device::flex(),
    )
    .expect("a network");
    assert_eq!(network.parameter_counts().stored, 2_343_729);
    assert_eq!(
        config.model.feature_sides([128; 3]).expect("fits").last(),
        Some(&[3; 3])
    );
    let macs = config.model.forward_macs([128; 3]).expect("fits");
    let gmac: Vec<f64> = macs.iter().map(|n| *n as f64 / 1e9).collect();
    for (found, published) in gmac.iter().zip([6.431, 19.422, 5.382, 0.382]) {
        assert!((found - published).abs() < 0.0005, "{gmac:?}");
    }
    assert!(config.model.feature_sides([91; 3]).is_ok());
    assert!(config.model.feature_sides([90; 3]).is_err());
}

fn final_mae(changes: &[&str]) -> (Vec<f64>, Vec<f64>) {
    let events = train_whole(&config(changes), How::Pipelined(2)).events;
    let mut epochs = events.into_iter().filter_map(|event| match event {
        Event::Epoch { mae_years, .. } => Some(mae_years),
        _ => None,
    });
    let first = epochs.next().expect("an epoch");
    (first, epochs.next_back().expect("a last epoch"))
}

#[test]
fn every_loss_and_optimizer_learns_in_every_block() {
    let long = ["train.epochs=16", "train.optimizer.learning_rate=2e-3"];
    for changes in [
        &["train.loss=mse"][..],
        &["train.loss={ huber = { delta_years = 5.0 } }"],
        &["train.loss={ soft-labels = { bin_years = 2.0, sd_years = 2.0 } }"],
        &[
            "train.optimizer.name=sgd",
            "train.optimizer.learning_rate=2e-2",
        ],
        &["train.schedule.shape=step"],
        &["train.orthogonality.mode=both"],
    ] {
        let all: Vec<&str> = long.iter().chain(changes).copied().collect();
        let (first, last) = final_mae(&all);
        for (block, (first, last)) in first.iter().zip(&last).enumerate() {
            assert!(
                last < first,
                "{changes:?}, block {}: {first} {last}",
                block + 1
            );
        }
    }
}

#[test]
fn bases_stay_orthonormal_by_retraction_alone() {
    let changes = [
        "train.epochs=20",
        "train.orthogonality.mode=retract",
        "train.optimizer.learning_rate=3e-3",
    ];
    let events = train_whole(&config(&changes), How::Sequential).events;
    let errors = events.iter().rev().find_map(|event| match event {
        Event::Epoch {
            orthogonality_error,
            ..
        } => Some(orthogonality_error.concat()),
        _ => None,
    });
    let errors = errors.expect("an epoch");
    assert_eq!(
        errors.len(),
        4 + 4 + 4 + 3 + 2,
        "each layer of trunk and heads has its own"
    );
    // A step of length η moves a basis out by e ≈ η·√r; one retraction leaves ¾e².
    assert!(errors.iter().all(|error| *error < 0.02), "{errors:?}");
}

#[test]
fn a_batch_in_parts_gives_the_gradient_of_the_whole() {
    // Both parts hold the same two volumes, so what normalization sees of a part it sees of the whole; their ages
    // differ. A plain step of SGD then moves every parameter alike, up to rounding.
    let of = |parts: usize| {
        let accumulate = format!("train.accumulate={parts}");
        let config = config(&["train.optimizer.name=sgd", &accumulate]);
        let target = AgeTarget::of(config.train.loss, &[20.0, 80.0]).expect("ages");
        let device = Device::flex();
        let network = Network::new(&config.model, 1, Regime::Local, Seed(1), &device);
        let block = network.expect("a network").blocks.swap_remove(0);
        let objective = config.train.objective(target);
        let lane = device::open_one(DeviceName::LogicalCpu(0)).expect("a device");
        let mut trainer =
            BlockTrainer::new(0, &block, objective, &[lane.into()]).expect("a device");
        let pair: Vec<f32> = (0..2 * 4096)
            .map(|i| ((i * 37) % 103) as f32 / 50.0 - 1.0)
            .collect();
        let volumes = TensorData::new([pair.clone(), pair].concat(), [4, 1, 16, 16, 16]);
        let job = Job::Train {
            step: 0,
            learning_rate: 0.1,
            samples: [1, 2, 3, 4].into(),
            ages_years: [20.0, 80.0, 35.0, 61.0].into(),
        };
        let features = Some(Tensor::from_data(volumes, &device));
        trainer.handle(Message { job, features }).expect("a step");
        take(&trainer.block())
    };
    let (whole, parts) = (of(1), of(2));
    for (name, data) in whole.iter().filter(|(name, _)| !name.contains("running")) {
        let (a, b) = (data.as_slice::<f32>(), parts[name].as_slice::<f32>());
        for (a, b) in a.expect("f32").iter().zip(b.expect("f32")) {
            // Single precision over sums of 16,384 voxels, times the learning rate.
            assert!((a - b).abs() <= 2e-5, "{name}: {a} {b}");
        }
    }
}

#[test]
fn replicas_that_split_batches_learn_what_one_device_learns() {
    // Batches of 3, 3 and 1 on two devices: uneven shares, and one that nobody can split. Plain SGD moves parameters by
    // their gradients, so rounding stays rounding (AdamW would blow up the sign of a gradient that is nearly zero).
    for regime in ["local", "backprop"] {
        let regime = format!("train.regime={regime}");
        let changes = [
            "train.optimizer.name=sgd",
            "train.optimizer.learning_rate=1e-2",
            &regime,
        ];
        let config = config(&changes);
        let whole = train_whole(&config, How::Sequential);
        let split = train_whole(&config, How::Replicated(2));
        for (a, b) in whole
            .blocks
            .iter()
            .flatten()
            .zip(split.blocks.iter().flatten())
        {
            for (name, data) in a {
                let (a, b) = (data.as_slice::<f32>(), b[name].as_slice::<f32>());
                let (a, b) = (a.expect("f32"), b.expect("f32"));
                let scale = a
                    .iter()
                    .fold(1e-3, |most: f32, value| most.max(value.abs()));
                for (a, b) in a.iter().zip(b) {
                    // Nine steps in single precision, each a sum over thousands of voxels in another order.
                    assert!((a - b).abs() <= 1e-4 * scale, "{name}: {a} {b}");
                }
            }
        }
        let again = train_whole(&config, How::Replicated(2));
        for (a, b) in split
            .blocks
            .iter()
            .flatten()
            .zip(again.blocks.iter().flatten())
        {
            assert_same_bits(a, b);
        }
    }
}

#[test]
fn patience_ends_every_executor_after_the_same_epoch_and_the_best_epoch_becomes_the_model() {
    let changes = [
        "train.epochs=30",
        "train.selection.patience=2",
        "train.selection.epoch=best",
        "train.optimizer.learning_rate=1e-2",
    ];
    let config = config(&changes);
    let (sequential, pipelined) = (
        train_whole(&config, How::Sequential),
        train_whole(&config, How::Pipelined(4)),
    );
    assert_eq!(
        without_waiting(&sequential.events),
        without_waiting(&pipelined.events)
    );
    let errors: Vec<f64> = sequential
        .events
        .iter()
        .filter_map(|event| match event {
            Event::Validation { mae_years, .. } => mae_years.last().copied(),
            _ => None,
        })
        .collect();
    assert!(errors.len() < 30, "it was to end early: {errors:?}");
    let best = errors.iter().copied().fold(f64::INFINITY, f64::min);
    let place = errors
        .iter()
        .position(|error| *error == best)
        .expect("a best epoch");
    assert_eq!(errors.len(), place + 1 + 2, "{errors:?}");

    // A run that ends with the best epoch has its weights, if its learning rates are the same.
    let constant = [&changes[..], &["train.schedule.shape=constant"]].concat();
    let chosen = train_whole(&super_config(&constant), How::Sequential);
    let n = chosen
        .events
        .iter()
        .filter_map(|event| match event {
            Event::Validation { mae_years, .. } => mae_years.last().copied(),
            _ => None,
        })
        .enumerate()
        .min_by(|a, b| a.1.total_cmp(&b.1))
        .expect("a best epoch")
        .0
        + 1;
    let epochs = format!("train.epochs={n}");
    let plain = [
        "train.optimizer.learning_rate=1e-2",
        "train.schedule.shape=constant",
        "train.schedule.warmup=0.0",
        &epochs,
    ];
    let ended_there = train_whole(&super_config(&plain), How::Sequential)
        .blocks
        .expect("finished");
    for (a, b) in ended_there.iter().zip(chosen.blocks.expect("finished")) {
        assert_same_bits(a, &b);
    }
}

fn super_config(changes: &[&str]) -> TrainConfig {
    let changes: Vec<&str> = changes
        .iter()
        .copied()
        .chain(["train.schedule.warmup=0.0"])
        .collect();
    config(&changes)
}

#[test]
fn a_mean_of_the_weights_survives_a_resumption_bit_for_bit() {
    let config = config(&["train.epochs=12", "train.average=0.9"]);
    let whole = train_whole(&config, How::Pipelined(4))
        .blocks
        .expect("finished");
    let folder = tempfile::tempdir().expect("a folder");
    assert!(
        train(&config, How::Pipelined(4), folder.path(), Some(5))
            .blocks
            .is_none()
    );
    let rest = train(&config, How::Sequential, folder.path(), None)
        .blocks
        .expect("finished");
    for (a, b) in whole.iter().zip(&rest) {
        assert_same_bits(a, b);
    }
}
