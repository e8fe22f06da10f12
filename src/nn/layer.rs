//! What layers with a weight matrix have in common, for those that look at all of them.

use super::conv3d::{Conv3d, Conv3dShape};
use super::linear::Linear;
use super::weight::Weight;

/// A layer with a weight matrix.
#[derive(Clone, Copy, Debug)]
pub enum Layer<'a> {
    /// A convolution, or the projection of patches.
    Convolution(&'a Conv3d),
    /// A fully connected layer.
    Linear(&'a Linear),
}

impl<'a> Layer<'a> {
    /// Its matrix, `[outputs, inputs]`; of a convolution `[out_channels, in_channels·kx·ky·kz]`.
    pub fn weight(self) -> &'a Weight {
        match self {
            Self::Convolution(convolution) => &convolution.weight,
            Self::Linear(linear) => &linear.weight,
        }
    }

    /// What a convolution spans; `None` for a linear layer.
    pub fn convolution(self) -> Option<Conv3dShape> {
        match self {
            Self::Convolution(convolution) => Some(convolution.shape()),
            Self::Linear(_) => None,
        }
    }
}
