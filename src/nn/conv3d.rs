//! 3D convolution with dense or eigen weights.

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};
use rand_chacha::ChaCha8Rng;

use super::conv3d_op::conv3d;
use super::conv3d_pool_op::conv3d_max_pool2;
use super::weight::{InitialMatrix, Weight, WeightForm};

/// Shape of a convolution with cubic kernels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conv3dShape {
    /// Channels of the input.
    pub in_channels: usize,
    /// Channels of the output.
    pub out_channels: usize,
    /// Side of the kernel, in voxels.
    pub kernel: usize,
    /// Step between outputs, in voxels.
    pub stride: usize,
    /// Zeros added on each side, in voxels.
    pub padding: usize,
}

impl Conv3dShape {
    /// Side of the output for an input side; `None` where the kernel does not fit.
    pub fn output_side(&self, side: usize) -> Option<usize> {
        Some((side + 2 * self.padding).checked_sub(self.kernel)? / self.stride + 1)
    }
}

/// Convolution with a bias; the kernel is the matrix `[out, in·k³]` reshaped.
#[derive(Module, Debug)]
pub struct Conv3d {
    /// `[out_channels, in_channels·kernel³]`.
    pub weight: Weight,
    /// `[out_channels]`.
    bias: Param<Tensor<1>>,
    in_channels: usize,
    out_channels: usize,
    kernel: usize,
    stride: usize,
    padding: usize,
}

impl Conv3d {
    /// Draws the kernel with variance 2/out on the matrix, as the method does (a normalization that follows hides
    /// the scale); the bias starts at 0.
    pub fn new(
        shape: Conv3dShape,
        form: WeightForm,
        rng: &mut ChaCha8Rng,
        device: &Device,
    ) -> Self {
        let Conv3dShape {
            in_channels,
            out_channels,
            kernel,
            stride,
            padding,
        } = shape;
        let sd = (2.0 / out_channels as f64).sqrt();
        let columns = in_channels * kernel.pow(3);
        let matrix = InitialMatrix::gaussian(out_channels, columns, sd, rng);
        Self {
            weight: matrix.into_weight(form, device),
            bias: Param::from_tensor(Tensor::zeros([out_channels], device)),
            in_channels,
            out_channels,
            kernel,
            stride,
            padding,
        }
    }

    /// # Shapes
    /// `[batch, in, x, y, z]` → `[batch, out, x', y', z']`.
    pub fn forward(&self, input: Tensor<5>) -> Tensor<5> {
        let (stride, padding) = ([self.stride; 3], [self.padding; 3]);
        conv3d(input, self.kernels(), self.bias.val(), stride, padding)
    }

    /// [`Self::forward`] and then the largest value of each 2×2×2 cell, at once where that is faster.
    ///
    /// # Shapes
    /// `[batch, in, x, y, z]` → `[batch, out, x'/2, y'/2, z'/2]`.
    pub fn forward_max_pool2(&self, input: Tensor<5>) -> Tensor<5> {
        let (stride, padding) = ([self.stride; 3], [self.padding; 3]);
        conv3d_max_pool2(input, self.kernels(), self.bias.val(), stride, padding)
    }

    fn kernels(&self) -> Tensor<5> {
        let k = self.kernel;
        let dims = [self.out_channels, self.in_channels, k, k, k];
        self.weight.compose().reshape(dims)
    }

    /// The same function with dense weights.
    pub fn fold(&self) -> Self {
        Self {
            weight: self.weight.fold(),
            ..self.clone()
        }
    }
}
