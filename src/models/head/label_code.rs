//! What a head makes of a noisy code of the label, beside the pooled features: the part of NoProp's blocks that reads z.
//!
//! Li, Teh & Pascanu (2025, arXiv 2503.24322), figure 5: a dense layer on the code, its output and the features of the image side
//! by side, a dense layer on both.

use burn::module::Module;
use burn::tensor::{Device, Tensor, activation::relu};
use rand_chacha::ChaCha8Rng;

use crate::nn::layer::Layer;
use crate::nn::linear::Linear;
use crate::nn::weight::WeightForm;

/// Pooled features and a code → features of both.
#[derive(Module, Debug)]
pub(super) struct LabelCode {
    of_code: Linear,
    of_both: Linear,
}

impl LabelCode {
    /// For features of `width` numbers and codes of `n_outputs`.
    pub(super) fn new(
        (n_outputs, width): (usize, usize),
        form: WeightForm,
        rng: &mut ChaCha8Rng,
        device: &Device,
    ) -> Self {
        Self {
            of_code: Linear::new(n_outputs, width, form, rng, device),
            of_both: Linear::new(2 * width, width, form, rng, device),
        }
    }

    /// # Shapes
    /// `[batch, width]`, `[batch, n_outputs]` → `[batch, width]`.
    pub(super) fn forward(&self, features: Tensor<2>, code: Tensor<2>) -> Tensor<2> {
        let of_code = relu(self.of_code.forward(code));
        relu(
            self.of_both
                .forward(Tensor::cat(vec![features, of_code], 1)),
        )
    }

    pub(super) fn layers(&self) -> [Layer<'_>; 2] {
        [&self.of_code, &self.of_both].map(Layer::Linear)
    }

    pub(super) fn fold(&self) -> Self {
        Self {
            of_code: self.of_code.fold(),
            of_both: self.of_both.fold(),
        }
    }
}
