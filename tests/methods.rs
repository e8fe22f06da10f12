//! What each training method promises: it learns, and resumes bit for bit.

mod classifiers;
mod phantoms;

use brainage::config::method::{METHODS, Method};
use brainage::engine::event::Event;
use classifiers::{
    check_same_bits, check_same_bits_of_executors, config, last_error_percent, train, write_cifar10,
};
use phantoms::How;

#[test]
fn every_method_learns_far_better_than_chance() {
    let data = tempfile::tempdir().expect("a folder");
    write_cifar10(data.path(), 30, 1);
    let errors = METHODS.iter().map(|card| {
        let method = format!("train.method={}", card.method.name());
        let changes = [
            &method,
            "train.epochs=6",
            "train.optimizer.learning_rate=5e-3",
            "data.validation=0.2",
        ];
        let folder = tempfile::tempdir().expect("a folder");
        let config = config(data.path(), &changes);
        let trained = train(&config, How::Sequential, folder.path(), None);
        (card.method, last_error_percent(&trained.events))
    });
    let errors: Vec<(Method, f64)> = errors.collect();
    // Guessing is wrong on 90 %; some 60 images are watched, so two standard deviations are 8 %. Rules that no gradient leaves a
    // unit by learn slowest.
    let most = |method| match method {
        Method::Dfa | Method::MonoForward => 75.0,
        _ => 60.0,
    };
    let is_learned = |(method, error): &(Method, f64)| *error < most(*method);
    assert!(errors.iter().all(is_learned), "{errors:?}");
}

/// Volumes of 16 voxels a side, through a network with dropout, the last batch smaller than the others.
#[test]
fn every_method_trains_on_ages_and_says_finite_errors() {
    for card in &METHODS {
        let method = format!("train.method={}", card.method.name());
        let soft = "train.loss={ soft-labels = { bin_years = 5.0, sd_years = 5.0 } }";
        let config = phantoms::config(&[&method, soft, "train.epochs=1"]);
        let folder = tempfile::tempdir().expect("a folder");
        let trained = phantoms::train(&config, How::Sequential, folder.path(), None);
        let errors: Vec<f64> = trained
            .events
            .iter()
            .filter_map(|event| match event {
                Event::Validation { mae_years, .. } => Some(mae_years.clone()),
                _ => None,
            })
            .flatten()
            .collect();
        let are_numbers = errors.iter().all(|error| error.is_finite());
        assert!(are_numbers && !errors.is_empty(), "{method}: {errors:?}");
    }
}

#[test]
fn a_resumed_run_of_direct_feedback_ends_with_the_bits_of_an_uninterrupted_one() {
    check_same_bits(1, &["train.method=dfa"]);
}

#[test]
fn so_does_one_whose_heads_follow_the_trunk() {
    check_same_bits(1, &["train.method=man"]);
}

#[test]
fn so_does_one_that_reconstructs_its_input() {
    check_same_bits(4, &["train.method=infopro-contrast"]);
}

#[test]
fn so_does_one_that_draws_wrong_labels() {
    check_same_bits(1, &["train.method=forward-forward"]);
}

#[test]
fn so_does_one_that_draws_noise() {
    let few = "train.regime={ no-prop = { blocks = 3 } }";
    check_same_bits(3, &["train.method=no-prop", few]);
}

#[test]
fn so_does_one_with_latent_states() {
    check_same_bits(4, &["train.method=bll"]);
}

#[test]
fn a_buffer_between_blocks_has_the_same_bits_with_every_executor() {
    check_same_bits_of_executors(4, &["train.method=dgl", "train.replay=4"]);
}

#[test]
fn so_does_one_whose_penalty_draws_directions() {
    check_same_bits(1, &["train.method=srip"]);
}

#[test]
fn so_does_one_that_drops_channels_by_their_covariance() {
    check_same_bits(1, &["train.method=dropcov"]);
}

#[test]
fn so_does_one_with_normalization_in_its_heads() {
    check_same_bits(4, &["train.method=dgl"]);
}
