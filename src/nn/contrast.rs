//! Members of a batch told apart by a projection of their features, where their labels are apart: the contrastive loss of
//! InfoPro, and for ages its form with a kernel.
//!
//! Khosla et al., "Supervised Contrastive Learning" (NeurIPS 2020, arXiv 2004.11362), eq. 2, as Wang et al. use it (ICLR 2021,
//! arXiv 2101.10832, section 3.4): a small projection of unit length, temperature 0.07. Where labels are more or less alike,
//! as ages are, pairs count by how alike they are (Dufumier et al., MICCAI 2021, arXiv 2106.08808, eq. 2). The projection only
//! trains.

use burn::module::Module;
use burn::tensor::activation::{log_softmax, relu};
use burn::tensor::{Device, Tensor};
use rand_chacha::ChaCha8Rng;

use super::layer::Layer;
use super::linear::Linear;
use super::pool3d::global_average;
use super::weight::WeightForm;

/// Width of the projection.
const WIDTH: usize = 128;
/// What cosines are divided by.
const TEMPERATURE: f64 = 0.07;
/// Added to squared lengths, so that nothing has a direction.
const EPSILON: f64 = 1e-8;
/// What stands for −∞ where a member would meet itself.
const NEVER: f64 = -1e4;

/// Features → directions.
#[derive(Module, Debug)]
pub struct Contrast {
    hidden: Linear,
    output: Linear,
}

impl Contrast {
    /// For features with `channels` channels.
    pub fn new(channels: usize, form: WeightForm, rng: &mut ChaCha8Rng, device: &Device) -> Self {
        Self {
            hidden: Linear::new(channels, WIDTH, form, rng, device),
            output: Linear::new(WIDTH, WIDTH, form, rng, device),
        }
    }

    /// # Shapes
    /// `[batch, channels, x, y, z]` → `[batch, 128]`, rows of length 1.
    pub fn forward(&self, features: Tensor<5>) -> Tensor<2> {
        let hidden = relu(self.hidden.forward(global_average(features)));
        let projected = self.output.forward(hidden);
        let length = (projected.clone().square().sum_dim(1) + EPSILON).sqrt();
        projected / length
    }

    /// The dense layers.
    pub fn layers(&self) -> [Layer<'_>; 2] {
        [&self.hidden, &self.output].map(Layer::Linear)
    }
}

/// The contrastive loss: for each member the mean of −log of its share of each other member, weighted by how alike they are;
/// the mean over the members that are like any other.
///
/// # Shapes
/// `directions` is `[batch, n]`, `alike` `[batch, batch]`, below 0 as good as 0; its diagonal does not count.
pub fn contrast_loss(directions: Tensor<2>, alike: Tensor<2>) -> Tensor<1> {
    let device = directions.device();
    let [batch, _] = directions.dims();
    let itself = Tensor::<2>::eye(batch, &device);
    let cosines = directions.clone().matmul(directions.transpose()) / TEMPERATURE;
    let shares = log_softmax(cosines + itself.clone() * NEVER, 1);
    let weights = alike.clamp_min(0.0) * (-itself + 1.0);
    let of_member = weights.clone().sum_dim(1);
    let loss = -(weights * shares).sum_dim(1) / (of_member.clone() + EPSILON);
    let counted = of_member.greater_elem(EPSILON).float();
    (loss * counted.clone()).sum() / (counted.sum() + EPSILON)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::seed::{Purpose, Seed};

    fn rows(angles: &[f64], device: &Device) -> Tensor<2> {
        let values: Vec<f32> = angles
            .iter()
            .flat_map(|angle| [angle.cos() as f32, angle.sin() as f32])
            .collect();
        Tensor::from_data(
            burn::tensor::TensorData::new(values, [angles.len(), 2]),
            device,
        )
    }

    /// By the formula, in f64, member by member.
    fn by_hand(angles: &[f64], alike: impl Fn(usize, usize) -> f64) -> f64 {
        let n = angles.len();
        let close = |i: usize, j: usize| ((angles[i] - angles[j]).cos() / TEMPERATURE).exp();
        let (mut sum, mut counted) = (0.0, 0.0);
        for i in 0..n {
            let others = || (0..n).filter(move |j| *j != i);
            let whole: f64 = others().map(|j| close(i, j)).sum();
            let weight: f64 = others().map(|j| alike(i, j)).sum();
            if weight > 0.0 {
                let terms = others().map(|j| -alike(i, j) * (close(i, j) / whole).ln());
                sum += terms.sum::<f64>() / weight;
                counted += 1.0;
            }
        }
        sum / counted
    }

    #[test]
    fn it_is_the_published_loss_for_classes_and_for_labels_that_are_more_or_less_alike() {
        let device = Device::flex();
        let angles = [0.1, 0.4, 2.0, 2.2, -1.0];
        let classes = [0, 0, 1, 1, 2];
        let of_classes = |i: usize, j: usize| f64::from(u8::from(classes[i] == classes[j]));
        let of_ages = |i: usize, j: usize| (-0.5 * (i as f64 - j as f64).powi(2)).exp();
        let matrix = |alike: &dyn Fn(usize, usize) -> f64| {
            let values = (0..25).map(|at| match alike(at / 5, at % 5) {
                // Classes that differ are less than unlike by the cosine of their labels.
                0.0 => -0.5_f32,
                alike => alike as f32,
            });
            let values: Vec<f32> = values.collect();
            Tensor::<2>::from_data(burn::tensor::TensorData::new(values, [5, 5]), &device)
        };
        for alike in [&of_classes as &dyn Fn(usize, usize) -> f64, &of_ages] {
            let found: f32 = contrast_loss(rows(&angles, &device), matrix(alike)).into_scalar();
            let expected = by_hand(&angles, alike);
            assert!(
                (f64::from(found) - expected).abs() < 1e-3 * expected,
                "{found} {expected}"
            );
        }
    }

    #[test]
    fn members_that_are_like_no_other_lose_nothing() {
        let device = Device::flex();
        let alike = Tensor::<2>::eye(3, &device);
        let found: f32 = contrast_loss(rows(&[0.0, 1.0, 2.0], &device), alike).into_scalar();
        assert_eq!(found, 0.0);
    }

    #[test]
    fn directions_have_length_1() {
        let device = Device::flex();
        let mut rng = Seed(1).stream(Purpose::Initialization, &[0]);
        let contrast = Contrast::new(4, WeightForm::Dense, &mut rng, &device);
        let values: Vec<f32> = (0..3 * 4 * 8).map(|i| (i as f32 * 0.37).sin()).collect();
        let data = burn::tensor::TensorData::new(values, [3, 4, 1, 2, 4]);
        let directions = contrast.forward(Tensor::from_data(data, &device));
        let lengths: Vec<f32> = directions
            .square()
            .sum_dim(1)
            .into_data()
            .try_into_vec()
            .unwrap();
        assert!(
            lengths.iter().all(|length| (length - 1.0).abs() < 1e-4),
            "{lengths:?}"
        );
    }
}
