//! Layer normalization (Ba et al. 2016, arXiv 1607.06450) over the channels of each token.

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};

use super::token_ops::layer_norm;

/// Normalizes the last axis, then scales and shifts it.
#[derive(Module, Debug)]
pub struct LayerNorm {
    /// `[channels]`.
    gamma: Param<Tensor<1>>,
    /// `[channels]`.
    beta: Param<Tensor<1>>,
    epsilon: f64,
}

impl LayerNorm {
    /// With the ε of vision transformers, 1e-6.
    pub fn new(channels: usize, device: &Device) -> Self {
        Self {
            gamma: Param::from_tensor(Tensor::ones([channels], device)),
            beta: Param::from_tensor(Tensor::zeros([channels], device)),
            epsilon: 1e-6,
        }
    }

    /// # Shapes
    /// `[rows, channels]`, unchanged.
    pub fn forward(&self, input: Tensor<2>) -> Tensor<2> {
        layer_norm(input, [self.gamma.val(), self.beta.val()], self.epsilon)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_row_has_mean_0_and_variance_1_and_gradients_flow() {
        let device = Device::flex().autodiff();
        let rows = Tensor::<2>::from_floats([[1.0, 2.0, 6.0, 7.0], [-8.0, 0.0, 8.0, 4.0]], &device);
        let norm = LayerNorm::new(4, &device);
        let rows = rows.require_grad();
        let output = norm.forward(rows.clone());
        for row in output.to_data().try_to_vec::<f32>().expect("f32").chunks(4) {
            let mean = row.iter().sum::<f32>() / 4.0;
            let variance = row.iter().map(|v| v * v).sum::<f32>() / 4.0;
            // ε is 1e-6 against variances of some ten.
            assert!(
                mean.abs() < 1e-6 && (variance - 1.0).abs() < 1e-5,
                "{row:?}"
            );
        }
        let gradients = output.powi_scalar(3).sum().backward();
        assert!(rows.grad(&gradients).is_some());
        assert!(norm.gamma.val().grad(&gradients).is_some());
    }
}
