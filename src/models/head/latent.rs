//! A head that says in which of some latent states a member is, and what each state answers: block-local learning with
//! probabilistic latent representations.
//!
//! Kappel et al. (arXiv 2305.14974): what a block gives are parameters of a distribution α over latent states, a feedback
//! network turns the label into a message β over the same states, and the block learns from how far α is from the posterior
//! ρ ∝ α·β. With states of a categorical distribution and β(z) = p(y | z) that is the expectation step and the gradient step of
//! −log Σ_z α(z)·p(y | z): the loss of the head's answers, log Σ_z α(z)·p(y | z), and the messages KL(ρ ‖ α) − Σ ρ·log β with
//! ρ held fast have the same gradient, which the test below shows. So the head says these answers, and the ordinary loss does
//! the rest. Of the paper abstract and outline were at hand: its feedback network is a chain through all blocks, here each block
//! has one layer of its own.
//!
//! For heads of one number p(y | z) is a peak at an age of each state, and the answer their mean.

use burn::module::Module;
use burn::tensor::activation::softmax;
use burn::tensor::{Device, Tensor};
use rand_chacha::ChaCha8Rng;

use crate::nn::weight::{InitialMatrix, Weight, WeightForm};

/// Below probabilities, whose logarithm is taken.
const EPSILON: f64 = 1e-9;

/// What each state answers.
#[derive(Module, Debug)]
pub(super) struct Feedback {
    /// `[n_outputs, states]`.
    answers: Weight,
    is_number: bool,
}

impl Feedback {
    pub(super) fn new(
        [states, n_outputs]: [usize; 2],
        rng: &mut ChaCha8Rng,
        device: &Device,
    ) -> Self {
        // States begin about one apart: otherwise all say the same.
        let answers = InitialMatrix::gaussian(n_outputs, states, 1.0, rng);
        Self {
            answers: answers.into_weight(WeightForm::Dense, device),
            is_number: n_outputs == 1,
        }
    }

    /// # Shapes
    /// `[batch, states]`, natural parameters of α → `[batch, n_outputs]`.
    pub(super) fn forward(&self, alpha: Tensor<2>) -> Tensor<2> {
        let alpha = softmax(alpha, 1);
        let answers = self.answers.compose();
        if self.is_number {
            return alpha.matmul(answers.transpose());
        }
        let by_state = softmax(answers, 0);
        (alpha.matmul(by_state.transpose()) + EPSILON).log()
    }

    pub(super) fn fold(&self) -> Self {
        Self {
            answers: self.answers.fold(),
            is_number: self.is_number,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::seed::{Purpose, Seed};
    use burn::tensor::TensorData;
    use burn::tensor::activation::log_softmax;

    fn values(tensor: Tensor<2>) -> Vec<f32> {
        tensor.into_data().try_into_vec().unwrap()
    }

    fn wavy(dims: [usize; 2], speed: f32, device: &Device) -> Tensor<2> {
        let values: Vec<f32> = (0..dims[0] * dims[1])
            .map(|i| (i as f32 * speed).sin())
            .collect();
        Tensor::from_data(TensorData::new(values, dims), device)
    }

    #[test]
    fn the_loss_of_the_answers_moves_block_and_feedback_as_the_messages_do() {
        let device = Device::flex().autodiff();
        let (labels, n_labels, n_states) = ([0, 2, 1, 2], 3, 5);
        let one_hot: Vec<f32> = labels
            .iter()
            .flat_map(|label| (0..n_labels).map(move |k| f32::from(u8::from(k == *label))))
            .collect();
        let one_hot = Tensor::<2>::from_data(TensorData::new(one_hot, [4, n_labels]), &device);

        let mut rng = Seed(1).stream(Purpose::Initialization, &[0]);
        let feedback = Feedback::new([n_states, n_labels], &mut rng, &device);
        let a = wavy([4, n_states], 0.9, &device).require_grad();
        let outputs = feedback.forward(a.clone());
        let loss = -(one_hot.clone() * log_softmax(outputs, 1))
            .sum_dim(1)
            .mean();
        let gradients = loss.backward();
        let f = feedback.answers.compose();
        let by_answers = [a.grad(&gradients).unwrap(), f.grad(&gradients).unwrap()];

        // The messages: b = log p(y | z) of the member's label, ρ ∝ exp(a + b) held fast.
        let (a, f) = (
            Tensor::from_inner(a.inner()).require_grad(),
            Tensor::<2>::from_inner(f.inner()).require_grad(),
        );
        let b = one_hot.matmul(log_softmax(f.clone(), 0));
        let rho = Tensor::<2>::from_inner(softmax(a.clone() + b.clone(), 1).inner());
        let log_alpha = log_softmax(a.clone(), 1);
        let divergence = (rho.clone() * (rho.clone().log() - log_alpha))
            .sum_dim(1)
            .mean();
        let agreement = (rho * b).sum_dim(1).mean();
        let gradients = (divergence - agreement).backward();
        let by_messages = [a.grad(&gradients).unwrap(), f.grad(&gradients).unwrap()];

        for (one, other) in by_answers.into_iter().zip(by_messages) {
            for (one, other) in values(one).into_iter().zip(values(other)) {
                assert!((one - other).abs() < 1e-5, "{one} {other}");
            }
        }
    }

    #[test]
    fn answers_are_shares_that_sum_to_1_and_of_one_number_lie_between_those_of_the_states() {
        let device = Device::flex();
        let mut rng = Seed(2).stream(Purpose::Initialization, &[0]);
        let mut of = |n_outputs| Feedback::new([6, n_outputs], &mut rng, &device);
        let shares = values(of(4).forward(wavy([3, 6], 1.3, &device)).exp());
        for row in shares.chunks(4) {
            assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-4, "{row:?}");
        }
        let number = of(1);
        let ages = values(number.answers.compose());
        let (low, high) = (
            ages.iter().copied().fold(f32::MAX, f32::min),
            ages.iter().copied().fold(f32::MIN, f32::max),
        );
        let said = values(number.forward(wavy([3, 6], 1.3, &device)));
        assert!(
            said.iter().all(|age| (low..=high).contains(age)),
            "{said:?}"
        );
    }
}
