//! The definition, in f64, one sum after the other: what all algorithms are compared with.

use super::Geometry;

/// Calls `visit(input index, weight index, output index)` for every product of the convolution.
fn products(g: &Geometry, mut visit: impl FnMut(usize, usize, usize)) {
    let ([ix, iy, iz], [kx, ky, kz], [ox, oy, oz]) = (g.input, g.kernel, g.output());
    for n in 0..g.batch {
        for o in 0..g.out_channels {
            for i in 0..g.in_channels {
                for p in 0..ox * oy * oz {
                    let place = [p / (oy * oz), p / oz % oy, p % oz];
                    for k in 0..kx * ky * kz {
                        let tap = [k / (ky * kz), k / kz % ky, k % kz];
                        let at: [Option<usize>; 3] = std::array::from_fn(|axis| {
                            let padded = place[axis] * g.stride[axis] + tap[axis];
                            let inside = padded.checked_sub(g.padding[axis])?;
                            (inside < g.input[axis]).then_some(inside)
                        });
                        let [Some(x), Some(y), Some(z)] = at else {
                            continue;
                        };
                        visit(
                            (((n * g.in_channels + i) * ix + x) * iy + y) * iz + z,
                            (o * g.in_channels + i) * kx * ky * kz + k,
                            (n * g.out_channels + o) * ox * oy * oz + p,
                        );
                    }
                }
            }
        }
    }
}

pub(crate) fn forward(g: &Geometry, input: &[f32], weight: &[f32], bias: &[f32]) -> Vec<f64> {
    let voxels = g.output().iter().product::<usize>();
    let mut output: Vec<f64> = (0..g.output_len())
        .map(|at| f64::from(bias[at / voxels % g.out_channels]))
        .collect();
    products(g, |i, w, o| {
        output[o] += f64::from(input[i]) * f64::from(weight[w]);
    });
    output
}

pub(crate) fn input_gradient(g: &Geometry, output_gradient: &[f32], weight: &[f32]) -> Vec<f64> {
    let mut gradient = vec![0.0; g.input_len()];
    products(g, |i, w, o| {
        gradient[i] += f64::from(output_gradient[o]) * f64::from(weight[w]);
    });
    gradient
}

pub(crate) fn weight_gradient(g: &Geometry, input: &[f32], output_gradient: &[f32]) -> Vec<f64> {
    let mut gradient = vec![0.0; g.weight_len()];
    products(g, |i, w, o| {
        gradient[w] += f64::from(output_gradient[o]) * f64::from(input[i]);
    });
    gradient
}
