//! What each training method promises: it learns, and resumes bit for bit.

mod classifiers;
mod phantoms;

use brainage::config::method::{METHODS, Method};
use classifiers::{check_same_bits, config, last_error_percent, train, write_cifar10};
use phantoms::How;

#[test]
fn every_method_learns_far_better_than_chance() {
    let data = tempfile::tempdir().expect("a folder");
    write_cifar10(data.path(), 30, 1);
    for card in &METHODS {
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
        // Guessing is wrong on 90 %; some 60 images are watched, so two standard deviations are 8 %. Feedback through random
        // matrices learns slowest.
        let most = if card.method == Method::Dfa {
            75.0
        } else {
            60.0
        };
        let error = last_error_percent(&trained.events);
        assert!(error < most, "{}: {error} %", card.method.name());
    }
}

#[test]
fn a_resumed_run_of_direct_feedback_ends_with_the_bits_of_an_uninterrupted_one() {
    check_same_bits(1, &["train.method=dfa"]);
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
