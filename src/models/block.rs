//! A block: a run of units that is trained on the answer of its own head, or, for deep supervision, on those of several.

use std::ops::Range;

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::Tensor;

use super::denoising::Denoising;
use super::goodness::{self, Goodness};
use super::head::Head;
use super::unit::Unit;
use crate::engine::seed::Seed;
use crate::nn::layer::Layer;
use crate::nn::pass::{BatchStatistics, Pass, Place};
use crate::nn::weight::{BASES, Weight, retract};
use crate::nn::weight_penalty::Penalized;

/// Units and their head.
#[derive(Module, Debug)]
pub struct Block {
    pub(super) units: Vec<Unit>,
    pub(super) head: Head,
    /// Heads between the units, from the input on, of networks that are one block.
    pub(super) inner: Vec<InnerHead>,
    /// Whether gradients end at inner heads.
    pub(super) is_cut: bool,
    /// Of a network that is trained by the goodness of labels.
    pub(super) goodness: Option<Goodness>,
    /// Of a network whose blocks take noise from a code of the label.
    pub(super) denoising: Option<Denoising>,
    /// Number of the first unit in the network.
    pub(super) first_unit: usize,
}

/// A head within a block (Lee et al., "Deeply-Supervised Nets", AISTATS 2015).
#[derive(Module, Debug)]
pub struct InnerHead {
    pub(super) head: Head,
    /// Units of the block that come before it.
    pub(super) after: usize,
}

/// What a head says in training.
#[derive(Clone, Debug)]
pub struct Said {
    /// `[batch, n_outputs]`.
    pub outputs: Tensor<2>,
    /// How alike the members are, `[batch, batch]`, where the head has a branch that learns it.
    pub similarity: Option<Tensor<2>>,
    /// The loss of the reconstructed input with its factor, where the head has a branch that draws it.
    pub reconstruction: Option<Tensor<1>>,
    /// A direction of length 1 for each member, where the head has a branch that tells them apart.
    pub directions: Option<Tensor<2>>,
}

impl Block {
    /// Features for the next block and for the head.
    ///
    /// # Shapes
    /// `[batch, channels, x, y, z]` → the same with the channels and sides of the block's last unit.
    pub fn forward(&self, input: Tensor<5>, pass: &mut Pass) -> Tensor<5> {
        match &self.denoising {
            Some(step) => self.denoised(step, input, pass).1,
            None => self.read(input, pass),
        }
    }

    /// Features for the last head.
    ///
    /// # Shapes
    /// `[batch, channels, x, y, z]` → the same with the channels and sides of the block's last unit.
    pub fn read(&self, input: Tensor<5>, pass: &mut Pass) -> Tensor<5> {
        let image = match &self.denoising {
            Some(step) => step.opened(input).0,
            None => input,
        };
        self.run(0..self.units.len(), image, pass)
    }

    /// What the head says, and image and code for the next block.
    fn denoised(
        &self,
        step: &Denoising,
        input: Tensor<5>,
        pass: &mut Pass,
    ) -> (Tensor<2>, Tensor<5>) {
        let (image, code) = step.opened(input);
        let outputs = self.outputs_with_code(image.clone(), code.clone(), pass);
        let next = step.next(code, outputs.clone());
        (outputs, step.closed(image, next))
    }

    /// The sum of the goodness of all units but the first for each label; of the first alone where there is no other.
    ///
    /// # Shapes
    /// `[batch, channels, x, y, z]` → `[batch, n_labels]`.
    fn goodness_of_labels(&self, goodness: &Goodness, input: &Tensor<5>) -> Tensor<2> {
        let [batch, ..] = input.dims();
        let of_label = |label| {
            let mut features = goodness.written(input.clone(), &vec![label; batch]);
            let mut sum: Option<Tensor<2>> = None;
            for number in 0..self.units.len() {
                features = self.run(number..number + 1, features, &mut Pass::Inference);
                let of_unit = goodness::of_features(features.clone());
                sum = Some(match sum {
                    Some(sum) if number > 1 => sum + of_unit,
                    _ => of_unit,
                });
            }
            sum.unwrap_or_else(|| Tensor::zeros([batch, 1], &input.device()))
        };
        Tensor::cat((0..goodness.n_labels()).map(of_label).collect(), 1)
    }

    /// Features for each head, from the input on; the last are those of [`Self::forward`].
    ///
    /// # Shapes
    /// `[batch, channels, x, y, z]` → the same with the channels and sides of the unit before each head.
    pub fn forward_to_heads(&self, input: Tensor<5>, pass: &mut Pass) -> Vec<Tensor<5>> {
        let mut features = match &self.denoising {
            Some(step) => step.opened(input).0,
            None => input,
        };
        let mut start = 0;
        let mut of_heads = Vec::with_capacity(self.n_heads());
        for (end, _) in self.heads() {
            features = self.run(start..end, features, pass);
            of_heads.push(features.clone());
            if self.is_cut {
                features = features.detach();
            }
            start = end;
        }
        of_heads
    }

    /// Of a network that is trained by the goodness of labels: the goodness of each unit for members with labels written in,
    /// from an input that holds no graph of the units before it.
    ///
    /// # Shapes
    /// `[batch, channels, x, y, z]` → for each unit `[batch, 1]`.
    pub fn goodness_apart(&self, input: Tensor<5>, pass: &mut Pass) -> Vec<Tensor<2>> {
        let of_units = self.forward_apart(input, pass).into_iter();
        of_units.map(goodness::of_features).collect()
    }

    /// Of a network whose blocks take noise from a code of the label: what the head says of images and noisy codes.
    ///
    /// # Shapes
    /// `[batch, channels, x, y, z]`, `[batch, n_outputs]` → `[batch, n_outputs]`.
    pub fn outputs_with_code(
        &self,
        image: Tensor<5>,
        code: Tensor<2>,
        pass: &mut Pass,
    ) -> Tensor<2> {
        let features = self.run(0..self.units.len(), image, pass);
        pass.enter(place_of_head(self.first_unit, self.units.len()));
        self.head.forward_with_code(features, code, pass)
    }

    /// The labels, of a network that is trained by their goodness.
    pub fn goodness(&self) -> Option<&Goodness> {
        self.goodness.as_ref()
    }

    /// The step that the block is, of a network whose blocks take noise from a code of the label.
    pub fn denoising(&self) -> Option<&Denoising> {
        self.denoising.as_ref()
    }

    /// What each unit gives, from an input that holds no graph of the units before it.
    ///
    /// # Shapes
    /// `[batch, channels, x, y, z]` → the same with the channels and sides of each unit.
    pub fn forward_apart(&self, input: Tensor<5>, pass: &mut Pass) -> Vec<Tensor<5>> {
        let mut of_units = Vec::with_capacity(self.units.len());
        let mut features = input;
        for number in 0..self.units.len() {
            let given = self.run(number..number + 1, features, pass);
            features = apart(&given);
            of_units.push(given);
        }
        of_units
    }

    fn run(&self, units: Range<usize>, input: Tensor<5>, pass: &mut Pass) -> Tensor<5> {
        units.fold(input, |features, number| {
            pass.enter(Place::Unit(self.first_unit + number));
            let features = match &self.goodness {
                Some(_) if number > 0 => goodness::normalized(features),
                _ => features,
            };
            self.units[number].forward(features, pass)
        })
    }

    /// What the last head says of [`Self::forward`]'s features.
    ///
    /// # Shapes
    /// `[batch, channels, x, y, z]` → `[batch, n_outputs]`.
    pub fn outputs(&self, features: Tensor<5>, pass: &mut Pass) -> Tensor<2> {
        pass.enter(place_of_head(self.first_unit, self.units.len()));
        self.head.forward(features, pass)
    }

    /// What each head says of [`Self::forward_to_heads`]' features; `input` is what the network was given.
    pub fn said(&self, of_heads: Vec<Tensor<5>>, input: &Tensor<5>, pass: &mut Pass) -> Vec<Said> {
        let heads = self.heads().zip(of_heads);
        let said = heads.map(|((after, head), features)| {
            pass.enter(place_of_head(self.first_unit, after));
            head.say(features, input, pass)
        });
        said.collect()
    }

    /// Whether a head needs what the network was given.
    pub fn looks_at_input(&self) -> bool {
        self.heads().any(|(_, head)| head.looks_at_input())
    }

    /// What all heads say of an input for an answer, from the input on, and what the block hands on.
    ///
    /// # Shapes
    /// `[batch, channels, x, y, z]` → for each head `[batch, n_outputs]`, and as [`Self::forward`].
    pub fn answers(&self, input: Tensor<5>) -> (Vec<Tensor<2>>, Tensor<5>) {
        if let Some(goodness) = &self.goodness {
            return (vec![self.goodness_of_labels(goodness, &input)], input);
        }
        if let Some(step) = &self.denoising {
            let (outputs, handed_on) = self.denoised(step, input, &mut Pass::Inference);
            return (vec![outputs], handed_on);
        }
        let (mut features, mut start) = (input, 0);
        let mut outputs = Vec::with_capacity(self.n_heads());
        for (after, head) in self.heads() {
            features = self.run(start..after, features, &mut Pass::Inference);
            outputs.push(head.forward(features.clone(), &mut Pass::Inference));
            start = after;
        }
        (outputs, features)
    }

    /// How many heads it has.
    pub fn n_heads(&self) -> usize {
        self.inner.len() + 1
    }

    /// All heads from the input on, each with the number of the block's units before it.
    pub(super) fn heads(&self) -> impl Iterator<Item = (usize, &Head)> {
        let inner = self.inner.iter().map(|inner| (inner.after, &inner.head));
        inner.chain([(self.units.len(), &self.head)])
    }

    /// The block with other heads, changed from the input on: all, or all but the last one of a network.
    pub(super) fn map_auxiliary_heads(
        self,
        is_last: bool,
        mut change: impl FnMut(Place, Head) -> Head,
    ) -> Self {
        let first_unit = self.first_unit;
        let changed = |inner: InnerHead| InnerHead {
            head: change(place_of_head(first_unit, inner.after), inner.head),
            ..inner
        };
        let inner = self.inner.into_iter().map(changed).collect();
        let head = if is_last {
            self.head
        } else {
            change(place_of_head(first_unit, self.units.len()), self.head)
        };
        Self {
            head,
            inner,
            ..self
        }
    }

    /// Layers of the units that have a weight matrix, then those of the heads, the last one's first.
    pub fn layers(&self) -> Vec<Layer<'_>> {
        let inner = self.inner.iter().flat_map(|inner| inner.head.layers());
        let units = self.units.iter().flat_map(Unit::layers);
        units.chain(self.head.layers()).chain(inner).collect()
    }

    /// Those of the units alone.
    pub fn unit_layers(&self) -> Vec<Layer<'_>> {
        self.units.iter().flat_map(Unit::layers).collect()
    }

    /// The matrices of [`Self::layers`].
    pub fn weights(&self) -> Vec<&Weight> {
        self.layers().into_iter().map(Layer::weight).collect()
    }

    /// What a penalty on weights looks at in a step; `done` is the share of the training that is over.
    pub fn penalized(&self, seed: Seed, step: u64, done: f64) -> Penalized<'_> {
        let inner = self.inner.iter().flat_map(|inner| inner.head.layers());
        Penalized {
            of_units: self.unit_layers(),
            of_heads: self.head.layers().into_iter().chain(inner).collect(),
            first_unit: self.first_unit,
            seed,
            step,
            done,
        }
    }

    /// Σ ‖QᵀQ − I‖² + ‖PᵀP − I‖² over the block, heads included; `None` for dense weights.
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

    /// The block after a step: copies of later units in its heads are a step nearer to these.
    pub fn followed(self) -> Self {
        let units = &self.units;
        let inner = self.inner.into_iter().map(|inner| InnerHead {
            head: inner.head.followed(units.get(inner.after)),
            ..inner
        });
        Self {
            inner: inner.collect(),
            ..self
        }
    }

    /// Takes over the statistics that a training pass met in [`Self::forward_to_heads`], and then in [`Self::said`].
    pub fn absorb(self, statistics: Vec<BatchStatistics>) -> Self {
        let mut statistics = statistics.into_iter();
        let units = self.units.into_iter();
        let units = units.map(|unit| unit.absorb_own(&mut statistics)).collect();
        let mut of_head = |head: Head| {
            let n = head.n_statistics();
            head.absorb(statistics.by_ref().take(n))
        };
        let inner = self.inner.into_iter().map(|inner| InnerHead {
            head: of_head(inner.head),
            ..inner
        });
        Self {
            units,
            inner: inner.collect(),
            head: of_head(self.head),
            ..self
        }
    }

    /// The same function with dense weights, as inference uses it.
    pub fn fold(&self) -> Self {
        Self {
            units: self.units.iter().map(Unit::fold).collect(),
            head: self.head.fold(),
            inner: self.inner.iter().map(InnerHead::fold).collect(),
            ..self.clone()
        }
    }
}

impl InnerHead {
    fn fold(&self) -> Self {
        Self {
            head: self.head.fold(),
            after: self.after,
        }
    }
}

/// The same values without their graph.
pub fn apart(features: &Tensor<5>) -> Tensor<5> {
    Tensor::from_inner(features.clone().inner())
}

/// Where the head stands that so many units of a block come before.
fn place_of_head(first_unit: usize, after: usize) -> Place {
    Place::HeadAfter(first_unit + after.saturating_sub(1))
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
