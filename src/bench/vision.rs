//! Measures image classifiers as wholes: training steps of backprop, and answers.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use burn::tensor::Device;
use serde::Serialize;

use super::timing::{Spread, in_turns};
use crate::Error;
use crate::engine::calibration::NoiseBatch;
use crate::engine::classes::ClassTarget;
use crate::engine::device::Lane;
use crate::engine::worker::BlockTrainer;
use crate::models::{Network, NetworkDraw, Regime};
use crate::vision::config::VisionConfig;

/// The config of ResNet-50 with the stem for small images.
const RESNET50: &str = include_str!("../../configs/vision/cifar10-resnet50-enn-local.toml");
/// The config of the vision transformer.
const VIT_TI: &str = include_str!("../../configs/vision/cifar10-vit-ti-small.toml");
/// What makes any of them the published network with dense weights and one loss at its end.
const CHANGES: [&str; 3] = [
    "model.width=1.0",
    "model.weights=dense",
    "train.regime=backprop",
];
/// Rounds that fill caches before any time counts.
const WARM_UP_ROUNDS: usize = 1;
/// Classes of the made-up images.
const N_CLASSES: usize = 10;

/// The classifiers that are measured, on images of 32×32 pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Classifier {
    /// ResNet-50 with a stem of one 3×3 convolution.
    Resnet50,
    /// ViT-Ti with patches of 4×4 pixels.
    VitTi,
}

/// How many images are shown at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batches {
    /// In a training step.
    pub training: usize,
    /// For answers.
    pub inference: usize,
}

/// One thing that a classifier does.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// Stable name for machines, such as `resnet50/step`.
    pub name: String,
    /// The network.
    pub network: &'static str,
    /// `training step` or `inference`.
    pub what: &'static str,
    /// Images.
    pub batch: usize,
    /// Its times.
    #[serde(flatten)]
    pub times: Spread,
    /// Images a second, at the median time.
    pub images_per_second: f64,
}

impl Classifier {
    /// Its name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Resnet50 => "resnet50",
            Self::VitTi => "vit-ti",
        }
    }

    /// Its config with all channels, dense weights and backprop.
    ///
    /// # Errors
    /// Where a config inside the program is wrong, or `changes` are.
    pub fn config(self, changes: &[String]) -> Result<VisionConfig, Error> {
        let (text, name) = match self {
            Self::Resnet50 => (RESNET50, "cifar10-resnet50-enn-local.toml"),
            Self::VitTi => (VIT_TI, "cifar10-vit-ti-small.toml"),
        };
        let all: Vec<String> = CHANGES
            .iter()
            .map(ToString::to_string)
            .chain(changes.iter().cloned())
            .collect();
        VisionConfig::parse(text, Path::new(name), &all)
    }
}

/// Training steps (forward pass, loss, gradients, clipping, AdamW) and answers of a classifier, in turns, on made-up
/// images. `changes` are of its config.
///
/// # Errors
/// Where the changed config is wrong, and what stops the network.
pub fn measure(
    classifier: Classifier,
    changes: &[String],
    batches: Batches,
    lane: &Arc<Lane>,
    repeats: usize,
) -> Result<Vec<Row>, Error> {
    let config = classifier.config(changes)?;
    let side = config.data.side;
    let network = network(&config)?;
    let folded = network.fold();
    let block = network.blocks.first();
    let block = block.ok_or_else(|| Error::Data("a network without blocks".into()))?;
    let objective = config.train.objective(config.target(N_CLASSES));
    let mut trainer = BlockTrainer::new(0, block, objective, std::slice::from_ref(lane))?;
    let seed = config.train.seed;
    let noise = |n| NoiseBatch::of_images(n, side, N_CLASSES, seed);
    let (training, shown) = (noise(batches.training), noise(batches.inference));
    let mut step = 0;
    let spreads = in_turns(WARM_UP_ROUNDS, repeats, || {
        step += 1;
        let clock = Instant::now();
        trainer.handle(training.message(step))?;
        lane.wait()?;
        let of_step = clock.elapsed().as_secs_f64();
        let images = shown.volumes.clone().to_device(&lane.device);
        let clock = Instant::now();
        lane.pool.install(|| {
            for outputs in folded.outputs(images) {
                std::hint::black_box(ClassTarget::estimates(outputs));
            }
        });
        Ok::<_, Error>(vec![of_step, clock.elapsed().as_secs_f64()])
    })?;
    let kinds = [
        ("step", "training step", batches.training),
        ("inference", "inference", batches.inference),
    ];
    let rows = kinds.into_iter().zip(spreads);
    Ok(rows
        .map(|((does, what, batch), times)| Row {
            name: format!("{}/{does}", classifier.name()),
            network: classifier.name(),
            what,
            batch,
            times,
            images_per_second: batch as f64 / times.seconds,
        })
        .collect())
}

fn network(config: &VisionConfig) -> Result<Network, Error> {
    let draw = NetworkDraw {
        n_outputs: N_CLASSES,
        regime: Regime::Backprop,
        seed: config.train.seed,
        device: &Device::flex(),
    };
    let network = config.model.network(config.data.side, draw)?;
    Ok(config.train.prepared(network, config.model.weights))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::parameters::count_trained;

    #[test]
    fn the_measured_classifiers_have_as_many_parameters_as_published() {
        let n_parameters = |classifier: Classifier| {
            let config = classifier.config(&[]).unwrap();
            let blocks = network(&config).unwrap().blocks;
            blocks.iter().map(count_trained).sum::<usize>()
        };
        // torchvision's ResNet-50 has 25 557 032: 2 049 000 of the layer for 1000 classes give way to 20 490 for ten, and
        // 7×7×3×64 of the stem to 3×3×3×64; its running statistics are no parameters there and here.
        assert_eq!(
            n_parameters(Classifier::Resnet50),
            25_557_032 - 2_049_000 + 20_490 - 49 * 192 + 9 * 192
        );
        // By hand: twelve layers of 4·192·193 + 2·4·192² + 5·192 + 4·192 numbers, patches of 48·192 + 192, class token, 65
        // places, last normalization, ten classes.
        let layer = 4 * 192 * 193 + 2 * 4 * 192 * 192 + 5 * 192 + 4 * 192;
        let ends = 49 * 192 + 192 + 65 * 192 + 2 * 192 + 10 * 193;
        assert_eq!(n_parameters(Classifier::VitTi), 12 * layer + ends);
    }
}
