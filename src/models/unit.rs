//! A unit: what blocks are made of.

use burn::module::Module;
use burn::tensor::Tensor;

use super::brain_cnn::ConvStage;
use super::residual::{ResidualUnit, Stem};
use super::transformer::{EncoderLayer, PatchEmbedding};
use crate::nn::layer::Layer;
use crate::nn::pass::{BatchStatistics, Pass};

/// The smallest part of a network between which it can be cut.
#[derive(Module, Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "a network has some dozens of units, each with far larger tensors"
)]
pub enum Unit {
    /// A stage of the brain CNN.
    ConvStage(ConvStage),
    /// The first layers of a residual network.
    Stem(Stem),
    /// A residual unit.
    Residual(ResidualUnit),
    /// The first layers of a transformer.
    Patches(PatchEmbedding),
    /// A layer of a transformer.
    Encoder(EncoderLayer),
}

impl Unit {
    pub(super) fn forward(&self, input: Tensor<5>, pass: &mut Pass) -> Tensor<5> {
        match self {
            Self::ConvStage(stage) => stage.forward(input, pass),
            Self::Stem(stem) => stem.forward(input, pass),
            Self::Residual(unit) => unit.forward(input, pass),
            Self::Patches(embedding) => embedding.forward(input, pass),
            Self::Encoder(layer) => layer.forward(input, pass),
        }
    }

    /// How many normalization layers with running statistics the unit has.
    pub(super) fn n_statistics(&self) -> usize {
        match self {
            Self::ConvStage(_) | Self::Stem(_) => 1,
            Self::Residual(unit) => unit.n_statistics(),
            Self::Patches(_) | Self::Encoder(_) => 0,
        }
    }

    /// Takes over its own statistics, the next ones of many.
    pub(super) fn absorb_own(self, statistics: &mut impl Iterator<Item = BatchStatistics>) -> Self {
        let n = self.n_statistics();
        self.absorb(statistics.by_ref().take(n))
    }

    fn absorb(self, mut statistics: impl Iterator<Item = BatchStatistics>) -> Self {
        match self {
            Self::ConvStage(stage) => Self::ConvStage(match statistics.next() {
                Some(met) => stage.absorb(met),
                None => stage,
            }),
            Self::Stem(stem) => Self::Stem(stem.absorb(statistics)),
            Self::Residual(unit) => Self::Residual(unit.absorb(statistics)),
            Self::Patches(_) | Self::Encoder(_) => self,
        }
    }

    /// All layers with a weight matrix, from the input on.
    pub(super) fn layers(&self) -> Vec<Layer<'_>> {
        match self {
            Self::ConvStage(stage) => vec![Layer::Convolution(&stage.convolution)],
            Self::Stem(stem) => stem.layers(),
            Self::Residual(unit) => unit.layers(),
            Self::Patches(embedding) => embedding.layers(),
            Self::Encoder(layer) => layer.layers(),
        }
    }

    pub(super) fn fold(&self) -> Self {
        match self {
            Self::ConvStage(stage) => Self::ConvStage(stage.fold()),
            Self::Stem(stem) => Self::Stem(stem.fold()),
            Self::Residual(unit) => Self::Residual(unit.fold()),
            Self::Patches(embedding) => Self::Patches(embedding.fold()),
            Self::Encoder(layer) => Self::Encoder(layer.fold()),
        }
    }
}
