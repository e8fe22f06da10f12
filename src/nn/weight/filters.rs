//! The kernels of a convolution as few filters for each input channel, and how outputs mix them.
//!
//! Yu et al., "DeCEF: Deep Convolutional Eigen-Filters" (2024): the kernels that read one input channel lie near a
//! space of few dimensions. For each input channel there are r filters (its eigen-filters), and each output adds them up with
//! coefficients of its own: C_in·r·k³ + C_in·r·C_out numbers instead of C_in·k³·C_out. r is one number a layer, the effective
//! rank: the fewest whose singular values hold a share of the squares, channels together. There is no official code; the
//! rule is taken of the first draw, and the filters are orthonormal at the start only.

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor, TensorData};
use nalgebra::DMatrix;

use super::WeightCounts;

/// W(out, in, voxel) = Σ mixing(in, out, r) · filters(in, r, voxel).
#[derive(Module, Debug)]
pub struct FilterWeight {
    /// `[in, out, rank]`.
    mixing: Param<Tensor<3>>,
    /// `[in, rank, voxels]`.
    filters: Param<Tensor<3>>,
}

impl FilterWeight {
    /// The nearest such weight of a matrix `[out, in·voxels]` that holds `percent` of its squares.
    pub(super) fn of(
        values: &[f32],
        [outputs, inputs, n_voxels]: [usize; 3],
        percent: u8,
        device: &Device,
    ) -> Self {
        let of_input = |input: usize| {
            DMatrix::from_fn(outputs, n_voxels, |out, voxel| {
                f64::from(values[(out * inputs + input) * n_voxels + voxel])
            })
        };
        let decompositions: Vec<_> = (0..inputs)
            .map(|input| of_input(input).svd(true, true))
            .collect();
        let most = outputs.min(n_voxels);
        let mut squares = vec![0.0; most];
        for svd in &decompositions {
            for (sum, value) in squares.iter_mut().zip(svd.singular_values.iter()) {
                *sum += value * value;
            }
        }
        let rank = effective_rank(&squares, percent);
        let mut mixing = Vec::with_capacity(inputs * outputs * rank);
        let mut filters = Vec::with_capacity(inputs * rank * n_voxels);
        for svd in &decompositions {
            let u = svd.u.as_ref();
            let v = svd.v_t.as_ref();
            for out in 0..outputs {
                mixing.extend(
                    (0..rank)
                        .map(|r| u.map_or(0.0, |u| (u[(out, r)] * svd.singular_values[r]) as f32)),
                );
            }
            for r in 0..rank {
                filters.extend((0..n_voxels).map(|voxel| v.map_or(0.0, |v| v[(r, voxel)] as f32)));
            }
        }
        Self {
            mixing: Param::from_data(TensorData::new(mixing, [inputs, outputs, rank]), device),
            filters: Param::from_data(TensorData::new(filters, [inputs, rank, n_voxels]), device),
        }
    }

    /// # Shapes
    /// `[out, in·voxels]`.
    pub(super) fn compose(&self) -> Tensor<2> {
        let [inputs, outputs, _] = self.mixing.val().dims();
        let by_input = self.mixing.val().matmul(self.filters.val());
        let [_, _, n_voxels] = by_input.dims();
        by_input
            .swap_dims(0, 1)
            .reshape([outputs, inputs * n_voxels])
    }

    pub(super) fn counts(&self) -> WeightCounts {
        let [inputs, outputs, rank] = self.mixing.val().dims();
        let [_, _, n_voxels] = self.filters.val().dims();
        WeightCounts {
            stored: inputs * rank * (outputs + n_voxels),
            degrees_of_freedom: inputs * rank * (outputs + n_voxels - rank),
            composed: inputs * outputs * n_voxels,
        }
    }
}

/// The fewest squares, of falling order, that make up a share of their sum.
fn effective_rank(squares: &[f64], percent: u8) -> usize {
    let wanted = squares.iter().sum::<f64>() * f64::from(percent) / 100.0;
    let mut held = 0.0;
    let within = squares.iter().take_while(|square| {
        let is_needed = held < wanted * (1.0 - 1e-12);
        held += **square;
        is_needed
    });
    within.count().max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Tolerance;

    fn values(n: usize) -> Vec<f32> {
        (0..n).map(|i| (i as f32 * 1.7 + 0.3).sin()).collect()
    }

    #[test]
    fn at_full_rank_it_is_the_whole_kernel() {
        for dims in [[4, 3, 9], [12, 2, 8]] {
            let all = values(dims.iter().product());
            let weight = FilterWeight::of(&all, dims, 100, &Device::flex());
            let whole = TensorData::new(all, [dims[0], dims[1] * dims[2]]);
            // Sums of up to nine products of numbers up to 4 that were rounded to f32.
            weight
                .compose()
                .into_data()
                .assert_approx_eq::<f32>(&whole, Tolerance::absolute(1e-5));
        }
    }

    #[test]
    fn kernels_of_one_filter_a_channel_need_one_and_are_kept_whole() {
        // Each of 5 outputs has the same filter of 9 voxels for an input, times a number.
        let filters = values(2 * 9);
        let all: Vec<f32> = (0..5 * 2 * 9)
            .map(|i| (i / 18 + 1) as f32 * filters[i % 18])
            .collect();
        let weight = FilterWeight::of(&all, [5, 2, 9], 99, &Device::flex());
        assert_eq!(
            weight.counts(),
            WeightCounts {
                stored: 2 * (5 + 9),
                degrees_of_freedom: 2 * (5 + 9 - 1),
                composed: 90,
            }
        );
        let whole = TensorData::new(all, [5, 18]);
        weight
            .compose()
            .into_data()
            .assert_approx_eq::<f32>(&whole, Tolerance::absolute(1e-5));
    }

    #[test]
    fn the_effective_rank_is_the_fewest_that_hold_the_share() {
        assert_eq!(effective_rank(&[6.0, 3.0, 1.0], 60), 1);
        assert_eq!(effective_rank(&[6.0, 3.0, 1.0], 61), 2);
        assert_eq!(effective_rank(&[6.0, 3.0, 1.0], 90), 2);
        assert_eq!(effective_rank(&[6.0, 3.0, 1.0], 100), 3);
        assert_eq!(effective_rank(&[0.0, 0.0], 90), 1);
    }
}
