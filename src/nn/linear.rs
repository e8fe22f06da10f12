//! Fully connected layer with dense or eigen weights.

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};
use rand_chacha::ChaCha8Rng;

use super::linear_op::linear;
use super::weight::{InitialMatrix, Weight, WeightForm};

/// y = W·x + b.
#[derive(Module, Debug)]
pub struct Linear {
    /// `[outputs, inputs]`.
    pub weight: Weight,
    /// `[outputs]`.
    bias: Param<Tensor<1>>,
}

impl Linear {
    /// Draws W with variance 2/inputs (our deviation from the method's 2/outputs, which would start a head of one
    /// output at a standard deviation of √2); the bias starts at 0.
    pub fn new(
        inputs: usize,
        outputs: usize,
        form: WeightForm,
        rng: &mut ChaCha8Rng,
        device: &Device,
    ) -> Self {
        Self::with_sd(
            [inputs, outputs],
            (2.0 / inputs as f64).sqrt(),
            form,
            rng,
            device,
        )
    }

    /// Draws W, `[outputs, inputs]`, with a standard deviation; the bias starts at 0.
    pub fn with_sd(
        [inputs, outputs]: [usize; 2],
        sd: f64,
        form: WeightForm,
        rng: &mut ChaCha8Rng,
        device: &Device,
    ) -> Self {
        Self {
            weight: InitialMatrix::gaussian(outputs, inputs, sd, rng).into_weight(form, device),
            bias: Param::from_tensor(Tensor::zeros([outputs], device)),
        }
    }

    /// # Shapes
    /// `[batch, inputs]` → `[batch, outputs]`.
    pub fn forward(&self, input: Tensor<2>) -> Tensor<2> {
        linear(input, self.weight.compose(), self.bias.val())
    }

    /// The same function with dense weights.
    pub fn fold(&self) -> Self {
        Self {
            weight: self.weight.fold(),
            ..self.clone()
        }
    }
}
