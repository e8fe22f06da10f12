//! A block: a run of units that is trained on the answer of its own head.

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::Tensor;

use super::brain_cnn::ConvStage;
use crate::nn::head::Head;
use crate::nn::pass::{BatchStatistics, Pass, Place};
use crate::nn::weight::{BASES, Weight, retract};

/// The smallest part of a network between which it can be cut.
#[derive(Module, Debug)]
pub enum Unit {
    /// A stage of the brain CNN.
    ConvStage(ConvStage),
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
        }
    }

    /// How many normalization layers with running statistics the unit has.
    fn n_statistics(&self) -> usize {
        match self {
            Self::ConvStage(_) => 1,
        }
    }

    fn absorb(self, mut statistics: impl Iterator<Item = BatchStatistics>) -> Self {
        match self {
            Self::ConvStage(stage) => Self::ConvStage(match statistics.next() {
                Some(met) => stage.absorb(met),
                None => stage,
            }),
        }
    }

    pub(super) fn weight(&self) -> &Weight {
        match self {
            Self::ConvStage(stage) => &stage.convolution.weight,
        }
    }

    fn fold(&self) -> Self {
        match self {
            Self::ConvStage(stage) => Self::ConvStage(stage.fold()),
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
            .map(Unit::weight)
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
