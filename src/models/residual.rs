//! The parts of residual networks (He et al., CVPR 2016, arXiv 1512.03385): stems and units.
//!
//! Images are `[batch, channels, 1, y, x]`. A unit is ReLU(f(x) + s(x)): f is two 3×3 convolutions, or 1×1, 3×3 (with the
//! stride) and 1×1; each is followed by batch normalization, and all but the last by ReLU. s is the identity, or a 1×1
//! convolution with batch normalization where the shape changes. Convolutions have no bias.

use burn::module::Module;
use burn::tensor::module::max_pool2d;
use burn::tensor::ops::MaxPoolOptions;
use burn::tensor::{Device, Tensor};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::brain_cnn::BatchNormConfig;
use crate::nn::batch_norm::BatchNorm;
use crate::nn::conv3d::{Conv3d, Conv3dShape, Extent};
use crate::nn::layer::Layer;
use crate::nn::pass::{BatchStatistics, Pass};
use crate::nn::weight::WeightForm;

/// What a network begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StemKind {
    /// A 3×3 convolution, for images of some 32 to 64 pixels a side.
    Cifar,
    /// A 7×7 convolution of stride 2, and the maximum of 3×3 with stride 2, for 224 pixels a side.
    Imagenet,
}

/// What a unit is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnitKind {
    /// Two 3×3 convolutions.
    Basic,
    /// 1×1, 3×3 and 1×1; the last has four times the channels.
    Bottleneck,
}

/// What a residual unit is made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnitShape {
    /// What it is made of.
    pub kind: UnitKind,
    /// Channels of the input.
    pub in_channels: usize,
    /// Channels within.
    pub width: usize,
    /// Step between its outputs.
    pub stride: usize,
}

/// What all layers of a network have in common.
#[derive(Clone, Copy, Debug)]
pub struct Layers<'a> {
    /// Form of the weights.
    pub form: WeightForm,
    /// Settings of the normalization.
    pub norm: BatchNormConfig,
    /// Where they live.
    pub device: &'a Device,
}

/// Convolution and batch normalization.
#[derive(Module, Debug)]
pub struct NormedConvolution {
    convolution: Conv3d,
    norm: BatchNorm,
}

/// The first layers: convolution, batch normalization, ReLU, and a maximum in some.
#[derive(Module, Debug)]
pub struct Stem {
    first: NormedConvolution,
    pooled: bool,
}

/// One residual unit.
#[derive(Module, Debug)]
pub struct ResidualUnit {
    /// f, from the input on.
    layers: Vec<NormedConvolution>,
    /// s, where it is not the identity.
    shortcut: Option<NormedConvolution>,
}

impl StemKind {
    fn shape(self, channels: [usize; 2]) -> Conv3dShape {
        match self {
            Self::Cifar => Conv3dShape::even(Extent::Image, channels, 3, 1, 1),
            Self::Imagenet => Conv3dShape::even(Extent::Image, channels, 7, 2, 3),
        }
    }

    /// Side of what the stem gives, for a side of the image; `None` where it is too small.
    pub fn output_side(self, side: usize) -> Option<usize> {
        let convolved = self.shape([1, 1]).output_side(1, side)?;
        match self {
            Self::Cifar => Some(convolved),
            Self::Imagenet => Some((convolved + 2).checked_sub(3)? / 2 + 1),
        }
    }
}

impl UnitShape {
    /// Channels of the output.
    pub fn out_channels(&self) -> usize {
        match self.kind {
            UnitKind::Basic => self.width,
            UnitKind::Bottleneck => 4 * self.width,
        }
    }

    /// Its convolutions from the input on.
    fn convolutions(&self) -> Vec<Conv3dShape> {
        let of = |channels, kernel, stride| {
            Conv3dShape::even(Extent::Image, channels, kernel, stride, kernel / 2)
        };
        let (from, width, to) = (self.in_channels, self.width, self.out_channels());
        match self.kind {
            UnitKind::Basic => vec![of([from, width], 3, self.stride), of([width, to], 3, 1)],
            UnitKind::Bottleneck => vec![
                of([from, width], 1, 1),
                of([width, width], 3, self.stride),
                of([width, to], 1, 1),
            ],
        }
    }

    /// The convolution of the shortcut; `None` for the identity.
    fn shortcut(&self) -> Option<Conv3dShape> {
        let channels = [self.in_channels, self.out_channels()];
        (self.stride > 1 || channels[0] != channels[1])
            .then(|| Conv3dShape::even(Extent::Image, channels, 1, self.stride, 0))
    }
}

impl NormedConvolution {
    fn new(shape: Conv3dShape, layers: Layers<'_>, rng: &mut ChaCha8Rng) -> Self {
        let Layers { form, norm, device } = layers;
        Self {
            convolution: Conv3d::new(shape, form, rng, device).without_bias(),
            norm: BatchNorm::new(shape.out_channels, norm.momentum, norm.epsilon, device),
        }
    }

    fn forward(&self, input: Tensor<5>, pass: &mut Pass) -> Tensor<5> {
        let convolved = self.convolve(input, pass);
        self.norm.forward_then(convolved, None, false, pass)
    }

    fn forward_then_relu(&self, input: Tensor<5>, pass: &mut Pass) -> Tensor<5> {
        let convolved = self.convolve(input, pass);
        self.norm.forward_then(convolved, None, true, pass)
    }

    fn convolve(&self, input: Tensor<5>, pass: &mut Pass) -> Tensor<5> {
        pass.see(&self.convolution, &input);
        self.convolution.forward(input)
    }

    fn absorb(self, statistics: Option<BatchStatistics>) -> Self {
        match statistics {
            Some(met) => Self {
                norm: self.norm.absorb(met),
                ..self
            },
            None => self,
        }
    }

    fn fold(&self) -> Self {
        Self {
            convolution: self.convolution.fold(),
            norm: self.norm.clone(),
        }
    }
}

impl Stem {
    /// Draws the weights from `rng`; `channels` are those of the image and of the output.
    pub fn new(
        kind: StemKind,
        channels: [usize; 2],
        layers: Layers<'_>,
        rng: &mut ChaCha8Rng,
    ) -> Self {
        Self {
            first: NormedConvolution::new(kind.shape(channels), layers, rng),
            pooled: kind == StemKind::Imagenet,
        }
    }

    /// # Shapes
    /// `[batch, in, 1, y, x]` → `[batch, out, 1, y', x']`, see [`StemKind::output_side`].
    pub fn forward(&self, input: Tensor<5>, pass: &mut Pass) -> Tensor<5> {
        let features = self.first.forward_then_relu(input, pass);
        if !self.pooled {
            return features;
        }
        let [batch, channels, _, y, x] = features.dims();
        let plane = features.reshape([batch, channels, y, x]);
        let options = MaxPoolOptions::new([3, 3])
            .with_stride([2, 2])
            .with_padding([1, 1]);
        let pooled = max_pool2d(plane, options);
        let [_, _, y, x] = pooled.dims();
        pooled.reshape([batch, channels, 1, y, x])
    }

    /// All layers with a weight matrix, from the input on.
    pub fn layers(&self) -> Vec<Layer<'_>> {
        vec![Layer::Convolution(&self.first.convolution)]
    }

    /// Takes over the statistics of a training pass.
    pub fn absorb(self, mut statistics: impl Iterator<Item = BatchStatistics>) -> Self {
        Self {
            first: self.first.absorb(statistics.next()),
            ..self
        }
    }

    /// The same function with dense weights.
    pub fn fold(&self) -> Self {
        Self {
            first: self.first.fold(),
            pooled: self.pooled,
        }
    }
}

impl ResidualUnit {
    /// Draws the weights from `rng`, f first.
    pub fn new(shape: UnitShape, layers: Layers<'_>, rng: &mut ChaCha8Rng) -> Self {
        let mut layer = |shape| NormedConvolution::new(shape, layers, rng);
        Self {
            layers: shape.convolutions().into_iter().map(&mut layer).collect(),
            shortcut: shape.shortcut().map(layer),
        }
    }

    /// # Shapes
    /// `[batch, in, 1, y, x]` → `[batch, out, 1, y/stride, x/stride]`, rounded up.
    pub fn forward(&self, input: Tensor<5>, pass: &mut Pass) -> Tensor<5> {
        let Some((last, first)) = self.layers.split_last() else {
            return input;
        };
        let features = first.iter().fold(input.clone(), |features, layer| {
            layer.forward_then_relu(features, pass)
        });
        let convolved = last.convolve(features, pass);
        let shortcut = match &self.shortcut {
            Some(shortcut) => shortcut.forward(input, pass),
            None => input,
        };
        let norm = &last.norm;
        norm.forward_then(convolved, Some(shortcut), true, pass)
    }

    fn parts(&self) -> impl Iterator<Item = &NormedConvolution> {
        self.layers.iter().chain(&self.shortcut)
    }

    /// All convolutions: f's from the input on, then the shortcut's.
    pub fn layers(&self) -> Vec<Layer<'_>> {
        let layers = self.parts();
        layers
            .map(|part| Layer::Convolution(&part.convolution))
            .collect()
    }

    /// How many normalization layers with running statistics it has.
    pub fn n_statistics(&self) -> usize {
        self.parts().count()
    }

    /// Takes over the statistics of a training pass, in the order in which [`Self::forward`] meets them.
    pub fn absorb(self, mut statistics: impl Iterator<Item = BatchStatistics>) -> Self {
        let mut absorb = |part: NormedConvolution| part.absorb(statistics.next());
        let mut layers = self.layers;
        let last = layers.pop();
        let mut layers: Vec<NormedConvolution> = layers.into_iter().map(&mut absorb).collect();
        let shortcut = self.shortcut.map(&mut absorb);
        layers.extend(last.map(absorb));
        Self { layers, shortcut }
    }

    /// The same function with dense weights.
    pub fn fold(&self) -> Self {
        Self {
            layers: self.layers.iter().map(NormedConvolution::fold).collect(),
            shortcut: self.shortcut.as_ref().map(NormedConvolution::fold),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::seed::{Purpose, Seed};
    use crate::nn::pass::TrainingPass;
    use burn::tensor::TensorData;
    use burn::tensor::activation::relu;

    fn layers(device: &Device) -> Layers<'_> {
        Layers {
            form: WeightForm::Dense,
            norm: BatchNormConfig {
                momentum: 0.9,
                epsilon: 1e-5,
            },
            device,
        }
    }

    fn image(dims: [usize; 5], device: &Device) -> Tensor<5> {
        let n: usize = dims.iter().product();
        let values: Vec<f32> = (0..n)
            .map(|i| (i * 7919 % 101) as f32 / 50.0 - 1.0)
            .collect();
        Tensor::from_data(TensorData::new(values, dims), device)
    }

    #[test]
    fn stems_and_units_give_the_shapes_of_the_published_networks() {
        let device = Device::flex();
        let mut rng = Seed(1).stream(Purpose::Initialization, &[0]);
        let stem = Stem::new(StemKind::Imagenet, [3, 4], layers(&device), &mut rng);
        let features = stem.forward(image([1, 3, 1, 32, 32], &device), &mut Pass::Inference);
        assert_eq!(features.dims(), [1, 4, 1, 8, 8]);
        assert_eq!(StemKind::Imagenet.output_side(224), Some(56));
        assert_eq!(StemKind::Imagenet.output_side(32), Some(8));
        assert_eq!(StemKind::Cifar.output_side(32), Some(32));
        for (kind, out) in [(UnitKind::Basic, 6), (UnitKind::Bottleneck, 24)] {
            let shape = UnitShape {
                kind,
                in_channels: 4,
                width: 6,
                stride: 2,
            };
            let unit = ResidualUnit::new(shape, layers(&device), &mut rng);
            let output = unit.forward(features.clone(), &mut Pass::Inference);
            assert_eq!(output.dims(), [1, out, 1, 4, 4]);
        }
    }

    #[test]
    fn a_unit_with_an_identity_shortcut_passes_on_what_its_layers_leave_alone() {
        let device = Device::flex();
        let mut rng = Seed(1).stream(Purpose::Initialization, &[0]);
        let shape = UnitShape {
            kind: UnitKind::Basic,
            in_channels: 4,
            width: 4,
            stride: 1,
        };
        let mut unit = ResidualUnit::new(shape, layers(&device), &mut rng);
        assert!(unit.shortcut.is_none() && unit.n_statistics() == 2);
        // A last normalization with a variance without end scales its layer to nothing.
        let endless = (
            Tensor::zeros([4], &device),
            Tensor::full([4], f32::MAX, &device),
        );
        let calm = (Tensor::zeros([4], &device), Tensor::ones([4], &device));
        unit = unit.absorb([calm, endless].into_iter());
        let input = image([2, 4, 1, 5, 5], &device);
        let output = unit.forward(input.clone(), &mut Pass::Inference);
        let apart: f32 = (output - relu(input)).abs().max().into_scalar();
        assert!(apart < 1e-6, "{apart}");
    }

    #[test]
    fn a_unit_that_takes_over_the_statistics_of_a_batch_answers_as_it_was_trained() {
        let device = Device::flex();
        let layers = Layers {
            form: WeightForm::Dense,
            norm: BatchNormConfig {
                momentum: 0.0,
                epsilon: 1e-5,
            },
            device: &device,
        };
        for kind in [UnitKind::Basic, UnitKind::Bottleneck] {
            let mut rng = Seed(1).stream(Purpose::Initialization, &[0]);
            let shape = UnitShape {
                kind,
                in_channels: 4,
                width: 3,
                stride: 2,
            };
            let unit = ResidualUnit::new(shape, layers, &mut rng);
            let input = image([3, 4, 1, 6, 6], &device);
            let mut pass = Pass::Training(TrainingPass::new(Seed(1), 0, [0, 1, 2].into()));
            let trained = unit.forward(input.clone(), &mut pass);
            let unit = unit.absorb(pass.into_statistics().into_iter());
            let answered = unit.forward(input, &mut Pass::Inference);
            let apart: f32 = (trained - answered).abs().max().into_scalar();
            assert!(apart < 1e-6, "{kind:?}: {apart}");
        }
    }

    #[test]
    fn statistics_are_met_in_the_order_in_which_they_are_absorbed() {
        let device = Device::flex();
        let mut rng = Seed(1).stream(Purpose::Initialization, &[0]);
        let shape = UnitShape {
            kind: UnitKind::Bottleneck,
            in_channels: 4,
            width: 2,
            stride: 1,
        };
        let unit = ResidualUnit::new(shape, layers(&device), &mut rng);
        let mut pass = Pass::Training(TrainingPass::new(Seed(1), 0, [0, 1].into()));
        unit.forward(image([2, 4, 1, 6, 6], &device), &mut pass);
        let channels: Vec<usize> = pass
            .into_statistics()
            .iter()
            .map(|(mean, _)| mean.dims()[0])
            .collect();
        // Two layers, the shortcut, the last layer.
        assert_eq!(channels, [2, 2, 8, 8]);
        let of_weights: Vec<usize> = unit
            .layers()
            .iter()
            .map(|layer| layer.weight().counts().stored)
            .collect();
        assert_eq!(of_weights, [4 * 2, 2 * 2 * 9, 2 * 8, 4 * 8]);
    }
}
