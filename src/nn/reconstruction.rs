//! What a block still holds of what the network was given, learned by giving it back: the reconstruction loss of InfoPro.
//!
//! Wang et al., "Revisiting Locally Supervised Learning: an Alternative to End-to-end Training" (ICLR 2021, arXiv
//! 2101.10832), section 3.3: a block that only pleases its head throws away what later blocks need; a small decoder that
//! has to draw the input from its features keeps it from that. The decoder only trains.
//!
//! As published it has two convolutions with twelve channels between them. Ours convolves once before the features are brought
//! to the sides of the input, which costs less, and once after; it is judged by the squared error of the normalized
//! input, averaged to sides that are a multiple of those of the features and 32 voxels at most. The published factors are on
//! the binary cross-entropy of images between 0 and 1: an eighth of the squared error is about as much.

use burn::module::Module;
use burn::tensor::module::adaptive_avg_pool3d;
use burn::tensor::{Device, Tensor, activation::relu};
use rand_chacha::ChaCha8Rng;

use super::conv3d::{Conv3d, Conv3dShape, Extent};
use super::group_norm::GroupNorm;
use super::layer::Layer;
use super::weight::WeightForm;

/// Channels between the convolutions.
const WIDTH: usize = 12;
/// Longest side of what is reconstructed, in voxels.
const LONGEST_SIDE: usize = 32;
/// What a squared error of 1 in the normalized input costs. Beyond its lowest value binary cross-entropy costs some
/// σ²/(2p(1 − p)) for it, with a standard deviation σ of images of a quarter, and p of a half.
const PER_SQUARE: f64 = 1.0 / 8.0;

/// Features → input.
#[derive(Module, Debug)]
pub struct Reconstruction {
    before: Conv3d,
    norm: GroupNorm,
    after: Conv3d,
    factor: f64,
}

impl Reconstruction {
    /// From features with `channels` channels to an input with `input_channels`; `factor` multiplies the loss.
    pub fn new(
        (extent, channels, input_channels): (Extent, usize, usize),
        factor: f64,
        form: WeightForm,
        rng: &mut ChaCha8Rng,
        device: &Device,
    ) -> Self {
        let shape = |from, to| Conv3dShape::even(extent, [from, to], 3, 1, 1);
        let (before, after) = (shape(channels, WIDTH), shape(WIDTH, input_channels));
        let after_sd = (after.fan_in() as f64).powf(-0.5);
        Self {
            before: Conv3d::new(before, form, rng, device),
            norm: GroupNorm::new(WIDTH, 4, device),
            after: Conv3d::with_sd(after, after_sd, form, rng, device),
            factor,
        }
    }

    /// Mean squared error of the reconstruction, on the scale of the published factors, times the factor.
    ///
    /// # Shapes
    /// `features` is `[batch, channels, x, y, z]`, `input` `[batch, input_channels, X, Y, Z]`.
    pub fn loss(&self, features: Tensor<5>, input: &Tensor<5>) -> Tensor<1> {
        let factors = factors(sides_of(&features), sides_of(input));
        let hidden = relu(self.norm.forward(self.before.forward(features)));
        let hidden = enlarged(hidden, factors);
        let sides = sides_of(&hidden);
        let wanted = if sides == sides_of(input) {
            input.clone()
        } else {
            adaptive_avg_pool3d(input.clone(), sides)
        };
        let drawn = self.after.forward(hidden);
        (drawn - wanted).square().mean() * (PER_SQUARE * self.factor)
    }

    /// The convolutions.
    pub fn layers(&self) -> [Layer<'_>; 2] {
        [&self.before, &self.after].map(Layer::Convolution)
    }
}

fn sides_of(volumes: &Tensor<5>) -> [usize; 3] {
    let [_, _, x, y, z] = volumes.dims();
    [x, y, z]
}

/// How many times features are enlarged along each axis.
fn factors(features: [usize; 3], input: [usize; 3]) -> [usize; 3] {
    std::array::from_fn(|axis| (input[axis].min(LONGEST_SIDE) / features[axis].max(1)).max(1))
}

/// Each voxel repeated along each axis.
///
/// # Shapes
/// `[batch, channels, x, y, z]` → `[batch, channels, x·factors[0], …]`.
fn enlarged(features: Tensor<5>, factors: [usize; 3]) -> Tensor<5> {
    let mut enlarged = features;
    for (axis, factor) in factors.into_iter().enumerate() {
        if factor == 1 {
            continue;
        }
        let mut dims = enlarged.dims();
        let n_before: usize = dims[..axis + 3].iter().product();
        let n_after: usize = dims[axis + 3..].iter().product();
        dims[axis + 2] *= factor;
        let columns = enlarged.reshape([n_before, 1, n_after]);
        enlarged = columns.expand([n_before, factor, n_after]).reshape(dims);
    }
    enlarged
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::seed::{Purpose, Seed};
    use burn::tensor::TensorData;
    use rand_distr::{Distribution as _, StandardNormal};

    #[test]
    fn enlarging_repeats_each_voxel_along_each_axis() {
        let device = Device::flex();
        let values = [[[[[1.0_f32, 2.0], [3.0, 4.0]]]]];
        let large = enlarged(Tensor::from_data(values, &device), [1, 2, 3]);
        assert_eq!(large.dims(), [1, 1, 1, 4, 6]);
        let found: Vec<f32> = large.into_data().try_into_vec().unwrap();
        let row = |a: f32, b: f32| [a, a, a, b, b, b];
        let expected = [row(1.0, 2.0), row(1.0, 2.0), row(3.0, 4.0), row(3.0, 4.0)];
        assert_eq!(found, expected.concat());
    }

    #[test]
    fn what_is_drawn_is_as_large_as_features_allow_and_no_larger_than_the_input_or_the_bound() {
        assert_eq!(factors([1, 8, 4], [1, 32, 32]), [1, 4, 8]);
        assert_eq!(factors([24, 28, 24], [48, 56, 48]), [1, 1, 1]);
        assert_eq!(factors([6, 7, 6], [48, 56, 48]), [5, 4, 5]);
        assert_eq!(factors([64, 1, 5], [128, 4, 8]), [1, 4, 1]);
    }

    #[test]
    fn the_loss_is_an_eighth_of_the_mean_square_that_a_blank_decoder_leaves_times_the_factor() {
        // Normalized features of a constant are 0, so nothing is drawn but the bias, which starts at 0.
        let device = Device::flex();
        let mut rng = Seed(1).stream(Purpose::Initialization, &[0]);
        let shape = (Extent::Image, 5, 3);
        let decoder = Reconstruction::new(shape, 2.5, WeightForm::Dense, &mut rng, &device);
        let features = Tensor::<5>::zeros([2, 5, 1, 2, 2], &device);
        let values: Vec<f32> = (0..2 * 3 * 16).map(|i| (i as f32 * 0.7).sin()).collect();
        let mean_square = values.iter().map(|v| v * v).sum::<f32>() / values.len() as f32;
        let input = Tensor::from_data(TensorData::new(values, [2, 3, 1, 4, 4]), &device);
        let found: f32 = decoder.loss(features, &input).into_scalar();
        assert!((found - 2.5 / 8.0 * mean_square).abs() < 1e-5, "{found}");
    }

    #[test]
    fn a_decoder_starts_with_errors_no_larger_than_a_few_times_the_input() {
        // What it draws has half the variance of the input, so 1.5 is expected; √2 a weight, as in layers that a
        // normalization follows, would make it hundreds, and the optimizer would remember that for a thousand steps.
        let device = Device::flex();
        for (extent, depth) in [(Extent::Volume, 6), (Extent::Image, 1)] {
            let mut rng = Seed(3).stream(Purpose::Initialization, &[0]);
            let decoder =
                Reconstruction::new((extent, 8, 1), 1.0, WeightForm::Dense, &mut rng, &device);
            let mut noise = |dims: [usize; 5]| {
                let n: usize = dims.iter().product();
                let draw = |_| StandardNormal.sample(&mut rng);
                let values: Vec<f32> = (0..n).map(draw).collect();
                Tensor::<5>::from_data(TensorData::new(values, dims), &device)
            };
            let (features, input) = (noise([4, 8, depth, 6, 6]), noise([4, 1, depth, 6, 6]));
            let found: f32 = decoder.loss(features, &input).into_scalar();
            assert!(found * 8.0 < 3.0, "{extent:?}: {found}");
        }
    }

    #[test]
    fn long_sides_are_averaged_before_they_are_compared() {
        // Cells of ±1 side by side average to nothing: a blank decoder loses nothing.
        let device = Device::flex();
        let mut rng = Seed(1).stream(Purpose::Initialization, &[0]);
        let shape = (Extent::Volume, 4, 1);
        let decoder = Reconstruction::new(shape, 1.0, WeightForm::Dense, &mut rng, &device);
        let side = 2 * LONGEST_SIDE;
        let values: Vec<f32> = (0..side.pow(3))
            .map(|i| if i % 2 == 0 { 1.0 } else { -1.0 })
            .collect();
        let input = Tensor::from_data(TensorData::new(values, [1, 1, side, side, side]), &device);
        let features = Tensor::<5>::zeros([1, 4, 4, 4, 4], &device);
        let found: f32 = decoder.loss(features, &input).into_scalar();
        assert!(found < 1e-6, "{found}");
    }
}
