//! From cached volumes to batches: who is in which batch, how a training volume is changed, what the network is given.
//!
//! Samples come from the cache and go to the engine as tensors `[batch, channel, x, y, z]`. Nothing
//! here knows of cohorts or of what an age is used for.

pub mod augment;
pub mod batch;
pub mod brain;
