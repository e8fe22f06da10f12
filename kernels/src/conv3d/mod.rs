//! Convolution of volumes: values, gradient of the input and gradient of the kernels, by several algorithms.
//!
//! As networks mean it, without flipping the kernel: `out[n,o,p] = bias[o] + Σ_{i,k} in[n,i,stride·p + k − padding]
//! · weight[o,i,k]`, zeros outside. All arrays are dense, the last axis fastest: input `[batch, in, x, y, z]`, weight
//! `[out, in, kx, ky, kz]`, output `[batch, out, x', y', z']`.

pub mod fft;
#[cfg(test)]
mod reference;

/// Sizes of one convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Geometry {
    /// Volumes.
    pub batch: usize,
    /// Channels of the input.
    pub in_channels: usize,
    /// Channels of the output.
    pub out_channels: usize,
    /// Sides of the input, in voxels.
    pub input: [usize; 3],
    /// Sides of the kernel, in voxels.
    pub kernel: [usize; 3],
    /// Step between outputs, in voxels; at least 1.
    pub stride: [usize; 3],
    /// Zeros on either side, in voxels.
    pub padding: [usize; 3],
}

impl Geometry {
    /// Sides of the output; 0 where the kernel does not fit.
    pub fn output(&self) -> [usize; 3] {
        std::array::from_fn(|axis| {
            (self.input[axis] + 2 * self.padding[axis])
                .checked_sub(self.kernel[axis])
                .map_or(0, |room| room / self.stride[axis] + 1)
        })
    }

    /// Numbers in the input.
    pub fn input_len(&self) -> usize {
        self.batch * self.in_channels * self.input.iter().product::<usize>()
    }

    /// Numbers in the kernels.
    pub fn weight_len(&self) -> usize {
        self.out_channels * self.in_channels * self.kernel.iter().product::<usize>()
    }

    /// Numbers in the output.
    pub fn output_len(&self) -> usize {
        self.batch * self.out_channels * self.output().iter().product::<usize>()
    }

    /// Multiply-adds of a direct convolution that multiplies the padding too.
    pub fn macs(&self) -> usize {
        self.output_len() * self.in_channels * self.kernel.iter().product::<usize>()
    }
}
