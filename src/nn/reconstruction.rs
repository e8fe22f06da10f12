//! What a block still holds of what the network was given, learned by giving it back: the reconstruction loss of InfoPro.
//!
//! Wang et al., "Revisiting Locally Supervised Learning: an Alternative to End-to-end Training" (ICLR 2021, arXiv
//! 2101.10832), section 3.3: a block that only pleases its head throws away what later blocks need; a small decoder that
//! has to draw the input from its features keeps it from that. The decoder only trains.
//!
//! As published it has two convolutions with twelve channels between them. Ours convolves once before the features are brought
//! to the sides of the input, which costs less, and once after; it is judged by the mean squared error of the normalized
//! input. Inputs with longer sides than [`LONGEST_SIDE`] are averaged first.

use burn::module::Module;
use burn::tensor::{Device, Int, Tensor, TensorData, activation::relu};
use rand_chacha::ChaCha8Rng;

use super::conv3d::{Conv3d, Conv3dShape, Extent};
use super::group_norm::GroupNorm;
use super::layer::Layer;
use super::pool3d::average_pool_to;
use super::weight::WeightForm;

/// Channels between the convolutions.
const WIDTH: usize = 12;
/// Longest side of what is reconstructed, in voxels.
const LONGEST_SIDE: usize = 32;

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
        let mut convolution = |from, to| {
            let shape = Conv3dShape::even(extent, [from, to], 3, 1, 1);
            Conv3d::new(shape, form, rng, device)
        };
        Self {
            before: convolution(channels, WIDTH),
            norm: GroupNorm::new(WIDTH, 4, device),
            after: convolution(WIDTH, input_channels),
            factor,
        }
    }

    /// Mean squared error of the reconstruction, times the factor.
    ///
    /// # Shapes
    /// `features` is `[batch, channels, x, y, z]`, `input` `[batch, input_channels, X, Y, Z]`.
    pub fn loss(&self, features: Tensor<5>, input: &Tensor<5>) -> Tensor<1> {
        let wanted = average_pool_to(input.clone(), LONGEST_SIDE);
        let [_, _, x, y, z] = wanted.dims();
        let hidden = relu(self.norm.forward(self.before.forward(features)));
        let drawn = self.after.forward(stretched(hidden, [x, y, z]));
        (drawn - wanted).square().mean() * self.factor
    }

    /// The convolutions.
    pub fn layers(&self) -> [Layer<'_>; 2] {
        [&self.before, &self.after].map(Layer::Convolution)
    }
}

/// Brings volumes to other sides: each voxel takes the value of the nearest one.
///
/// # Shapes
/// `[batch, channels, x, y, z]` → `[batch, channels, sides…]`.
fn stretched(features: Tensor<5>, sides: [usize; 3]) -> Tensor<5> {
    let mut stretched = features;
    for (axis, to) in sides.into_iter().enumerate() {
        let from = stretched.dims()[axis + 2];
        if from != to {
            let nearest: Vec<i32> = (0..to).map(|i| (i * from / to) as i32).collect();
            let device = stretched.device();
            let nearest = Tensor::<1, Int>::from_data(TensorData::new(nearest, [to]), &device);
            stretched = stretched.select(axis + 2, nearest);
        }
    }
    stretched
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::seed::{Purpose, Seed};

    #[test]
    fn stretching_repeats_voxels_and_shrinking_leaves_some_out() {
        let device = Device::flex();
        let values = [[[[[1.0_f32, 2.0], [3.0, 4.0]]]]];
        let wide = stretched(Tensor::from_data(values, &device), [1, 2, 4]);
        let found: Vec<f32> = wide.clone().into_data().try_into_vec().unwrap();
        assert_eq!(found, [1.0, 1.0, 2.0, 2.0, 3.0, 3.0, 4.0, 4.0]);
        let back: Vec<f32> = stretched(wide, [1, 1, 2])
            .into_data()
            .try_into_vec()
            .unwrap();
        assert_eq!(back, [1.0, 2.0]);
    }

    #[test]
    fn the_loss_is_the_mean_square_of_an_input_that_a_blank_decoder_leaves_times_the_factor() {
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
        assert!((found - 2.5 * mean_square).abs() < 1e-5, "{found}");
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
        let features = Tensor::<5>::zeros([1, 4, 3, 3, 3], &device);
        let found: f32 = decoder.loss(features, &input).into_scalar();
        assert!(found < 1e-6, "{found}");
    }
}
