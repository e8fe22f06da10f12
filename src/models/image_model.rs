//! Networks for images as lists of units: residual networks and vision transformers.
//!
//! He et al., "Deep Residual Learning for Image Recognition" (CVPR 2016, arXiv 1512.03385), table 1: four stages of units,
//! 64, 128, 256 and 512 wide, of which all but the first begin with a stride of 2. Dosovitskiy et al., "An Image is Worth
//! 16x16 Words" (ICLR 2021, arXiv 2010.11929), table 1, and Touvron et al. (ICML 2021) for the smaller ones: twelve layers.
//! The stem, or the patch embedding, is a unit of its own.

use burn::tensor::Device;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::brain_cnn::BatchNormConfig;
use super::head::{Head, HeadKind, HeadShape, IMAGE_CHANNELS, Pooling, copied_units};
use super::network::Network;
use super::regime::{Cuts, NamedCuts, Regime, starts_of, unknown_cuts};
use super::residual::{Layers, ResidualUnit, Stem, StemKind, UnitKind, UnitShape};
use super::transformer::{EncoderLayer, PatchEmbedding, TransformerShape};
use super::unit::Unit;
use crate::Error;
use crate::engine::seed::{Purpose, Seed};
use crate::nn::conv3d::Extent;
use crate::nn::pass::Place;
use crate::nn::weight::WeightForm;

/// Channels of the stem, and width of the first stage; also width of a head of the attention.
const FIRST_WIDTH: usize = 64;
/// Layers of a transformer.
const ENCODER_LAYERS: usize = 12;
/// Width of the dense layer of a convolutional head (Wang et al., ICLR 2021).
const CONV_HEAD_HIDDEN: usize = 128;

/// The architectures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ImageModelName {
    /// Basic units, 2 in each stage.
    #[serde(rename = "resnet18")]
    ResNet18,
    /// Bottlenecks: 3, 4, 6, 3.
    #[serde(rename = "resnet50")]
    ResNet50,
    /// Bottlenecks: 3, 4, 23, 3.
    #[serde(rename = "resnet101")]
    ResNet101,
    /// Bottlenecks: 3, 8, 36, 3.
    #[serde(rename = "resnet152")]
    ResNet152,
    /// Tokens of 192 channels.
    #[serde(rename = "vit-ti")]
    VitTi,
    /// Tokens of 384 channels.
    #[serde(rename = "vit-s")]
    VitS,
    /// Tokens of 768 channels.
    #[serde(rename = "vit-b")]
    VitB,
}

/// What a network begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ImageStem {
    /// A 3×3 convolution, for residual networks on images of some 32 to 64 pixels a side.
    Cifar,
    /// A 7×7 convolution of stride 2, and the maximum of 3×3 with stride 2, for residual networks on 224 pixels a side.
    Imagenet,
    /// Patches of 4×4 pixels, for transformers on small images.
    Patch4,
    /// Patches of 8×8 pixels.
    Patch8,
    /// Patches of 16×16 pixels, for transformers on 224 pixels a side.
    Patch16,
}

/// The `[model]` part of a config for images: everything that decides shapes, but the side of the images.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageModelConfig {
    /// Architecture.
    pub name: ImageModelName,
    /// What it begins with.
    pub stem: ImageStem,
    /// Form of all weight matrices.
    pub weights: WeightForm,
    /// Factor on all channel counts.
    pub width: f64,
    /// Where a local network is cut.
    pub cuts: Cuts,
    /// Heads of all parts but the last, whose head is `last_head`. Heads of transformers read the class token.
    pub head: HeadKind,
    /// Head of the last block. Covariance pooling goes with a last stage of stride 1, as published.
    #[serde(default = "HeadKind::last_of_images")]
    pub last_head: HeadKind,
    /// Batch normalization of residual networks.
    pub batch_norm: BatchNormConfig,
}

/// Where a network goes.
#[derive(Clone, Copy, Debug)]
pub struct NetworkDraw<'a> {
    /// Numbers that heads say.
    pub n_outputs: usize,
    /// Whether gradients cross from block to block.
    pub regime: Regime,
    /// Keys all draws.
    pub seed: Seed,
    /// Where the parameters live.
    pub device: &'a Device,
}

/// The kinds of networks, with what they are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    /// Units of a kind in four stages.
    Residual(UnitKind, [usize; 4]),
    /// Heads of the attention.
    Transformer(usize),
}

impl ImageModelName {
    fn family(self) -> Family {
        match self {
            Self::ResNet18 => Family::Residual(UnitKind::Basic, [2, 2, 2, 2]),
            Self::ResNet50 => Family::Residual(UnitKind::Bottleneck, [3, 4, 6, 3]),
            Self::ResNet101 => Family::Residual(UnitKind::Bottleneck, [3, 4, 23, 3]),
            Self::ResNet152 => Family::Residual(UnitKind::Bottleneck, [3, 8, 36, 3]),
            Self::VitTi => Family::Transformer(3),
            Self::VitS => Family::Transformer(6),
            Self::VitB => Family::Transformer(12),
        }
    }

    /// As people write it.
    pub fn title(self) -> &'static str {
        match self {
            Self::ResNet18 => "ResNet-18",
            Self::ResNet50 => "ResNet-50",
            Self::ResNet101 => "ResNet-101",
            Self::ResNet152 => "ResNet-152",
            Self::VitTi => "ViT-Ti",
            Self::VitS => "ViT-S",
            Self::VitB => "ViT-B",
        }
    }
}

impl ImageStem {
    /// Of a residual network.
    fn convolution(self) -> Option<StemKind> {
        match self {
            Self::Cifar => Some(StemKind::Cifar),
            Self::Imagenet => Some(StemKind::Imagenet),
            Self::Patch4 | Self::Patch8 | Self::Patch16 => None,
        }
    }

    /// Side of the patches of a transformer.
    fn patch(self) -> Option<usize> {
        match self {
            Self::Cifar | Self::Imagenet => None,
            Self::Patch4 => Some(4),
            Self::Patch8 => Some(8),
            Self::Patch16 => Some(16),
        }
    }
}

impl ImageModelConfig {
    /// How many units the network has, the first one included.
    pub fn n_units(&self) -> usize {
        1 + match self.name.family() {
            Family::Residual(_, depths) => depths.iter().sum(),
            Family::Transformer(_) => ENCODER_LAYERS,
        }
    }

    fn scaled(&self, channels: usize) -> usize {
        (channels as f64 * self.width).round().max(1.0) as usize
    }

    /// The residual units, which follow the stem; none for a transformer.
    pub fn residual_units(&self) -> Vec<UnitShape> {
        let Family::Residual(kind, depths) = self.name.family() else {
            return Vec::new();
        };
        let mut shapes = Vec::with_capacity(self.n_units());
        let mut in_channels = self.scaled(FIRST_WIDTH);
        let stage_stride = |stage: usize| match stage {
            0 => 1,
            3 if self.last_head == HeadKind::DropCov => 1,
            _ => 2,
        };
        for (stage, n_units) in depths.into_iter().enumerate() {
            for unit in 0..n_units {
                let shape = UnitShape {
                    kind,
                    in_channels,
                    width: self.scaled(FIRST_WIDTH << stage),
                    stride: if unit == 0 { stage_stride(stage) } else { 1 },
                };
                in_channels = shape.out_channels();
                shapes.push(shape);
            }
        }
        shapes
    }

    /// Numbers of the units that begin a part with a head at its end, the first one included; how many of the parts are
    /// blocks, [`Regime::n_blocks`] says.
    ///
    /// # Errors
    /// [`Error::Config`] where the cuts are not rising numbers of units.
    pub fn part_starts(&self, regime: Regime) -> Result<Vec<usize>, Error> {
        let n_units = self.n_units();
        let cuts: Vec<usize> = match (regime, &self.cuts) {
            (regime, _) if !regime.is_cut() => Vec::new(),
            (_, Cuts::Named(NamedCuts::Published)) => match self.name.family() {
                Family::Residual(_, [first, second, third, _]) => {
                    vec![1 + first, 1 + first + second, 1 + first + second + third]
                }
                // Three layers a block, the first with the embedding.
                Family::Transformer(_) => vec![4, 7, 10],
            },
            (_, Cuts::Named(NamedCuts::Units)) => (1..n_units).collect(),
            (_, Cuts::Named(NamedCuts::Balanced)) => return Err(unknown_cuts()),
            (_, Cuts::Before(cuts)) => cuts.clone(),
        };
        starts_of(cuts, n_units)
    }

    /// Refuses what does not fit together: network, stem, heads and the side of the images.
    ///
    /// # Errors
    /// [`Error::Config`] with the key.
    pub fn check(&self, side: usize) -> Result<(), Error> {
        let refuse = |key: &str, message: String| {
            Err(Error::Config {
                key: key.into(),
                message,
            })
        };
        let stem = (
            self.name.family(),
            self.stem.convolution(),
            self.stem.patch(),
        );
        match stem {
            (Family::Residual(..), Some(stem), _) => match stem.output_side(side) {
                Some(1..) if side > 0 => Ok(()),
                _ => refuse(
                    "data.side",
                    format!("{side} pixels a side are too few for the stem"),
                ),
            },
            (Family::Transformer(_), _, Some(patch)) => {
                if side == 0 || !side.is_multiple_of(patch) {
                    let message = format!(
                        "{side} pixels a side, expected a multiple of the patch of {patch}"
                    );
                    return refuse("data.side", message);
                }
                if self.head.convolves() || self.last_head.convolves() {
                    let message =
                        "tokens cannot be convolved, expected gap-linear, gap-mlp or augmented";
                    return refuse("model.head", message.into());
                }
                Ok(())
            }
            (Family::Residual(..), None, _) => refuse(
                "model.stem",
                "expected cifar or imagenet for a residual network".into(),
            ),
            (Family::Transformer(_), _, None) => refuse(
                "model.stem",
                "expected patch4, patch8 or patch16 for a transformer".into(),
            ),
        }
    }

    /// Draws a network for images of a side. The draws are keyed by the layer's place, so all regimes and cuts start from
    /// the same trunk.
    ///
    /// # Errors
    /// [`Error::Config`] where the cuts are wrong, or what [`Self::check`] refuses.
    pub fn network(&self, side: usize, draw: NetworkDraw<'_>) -> Result<Network, Error> {
        self.check(side)?;
        if let Regime::NoProp { blocks } = draw.regime {
            let code = (draw.n_outputs, self.weights);
            return Network::of_steps(blocks, code, (draw.seed, draw.device), |seed| {
                let regime = Regime::Backprop;
                self.network(
                    side,
                    NetworkDraw {
                        regime,
                        seed,
                        ..draw
                    },
                )
            });
        }
        let starts = self.part_starts(draw.regime)?;
        let parts = (starts.as_slice(), self.n_units());
        Ok(match self.name.family() {
            Family::Residual(..) => {
                let shapes = self.residual_units();
                let channels_after = |unit: usize| match unit.checked_sub(1) {
                    Some(place) => shapes[place].out_channels(),
                    None => self.scaled(FIRST_WIDTH),
                };
                let copy = |(at, next): (usize, usize), rng: &mut ChaCha8Rng| {
                    let skipped = &shapes[at..next];
                    let shape = UnitShape {
                        in_channels: channels_after(at),
                        stride: skipped.iter().map(|shape| shape.stride).product(),
                        ..shapes[next - 1]
                    };
                    Unit::Residual(ResidualUnit::new(shape, self.layers(draw), rng))
                };
                Network::from_units(
                    parts,
                    (draw.regime, draw.n_outputs),
                    |unit| self.residual_unit(unit, &shapes, draw),
                    |place| self.head(place, &channels_after, copy, draw),
                )
            }
            Family::Transformer(heads) => {
                let shape = TransformerShape {
                    width: heads * self.scaled(FIRST_WIDTH),
                    heads,
                    patch: self.stem.patch().unwrap_or(side),
                    side,
                };
                let copy = |(_, next): (usize, usize), rng: &mut ChaCha8Rng| {
                    self.encoder(next, shape, draw, rng)
                };
                Network::from_units(
                    parts,
                    (draw.regime, draw.n_outputs),
                    |unit| self.transformer_unit(unit, shape, draw),
                    |place| self.head(place, &|_| shape.width, copy, draw),
                )
            }
        })
    }

    fn layers<'a>(&self, draw: NetworkDraw<'a>) -> Layers<'a> {
        Layers {
            form: self.weights,
            norm: self.batch_norm,
            device: draw.device,
        }
    }

    fn residual_unit(&self, unit: usize, shapes: &[UnitShape], draw: NetworkDraw<'_>) -> Unit {
        let layers = self.layers(draw);
        let mut rng = draw
            .seed
            .stream(Purpose::Initialization, &[Place::Unit(unit).key()]);
        if let Some(place) = unit.checked_sub(1) {
            return Unit::Residual(ResidualUnit::new(shapes[place], layers, &mut rng));
        }
        let channels = [IMAGE_CHANNELS, self.scaled(FIRST_WIDTH)];
        let kind = self.stem.convolution().unwrap_or(StemKind::Cifar);
        Unit::Stem(Stem::new(kind, channels, layers, &mut rng))
    }

    fn transformer_unit(
        &self,
        unit: usize,
        shape: TransformerShape,
        draw: NetworkDraw<'_>,
    ) -> Unit {
        let (form, device) = (self.weights, draw.device);
        let mut rng = draw
            .seed
            .stream(Purpose::Initialization, &[Place::Unit(unit).key()]);
        if unit == 0 {
            let embedding = PatchEmbedding::new(shape, IMAGE_CHANNELS, form, &mut rng, device);
            return Unit::Patches(embedding);
        }
        self.encoder(unit, shape, draw, &mut rng)
    }

    fn encoder(
        &self,
        unit: usize,
        shape: TransformerShape,
        draw: NetworkDraw<'_>,
        rng: &mut ChaCha8Rng,
    ) -> Unit {
        let is_last = unit == ENCODER_LAYERS;
        let layer = EncoderLayer::new(shape, is_last, self.weights, rng, draw.device);
        Unit::Encoder(layer)
    }

    /// The head after a unit with a number of heads to follow. `channels_after` says how many channels a unit gives; `copy`
    /// draws a unit in the shape of a later one, to stand behind another unit.
    fn head(
        &self,
        (unit, remaining_blocks): (usize, usize),
        channels_after: &dyn Fn(usize) -> usize,
        copy: impl Fn((usize, usize), &mut ChaCha8Rng) -> Unit,
        draw: NetworkDraw<'_>,
    ) -> Head {
        let mut rng = draw
            .seed
            .stream(Purpose::Initialization, &[Place::HeadAfter(unit).key()]);
        let is_last = remaining_blocks == 0;
        let copied = match self.head {
            HeadKind::Augmented { depth } if !is_last => copied_units(unit, self.n_units(), depth),
            HeadKind::Momentum { .. } if !is_last => vec![unit + 1],
            _ => Vec::new(),
        };
        let (mut at, mut copies) = (unit, Vec::with_capacity(copied.len()));
        for next in copied {
            copies.push(copy((at, next), &mut rng));
            at = next;
        }
        let shape = HeadShape {
            kind: if is_last { self.last_head } else { self.head },
            channels: channels_after(at),
            remaining_blocks,
            hidden: CONV_HEAD_HIDDEN,
            extent: Extent::Image,
            pooling: match self.name.family() {
                Family::Residual(..) => Pooling::Average,
                Family::Transformer(_) => Pooling::FirstToken,
            },
            conv_hidden: CONV_HEAD_HIDDEN,
            batch_norm: self.batch_norm,
            dropout: 0.0,
            n_outputs: draw.n_outputs,
        };
        let head = Head::new(shape, self.weights, &mut rng, draw.device);
        head.behind(copies, channels_after(unit))
    }
}

#[cfg(test)]
mod tests;
