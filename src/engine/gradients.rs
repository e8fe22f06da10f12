//! The gradient of one block as named vectors: summed over parts of a batch, clipped as one, averaged over replicas.

use burn::module::{Module as _, ModuleVisitor, Param};
use burn::tensor::{Device, Gradients, Tensor};

use crate::models::Block;
use crate::nn::pass::BatchStatistics;

/// Gradients by parameter, flattened, in the order of the block's parameters.
#[derive(Clone, Debug, Default)]
pub struct BlockGradient(Vec<(String, Tensor<1>)>);

impl BlockGradient {
    /// Those of a block's parameters; parameters that the loss does not reach have none.
    pub fn of(block: &Block, gradients: &Gradients) -> Self {
        let mut collected = Collector {
            gradients,
            path: Vec::new(),
            found: Vec::new(),
        };
        block.visit(&mut collected);
        Self(collected.found)
    }

    /// The same on another device.
    pub fn to_device(self, device: &Device) -> Self {
        let named = self.0.into_iter();
        Self(
            named
                .map(|(name, gradient)| (name, gradient.to_device(device)))
                .collect(),
        )
    }

    /// Each vector times a factor.
    fn scaled(self, factor: f64) -> Self {
        let named = self.0.into_iter();
        Self(
            named
                .map(|(name, gradient)| (name, gradient * factor))
                .collect(),
        )
    }

    fn plus(self, other: Self) -> Self {
        let pairs = self.0.into_iter().zip(other.0);
        Self(pairs.map(|((name, a), (_, b))| (name, a + b)).collect())
    }

    /// Euclidean length of the whole gradient.
    pub fn norm(&self) -> f64 {
        let squares = self.0.iter().map(|(_, gradient)| {
            let sum: f32 = gradient.clone().square().sum().into_scalar();
            f64::from(sum)
        });
        squares.sum::<f64>().sqrt()
    }

    /// The gradient of a parameter.
    pub fn take(&mut self, name: &str) -> Option<Tensor<1>> {
        let place = self.0.iter().position(|(known, _)| known == name)?;
        Some(self.0.swap_remove(place).1)
    }
}

/// What a block learned from a batch, or from a part of one.
#[derive(Clone, Debug, Default)]
pub struct Learned {
    /// Of each head: its loss and the block's penalty, a mean over the members.
    pub losses: Vec<f64>,
    /// Of each head the mean error over the members, see [`super::target::Metric`].
    pub errors: Vec<f64>,
    /// Of the block's loss.
    pub gradient: BlockGradient,
    /// What normalization layers met, a list for each part.
    pub statistics: Vec<Vec<BatchStatistics>>,
}

impl Learned {
    /// The same on another device.
    pub fn to_device(self, device: &Device) -> Self {
        let moved = |(mean, variance): BatchStatistics| {
            (mean.to_device(device), variance.to_device(device))
        };
        let of_part = |part: Vec<BatchStatistics>| part.into_iter().map(moved).collect();
        Self {
            gradient: self.gradient.to_device(device),
            statistics: self.statistics.into_iter().map(of_part).collect(),
            ..self
        }
    }

    /// What replicas learned that shared one batch: gradients and losses are their parts of the whole already, and all
    /// met the same statistics.
    pub fn sum_of_replicas(of_replicas: Vec<Self>) -> Self {
        let plus = |a: Self, b: Self| Self {
            losses: sums(&a.losses, &b.losses),
            errors: sums(&a.errors, &b.errors),
            gradient: a.gradient.plus(b.gradient),
            statistics: a.statistics,
        };
        of_replicas.into_iter().reduce(plus).unwrap_or_default()
    }

    /// What was learned from the whole: Σ over parts, each times its share of the members.
    pub fn weighted_sum(mut parts: Vec<(Self, f64)>) -> Self {
        if parts.len() == 1 {
            return parts.pop().map(|(part, _)| part).unwrap_or_default();
        }
        let scaled = |(part, share): (Self, f64)| Self {
            losses: part.losses.iter().map(|loss| loss * share).collect(),
            errors: part.errors.iter().map(|error| error * share).collect(),
            gradient: part.gradient.scaled(share),
            statistics: part.statistics,
        };
        let plus = |a: Self, mut b: Self| {
            let mut statistics = a.statistics;
            statistics.append(&mut b.statistics);
            Self {
                losses: sums(&a.losses, &b.losses),
                errors: sums(&a.errors, &b.errors),
                gradient: a.gradient.plus(b.gradient),
                statistics,
            }
        };
        parts
            .into_iter()
            .map(scaled)
            .reduce(plus)
            .unwrap_or_default()
    }
}

fn sums(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| a + b).collect()
}

struct Collector<'a> {
    gradients: &'a Gradients,
    path: Vec<String>,
    found: Vec<(String, Tensor<1>)>,
}

impl ModuleVisitor for Collector<'_> {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = param.val().grad(self.gradients) {
            let n = gradient.dims().iter().product::<usize>();
            self.found
                .push((self.path.join("."), gradient.reshape([n])));
        }
    }
}
