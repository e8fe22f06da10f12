//! Covariance pooling with adaptive channel dropout.
//!
//! Wang, Li, Zhang & Gao, "DropCov: A Simple yet Effective Method for Improving Deep Architectures" (NeurIPS 2022): features
//! are reduced to d channels by a 1×1 convolution with batch normalization and ReLU, and the head reads the upper triangle
//! of their covariance over the positions. In training channels are weighed by attention, and whole channels are dropped: the
//! more often, the less the attention agrees with what the channels share. For an answer there is neither.

use burn::module::{Module, Param};
use burn::tensor::activation::{relu, softmax};
use burn::tensor::{Device, Int, Tensor, TensorData};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution as _, StandardNormal};

use crate::models::brain_cnn::BatchNormConfig;
use crate::nn::batch_norm::BatchNorm;
use crate::nn::conv3d::{Conv3d, Conv3dShape, Extent};
use crate::nn::dropout::dropout;
use crate::nn::layer::Layer;
use crate::nn::pass::{BatchStatistics, Pass};
use crate::nn::weight::WeightForm;

/// Most channels of the covariance; published.
const MOST_CHANNELS: usize = 256;
/// A tenth of the logarithm of the channels, where agreement lets all channels stay (published code).
const RATE_SCALE: f64 = 10.0;
/// Most channels that may be dropped, as a share: the published bound of 1 would leave nothing.
const MOST_DROPPED: f64 = 0.9;

/// All but the linear output.
#[derive(Module, Debug)]
pub(super) struct DropCov {
    reduction: Conv3d,
    norm: BatchNorm,
    /// Weights of a channel's neighbors and of itself in its attention, `[3]`.
    attention: Param<Tensor<1>>,
    channels: usize,
}

impl DropCov {
    pub(super) fn new(
        (extent, in_channels): (Extent, usize),
        form: WeightForm,
        norm: BatchNormConfig,
        rng: &mut ChaCha8Rng,
        device: &Device,
    ) -> Self {
        let channels = Self::channels(extent, in_channels);
        let shape = Conv3dShape::even(extent, [in_channels, channels], 1, 1, 0);
        let reduction = Conv3d::new(shape, form, rng, device).without_bias();
        let draw = |_| {
            let z: f64 = StandardNormal.sample(rng);
            (z / 3.0_f64.sqrt()) as f32
        };
        let attention: Vec<f32> = (0..3).map(draw).collect();
        Self {
            reduction,
            norm: BatchNorm::new(channels, norm.momentum, norm.epsilon, device),
            attention: Param::from_data(TensorData::new(attention, [3]), device),
            channels,
        }
    }

    /// Channels of the covariance: half of what there are; of volumes, whose last features have few positions, an eighth.
    fn channels(extent: Extent, in_channels: usize) -> usize {
        let share = match extent {
            Extent::Image => 2,
            Extent::Volume => 8,
        };
        (in_channels / share).clamp(1, MOST_CHANNELS)
    }

    /// Numbers that it gives of each member.
    pub(super) fn width(extent: Extent, in_channels: usize) -> usize {
        let channels = Self::channels(extent, in_channels);
        channels * (channels + 1) / 2
    }

    /// # Shapes
    /// `[batch, channels, x, y, z]` → `[batch, width]`.
    pub(super) fn forward(&self, features: Tensor<5>, pass: &mut Pass) -> Tensor<2> {
        pass.see(&self.reduction, &features);
        let reduced = relu(self.norm.forward(self.reduction.forward(features), pass));
        let [batch, channels, x, y, z] = reduced.dims();
        let mut features = reduced.reshape([batch, channels, x * y * z]);
        if matches!(pass, Pass::Training(_)) {
            let attention = self.attention_of(features.clone());
            let weighed = features.clone() * attention.clone().unsqueeze_dim::<3>(2);
            features = features + weighed;
            let rate = drop_rate(attention, covariance(features.clone()));
            let kept = Tensor::<2>::ones([batch, channels], &features.device());
            features = features * dropout(kept, rate, pass).unsqueeze_dim::<3>(2);
        }
        Self::upper_triangle(covariance(features))
    }

    /// How much each channel counts, by its mean and its neighbors'.
    ///
    /// # Shapes
    /// `[batch, channels, positions]` → `[batch, channels]`.
    fn attention_of(&self, features: Tensor<3>) -> Tensor<2> {
        let [batch, channels, _] = features.dims();
        let means = features.mean_dim(2).reshape([batch, channels]);
        let none = Tensor::<2>::zeros([batch, 1], &means.device());
        let padded = Tensor::cat(vec![none.clone(), means, none], 1);
        let weight = |i: usize| {
            self.attention
                .val()
                .slice_dim(0, i..i + 1)
                .unsqueeze_dim::<2>(0)
        };
        let term = |i: usize| padded.clone().slice_dim(1, i..i + channels) * weight(i);
        softmax(term(0) + term(1) + term(2), 1)
    }

    /// # Shapes
    /// `[batch, channels, channels]` → `[batch, width]`.
    fn upper_triangle(covariance: Tensor<3>) -> Tensor<2> {
        let [batch, n, _] = covariance.dims();
        let places: Vec<i64> = (0..n)
            .flat_map(|i| (i..n).map(move |j| (i * n + j) as i64))
            .collect();
        let places = TensorData::new(places.clone(), [places.len()]);
        let places = Tensor::<1, Int>::from_data(places, &covariance.device());
        covariance.reshape([batch, n * n]).select(1, places)
    }

    pub(super) fn absorb(self, met: Option<BatchStatistics>) -> Self {
        match met {
            Some(met) => Self {
                norm: self.norm.absorb(met),
                ..self
            },
            None => self,
        }
    }

    pub(super) fn layer(&self) -> Layer<'_> {
        Layer::Convolution(&self.reduction)
    }

    pub(super) fn fold(&self) -> Self {
        Self {
            reduction: self.reduction.fold(),
            ..self.clone()
        }
    }
}

/// # Shapes
/// `[batch, channels, positions]` → `[batch, channels, channels]`.
fn covariance(features: Tensor<3>) -> Tensor<3> {
    let [_, _, n] = features.dims();
    let centred = features.clone() - features.mean_dim(2);
    centred.clone().matmul(centred.swap_dims(1, 2)) / n as f64
}

/// Share of channels to drop: less, the more the attention agrees with how much channels vary with all others.
///
/// # Shapes
/// `attention` is `[batch, channels]`, `covariance` `[batch, channels, channels]`.
fn drop_rate(attention: Tensor<2>, covariance: Tensor<3>) -> f64 {
    let [batch, channels] = attention.dims();
    let attention = attention.inner();
    let shared = covariance.inner().sum_dim(2).reshape([batch, channels]);
    let length = |vectors: &Tensor<2>| vectors.clone().square().sum_dim(1).sqrt();
    let lengths = length(&attention) * length(&shared) + 1e-12;
    let cosines = (attention * shared).sum_dim(1) / lengths;
    let agreement: f32 = cosines.mean().into_scalar();
    let scale = RATE_SCALE / (channels.max(2) as f64).log2();
    (1.0 - scale * f64::from(agreement)).clamp(0.0, MOST_DROPPED)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::seed::{Purpose, Seed};
    use crate::nn::pass::TrainingPass;

    fn head(device: &Device) -> DropCov {
        let mut rng = Seed(1).stream(Purpose::Initialization, &[0]);
        let norm = BatchNormConfig {
            momentum: 0.9,
            epsilon: 1e-5,
        };
        DropCov::new(
            (Extent::Image, 8),
            WeightForm::Dense,
            norm,
            &mut rng,
            device,
        )
    }

    fn features(device: &Device) -> Tensor<5> {
        let values: Vec<f32> = (0..2 * 8 * 9).map(|i| (i as f32 * 0.83).sin()).collect();
        Tensor::from_data(TensorData::new(values, [2, 8, 1, 3, 3]), device)
    }

    #[test]
    fn for_an_answer_it_is_the_covariance_of_the_reduced_channels() {
        let device = Device::flex();
        let head = head(&device);
        let found: Vec<f32> = head
            .forward(features(&device), &mut Pass::Inference)
            .into_data()
            .try_into_vec()
            .unwrap();
        let reduced = head.reduction.forward(features(&device));
        let reduced = relu(head.norm.forward(reduced, &mut Pass::Inference));
        let reduced: Vec<f32> = reduced.into_data().try_into_vec().unwrap();
        assert_eq!(found.len(), 2 * 10);
        let channel = |member: usize, c: usize| &reduced[(member * 4 + c) * 9..][..9];
        let mean = |values: &[f32]| values.iter().map(|v| f64::from(*v)).sum::<f64>() / 9.0;
        let mut place = found.iter();
        for member in 0..2 {
            for i in 0..4 {
                for j in i..4 {
                    let (a, b) = (channel(member, i), channel(member, j));
                    let products = a.iter().zip(b).map(|(x, y)| f64::from(*x) * f64::from(*y));
                    let expected = products.sum::<f64>() / 9.0 - mean(a) * mean(b);
                    let found = f64::from(*place.next().unwrap());
                    assert!((found - expected).abs() < 1e-5, "{found} {expected}");
                }
            }
        }
    }

    #[test]
    fn agreement_lets_channels_stay_and_its_absence_drops_the_most() {
        let device = Device::flex();
        let shared = |diagonal: [f32; 4]| {
            let mut values = [[0.0_f32; 4]; 4];
            for (i, value) in diagonal.into_iter().enumerate() {
                values[i][i] = value;
            }
            Tensor::<3>::from_data([values], &device)
        };
        let attention = |values: [f32; 4]| Tensor::<2>::from_data([values], &device);
        let agreeing = drop_rate(
            attention([0.1, 0.2, 0.3, 0.4]),
            shared([1.0, 2.0, 3.0, 4.0]),
        );
        assert!(agreeing.abs() < 1e-6, "{agreeing}");
        let apart = drop_rate(
            attention([1.0, 0.0, 0.0, 0.0]),
            shared([0.0, 1.0, 0.0, 0.0]),
        );
        assert!((apart - MOST_DROPPED).abs() < 1e-6, "{apart}");
        // A cosine of 0.1: 1 − 10/log₂ 4 · 0.1.
        let some = drop_rate(
            attention([1.0, 0.0, 0.0, 0.0]),
            shared([0.1, 0.99_f32.sqrt(), 0.0, 0.0]),
        );
        assert!((some - 0.5).abs() < 1e-5, "{some}");
    }

    #[test]
    fn training_reaches_the_attention_and_the_reduction() {
        let device = Device::flex().autodiff();
        let head = head(&device);
        let mut pass = Pass::Training(TrainingPass::new(Seed(1), 0, [1, 2].into()));
        let given = head.forward(features(&device), &mut pass);
        let gradients = given.square().sum().backward();
        let attention = head.attention.val().grad(&gradients).unwrap();
        let length: f32 = attention.square().sum().into_scalar();
        assert!(length.is_finite() && length > 0.0);
        let reduction = head.reduction.weight.compose().grad(&gradients).unwrap();
        let length: f32 = reduction.square().sum().into_scalar();
        assert!(length.is_finite() && length > 0.0);
    }
}
