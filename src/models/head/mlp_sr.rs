//! The head of decoupled greedy learning: spatial reduction, 1×1 convolutions, dense layers.
//!
//! Belilovsky, Eickenberg & Oyallon, "Decoupled Greedy Learning of CNNs" (ICML 2020, arXiv 1901.08164), section 4.1,
//! MLP-SR-aux: features are averaged to a quarter of their sides, three 1×1 convolutions with batch normalization and ReLU,
//! averaged to a side of 2, three dense layers with batch normalization and ReLU, and the linear output, which is the head's.
//! For volumes the same along three axes.

use burn::module::Module;
use burn::tensor::module::adaptive_avg_pool3d;
use burn::tensor::{Device, Tensor, activation::relu};
use rand_chacha::ChaCha8Rng;

use crate::models::brain_cnn::BatchNormConfig;
use crate::nn::batch_norm::BatchNorm;
use crate::nn::conv3d::{Conv3d, Conv3dShape, Extent};
use crate::nn::layer::Layer;
use crate::nn::linear::Linear;
use crate::nn::pass::{BatchStatistics, Pass};
use crate::nn::weight::WeightForm;

/// Sides are divided by this, upwards, before the convolutions.
const REDUCTION: usize = 4;
/// Side of what the dense layers see, along each axis that the features span.
const DENSE_SIDE: usize = 2;
/// Convolutions, and dense layers.
const N_EACH: usize = 3;

/// All but the linear output.
#[derive(Module, Debug)]
pub(super) struct MlpSr {
    convolutions: Vec<Conv3d>,
    dense: Vec<Linear>,
    /// Of the convolutions, then of the dense layers.
    norms: Vec<BatchNorm>,
    is_volume: bool,
}

impl MlpSr {
    pub(super) fn new(
        (extent, channels): (Extent, usize),
        form: WeightForm,
        norm: BatchNormConfig,
        rng: &mut ChaCha8Rng,
        device: &Device,
    ) -> Self {
        let is_volume = extent == Extent::Volume;
        let width = Self::width(extent, channels);
        let shape = Conv3dShape::even(extent, [channels; 2], 1, 1, 0);
        let convolutions =
            (0..N_EACH).map(|_| Conv3d::new(shape, form, rng, device).without_bias());
        let convolutions = convolutions.collect();
        let dense = (0..N_EACH).map(|_| Linear::new(width, width, form, rng, device));
        let dense = dense.collect();
        let widths = [channels; N_EACH].into_iter().chain([width; N_EACH]);
        let norms = widths.map(|n| BatchNorm::new(n, norm.momentum, norm.epsilon, device));
        Self {
            convolutions,
            dense,
            norms: norms.collect(),
            is_volume,
        }
    }

    /// Numbers that it gives of each member.
    pub(super) fn width(extent: Extent, channels: usize) -> usize {
        let n_axes = match extent {
            Extent::Volume => 3,
            Extent::Image => 2,
        };
        channels * DENSE_SIDE.pow(n_axes)
    }

    /// # Shapes
    /// `[batch, channels, x, y, z]` → `[batch, width]`.
    pub(super) fn forward(&self, features: Tensor<5>, pass: &mut Pass) -> Tensor<2> {
        let [_, _, x, y, z] = features.dims();
        let reduced = [x, y, z].map(|side| side.div_ceil(REDUCTION));
        let mut features = adaptive_avg_pool3d(features, reduced);
        let (of_convolutions, of_dense) = self.norms.split_at(self.convolutions.len());
        for (convolution, norm) in self.convolutions.iter().zip(of_convolutions) {
            features = relu(norm.forward(convolution.forward(features), pass));
        }
        let first = if self.is_volume { DENSE_SIDE } else { 1 };
        let pooled = adaptive_avg_pool3d(features, [first, DENSE_SIDE, DENSE_SIDE]);
        let [batch, channels, x, y, z] = pooled.dims();
        let mut pooled = pooled.reshape([batch, channels * x * y * z]);
        for (linear, norm) in self.dense.iter().zip(of_dense) {
            let given = linear.forward(pooled);
            let [batch, width] = given.dims();
            let normed = norm.forward(given.reshape([batch, width, 1, 1, 1]), pass);
            pooled = relu(normed.reshape([batch, width]));
        }
        pooled
    }

    pub(super) fn n_statistics(&self) -> usize {
        self.norms.len()
    }

    pub(super) fn absorb(self, statistics: &mut impl Iterator<Item = BatchStatistics>) -> Self {
        let norms = self.norms.into_iter().map(|norm| match statistics.next() {
            Some(met) => norm.absorb(met),
            None => norm,
        });
        Self {
            norms: norms.collect(),
            ..self
        }
    }

    pub(super) fn layers(&self) -> impl Iterator<Item = Layer<'_>> {
        let convolutions = self.convolutions.iter().map(Layer::Convolution);
        convolutions.chain(self.dense.iter().map(Layer::Linear))
    }

    pub(super) fn fold(&self) -> Self {
        Self {
            convolutions: self.convolutions.iter().map(Conv3d::fold).collect(),
            dense: self.dense.iter().map(Linear::fold).collect(),
            ..self.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::seed::{Purpose, Seed};
    use crate::nn::pass::TrainingPass;

    fn head(extent: Extent, channels: usize, device: &Device) -> MlpSr {
        let mut rng = Seed(1).stream(Purpose::Initialization, &[0]);
        let norm = BatchNormConfig {
            momentum: 0.9,
            epsilon: 1e-5,
        };
        MlpSr::new(
            (extent, channels),
            WeightForm::Dense,
            norm,
            &mut rng,
            device,
        )
    }

    #[test]
    fn features_of_any_side_become_2_by_2_or_2_by_2_by_2_cells_of_each_channel() {
        let device = Device::flex();
        for side in [1, 2, 7, 33] {
            let features = Tensor::ones([2, 3, 1, side, side], &device);
            let given = head(Extent::Image, 3, &device).forward(features, &mut Pass::Inference);
            assert_eq!(given.dims(), [2, 12], "{side}");
            let features = Tensor::ones([2, 3, side, side, side], &device);
            let given = head(Extent::Volume, 3, &device).forward(features, &mut Pass::Inference);
            assert_eq!(given.dims(), [2, 24], "{side}");
        }
    }

    #[test]
    fn it_has_three_convolutions_and_three_dense_layers_of_the_published_widths() {
        let head = head(Extent::Image, 5, &Device::flex());
        let counts: Vec<usize> = head
            .layers()
            .map(|layer| layer.weight().counts().stored)
            .collect();
        assert_eq!(counts, [25, 25, 25, 400, 400, 400]);
        assert_eq!(head.n_statistics(), 6);
    }

    #[test]
    fn running_statistics_become_those_of_the_batch_so_that_inference_says_the_same() {
        let device = Device::flex().autodiff();
        let values: Vec<f32> = (0..4 * 2 * 64).map(|i| (i as f32 * 0.37).sin()).collect();
        let features = burn::tensor::TensorData::new(values, [4, 2, 1, 8, 8]);
        let features = Tensor::<5>::from_data(features, &device);
        let mut head = head(Extent::Image, 2, &device);
        for step in 0..200 {
            let pass = TrainingPass::new(Seed(1), step, [1, 2, 3, 4].into());
            let mut pass = Pass::Training(pass);
            head.forward(features.clone(), &mut pass);
            head = head.absorb(&mut pass.into_statistics().into_iter());
        }
        let mut pass = Pass::Training(TrainingPass::new(Seed(1), 0, [1, 2, 3, 4].into()));
        let trained = head
            .forward(features.clone(), &mut pass)
            .inner()
            .into_data();
        let inferred = head
            .forward(features, &mut Pass::Inference)
            .inner()
            .into_data();
        // 0.9^200 of the first statistics is left, and variances are divided alike.
        trained.assert_approx_eq::<f32>(&inferred, burn::tensor::Tolerance::absolute(1e-3));
    }
}
