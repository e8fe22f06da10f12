//! Numeric kernels on plain slices, and files as slices: the only crate of the project that may contain `unsafe` code.
//!
//! Slices come from the engine's tensors and go back to them; nothing here knows of devices, gradients or what is in a
//! file. Kernels use the rayon pool that they are called in, so a logical CPU device bounds them, and their results do not
//! depend on how many threads that pool has.

pub mod adam;
pub mod attention;
pub mod batch_norm;
pub mod conv3d;
pub mod dense;
mod elementary;
pub mod free_memory;
pub mod gelu;
mod large_pages;
pub mod layer_norm;
pub mod mapped_file;
mod matrix;
pub mod max_pool3d;
pub mod norm_relu;
mod output;
pub mod peak;
mod sums;
