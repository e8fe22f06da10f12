//! What the engine promises of executions, on a tiny network: same bits from every executor and from replicas up to
//! rounding, exact resumption, and an error that says where.

#![expect(clippy::expect_used, reason = "what fails in a helper fails its test")]

mod phantoms;

use brainage::Error;
use brainage::config::train::TrainConfig;
use brainage::data::batch::SampleSource;
use brainage::engine::event::Event;
use phantoms::{
    How, Phantoms, assert_same_bits, config, train, train_on, train_whole, without_waiting,
};

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
