//! Maps of small networks, against differences of their own predictions.

use super::*;
use crate::config::train::{BRAIN_CNN_SMALL, TrainConfig};
use crate::engine::device::cpu_with_threads;
use crate::engine::seed::Seed;
use crate::engine::target::{AgeTarget, Loss};
use crate::model_file::{ModelFacts, TrainingImages, TrainingSummary};
use crate::models::{Network, Regime};
use std::path::Path;

const SIDES: [usize; 3] = [16, 16, 16];

fn model(loss: Loss) -> Model {
    let config = TrainConfig::parse(BRAIN_CNN_SMALL, Path::new("small.toml"), &[]).unwrap();
    let target = AgeTarget::of(loss, &[30.0, 70.0]).unwrap();
    let device = burn::tensor::Device::flex();
    let network = Network::new(
        &config.model,
        target.n_outputs(),
        Regime::Local,
        Seed(3),
        &device,
    )
    .unwrap();
    let facts = ModelFacts {
        model: config.model,
        regime: Regime::Local,
        grid: SIDES,
        recipe: String::new(),
        recipe_hash: String::new(),
        template_hash: String::new(),
        target,
        bias_correction: None,
        interval: None,
        training_images: TrainingImages::default(),
        training: TrainingSummary {
            cohorts: Vec::new(),
            n_training: 2,
            n_synthetic: 2,
            n_validation: 0,
            n_test: 0,
            age_range_years: [30.0, 70.0],
            validation_mae_years: None,
            epochs: 1,
            seed: Seed(3),
            code_version: String::new(),
        },
    };
    Model::new(facts, &network.blocks)
}

fn input() -> NetworkInput {
    let n: usize = SIDES.iter().product();
    let voxels = (0..n).map(|i| ((i * 7919) % 101) as f32 / 50.0 - 1.0);
    NetworkInput {
        voxels: voxels.collect(),
        sides: SIDES,
        voxel_size_mm: [4.0; 3],
    }
}

fn age_of(model: &Model, input: &NetworkInput, lane: &Lane) -> f64 {
    ages_years(model, input.batch(lane, 1, |_, _| ()))[0]
}

fn map(model: &Model, input: &NetworkInput, method: SaliencyMethod) -> Vec<f32> {
    let lane = cpu_with_threads(1).unwrap();
    let map = saliency(model, input, method, &lane, &AtomicBool::new(false));
    map.unwrap().expect("not stopped")
}

#[test]
fn gradient_times_input_is_the_slope_of_the_prediction() {
    // All voxels grow by the same share: d age / d share at 1 is the sum of the map. The step is small against kinks of
    // ReLU and maximum, and the difference of two f32 predictions is good to about 1e-5 of 40 years over it.
    let lane = cpu_with_threads(1).unwrap();
    let soft = Loss::SoftLabels {
        bin_years: 4.0,
        sd_years: 3.0,
    };
    for loss in [Loss::Mae, soft] {
        let (model, input) = (model(loss), input());
        let sum: f64 = map(&model, &input, SaliencyMethod::Gradient)
            .iter()
            .map(|v| f64::from(*v))
            .sum();
        let at = |share: f32| {
            let mut scaled = input.clone();
            scaled.voxels.iter_mut().for_each(|v| *v *= share);
            age_of(&model, &scaled, &lane)
        };
        let step = 0.01;
        let slope = (at(1.0 + step) - at(1.0 - step)) / f64::from(2.0 * step);
        assert!(
            (sum - slope).abs() < 0.02 * slope.abs().max(0.1),
            "{sum} {slope}"
        );
    }
}

#[test]
fn integrated_gradients_sum_to_the_difference_from_an_empty_head() {
    let lane = cpu_with_threads(1).unwrap();
    let (model, input) = (model(Loss::Mae), input());
    let sum: f64 = map(&model, &input, SaliencyMethod::Integrated)
        .iter()
        .map(|v| f64::from(*v))
        .sum();
    let empty = NetworkInput {
        voxels: vec![0.0; input.voxels.len()],
        ..input.clone()
    };
    let difference = age_of(&model, &input, &lane) - age_of(&model, &empty, &lane);
    // Completeness holds for the integral; 32 points of a piecewise smooth function come within a few percent.
    assert!(
        (sum - difference).abs() < 0.05 * difference.abs(),
        "{sum} {difference}"
    );
}

#[test]
fn a_cube_that_is_taken_out_shows_where_it_was() {
    // Only one corner holds anything: only cubes that touch it change the prediction.
    let model = model(Loss::Mae);
    let mut input = input();
    let [_, ny, nz] = SIDES;
    for (at, voxel) in input.voxels.iter_mut().enumerate() {
        let [x, y, z] = [at / (ny * nz), at / nz % ny, at % nz];
        if x >= 2 || y >= 2 || z >= 2 {
            *voxel = 0.0;
        }
    }
    let map = map(&model, &input, SaliencyMethod::Occlusion);
    let lane = cpu_with_threads(1).unwrap();
    let empty = NetworkInput {
        voxels: vec![0.0; input.voxels.len()],
        ..input.clone()
    };
    let difference = age_of(&model, &input, &lane) - age_of(&model, &empty, &lane);
    // Voxel 0 is in the first cube alone, which holds all there is.
    assert!((f64::from(map[0]) - difference).abs() < 1e-4);
    assert_eq!(map[map.len() - 1], 0.0);
}

#[test]
fn a_map_that_is_stopped_is_none() {
    let lane = cpu_with_threads(1).unwrap();
    for method in [SaliencyMethod::Integrated, SaliencyMethod::Occlusion] {
        let answer = saliency(
            &model(Loss::Mae),
            &input(),
            method,
            &lane,
            &AtomicBool::new(true),
        );
        assert!(answer.unwrap().is_none());
    }
}
