//! What block-local training promises, on a tiny network: no gradient between blocks, one block alone is plain backprop,
//! every loss and optimizer learns, and bases stay orthonormal.

#![expect(clippy::expect_used, reason = "what fails in a helper fails its test")]

mod phantoms;

use brainage::config::train::{BRAIN_CNN, TrainConfig};
use brainage::data::batch::Truth;
use brainage::engine::device::{self, DeviceName};
use brainage::engine::event::Event;
use brainage::engine::seed::Seed;
use brainage::engine::target::AgeTarget;
use brainage::engine::worker::{BlockTrainer, Job, Message};
use brainage::models::parameters::take;
use brainage::models::{Network, Regime};
use burn::tensor::{Device, Tensor, TensorData};
use phantoms::{How, assert_same_bits, config, train_whole};

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
fn augmented_heads_that_learn_similarity_leave_each_block_to_itself() {
    let first_block = |cuts: &str| {
        let head = "model.head={ augmented = { depth = 1 } }";
        let changes = [cuts, head, "train.auxiliary.similarity=0.5"];
        let mut blocks = train_whole(&config(&changes), How::Sequential)
            .blocks
            .expect("finished");
        blocks.swap_remove(0)
    };
    assert_same_bits(
        &first_block("model.cuts=[1]"),
        &first_block("model.cuts=[1, 2, 3]"),
    );
}

#[test]
fn deep_supervision_whose_inner_heads_weigh_nothing_is_backprop() {
    let deep = |weight: &str| {
        let changes = [
            "train.regime=deep-supervision",
            weight,
            "model.weights=dense",
        ];
        let trained = train_whole(&config(&changes), How::Sequential);
        let mut block = trained.blocks.expect("finished").swap_remove(0);
        block.retain(|name, _| !name.starts_with("inner."));
        (block, trained.events)
    };
    let changes = ["train.regime=backprop", "model.weights=dense"];
    let backprop = train_whole(&config(&changes), How::Sequential);
    let (weightless, events) = deep("train.auxiliary.weight=0.0");
    assert_same_bits(&weightless, &backprop.blocks.expect("finished")[0]);
    assert!(events.iter().all(|event| match event {
        Event::Step {
            mae_years, loss, ..
        } => (mae_years.len(), loss.len()) == (4, 4),
        Event::Validation { mae_years, .. } => mae_years.len() == 4,
        _ => true,
    }));
    let (supervised, _) = deep("train.auxiliary.weight=1.0");
    assert!(
        supervised
            .iter()
            .any(|(name, data)| data.as_bytes() != weightless[name].as_bytes())
    );
}

#[test]
fn every_block_learns_and_the_penalty_keeps_its_bases_orthonormal() {
    let config = config(&[
        "train.epochs=12",
        "train.optimizer.learning_rate=1e-3",
        "train.orthogonality.mode=penalty",
    ]);
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
            truths: [20.0, 80.0, 35.0, 61.0].map(Truth::from).into(),
        };
        let features = Some(Tensor::from_data(volumes, &device));
        trainer.handle(Message::new(job, features)).expect("a step");
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
