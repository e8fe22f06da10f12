//! Batch normalization with explicit running statistics.
//!
//! The framework's own layer keeps its latest statistics pending per thread; here a training pass returns them and
//! the owner of the block takes them over after its update, so a checkpoint holds what it should.

use burn::module::{Module, Param, ParamId};
use burn::tensor::{Device, Tensor};

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

    /// # Shapes
    /// `[batch, channels, x, y, z]`, unchanged.
    pub fn forward(&self, input: Tensor<5>, pass: &mut Pass) -> Tensor<5> {
        let dims = input.dims();
        let [batch, channels, ..] = dims;
        let flat = input.reshape([batch, channels, dims[2..].iter().product()]);
        let wide = |t: Tensor<1>| t.reshape([1, channels, 1]);
        let (centred, variance) = match pass {
            Pass::Inference => {
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
