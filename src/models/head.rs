//! Heads: what turns the features of a block into an age or a class.
//!
//! Each block is trained on the answer of its own head. A linear head would force early blocks to give ages away at
//! once and lose what later blocks need, so early blocks have a small convolutional network of their own (Belilovsky
//! et al. 2020; Wang et al. 2021), or one made like the rest of the trunk (Ma et al. 2024); the last one has the published
//! dense layers.

use burn::module::Module;
use burn::tensor::{Device, Tensor, activation::relu};
use rand_chacha::ChaCha8Rng;

mod branches;
mod drop_cov;
mod kind;
mod label_code;
mod latent;
mod mlp_sr;

use super::brain_cnn::BatchNormConfig;
use super::parameters::{self, Graph};
use super::unit::Unit;
use crate::nn::contrast::Contrast;
use crate::nn::conv3d::{Conv3d, Conv3dShape, Extent};
use crate::nn::dropout::dropout;
use crate::nn::group_norm::GroupNorm;
use crate::nn::layer::Layer;
use crate::nn::linear::Linear;
use crate::nn::pass::{BatchStatistics, Pass};
use crate::nn::pool3d::{average_pool_to, global_average};
use crate::nn::reconstruction::Reconstruction;
use crate::nn::similarity::SimilarityBranch;
use crate::nn::weight::WeightForm;
pub use branches::Branches;
use drop_cov::DropCov;
pub use kind::HeadKind;
pub(super) use kind::copied_units;
use label_code::LabelCode;
use latent::Feedback;
use mlp_sr::MlpSr;

/// Longest side of a volume that the convolutions of a head see, in voxels; images are seen as they are.
const LONGEST_SIDE: usize = 14;
/// Channels of a color image.
pub(super) const IMAGE_CHANNELS: usize = 3;

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
    /// Batch normalization of [`HeadKind::MlpSr`] and [`HeadKind::DropCov`].
    pub batch_norm: BatchNormConfig,
    /// Numbers that the head says.
    pub n_outputs: usize,
}

/// The head of one block.
#[derive(Module, Debug)]
pub struct Head {
    /// Channels of the features that it reads.
    channels: usize,
    /// Whether the features are volumes, and no images or tokens.
    reads_volumes: bool,
    /// Of an augmented head, and the trained one of a momentum head.
    pub(super) copies: Vec<Unit>,
    /// Of a momentum head: what the next unit of the trunk was of late. It is not trained, and adds to what the copies give.
    slow: Vec<Unit>,
    /// Of a momentum head: what `slow` keeps of itself at each step.
    decay: Option<f64>,
    convolutions: Vec<HeadConvolution>,
    /// Features with longer sides are averaged before they are convolved.
    longest_side: Option<usize>,
    mlp_sr: Option<MlpSr>,
    drop_cov: Option<DropCov>,
    first_token: bool,
    hidden: Option<Linear>,
    dropout: f64,
    /// None says the pooled features themselves.
    output: Option<Linear>,
    /// Of a latent head, whose output are states.
    feedback: Option<Feedback>,
    /// Of a head that is given a noisy code of the label.
    label_code: Option<LabelCode>,
    /// Of a head that also learns how alike the members of a batch are.
    similarity: Option<SimilarityBranch>,
    /// Of a head that also learns what the network was given.
    reconstruction: Option<Reconstruction>,
    /// Of a head that tells the members of a batch apart; it alone moves the block then.
    contrast: Option<Contrast>,
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
            HeadKind::ConvGapMlp | HeadKind::Momentum { .. } => shape.remaining_blocks.clamp(1, 2),
            HeadKind::GapLinear
            | HeadKind::GapMlp
            | HeadKind::MlpSr
            | HeadKind::DropCov
            | HeadKind::Augmented { .. }
            | HeadKind::Latent { .. } => 0,
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
            HeadKind::GapLinear
            | HeadKind::MlpSr
            | HeadKind::DropCov
            | HeadKind::Augmented { .. }
            | HeadKind::Latent { .. } => (None, 0.0),
            HeadKind::GapMlp => (Some(shape.hidden), shape.dropout),
            HeadKind::ConvGapMlp | HeadKind::Momentum { .. } => (Some(shape.conv_hidden), 0.0),
        };
        let mlp_sr = (shape.kind == HeadKind::MlpSr).then(|| {
            let features = (shape.extent, channels);
            MlpSr::new(features, form, shape.batch_norm, rng, device)
        });
        let drop_cov = (shape.kind == HeadKind::DropCov).then(|| {
            let features = (shape.extent, channels);
            DropCov::new(features, form, shape.batch_norm, rng, device)
        });
        channels = match shape.kind {
            HeadKind::MlpSr => MlpSr::width(shape.extent, channels),
            HeadKind::DropCov => DropCov::width(shape.extent, channels),
            _ => channels,
        };
        let hidden = hidden_width.map(|width| Linear::new(channels, width, form, rng, device));
        let width = hidden_width.unwrap_or(channels);
        let (n_said, states) = match shape.kind {
            HeadKind::Latent { states } => (states, Some(states)),
            _ => (shape.n_outputs, None),
        };
        let output = Linear::new(width, n_said, form, rng, device);
        let feedback = states.map(|states| Feedback::new([states, shape.n_outputs], rng, device));
        let longest_side = match (shape.extent, convolutions.is_empty()) {
            (Extent::Volume, false) => Some(LONGEST_SIDE),
            (Extent::Volume, true) | (Extent::Image, _) => None,
        };
        Self {
            channels: shape.channels,
            reads_volumes: shape.extent == Extent::Volume,
            copies: Vec::new(),
            slow: Vec::new(),
            decay: match shape.kind {
                HeadKind::Momentum { decay } => Some(decay),
                _ => None,
            },
            convolutions,
            longest_side,
            mlp_sr,
            drop_cov,
            first_token: shape.pooling == Pooling::FirstToken,
            hidden,
            dropout,
            output: Some(output),
            feedback,
            label_code: None,
            similarity: None,
            reconstruction: None,
            contrast: None,
        }
    }

    /// The head behind units of its own, which turn features with `channels` channels into what its shape says.
    pub(super) fn behind(self, copies: Vec<Unit>, channels: usize) -> Self {
        Self {
            channels,
            copies,
            ..self
        }
    }

    /// A momentum head beside the unit that follows in the trunk, drawn anew by `next` as it starts; any other head as it is.
    pub(super) fn beside(self, next: impl FnOnce() -> Unit) -> Self {
        let slow = self.decay.map(|_| next().no_grad()).into_iter().collect();
        Self { slow, ..self }
    }

    /// A momentum head a step nearer to the unit that follows; any other head as it is.
    pub(super) fn followed(self, next: Option<&Unit>) -> Self {
        let (Some(next), Some(decay)) = (next, self.decay) else {
            return self;
        };
        let share = 1.0 - decay;
        let slow = self.slow.into_iter();
        Self {
            slow: slow
                .map(|unit| parameters::mixed(unit, next, share, Graph::Cut))
                .collect(),
            ..self
        }
    }

    /// The head of a network whose features say it all, such as the goodness of each label: nothing in it is trained.
    pub(super) fn without_output(self) -> Self {
        Self {
            convolutions: Vec::new(),
            mlp_sr: None,
            drop_cov: None,
            hidden: None,
            output: None,
            feedback: None,
            copies: Vec::new(),
            first_token: false,
            ..self
        }
    }

    /// The head with a part that reads a noisy code of the label.
    pub(super) fn with_label_code(
        self,
        n_outputs: usize,
        form: WeightForm,
        rng: &mut ChaCha8Rng,
        device: &Device,
    ) -> Self {
        let label_code = LabelCode::new((n_outputs, self.channels), form, rng, device);
        Self {
            label_code: Some(label_code),
            ..self
        }
    }

    /// Says what it was trained for, such as the standardized age (see [`crate::engine::target`]).
    ///
    /// # Shapes
    /// `[batch, channels, x, y, z]` → `[batch, n_outputs]`.
    pub fn forward(&self, features: Tensor<5>, pass: &mut Pass) -> Tensor<2> {
        let pooled = self.pooled(features, pass);
        self.said_of(pooled, pass)
    }

    /// The same beside a noisy code of the label, `[batch, n_outputs]`.
    pub(super) fn forward_with_code(
        &self,
        features: Tensor<5>,
        code: Tensor<2>,
        pass: &mut Pass,
    ) -> Tensor<2> {
        let pooled = self.pooled(features, pass);
        let of_both = match &self.label_code {
            Some(label_code) => label_code.forward(pooled, code),
            None => pooled,
        };
        self.said_of(of_both, pass)
    }

    /// Features as a few numbers for each member.
    fn pooled(&self, features: Tensor<5>, pass: &mut Pass) -> Tensor<2> {
        let through = |units: &[Unit], features, pass: &mut Pass| {
            let units = units.iter();
            units.fold(features, |features, unit| unit.forward(features, pass))
        };
        let mut features = if self.slow.is_empty() {
            through(&self.copies, features, pass)
        } else {
            let of_copies = through(&self.copies, features.clone(), pass);
            of_copies + through(&self.slow, features, pass)
        };
        if let Some(mlp_sr) = &self.mlp_sr {
            return mlp_sr.forward(features, pass);
        }
        if let Some(drop_cov) = &self.drop_cov {
            return drop_cov.forward(features, pass);
        }
        if let Some(longest) = self.longest_side {
            features = average_pool_to(features, longest);
        }
        for stage in &self.convolutions {
            features = relu(stage.norm.forward(stage.convolution.forward(features)));
        }
        if self.first_token {
            first_token(features)
        } else {
            global_average(features)
        }
    }

    /// What is said of pooled features.
    fn said_of(&self, mut pooled: Tensor<2>, pass: &mut Pass) -> Tensor<2> {
        if let Some(hidden) = &self.hidden {
            pooled = dropout(relu(hidden.forward(pooled)), self.dropout, pass);
        }
        if let Some(output) = &self.output {
            pooled = output.forward(pooled);
        }
        match &self.feedback {
            Some(feedback) => feedback.forward(pooled),
            None => pooled,
        }
    }

    /// How many normalization layers with running statistics it has.
    pub(super) fn n_statistics(&self) -> usize {
        let units = self.copies.iter().chain(&self.slow);
        let of_copies: usize = units.map(Unit::n_statistics).sum();
        let of_mlp_sr = self.mlp_sr.as_ref().map_or(0, MlpSr::n_statistics);
        of_copies + of_mlp_sr + usize::from(self.drop_cov.is_some())
    }

    /// Takes over the statistics of a training pass.
    pub(super) fn absorb(self, mut statistics: impl Iterator<Item = BatchStatistics>) -> Self {
        let copies = self.copies.into_iter();
        let copies = copies
            .map(|unit| unit.absorb_own(&mut statistics))
            .collect();
        let slow = self.slow.into_iter();
        let slow = slow.map(|unit| unit.absorb_own(&mut statistics)).collect();
        Self {
            copies,
            slow,
            mlp_sr: self.mlp_sr.map(|mlp_sr| mlp_sr.absorb(&mut statistics)),
            drop_cov: self
                .drop_cov
                .map(|drop_cov| drop_cov.absorb(statistics.next())),
            ..self
        }
    }

    /// All trained layers with a weight matrix, from the input on; those of its branches are the last.
    pub fn layers(&self) -> Vec<Layer<'_>> {
        let copies = self.copies.iter().flat_map(Unit::layers);
        let convolutions = self.convolutions.iter();
        let convolutions = convolutions.map(|stage| Layer::Convolution(&stage.convolution));
        let dense = self.hidden.iter().chain(&self.output).map(Layer::Linear);
        let label_code = self.label_code.iter().flat_map(LabelCode::layers);
        let similarity = self.similarity.iter().map(SimilarityBranch::layer);
        let reconstruction = self.reconstruction.iter().flat_map(Reconstruction::layers);
        let contrast = self.contrast.iter().flat_map(Contrast::layers);
        copies
            .chain(convolutions)
            .chain(self.mlp_sr.iter().flat_map(MlpSr::layers))
            .chain(self.drop_cov.iter().map(DropCov::layer))
            .chain(label_code)
            .chain(dense)
            .chain(similarity)
            .chain(reconstruction)
            .chain(contrast)
            .collect()
    }

    /// The same function with dense weights, without what only trains.
    pub fn fold(&self) -> Self {
        let fold = |stage: &HeadConvolution| HeadConvolution {
            convolution: stage.convolution.fold(),
            norm: stage.norm.clone(),
        };
        Self {
            channels: self.channels,
            reads_volumes: self.reads_volumes,
            copies: self.copies.iter().map(Unit::fold).collect(),
            slow: self.slow.iter().map(Unit::fold).collect(),
            decay: self.decay,
            convolutions: self.convolutions.iter().map(fold).collect(),
            longest_side: self.longest_side,
            mlp_sr: self.mlp_sr.as_ref().map(MlpSr::fold),
            drop_cov: self.drop_cov.as_ref().map(DropCov::fold),
            first_token: self.first_token,
            hidden: self.hidden.as_ref().map(Linear::fold),
            dropout: self.dropout,
            output: self.output.as_ref().map(Linear::fold),
            feedback: self.feedback.as_ref().map(Feedback::fold),
            label_code: self.label_code.as_ref().map(LabelCode::fold),
            similarity: None,
            reconstruction: None,
            contrast: None,
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
