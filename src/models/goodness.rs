//! The Forward-Forward rule's view of a network: labels are written into the input, and a unit says by its goodness, the
//! mean square of what it gives, whether the label is right.
//!
//! Hinton, "The Forward-Forward Algorithm: Some Preliminary Investigations" (2022, arXiv 2212.13345), section 3.3. Between units
//! the length of what a member gives is taken away, so that a unit cannot pass its goodness on. The answer is the label with
//! the largest sum of goodness over all units but the first: one pass for each label.
//!
//! The paper writes labels into the first pixels, which convolutions hardly see. Here each label is a wave over the whole
//! image or volume that is added to all channels (Scodellaro et al. 2023, arXiv 2312.14924).

use std::f64::consts::TAU;

use burn::module::Module;
use burn::tensor::{Tensor, TensorData};
use rand::RngExt as _;

use crate::engine::seed::{Purpose, Seed};

/// Most periods of a wave along an axis.
const MOST_PERIODS: f64 = 4.0;
/// Below mean squares, so that nothing has a length.
const EPSILON: f64 = 1e-6;

/// The labels of a network that is trained by the rule.
#[derive(Module, Debug)]
pub struct Goodness {
    n_labels: usize,
}

impl Goodness {
    /// For so many labels.
    pub(super) fn new(n_labels: usize) -> Self {
        Self { n_labels }
    }

    /// How many labels there are.
    pub fn n_labels(&self) -> usize {
        self.n_labels
    }

    /// Members with a label written into each.
    ///
    /// # Shapes
    /// `[batch, channels, x, y, z]`, unchanged.
    pub fn written(&self, input: Tensor<5>, labels: &[usize]) -> Tensor<5> {
        let [_, _, x, y, z] = input.dims();
        let mut waves: Vec<Option<Vec<f32>>> = vec![None; self.n_labels];
        let mut values = Vec::with_capacity(labels.len() * x * y * z);
        for label in labels {
            match waves.get_mut(*label) {
                Some(known) => {
                    let wave = known.get_or_insert_with(|| wave(*label, [x, y, z]));
                    values.extend_from_slice(wave);
                }
                None => values.resize(values.len() + x * y * z, 0.0),
            }
        }
        let data = TensorData::new(values, [labels.len(), 1, x, y, z]);
        let waves = Tensor::from_data(data, &input.device());
        input + waves
    }
}

/// A plane wave of amplitude 1, the same for a label whatever the run.
fn wave(label: usize, sides: [usize; 3]) -> Vec<f32> {
    let mut rng = Seed(0).stream(Purpose::LabelWave, &[label as u64]);
    let mut draw = || rng.random::<f64>();
    let periods: [f64; 3] = std::array::from_fn(|_| MOST_PERIODS * (2.0 * draw() - 1.0));
    let phase = draw();
    let way = |axis: usize, at: usize| periods[axis] * at as f64 / sides[axis] as f64;
    let mut values = Vec::with_capacity(sides.iter().product());
    for i in 0..sides[0] {
        for j in 0..sides[1] {
            let before = phase + way(0, i) + way(1, j);
            values.extend((0..sides[2]).map(|k| (TAU * (before + way(2, k))).cos() as f32));
        }
    }
    values
}

/// The goodness of each member.
///
/// # Shapes
/// `[batch, channels, x, y, z]` → `[batch, 1]`.
pub(super) fn of_features(features: Tensor<5>) -> Tensor<2> {
    flat(features).square().mean_dim(1)
}

/// Features with a goodness of 1.
///
/// # Shapes
/// `[batch, channels, x, y, z]`, unchanged.
pub(super) fn normalized(features: Tensor<5>) -> Tensor<5> {
    let length = (of_features(features.clone()) + EPSILON).sqrt();
    let [batch, _] = length.dims();
    features / length.reshape([batch, 1, 1, 1, 1])
}

fn flat(features: Tensor<5>) -> Tensor<2> {
    let [batch, channels, x, y, z] = features.dims();
    features.reshape([batch, channels * x * y * z])
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    #[test]
    fn a_label_adds_the_same_wave_to_all_channels_of_its_member_and_labels_differ() {
        let input = Tensor::<5>::zeros([3, 2, 1, 6, 5], &Device::flex());
        let written = Goodness::new(4).written(input, &[2, 0, 2]);
        let values: Vec<f32> = written.into_data().try_into_vec().unwrap();
        let planes: Vec<&[f32]> = values.chunks(30).collect();
        assert_eq!(planes[0], planes[1]);
        assert_eq!(planes[0], planes[4]);
        let apart = planes[0]
            .iter()
            .zip(planes[2])
            .any(|(a, b)| (a - b).abs() > 0.1);
        assert!(apart && values.iter().all(|v| v.abs() <= 1.0));
    }

    #[test]
    fn normalized_features_point_the_same_way_with_a_mean_square_of_1() {
        let values: Vec<f32> = (0..2 * 3 * 4).map(|i| i as f32 - 5.0).collect();
        let data = TensorData::new(values, [2, 3, 1, 2, 2]);
        let features = Tensor::<5>::from_data(data, &Device::flex());
        let goodness: Vec<f32> = of_features(features.clone())
            .into_data()
            .try_into_vec()
            .unwrap();
        let by_hand = (0..12).map(|i| f64::from(i - 5).powi(2)).sum::<f64>() / 12.0;
        assert!((f64::from(goodness[0]) - by_hand).abs() < 1e-4);
        let normal = normalized(features.clone());
        let ones: Vec<f32> = of_features(normal.clone())
            .into_data()
            .try_into_vec()
            .unwrap();
        assert!(ones.iter().all(|one| (one - 1.0).abs() < 1e-4));
        let ratio: Vec<f32> = (features / normal).into_data().try_into_vec().unwrap();
        let of_first = ratio[..12].iter().filter(|r| r.is_finite());
        assert!(
            of_first
                .into_iter()
                .all(|r| (f64::from(*r) - by_hand.sqrt()).abs() < 1e-3)
        );
    }
}
