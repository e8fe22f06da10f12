//! Networks: a list of blocks, each with a local head.
//!
//! A network knows layers and shapes; it knows no optimizer, device placement, regime or file. The regime is only a
//! question of cuts: backprop is the same network as one block with the final head alone, deep supervision one block
//! with all heads.

pub mod block;
pub mod brain_cnn;
pub mod denoising;
pub mod goodness;
pub mod head;
pub mod image_model;
mod network;
pub mod parameters;
mod regime;
pub mod residual;
pub mod transformer;
pub mod unit;

pub use block::Block;
pub use image_model::{ImageModelConfig, ImageModelName, NetworkDraw};
pub use network::{ModelConfig, ModelName, Network, ParameterCounts};
pub use regime::{Cuts, NamedCuts, Regime};
