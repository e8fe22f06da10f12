//! How far a convolution is from an orthogonal one.

use burn::tensor::{Tensor, TensorData};

use super::{BELOW_ROOT, smaller_gram_error};
use crate::nn::conv3d::Conv3dShape;
use crate::nn::conv3d_op::conv3d;

/// Frobenius distance of a convolution from an orthogonal one.
///
/// The kernel, convolved with itself, is the identity at the center and 0 elsewhere (Wang et al., CVPR 2020, eq. 7): of its
/// rows, which are output channels, with the stride and a padding of ⌊(k − 1)/stride⌋·stride; or, where there are more
/// outputs than numbers in a row, of its columns, which are input channels, with stride 1 and a padding of k − 1 (eq. 8).
/// For kernels of one voxel, and for those that tile their input, that is W's smaller Gram matrix less the identity.
///
/// The distance is not squared, as in the published code. It costs out²·in·k³·(2k − 1)³ multiply-adds: little for 3×3
/// kernels, more than the network itself for the 6³ kernels of the published brain CNN.
///
/// # Shapes
/// `matrix` is `[out, in·kx·ky·kz]`.
pub(super) fn distance(matrix: Tensor<2>, shape: Conv3dShape) -> Tensor<1> {
    let Conv3dShape {
        in_channels,
        out_channels,
        kernel,
        stride,
        ..
    } = shape;
    let error = if kernel == stride || kernel == [1; 3] {
        smaller_gram_error(matrix).square().sum()
    } else {
        let [x, y, z] = kernel;
        let kernels = matrix.reshape([out_channels, in_channels, x, y, z]);
        let by_rows = out_channels <= in_channels * x * y * z;
        let (kernels, stride) = if by_rows {
            (kernels, stride)
        } else {
            (kernels.swap_dims(0, 1), [1; 3])
        };
        let padding = std::array::from_fn(|axis| (kernel[axis] - 1) / stride[axis] * stride[axis]);
        autocorrelation_error(kernels, stride, padding)
    };
    (error + BELOW_ROOT).sqrt()
}

/// Squared distance of the kernels' convolution with themselves from the identity at its center.
fn autocorrelation_error(kernels: Tensor<5>, stride: [usize; 3], padding: [usize; 3]) -> Tensor<1> {
    let [n, ..] = kernels.dims();
    let device = kernels.device();
    let none = Tensor::zeros([n], &device);
    let with_itself = conv3d(kernels.clone(), kernels, none, stride, padding);
    let [_, _, x, y, z] = with_itself.dims();
    let mut identity = vec![0.0_f32; n * n * x * y * z];
    let center = (x / 2 * y + y / 2) * z + z / 2;
    for row in 0..n {
        identity[(row * n + row) * x * y * z + center] = 1.0;
    }
    let identity = Tensor::from_data(TensorData::new(identity, [n, n, x, y, z]), &device);
    (with_itself - identity).square().sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::conv3d::Extent;
    use burn::tensor::Device;

    fn of(values: Vec<f32>, shape: Conv3dShape) -> f32 {
        let columns = shape.in_channels * shape.kernel.iter().product::<usize>();
        let data = TensorData::new(values, [shape.out_channels, columns]);
        distance(Tensor::from_data(data, &Device::flex()), shape).into_scalar()
    }

    fn wavy(n: usize) -> Vec<f32> {
        (0..n)
            .map(|i| ((i * i + 3 * i) as f32 * 0.7).sin())
            .collect()
    }

    #[test]
    fn a_shift_of_each_channel_is_orthogonal_and_twice_a_shift_is_3_sqrt_channels_off() {
        // One voxel of each of two kernels is 1: the convolution only moves channels about.
        for (kernel, place) in [(3, 4), (3, 0), (3, 8)] {
            let shape = Conv3dShape::even(Extent::Image, [2, 2], kernel, 1, 1);
            let mut values = vec![0.0; 36];
            (values[9 + place], values[18 + place]) = (1.0, 1.0);
            // Below the root stands 1e-12.
            assert!(of(values.clone(), shape) < 1e-5, "{place}");
            let doubled = of(values.iter().map(|v| 2.0 * v).collect(), shape);
            assert!((doubled - 3.0 * 2.0_f32.sqrt()).abs() < 1e-5, "{doubled}");
        }
    }

    /// The matrix of the convolution with stride 1 of a signal on a ring of `n` positions, one axis: its rows' products are
    /// what an orthogonal convolution has as the identity.
    fn ring(
        values: &[f32],
        [inputs, outputs]: [usize; 2],
        kernel: usize,
        n: usize,
    ) -> Vec<Vec<f64>> {
        let mut rows = Vec::new();
        for out in 0..outputs {
            for at in 0..n {
                let mut row = vec![0.0; inputs * n];
                for input in 0..inputs {
                    for k in 0..kernel {
                        let from = (at + k) % n;
                        row[input * n + from] +=
                            f64::from(values[(out * inputs + input) * kernel + k]);
                    }
                }
                rows.push(row);
            }
        }
        rows
    }

    #[test]
    fn it_is_the_distance_of_the_whole_operator_from_an_orthogonal_one() {
        let (channels, kernel, n) = ([3, 2], 3, 9);
        let shape = Conv3dShape {
            in_channels: 3,
            out_channels: 2,
            kernel: [1, 1, kernel],
            stride: [1; 3],
            padding: [0; 3],
        };
        let values = wavy(18);
        let rows = ring(&values, channels, kernel, n);
        let mut squares = 0.0;
        for (i, one) in rows.iter().enumerate() {
            for (j, other) in rows.iter().enumerate() {
                let product: f64 = one.iter().zip(other).map(|(a, b)| a * b).sum();
                squares += (product - f64::from(u8::from(i == j))).powi(2);
            }
        }
        // Each position of the ring has the same share.
        let expected = (squares / n as f64).sqrt();
        let found = f64::from(of(values, shape));
        assert!(
            (found - expected).abs() < 1e-4 * expected,
            "{found} {expected}"
        );
    }

    #[test]
    fn with_more_outputs_than_inputs_columns_are_compared() {
        // Two inputs, each in a voxel of its own of every output: the columns of W are orthogonal, its rows cannot be.
        let shape = Conv3dShape {
            in_channels: 1,
            out_channels: 4,
            kernel: [1, 1, 2],
            stride: [1; 3],
            padding: [0; 3],
        };
        let values = vec![0.5, 0.5, 0.5, -0.5, 0.5, 0.5, -0.5, 0.5];
        // Columns (½, ½, ½, −½) and (½, −½, ½, ½); shifted by one their product is ¼ − ¼ + ¼ − ¼ = 0. Lag 0: ½·½·8 = 2 for one
        // input, so 1 off.
        assert!((of(values, shape) - 1.0).abs() < 1e-5);
    }

    #[test]
    fn a_kernel_of_one_voxel_is_compared_as_a_matrix() {
        let shape = Conv3dShape::even(Extent::Volume, [2, 3], 1, 1, 0);
        // WᵀW = [[2, 0], [0, 1]].
        let values = vec![1.0, 0.0, 1.0, 0.0, 0.0, 1.0];
        assert!((of(values, shape) - 1.0).abs() < 1e-6);
    }

    #[test]
    fn the_gradient_agrees_with_finite_differences() {
        let shape = Conv3dShape::even(Extent::Image, [2, 3], 3, 2, 1);
        let values = wavy(54);
        let device = Device::flex().autodiff();
        let data = TensorData::new(values.clone(), [3, 18]);
        let matrix = Tensor::<2>::from_data(data, &device).require_grad();
        let gradients = distance(matrix.clone(), shape).backward();
        let gradient = matrix.grad(&gradients).unwrap().into_data();
        let gradient: Vec<f32> = gradient.try_into_vec().unwrap();
        for i in [0, 7, 20, 53] {
            let moved = |by: f32| {
                let mut moved = values.clone();
                moved[i] += by;
                of(moved, shape)
            };
            let slope = (moved(1e-2) - moved(-1e-2)) / 2e-2;
            // f32 sums of some tens of terms near 5: differences are good to some 1e-4.
            assert!(
                (slope - gradient[i]).abs() < 5e-3 * (1.0 + slope.abs()),
                "{i}"
            );
        }
    }
}
