//! Batch normalization and what follows it in a residual unit, a shortcut that is added and ReLU, as one operation of the
//! framework on the CPU: memory is gone through once for what the separate operations take a dozen times.
#![expect(
    clippy::too_many_arguments,
    reason = "operations take tensors one by one"
)]

use brainage_kernels::batch_norm::Channels;
use brainage_kernels::norm_relu::{self as kernel, Given, Then};
use burn::backend::autodiff::{
    checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
    grads::Gradients,
    ops::{Backward, Ops, OpsKind},
};
use burn::backend::{
    Autodiff, AutodiffBackend, Backend, Dispatch, Flex, TensorMetadata as _, backend_extension,
    flex::FlexTensor, tensor::FloatTensor,
};
use burn::tensor::Tensor;

use super::conv3d_op::tensor;
use super::pass::BatchStatistics;

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

    /// Gradients of input, scale, shift and shortcut; the last is one of nothing where none was added. `given` holds
    /// input and values, `of` the batch's mean and variance, scale and shift.
    fn norm_gradients(
        gradient: FloatTensor<Self>,
        input: FloatTensor<Self>,
        values: FloatTensor<Self>,
        mean: FloatTensor<Self>,
        variance: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        settings: Settings,
    ) -> (
        FloatTensor<Self>,
        FloatTensor<Self>,
        FloatTensor<Self>,
        FloatTensor<Self>,
    );
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

    fn norm_gradients(
        gradient: FlexTensor,
        input: FlexTensor,
        values: FlexTensor,
        mean: FlexTensor,
        variance: FlexTensor,
        gamma: FlexTensor,
        beta: FlexTensor,
        settings: Settings,
    ) -> (FlexTensor, FlexTensor, FlexTensor, FlexTensor) {
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
        (
            tensor(found.input, shape),
            tensor(found.gamma, [dims[1]]),
            tensor(found.beta, [dims[1]]),
            tensor(of_shortcut, shortcut_shape),
        )
    }
}

/// Input, values, mean, variance, scale, shift.
type State<B> = ([FloatTensor<B>; 6], Settings);

/// Gradients of a backward pass: of the parents, as many as the operation has.
fn register<B: NormThenBackend, const N: usize>(ops: Ops<State<B>, N>, gradients: &mut Gradients) {
    let gradient = gradients.consume::<B>(&ops.node);
    let ([input, values, mean, variance, gamma, beta], settings) = ops.state;
    let (of_input, of_gamma, of_beta, of_shortcut) = B::norm_gradients(
        gradient, input, values, mean, variance, gamma, beta, settings,
    );
    let found = [of_input, of_gamma, of_beta, of_shortcut];
    for (node, found) in ops.parents.into_iter().zip(found) {
        if let Some(node) = node {
            gradients.register::<B>(node.id, found);
        }
    }
}

impl<B: NormThenBackend, C: CheckpointStrategy> NormThenBackend for Autodiff<B, C> {
    fn norm(
        input: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        epsilon: f32,
        relu: bool,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        #[derive(Debug)]
        struct Gradient;
        impl<B: NormThenBackend> Backward<B, 3> for Gradient {
            type State = State<B>;

            fn backward(
                self,
                ops: Ops<Self::State, 3>,
                gradients: &mut Gradients,
                _: &mut Checkpointer,
            ) {
                register::<B, 3>(ops, gradients);
            }
        }
        let preparation = Gradient
            .prepare::<C>([input.node(), gamma.node(), beta.node()])
            .compute_bound()
            .stateful();
        let (input, gamma, beta) = (
            input.into_primitive(),
            gamma.into_primitive(),
            beta.into_primitive(),
        );
        let (values, mean, variance) =
            B::norm(input.clone(), gamma.clone(), beta.clone(), epsilon, relu);
        let settings = Settings {
            epsilon,
            relu,
            added: false,
        };
        let values = match preparation {
            OpsKind::Tracked(tracked) => {
                // Without a shortcut the values are not looked at.
                let state = [
                    input,
                    mean.clone(),
                    mean.clone(),
                    variance.clone(),
                    gamma,
                    beta,
                ];
                tracked.finish((state, settings), values)
            }
            OpsKind::UnTracked(untracked) => untracked.finish(values),
        };
        let [mean, variance] = [mean, variance].map(<Self as AutodiffBackend>::from_inner);
        (values, mean, variance)
    }

    fn norm_add(
        input: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        shortcut: FloatTensor<Self>,
        epsilon: f32,
        relu: bool,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        #[derive(Debug)]
        struct Gradient;
        impl<B: NormThenBackend> Backward<B, 4> for Gradient {
            type State = State<B>;

            fn backward(
                self,
                ops: Ops<Self::State, 4>,
                gradients: &mut Gradients,
                _: &mut Checkpointer,
            ) {
                register::<B, 4>(ops, gradients);
            }
        }
        let preparation = Gradient
            .prepare::<C>([input.node(), gamma.node(), beta.node(), shortcut.node()])
            .compute_bound()
            .stateful();
        let (input, gamma, beta, shortcut) = (
            input.into_primitive(),
            gamma.into_primitive(),
            beta.into_primitive(),
            shortcut.into_primitive(),
        );
        let (values, mean, variance) = B::norm_add(
            input.clone(),
            gamma.clone(),
            beta.clone(),
            shortcut,
            epsilon,
            relu,
        );
        let settings = Settings {
            epsilon,
            relu,
            added: true,
        };
        let values = match preparation {
            OpsKind::Tracked(tracked) => {
                let state = [
                    input,
                    values.clone(),
                    mean.clone(),
                    variance.clone(),
                    gamma,
                    beta,
                ];
                tracked.finish((state, settings), values)
            }
            OpsKind::UnTracked(untracked) => untracked.finish(values),
        };
        let [mean, variance] = [mean, variance].map(<Self as AutodiffBackend>::from_inner);
        (values, mean, variance)
    }

    /// Gradients are of the first order only, so this is not differentiable itself.
    fn norm_gradients(
        gradient: FloatTensor<Self>,
        input: FloatTensor<Self>,
        values: FloatTensor<Self>,
        mean: FloatTensor<Self>,
        variance: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        settings: Settings,
    ) -> (
        FloatTensor<Self>,
        FloatTensor<Self>,
        FloatTensor<Self>,
        FloatTensor<Self>,
    ) {
        let (a, b, c, d) = B::norm_gradients(
            gradient.into_primitive(),
            input.into_primitive(),
            values.into_primitive(),
            mean.into_primitive(),
            variance.into_primitive(),
            gamma.into_primitive(),
            beta.into_primitive(),
            settings,
        );
        let [a, b, c, d] = [a, b, c, d].map(<Self as AutodiffBackend>::from_inner);
        (a, b, c, d)
    }
}
