//! Batch normalization and what follows it in a residual unit, a shortcut that is added and ReLU, as one operation of the
//! framework on the CPU: memory is gone through once for what the separate operations take a dozen times.
#![expect(
    clippy::too_many_arguments,
    reason = "operations take tensors one by one"
)]

use brainage_kernels::batch_norm::Channels;
use brainage_kernels::norm_relu::{self as kernel, Given, Then};
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::{
    Autodiff, Backend, Dispatch, Flex, TensorMetadata as _, backend_extension, flex::FlexTensor,
    tensor::FloatTensor,
};
use burn::tensor::Tensor;

use super::conv3d_op::tensor;
use super::pass::BatchStatistics;
use super::recorded::with_statistics;

/// Normalizes by the batch's own statistics, which are also returned; adds the shortcut, if there is one; rectifies, if
/// `relu`.
///
/// # Shapes
/// Input and shortcut `[batch, channels, x, y, z]`, unchanged; scale and shift `[channels]`.
pub(super) fn batch_norm_then(
    input: Tensor<5>,
    [gamma, beta]: [Tensor<1>; 2],
    epsilon: f64,
    shortcut: Option<Tensor<5>>,
    relu: bool,
) -> (Tensor<5>, BatchStatistics) {
    let epsilon = epsilon as f32;
    let (input, gamma, beta) = (
        input.into_dispatch(),
        gamma.into_dispatch(),
        beta.into_dispatch(),
    );
    let (values, mean, variance) = match shortcut {
        Some(shortcut) => {
            Dispatch::norm_add(input, gamma, beta, shortcut.into_dispatch(), epsilon, relu)
        }
        None => Dispatch::norm(input, gamma, beta, epsilon, relu),
    };
    let statistics = [mean, variance].map(|t| Tensor::<1>::from_dispatch(t).inner());
    let [mean, variance] = statistics;
    (Tensor::from_dispatch(values), (mean, variance))
}

/// The same by given statistics, where nothing is recorded for gradients, see
/// [`is_ours_untracked`](super::batch_norm_op::is_ours_untracked).
///
/// # Shapes
/// Input and shortcut `[batch, channels, x, y, z]`, unchanged; all else `[channels]`.
pub(super) fn normalize_then(
    input: Tensor<5>,
    (mean, variance): BatchStatistics,
    [gamma, beta]: [Tensor<1>; 2],
    epsilon: f64,
    shortcut: Option<Tensor<5>>,
    relu: bool,
) -> Tensor<5> {
    // Parameters may be those of a network in training.
    let channels = [mean, variance, gamma, beta];
    let [mean, variance, gamma, beta] = channels.map(|t| t.inner().into_dispatch());
    let (input, epsilon) = (input.into_dispatch(), epsilon as f32);
    Tensor::from_dispatch(match shortcut {
        Some(shortcut) => {
            let shortcut = shortcut.into_dispatch();
            Dispatch::norm_given_add(input, mean, variance, gamma, beta, shortcut, epsilon, relu)
        }
        None => Dispatch::norm_given(input, mean, variance, gamma, beta, epsilon, relu),
    })
}

/// Back ends that have our kernel for networks that are not trained.
#[backend_extension(Flex)]
trait NormGivenBackend: Backend {
    fn norm_given(
        input: FloatTensor<Self>,
        mean: FloatTensor<Self>,
        variance: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        epsilon: f32,
        relu: bool,
    ) -> FloatTensor<Self>;

    fn norm_given_add(
        input: FloatTensor<Self>,
        mean: FloatTensor<Self>,
        variance: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        shortcut: FloatTensor<Self>,
        epsilon: f32,
        relu: bool,
    ) -> FloatTensor<Self>;
}

fn kernel_dims(input: &FlexTensor) -> [usize; 3] {
    let [batch, channels, x, y, z] = input.shape().dims();
    [batch, channels, x * y * z]
}

fn numbers(tensor: &FlexTensor) -> &[f32] {
    tensor.as_slice().unwrap_or_default()
}

fn given(
    input: &FlexTensor,
    channels: [FlexTensor; 4],
    shortcut: Option<&FlexTensor>,
    epsilon: f32,
    relu: bool,
) -> FlexTensor {
    let input = input.to_contiguous();
    let [mean, variance, gamma, beta] = channels.map(|t| t.to_contiguous());
    let shortcut = shortcut.map(FlexTensor::to_contiguous);
    let of = Channels {
        mean: numbers(&mean),
        variance: numbers(&variance),
        gamma: numbers(&gamma),
        beta: numbers(&beta),
        epsilon,
    };
    let then = Then {
        shortcut: shortcut.as_ref().map(numbers),
        relu,
    };
    let values = kernel::normalize(numbers(&input), kernel_dims(&input), of, then);
    tensor(values, input.shape().dims::<5>())
}

impl NormGivenBackend for Flex {
    fn norm_given(
        input: FlexTensor,
        mean: FlexTensor,
        variance: FlexTensor,
        gamma: FlexTensor,
        beta: FlexTensor,
        epsilon: f32,
        relu: bool,
    ) -> FlexTensor {
        given(&input, [mean, variance, gamma, beta], None, epsilon, relu)
    }

    fn norm_given_add(
        input: FlexTensor,
        mean: FlexTensor,
        variance: FlexTensor,
        gamma: FlexTensor,
        beta: FlexTensor,
        shortcut: FlexTensor,
        epsilon: f32,
        relu: bool,
    ) -> FlexTensor {
        let channels = [mean, variance, gamma, beta];
        given(&input, channels, Some(&shortcut), epsilon, relu)
    }
}

/// Back ends that have our kernels for training.
#[backend_extension(Flex, Autodiff)]
trait NormThenBackend: Backend {
    /// Values, means and variances.
    fn norm(
        input: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        epsilon: f32,
        relu: bool,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);

    /// The same with a shortcut that is added before ReLU.
    fn norm_add(
        input: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        shortcut: FloatTensor<Self>,
        epsilon: f32,
        relu: bool,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);
}

/// Those that also have their gradients.
trait NormThenGradients: NormThenBackend {
    /// Gradients of input, scale, shift and shortcut; the last is one of nothing where none was added.
    fn norm_gradients(gradient: FloatTensor<Self>, kept: Kept<Self>) -> [FloatTensor<Self>; 4];
}

/// What gradients are found from.
#[derive(Clone, Debug)]
struct Kept<B: Backend> {
    input: FloatTensor<B>,
    /// Only looked at where a shortcut was added.
    values: FloatTensor<B>,
    /// The batch's mean and variance, scale and shift.
    of: [FloatTensor<B>; 4],
    settings: Settings,
}

/// What a gradient has to know of its operation.
#[derive(Clone, Copy, Debug)]
struct Settings {
    epsilon: f32,
    relu: bool,
    added: bool,
}

fn by_batch(
    input: &FlexTensor,
    [gamma, beta]: [FlexTensor; 2],
    shortcut: Option<&FlexTensor>,
    epsilon: f32,
    relu: bool,
) -> (FlexTensor, FlexTensor, FlexTensor) {
    let input = input.to_contiguous();
    let [gamma, beta] = [gamma, beta].map(|t| t.to_contiguous());
    let shortcut = shortcut.map(FlexTensor::to_contiguous);
    let dims = kernel_dims(&input);
    let then = Then {
        shortcut: shortcut.as_ref().map(numbers),
        relu,
    };
    let affine = [numbers(&gamma), numbers(&beta)];
    let found = kernel::forward(numbers(&input), dims, affine, epsilon, then);
    (
        tensor(found.values, input.shape().dims::<5>()),
        tensor(found.mean, [dims[1]]),
        tensor(found.variance, [dims[1]]),
    )
}

impl NormThenBackend for Flex {
    fn norm(
        input: FlexTensor,
        gamma: FlexTensor,
        beta: FlexTensor,
        epsilon: f32,
        relu: bool,
    ) -> (FlexTensor, FlexTensor, FlexTensor) {
        by_batch(&input, [gamma, beta], None, epsilon, relu)
    }

    fn norm_add(
        input: FlexTensor,
        gamma: FlexTensor,
        beta: FlexTensor,
        shortcut: FlexTensor,
        epsilon: f32,
        relu: bool,
    ) -> (FlexTensor, FlexTensor, FlexTensor) {
        by_batch(&input, [gamma, beta], Some(&shortcut), epsilon, relu)
    }
}

impl NormThenGradients for Flex {
    fn norm_gradients(gradient: FlexTensor, kept: Kept<Self>) -> [FlexTensor; 4] {
        let Kept {
            input,
            values,
            of: [mean, variance, gamma, beta],
            settings,
        } = kept;
        let [gradient, input, gamma, beta] =
            [gradient, input, gamma, beta].map(|t| t.to_contiguous());
        let dims = kernel_dims(&input);
        let of = Channels {
            mean: numbers(&mean),
            variance: numbers(&variance),
            gamma: numbers(&gamma),
            beta: numbers(&beta),
            epsilon: settings.epsilon,
        };
        let given = Given {
            input: numbers(&input),
            values: numbers(&values),
            added: settings.added,
            relu: settings.relu,
        };
        let (found, of_shortcut) = kernel::gradients(numbers(&gradient), given, dims, of);
        let shape = input.shape().dims::<5>();
        let shortcut_shape = if settings.added { shape } else { [0; 5] };
        [
            tensor(found.input, shape),
            tensor(found.gamma, [dims[1]]),
            tensor(found.beta, [dims[1]]),
            tensor(of_shortcut, shortcut_shape),
        ]
    }
}

impl<B: NormThenGradients, C: CheckpointStrategy> NormThenBackend for Autodiff<B, C> {
    fn norm(
        input: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        epsilon: f32,
        relu: bool,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        with_statistics::<B, C, _, _>(
            [input, gamma, beta],
            |[input, gamma, beta]| {
                let (values, mean, variance) =
                    B::norm(input.clone(), gamma.clone(), beta.clone(), epsilon, relu);
                let kept = Kept {
                    input,
                    // Not looked at, so not held.
                    values: mean.clone(),
                    of: [mean.clone(), variance.clone(), gamma, beta],
                    settings: Settings {
                        epsilon,
                        relu,
                        added: false,
                    },
                };
                (values, kept, [mean, variance])
            },
            |gradient, kept, _| {
                let [of_input, of_gamma, of_beta, _] = B::norm_gradients(gradient, kept);
                [of_input, of_gamma, of_beta].map(Some)
            },
        )
    }

    fn norm_add(
        input: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        shortcut: FloatTensor<Self>,
        epsilon: f32,
        relu: bool,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        with_statistics::<B, C, _, _>(
            [input, gamma, beta, shortcut],
            |[input, gamma, beta, shortcut]| {
                let [x, scale, shift] = [&input, &gamma, &beta].map(Clone::clone);
                let (values, mean, variance) =
                    B::norm_add(x, scale, shift, shortcut, epsilon, relu);
                let kept = Kept {
                    input,
                    values: values.clone(),
                    of: [mean.clone(), variance.clone(), gamma, beta],
                    settings: Settings {
                        epsilon,
                        relu,
                        added: true,
                    },
                };
                (values, kept, [mean, variance])
            },
            |gradient, kept, _| B::norm_gradients(gradient, kept).map(Some),
        )
    }
}
