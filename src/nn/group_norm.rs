//! Group normalization (Wu & He, ECCV 2018): no statistics beyond the sample, so batches of one are as good as any.

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};

/// Normalizes groups of channels of each sample, then scales and shifts each channel.
#[derive(Module, Debug)]
pub struct GroupNorm {
    /// `[channels]`.
    gamma: Param<Tensor<1>>,
    /// `[channels]`.
    beta: Param<Tensor<1>>,
    groups: usize,
    epsilon: f64,
}

impl GroupNorm {
    /// `channels` in at most `groups` groups of equal size.
    pub fn new(channels: usize, groups: usize, device: &Device) -> Self {
        let groups = (1..=groups.min(channels))
            .rev()
            .find(|n| channels.is_multiple_of(*n));
        Self {
            gamma: Param::from_tensor(Tensor::ones([channels], device)),
            beta: Param::from_tensor(Tensor::zeros([channels], device)),
            groups: groups.unwrap_or(1),
            epsilon: 1e-5,
        }
    }

    /// # Shapes
    /// `[batch, channels, x, y, z]`, unchanged.
    pub fn forward(&self, input: Tensor<5>) -> Tensor<5> {
        let dims = input.dims();
        let [batch, channels, ..] = dims;
        let n_voxels: usize = dims[2..].iter().product();
        let grouped = input.reshape([batch, self.groups, channels / self.groups * n_voxels]);
        let centred = grouped.clone() - grouped.mean_dim(2);
        let variance = centred.clone().square().mean_dim(2);
        let normalized =
            (centred / (variance + self.epsilon).sqrt()).reshape([batch, channels, n_voxels]);
        let wide = |t: Tensor<1>| t.reshape([1, channels, 1]);
        (normalized * wide(self.gamma.val()) + wide(self.beta.val())).reshape(dims)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_group_of_each_sample_has_mean_0_and_variance_1() {
        let device = Device::flex();
        let values: Vec<f32> = (0..2 * 4 * 8)
            .map(|i| ((i * 37) % 19) as f32 * (1 + i / 32) as f32)
            .collect();
        let data = burn::tensor::TensorData::new(values, [2, 4, 2, 2, 2]);
        let out = GroupNorm::new(4, 2, &device).forward(Tensor::from_data(data, &device));
        let out = out.into_data().try_into_vec::<f32>().expect("f32");
        for group in out.chunks(16) {
            let mean = group.iter().sum::<f32>() / 16.0;
            let variance = group.iter().map(|v| v * v).sum::<f32>() / 16.0 - mean * mean;
            // ε = 1e-5 against variances of some tens, and f32 rounding.
            assert!(
                mean.abs() < 1e-5 && (variance - 1.0).abs() < 1e-4,
                "{mean} {variance}"
            );
        }
    }

    #[test]
    fn groups_divide_the_channels() {
        let groups = |channels| GroupNorm::new(channels, 8, &Device::flex()).groups;
        assert_eq!((groups(16), groups(12), groups(5), groups(1)), (8, 6, 5, 1));
    }
}
