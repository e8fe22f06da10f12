//! What the networks are made of: convolutions, instance normalization, max-pooling, on feature maps in memory.

use brainage_kernels::conv3d::{self, Geometry, Pass};
use rayon::prelude::*;

use super::weights::Kernels;

/// Added to the variance of a feature map: PyTorch's default, which the networks were trained with.
const EPSILON: f64 = 1e-5;

/// Feature maps of one scan.
///
/// # Shapes
/// `numbers` is `[channel, z, y, x]`, all three sides alike.
pub(super) struct Maps {
    pub(super) numbers: Vec<f32>,
    pub(super) channels: usize,
    pub(super) side: usize,
}

impl Maps {
    fn n_voxels(&self) -> usize {
        self.side.pow(3)
    }

    /// Convolution with as many zeros around as keep the sides for stride 1.
    pub(super) fn convolved(&self, kernels: &Kernels, stride: usize) -> Self {
        let [out_channels, in_channels] = kernels.channels;
        let geometry = Geometry {
            batch: 1,
            in_channels,
            out_channels,
            input: [self.side; 3],
            kernel: [kernels.side; 3],
            stride: [stride; 3],
            padding: [kernels.side / 2; 3],
        };
        let algorithm = conv3d::choose(&geometry, Pass::Forward);
        Self {
            numbers: conv3d::forward(algorithm, &geometry, &self.numbers, &kernels.numbers, None),
            channels: out_channels,
            side: geometry.output()[0],
        }
    }

    /// Transposed convolution: the sides become `stride` times as long. It is the gradient of the convolution from the
    /// large to the small maps.
    pub(super) fn spread(&self, kernels: &Kernels, stride: usize) -> Self {
        let [in_channels, out_channels] = kernels.channels;
        let side = self.side * stride;
        let geometry = Geometry {
            batch: 1,
            in_channels: out_channels,
            out_channels: in_channels,
            input: [side; 3],
            kernel: [kernels.side; 3],
            stride: [stride; 3],
            padding: [(kernels.side - 1) / 2; 3],
        };
        let algorithm = conv3d::choose(&geometry, Pass::InputGradient);
        Self {
            numbers: conv3d::input_gradient(algorithm, &geometry, &self.numbers, &kernels.numbers),
            channels: out_channels,
            side,
        }
    }

    /// Each map gets mean 0 and variance 1.
    pub(super) fn normalized(self) -> Self {
        self.finished(|normal, _| normal)
    }

    /// [`Maps::normalized`], then negative numbers become 0.
    pub(super) fn rectified(self) -> Self {
        self.finished(|normal, _| normal.max(0.0))
    }

    /// [`Maps::normalized`], then `other` is added, then negative numbers become 0.
    pub(super) fn joined(self, other: &Self) -> Self {
        self.finished(|normal, at| (normal + other.numbers[at]).max(0.0))
    }

    fn finished(mut self, finish: impl Fn(f32, usize) -> f32 + Sync) -> Self {
        let n_voxels = self.n_voxels();
        self.numbers
            .par_chunks_mut(n_voxels)
            .enumerate()
            .for_each(|(channel, map)| {
                let scaling = Scaling::of(map);
                for (at, number) in map.iter_mut().enumerate() {
                    *number = finish(scaling.apply(*number), channel * n_voxels + at);
                }
            });
        self
    }

    /// [`Maps::rectified`], then [`Maps::max_pooled`]. Both keep the order of numbers, so the largest are taken first, and an
    /// eighth of the numbers is left to scale.
    pub(super) fn rectified_and_pooled(&self) -> Self {
        let scalings: Vec<Scaling> = self
            .numbers
            .par_chunks(self.n_voxels())
            .map(Scaling::of)
            .collect();
        let mut pooled = self.max_pooled();
        let n_voxels = pooled.n_voxels();
        let maps = pooled.numbers.par_chunks_mut(n_voxels).zip(&scalings);
        maps.for_each(|(map, scaling)| {
            for number in map {
                *number = scaling.apply(*number).max(0.0);
            }
        });
        pooled
    }

    /// Adds `other`, of the same shape.
    pub(super) fn plus(mut self, other: &Self) -> Self {
        let pairs = self.numbers.par_iter_mut().zip(&other.numbers);
        pairs.for_each(|(number, other)| *number += other);
        self
    }

    /// The largest of each 3³ voxels, at every second voxel along each axis; nothing lies outside.
    fn max_pooled(&self) -> Self {
        let (side, half) = (self.side, self.side.div_ceil(2));
        let mut numbers = vec![0.0; self.channels * half.pow(3)];
        numbers
            .par_chunks_mut(half * half)
            .enumerate()
            .for_each(|(plane, pooled)| {
                let (channel, z) = (plane / half, plane % half);
                let map = &self.numbers[channel * side.pow(3)..][..side.pow(3)];
                let mut row = vec![0.0; side];
                for (y, pooled) in pooled.chunks_exact_mut(half).enumerate() {
                    row.fill(f32::NEG_INFINITY);
                    for (z, y) in about(z, side).flat_map(|z| about(y, side).map(move |y| (z, y))) {
                        let values = &map[(z * side + y) * side..][..side];
                        for (largest, value) in row.iter_mut().zip(values) {
                            *largest = largest.max(*value);
                        }
                    }
                    for (x, pooled) in pooled.iter_mut().enumerate() {
                        *pooled = row[about(x, side)]
                            .iter()
                            .copied()
                            .fold(f32::NEG_INFINITY, f32::max);
                    }
                }
            });
        Self {
            numbers,
            channels: self.channels,
            side: half,
        }
    }
}

/// The voxels that a pooled voxel looks at, along one axis.
fn about(pooled: usize, side: usize) -> std::ops::Range<usize> {
    (2 * pooled).saturating_sub(1)..(2 * pooled + 2).min(side)
}

/// What normalizes a map.
struct Scaling {
    mean: f32,
    scale: f32,
}

impl Scaling {
    fn of(map: &[f32]) -> Self {
        let (mean, deviation) = mean_and_deviation(map);
        Self {
            mean: mean as f32,
            scale: (1.0 / deviation) as f32,
        }
    }

    fn apply(&self, number: f32) -> f32 {
        (number - self.mean) * self.scale
    }
}

fn mean_and_deviation(map: &[f32]) -> (f64, f64) {
    let count = map.len() as f64;
    let mean = sum(map, |number| number) / count;
    let variance = sum(map, |number| (number - mean).powi(2)) / count;
    (mean, (variance + EPSILON).sqrt())
}

/// Eight running sums, so that additions need not wait for each other.
fn sum(numbers: &[f32], term: impl Fn(f64) -> f64) -> f64 {
    let mut sums = [0.0; 8];
    let (eights, rest) = numbers.as_chunks::<8>();
    for eight in eights {
        for (sum, number) in sums.iter_mut().zip(eight) {
            *sum += term(f64::from(*number));
        }
    }
    let rest: f64 = rest.iter().map(|number| term(f64::from(*number))).sum();
    sums.iter().sum::<f64>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn maps(channels: usize, side: usize) -> Maps {
        let numbers =
            (0..channels * side.pow(3)).map(|i| ((i * 7919 + 13) % 101) as f32 / 50.0 - 1.0);
        Maps {
            numbers: numbers.collect(),
            channels,
            side,
        }
    }

    fn kernels(channels: [usize; 2], side: usize) -> Kernels {
        let n = channels[0] * channels[1] * side.pow(3);
        Kernels {
            numbers: (0..n)
                .map(|i| ((i * 31 + 7) % 17) as f32 / 8.0 - 1.0)
                .collect(),
            channels,
            side,
        }
    }

    fn split(i: usize, side: usize) -> [usize; 3] {
        [i / (side * side), i / side % side, i % side]
    }

    /// By its definition: each input voxel adds its kernel to the output, at `stride` times its place.
    fn spread_by_definition(
        input: &Maps,
        kernels: &Kernels,
        stride: usize,
        padding: usize,
    ) -> Vec<f64> {
        let ([n_in, n_out], k, side) = (kernels.channels, kernels.side, input.side * stride);
        let mut output = vec![0.0; n_out * side.pow(3)];
        for (i, o, voxel, tap) in (0..n_in).flat_map(|i| {
            (0..n_out).flat_map(move |o| {
                (0..input.side.pow(3))
                    .flat_map(move |voxel| (0..k.pow(3)).map(move |tap| (i, o, voxel, tap)))
            })
        }) {
            let (from, tap_at) = (split(voxel, input.side), split(tap, k));
            let at: [usize; 3] = std::array::from_fn(|axis| {
                (from[axis] * stride + tap_at[axis]).wrapping_sub(padding)
            });
            if at.iter().all(|v| *v < side) {
                let weight = kernels.numbers[(i * n_out + o) * k.pow(3) + tap];
                let number = input.numbers[i * input.side.pow(3) + voxel];
                output[o * side.pow(3) + (at[0] * side + at[1]) * side + at[2]] +=
                    f64::from(weight * number);
            }
        }
        output
    }

    #[test]
    fn transposed_convolutions_are_what_pytorch_calls_so() {
        // Kernel, stride, padding of the networks; PyTorch's output_padding is stride − 1, and 0 for the last.
        for (side, stride, padding) in [(3, 2, 1), (3, 1, 1), (2, 2, 0)] {
            let (input, kernels) = (maps(3, 4), kernels([3, 2], side));
            let found = input.spread(&kernels, stride);
            let expected = spread_by_definition(&input, &kernels, stride, padding);
            assert_eq!(found.numbers.len(), expected.len());
            for (found, expected) in found.numbers.iter().zip(expected) {
                assert!(
                    (f64::from(*found) - expected).abs() < 1e-4,
                    "{found} {expected}"
                );
            }
        }
    }

    #[test]
    fn a_stride_of_2_halves_the_sides_for_every_kernel() {
        for side in [1, 3, 7] {
            let found = maps(2, 8).convolved(&kernels([3, 2], side), 2);
            assert_eq!(
                (found.side, found.channels, found.numbers.len()),
                (4, 3, 192)
            );
        }
    }

    #[test]
    fn normalized_maps_have_mean_0_and_variance_1_each() {
        let found = maps(3, 5).normalized();
        for map in found.numbers.chunks(125) {
            let (mean, deviation) = mean_and_deviation(map);
            assert!(
                mean.abs() < 1e-6 && (deviation - 1.0).abs() < 1e-4,
                "{mean} {deviation}"
            );
        }
        let rectified = maps(3, 5).rectified();
        let pairs = rectified.numbers.iter().zip(&found.numbers);
        assert!(pairs.clone().all(|(r, n)| *r == n.max(0.0)));
        let joined = maps(3, 5).joined(&found);
        let pairs = joined.numbers.iter().zip(&found.numbers);
        assert!(pairs.clone().all(|(j, n)| *j == (n + n).max(0.0)));
    }

    #[test]
    fn pooled_voxels_are_the_largest_of_their_neighbors() {
        let input = maps(2, 6);
        let found = input.max_pooled();
        assert_eq!(found.side, 3);
        for (i, value) in found.numbers.iter().enumerate() {
            let (channel, at) = (i / 27, split(i % 27, 3));
            let near = |voxel: usize| {
                let from = split(voxel, 6);
                (0..3).all(|axis| from[axis].abs_diff(2 * at[axis]) <= 1)
            };
            let map = &input.numbers[channel * 216..][..216];
            let largest = (0..216)
                .filter(|v| near(*v))
                .map(|v| map[v])
                .fold(f32::MIN, f32::max);
            assert_eq!(*value, largest);
        }
        let at_once = input.rectified_and_pooled();
        assert_eq!(at_once.numbers, input.rectified().max_pooled().numbers);
    }
}
