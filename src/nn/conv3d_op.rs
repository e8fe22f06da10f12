//! The convolution of volumes as an operation of the framework: our kernels on the CPU, with their gradients.
//!
//! A gradient is computed only for what asks for one, so the first layer of a block, whose input has no graph, costs two
//! passes instead of three. The framework's own operation serves the other devices, and the CPU too if the environment
//! says `BRAINAGE_CONV=burn`; `fft`, `direct` and `gemm` force an algorithm for shapes that it supports.

use std::sync::OnceLock;

use brainage_kernels::conv3d::{self as kernel, Algorithm, Geometry, Pass};
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::{
    Autodiff, Backend, Dispatch, Flex, backend_extension, flex::FlexTensor, tensor::FloatTensor,
};
use burn::tensor::ops::ConvOptions;
use burn::tensor::{Device, Element, Tensor, TensorData, module};

use super::recorded::recorded;

/// What `BRAINAGE_CONV` asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Forced {
    Burn,
    Ours(Algorithm),
}

/// Convolution as networks mean it, without flipping the kernel.
///
/// # Shapes
/// Input `[batch, in, x, y, z]`, weight `[out, in, kx, ky, kz]`, bias `[out]` → `[batch, out, x', y', z']`.
pub fn conv3d(
    input: Tensor<5>,
    weight: Tensor<5>,
    bias: Tensor<1>,
    stride: [usize; 3],
    padding: [usize; 3],
) -> Tensor<5> {
    if !is_ours(&input) {
        let options = ConvOptions::new(stride, padding, [1; 3], 1);
        return module::conv3d(input, weight, Some(bias), options);
    }
    let geometry = geometry(&input, &weight, stride, padding);
    let (input, weight, bias) = (
        input.into_dispatch(),
        weight.into_dispatch(),
        bias.into_dispatch(),
    );
    Tensor::from_dispatch(Dispatch::convolve(input, weight, bias, geometry))
}

/// Whether our kernels compute what concerns this input.
pub(super) fn is_ours(input: &Tensor<5>) -> bool {
    input.device().inner() == Device::flex() && forced() != Some(Forced::Burn)
}

pub(super) fn geometry(
    input: &Tensor<5>,
    weight: &Tensor<5>,
    stride: [usize; 3],
    padding: [usize; 3],
) -> Geometry {
    let [batch, in_channels, x, y, z] = input.dims();
    let [out_channels, _, kx, ky, kz] = weight.dims();
    Geometry {
        batch,
        in_channels,
        out_channels,
        input: [x, y, z],
        kernel: [kx, ky, kz],
        stride,
        padding,
    }
}

fn forced() -> Option<Forced> {
    static FORCED: OnceLock<Option<Forced>> = OnceLock::new();
    *FORCED.get_or_init(|| {
        let asked = std::env::var("BRAINAGE_CONV").ok()?;
        if asked == "burn" {
            return Some(Forced::Burn);
        }
        let named = |algorithm: &Algorithm| algorithm.name() == asked;
        Algorithm::ALL.into_iter().find(named).map(Forced::Ours)
    })
}

/// The algorithm that the environment forces, if it can compute this, else the chosen one.
pub(super) fn algorithm(geometry: &Geometry, choose: impl Fn(&Geometry) -> Algorithm) -> Algorithm {
    match forced() {
        Some(Forced::Ours(algorithm)) if algorithm.supports(geometry) => algorithm,
        _ => choose(geometry),
    }
}

/// Back ends that have our kernels.
#[backend_extension(Flex, Autodiff)]
trait ConvolutionBackend: Backend {
    /// Values.
    fn convolve(
        input: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        geometry: Geometry,
    ) -> FloatTensor<Self>;
}

/// Those that also have its gradients.
trait ConvolutionGradients: ConvolutionBackend {
    /// Gradient of the input.
    fn convolve_input_gradient(
        gradient: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        geometry: Geometry,
    ) -> FloatTensor<Self>;

    /// Gradient of the weight.
    fn convolve_weight_gradient(
        input: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        geometry: Geometry,
    ) -> FloatTensor<Self>;

    /// Gradient of the bias.
    fn convolve_bias_gradient(gradient: FloatTensor<Self>, geometry: Geometry)
    -> FloatTensor<Self>;
}

pub(super) fn tensor<const D: usize, E: Element>(values: Vec<E>, dims: [usize; D]) -> FlexTensor {
    FlexTensor::from_data(TensorData::new(values, dims))
}

pub(super) fn input_dims(g: &Geometry) -> [usize; 5] {
    let [x, y, z] = g.input;
    [g.batch, g.in_channels, x, y, z]
}

pub(super) fn weight_dims(g: &Geometry) -> [usize; 5] {
    let [x, y, z] = g.kernel;
    [g.out_channels, g.in_channels, x, y, z]
}

impl ConvolutionBackend for Flex {
    fn convolve(
        input: FlexTensor,
        weight: FlexTensor,
        bias: FlexTensor,
        geometry: Geometry,
    ) -> FlexTensor {
        let [input, weight, bias] = [input, weight, bias].map(|t| t.to_contiguous());
        let values = kernel::forward(
            algorithm(&geometry, |g| kernel::choose(g, Pass::Forward)),
            &geometry,
            input.as_slice().unwrap_or_default(),
            weight.as_slice().unwrap_or_default(),
            bias.as_slice::<f32>(),
        );
        let [x, y, z] = geometry.output();
        tensor(values, [geometry.batch, geometry.out_channels, x, y, z])
    }
}

impl ConvolutionGradients for Flex {
    fn convolve_input_gradient(
        gradient: FlexTensor,
        weight: FlexTensor,
        geometry: Geometry,
    ) -> FlexTensor {
        let [gradient, weight] = [gradient, weight].map(|t| t.to_contiguous());
        #[cfg(test)]
        input_gradients::note();
        let values = kernel::input_gradient(
            algorithm(&geometry, |g| kernel::choose(g, Pass::InputGradient)),
            &geometry,
            gradient.as_slice().unwrap_or_default(),
            weight.as_slice().unwrap_or_default(),
        );
        tensor(values, input_dims(&geometry))
    }

    fn convolve_weight_gradient(
        input: FlexTensor,
        gradient: FlexTensor,
        geometry: Geometry,
    ) -> FlexTensor {
        let [input, gradient] = [input, gradient].map(|t| t.to_contiguous());
        let values = kernel::weight_gradient(
            algorithm(&geometry, |g| kernel::choose(g, Pass::WeightGradient)),
            &geometry,
            input.as_slice().unwrap_or_default(),
            gradient.as_slice().unwrap_or_default(),
        );
        tensor(values, weight_dims(&geometry))
    }

    fn convolve_bias_gradient(gradient: FlexTensor, geometry: Geometry) -> FlexTensor {
        let gradient = gradient.to_contiguous();
        let values = kernel::bias_gradient(&geometry, gradient.as_slice().unwrap_or_default());
        tensor(values, [geometry.out_channels])
    }
}

impl<B: ConvolutionGradients, C: CheckpointStrategy> ConvolutionBackend for Autodiff<B, C> {
    fn convolve(
        input: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        geometry: Geometry,
    ) -> FloatTensor<Self> {
        recorded::<B, C, _, _>(
            [input, weight, bias],
            |[input, weight, bias]| {
                let kept = (input.clone(), weight.clone(), geometry);
                (B::convolve(input, weight, bias, geometry), kept)
            },
            |gradient, (input, weight, geometry), [of_input, of_weight, of_bias]| {
                let gradient = || gradient.clone();
                [
                    of_input.then(|| B::convolve_input_gradient(gradient(), weight, geometry)),
                    of_weight.then(|| B::convolve_weight_gradient(input, gradient(), geometry)),
                    of_bias.then(|| B::convolve_bias_gradient(gradient(), geometry)),
                ]
            },
        )
    }
}

/// How many gradients of an input this thread has computed.
#[cfg(test)]
pub(super) mod input_gradients {
    use std::cell::Cell;

    thread_local!(static COUNT: Cell<usize> = const { Cell::new(0) });

    pub(crate) fn note() {
        COUNT.set(COUNT.get() + 1);
    }

    pub(crate) fn take() -> usize {
        COUNT.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::train::{BRAIN_CNN_SMALL, TrainConfig};
    use crate::engine::seed::Seed;
    use crate::models::{Network, Regime};
    use crate::nn::pass::{Pass, TrainingPass};

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
    fn values_and_gradients_are_those_of_the_framework() {
        let device = Device::flex().autodiff();
        for (dims, out, kernel, stride, padding) in [
            ([2, 1, 9, 8, 11], 8, 3, 1, 1),
            ([1, 3, 12, 13, 10], 5, 6, 1, 0),
            ([2, 4, 7, 9, 8], 6, 3, 2, 1),
            ([3, 6, 4, 4, 4], 2, 1, 1, 0),
        ] {
            let operands = || {
                [
                    volume(dims, 1, &device),
                    volume([out, dims[1], kernel, kernel, kernel], 2, &device),
                ]
                .map(Tensor::require_grad)
            };
            let bias = || volume([out], 3, &device).require_grad();
            let ([input, weight], b) = (operands(), bias());
            let ours = conv3d(
                input.clone(),
                weight.clone(),
                b.clone(),
                [stride; 3],
                [padding; 3],
            );
            let ([input2, weight2], b2) = (operands(), bias());
            let options = ConvOptions::new([stride; 3], [padding; 3], [1; 3], 1);
            let theirs = module::conv3d(input2.clone(), weight2.clone(), Some(b2.clone()), options);
            // Single precision over at most 648 products.
            assert!(difference(ours.clone().inner(), theirs.clone().inner()) < 1e-5);
            // Weighted by itself, so that every gradient is different.
            let (g, g2) = (
                ours.square().sum().backward(),
                theirs.square().sum().backward(),
            );
            let of = |t: &Tensor<5>, g| t.grad(g).expect("tracked");
            assert!(difference(of(&input, &g), of(&input2, &g2)) < 1e-5);
            assert!(difference(of(&weight, &g), of(&weight2, &g2)) < 1e-5);
            let of = |t: &Tensor<1>, g| t.grad(g).expect("tracked");
            assert!(difference(of(&b, &g), of(&b2, &g2)) < 1e-5);
        }
    }

    #[test]
    fn an_input_without_a_graph_gets_no_gradient() {
        let device = Device::flex().autodiff();
        let input = volume([1, 1, 6, 6, 6], 1, &device);
        let weight = volume([2, 1, 3, 3, 3], 2, &device).require_grad();
        let bias = volume([2], 3, &device);
        let output = conv3d(input.clone(), weight.clone(), bias, [1; 3], [0; 3]);
        let gradients = output.sum().backward();
        assert!(weight.grad(&gradients).is_some());
        assert!(input.grad(&gradients).is_none());
    }

    #[test]
    fn local_blocks_compute_no_gradient_of_their_input_and_backprop_computes_all_but_the_first() {
        let changes = ["model.head=gap-linear".to_owned()];
        let config = TrainConfig::parse(BRAIN_CNN_SMALL, "small.toml".as_ref(), &changes);
        let model = config.expect("a config").model;
        let device = Device::flex().autodiff();
        let count = |regime| {
            let network = Network::new(&model, 1, regime, Seed(1), &device).expect("a network");
            input_gradients::take();
            let mut features = volume([1, 1, 16, 16, 16], 1, &Device::flex());
            for block in &network.blocks {
                let pass = TrainingPass::new(Seed(1), 0, [0].into());
                let mut pass = Pass::Training(pass);
                let output = block.forward(Tensor::from_inner(features), &mut pass);
                features = output.clone().inner();
                block.outputs(output, &mut pass).sum().backward();
            }
            input_gradients::take()
        };
        assert_eq!(count(Regime::Local), 0);
        assert_eq!(count(Regime::Backprop), 3);
    }
}
