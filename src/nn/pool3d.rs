//! Pooling of volumes: maximum by two (own kernel, with its gradient) and averages.
//!
//! The framework has no maximum over 3D cells. On the CPU one pass gives the maxima and where they stood, and only
//! those positions are kept for the gradient: the input, eight times as large, can go at once.

use brainage_kernels::max_pool3d as kernel;
use burn::backend::autodiff::{
    NodeId,
    checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
    grads::Gradients,
    ops::{Backward, Ops, OpsKind},
};
use burn::backend::{
    Autodiff, Backend, Dispatch, Flex, TensorMetadata as _, backend_extension,
    flex::FlexTensor,
    tensor::{FloatTensor, IntTensor},
};
use burn::tensor::{Device, Tensor, TensorData, module::adaptive_avg_pool3d};

/// Halves each side: the largest value of each 2×2×2 cell, odd rests dropped.
///
/// # Shapes
/// `[batch, channels, x, y, z]` → `[batch, channels, x/2, y/2, z/2]`; all sides at least 2.
pub fn max_pool2(input: Tensor<5>) -> Tensor<5> {
    if input.device().inner() == Device::flex() {
        let (maxima, _) = Dispatch::max_pool2(input.into_dispatch());
        Tensor::from_dispatch(maxima)
    } else {
        max_pool2_by_axes(input)
    }
}

/// The same by the framework's own operations, for devices without our kernel.
fn max_pool2_by_axes(input: Tensor<5>) -> Tensor<5> {
    let [batch, channels, x, y, z] = input.dims();
    let [hx, hy, hz] = [x / 2, y / 2, z / 2];
    let even = input.slice([0..batch, 0..channels, 0..2 * hx, 0..2 * hy, 0..2 * hz]);
    let n = batch * channels;
    let along_z = even.reshape([n * 4 * hx * hy * hz, 2]).max_dim(1);
    let along_y = along_z.reshape([n * 2 * hx * hy, 2, hz]).max_dim(1);
    let along_x = along_y.reshape([n * hx, 2, hy * hz]).max_dim(1);
    along_x.reshape([batch, channels, hx, hy, hz])
}

/// Averages over cells so that no side is longer than `longest`; volumes that fit stay as they are.
///
/// # Shapes
/// `[batch, channels, x, y, z]` → `[batch, channels, min(x, longest), …]`.
pub fn average_pool_to(input: Tensor<5>, longest: usize) -> Tensor<5> {
    let [_, _, x, y, z] = input.dims();
    let sides = [x, y, z].map(|side| side.min(longest));
    if sides == [x, y, z] {
        input
    } else {
        adaptive_avg_pool3d(input, sides)
    }
}

/// Averages over cells of `factor` voxels along each axis, as even as can be; sides shorter than that become 1.
///
/// # Shapes
/// `[batch, channels, x, y, z]` → `[batch, channels, max(x/factor, 1), …]`.
pub fn average_pool_by(input: Tensor<5>, factor: usize) -> Tensor<5> {
    let [_, _, x, y, z] = input.dims();
    let sides = [x, y, z].map(|side| (side / factor).max(1));
    if sides == [x, y, z] {
        input
    } else {
        adaptive_avg_pool3d(input, sides)
    }
}

/// Mean over the voxels of each channel.
///
/// # Shapes
/// `[batch, channels, x, y, z]` → `[batch, channels]`.
pub fn global_average(input: Tensor<5>) -> Tensor<2> {
    let [batch, channels, x, y, z] = input.dims();
    input
        .reshape([batch, channels, x * y * z])
        .mean_dim(2)
        .reshape([batch, channels])
}

/// Back ends that have our kernel.
#[backend_extension(Flex, Autodiff)]
trait MaxPoolBackend: Backend {
    /// Maxima, and where in its volume each stood.
    fn max_pool2(input: FloatTensor<Self>) -> (FloatTensor<Self>, IntTensor<Self>);

    /// Gradient of the input, of shape `dims`.
    fn max_pool2_backward(
        gradient: FloatTensor<Self>,
        positions: IntTensor<Self>,
        dims: [usize; 5],
    ) -> FloatTensor<Self>;
}

impl MaxPoolBackend for Flex {
    fn max_pool2(input: FlexTensor) -> (FlexTensor, FlexTensor) {
        let input = input.to_contiguous();
        let dims = input.shape().dims::<5>();
        let pooled = kernel::forward(input.as_slice::<f32>().unwrap_or_default(), dims);
        let shape = kernel::output_dims(dims);
        (
            FlexTensor::from_data(TensorData::new(pooled.values, shape)),
            FlexTensor::from_data(TensorData::new(pooled.positions, shape)),
        )
    }

    fn max_pool2_backward(
        gradient: FlexTensor,
        positions: FlexTensor,
        dims: [usize; 5],
    ) -> FlexTensor {
        let (gradient, positions) = (gradient.to_contiguous(), positions.to_contiguous());
        let input_gradient = kernel::backward(
            gradient.as_slice::<f32>().unwrap_or_default(),
            positions.as_slice::<u32>().unwrap_or_default(),
            dims,
        );
        FlexTensor::from_data(TensorData::new(input_gradient, dims))
    }
}

impl<B: MaxPoolBackend, C: CheckpointStrategy> MaxPoolBackend for Autodiff<B, C> {
    fn max_pool2(input: FloatTensor<Self>) -> (FloatTensor<Self>, IntTensor<Self>) {
        #[derive(Debug)]
        struct Gradient;
        impl<B: MaxPoolBackend> Backward<B, 1> for Gradient {
            type State = (IntTensor<B>, [usize; 5]);

            fn backward(
                self,
                ops: Ops<Self::State, 1>,
                gradients: &mut Gradients,
                _: &mut Checkpointer,
            ) {
                let [parent] = ops.parents;
                let gradient = gradients.consume::<B>(&ops.node);
                let (positions, dims) = ops.state;
                if let Some(node) = parent {
                    let id: NodeId = node.id;
                    let input_gradient = B::max_pool2_backward(gradient, positions, dims);
                    gradients.register::<B>(id, input_gradient);
                }
            }
        }
        let preparation = Gradient
            .prepare::<C>([input.node()])
            .compute_bound()
            .stateful();
        let primitive = input.into_primitive();
        let dims = primitive.shape().dims::<5>();
        let (maxima, positions) = B::max_pool2(primitive);
        let maxima = match preparation {
            OpsKind::Tracked(tracked) => tracked.finish((positions.clone(), dims), maxima),
            OpsKind::UnTracked(untracked) => untracked.finish(maxima),
        };
        (maxima, positions)
    }

    /// Gradients are of the first order only, so this is not differentiable itself.
    fn max_pool2_backward(
        gradient: FloatTensor<Self>,
        positions: IntTensor<Self>,
        dims: [usize; 5],
    ) -> FloatTensor<Self> {
        let inner = B::max_pool2_backward(gradient.into_primitive(), positions, dims);
        <Self as burn::backend::AutodiffBackend>::from_inner(inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn volume(dims: [usize; 5], device: &Device) -> Tensor<5> {
        let n: usize = dims.iter().product();
        let values: Vec<f32> = (0..n).map(|i| ((i * 7919) % 1009) as f32).collect();
        Tensor::from_data(TensorData::new(values, dims), device)
    }

    #[test]
    fn kernel_and_tensor_operations_agree_on_values_and_gradients() {
        let device = Device::flex().autodiff();
        for dims in [[2, 3, 4, 6, 8], [1, 2, 5, 7, 3], [1, 1, 2, 2, 2]] {
            let (a, b) = (
                volume(dims, &device).require_grad(),
                volume(dims, &device).require_grad(),
            );
            let (pooled_a, pooled_b) = (max_pool2(a.clone()), max_pool2_by_axes(b.clone()));
            pooled_a
                .clone()
                .into_data()
                .assert_eq(&pooled_b.clone().into_data(), true);
            // Weighted by itself, so that every gradient is different.
            let gradient_a = (pooled_a.clone() * pooled_a).sum().backward();
            let gradient_b = (pooled_b.clone() * pooled_b).sum().backward();
            let of = |t: &Tensor<5>, g| t.grad(g).expect("tracked").into_data();
            of(&a, &gradient_a).assert_eq(&of(&b, &gradient_b), true);
        }
    }

    #[test]
    fn averages_shorten_only_the_sides_that_are_too_long() {
        let input = volume([1, 2, 20, 6, 15], &Device::flex());
        assert_eq!(average_pool_to(input.clone(), 14).dims(), [1, 2, 14, 6, 14]);
        let mean: f32 = input.clone().mean().into_scalar();
        let global: f32 = global_average(input).mean().into_scalar();
        assert!(
            (mean - global).abs() < 1e-2,
            "f32 sums of some 3,600 values below 1009"
        );
    }
}
