//! Parameter counts against published ones, and where networks are cut.

use super::*;
use crate::models::Block;
use crate::models::head::Branches;
use crate::models::parameters;
use crate::nn::pass::{Pass, TrainingPass};
use crate::nn::weight::WeightCounts;
use burn::module::{Module as _, ModuleVisitor, Param};
use burn::tensor::{Gradients, Tensor, TensorData};

fn config(name: ImageModelName, stem: ImageStem) -> ImageModelConfig {
    ImageModelConfig {
        name,
        stem,
        weights: WeightForm::Dense,
        width: 1.0,
        cuts: Cuts::Named(NamedCuts::Published),
        head: HeadKind::ConvGapMlp,
        last_head: HeadKind::GapLinear,
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
    assert_eq!(config.part_starts(Regime::Local).unwrap(), [0, 4, 8, 14]);
    assert_eq!(config.part_starts(Regime::Backprop).unwrap(), [0]);
    config.cuts = Cuts::Named(NamedCuts::Units);
    assert_eq!(config.part_starts(Regime::Local).unwrap().len(), 17);
    config.cuts = Cuts::Before(vec![5, 3]);
    assert!(config.part_starts(Regime::Local).is_err());
    config.name = ImageModelName::ResNet18;
    config.width = 0.125;
    config.cuts = Cuts::Named(NamedCuts::Published);
    let device = Device::flex();
    let whole = drawn(&config, 16, Regime::Backprop, &device);
    let cut = drawn(&config, 16, Regime::Local, &device);
    let weights = |network: &Network| -> Vec<Vec<f32>> {
        let units = network.blocks.iter().flat_map(|block| &block.units);
        let layers = units.flat_map(Unit::layers);
        layers
            .map(|layer| layer.weight().compose().into_data().try_into_vec().unwrap())
            .collect()
    };
    assert_eq!((whole.blocks.len(), cut.blocks.len()), (1, 4));
    assert!(weights(&whole) == weights(&cut));
}

/// Small networks with every design of heads.
fn small_networks() -> Vec<ImageModelConfig> {
    use ImageModelName::{ResNet18, VitTi};
    let augmented = HeadKind::Augmented { depth: 2 };
    let small = |(name, stem, head)| ImageModelConfig {
        width: 0.0625,
        weights: WeightForm::Eigen,
        head,
        ..config(name, stem)
    };
    [
        (ResNet18, ImageStem::Cifar, HeadKind::ConvGapMlp),
        (ResNet18, ImageStem::Cifar, augmented),
        (VitTi, ImageStem::Patch4, HeadKind::GapLinear),
        (VitTi, ImageStem::Patch4, augmented),
    ]
    .map(small)
    .into()
}

#[test]
fn gradients_reach_every_parameter_of_their_block_and_none_of_another() {
    for config in small_networks() {
        for regime in [
            Regime::Local,
            Regime::DeepSupervision,
            Regime::LocalTogether,
        ] {
            check_gradients(&config, regime);
        }
    }
}

/// All that the network can have: tokens are not drawn into images.
fn branches_of(config: &ImageModelConfig) -> Branches {
    let can_draw = matches!(config.name.family(), Family::Residual(..));
    Branches {
        similarity: true,
        reconstruction: if can_draw { [2.0, 1.0] } else { [0.0; 2] },
        contrast: true,
    }
}

fn check_gradients(config: &ImageModelConfig, regime: Regime) {
    let device = Device::flex().autodiff();
    let network = drawn(config, 16, regime, &device);
    let network = network.with_branches(branches_of(config), config.weights, Seed(1), &device);
    let (mut features, mut n_branches) = (image([2, 3, 1, 16, 16], &Device::flex()), 0);
    let input = Tensor::from_inner(features.clone());
    for (number, block) in network.blocks.iter().enumerate() {
        let pass = TrainingPass::new(Seed(1), 0, [0, 1].into());
        let mut pass = Pass::Training(pass);
        let of_heads = block.forward_to_heads(Tensor::from_inner(features), &mut pass);
        features = of_heads[of_heads.len() - 1].clone().inner();
        let said = block.said(of_heads, &input, &mut pass).into_iter();
        let losses = said.map(|said| {
            n_branches += usize::from(said.similarity.is_some());
            let branches = [
                said.similarity.map(|alike| alike.square().sum()),
                said.directions
                    .map(|directions| directions.slice_dim(1, 0..9).sum()),
                said.reconstruction,
            ];
            let branches = branches.into_iter().flatten();
            branches.fold(said.outputs.square().sum(), |sum, loss| sum + loss)
        });
        let loss = losses.reduce(|sum, loss| sum + loss).unwrap();
        let gradients = loss.backward();
        for (other, block) in network.blocks.iter().enumerate() {
            let (reached, trained) = parameters::reached(block, &gradients);
            let expected = if other == number { trained } else { 0 };
            assert_eq!(
                reached, expected,
                "block {other} by the loss of block {number}"
            );
        }
    }
    // All heads but the last one.
    assert_eq!((network.n_heads(), n_branches), (4, 3));
}

#[test]
fn an_augmented_head_has_the_shapes_of_later_units_and_their_down_sampling() {
    let mut config = config(ImageModelName::ResNet50, ImageStem::Cifar);
    config.width = 0.0625;
    let device = Device::flex();
    let counts = |unit: &Unit| -> Vec<usize> {
        let layers = unit.layers().into_iter();
        layers
            .map(|layer| layer.weight().counts().composed)
            .collect()
    };
    // Deep enough, the head after the stem is the rest of the trunk once more, with other numbers.
    config.head = HeadKind::Augmented { depth: 16 };
    config.cuts = Cuts::Before(vec![1]);
    let network = drawn(&config, 16, Regime::Local, &device);
    let [first, second] = network.blocks.as_slice() else {
        panic!("cut once");
    };
    let (copies, later) = (&first.head.copies, &second.units);
    assert_eq!(copies.len(), 16);
    for (copy, unit) in copies.iter().zip(later) {
        assert_eq!(counts(copy), counts(unit));
    }
    let numbers = |unit: &Unit| unit.layers()[0].weight().compose().into_data();
    assert!(numbers(&copies[0]) != numbers(&later[0]));
    // Fewer copies end with the channels and the sides of the trunk's end.
    for depth in [1, 2, 3] {
        config.head = HeadKind::Augmented { depth };
        let network = drawn(&config, 16, Regime::Local, &device);
        let [first, second] = network.blocks.as_slice() else {
            panic!("cut once");
        };
        assert_eq!(first.head.copies.len(), depth);
        let features = first.forward(image([1, 3, 1, 16, 16], &device), &mut Pass::Inference);
        let copies = first.head.copies.iter();
        let at_the_end = copies.fold(features.clone(), |features, unit| {
            unit.forward(features, &mut Pass::Inference)
        });
        let of_trunk = second.forward(features, &mut Pass::Inference);
        assert_eq!(at_the_end.dims(), of_trunk.dims(), "{depth} copies");
    }
}

#[test]
fn deep_supervision_has_the_trunk_of_backprop_and_the_heads_of_local_training() {
    for config in small_networks() {
        let device = Device::flex();
        let of = |regime| drawn(&config, 16, regime, &device);
        let (deep, local) = (of(Regime::DeepSupervision), of(Regime::Local));
        assert_eq!((deep.blocks.len(), deep.n_heads()), (1, 4));
        let input = image([2, 3, 1, 16, 16], &device);
        let (a, b) = (deep.outputs(input.clone()), local.outputs(input.clone()));
        for (a, b) in a.into_iter().zip(b) {
            a.into_data().assert_eq(&b.into_data(), true);
        }
        assert_eq!(deep.parameter_counts(), local.parameter_counts());
        let backprop = of(Regime::Backprop);
        let last = |network: &Network| network.outputs(input.clone()).pop().unwrap().into_data();
        last(&deep).assert_eq(&last(&backprop), true);
        let counts = |network: &Network| network.parameter_counts();
        let inference = counts(&deep).composed - counts(&deep).auxiliary_heads;
        assert_eq!(inference, counts(&backprop).composed);
    }
}

#[test]
fn statistics_of_normalization_reach_the_layer_that_met_them_in_heads_and_trunk_alike() {
    // A pass that is repeated with momentum 0 leaves each layer with the statistics of its own input: in training and in
    // inference the network then says the same.
    let mut config = config(ImageModelName::ResNet18, ImageStem::Cifar);
    config.width = 0.0625;
    config.batch_norm.momentum = 0.0;
    config.head = HeadKind::Augmented { depth: 2 };
    let device = Device::flex().autodiff();
    let network = drawn(&config, 16, Regime::DeepSupervision, &device);
    let [block] = <[Block; 1]>::try_from(network.blocks).unwrap();
    let input = || Tensor::from_inner(image([3, 3, 1, 16, 16], &Device::flex()));
    let mut pass = Pass::Training(TrainingPass::new(Seed(1), 0, [0, 1, 2].into()));
    let of_heads = block.forward_to_heads(input(), &mut pass);
    let in_training = block.said(of_heads, &input(), &mut pass);
    let block = block.absorb(pass.into_statistics());
    let (in_inference, _) = block.answers(input());
    assert_eq!(in_inference.len(), 4);
    for (a, b) in in_training.into_iter().zip(in_inference) {
        let apart: f32 = (a.outputs - b.clone()).abs().max().into_scalar();
        let largest: f32 = b.abs().max().into_scalar();
        // Single precision through some twenty layers.
        assert!(apart < 1e-4 * largest, "{apart} of {largest}");
    }
}

#[test]
fn features_are_what_the_last_head_reads_and_are_the_same_in_every_regime() {
    for config in small_networks() {
        let device = Device::flex();
        let input = image([2, 3, 1, 16, 16], &device);
        let mut all = Vec::new();
        for regime in [Regime::Backprop, Regime::Local, Regime::DeepSupervision] {
            let network = drawn(&config, 16, regime, &device);
            let features = network.forward_features(input.clone());
            let last = network.blocks.last().unwrap();
            let said = last.outputs(features.clone(), &mut Pass::Inference);
            let expected = network.outputs(input.clone()).pop().unwrap();
            said.into_data().assert_eq(&expected.into_data(), true);
            all.push(features.into_data());
        }
        assert!(all.iter().all(|features| *features == all[0]));
        let dims = all[0].shape().to_vec();
        match config.name.family() {
            // 512/16 channels, 16 pixels halved three times.
            Family::Residual(..) => assert_eq!(dims, [2, 32, 1, 2, 2]),
            // 192/16 channels, a class token and 4×4 patches.
            Family::Transformer(_) => assert_eq!(dims, [2, 12, 1, 1, 17]),
        }
    }
}

/// Gradients of a block by name, for the sum of the squares of what its heads say.
fn gradients_of(block: &Block, features: &Tensor<5>) -> (Vec<(String, Vec<f32>)>, Tensor<5>) {
    struct Collector<'a>(&'a Gradients, Vec<String>, Vec<(String, Vec<f32>)>);
    impl ModuleVisitor for Collector<'_> {
        fn enter_module(&mut self, name: &str, _: &str) {
            self.1.push(name.to_owned());
        }
        fn exit_module(&mut self, _: &str, _: &str) {
            self.1.pop();
        }
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if let Some(gradient) = param.val().grad(self.0) {
                let values = gradient.into_data().try_into_vec().unwrap();
                self.2.push((self.1.join("."), values));
            }
        }
    }
    let mut pass = Pass::Training(TrainingPass::new(Seed(1), 0, [0, 1].into()));
    let of_heads = block.forward_to_heads(features.clone(), &mut pass);
    let handed_on = of_heads[of_heads.len() - 1].clone().inner();
    let said = block.said(of_heads, features, &mut pass).into_iter();
    let losses = said.map(|said| said.outputs.square().sum());
    let gradients = losses.reduce(|sum, loss| sum + loss).unwrap().backward();
    let mut collector = Collector(&gradients, Vec::new(), Vec::new());
    block.visit(&mut collector);
    (collector.2, handed_on)
}

#[test]
fn local_training_of_all_blocks_as_one_has_the_gradients_of_local_training() {
    let mut config = config(ImageModelName::ResNet18, ImageStem::Cifar);
    config.width = 0.0625;
    let device = Device::flex().autodiff();
    let of = |regime| drawn(&config, 16, regime, &device);
    let input = image([2, 3, 1, 16, 16], &Device::flex());
    let together = of(Regime::LocalTogether);
    let (of_one, _) = gradients_of(&together.blocks[0], &Tensor::from_inner(input.clone()));
    let (mut features, mut of_all) = (input, Vec::new());
    for block in &of(Regime::Local).blocks {
        let (gradients, handed_on) = gradients_of(block, &Tensor::from_inner(features));
        features = handed_on;
        of_all.extend(gradients);
    }
    // The names differ by the block: trunk and heads are told apart by their values alone.
    let sorted = |gradients: Vec<(String, Vec<f32>)>| {
        let mut values: Vec<Vec<f32>> = gradients.into_iter().map(|(_, v)| v).collect();
        values.sort_by(|a, b| a.len().cmp(&b.len()).then(a[0].total_cmp(&b[0])));
        values
    };
    assert_eq!(sorted(of_one), sorted(of_all));
}

#[test]
fn a_momentum_head_has_a_trained_copy_of_the_next_unit_and_a_slow_one_that_follows_it() {
    let mut config = config(ImageModelName::ResNet18, ImageStem::Cifar);
    config.width = 0.0625;
    config.head = HeadKind::Momentum { decay: 0.75 };
    let device = Device::flex().autodiff();
    let network = drawn(&config, 16, Regime::LocalTogether, &device);
    let [block] = <[Block; 1]>::try_from(network.blocks).unwrap();
    let start = parameters::take(&block);
    let name = |place: &str| format!("inner.0.{place}");
    let (slow, next): (Vec<_>, Vec<_>) = {
        let of = |prefix: &str| -> Vec<String> {
            let names = start.keys().filter(|name| name.starts_with(prefix));
            names.cloned().collect()
        };
        // Stage 2 begins with unit 3.
        (of(&name("head.slow.0.")), of("units.3."))
    };
    assert_eq!(slow.len(), next.len());
    for (slow, next) in slow.iter().zip(&next) {
        assert_eq!(start[slow], start[next], "{slow} starts as {next}");
    }
    let copies: Vec<_> = start
        .keys()
        .filter(|n| n.starts_with(&name("head.copies.0.")))
        .collect();
    assert_eq!(copies.len(), slow.len());

    let input = Tensor::from_inner(image([2, 3, 1, 16, 16], &Device::flex()));
    let (gradients, _) = gradients_of(&block, &input);
    let moved = |prefix: &str| gradients.iter().any(|(name, _)| name.starts_with(prefix));
    assert!(moved("inner.0.head.copies.") && !moved("inner.0.head.slow."));

    let mut changed = start.clone();
    for name in &next {
        let values: Vec<f32> = changed[name].try_to_vec::<f32>().unwrap();
        let values = values.into_iter().map(|v| v + 1.0).collect::<Vec<f32>>();
        let shape = changed[name].shape().clone();
        changed.insert(name.clone(), TensorData::new(values, shape));
    }
    let followed = parameters::take(&parameters::put(block, changed).unwrap().followed());
    for (slow, next) in slow.iter().zip(&next) {
        let by = if next.contains("running_") { 0.0 } else { 0.25 };
        let before = start[slow].try_to_vec::<f32>().unwrap();
        let after = followed[slow].try_to_vec::<f32>().unwrap();
        let apart = before.iter().zip(&after).map(|(a, b)| (b - a - by).abs());
        assert!(apart.fold(0.0, f32::max) < 1e-6, "{slow}");
    }
}

#[test]
fn a_network_of_steps_says_the_same_step_by_step_as_its_formula() {
    // Block t says û from the image and z; z = a·û + b·z from z = 0.
    let mut config = config(ImageModelName::ResNet18, ImageStem::Cifar);
    config.width = 0.0625;
    let device = Device::flex();
    let network = drawn(&config, 16, Regime::NoProp { blocks: 3 }, &device);
    assert_eq!((network.blocks.len(), network.n_heads()), (3, 3));
    let input = image([2, 3, 1, 16, 16], &device);
    let mut code = Tensor::<2>::zeros([2, 10], &device);
    for (block, said) in network.blocks.iter().zip(network.outputs(input.clone())) {
        let expected = block.outputs_with_code(input.clone(), code.clone(), &mut Pass::Inference);
        let apart: f32 = (expected.clone() - said).abs().max().into_scalar();
        assert!(apart < 1e-5, "{apart}");
        let step = block.denoising().unwrap();
        code = step.next(code, expected);
    }
    let first = network.blocks[0].units[0].layers()[0].weight().compose();
    let second = network.blocks[1].units[0].layers()[0].weight().compose();
    assert!(
        first.into_data() != second.into_data(),
        "each draws its own"
    );
}

#[test]
fn answers_by_goodness_are_those_of_a_pass_for_each_label() {
    let mut config = config(ImageModelName::ResNet18, ImageStem::Cifar);
    config.width = 0.0625;
    let device = Device::flex();
    let network = drawn(&config, 16, Regime::ForwardForward, &device);
    let block = &network.blocks[0];
    let input = image([2, 3, 1, 16, 16], &device);
    let said: Vec<f32> = network.outputs(input.clone())[0]
        .to_data()
        .try_into_vec()
        .unwrap();
    for label in [0, 7] {
        let written = block
            .goodness()
            .unwrap()
            .written(input.clone(), &[label; 2]);
        // Unit by unit, by the mean square of features that are divided by their length.
        let mut features = written;
        let mut sums = [0.0; 2];
        for (number, unit) in block.units.iter().enumerate() {
            features = unit.forward(features, &mut Pass::Inference);
            let values: Vec<f32> = features.to_data().try_into_vec().unwrap();
            let n = values.len() / 2;
            let goodness: Vec<f32> = values
                .chunks(n)
                .map(|v| v.iter().map(|v| v * v).sum::<f32>() / n as f32)
                .collect();
            let scaled: Vec<f32> = values
                .iter()
                .enumerate()
                .map(|(i, v)| v / goodness[i / n].sqrt())
                .collect();
            features = Tensor::from_data(TensorData::new(scaled, features.dims()), &device);
            if number > 0 {
                sums = [sums[0] + goodness[0], sums[1] + goodness[1]];
            }
        }
        for member in 0..2 {
            let found = said[member * 10 + label];
            assert!(
                (found - sums[member]).abs() < 1e-3 * sums[member],
                "{found} {}",
                sums[member]
            );
        }
    }
}

#[test]
fn folding_keeps_the_function_and_drops_what_only_trains() {
    for config in small_networks() {
        for regime in [Regime::Local, Regime::DeepSupervision] {
            let device = Device::flex();
            let plain = drawn(&config, 16, regime, &device);
            let tensors = |network: &Network| -> Vec<String> {
                network.fold().tensors().into_keys().collect()
            };
            let names = tensors(&plain);
            let branches = branches_of(&config);
            let network = plain.with_branches(branches, config.weights, Seed(1), &device);
            assert_eq!(tensors(&network), names);
            let input = image([1, 3, 1, 16, 16], &device);
            let folded = network.fold().outputs(input.clone());
            for (a, b) in network.outputs(input).into_iter().zip(folded) {
                a.into_data().assert_eq(&b.into_data(), true);
            }
        }
    }
}

fn image(dims: [usize; 5], device: &Device) -> Tensor<5> {
    let n: usize = dims.iter().product();
    let values: Vec<f32> = (0..n)
        .map(|i| (i * 7919 % 101) as f32 / 50.0 - 1.0)
        .collect();
    Tensor::from_data(TensorData::new(values, dims), device)
}
