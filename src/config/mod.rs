//! What the user sets: the project file and the training config, parsed once into checked types.

pub mod method;
pub mod project;
pub mod train;
