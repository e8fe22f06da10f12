//! How alike the members of a batch are, by the features of a block: what the similarity loss compares with how alike
//! their labels are.
//!
//! Nøkland & Eidnes, "Training Neural Networks with Local Error Signals" (ICML 2019, arXiv 1901.06656), section 2.2: a
//! trained convolution, the standard deviation of each of its channels over the positions, and the cosine between what
//! members have of these. The branch only trains; nothing of it is kept for inference.

use burn::module::Module;
use burn::tensor::Tensor;

use super::conv3d::Conv3d;
use super::layer::Layer;

/// Added to variances and squared lengths, so that roots of nothing have a gradient.
const EPSILON: f64 = 1e-8;

/// Features → how alike the members of a batch are.
#[derive(Module, Debug)]
pub struct SimilarityBranch {
    convolution: Conv3d,
}

impl SimilarityBranch {
    /// With a convolution that keeps channels and sides. A bias would change no standard deviation, so it has none.
    pub fn new(convolution: Conv3d) -> Self {
        Self {
            convolution: convolution.without_bias(),
        }
    }

    /// # Shapes
    /// `[batch, channels, x, y, z]` → `[batch, batch]`, −1 to 1, the diagonal 1.
    pub fn forward(&self, features: Tensor<5>) -> Tensor<2> {
        centred_cosine(spread(self.convolution.forward(features)))
    }

    /// The convolution.
    pub fn layer(&self) -> Layer<'_> {
        Layer::Convolution(&self.convolution)
    }
}

/// Standard deviation of each channel over the positions; the value itself where there is one position.
///
/// # Shapes
/// `[batch, channels, x, y, z]` → `[batch, channels]`.
fn spread(features: Tensor<5>) -> Tensor<2> {
    let [batch, channels, x, y, z] = features.dims();
    let n = x * y * z;
    if n == 1 {
        return features.reshape([batch, channels]);
    }
    let flat = features.reshape([batch, channels, n]);
    let centred = flat.clone() - flat.mean_dim(2);
    let variance = centred.square().mean_dim(2);
    (variance + EPSILON).sqrt().reshape([batch, channels])
}

/// Cosine of the angle between any two rows, each less its mean.
///
/// # Shapes
/// `[rows, columns]` → `[rows, rows]`.
pub fn centred_cosine(rows: Tensor<2>) -> Tensor<2> {
    let centred = rows.clone() - rows.mean_dim(1);
    let length = (centred.clone().square().sum_dim(1) + EPSILON).sqrt();
    let unit = centred / length;
    unit.clone().matmul(unit.transpose())
}

/// The similarity loss: mean squared difference of how alike members are by features and by labels.
///
/// # Shapes
/// Both `[batch, batch]`.
pub fn similarity_loss(by_features: Tensor<2>, by_labels: Tensor<2>) -> Tensor<1> {
    (by_features - by_labels).square().mean()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::seed::{Purpose, Seed};
    use crate::nn::conv3d::{Conv3dShape, Extent};
    use crate::nn::weight::Weight;
    use crate::nn::weight::WeightForm;
    use burn::module::{ModuleMapper, Param};
    use burn::tensor::{Device, TensorData};

    fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
        tensor.into_data().try_into_vec().unwrap()
    }

    #[test]
    fn the_cosine_of_one_hot_rows_is_1_within_a_class_and_less_by_the_number_of_classes_between_two()
     {
        // One-hot less its mean: (K−1)/K and −1/K; the cosine between two classes is −1/(K−1).
        let rows = [
            [1.0_f32, 0.0, 0.0, 0.0],
            [0.0, 0.0, 1.0, 0.0],
            [1.0, 0.0, 0.0, 0.0],
        ];
        let found = values(centred_cosine(Tensor::from_data(rows, &Device::flex())));
        let third = -1.0_f32 / 3.0;
        for (found, expected) in found
            .iter()
            .zip([1.0, third, 1.0, third, 1.0, third, 1.0, third, 1.0])
        {
            assert!((found - expected).abs() < 1e-6, "{found} {expected}");
        }
    }

    #[test]
    fn the_cosine_is_the_correlation_of_the_textbook() {
        let rows = [[1.0_f32, 2.0, 3.0], [2.0, 1.0, 6.0], [3.0, 2.0, 1.0]];
        let found = values(centred_cosine(Tensor::from_data(rows, &Device::flex())));
        // Rows less their means: (−1, 0, 1), (−1, −2, 3), (1, 0, −1).
        let expected = 4.0 / (2.0_f32 * 14.0).sqrt();
        assert!(
            (found[1] - expected).abs() < 1e-6 && (found[2] + 1.0).abs() < 1e-6,
            "{found:?}"
        );
        let loss = similarity_loss(
            Tensor::from_data([[1.0_f32, 0.5], [0.5, 1.0]], &Device::flex()),
            Tensor::from_data([[1.0_f32, -0.5], [-0.5, 1.0]], &Device::flex()),
        );
        assert_eq!(values(loss), [0.5]);
    }

    #[test]
    fn the_spread_is_the_standard_deviation_over_positions_or_the_value_where_there_is_but_one() {
        let device = Device::flex();
        let data = TensorData::new(vec![1.0_f32, 3.0, 5.0, 5.0], [1, 2, 1, 1, 2]);
        let found = values(spread(Tensor::from_data(data, &device)));
        assert!(
            (found[0] - 1.0).abs() < 1e-6 && found[1] < 2e-4,
            "{found:?}"
        );
        let data = TensorData::new(vec![1.0_f32, -3.0], [1, 2, 1, 1, 1]);
        assert_eq!(
            values(spread(Tensor::from_data(data, &device))),
            [1.0, -3.0]
        );
    }

    /// Adds to one entry of the one matrix there is.
    struct Nudge(usize, f32);

    impl ModuleMapper for Nudge {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            param.map(|tensor| {
                let (dims, device) = (tensor.dims(), tensor.device());
                let mut values = values(tensor.inner());
                values[self.0] += self.1;
                Tensor::from_data(TensorData::new(values, dims), &device).require_grad()
            })
        }
    }

    #[test]
    fn the_gradient_of_the_loss_is_that_of_finite_differences() {
        let device = Device::flex().autodiff();
        let mut rng = Seed(4).stream(Purpose::Initialization, &[0]);
        let shape = Conv3dShape::even(Extent::Image, [2, 2], 3, 1, 1);
        let branch =
            SimilarityBranch::new(Conv3d::new(shape, WeightForm::Dense, &mut rng, &device));
        let values_of = |i: usize| (i * 7919 % 101) as f32 / 50.0 - 1.0;
        let input: Vec<f32> = (0..4 * 2 * 9).map(values_of).collect();
        let input = Tensor::<5>::from_data(TensorData::new(input, [4, 2, 1, 3, 3]), &device);
        let labels = [[1.0_f32, 0.0], [0.0, 1.0], [1.0, 0.0], [0.3, 0.7]];
        let labels = centred_cosine(Tensor::<2>::from_data(labels, &device));
        let loss = |branch: &SimilarityBranch| {
            similarity_loss(branch.forward(input.clone()), labels.clone())
        };
        let Weight::Dense(_) = branch.layer().weight() else {
            panic!("asked for a dense weight");
        };
        let gradients = loss(&branch).backward();
        let found = values(branch.layer().weight().compose().grad(&gradients).unwrap());
        let step = 1e-2_f32;
        for (place, found) in found.iter().enumerate() {
            let at = |by: f32| values(loss(&branch.clone().map(&mut Nudge(place, by))))[0];
            let expected = (at(step) - at(-step)) / (2.0 * step);
            // Central differences in f32: the third derivative times 1e-4, and rounding.
            assert!(
                (found - expected).abs() < 2e-3,
                "{place}: {found} {expected}"
            );
        }
    }
}
