//! Convolution of volumes, and of images as volumes of depth 1, with dense or eigen weights.

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};
use rand_chacha::ChaCha8Rng;

use super::conv3d_op::conv3d;
use super::conv3d_pool_op::conv3d_max_pool2;
use super::weight::{InitialMatrix, Weight, WeightForm};

/// What a kernel spans.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// All three axes.
    Volume,
    /// The last two axes: images are volumes of depth 1.
    Image,
}

impl Extent {
    /// `side` along the axes that it spans, `elsewhere` along the others.
    fn sides(self, side: usize, elsewhere: usize) -> [usize; 3] {
        match self {
            Self::Volume => [side; 3],
            Self::Image => [elsewhere, side, side],
        }
    }
}

/// Shape of a convolution; sides are along x, y, z.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conv3dShape {
    /// Channels of the input.
    pub in_channels: usize,
    /// Channels of the output.
    pub out_channels: usize,
    /// Sides of the kernel, in voxels.
    pub kernel: [usize; 3],
    /// Steps between outputs, in voxels.
    pub stride: [usize; 3],
    /// Zeros added on each side, in voxels.
    pub padding: [usize; 3],
}

impl Conv3dShape {
    /// A cubic or a square kernel with the same stride and padding along all axes that it spans.
    pub fn even(
        extent: Extent,
        [in_channels, out_channels]: [usize; 2],
        kernel: usize,
        stride: usize,
        padding: usize,
    ) -> Self {
        Self {
            in_channels,
            out_channels,
            kernel: extent.sides(kernel, 1),
            stride: extent.sides(stride, 1),
            padding: extent.sides(padding, 0),
        }
    }

    /// Inputs that each output is a sum of.
    pub fn fan_in(&self) -> usize {
        self.in_channels * self.kernel.iter().product::<usize>()
    }

    /// Side of the output along an axis for an input side; `None` where the kernel does not fit.
    pub fn output_side(&self, axis: usize, side: usize) -> Option<usize> {
        let padded = side + 2 * self.padding[axis];
        Some(padded.checked_sub(self.kernel[axis])? / self.stride[axis] + 1)
    }
}

/// Convolution; the kernel is the matrix `[out, in·kx·ky·kz]` reshaped.
#[derive(Module, Debug)]
pub struct Conv3d {
    /// `[out_channels, in_channels·kx·ky·kz]`.
    pub weight: Weight,
    /// `[out_channels]`, if it has one.
    bias: Option<Param<Tensor<1>>>,
    in_channels: usize,
    out_channels: usize,
    kernel: [usize; 3],
    stride: [usize; 3],
    padding: [usize; 3],
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
        let sd = (2.0 / shape.out_channels as f64).sqrt();
        Self::with_sd(shape, sd, form, rng, device)
    }

    /// Draws the kernel with a standard deviation; the bias starts at 0.
    pub fn with_sd(
        shape: Conv3dShape,
        sd: f64,
        form: WeightForm,
        rng: &mut ChaCha8Rng,
        device: &Device,
    ) -> Self {
        let columns = shape.fan_in();
        let Conv3dShape {
            in_channels,
            out_channels,
            kernel,
            stride,
            padding,
        } = shape;
        let matrix = InitialMatrix::gaussian(out_channels, columns, sd, rng);
        Self {
            weight: matrix.into_kernel(form, in_channels, device),
            bias: Some(Param::from_tensor(Tensor::zeros([out_channels], device))),
            in_channels,
            out_channels,
            kernel,
            stride,
            padding,
        }
    }

    /// Its shape.
    pub fn shape(&self) -> Conv3dShape {
        Conv3dShape {
            in_channels: self.in_channels,
            out_channels: self.out_channels,
            kernel: self.kernel,
            stride: self.stride,
            padding: self.padding,
        }
    }

    /// The same without a bias, for a normalization that follows would take it away again.
    pub fn without_bias(self) -> Self {
        Self { bias: None, ..self }
    }

    /// # Shapes
    /// `[batch, in, x, y, z]` → `[batch, out, x', y', z']`.
    pub fn forward(&self, input: Tensor<5>) -> Tensor<5> {
        let bias = self.bias_on(&input);
        conv3d(input, self.kernels(), bias, self.stride, self.padding)
    }

    /// [`Self::forward`] and then the largest value of each 2×2×2 cell, at once where that is faster.
    ///
    /// # Shapes
    /// `[batch, in, x, y, z]` → `[batch, out, x'/2, y'/2, z'/2]`.
    pub fn forward_max_pool2(&self, input: Tensor<5>) -> Tensor<5> {
        let bias = self.bias_on(&input);
        conv3d_max_pool2(input, self.kernels(), bias, self.stride, self.padding)
    }

    fn bias_on(&self, input: &Tensor<5>) -> Tensor<1> {
        match &self.bias {
            Some(bias) => bias.val(),
            None => Tensor::zeros([self.out_channels], &input.device()),
        }
    }

    fn kernels(&self) -> Tensor<5> {
        let [x, y, z] = self.kernel;
        let dims = [self.out_channels, self.in_channels, x, y, z];
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
