//! The 3D brain-age network of Yin et al., PNAS 120(2) e2214634120 (2023), version "conv4k6d2".
//!
//! A stage is convolution → ReLU → 2×2×2 maximum → batch normalization → dropout. Ours takes the maximum before the
//! ReLU, which is the same function (both are monotone) on an eighth of the values.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::nn::batch_norm::BatchNorm;
use crate::nn::conv3d::{Conv3d, Conv3dShape, Extent};
use crate::nn::dropout::dropout;
use crate::nn::pass::{BatchStatistics, Pass};
use crate::nn::pool3d::average_pool_by;
use crate::nn::weight::WeightForm;

/// What surrounds the input of a convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Padding {
    /// Nothing: the output is smaller by the kernel less one, as published.
    Valid,
    /// Zeros, so that an odd kernel keeps the size.
    Same,
}

/// One convolutional stage; a network has several.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConvStageConfig {
    /// Channels of the output, before the width factor.
    pub channels: usize,
    /// Side of the kernel, in voxels.
    pub kernel: usize,
    /// What surrounds the input.
    pub padding: Padding,
    /// Share of outputs that a training pass switches off.
    pub dropout: f64,
}

/// Settings of the batch normalization.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BatchNormConfig {
    /// Share of the old running statistics that each step keeps; published: 0.99.
    pub momentum: f64,
    /// Added to the variance; published: 1e-3.
    pub epsilon: f64,
}

/// Convolution → maximum of 2×2×2 → ReLU → batch normalization → dropout.
#[derive(Module, Debug)]
pub struct ConvStage {
    /// The convolution; its weight may be factorized.
    pub(super) convolution: Conv3d,
    norm: BatchNorm,
    dropout: f64,
    /// Side of the cells over which the input is averaged first; 1 in a trunk.
    cell: usize,
}

impl ConvStageConfig {
    /// The convolution for a number of input channels.
    pub fn convolution(&self, in_channels: usize, out_channels: usize) -> Conv3dShape {
        let padding = match self.padding {
            Padding::Valid => 0,
            Padding::Same => self.kernel / 2,
        };
        let channels = [in_channels, out_channels];
        Conv3dShape::even(Extent::Volume, channels, self.kernel, 1, padding)
    }

    /// Side after the stage; `None` where the input is too small.
    pub fn output_side(&self, side: usize) -> Option<usize> {
        let pooled = self.convolution(1, 1).output_side(0, side)? / 2;
        (pooled > 0).then_some(pooled)
    }
}

impl ConvStage {
    /// Draws the weights from `rng`.
    pub fn new(
        config: &ConvStageConfig,
        [in_channels, out_channels]: [usize; 2],
        norm: BatchNormConfig,
        form: WeightForm,
        (rng, device): (&mut ChaCha8Rng, &Device),
    ) -> Self {
        let shape = config.convolution(in_channels, out_channels);
        Self {
            convolution: Conv3d::new(shape, form, rng, device),
            norm: BatchNorm::new(out_channels, norm.momentum, norm.epsilon, device),
            dropout: config.dropout,
            cell: 1,
        }
    }

    /// The stage behind averages over cells of so many voxels a side.
    pub(super) fn after_averages(self, cell: usize) -> Self {
        Self { cell, ..self }
    }

    /// # Shapes
    /// `[batch, in, x, y, z]` → `[batch, out, x', y', z']`, see [`ConvStageConfig::output_side`].
    pub fn forward(&self, input: Tensor<5>, pass: &mut Pass) -> Tensor<5> {
        let input = average_pool_by(input, self.cell);
        pass.see(&self.convolution, &input);
        let features = self.convolution.forward_max_pool2(input);
        dropout(self.norm.forward_relu(features, pass), self.dropout, pass)
    }

    /// Takes over the statistics of a training pass.
    pub fn absorb(self, statistics: BatchStatistics) -> Self {
        Self {
            norm: self.norm.absorb(statistics),
            ..self
        }
    }

    /// The same function with dense weights.
    pub fn fold(&self) -> Self {
        Self {
            convolution: self.convolution.fold(),
            ..self.clone()
        }
    }
}
