//! From settings to a list of blocks.

use burn::tensor::{Device, Tensor};
use rand::RngExt as _;
use serde::{Deserialize, Serialize};

use super::block::{Block, InnerHead};
use super::brain_cnn::{BatchNormConfig, ConvStage, ConvStageConfig};
use super::denoising::Denoising;
use super::goodness::Goodness;
use super::head::{Branches, Head, HeadKind, HeadShape, Pooling, copied_units};
use super::parameters::{self, Misfit, NamedTensors};
use super::regime::{Cuts, NamedCuts, Regime, refused_cuts, starts_of, unknown_cuts};
use super::unit::Unit;
use crate::Error;
use crate::engine::seed::{Purpose, Seed};
use crate::nn::conv3d::Extent;
use crate::nn::layer::Layer;
use crate::nn::pass::{Pass, Place};
use crate::nn::weight::{WeightCounts, WeightForm};

/// Width of the dense layer of a convolutional head.
const CONV_HEAD_HIDDEN: usize = 64;

/// The architectures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ModelName {
    /// Convolutional stages, see [`super::brain_cnn`].
    BrainCnn,
}

/// The `[model]` part of a config: everything that decides shapes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelConfig {
    /// Architecture.
    pub name: ModelName,
    /// Form of all weight matrices.
    pub weights: WeightForm,
    /// Factor on all channel counts.
    pub width: f64,
    /// Where a local network is cut.
    pub cuts: Cuts,
    /// Heads of all blocks but the last.
    pub head: HeadKind,
    /// Head of the last block.
    #[serde(default = "HeadKind::last_of_volumes")]
    pub last_head: HeadKind,
    /// Width of the dense layer in the last head.
    pub final_hidden: usize,
    /// Dropout in the last head.
    pub final_dropout: f64,
    /// Batch normalization of the stages.
    pub batch_norm: BatchNormConfig,
    /// The stages, from the input on.
    pub stages: Vec<ConvStageConfig>,
}

/// A list of blocks.
#[derive(Clone, Debug)]
pub struct Network {
    /// From the input on.
    pub blocks: Vec<Block>,
}

/// How many numbers a network has, three ways; biases and normalization are in each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParameterCounts {
    /// Kept in training: factors as they are.
    pub stored: usize,
    /// Independent numbers: factors less their orthonormality.
    pub degrees_of_freedom: usize,
    /// Kept for inference: W itself, all heads included.
    pub composed: usize,
    /// The part of `composed` that belongs to heads which only train (all but the last).
    pub auxiliary_heads: usize,
}

impl ModelConfig {
    /// Channels after each stage.
    pub fn channels(&self) -> Vec<usize> {
        let scaled =
            |stage: &ConvStageConfig| (stage.channels as f64 * self.width).round().max(1.0);
        self.stages
            .iter()
            .map(|stage| scaled(stage) as usize)
            .collect()
    }

    /// Numbers of the units that begin a part with a head at its end, the first one included; how many of the parts are
    /// blocks, [`Regime::n_blocks`] says.
    ///
    /// # Errors
    /// [`Error::Config`] where the cuts are not rising numbers of units.
    pub fn part_starts(&self, regime: Regime) -> Result<Vec<usize>, Error> {
        let n_units = self.stages.len();
        if n_units == 0 {
            return Err(refused_cuts(
                "model.stages is empty, expected at least one stage",
            ));
        }
        let cuts: Vec<usize> = match (regime, &self.cuts) {
            (regime, _) if !regime.is_cut() => Vec::new(),
            (_, Cuts::Named(NamedCuts::Published | NamedCuts::Units)) => (1..n_units).collect(),
            (_, Cuts::Named(NamedCuts::Balanced)) => return Err(unknown_cuts()),
            (_, Cuts::Before(cuts)) => cuts.clone(),
        };
        starts_of(cuts, n_units)
    }

    /// Sides of the features after each stage, for an input grid.
    ///
    /// # Errors
    /// [`Error::Config`] where a side becomes too small for the next kernel.
    pub fn feature_sides(&self, grid: [usize; 3]) -> Result<Vec<[usize; 3]>, Error> {
        let mut sides = grid;
        let mut all = Vec::with_capacity(self.stages.len());
        for (number, stage) in self.stages.iter().enumerate() {
            for side in &mut sides {
                *side = stage.output_side(*side).ok_or_else(|| Error::Config {
                    key: format!("model.stages[{number}]"),
                    message: format!(
                        "a side of {side} voxels is too small for a kernel of {} and pooling (input grid {}×{}×{})",
                        stage.kernel, grid[0], grid[1], grid[2]
                    ),
                })?;
            }
            all.push(sides);
        }
        Ok(all)
    }

    /// Multiply-adds of each stage's convolution for one volume, forward.
    ///
    /// # Errors
    /// As [`Self::feature_sides`].
    pub fn forward_macs(&self, grid: [usize; 3]) -> Result<Vec<u64>, Error> {
        let inputs = std::iter::once(grid).chain(self.feature_sides(grid)?);
        let mut in_channels = 1;
        let stages = self.stages.iter().zip(self.channels()).zip(inputs);
        let macs = stages.map(|((stage, out_channels), sides)| {
            let convolution = stage.convolution(in_channels, out_channels);
            let sides = sides.map(|side| convolution.output_side(0, side).unwrap_or(0));
            let outputs = out_channels * sides.iter().product::<usize>();
            let macs = outputs * in_channels * stage.kernel.pow(3);
            in_channels = out_channels;
            macs as u64
        });
        Ok(macs.collect())
    }
}

impl Network {
    /// Draws a network whose heads say `n_outputs` numbers. The draws are keyed by the layer's place, so all regimes and cuts start from the same trunk.
    ///
    /// # Errors
    /// [`Error::Config`] where the cuts are wrong.
    pub fn new(
        config: &ModelConfig,
        n_outputs: usize,
        regime: Regime,
        seed: Seed,
        device: &Device,
    ) -> Result<Self, Error> {
        if let Regime::NoProp { blocks } = regime {
            let backprop = |seed| Self::new(config, n_outputs, Regime::Backprop, seed, device);
            let code = (n_outputs, config.weights);
            return Self::of_steps(blocks, code, (seed, device), backprop);
        }
        let starts = config.part_starts(regime)?;
        Ok(Self::from_units(
            (&starts, config.stages.len()),
            (regime, n_outputs),
            |unit| config.unit(unit, seed, device),
            |place| config.head(place, n_outputs, seed, device),
        ))
    }

    /// `n_steps` blocks that take noise from a code of the label, each a network of one block with draws of its own, which
    /// `network` makes of a seed.
    pub(super) fn of_steps(
        n_steps: usize,
        (n_outputs, form): (usize, WeightForm),
        (seed, device): (Seed, &Device),
        network: impl Fn(Seed) -> Result<Self, Error>,
    ) -> Result<Self, Error> {
        let mut blocks = Vec::with_capacity(n_steps);
        for step in 0..n_steps {
            let mut rng = seed.stream(Purpose::Step, &[step as u64]);
            let whole = network(Seed(rng.random()))?;
            for block in whole.blocks {
                let first_unit = step * block.units.len();
                let head = block
                    .head
                    .with_label_code(n_outputs, form, &mut rng, device);
                blocks.push(Block {
                    denoising: Some(Denoising::new(step, n_steps, n_outputs)),
                    first_unit,
                    head,
                    ..block
                });
            }
        }
        Ok(Self { blocks })
    }

    /// Parts that begin with the units `starts`, the first one included, of `n_units`. `head` is asked for the head after a
    /// unit with a number of heads to follow.
    pub(super) fn from_units(
        (starts, n_units): (&[usize], usize),
        (regime, n_outputs): (Regime, usize),
        unit: impl Fn(usize) -> Unit,
        head: impl Fn((usize, usize)) -> Head,
    ) -> Self {
        let ends = starts.iter().skip(1).copied().chain([n_units]);
        let parts: Vec<(usize, usize)> = starts.iter().copied().zip(ends).collect();
        let head_of = |index: usize| head((parts[index].1 - 1, parts.len() - 1 - index));
        let block = |(start, end), of_head, inner| Block {
            units: (start..end).map(&unit).collect(),
            head: head_of(of_head),
            inner,
            is_cut: regime == Regime::LocalTogether,
            goodness: None,
            denoising: None,
            first_unit: start,
        };
        let last = parts.len() - 1;
        let blocks = match regime {
            Regime::Local | Regime::Backprop | Regime::DirectFeedback | Regime::NoProp { .. } => {
                let numbered = parts.iter().enumerate();
                let of_part =
                    |(index, part): (usize, &(usize, usize))| block(*part, index, Vec::new());
                numbered.map(of_part).collect()
            }
            Regime::DeepSupervision | Regime::LocalTogether => {
                let inner = (0..last).map(|index| {
                    let after = parts[index].1;
                    let head = head_of(index).beside(|| unit(after));
                    InnerHead { head, after }
                });
                vec![block((0, n_units), last, inner.collect())]
            }
            Regime::ForwardForward => {
                let whole = block((0, n_units), last, Vec::new());
                vec![Block {
                    head: whole.head.without_output(),
                    goodness: Some(Goodness::new(n_outputs)),
                    ..whole
                }]
            }
        };
        Self { blocks }
    }

    /// The network with branches at all heads but the last one; they are drawn apart from the rest, which stays as it is.
    pub fn with_branches(
        self,
        branches: Branches,
        form: WeightForm,
        seed: Seed,
        device: &Device,
    ) -> Self {
        let last = self.blocks.len().saturating_sub(1);
        let n = self.n_heads().saturating_sub(1);
        let mut number = 0;
        let mut branched = |place: Place, head: Head| {
            let stream = |branch| seed.stream(Purpose::Initialization, &[place.key(), branch]);
            let head = head.with_branches((number, n), branches, form, (stream, device));
            number += 1;
            head
        };
        let blocks = self.blocks.into_iter().enumerate();
        let blocks =
            blocks.map(|(number, block)| block.map_auxiliary_heads(number == last, &mut branched));
        Self {
            blocks: blocks.collect(),
        }
    }

    /// How many heads it has.
    pub fn n_heads(&self) -> usize {
        self.blocks.iter().map(Block::n_heads).sum()
    }

    /// What all heads say, without dropout and with running statistics.
    ///
    /// # Shapes
    /// `[batch, channels, x, y, z]` → for each head, from the input on, `[batch, n_outputs]`.
    pub fn outputs(&self, input: Tensor<5>) -> Vec<Tensor<2>> {
        let mut features = input;
        let mut outputs = Vec::with_capacity(self.n_heads());
        for block in &self.blocks {
            let (said, handed_on) = block.answers(features);
            outputs.extend(said);
            features = handed_on;
        }
        outputs
    }

    /// What the last head reads: the trunk as an extractor of features, without dropout and with running statistics.
    ///
    /// # Shapes
    /// `[batch, channels, x, y, z]` → the same with the channels and sides of the last unit; for a transformer
    /// `[batch, width, 1, 1, tokens]`, the class token first.
    pub fn forward_features(&self, input: Tensor<5>) -> Tensor<5> {
        let Some((last, before)) = self.blocks.split_last() else {
            return input;
        };
        let handed_on = before.iter().fold(input, |features, block| {
            block.forward(features, &mut Pass::Inference)
        });
        last.read(handed_on, &mut Pass::Inference)
    }

    /// The same function with dense weights.
    pub fn fold(&self) -> Self {
        Self {
            blocks: self.blocks.iter().map(Block::fold).collect(),
        }
    }

    /// Copies of all tensors, named `block.N.` and the path within the block.
    pub fn tensors(&self) -> NamedTensors {
        let mut all = NamedTensors::new();
        for (number, block) in self.blocks.iter().enumerate() {
            let named = parameters::take(block).into_iter();
            all.extend(named.map(|(name, data)| (format!("block.{number}.{name}"), data)));
        }
        all
    }

    /// The network with such tensors in place of its own.
    ///
    /// # Errors
    /// The first [`Misfit`].
    pub fn with_tensors(self, tensors: NamedTensors) -> Result<Self, Misfit> {
        let mut by_block = vec![NamedTensors::new(); self.blocks.len()];
        for (name, data) in tensors {
            let rest = name
                .strip_prefix("block.")
                .and_then(|rest| rest.split_once('.'));
            let place = rest.and_then(|(number, rest)| {
                let of_block = by_block.get_mut(number.parse::<usize>().ok()?)?;
                Some((of_block, rest.to_owned()))
            });
            match place {
                Some((of_block, rest)) => of_block.insert(rest, data),
                None => return Err(Misfit::Unknown { name }),
            };
        }
        let blocks = self.blocks.into_iter().zip(by_block);
        let blocks = blocks.map(|(block, tensors)| parameters::put(block, tensors));
        Ok(Self {
            blocks: blocks.collect::<Result<_, _>>()?,
        })
    }

    /// Counts the numbers of the network.
    pub fn parameter_counts(&self) -> ParameterCounts {
        let mut counts = ParameterCounts::default();
        let last = self.blocks.len().saturating_sub(1);
        for (index, block) in self.blocks.iter().enumerate() {
            let of_weights = |weights: &[&crate::nn::weight::Weight]| {
                weights
                    .iter()
                    .map(|weight| weight.counts())
                    .sum::<WeightCounts>()
            };
            let block_counts = of_weights(&block.weights());
            let all = parameters::count(block);
            let others = all - block_counts.stored;
            counts.stored += all;
            counts.degrees_of_freedom += block_counts.degrees_of_freedom + others;
            counts.composed += block_counts.composed + others;
            let (is_last, n_inner) = (index == last, block.n_heads() - 1);
            for (number, (_, head)) in block.heads().enumerate() {
                if is_last && number == n_inner {
                    continue;
                }
                let weights: Vec<_> = head.layers().into_iter().map(Layer::weight).collect();
                let of_head = of_weights(&weights);
                let others = parameters::count(head) - of_head.stored;
                counts.auxiliary_heads += of_head.composed + others;
            }
        }
        counts
    }
}

impl ModelConfig {
    fn unit(&self, unit: usize, seed: Seed, device: &Device) -> Unit {
        let channels = self.channels();
        let in_channels = if unit == 0 { 1 } else { channels[unit - 1] };
        let mut rng = seed.stream(Purpose::Initialization, &[Place::Unit(unit).key()]);
        match self.name {
            ModelName::BrainCnn => Unit::ConvStage(ConvStage::new(
                &self.stages[unit],
                [in_channels, channels[unit]],
                self.batch_norm,
                self.weights,
                (&mut rng, device),
            )),
        }
    }

    /// The head after unit `unit`, with `remaining_blocks` to follow.
    fn head(
        &self,
        (unit, remaining_blocks): (usize, usize),
        n_outputs: usize,
        seed: Seed,
        device: &Device,
    ) -> Head {
        let mut rng = seed.stream(Purpose::Initialization, &[Place::HeadAfter(unit).key()]);
        let is_last = remaining_blocks == 0;
        let copied = match self.head {
            HeadKind::Augmented { depth } if !is_last => {
                copied_units(unit, self.stages.len(), depth)
            }
            HeadKind::Momentum { .. } if !is_last => vec![unit + 1],
            _ => Vec::new(),
        };
        let channels = self.channels();
        let (mut at, mut copies) = (unit, Vec::with_capacity(copied.len()));
        for next in copied {
            let stage = ConvStage::new(
                &self.stages[next],
                [channels[at], channels[next]],
                self.batch_norm,
                self.weights,
                (&mut rng, device),
            );
            // Each stage that is left out would have halved the sides.
            copies.push(Unit::ConvStage(stage.after_averages(1 << (next - at - 1))));
            at = next;
        }
        let shape = HeadShape {
            kind: if is_last { self.last_head } else { self.head },
            channels: channels[at],
            remaining_blocks,
            hidden: self.final_hidden,
            extent: Extent::Volume,
            pooling: Pooling::Average,
            conv_hidden: CONV_HEAD_HIDDEN,
            batch_norm: self.batch_norm,
            dropout: self.final_dropout,
            n_outputs,
        };
        let head = Head::new(shape, self.weights, &mut rng, device);
        head.behind(copies, channels[unit])
    }
}
