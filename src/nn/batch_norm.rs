//! Batch normalization with explicit running statistics.
//!
//! The framework's own layer keeps its latest statistics pending per thread; here a training pass returns them and
//! the owner of the block takes them over after its update, so a checkpoint holds what it should.

use burn::module::{Module, Param, ParamId};
use burn::tensor::{Device, Tensor, activation::relu};

use super::batch_norm_op::{is_ours, is_ours_untracked, relu_batch_norm, relu_normalize};
use super::norm_relu_op::{batch_norm_then, normalize_then};
use super::pass::{BatchStatistics, Pass};

/// Normalizes each channel over batch and voxels, then scales and shifts it.
#[derive(Module, Debug)]
pub struct BatchNorm {
    /// `[channels]`.
    gamma: Param<Tensor<1>>,
    /// `[channels]`.
    beta: Param<Tensor<1>>,
    /// `[channels]`, not trained.
    running_mean: Param<Tensor<1>>,
    /// `[channels]`, not trained.
    running_variance: Param<Tensor<1>>,
    momentum: f64,
    epsilon: f64,
}

impl BatchNorm {
    /// `momentum` is the share of the old running statistics that each step keeps.
    pub fn new(channels: usize, momentum: f64, epsilon: f64, device: &Device) -> Self {
        let fixed = |t: Tensor<1>| Param::initialized(ParamId::new(), t);
        Self {
            gamma: Param::from_tensor(Tensor::ones([channels], device)),
            beta: Param::from_tensor(Tensor::zeros([channels], device)),
            running_mean: fixed(Tensor::zeros([channels], device)),
            running_variance: fixed(Tensor::ones([channels], device)),
            momentum,
            epsilon,
        }
    }

    /// [`Self::forward`] of the rectified input, at once where that is faster.
    ///
    /// # Shapes
    /// `[batch, channels, x, y, z]`, unchanged.
    pub fn forward_relu(&self, input: Tensor<5>, pass: &mut Pass) -> Tensor<5> {
        match pass {
            Pass::Training(training) if training.sees_whole_batch() && is_ours(&input) => {
                let affine = [self.gamma.val(), self.beta.val()];
                let (output, statistics) = relu_batch_norm(input, affine, self.epsilon);
                training.note_statistics(statistics);
                output
            }
            Pass::Inference if is_ours_untracked(&input) => {
                let running = (self.running_mean.val(), self.running_variance.val());
                relu_normalize(
                    input,
                    running,
                    [self.gamma.val(), self.beta.val()],
                    self.epsilon,
                )
            }
            Pass::Inference | Pass::Observing(_) | Pass::Training(_) => {
                self.forward(relu(input), pass)
            }
        }
    }

    /// [`Self::forward`], with a shortcut added to it, if there is one, and then rectified, if `rectifies`; at once where
    /// that is faster.
    ///
    /// # Shapes
    /// `[batch, channels, x, y, z]`, unchanged; the shortcut has the same.
    pub fn forward_then(
        &self,
        input: Tensor<5>,
        shortcut: Option<Tensor<5>>,
        rectifies: bool,
        pass: &mut Pass,
    ) -> Tensor<5> {
        let affine = || [self.gamma.val(), self.beta.val()];
        match pass {
            Pass::Training(training) if training.sees_whole_batch() && is_ours(&input) => {
                let (output, statistics) =
                    batch_norm_then(input, affine(), self.epsilon, shortcut, rectifies);
                training.note_statistics(statistics);
                output
            }
            Pass::Inference if is_ours_untracked(&input) => {
                let running = (self.running_mean.val(), self.running_variance.val());
                normalize_then(input, running, affine(), self.epsilon, shortcut, rectifies)
            }
            Pass::Inference | Pass::Observing(_) | Pass::Training(_) => {
                let mut output = self.forward(input, pass);
                if let Some(shortcut) = shortcut {
                    output = output + shortcut;
                }
                if rectifies { relu(output) } else { output }
            }
        }
    }

    /// # Shapes
    /// `[batch, channels, x, y, z]`, unchanged.
    pub fn forward(&self, input: Tensor<5>, pass: &mut Pass) -> Tensor<5> {
        let dims = input.dims();
        let [batch, channels, ..] = dims;
        let flat = input.reshape([batch, channels, dims[2..].iter().product()]);
        let wide = |t: Tensor<1>| t.reshape([1, channels, 1]);
        let (centred, variance) = match pass {
            Pass::Inference | Pass::Observing(_) => {
                let centred = flat - wide(self.running_mean.val());
                (centred, wide(self.running_variance.val()))
            }
            Pass::Training(training) => {
                let mean_of = |t: Tensor<3>| t.mean_dim(2).mean_dim(0).reshape([channels]);
                let mean = training.mean_over_batch(mean_of(flat.clone()));
                let centred = flat - wide(mean.clone());
                let variance = training.mean_over_batch(mean_of(centred.clone().square()));
                training.note_statistics((mean.inner(), variance.clone().inner()));
                (centred, wide(variance))
            }
        };
        let scale = wide(self.gamma.val()) / (variance + self.epsilon).sqrt();
        (centred * scale + wide(self.beta.val())).reshape(dims)
    }

    /// Takes over the statistics of a training pass.
    pub fn absorb(mut self, (mean, variance): BatchStatistics) -> Self {
        let momentum = self.momentum;
        let blend = |running: Param<Tensor<1>>, batch: Tensor<1>| {
            running.map(|old| Tensor::from_inner(old.inner() * momentum + batch * (1.0 - momentum)))
        };
        self.running_mean = blend(self.running_mean, mean);
        self.running_variance = blend(self.running_variance, variance);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::seed::Seed;
    use crate::nn::pass::TrainingPass;
    use burn::tensor::TensorData;

    /// Largest difference relative to the largest value.
    fn difference<const D: usize>(a: Tensor<D>, b: Tensor<D>) -> f32 {
        let largest: f32 = b.clone().abs().max().into_scalar();
        let apart: f32 = (a - b).abs().max().into_scalar();
        apart / largest
    }

    #[test]
    fn inference_by_the_kernel_equals_the_separate_operations() {
        let device = Device::flex();
        let dims = [2, 3, 5, 3, 7];
        let values: Vec<f32> = (0..dims.iter().product())
            .map(|i: usize| ((i * 7919) % 101) as f32 / 30.0 - 1.5)
            .collect();
        let input = Tensor::<5>::from_data(TensorData::new(values, dims), &device);
        let of_channels = |numbers: [f32; 3]| Tensor::<1>::from_data(numbers, &device);
        let mut norm = BatchNorm::new(3, 0.0, 1e-3, &device);
        norm = norm.absorb((of_channels([0.3, -0.1, 0.7]), of_channels([0.5, 2.0, 0.1])));
        norm.gamma = norm.gamma.map(|_| of_channels([1.5, -0.5, 1.0]));
        norm.beta = norm.beta.map(|_| of_channels([0.1, 0.2, -0.3]));
        let at_once = norm.forward_relu(input.clone(), &mut Pass::Inference);
        let separate = norm.forward(relu(input), &mut Pass::Inference);
        assert!(difference(at_once, separate) < 1e-6);
    }

    #[test]
    fn what_follows_the_normalization_at_once_equals_the_separate_operations() {
        let device = Device::flex().autodiff();
        let dims = [3, 4, 1, 5, 7];
        let values = |salt: usize, device: &Device| {
            let numbers = (0..dims.iter().product::<usize>())
                .map(|i| ((i * 7919 + 31 * salt) % 101) as f32 / 30.0 - 1.5);
            let data = TensorData::new(numbers.collect::<Vec<f32>>(), dims);
            Tensor::<5>::from_data(data, device)
        };
        let of_channels =
            |numbers: [f32; 4], device: &Device| Tensor::<1>::from_data(numbers, device);
        let mut norm = BatchNorm::new(4, 0.9, 1e-3, &device);
        norm.gamma = norm
            .gamma
            .map(|_| of_channels([1.5, -0.5, 1.0, 0.7], &device).require_grad());
        norm.beta = norm
            .beta
            .map(|_| of_channels([0.1, 0.2, -0.3, 0.0], &device).require_grad());
        for (added, rectifies) in [(false, false), (false, true), (true, false), (true, true)] {
            let run = |at_once: bool| {
                let [input, shortcut] = [1, 2].map(|salt| values(salt, &device).require_grad());
                let mut pass = Pass::Training(TrainingPass::new(Seed(1), 0, [0, 1, 2].into()));
                let given = added.then(|| shortcut.clone());
                let output = if at_once {
                    norm.forward_then(input.clone(), given, rectifies, &mut pass)
                } else {
                    let mut output = norm.forward(input.clone(), &mut pass);
                    if let Some(shortcut) = given {
                        output = output + shortcut;
                    }
                    if rectifies { relu(output) } else { output }
                };
                let gradients = output.clone().powi_scalar(3).sum().backward();
                let of_affine = [&norm.gamma, &norm.beta]
                    .map(|parameter| parameter.val().grad(&gradients).expect("tracked"));
                let of_shortcut = shortcut.grad(&gradients);
                assert_eq!(of_shortcut.is_some(), added);
                let (mean, variance) = pass.into_statistics().remove(0);
                let of_input = input.grad(&gradients).expect("tracked");
                let wide = [output.inner(), of_input].into_iter().chain(of_shortcut);
                let narrow = of_affine.into_iter().chain([mean, variance]);
                (wide.collect::<Vec<_>>(), narrow.collect::<Vec<_>>())
            };
            let (ours, theirs) = (run(true), run(false));
            for (a, b) in ours.0.into_iter().zip(theirs.0) {
                assert!(difference(a, b) < 1e-5, "{added} {rectifies}");
            }
            for (a, b) in ours.1.into_iter().zip(theirs.1) {
                assert!(difference(a, b) < 1e-5, "{added} {rectifies}");
            }
            // For an answer, by the running statistics.
            let plain = Device::flex();
            let [input, shortcut] = [1, 2].map(|salt| values(salt, &plain));
            let given = added.then(|| shortcut.clone());
            let at_once = norm.forward_then(input.clone(), given, rectifies, &mut Pass::Inference);
            let valid = norm.valid();
            let mut output = valid.forward(input, &mut Pass::Inference);
            if added {
                output = output + shortcut;
            }
            let separate = if rectifies { relu(output) } else { output };
            assert!(difference(at_once, separate) < 1e-6);
        }
    }

    #[test]
    fn rectifying_and_normalizing_at_once_equals_the_separate_operations() {
        let device = Device::flex().autodiff();
        let dims = [3, 4, 5, 3, 7];
        let values: Vec<f32> = (0..dims.iter().product())
            .map(|i: usize| ((i * 7919) % 101) as f32 / 30.0 - 1.5)
            .collect();
        let norm = BatchNorm::new(4, 0.9, 1e-3, &device);
        let run = |forward: &dyn Fn(Tensor<5>, &mut Pass) -> Tensor<5>| {
            let data = TensorData::new(values.clone(), dims);
            let input = Tensor::<5>::from_data(data, &device).require_grad();
            let mut pass = Pass::Training(TrainingPass::new(Seed(1), 0, [0, 1, 2].into()));
            let output = forward(input.clone(), &mut pass);
            // Cubed, so that gradients of the normalized values are not all alike.
            let gradients = output.clone().powi_scalar(3).sum().backward();
            let (mean, variance) = pass.into_statistics().remove(0);
            let of_input = input.grad(&gradients).expect("tracked");
            let of_affine = [&norm.gamma, &norm.beta]
                .map(|parameter| parameter.val().grad(&gradients).expect("tracked"));
            (output.inner(), of_input, of_affine, [mean, variance])
        };
        let (output, of_input, of_affine, statistics) =
            run(&|input, pass| norm.forward_relu(input, pass));
        let (output2, of_input2, of_affine2, statistics2) =
            run(&|input, pass| norm.forward(relu(input), pass));
        assert!(difference(output, output2) < 1e-6);
        // Differences of numbers ten times as large.
        assert!(difference(of_input, of_input2) < 1e-5);
        for (a, b) in of_affine.into_iter().zip(of_affine2) {
            assert!(difference(a, b) < 1e-5);
        }
        for (a, b) in statistics.into_iter().zip(statistics2) {
            assert!(difference(a, b) < 1e-6);
        }
    }
}
