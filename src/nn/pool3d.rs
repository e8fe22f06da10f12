//! Pooling of volumes: maximum by two (own kernel, with its gradient) and averages.

use brainage_kernels::max_pool3d as kernel;
use burn::backend::autodiff::{
    NodeId,
    checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
    grads::Gradients,
    ops::{Backward, Ops, OpsKind},
};
use burn::backend::{
    Autodiff, Backend, Dispatch, Flex, TensorMetadata as _, backend_extension, flex::FlexTensor,
    tensor::FloatTensor,
};
use burn::tensor::{Tensor, TensorData, module::adaptive_avg_pool3d};
