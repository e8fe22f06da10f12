//! Convolution of volumes with 2×2×2 max-pooling as one operation of the framework: on the CPU the full output, eight
//! times as large as what is kept of it, need not be in memory, nor its gradient.
//!
//! As with [`conv3d`], a gradient is computed only for what asks for one, and `BRAINAGE_CONV` has its say.

use brainage_kernels::conv3d::{self as kernel, Geometry, Pass, PooledGradient};
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::{
    Autodiff, Backend, Dispatch, Flex, backend_extension,
    flex::FlexTensor,
    tensor::{FloatTensor, IntTensor},
};
use burn::tensor::Tensor;

use super::conv3d_op::{algorithm, conv3d, geometry, input_dims, is_ours, tensor, weight_dims};
use super::pool3d::max_pool2;
use super::recorded::recorded_with;

/// The largest value of each 2×2×2 cell of a convolution, odd rests dropped.
///
/// # Shapes
/// Input `[batch, in, x, y, z]`, weight `[out, in, kx, ky, kz]`, bias `[out]` → `[batch, out, x'/2, y'/2, z'/2]`.
pub fn conv3d_max_pool2(
    input: Tensor<5>,
    weight: Tensor<5>,
    bias: Tensor<1>,
    stride: [usize; 3],
    padding: [usize; 3],
) -> Tensor<5> {
    if stride != [1; 3] || !is_ours(&input) {
        return max_pool2(conv3d(input, weight, bias, stride, padding));
    }
    let geometry = geometry(&input, &weight, stride, padding);
    let (input, weight, bias) = (
        input.into_dispatch(),
        weight.into_dispatch(),
        bias.into_dispatch(),
    );
    let (maxima, _) = Dispatch::convolve_pooled(input, weight, bias, geometry);
    Tensor::from_dispatch(maxima)
}

/// Back ends that have our kernels.
#[backend_extension(Flex, Autodiff)]
trait PooledConvolutionBackend: Backend {
    /// Maxima, and where in its volume each stood.
    fn convolve_pooled(
        input: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        geometry: Geometry,
    ) -> (FloatTensor<Self>, IntTensor<Self>);
}

/// Those that also have its gradients.
trait PooledConvolutionGradients: PooledConvolutionBackend {
    /// Gradient of the input, from that of the maxima and where they stood.
    fn convolve_pooled_input_gradient(
        pooled: (FloatTensor<Self>, IntTensor<Self>),
        weight: FloatTensor<Self>,
        geometry: Geometry,
    ) -> FloatTensor<Self>;

    /// Gradient of the weight.
    fn convolve_pooled_weight_gradient(
        input: FloatTensor<Self>,
        pooled: (FloatTensor<Self>, IntTensor<Self>),
        geometry: Geometry,
    ) -> FloatTensor<Self>;

    /// Gradient of the bias.
    fn convolve_pooled_bias_gradient(
        gradient: FloatTensor<Self>,
        geometry: Geometry,
    ) -> FloatTensor<Self>;
}

impl PooledConvolutionBackend for Flex {
    fn convolve_pooled(
        input: FlexTensor,
        weight: FlexTensor,
        bias: FlexTensor,
        geometry: Geometry,
    ) -> (FlexTensor, FlexTensor) {
        let [input, weight, bias] = [input, weight, bias].map(|t| t.to_contiguous());
        let pooled = kernel::forward_pooled(
            algorithm(&geometry, kernel::choose_pooled),
            &geometry,
            input.as_slice().unwrap_or_default(),
            weight.as_slice().unwrap_or_default(),
            bias.as_slice::<f32>(),
        );
        let [x, y, z] = geometry.output().map(|side| side / 2);
        let dims = [geometry.batch, geometry.out_channels, x, y, z];
        (tensor(pooled.values, dims), tensor(pooled.positions, dims))
    }
}

impl PooledConvolutionGradients for Flex {
    fn convolve_pooled_input_gradient(
        (gradient, positions): (FlexTensor, FlexTensor),
        weight: FlexTensor,
        geometry: Geometry,
    ) -> FlexTensor {
        let [gradient, positions, weight] =
            [gradient, positions, weight].map(|t| t.to_contiguous());
        #[cfg(test)]
        super::conv3d_op::input_gradients::note();
        let values = kernel::pooled_input_gradient(
            algorithm(&geometry, |g| kernel::choose(g, Pass::InputGradient)),
            &geometry,
            pooled_gradient(&gradient, &positions),
            weight.as_slice().unwrap_or_default(),
        );
        tensor(values, input_dims(&geometry))
    }

    fn convolve_pooled_weight_gradient(
        input: FlexTensor,
        (gradient, positions): (FlexTensor, FlexTensor),
        geometry: Geometry,
    ) -> FlexTensor {
        let [input, gradient, positions] = [input, gradient, positions].map(|t| t.to_contiguous());
        let values = kernel::pooled_weight_gradient(
            algorithm(&geometry, |g| kernel::choose(g, Pass::WeightGradient)),
            &geometry,
            input.as_slice().unwrap_or_default(),
            pooled_gradient(&gradient, &positions),
        );
        tensor(values, weight_dims(&geometry))
    }

    fn convolve_pooled_bias_gradient(gradient: FlexTensor, geometry: Geometry) -> FlexTensor {
        let gradient = gradient.to_contiguous();
        let gradient = gradient.as_slice().unwrap_or_default();
        let values = kernel::pooled_bias_gradient(&geometry, gradient);
        tensor(values, [geometry.out_channels])
    }
}

fn pooled_gradient<'a>(gradient: &'a FlexTensor, positions: &'a FlexTensor) -> PooledGradient<'a> {
    PooledGradient {
        values: gradient.as_slice().unwrap_or_default(),
        positions: positions.as_slice().unwrap_or_default(),
    }
}

impl<B: PooledConvolutionGradients, C: CheckpointStrategy> PooledConvolutionBackend
    for Autodiff<B, C>
{
    fn convolve_pooled(
        input: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        geometry: Geometry,
    ) -> (FloatTensor<Self>, IntTensor<Self>) {
        recorded_with::<B, C, _, _, _>(
            [input, weight, bias],
            |[input, weight, bias]| {
                let (maxima, positions) =
                    B::convolve_pooled(input.clone(), weight.clone(), bias, geometry);
                let kept = (input, weight, positions.clone(), geometry);
                (maxima, kept, positions)
            },
            |gradient, (input, weight, positions, g), [of_input, of_weight, of_bias]| {
                let given = || (gradient.clone(), positions.clone());
                [
                    of_input.then(|| B::convolve_pooled_input_gradient(given(), weight, g)),
                    of_weight.then(|| B::convolve_pooled_weight_gradient(input, given(), g)),
                    of_bias.then(|| B::convolve_pooled_bias_gradient(gradient.clone(), g)),
                ]
            },
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{Device, TensorData};

    fn volume<const D: usize>(dims: [usize; D], salt: usize, device: &Device) -> Tensor<D> {
        let n: usize = dims.iter().product();
        let values: Vec<f32> = (0..n)
            .map(|i| ((i * 7919 + salt * 31) % 101) as f32 / 50.0 - 1.0)
            .collect();
        Tensor::from_data(TensorData::new(values, dims), device)
    }

    /// Largest difference relative to the largest value.
    fn difference<const D: usize>(a: Tensor<D>, b: Tensor<D>) -> f32 {
        let largest: f32 = b.clone().abs().max().into_scalar();
        let apart: f32 = (a - b).abs().max().into_scalar();
        apart / largest
    }

    #[test]
    fn values_and_gradients_are_those_of_the_separate_operations() {
        let device = Device::flex().autodiff();
        for (dims, out, kernel, stride, padding) in [
            // Chosen: direct, transforms, matrices; the last one is not fused.
            ([2, 1, 17, 16, 19], 8, 3, 1, 1),
            ([1, 8, 21, 20, 23], 8, 6, 1, 0),
            ([2, 16, 5, 4, 5], 6, 3, 1, 1),
            ([2, 4, 9, 9, 8], 6, 3, 2, 1),
        ] {
            let operands = || {
                (
                    volume(dims, 1, &device).require_grad(),
                    volume([out, dims[1], kernel, kernel, kernel], 2, &device).require_grad(),
                    volume([out], 3, &device).require_grad(),
                )
            };
            let (stride, padding) = ([stride; 3], [padding; 3]);
            let (input, weight, bias) = operands();
            let at_once =
                conv3d_max_pool2(input.clone(), weight.clone(), bias.clone(), stride, padding);
            let (input2, weight2, bias2) = operands();
            let full = conv3d(
                input2.clone(),
                weight2.clone(),
                bias2.clone(),
                stride,
                padding,
            );
            let separate = max_pool2(full);
            assert_eq!(at_once.dims(), separate.dims());
            assert!(difference(at_once.clone().inner(), separate.clone().inner()) < 1e-6);
            // Weighted by itself, so that every gradient is different.
            let (g, g2) = (
                at_once.square().sum().backward(),
                separate.square().sum().backward(),
            );
            let of = |t: &Tensor<5>, g| t.grad(g).expect("tracked");
            assert!(difference(of(&input, &g), of(&input2, &g2)) < 1e-6);
            assert!(difference(of(&weight, &g), of(&weight2, &g2)) < 1e-6);
            let of = |t: &Tensor<1>, g| t.grad(g).expect("tracked");
            assert!(difference(of(&bias, &g), of(&bias2, &g2)) < 1e-6);
        }
    }

    #[test]
    fn an_input_without_a_graph_gets_no_gradient() {
        let device = Device::flex().autodiff();
        let input = volume([1, 1, 6, 6, 6], 1, &device);
        let weight = volume([2, 1, 3, 3, 3], 2, &device).require_grad();
        let bias = volume([2], 3, &device);
        let output = conv3d_max_pool2(input.clone(), weight.clone(), bias, [1; 3], [0; 3]);
        let gradients = output.sum().backward();
        assert!(weight.grad(&gradients).is_some());
        assert!(input.grad(&gradients).is_none());
    }
}
