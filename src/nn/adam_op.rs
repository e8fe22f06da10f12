//! A step of AdamW as one operation on the CPU, where memory is gone through once.

use brainage_kernels::adam::{self, Step};
use burn::backend::{
    Backend, Dispatch, Flex, TensorMetadata as _, backend_extension, flex::FlexTensor,
    tensor::FloatTensor,
};
use burn::tensor::{Device, Tensor};

use super::conv3d_op::tensor;

/// The parameter after a step, and both memories, which move on in place where nobody else holds them; `None` on devices
/// without our kernel. Nothing is recorded for gradients.
///
/// # Shapes
/// All `[n]`.
pub fn adam_step(
    step: Step,
    parameter: &Tensor<1>,
    gradient: &Tensor<1>,
    memories: impl FnOnce() -> [Tensor<1>; 2],
) -> Option<[Tensor<1>; 3]> {
    let device = parameter.device();
    if device.is_autodiff() || device != Device::flex() {
        return None;
    }
    let [first, second] = memories().map(Tensor::into_dispatch);
    let (parameter, gradient) = (parameter.clone(), gradient.clone());
    let (parameter, first, second) = Dispatch::adam(
        parameter.into_dispatch(),
        gradient.into_dispatch(),
        first,
        second,
        step,
    );
    Some([parameter, first, second].map(Tensor::from_dispatch))
}

/// Back ends that have our kernel.
#[backend_extension(Flex)]
trait AdamBackend: Backend {
    fn adam(
        parameter: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        first: FloatTensor<Self>,
        second: FloatTensor<Self>,
        step: Step,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);
}

impl AdamBackend for Flex {
    fn adam(
        parameter: FlexTensor,
        gradient: FlexTensor,
        first: FlexTensor,
        second: FlexTensor,
        step: Step,
    ) -> (FlexTensor, FlexTensor, FlexTensor) {
        let [parameter, gradient] = [parameter, gradient].map(|t| t.to_contiguous());
        let [mut first, mut second] = [first, second].map(|t| t.to_contiguous());
        let n = parameter.shape().num_elements();
        let numbers = |tensor: &FlexTensor| tensor.as_slice::<f32>().map(<[f32]>::to_vec);
        // A view of a larger array cannot be changed in place.
        for memory in [&mut first, &mut second] {
            if memory.storage::<f32>().len() != n {
                *memory = tensor(numbers(memory).unwrap_or_default(), [n]);
            }
        }
        let moved = adam::step(
            step,
            parameter.as_slice().unwrap_or_default(),
            gradient.as_slice().unwrap_or_default(),
            [first.storage_mut(), second.storage_mut()],
        );
        let moved = moved.map_or(parameter, |moved| tensor(moved, [n]));
        (moved, first, second)
    }
}
