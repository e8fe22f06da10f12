//! What transformers do to tokens, as operations of the framework with our kernels on the CPU: GELU, layer normalization and
//! attention, each with its gradient.

use brainage_kernels::attention::{self, Sizes};
use brainage_kernels::{gelu as gelu_kernel, layer_norm as norm_kernel};
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::{
    Autodiff, AutodiffBackend, Backend, Dispatch, Flex, TensorMetadata as _, backend_extension,
    flex::FlexTensor, tensor::FloatTensor,
};
use burn::tensor::activation::softmax;
use burn::tensor::{Device, Tensor, activation, module};

use super::conv3d_op::tensor;
use super::recorded::{recorded, recorded_with};

/// x·Φ(x).
///
/// # Shapes
/// `[rows, channels]`, unchanged.
pub fn gelu(input: Tensor<2>) -> Tensor<2> {
    if !is_ours(&input) {
        return activation::gelu(input);
    }
    Tensor::from_dispatch(Dispatch::gelu_of(input.into_dispatch()))
}

/// Each row with mean 0 and variance 1, then scaled and shifted.
///
/// # Shapes
/// Input `[rows, channels]`, unchanged; scale and shift `[channels]`.
pub(super) fn layer_norm(
    input: Tensor<2>,
    [gamma, beta]: [Tensor<1>; 2],
    epsilon: f64,
) -> Tensor<2> {
    if !is_ours(&input) {
        return module::layer_norm(input, gamma, Some(beta), epsilon);
    }
    let (input, gamma, beta) = (
        input.into_dispatch(),
        gamma.into_dispatch(),
        beta.into_dispatch(),
    );
    Tensor::from_dispatch(Dispatch::norm_rows(input, gamma, beta, epsilon as f32))
}

/// What the tokens of each image make of each other, by so many heads: softmax(q·kᵀ/√channels)·v.
///
/// # Shapes
/// All `[images·tokens, heads·channels]`.
pub fn attend(qkv: [Tensor<2>; 3], images: usize, heads: usize) -> Tensor<2> {
    let [rows, width] = qkv[0].dims();
    let sizes = Sizes {
        images,
        tokens: rows / images.max(1),
        heads,
        channels: width / heads.max(1),
    };
    if !is_ours(&qkv[0]) {
        return attend_by_parts(qkv, sizes);
    }
    let [query, key, value] = qkv.map(Tensor::into_dispatch);
    let (attended, _) = Dispatch::attend_tokens(query, key, value, sizes);
    Tensor::from_dispatch(attended)
}

/// The same by the framework's own operations.
fn attend_by_parts(qkv: [Tensor<2>; 3], sizes: Sizes) -> Tensor<2> {
    let Sizes {
        images,
        tokens,
        heads,
        channels,
    } = sizes;
    let [query, key, value] = qkv.map(|t| {
        let by_token = t.reshape([images, tokens, heads, channels]);
        by_token.swap_dims(1, 2)
    });
    let logits = query.matmul(key.swap_dims(2, 3)) / (channels as f64).sqrt();
    let attended = softmax(logits, 3).matmul(value).swap_dims(1, 2);
    attended.reshape([images * tokens, heads * channels])
}

fn is_ours(input: &Tensor<2>) -> bool {
    input.device().inner() == Device::flex()
}

/// Back ends that have our kernels.
#[backend_extension(Flex, Autodiff)]
trait TokenBackend: Backend {
    fn gelu_of(input: FloatTensor<Self>) -> FloatTensor<Self>;

    fn norm_rows(
        input: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        epsilon: f32,
    ) -> FloatTensor<Self>;

    /// The result and the shares, `[images·heads, tokens, tokens]`.
    fn attend_tokens(
        query: FloatTensor<Self>,
        key: FloatTensor<Self>,
        value: FloatTensor<Self>,
        sizes: Sizes,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);
}

/// Those that also have their gradients.
trait TokenGradients: TokenBackend {
    fn gelu_gradient(gradient: FloatTensor<Self>, input: FloatTensor<Self>) -> FloatTensor<Self>;

    /// Gradients of input, scale and shift.
    fn norm_rows_gradients(
        gradient: FloatTensor<Self>,
        input: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        epsilon: f32,
    ) -> [FloatTensor<Self>; 3];

    /// Gradients of queries, keys and values.
    fn attention_gradients(
        gradient: FloatTensor<Self>,
        qkv: [FloatTensor<Self>; 3],
        shares: FloatTensor<Self>,
        sizes: Sizes,
    ) -> [FloatTensor<Self>; 3];
}

fn numbers(tensor: &FlexTensor) -> &[f32] {
    tensor.as_slice().unwrap_or_default()
}

fn alike(values: Vec<f32>, like: &FlexTensor) -> FlexTensor {
    tensor(values, like.shape().dims::<2>())
}

impl TokenBackend for Flex {
    fn gelu_of(input: FlexTensor) -> FlexTensor {
        let input = input.to_contiguous();
        alike(gelu_kernel::forward(numbers(&input)), &input)
    }

    fn norm_rows(
        input: FlexTensor,
        gamma: FlexTensor,
        beta: FlexTensor,
        epsilon: f32,
    ) -> FlexTensor {
        let [input, gamma, beta] = [input, gamma, beta].map(|t| t.to_contiguous());
        let affine = (numbers(&gamma), numbers(&beta));
        let values = norm_kernel::forward(numbers(&input), affine.0, affine.1, epsilon);
        alike(values, &input)
    }

    fn attend_tokens(
        query: FlexTensor,
        key: FlexTensor,
        value: FlexTensor,
        sizes: Sizes,
    ) -> (FlexTensor, FlexTensor) {
        let qkv = [query, key, value].map(|t| t.to_contiguous());
        let [attended, shares] = attention::forward(sizes, qkv.each_ref().map(numbers));
        let of_shares = [sizes.images * sizes.heads, sizes.tokens, sizes.tokens];
        (alike(attended, &qkv[0]), tensor(shares, of_shares))
    }
}

impl TokenGradients for Flex {
    fn gelu_gradient(gradient: FlexTensor, input: FlexTensor) -> FlexTensor {
        let [gradient, input] = [gradient, input].map(|t| t.to_contiguous());
        let found = gelu_kernel::backward(numbers(&gradient), numbers(&input));
        alike(found, &input)
    }

    fn norm_rows_gradients(
        gradient: FlexTensor,
        input: FlexTensor,
        gamma: FlexTensor,
        epsilon: f32,
    ) -> [FlexTensor; 3] {
        let [gradient, input, gamma] = [gradient, input, gamma].map(|t| t.to_contiguous());
        let given = (numbers(&gradient), numbers(&input));
        let found = norm_kernel::gradients(given.0, given.1, numbers(&gamma), epsilon);
        let channels = [found.gamma.len()];
        [
            alike(found.input, &input),
            tensor(found.gamma, channels),
            tensor(found.beta, channels),
        ]
    }

    fn attention_gradients(
        gradient: FlexTensor,
        qkv: [FlexTensor; 3],
        shares: FlexTensor,
        sizes: Sizes,
    ) -> [FlexTensor; 3] {
        let gradient = gradient.to_contiguous();
        let qkv = qkv.map(|t| t.to_contiguous());
        let slices = qkv.each_ref().map(numbers);
        let found = attention::gradients(sizes, numbers(&gradient), slices, numbers(&shares));
        found.map(|values| alike(values, &qkv[0]))
    }
}

impl<B: TokenGradients, C: CheckpointStrategy> TokenBackend for Autodiff<B, C> {
    fn gelu_of(input: FloatTensor<Self>) -> FloatTensor<Self> {
        recorded::<B, C, _, _>(
            [input],
            |[input]| (B::gelu_of(input.clone()), input),
            |gradient, input, _| [Some(B::gelu_gradient(gradient, input))],
        )
    }

    fn norm_rows(
        input: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        epsilon: f32,
    ) -> FloatTensor<Self> {
        recorded::<B, C, _, _>(
            [input, gamma, beta],
            |[input, gamma, beta]| {
                let kept = (input.clone(), gamma.clone(), epsilon);
                (B::norm_rows(input, gamma, beta, epsilon), kept)
            },
            |gradient, (input, gamma, epsilon), _| {
                B::norm_rows_gradients(gradient, input, gamma, epsilon).map(Some)
            },
        )
    }

    fn attend_tokens(
        query: FloatTensor<Self>,
        key: FloatTensor<Self>,
        value: FloatTensor<Self>,
        sizes: Sizes,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let (attended, shares) = recorded_with::<B, C, _, _, _>(
            [query, key, value],
            |qkv| {
                let [query, key, value] = qkv.clone();
                let (attended, shares) = B::attend_tokens(query, key, value, sizes);
                (attended, (qkv, shares.clone(), sizes), shares)
            },
            |gradient, (qkv, shares, sizes), _| {
                B::attention_gradients(gradient, qkv, shares, sizes).map(Some)
            },
        );
        (attended, <Self as AutodiffBackend>::from_inner(shares))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::TensorData;

    fn numbers<const D: usize>(dims: [usize; D], salt: usize, device: &Device) -> Tensor<D> {
        let n: usize = dims.iter().product();
        let values: Vec<f32> = (0..n)
            .map(|i| ((i * 7919 + salt * 31) % 101) as f32 / 30.0 - 1.5)
            .collect();
        Tensor::from_data(TensorData::new(values, dims), device)
    }

    fn check(ours: Tensor<2>, theirs: Tensor<2>) {
        let largest: f32 = theirs.clone().abs().max().into_scalar();
        let apart: f32 = (ours - theirs).abs().max().into_scalar();
        assert!(apart <= 1e-5 * largest, "{apart} {largest}");
    }

    /// Values and gradients of three tensors by two ways are the same.
    fn compare(
        operands: impl Fn() -> [Tensor<2>; 3],
        ours: impl Fn([Tensor<2>; 3]) -> Tensor<2>,
        theirs: impl Fn([Tensor<2>; 3]) -> Tensor<2>,
    ) {
        let run = |values: &dyn Fn([Tensor<2>; 3]) -> Tensor<2>| {
            let operands = operands().map(Tensor::require_grad);
            let y = values(operands.clone());
            // Cubed, so that gradients are not all alike.
            let gradients = y.clone().powi_scalar(3).sum().backward();
            (
                y.inner(),
                operands.map(|t| t.grad(&gradients).expect("tracked")),
            )
        };
        let (ours, theirs) = (run(&ours), run(&theirs));
        check(ours.0, theirs.0);
        for (ours, theirs) in ours.1.into_iter().zip(theirs.1) {
            check(ours, theirs);
        }
    }

    #[test]
    fn each_operation_and_its_gradient_is_that_of_the_framework() {
        let device = Device::flex().autodiff();
        let tokens = || [1, 2, 3].map(|salt| numbers([2 * 7, 12], salt, &device));
        let sizes = Sizes {
            images: 2,
            tokens: 7,
            heads: 3,
            channels: 4,
        };
        compare(
            tokens,
            |qkv| attend(qkv, 2, 3),
            |qkv| attend_by_parts(qkv, sizes),
        );
        // One value each of the others, so that they have gradients.
        let with = |x: Tensor<2>, others: [Tensor<2>; 2]| {
            let [a, b] = others;
            x + a.clone() * b + a
        };
        compare(
            tokens,
            |[x, a, b]| with(gelu(x), [a, b]),
            |[x, a, b]| with(activation::gelu(x), [a, b]),
        );
        let rows = || {
            [
                numbers([5, 33], 1, &device),
                numbers([1, 33], 2, &device),
                numbers([1, 33], 3, &device),
            ]
        };
        let flat = |t: Tensor<2>| t.reshape([33]);
        compare(
            rows,
            |[x, gamma, beta]| layer_norm(x, [flat(gamma), flat(beta)], 1e-6),
            |[x, gamma, beta]| module::layer_norm(x, flat(gamma), Some(flat(beta)), 1e-6),
        );
    }
}
