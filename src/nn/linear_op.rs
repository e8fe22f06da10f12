//! The fully connected layer as an operation of the framework: our kernels on the CPU, with their gradients.
//!
//! A gradient is computed only for what asks for one.

use brainage_kernels::dense::{self as kernel, Sizes};
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::{
    Autodiff, Backend, Dispatch, Flex, TensorMetadata as _, backend_extension, flex::FlexTensor,
    tensor::FloatTensor,
};
use burn::tensor::{Device, Tensor};

use super::conv3d_op::tensor;
use super::recorded::recorded;

/// W·x + b of each row.
///
/// # Shapes
/// Input `[rows, inputs]`, weight `[outputs, inputs]`, bias `[outputs]` → `[rows, outputs]`.
pub(super) fn linear(input: Tensor<2>, weight: Tensor<2>, bias: Tensor<1>) -> Tensor<2> {
    if input.device().inner() != Device::flex() {
        return input.matmul(weight.transpose()) + bias.unsqueeze_dim::<2>(0);
    }
    let (input, weight, bias) = (
        input.into_dispatch(),
        weight.into_dispatch(),
        bias.into_dispatch(),
    );
    Tensor::from_dispatch(Dispatch::dense(input, weight, bias))
}

/// Back ends that have our kernels.
#[backend_extension(Flex, Autodiff)]
trait DenseBackend: Backend {
    /// Values.
    fn dense(
        input: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
    ) -> FloatTensor<Self>;
}

/// Those that also have their gradients.
trait DenseGradients: DenseBackend {
    /// Gradient of the input.
    fn dense_input_gradient(
        gradient: FloatTensor<Self>,
        weight: FloatTensor<Self>,
    ) -> FloatTensor<Self>;

    /// Gradient of the weight.
    fn dense_weight_gradient(
        input: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
    ) -> FloatTensor<Self>;

    /// Gradient of the bias.
    fn dense_bias_gradient(gradient: FloatTensor<Self>) -> FloatTensor<Self>;
}

fn numbers(tensor: &FlexTensor) -> &[f32] {
    tensor.as_slice().unwrap_or_default()
}

fn dims(tensor: &FlexTensor) -> [usize; 2] {
    tensor.shape().dims()
}

impl DenseBackend for Flex {
    fn dense(input: FlexTensor, weight: FlexTensor, bias: FlexTensor) -> FlexTensor {
        let [input, weight, bias] = [input, weight, bias].map(|t| t.to_contiguous());
        let ([rows, inputs], [outputs, _]) = (dims(&input), dims(&weight));
        let sizes = Sizes {
            rows,
            inputs,
            outputs,
        };
        let values = kernel::forward(sizes, numbers(&input), numbers(&weight), numbers(&bias));
        tensor(values, [rows, outputs])
    }
}

impl DenseGradients for Flex {
    fn dense_input_gradient(gradient: FlexTensor, weight: FlexTensor) -> FlexTensor {
        let [gradient, weight] = [gradient, weight].map(|t| t.to_contiguous());
        let ([rows, _], [outputs, inputs]) = (dims(&gradient), dims(&weight));
        let sizes = Sizes {
            rows,
            inputs,
            outputs,
        };
        let values = kernel::input_gradient(sizes, numbers(&gradient), numbers(&weight));
        tensor(values, [rows, inputs])
    }

    fn dense_weight_gradient(input: FlexTensor, gradient: FlexTensor) -> FlexTensor {
        let [input, gradient] = [input, gradient].map(|t| t.to_contiguous());
        let ([rows, inputs], [_, outputs]) = (dims(&input), dims(&gradient));
        let sizes = Sizes {
            rows,
            inputs,
            outputs,
        };
        let values = kernel::weight_gradient(sizes, numbers(&input), numbers(&gradient));
        tensor(values, [outputs, inputs])
    }

    fn dense_bias_gradient(gradient: FlexTensor) -> FlexTensor {
        let gradient = gradient.to_contiguous();
        let [rows, outputs] = dims(&gradient);
        let sizes = Sizes {
            rows,
            inputs: 0,
            outputs,
        };
        tensor(kernel::bias_gradient(sizes, numbers(&gradient)), [outputs])
    }
}

impl<B: DenseGradients, C: CheckpointStrategy> DenseBackend for Autodiff<B, C> {
    fn dense(
        input: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        recorded::<B, C, _, _>(
            [input, weight, bias],
            |[input, weight, bias]| {
                let kept = [input.clone(), weight.clone()];
                (B::dense(input, weight, bias), kept)
            },
            |gradient, [input, weight], [of_input, of_weight, of_bias]| {
                [
                    of_input.then(|| B::dense_input_gradient(gradient.clone(), weight)),
                    of_weight.then(|| B::dense_weight_gradient(input, gradient.clone())),
                    of_bias.then(|| B::dense_bias_gradient(gradient)),
                ]
            },
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::TensorData;

    fn numbers<const D: usize>(dims: [usize; D], salt: usize, device: &Device) -> Tensor<D> {
        let n: usize = dims.iter().product();
        let values: Vec<f32> = (0..n)
            .map(|i| ((i * 7919 + salt * 31) % 101) as f32 / 50.0 - 1.0)
            .collect();
        Tensor::from_data(TensorData::new(values, dims), device)
    }

    #[test]
    fn values_and_gradients_are_those_of_the_framework() {
        let device = Device::flex().autodiff();
        for [rows, inputs, outputs] in [[1, 1, 1], [70, 33, 19], [5, 130, 64]] {
            let operands = || {
                (
                    numbers([rows, inputs], 1, &device).require_grad(),
                    numbers([outputs, inputs], 2, &device).require_grad(),
                    numbers([outputs], 3, &device).require_grad(),
                )
            };
            let run = |values: &dyn Fn(Tensor<2>, Tensor<2>, Tensor<1>) -> Tensor<2>| {
                let (x, w, b) = operands();
                let y = values(x.clone(), w.clone(), b.clone());
                // Weighted by itself, so that every gradient is different.
                let gradients = y.clone().square().sum().backward();
                let of = |t: &Tensor<2>| t.grad(&gradients).expect("tracked");
                let of_bias = b.grad(&gradients).expect("tracked").unsqueeze_dim::<2>(0);
                [y.inner(), of(&x), of(&w), of_bias]
            };
            let ours = run(&linear);
            let theirs = run(&|x, w, b| x.matmul(w.transpose()) + b.unsqueeze_dim::<2>(0));
            for (ours, theirs) in ours.into_iter().zip(theirs) {
                let largest: f32 = theirs.clone().abs().max().into_scalar();
                let apart: f32 = (ours - theirs).abs().max().into_scalar();
                // Sums of at most 130 products in f32.
                assert!(apart <= 1e-5 * largest, "{apart} {largest}");
            }
        }
    }
}
