//! Max-pooling of volumes by two: kernel 2, stride 2, odd rests dropped.
//!
//! The framework has no 3D pooling of its own. One pass keeps the position of each maximum, so the gradient is a
//! scatter: no second look at the input.

use rayon::prelude::*;

/// Sides of a batch of volumes: batch, channels, x, y, z; z is the fastest in memory.
pub type Dims = [usize; 5];

/// The pooled volumes, and for each value where in its input volume it came from.
#[derive(Debug, PartialEq)]
pub struct Pooled {
    /// Maxima, of shape [`output_dims`].
    pub values: Vec<f32>,
    /// Offset of each maximum inside its own channel's volume.
    pub positions: Vec<u32>,
}

/// Shape after pooling: sides halved, rounded down.
pub fn output_dims([batch, channels, x, y, z]: Dims) -> Dims {
    [batch, channels, x / 2, y / 2, z / 2]
}

/// Largest value of each 2×2×2 cell; of equal values the first in memory wins, and NaN wins over all.
///
/// # Shapes
/// `input` has shape `dims`; the result has shape [`output_dims`]. Slices shorter than their shape give an empty result.
pub fn forward(input: &[f32], dims: Dims) -> Pooled {
    let out = output_dims(dims);
    let volume_in: usize = dims[2..].iter().product();
    let volume_out: usize = out[2..].iter().product();
    let n_volumes = dims[0] * dims[1];
    if volume_out == 0 || input.len() < n_volumes * volume_in {
        return Pooled {
            values: Vec::new(),
            positions: Vec::new(),
        };
    }
    let mut values = vec![0.0; n_volumes * volume_out];
    let mut positions = vec![0; n_volumes * volume_out];
    values
        .par_chunks_mut(volume_out)
        .zip(positions.par_chunks_mut(volume_out))
        .zip(input.par_chunks(volume_in))
        .for_each(|((values, positions), volume)| pool_volume(volume, dims, values, positions));
    Pooled { values, positions }
}

fn pool_volume(volume: &[f32], dims: Dims, values: &mut [f32], positions: &mut [u32]) {
    let [_, _, _, ny, nz] = dims;
    let [_, _, ox, oy, oz] = output_dims(dims);
    let mut at = 0;
    for x in 0..ox {
        for y in 0..oy {
            let corner = (2 * x * ny + 2 * y) * nz;
            for z in 0..oz {
                let mut best = corner + 2 * z;
                let mut largest = volume[best];
                for cell in [
                    1,
                    nz,
                    nz + 1,
                    ny * nz,
                    ny * nz + 1,
                    ny * nz + nz,
                    ny * nz + nz + 1,
                ] {
                    let candidate = volume[corner + 2 * z + cell];
                    if candidate > largest || (candidate.is_nan() && !largest.is_nan()) {
                        largest = candidate;
                        best = corner + 2 * z + cell;
                    }
                }
                values[at] = largest;
                positions[at] = best as u32;
                at += 1;
            }
        }
    }
}

/// Gradient of the input: each output's gradient goes to the voxel that gave the maximum, all else is 0.
///
/// # Shapes
/// `gradient` and `positions` have shape [`output_dims`] of `dims`; the result has shape `dims`.
pub fn backward(gradient: &[f32], positions: &[u32], dims: Dims) -> Vec<f32> {
    let volume_in: usize = dims[2..].iter().product();
    let volume_out: usize = output_dims(dims)[2..].iter().product();
    let mut result = vec![0.0; dims[0] * dims[1] * volume_in];
    if volume_out == 0 || volume_in == 0 {
        return result;
    }
    result
        .par_chunks_mut(volume_in)
        .zip(
            gradient
                .par_chunks(volume_out)
                .zip(positions.par_chunks(volume_out)),
        )
        .for_each(|(volume, (gradient, positions))| {
            for (g, position) in gradient.iter().zip(positions) {
                // Cells don't overlap, so each voxel receives at most one gradient.
                volume[*position as usize] = *g;
            }
        });
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The definition, voxel by voxel.
    fn naive(input: &[f32], [b, c, nx, ny, nz]: Dims) -> Vec<f32> {
        let at = |n: usize, x: usize, y: usize, z: usize| input[((n * nx + x) * ny + y) * nz + z];
        let mut out = Vec::new();
        for n in 0..b * c {
            for x in 0..nx / 2 {
                for y in 0..ny / 2 {
                    for z in 0..nz / 2 {
                        let mut m = f32::NEG_INFINITY;
                        for i in 0..8 {
                            m = m.max(at(n, 2 * x + i / 4, 2 * y + i / 2 % 2, 2 * z + i % 2));
                        }
                        out.push(m);
                    }
                }
            }
        }
        out
    }

    proptest! {
        #[test]
        fn pooling_equals_the_definition_and_its_gradient_lands_on_the_maxima(
            dims in prop::array::uniform5(1usize..6),
            seed in any::<u32>(),
        ) {
            let n: usize = dims.iter().product();
            let input: Vec<f32> = (0..n as u32)
                .map(|i| ((i.wrapping_mul(2_654_435_761) ^ seed) % 1009) as f32 - 500.0)
                .collect();
            let pooled = forward(&input, dims);
            prop_assert_eq!(&pooled.values, &naive(&input, dims));
            let ones = vec![1.0; pooled.values.len()];
            let gradient = backward(&ones, &pooled.positions, dims);
            prop_assert_eq!(gradient.iter().sum::<f32>(), ones.len() as f32);
            let dot: f32 = gradient.iter().zip(&input).map(|(g, v)| g * v).sum();
            prop_assert_eq!(dot, pooled.values.iter().sum::<f32>());
        }
    }

    #[test]
    fn a_nan_in_a_cell_is_not_hidden() {
        let mut input = vec![1.0; 8];
        input[3] = f32::NAN;
        assert!(forward(&input, [1, 1, 2, 2, 2]).values[0].is_nan());
    }

    #[test]
    fn a_side_of_one_pools_to_nothing() {
        assert!(forward(&[1.0; 4], [1, 1, 1, 2, 2]).values.is_empty());
    }
}
