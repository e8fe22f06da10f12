//! The parts of vision transformers (Dosovitskiy et al., ICLR 2021, arXiv 2010.11929): patch embedding and encoder layers.
//!
//! Tokens travel as `[batch, channels, 1, 1, tokens]`, the class token first, so that blocks hand them on as they hand on
//! images. Normalization comes before attention and MLP. q, k, v and the output are four matrices, each factorized by
//! itself where weights are. All matrices start with a standard deviation of 0.02, as is usual: the 2/outputs of the method
//! would make attention logits several times as large, and no normalization hides it.

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor, TensorData};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution as _, StandardNormal};

use crate::nn::conv3d::{Conv3d, Conv3dShape, Extent};
use crate::nn::layer::Layer;
use crate::nn::layer_norm::LayerNorm;
use crate::nn::linear::Linear;
use crate::nn::pass::Pass;
use crate::nn::token_ops::{attend, gelu};
use crate::nn::weight::WeightForm;

/// Standard deviation of all weights at the start.
const INITIAL_SD: f64 = 0.02;
/// Width of the MLP, in widths of the tokens.
const MLP_WIDTHS: usize = 4;

/// What a transformer's parts are made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransformerShape {
    /// Channels of a token.
    pub width: usize,
    /// Heads of the attention; they divide the width.
    pub heads: usize,
    /// Side of a patch, pixels.
    pub patch: usize,
    /// Side of the image, pixels.
    pub side: usize,
}

/// Cuts an image into patches, each of which becomes a token.
#[derive(Module, Debug)]
pub struct PatchEmbedding {
    projection: Conv3d,
    /// `[width]`.
    class_token: Param<Tensor<1>>,
    /// `[width, tokens]`.
    position: Param<Tensor<2>>,
}

/// Attention and MLP, each around its shortcut.
#[derive(Module, Debug)]
pub struct EncoderLayer {
    before_attention: LayerNorm,
    query: Linear,
    key: Linear,
    value: Linear,
    output: Linear,
    before_mlp: LayerNorm,
    widen: Linear,
    narrow: Linear,
    /// Of the last layer.
    last: Option<LayerNorm>,
    heads: usize,
}

impl TransformerShape {
    fn n_patches(&self) -> usize {
        (self.side / self.patch).pow(2)
    }
}

impl PatchEmbedding {
    /// Draws projection and positions from `rng`; the class token starts at 0. `in_channels` are those of the image.
    pub fn new(
        shape: TransformerShape,
        in_channels: usize,
        form: WeightForm,
        rng: &mut ChaCha8Rng,
        device: &Device,
    ) -> Self {
        let TransformerShape { width, patch, .. } = shape;
        let of_patch = Conv3dShape::even(Extent::Image, [in_channels, width], patch, patch, 0);
        let projection = Conv3d::with_sd(of_patch, INITIAL_SD, form, rng, device);
        let n_tokens = 1 + shape.n_patches();
        let draw = |_| {
            let z: f64 = StandardNormal.sample(rng);
            (INITIAL_SD * z) as f32
        };
        let position: Vec<f32> = (0..width * n_tokens).map(draw).collect();
        let position = TensorData::new(position, [width, n_tokens]);
        Self {
            projection,
            class_token: Param::from_tensor(Tensor::zeros([width], device)),
            position: Param::from_data(position, device),
        }
    }

    /// # Shapes
    /// `[batch, in, 1, side, side]` → `[batch, width, 1, 1, 1 + patches]`.
    pub fn forward(&self, input: Tensor<5>, pass: &mut Pass) -> Tensor<5> {
        pass.see(&self.projection, &input);
        let patches = self.projection.forward(input);
        let [batch, width, _, y, x] = patches.dims();
        let class = self
            .class_token
            .val()
            .reshape([1, width, 1])
            .expand([batch, width, 1]);
        let tokens = Tensor::cat(vec![class, patches.reshape([batch, width, y * x])], 2);
        let placed = tokens + self.position.val().unsqueeze_dim::<3>(0);
        placed.reshape([batch, width, 1, 1, 1 + y * x])
    }

    /// The projection.
    pub fn layers(&self) -> Vec<Layer<'_>> {
        vec![Layer::Convolution(&self.projection)]
    }

    /// The same function with dense weights.
    pub fn fold(&self) -> Self {
        Self {
            projection: self.projection.fold(),
            ..self.clone()
        }
    }
}

impl EncoderLayer {
    /// Draws the weights from `rng`; the last layer of a network normalizes its output.
    pub fn new(
        shape: TransformerShape,
        is_last: bool,
        form: WeightForm,
        rng: &mut ChaCha8Rng,
        device: &Device,
    ) -> Self {
        let TransformerShape { width, heads, .. } = shape;
        let wide = MLP_WIDTHS * width;
        let mut linear = |from, to| Linear::with_sd([from, to], INITIAL_SD, form, rng, device);
        Self {
            before_attention: LayerNorm::new(width, device),
            query: linear(width, width),
            key: linear(width, width),
            value: linear(width, width),
            output: linear(width, width),
            before_mlp: LayerNorm::new(width, device),
            widen: linear(width, wide),
            narrow: linear(wide, width),
            last: is_last.then(|| LayerNorm::new(width, device)),
            heads,
        }
    }

    /// # Shapes
    /// `[batch, width, 1, 1, tokens]`, unchanged.
    pub fn forward(&self, input: Tensor<5>, pass: &mut Pass) -> Tensor<5> {
        let [batch, width, _, _, tokens] = input.dims();
        // What the layer before has handed on lies in memory by tokens: nothing moves.
        let by_token = input.permute([0, 4, 2, 3, 1]);
        let mut rows = by_token.reshape([batch * tokens, width]);
        let normalized = self.before_attention.forward(rows.clone());
        rows = rows + self.attention(&normalized, batch, pass);
        let normalized = self.before_mlp.forward(rows.clone());
        pass.see_linear(&self.widen, &normalized);
        let wide = gelu(self.widen.forward(normalized));
        pass.see_linear(&self.narrow, &wide);
        rows = rows + self.narrow.forward(wide);
        if let Some(norm) = &self.last {
            rows = norm.forward(rows);
        }
        let by_token = rows.reshape([batch, tokens, 1, 1, width]);
        by_token.permute([0, 4, 2, 3, 1])
    }

    /// # Shapes
    /// `[batch·tokens, width]`, unchanged.
    fn attention(&self, rows: &Tensor<2>, batch: usize, pass: &mut Pass) -> Tensor<2> {
        let qkv = [&self.query, &self.key, &self.value].map(|linear| {
            pass.see_linear(linear, rows);
            linear.forward(rows.clone())
        });
        let attended = attend(qkv, batch, self.heads);
        pass.see_linear(&self.output, &attended);
        self.output.forward(attended)
    }

    fn linears(&self) -> [&Linear; 6] {
        [
            &self.query,
            &self.key,
            &self.value,
            &self.output,
            &self.widen,
            &self.narrow,
        ]
    }

    /// All layers with a weight matrix, from the input on.
    pub fn layers(&self) -> Vec<Layer<'_>> {
        self.linears().map(Layer::Linear).into()
    }

    /// The same function with dense weights.
    pub fn fold(&self) -> Self {
        let [query, key, value, output, widen, narrow] = self.linears().map(Linear::fold);
        Self {
            query,
            key,
            value,
            output,
            widen,
            narrow,
            ..self.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::seed::{Purpose, Seed};

    const SHAPE: TransformerShape = TransformerShape {
        width: 6,
        heads: 2,
        patch: 4,
        side: 8,
    };

    fn tokens(device: &Device) -> Tensor<5> {
        let values: Vec<f32> = (0..2 * 6 * 5)
            .map(|i| (i * 7919 % 101) as f32 / 50.0 - 1.0)
            .collect();
        Tensor::from_data(TensorData::new(values, [2, 6, 1, 1, 5]), device)
    }

    #[test]
    fn an_image_becomes_a_class_token_and_one_token_a_patch() {
        let device = Device::flex();
        let mut rng = Seed(1).stream(Purpose::Initialization, &[0]);
        let embedding = PatchEmbedding::new(SHAPE, 3, WeightForm::Eigen, &mut rng, &device);
        let image = Tensor::<5>::ones([2, 3, 1, 8, 8], &device);
        let embedded = embedding.forward(image.clone(), &mut Pass::Inference);
        assert_eq!(embedded.dims(), [2, 6, 1, 1, 5]);
        // The class token starts at 0, so that its place alone is left.
        let first: Vec<f32> = embedded
            .slice_dim(4, 0..1)
            .slice_dim(0, 0..1)
            .into_data()
            .try_into_vec()
            .unwrap();
        let place: Vec<f32> = embedding
            .position
            .val()
            .slice_dim(1, 0..1)
            .into_data()
            .try_into_vec()
            .unwrap();
        assert_eq!(first, place);
        let folded = embedding
            .fold()
            .forward(image.clone(), &mut Pass::Inference)
            .into_data();
        folded.assert_eq(
            &embedding.forward(image, &mut Pass::Inference).into_data(),
            true,
        );
    }

    #[test]
    fn a_layer_does_not_care_for_the_order_of_tokens_and_mixes_them_all() {
        let device = Device::flex();
        let mut rng = Seed(1).stream(Purpose::Initialization, &[0]);
        let layer = EncoderLayer::new(SHAPE, true, WeightForm::Dense, &mut rng, &device);
        let flipped = layer
            .forward(tokens(&device).flip([4]), &mut Pass::Inference)
            .flip([4]);
        let apart: f32 = (layer.forward(tokens(&device), &mut Pass::Inference) - flipped)
            .abs()
            .max()
            .into_scalar();
        // Sums over five tokens in another order.
        assert!(apart < 1e-5, "{apart}");
        let device = device.autodiff();
        let mut rng = Seed(1).stream(Purpose::Initialization, &[0]);
        let layer = EncoderLayer::new(SHAPE, false, WeightForm::Dense, &mut rng, &device);
        let input = tokens(&device).require_grad();
        let first = layer
            .forward(input.clone(), &mut Pass::Inference)
            .slice_dim(4, 0..1)
            .slice_dim(0, 0..1);
        let gradient = input.grad(&first.square().sum().backward()).unwrap();
        let of_tokens = gradient
            .abs()
            .sum_dim(1)
            .into_data()
            .try_into_vec::<f32>()
            .unwrap();
        assert!(of_tokens[..5].iter().all(|g| *g > 0.0), "{of_tokens:?}");
        // Images of a batch have nothing to do with each other.
        assert!(of_tokens[5..].iter().all(|g| *g == 0.0), "{of_tokens:?}");
    }
}
