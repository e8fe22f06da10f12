//! From cached volumes to batches: who is in which batch, how a training volume is changed, what the network is given.
//!
//! Samples come from the cache and go to the engine as tensors `[batch, channel, x, y, z]`, made ready ahead of time
//! by a loader. Nothing here knows what an age or a cohort is used for but to draw samples evenly.

pub mod augment;
pub mod batch;
pub mod brain;
pub mod loader;
pub mod sampling;
