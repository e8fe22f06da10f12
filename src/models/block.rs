//! A block: a run of units that is trained on the answer of its own head.

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::Tensor;

use super::brain_cnn::ConvStage;
use super::residual::{ResidualUnit, Stem};
use super::transformer::{EncoderLayer, PatchEmbedding};
use crate::nn::head::Head;
use crate::nn::pass::{BatchStatistics, Pass, Place};
use crate::nn::weight::{BASES, Weight, retract};

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

/// Units and their head.
#[derive(Module, Debug)]
pub struct Block {
    pub(super) units: Vec<Unit>,
    pub(super) head: Head,
    /// Number of the first unit in the network.
    pub(super) first_unit: usize,
}

impl Unit {
    fn forward(&self, input: Tensor<5>, pass: &mut Pass) -> Tensor<5> {
        match self {
            Self::ConvStage(stage) => stage.forward(input, pass),
            Self::Stem(stem) => stem.forward(input, pass),
            Self::Residual(unit) => unit.forward(input, pass),
            Self::Patches(embedding) => embedding.forward(input),
            Self::Encoder(layer) => layer.forward(input),
        }
    }

    /// How many normalization layers with running statistics the unit has.
    fn n_statistics(&self) -> usize {
        match self {
            Self::ConvStage(_) | Self::Stem(_) => 1,
            Self::Residual(unit) => unit.n_statistics(),
            Self::Patches(_) | Self::Encoder(_) => 0,
        }
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

    /// All weight matrices, from the input on.
    pub(super) fn weights(&self) -> Vec<&Weight> {
        match self {
            Self::ConvStage(stage) => vec![&stage.convolution.weight],
            Self::Stem(stem) => stem.weights(),
            Self::Residual(unit) => unit.weights(),
            Self::Patches(embedding) => embedding.weights(),
            Self::Encoder(layer) => layer.weights(),
        }
    }

    fn fold(&self) -> Self {
        match self {
            Self::ConvStage(stage) => Self::ConvStage(stage.fold()),
            Self::Stem(stem) => Self::Stem(stem.fold()),
            Self::Residual(unit) => Self::Residual(unit.fold()),
            Self::Patches(embedding) => Self::Patches(embedding.fold()),
            Self::Encoder(layer) => Self::Encoder(layer.fold()),
        }
    }
}

impl Block {
    /// Features for the next block and for the head.
    ///
    /// # Shapes
    /// `[batch, channels, x, y, z]` → the same with the channels and sides of the block's last unit.
    pub fn forward(&self, input: Tensor<5>, pass: &mut Pass) -> Tensor<5> {
        self.units
            .iter()
            .enumerate()
            .fold(input, |features, (i, unit)| {
                pass.enter(Place::Unit(self.first_unit + i));
                unit.forward(features, pass)
            })
    }

    /// What the head says of [`Self::forward`]'s features.
    ///
    /// # Shapes
    /// `[batch, channels, x, y, z]` → `[batch, n_outputs]`.
    pub fn outputs(&self, features: Tensor<5>, pass: &mut Pass) -> Tensor<2> {
        let last_unit = self.first_unit + self.units.len().saturating_sub(1);
        pass.enter(Place::HeadAfter(last_unit));
        self.head.forward(features, pass)
    }

    /// Weight matrices of the units, then of the head.
    pub fn weights(&self) -> Vec<&Weight> {
        self.units
            .iter()
            .flat_map(Unit::weights)
            .chain(self.head.weights())
            .collect()
    }

    /// Σ ‖QᵀQ − I‖² + ‖PᵀP − I‖² over the block, head included; `None` for dense weights.
    pub fn orthogonality_penalty(&self) -> Option<Tensor<1>> {
        let penalties = self
            .weights()
            .into_iter()
            .filter_map(Weight::orthogonality_penalty);
        penalties.reduce(|sum, penalty| sum + penalty)
    }

    /// Departure of each layer's bases from orthonormality, see [`Weight::orthogonality_error`]; layers in the order of
    /// [`Self::weights`], none for dense weights.
    pub fn orthogonality_errors(&self) -> Vec<f64> {
        let errors = self.weights().into_iter();
        errors.filter_map(Weight::orthogonality_error).collect()
    }

    /// All bases a step nearer to orthonormal ones, see [`retract`].
    pub fn retract(self) -> Self {
        self.map(&mut Retraction {
            name: String::new(),
        })
    }

    /// Takes over the statistics that a training pass met in [`Self::forward`].
    pub fn absorb(self, statistics: Vec<BatchStatistics>) -> Self {
        let mut statistics = statistics.into_iter();
        let mut absorb = |unit: Unit| {
            let n = unit.n_statistics();
            unit.absorb(statistics.by_ref().take(n))
        };
        let units = self.units.into_iter().map(&mut absorb).collect();
        Self { units, ..self }
    }

    /// The same function with dense weights, as inference uses it.
    pub fn fold(&self) -> Self {
        Self {
            units: self.units.iter().map(Unit::fold).collect(),
            head: self.head.fold(),
            first_unit: self.first_unit,
        }
    }
}

/// Maps bases alone.
struct Retraction {
    name: String,
}

impl ModuleMapper for Retraction {
    fn enter_module(&mut self, name: &str, _: &str) {
        name.clone_into(&mut self.name);
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        if !BASES.contains(&self.name.as_str()) {
            return param;
        }
        param.map(|basis| {
            let dims = basis.dims();
            let [rows, columns] = [dims[0], dims[D - 1]];
            let basis = basis.inner().reshape([rows, columns]);
            Tensor::from_inner(retract(basis).reshape(dims)).require_grad()
        })
    }
}
