//! From a T1 scan file to a harmonised volume in the cache.
//!
//! The data's way: [`mod@format`] reads a scan file, [`orient`] turns it to RAS+, a [`recipe`] says what is done to it,
//! [`qc`] how well that went. [`space`] and [`volume`] hold what all of them speak of.
//!
//! This crate knows nothing of ages or participants: a path comes in, a volume with its quality goes out. It never
//! changes a scan and never goes to the network.

pub mod format;
pub mod orient;
pub mod recipe;

pub mod qc;

pub mod atomic;
mod error;
pub mod space;
pub mod volume;

pub use error::Error;
pub use space::{Affine, VoxelShape};
pub use volume::{Grid, Mask, Volume};
