//! Heads: what turns the features of a block into an age or a class.
//!
//! Each block is trained on the answer of its own head. A linear head would force early blocks to give ages away at
//! once and lose what later blocks need, so early blocks have a small convolutional network of their own (Belilovsky
//! et al. 2020; Wang et al. 2021), or one made like the rest of the trunk (Ma et al. 2024); the last one has the published
//! dense layers.

use burn::module::Module;
use burn::tensor::{Device, Tensor, activation::relu};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

mod drop_cov;
mod mlp_sr;

use super::block::Unit;
use super::brain_cnn::BatchNormConfig;
use crate::nn::conv3d::{Conv3d, Conv3dShape, Extent};
use crate::nn::dropout::dropout;
use crate::nn::group_norm::GroupNorm;
use crate::nn::layer::Layer;
use crate::nn::linear::Linear;
use crate::nn::pass::{BatchStatistics, Pass};
use crate::nn::pool3d::{average_pool_to, global_average};
use crate::nn::similarity::SimilarityBranch;
use crate::nn::weight::WeightForm;
use drop_cov::DropCov;
use mlp_sr::MlpSr;

/// Longest side of a volume that the convolutions of a head see, in voxels; images are seen as they are.
const LONGEST_SIDE: usize = 14;
/// How far the depth of augmented heads falls from the first to the last unit that has one, as a share.
const PYRAMID: f64 = 0.5;

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
    /// Averages, 1×1 convolutions and dense layers: for blocks that are not the last (Belilovsky et al., ICML 2020).
    MlpSr,
    /// Covariance pooling with channel dropout, then one linear layer (Wang et al., NeurIPS 2022).
    DropCov,
    /// Units in the shapes of later units of the trunk, with weights of their own, then as [`Self::GapLinear`]: for blocks
    /// that are not the last (Ma et al., "Scaling Supervised Local Learning with Augmented Auxiliary Networks", ICLR 2024,
    /// arXiv 2402.17318).
    Augmented {
        /// Units after the first unit of the trunk, at most; see `copied_units`.
        depth: usize,
    },
}

impl HeadKind {
    /// Whether there is such a head.
    pub fn is_valid(self) -> bool {
        !matches!(self, Self::Augmented { depth: 0 })
    }

    /// Whether it needs features with neighbors, which tokens have not.
    pub fn convolves(self) -> bool {
        matches!(self, Self::ConvGapMlp | Self::MlpSr | Self::DropCov)
    }

    /// Whether the last head of a network can be one: those that only train need something to follow.
    pub fn can_be_last(self) -> bool {
        !matches!(self, Self::ConvGapMlp | Self::Augmented { .. })
    }

    /// That of classifiers from before there was a choice.
    pub fn last_of_images() -> Self {
        Self::GapLinear
    }

    /// That of brain networks from before there was a choice, the published one.
    pub fn last_of_volumes() -> Self {
        Self::GapMlp
    }

    /// As configs write it, an augmented one with its depth: `augmented 2`.
    pub fn title(self) -> String {
        match self {
            Self::GapLinear => "gap-linear".into(),
            Self::GapMlp => "gap-mlp".into(),
            Self::ConvGapMlp => "conv-gap-mlp".into(),
            Self::MlpSr => "mlp-sr".into(),
            Self::DropCov => "drop-cov".into(),
            Self::Augmented { depth } => format!("augmented {depth}"),
        }
    }
}

/// Numbers of the units whose shapes an augmented head after a unit of the trunk has: spread evenly over what follows, the
/// last one included. There are the fewer the later the head stands: `depth` after the first unit, half as many before the
/// last (section 3.2 of the paper, pyramid coefficient 0.5), one at least.
pub(super) fn copied_units(unit: usize, n_units: usize, depth: usize) -> Vec<usize> {
    let n_later = n_units.saturating_sub(unit + 1);
    if n_later == 0 {
        return Vec::new();
    }
    let way = unit as f64 / n_units.saturating_sub(2).max(1) as f64;
    let wanted = ((1.0 - PYRAMID * way) * depth as f64 + 0.5).floor() as usize;
    let n = wanted.clamp(1, n_later);
    (1..=n).map(|i| unit + i * n_later / n).collect()
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
    /// Of an augmented head.
    pub(super) copies: Vec<Unit>,
    convolutions: Vec<HeadConvolution>,
    /// Features with longer sides are averaged before they are convolved.
    longest_side: Option<usize>,
    mlp_sr: Option<MlpSr>,
    drop_cov: Option<DropCov>,
    first_token: bool,
    hidden: Option<Linear>,
    dropout: f64,
    output: Linear,
    /// Of a head that also learns how alike the members of a batch are.
    similarity: Option<SimilarityBranch>,
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
            HeadKind::GapLinear
            | HeadKind::GapMlp
            | HeadKind::MlpSr
            | HeadKind::DropCov
            | HeadKind::Augmented { .. } => 0,
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
            | HeadKind::Augmented { .. } => (None, 0.0),
            HeadKind::GapMlp => (Some(shape.hidden), shape.dropout),
            HeadKind::ConvGapMlp => (Some(shape.conv_hidden), 0.0),
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
        let output = Linear::new(width, shape.n_outputs, form, rng, device);
        let longest_side = match (shape.extent, convolutions.is_empty()) {
            (Extent::Volume, false) => Some(LONGEST_SIDE),
            (Extent::Volume, true) | (Extent::Image, _) => None,
        };
        Self {
            channels: shape.channels,
            reads_volumes: shape.extent == Extent::Volume,
            copies: Vec::new(),
            convolutions,
            longest_side,
            mlp_sr,
            drop_cov,
            first_token: shape.pooling == Pooling::FirstToken,
            hidden,
            dropout,
            output,
            similarity: None,
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

    /// The head with a branch for the similarity loss.
    pub(super) fn with_similarity(
        self,
        form: WeightForm,
        rng: &mut ChaCha8Rng,
        device: &Device,
    ) -> Self {
        // Tokens have no neighbors.
        let kernel = if self.first_token { 1 } else { 3 };
        let extent = if self.reads_volumes {
            Extent::Volume
        } else {
            Extent::Image
        };
        let channels = [self.channels; 2];
        let shape = Conv3dShape::even(extent, channels, kernel, 1, kernel / 2);
        let branch = SimilarityBranch::new(Conv3d::new(shape, form, rng, device));
        Self {
            similarity: Some(branch),
            ..self
        }
    }

    /// Says what it was trained for, such as the standardized age (see [`crate::engine::target`]).
    ///
    /// # Shapes
    /// `[batch, channels, x, y, z]` → `[batch, n_outputs]`.
    pub fn forward(&self, features: Tensor<5>, pass: &mut Pass) -> Tensor<2> {
        let mut features = self
            .copies
            .iter()
            .fold(features, |features, unit| unit.forward(features, pass));
        if let Some(mlp_sr) = &self.mlp_sr {
            return self.output.forward(mlp_sr.forward(features, pass));
        }
        if let Some(drop_cov) = &self.drop_cov {
            return self.output.forward(drop_cov.forward(features, pass));
        }
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

    /// How alike the members of a batch are by the branch for the similarity loss; `None` without one.
    ///
    /// # Shapes
    /// `[batch, channels, x, y, z]` → `[batch, batch]`.
    pub fn similarity(&self, features: Tensor<5>) -> Option<Tensor<2>> {
        let branch = self.similarity.as_ref()?;
        Some(branch.forward(features))
    }

    /// How many normalization layers with running statistics it has.
    pub(super) fn n_statistics(&self) -> usize {
        let of_copies: usize = self.copies.iter().map(Unit::n_statistics).sum();
        let of_mlp_sr = self.mlp_sr.as_ref().map_or(0, MlpSr::n_statistics);
        of_copies + of_mlp_sr + usize::from(self.drop_cov.is_some())
    }

    /// Takes over the statistics of a training pass.
    pub(super) fn absorb(self, mut statistics: impl Iterator<Item = BatchStatistics>) -> Self {
        let copies = self.copies.into_iter();
        let copies = copies.map(|unit| unit.absorb_own(&mut statistics));
        Self {
            copies: copies.collect(),
            mlp_sr: self.mlp_sr.map(|mlp_sr| mlp_sr.absorb(&mut statistics)),
            drop_cov: self
                .drop_cov
                .map(|drop_cov| drop_cov.absorb(statistics.next())),
            ..self
        }
    }

    /// All layers with a weight matrix, from the input on; that of the branch for the similarity loss is the last.
    pub fn layers(&self) -> Vec<Layer<'_>> {
        let copies = self.copies.iter().flat_map(Unit::layers);
        let convolutions = self.convolutions.iter();
        let convolutions = convolutions.map(|stage| Layer::Convolution(&stage.convolution));
        let dense = self.hidden.iter().chain([&self.output]).map(Layer::Linear);
        let branch = self.similarity.iter().map(SimilarityBranch::layer);
        copies
            .chain(convolutions)
            .chain(self.mlp_sr.iter().flat_map(MlpSr::layers))
            .chain(self.drop_cov.iter().map(DropCov::layer))
            .chain(dense)
            .chain(branch)
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
            convolutions: self.convolutions.iter().map(fold).collect(),
            longest_side: self.longest_side,
            mlp_sr: self.mlp_sr.as_ref().map(MlpSr::fold),
            drop_cov: self.drop_cov.as_ref().map(DropCov::fold),
            first_token: self.first_token,
            hidden: self.hidden.as_ref().map(Linear::fold),
            dropout: self.dropout,
            output: self.output.fold(),
            similarity: None,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn augmented_heads_copy_evenly_spread_later_units_and_fewer_of_them_the_later_they_stand() {
        // ResNet-18 in stages: stem, then four stages of two units each.
        assert_eq!(copied_units(2, 9, 3), [4, 6, 8]);
        // 1 − ½·4/7 of three, rounded.
        assert_eq!(copied_units(4, 9, 3), [6, 8]);
        assert_eq!(copied_units(6, 9, 3), [7, 8]);
        // The deepest possible head after the stem is the rest of the trunk.
        assert_eq!(copied_units(0, 9, 8), [1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(copied_units(0, 17, 4), [4, 8, 12, 16]);
        assert_eq!(copied_units(7, 9, 3), [8]);
        assert_eq!(copied_units(0, 2, 5), [1]);
        assert!(copied_units(8, 9, 3).is_empty());
    }

    #[test]
    fn an_augmented_head_without_a_unit_is_none() {
        assert!(!HeadKind::Augmented { depth: 0 }.is_valid());
        assert!(HeadKind::Augmented { depth: 1 }.is_valid() && HeadKind::GapLinear.is_valid());
    }
}
