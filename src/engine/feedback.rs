//! Direct feedback alignment: errors go from the output straight to each unit, through fixed random matrices.
//!
//! Nøkland, "Direct Feedback Alignment Provides Learning in Deep Neural Networks" (NIPS 2016, arXiv 1609.01596), eq. 7: unit
//! ℓ moves as if the derivative of the loss by what it gives, h, were B·e. Here e is the derivative of the loss by what the
//! last head says, so the rule goes with every loss; for cross-entropy that is softmax − target, for the MAE of ages the sign
//! of the error. Within a unit gradients are exact, batch normalization and shortcuts included; between units there are
//! none. The last head learns from the loss itself. The published networks have tanh and no normalization: ours stay as they
//! are, so that methods are compared on one network.
//!
//! It is written as a loss, Σ ⟨B·e, h⟩ with B·e held fast, whose gradient by the unit's parameters is the rule.

use std::sync::OnceLock;

use burn::tensor::{Device, Tensor, TensorData};
use rand::RngExt as _;

use super::seed::{Purpose, Seed};

/// The matrices of a block, drawn when the sizes of the features are first seen; the same for the same seed.
#[derive(Debug, Default)]
pub(super) struct Feedback {
    ways: OnceLock<Vec<Tensor<2>>>,
}

impl Feedback {
    /// Σ over units of ⟨B·e, h⟩.
    ///
    /// # Shapes
    /// `error` is `[batch, n_outputs]`, without a graph; each of `of_units` is `[batch, channels, x, y, z]`.
    pub(super) fn loss(
        &self,
        seed: Seed,
        error: &Tensor<2>,
        of_units: &[Tensor<5>],
    ) -> Option<Tensor<1>> {
        let [_, n_outputs] = error.dims();
        let ways = self.ways.get_or_init(|| {
            let units = of_units.iter().enumerate();
            let draw = |(unit, features): (usize, &Tensor<5>)| {
                let n = features.dims()[1..].iter().product();
                way(seed, unit, [n_outputs, n], &error.device())
            };
            units.map(draw).collect()
        });
        let terms = of_units.iter().zip(ways).map(|(features, way)| {
            let dims = features.dims();
            let pull = error.clone().matmul(way.clone()).reshape(dims);
            (features.clone() * Tensor::from_inner(pull)).sum()
        });
        terms.reduce(|sum, term| sum + term)
    }
}

/// Bᵀ of a unit, even in ±1/√n for n numbers that the unit gives: B·e is then about as long as e.
fn way(seed: Seed, unit: usize, [n_outputs, n]: [usize; 2], device: &Device) -> Tensor<2> {
    let mut rng = seed.stream(Purpose::Feedback, &[unit as u64]);
    let bound = 1.0 / (n as f32).sqrt();
    let draw = |_| bound * (2.0 * rng.random::<f32>() - 1.0);
    let values: Vec<f32> = (0..n_outputs * n).map(draw).collect();
    Tensor::from_data(TensorData::new(values, [n_outputs, n]), device)
}

/// The derivative of a loss by what a head says.
///
/// # Shapes
/// `[batch, n_outputs]`, without a graph.
pub(super) fn error_of(
    outputs: Tensor<2>,
    loss: impl FnOnce(Tensor<2>) -> Tensor<1>,
) -> Option<Tensor<2>> {
    let leaf = Tensor::from_inner(outputs.inner()).require_grad();
    let gradients = loss(leaf.clone()).backward();
    leaf.grad(&gradients)
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Tolerance;
    use burn::tensor::activation::{log_softmax, relu, softmax};

    #[test]
    fn the_error_of_cross_entropy_is_softmax_less_target() {
        let device = Device::flex().autodiff();
        let outputs = Tensor::<2>::from_data([[0.3, -1.0, 2.0], [0.0, 0.5, -0.5]], &device);
        let target = Tensor::<2>::from_data([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]], &device);
        let loss = |outputs: Tensor<2>| {
            let each = log_softmax(outputs, 1) * target.clone();
            -(each.sum() / 2.0)
        };
        let error = error_of(outputs.clone(), loss).unwrap();
        let expected = (softmax(outputs, 1) - target).inner() / 2.0;
        error
            .into_data()
            .assert_approx_eq::<f32>(&expected.into_data(), Tolerance::absolute(1e-6));
    }

    #[test]
    fn the_gradient_of_the_loss_is_the_explicit_rule() {
        // One unit h = ReLU(W·x) with 4 outputs as channels; ΔW = −Σ (Bᵀe ⊙ [z > 0]) xᵀ, summed by hand.
        let device = Device::flex().autodiff();
        let inputs = [[0.5, -1.0, 0.25], [1.5, 0.75, -0.5]];
        let weights = [
            [0.2, 0.4, -0.3],
            [-0.6, 0.1, 0.8],
            [0.9, -0.7, 0.5],
            [0.3, 0.3, 0.3],
        ];
        let error = [[0.7, -0.7], [-0.2, 0.4]];
        let w = Tensor::<2>::from_data(weights, &device).require_grad();
        let z = Tensor::<2>::from_data(inputs, &device).matmul(w.clone().transpose());
        let h = relu(z).reshape([2, 4, 1, 1, 1]);
        let e = Tensor::<2>::from_data(error, &device.clone().inner());
        let feedback = Feedback::default();
        let loss = feedback.loss(Seed(4), &e, &[h]).unwrap();
        let found: Vec<f32> = w
            .grad(&loss.backward())
            .unwrap()
            .into_data()
            .try_into_vec()
            .unwrap();
        let b: Vec<f32> = way(Seed(4), 0, [2, 4], &Device::flex())
            .into_data()
            .try_into_vec()
            .unwrap();
        assert!(b.iter().all(|v| v.abs() <= 0.5) && b.iter().any(|v| v.abs() > 0.1));
        for row in 0..4 {
            for column in 0..3 {
                let mut expected = 0.0;
                for (x, e) in inputs.iter().zip(error) {
                    let z: f32 = weights[row].iter().zip(x).map(|(w, x)| w * x).sum();
                    let pull = e[0] * b[row] + e[1] * b[4 + row];
                    expected += if z > 0.0 { pull * x[column] } else { 0.0 };
                }
                let difference = (found[row * 3 + column] - expected).abs();
                assert!(difference < 1e-6, "{row} {column}: {difference}");
            }
        }
    }

    #[test]
    fn the_matrices_stay_the_same_and_differ_from_unit_to_unit() {
        let of = |unit| {
            let data = way(Seed(4), unit, [3, 6], &Device::flex()).into_data();
            data.try_into_vec::<f32>().unwrap()
        };
        assert_eq!(of(1), of(1));
        assert_ne!(of(1), of(2));
    }
}
