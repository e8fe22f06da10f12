//! Parameter counts against published ones, and where networks are cut.

use super::*;
use crate::models::parameters;
use crate::nn::pass::{Pass, TrainingPass};
use crate::nn::weight::WeightCounts;
use burn::tensor::{Tensor, TensorData};

fn config(name: ImageModelName, stem: ImageStem) -> ImageModelConfig {
    ImageModelConfig {
        name,
        stem,
        weights: WeightForm::Dense,
        width: 1.0,
        cuts: Cuts::Named(NamedCuts::Published),
        head: HeadKind::ConvGapMlp,
        batch_norm: BatchNormConfig {
            momentum: 0.9,
            epsilon: 1e-5,
        },
    }
}

fn drawn(config: &ImageModelConfig, side: usize, regime: Regime, device: &Device) -> Network {
    let draw = NetworkDraw {
        n_outputs: 10,
        regime,
        seed: Seed(1),
        device,
    };
    config.network(side, draw).unwrap()
}

/// Trained numbers of the dense network, and those that its eigen form keeps.
fn counts(config: &ImageModelConfig, n_outputs: usize) -> (usize, usize) {
    let draw = NetworkDraw {
        n_outputs,
        regime: Regime::Backprop,
        seed: Seed(1),
        device: &Device::flex(),
    };
    let block = config.network(224, draw).unwrap().blocks.remove(0);
    let trained = parameters::count_trained(&block);
    let of = |form| -> usize {
        let weights = block.weights().into_iter();
        let counts: WeightCounts = weights.map(|weight| weight.counts_as(form)).sum();
        counts.stored
    };
    (
        trained,
        trained - of(WeightForm::Dense) + of(WeightForm::Eigen),
    )
}

#[test]
fn networks_have_the_published_numbers_of_parameters() {
    use ImageModelName::{ResNet18, ResNet50};
    use ImageStem::{Cifar, Imagenet};
    // torchvision's ResNet-18 and -50: 11,689,512 and 25,557,032; with a 3×3 stem and ten classes, learning reference §1.
    assert_eq!(counts(&config(ResNet18, Imagenet), 1000).0, 11_689_512);
    assert_eq!(counts(&config(ResNet50, Imagenet), 1000).0, 25_557_032);
    let in_thousands = |n: usize| (n as f64 / 1000.0).round() as usize;
    // timm's vit_tiny_patch16_224 and vit_small_patch16_224: 5,717,416 and 22,050,664.
    let tokens = |name| {
        let mut config = config(name, ImageStem::Patch16);
        config.head = HeadKind::GapLinear;
        config
    };
    assert_eq!(counts(&tokens(ImageModelName::VitTi), 1000).0, 5_717_416);
    assert_eq!(counts(&tokens(ImageModelName::VitS), 1000).0, 22_050_664);
    let (dense, eigen) = counts(&config(ResNet50, Cifar), 10);
    assert_eq!((in_thousands(dense), in_thousands(eigen)), (23_521, 28_688));
}

/// Numbers that shapes alone tell: building the largest networks takes too much time and memory for a test.
fn counts_of_shapes(config: &ImageModelConfig, n_classes: usize) -> [usize; 2] {
    let stem = match config.stem.convolution() {
        Some(StemKind::Cifar) => [64, 27],
        Some(StemKind::Imagenet) => [64, 147],
        None => panic!("a residual network"),
    };
    let units = config.residual_units();
    let mut matrices = vec![stem];
    for UnitShape {
        in_channels,
        width,
        stride,
        ..
    } in &units
    {
        matrices.extend([
            [*width, *in_channels],
            [*width, 9 * width],
            [4 * width, *width],
        ]);
        if *stride > 1 || *in_channels != 4 * width {
            matrices.push([4 * width, *in_channels]);
        }
    }
    let norms: usize = matrices.iter().map(|[rows, _]| 2 * rows).sum();
    matrices.push([n_classes, 2048]);
    let stored = |form| -> usize {
        let counts = matrices
            .iter()
            .map(|[rows, columns]| WeightCounts::of(*rows, *columns, form));
        counts.sum::<WeightCounts>().stored + norms + n_classes
    };
    [stored(WeightForm::Dense), stored(WeightForm::Eigen)]
}

#[test]
fn the_largest_networks_have_the_published_numbers_of_parameters_too() {
    use ImageModelName::{ResNet50, ResNet101, ResNet152};
    use ImageStem::{Cifar, Imagenet};
    // Learning reference §1, thousands.
    for (name, stem, n_classes, published) in [
        (ResNet50, Imagenet, 1000, [25_557, 31_728]),
        (ResNet101, Cifar, 10, [42_513, 51_035]),
        (ResNet152, Cifar, 10, [58_157, 69_443]),
        (ResNet101, Imagenet, 1000, [44_549, 54_076]),
        (ResNet152, Imagenet, 1000, [60_193, 72_483]),
    ] {
        let found = counts_of_shapes(&config(name, stem), n_classes);
        let found = found.map(|n| (n as f64 / 1000.0).round() as usize);
        assert_eq!(found, published, "{name:?} {stem:?}");
    }
}

#[test]
fn the_largest_transformer_has_the_published_numbers_of_parameters_too() {
    let (width, n_classes) = (768, 1000);
    let layer = [
        [width, width],
        [width, width],
        [width, width],
        [width, width],
        [4 * width, width],
        [width, 4 * width],
    ];
    let mut matrices = vec![[width, 3 * 16 * 16], [n_classes, width]];
    matrices.extend([layer; 12].concat());
    let biases: usize = matrices.iter().map(|[rows, _]| rows).sum();
    // Class token, positions, and two normalizations a layer and a last one.
    let others = width + 197 * width + 2 * (2 * 12 + 1) * width;
    let stored = |form| -> usize {
        let counts = matrices
            .iter()
            .map(|[rows, columns]| WeightCounts::of(*rows, *columns, form));
        counts.sum::<WeightCounts>().stored + biases + others
    };
    // torchvision's vit_b_16; learning reference §1: 130.271 million.
    assert_eq!(stored(WeightForm::Dense), 86_567_656);
    assert_eq!(stored(WeightForm::Eigen) / 1000, 130_271);
}

#[test]
fn cuts_fall_between_stages_or_units_and_leave_the_trunk_as_it_is() {
    let mut config = config(ImageModelName::ResNet50, ImageStem::Cifar);
    assert_eq!(config.block_starts(Regime::Local).unwrap(), [0, 4, 8, 14]);
    assert_eq!(config.block_starts(Regime::Backprop).unwrap(), [0]);
    config.cuts = Cuts::Named(NamedCuts::Units);
    assert_eq!(config.block_starts(Regime::Local).unwrap().len(), 17);
    config.cuts = Cuts::Before(vec![5, 3]);
    assert!(config.block_starts(Regime::Local).is_err());
    config.name = ImageModelName::ResNet18;
    config.width = 0.125;
    config.cuts = Cuts::Named(NamedCuts::Published);
    let device = Device::flex();
    let whole = drawn(&config, 16, Regime::Backprop, &device);
    let cut = drawn(&config, 16, Regime::Local, &device);
    let weights = |network: &Network| -> Vec<Vec<f32>> {
        let units = network.blocks.iter().flat_map(|block| &block.units);
        let weights = units.flat_map(|unit| unit.weights());
        weights
            .map(|weight| weight.compose().into_data().try_into_vec().unwrap())
            .collect()
    };
    assert_eq!((whole.blocks.len(), cut.blocks.len()), (1, 4));
    assert!(weights(&whole) == weights(&cut));
}

#[test]
fn gradients_reach_every_parameter_of_their_block_and_none_of_another() {
    for mut config in [
        config(ImageModelName::ResNet18, ImageStem::Cifar),
        config(ImageModelName::VitTi, ImageStem::Patch4),
    ] {
        config.width = 0.0625;
        config.weights = WeightForm::Eigen;
        if config.name == ImageModelName::VitTi {
            config.head = HeadKind::GapLinear;
        }
        check_gradients(&config);
    }
}

fn check_gradients(config: &ImageModelConfig) {
    let device = Device::flex().autodiff();
    let network = drawn(config, 16, Regime::Local, &device);
    let values: Vec<f32> = (0..2 * 3 * 256)
        .map(|i| (i * 7919 % 101) as f32 / 50.0 - 1.0)
        .collect();
    let data = TensorData::new(values, [2, 3, 1, 16, 16]);
    let mut features = Tensor::<5>::from_data(data, &Device::flex());
    for (number, block) in network.blocks.iter().enumerate() {
        let pass = TrainingPass::new(Seed(1), 0, [0, 1].into());
        let mut pass = Pass::Training(pass);
        let output = block.forward(Tensor::from_inner(features), &mut pass);
        features = output.clone().inner();
        let gradients = block.outputs(output, &mut pass).square().sum().backward();
        for (other, block) in network.blocks.iter().enumerate() {
            let (reached, trained) = parameters::reached(block, &gradients);
            let expected = if other == number { trained } else { 0 };
            assert_eq!(
                reached, expected,
                "block {other} by the loss of block {number}"
            );
        }
    }
}

#[test]
fn folding_keeps_the_function() {
    let mut config = config(ImageModelName::ResNet50, ImageStem::Cifar);
    config.width = 0.0625;
    config.weights = WeightForm::Eigen;
    let device = Device::flex();
    let network = drawn(&config, 16, Regime::Local, &device);
    let values: Vec<f32> = (0..3 * 256)
        .map(|i| (i * 7919 % 101) as f32 / 50.0 - 1.0)
        .collect();
    let image = Tensor::<5>::from_data(TensorData::new(values, [1, 3, 1, 16, 16]), &device);
    let folded = network.fold().outputs(image.clone());
    for (a, b) in network.outputs(image).into_iter().zip(folded) {
        a.into_data().assert_eq(&b.into_data(), true);
    }
}
