//! Kernels as the gradient of the input multiplies them.

use super::super::Geometry;
use rayon::prelude::*;

/// Input channels that are turned together: their kernels lie side by side.
const TOGETHER: usize = 16;

/// Weights `[output channel][input channel][tap]` as `[input channel][output channel][one of the taps]`.
pub(super) fn turned(g: &Geometry, weight: &[f32], taps: &[usize]) -> Vec<f32> {
    let n_taps: usize = g.kernel.iter().product();
    let n_terms = g.out_channels * taps.len();
    let mut turned = vec![0.0; g.in_channels * n_terms];
    if turned.is_empty() {
        return turned;
    }
    turned
        .par_chunks_mut(TOGETHER * n_terms)
        .enumerate()
        .for_each(|(at, rows)| {
            for (o, of_output) in weight.chunks_exact(g.in_channels * n_taps).enumerate() {
                let kernels = of_output[at * TOGETHER * n_taps..].chunks_exact(n_taps);
                for (row, kernel) in rows.chunks_exact_mut(n_terms).zip(kernels) {
                    let row = &mut row[o * taps.len()..][..taps.len()];
                    for (to, tap) in row.iter_mut().zip(taps) {
                        *to = kernel[*tap];
                    }
                }
            }
        });
    turned
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_change_places_and_taps_are_chosen() {
        let g = Geometry {
            batch: 1,
            in_channels: 19,
            out_channels: 3,
            input: [1, 4, 4],
            kernel: [1, 2, 2],
            stride: [1; 3],
            padding: [0; 3],
        };
        let weight: Vec<f32> = (0..g.weight_len()).map(|i| i as f32).collect();
        let found = turned(&g, &weight, &[3, 1]);
        assert_eq!(found.len(), 19 * 3 * 2);
        for (at, found) in found.into_iter().enumerate() {
            let (i, o, tap) = (at / 6, at / 2 % 3, [3, 1][at % 2]);
            assert_eq!(found, weight[(o * 19 + i) * 4 + tap]);
        }
    }
}
