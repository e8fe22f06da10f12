//! Layers: weights in dense or eigen form, convolutions, normalization, dropout, pooling and similarities.
//!
//! Layers know tensors and keyed randomness; they know no optimizer, no device placement and no files. Features are
//! `[batch, channel, x, y, z]` on RAS+ axes; images are `[batch, channel, 1, y, x]` with y down, so that they need no
//! layers of their own.

pub mod adam_op;
pub mod batch_norm;
mod batch_norm_op;
pub mod contrast;
pub mod conv3d;
pub mod conv3d_op;
pub mod conv3d_pool_op;
pub mod dropout;
pub mod exchange;
pub mod group_norm;
pub mod layer;
pub mod layer_norm;
pub mod linear;
mod linear_op;
mod norm_relu_op;
pub mod observer;
pub mod pass;
pub mod pool3d;
pub mod reconstruction;
mod recorded;
pub mod similarity;
pub mod token_ops;
pub mod weight;
pub mod weight_penalty;
