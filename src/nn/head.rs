//! Heads: what turns the features of a block into an age or a class.
//!
//! Each block is trained on the answer of its own head. A linear head would force early blocks to give ages away at
//! once and lose what later blocks need, so early blocks have a small convolutional network of their own (Belilovsky
//! et al. 2020; Wang et al. 2021), the last one the published dense layers.

use burn::module::Module;
use burn::tensor::{Device, Tensor, activation::relu};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::conv3d::{Conv3d, Conv3dShape, Extent};
use super::dropout::dropout;
use super::group_norm::GroupNorm;
use super::linear::Linear;
use super::pass::Pass;
use super::pool3d::{average_pool_to, global_average};
use super::weight::{Weight, WeightForm};

/// Longest side of a volume that the convolutions of a head see, in voxels; images are seen as they are.
const LONGEST_SIDE: usize = 14;

/// The designs of heads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HeadKind {
    /// Global average, then one linear layer.
    GapLinear,
    /// Global average, a dense layer with ReLU and dropout, one linear layer: the published head.
    GapMlp,
    /// Strided convolutions, then as above: for blocks that are not the last.
    ConvGapMlp,
}

/// How features become one number a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pooling {
    /// By their mean.
    Average,
    /// By taking the first token, the class token of a transformer.
    FirstToken,
}

/// What a head is made from.
#[derive(Clone, Copy, Debug)]
pub struct HeadShape {
    /// Design.
    pub kind: HeadKind,
    /// Channels of the features.
    pub channels: usize,
    /// Blocks that follow; a convolutional head has one convolution for each, at most two.
    pub remaining_blocks: usize,
    /// Width of the dense layer of [`HeadKind::GapMlp`].
    pub hidden: usize,
    /// What its convolutions span.
    pub extent: Extent,
    /// How features become one number a channel.
    pub pooling: Pooling,
    /// Width of the dense layer of [`HeadKind::ConvGapMlp`].
    pub conv_hidden: usize,
    /// Dropout before the last layer of [`HeadKind::GapMlp`].
    pub dropout: f64,
    /// Numbers that the head says.
    pub n_outputs: usize,
}

/// The head of one block.
#[derive(Module, Debug)]
pub struct Head {
    convolutions: Vec<HeadConvolution>,
    /// Features with longer sides are averaged before they are convolved.
    longest_side: Option<usize>,
    first_token: bool,
    hidden: Option<Linear>,
    dropout: f64,
    output: Linear,
}

/// 3×3×3 or 3×3 convolution of stride 2 that doubles the channels, group normalization, ReLU.
#[derive(Module, Debug)]
struct HeadConvolution {
    convolution: Conv3d,
    norm: GroupNorm,
}

impl Head {
    /// Draws the weights, layer after layer, from `rng`. The output starts near 0, the mean training age.
    pub fn new(shape: HeadShape, form: WeightForm, rng: &mut ChaCha8Rng, device: &Device) -> Self {
        let mut channels = shape.channels;
        let n_convolutions = match shape.kind {
            HeadKind::ConvGapMlp => shape.remaining_blocks.clamp(1, 2),
            HeadKind::GapLinear | HeadKind::GapMlp => 0,
        };
        let mut convolutions = Vec::with_capacity(n_convolutions);
        for _ in 0..n_convolutions {
            convolutions.push(HeadConvolution::new(
                (shape.extent, channels),
                form,
                rng,
                device,
            ));
            channels *= 2;
        }
        let (hidden_width, dropout) = match shape.kind {
            HeadKind::GapLinear => (None, 0.0),
            HeadKind::GapMlp => (Some(shape.hidden), shape.dropout),
            HeadKind::ConvGapMlp => (Some(shape.conv_hidden), 0.0),
        };
        let hidden = hidden_width.map(|width| Linear::new(channels, width, form, rng, device));
        let width = hidden_width.unwrap_or(channels);
        let output = Linear::new(width, shape.n_outputs, form, rng, device);
        let longest_side = match (shape.extent, convolutions.is_empty()) {
            (Extent::Volume, false) => Some(LONGEST_SIDE),
            (Extent::Volume, true) | (Extent::Image, _) => None,
        };
        Self {
            convolutions,
            longest_side,
            first_token: shape.pooling == Pooling::FirstToken,
            hidden,
            dropout,
            output,
        }
    }

    /// Says what it was trained for, such as the standardized age (see [`crate::engine::target`]).
    ///
    /// # Shapes
    /// `[batch, channels, x, y, z]` → `[batch, n_outputs]`.
    pub fn forward(&self, features: Tensor<5>, pass: &mut Pass) -> Tensor<2> {
        let mut features = features;
        if let Some(longest) = self.longest_side {
            features = average_pool_to(features, longest);
        }
        for stage in &self.convolutions {
            features = relu(stage.norm.forward(stage.convolution.forward(features)));
        }
        let mut pooled = if self.first_token {
            first_token(features)
        } else {
            global_average(features)
        };
        if let Some(hidden) = &self.hidden {
            pooled = dropout(relu(hidden.forward(pooled)), self.dropout, pass);
        }
        self.output.forward(pooled)
    }

    /// All weight matrices, from the input on.
    pub fn weights(&self) -> Vec<&Weight> {
        let convolutions = self
            .convolutions
            .iter()
            .map(|stage| &stage.convolution.weight);
        let dense = self
            .hidden
            .iter()
            .chain([&self.output])
            .map(|layer| &layer.weight);
        convolutions.chain(dense).collect()
    }

    /// The same function with dense weights.
    pub fn fold(&self) -> Self {
        let fold = |stage: &HeadConvolution| HeadConvolution {
            convolution: stage.convolution.fold(),
            norm: stage.norm.clone(),
        };
        Self {
            convolutions: self.convolutions.iter().map(fold).collect(),
            longest_side: self.longest_side,
            first_token: self.first_token,
            hidden: self.hidden.as_ref().map(Linear::fold),
            dropout: self.dropout,
            output: self.output.fold(),
        }
    }
}

/// # Shapes
/// `[batch, channels, 1, 1, tokens]` → `[batch, channels]`.
fn first_token(features: Tensor<5>) -> Tensor<2> {
    let [batch, channels, ..] = features.dims();
    features.slice_dim(4, 0..1).reshape([batch, channels])
}

impl HeadConvolution {
    fn new(
        (extent, channels): (Extent, usize),
        form: WeightForm,
        rng: &mut ChaCha8Rng,
        device: &Device,
    ) -> Self {
        let out_channels = 2 * channels;
        let shape = Conv3dShape::even(extent, [channels, out_channels], 3, 2, 1);
        Self {
            convolution: Conv3d::new(shape, form, rng, device),
            norm: GroupNorm::new(out_channels, 8, device),
        }
    }
}
