//! ReLU and batch normalization as one operation of the framework, on the CPU: a third of the memory that the separate
//! operations pass through, and three results to keep instead of a dozen.

use brainage_kernels::batch_norm::{self as kernel, Channels};
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::{
    Autodiff, Backend, Dispatch, Flex, TensorMetadata as _, backend_extension, flex::FlexTensor,
    tensor::FloatTensor,
};
use burn::tensor::{Device, Tensor};

use super::conv3d_op::tensor;
use super::pass::BatchStatistics;
use super::recorded::with_statistics;

/// Whether this file's functions can be called with such an input.
pub(super) fn is_ours(input: &Tensor<5>) -> bool {
    input.device().inner() == Device::flex()
}

/// Rectifies and normalizes by the batch's own statistics, which are also returned.
///
/// # Shapes
/// Input `[batch, channels, x, y, z]`, unchanged; scale and shift `[channels]`.
pub(super) fn relu_batch_norm(
    input: Tensor<5>,
    [gamma, beta]: [Tensor<1>; 2],
    epsilon: f64,
) -> (Tensor<5>, BatchStatistics) {
    let (gamma, beta) = (gamma.into_dispatch(), beta.into_dispatch());
    let (values, mean, variance) =
        Dispatch::relu_batch_norm(input.into_dispatch(), gamma, beta, epsilon as f32);
    let statistics = [mean, variance].map(|t| Tensor::<1>::from_dispatch(t).inner());
    let [mean, variance] = statistics;
    (Tensor::from_dispatch(values), (mean, variance))
}

/// Whether [`relu_normalize`] can be called with such an input: nothing is recorded for gradients.
pub(super) fn is_ours_untracked(input: &Tensor<5>) -> bool {
    let device = input.device();
    // Devices are equal whether or not they record gradients.
    !device.is_autodiff() && device == Device::flex()
}

/// Rectifies and normalizes by given statistics.
///
/// # Shapes
/// Input `[batch, channels, x, y, z]`, unchanged; all else `[channels]`.
pub(super) fn relu_normalize(
    input: Tensor<5>,
    (mean, variance): BatchStatistics,
    [gamma, beta]: [Tensor<1>; 2],
    epsilon: f64,
) -> Tensor<5> {
    // Parameters may be those of a network in training.
    let channels = [mean, variance, gamma, beta];
    let [mean, variance, gamma, beta] = channels.map(|t| t.inner().into_dispatch());
    let input = input.into_dispatch();
    let epsilon = epsilon as f32;
    let values = Dispatch::relu_normalize(input, mean, variance, gamma, beta, epsilon);
    Tensor::from_dispatch(values)
}

/// Back ends that have our kernel for networks that are not trained.
#[backend_extension(Flex)]
trait NormalizeBackend: Backend {
    fn relu_normalize(
        input: FloatTensor<Self>,
        mean: FloatTensor<Self>,
        variance: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        epsilon: f32,
    ) -> FloatTensor<Self>;
}

impl NormalizeBackend for Flex {
    fn relu_normalize(
        input: FlexTensor,
        mean: FlexTensor,
        variance: FlexTensor,
        gamma: FlexTensor,
        beta: FlexTensor,
        epsilon: f32,
    ) -> FlexTensor {
        let input = input.to_contiguous();
        let [mean, variance, gamma, beta] =
            [mean, variance, gamma, beta].map(|t| t.to_contiguous());
        let of = Channels {
            mean: numbers(&mean),
            variance: numbers(&variance),
            gamma: numbers(&gamma),
            beta: numbers(&beta),
            epsilon,
        };
        let values = kernel::normalize(numbers(&input), kernel_dims(&input), of);
        tensor(values, input.shape().dims::<5>())
    }
}

/// Back ends that have our kernels for training.
#[backend_extension(Flex, Autodiff)]
trait NormBackend: Backend {
    /// Values, means and variances.
    fn relu_batch_norm(
        input: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        epsilon: f32,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);
}

/// Those that also have their gradients.
trait NormGradients: NormBackend {
    /// Gradients of input, scale and shift; `of` holds mean, variance and scale.
    fn relu_batch_norm_gradients(
        gradient: FloatTensor<Self>,
        input: FloatTensor<Self>,
        of: [FloatTensor<Self>; 3],
        epsilon: f32,
    ) -> [FloatTensor<Self>; 3];
}

fn kernel_dims(input: &FlexTensor) -> [usize; 3] {
    let [batch, channels, x, y, z] = input.shape().dims();
    [batch, channels, x * y * z]
}

fn numbers(tensor: &FlexTensor) -> &[f32] {
    tensor.as_slice().unwrap_or_default()
}

impl NormBackend for Flex {
    fn relu_batch_norm(
        input: FlexTensor,
        gamma: FlexTensor,
        beta: FlexTensor,
        epsilon: f32,
    ) -> (FlexTensor, FlexTensor, FlexTensor) {
        let [input, gamma, beta] = [input, gamma, beta].map(|t| t.to_contiguous());
        let dims = kernel_dims(&input);
        let [mean, variance] = kernel::statistics(numbers(&input), dims);
        let of = Channels {
            mean: &mean,
            variance: &variance,
            gamma: numbers(&gamma),
            beta: numbers(&beta),
            epsilon,
        };
        let values = kernel::normalize(numbers(&input), dims, of);
        (
            tensor(values, input.shape().dims::<5>()),
            tensor(mean, [dims[1]]),
            tensor(variance, [dims[1]]),
        )
    }
}

impl NormGradients for Flex {
    fn relu_batch_norm_gradients(
        gradient: FlexTensor,
        input: FlexTensor,
        [mean, variance, gamma]: [FlexTensor; 3],
        epsilon: f32,
    ) -> [FlexTensor; 3] {
        let [gradient, input, gamma] = [gradient, input, gamma].map(|t| t.to_contiguous());
        let dims = kernel_dims(&input);
        let of = Channels {
            mean: numbers(&mean),
            variance: numbers(&variance),
            gamma: numbers(&gamma),
            // Has no part in any gradient.
            beta: numbers(&mean),
            epsilon,
        };
        let found = kernel::gradients(numbers(&gradient), numbers(&input), dims, of);
        [
            tensor(found.input, input.shape().dims::<5>()),
            tensor(found.gamma, [dims[1]]),
            tensor(found.beta, [dims[1]]),
        ]
    }
}

impl<B: NormGradients, C: CheckpointStrategy> NormBackend for Autodiff<B, C> {
    fn relu_batch_norm(
        input: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        epsilon: f32,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        with_statistics::<B, C, _, _>(
            [input, gamma, beta],
            |[input, gamma, beta]| {
                let (values, mean, variance) =
                    B::relu_batch_norm(input.clone(), gamma.clone(), beta, epsilon);
                let of = [mean.clone(), variance.clone(), gamma];
                (values, (input, of, epsilon), [mean, variance])
            },
            |gradient, (input, of, epsilon), _| {
                B::relu_batch_norm_gradients(gradient, input, of, epsilon).map(Some)
            },
        )
    }
}
