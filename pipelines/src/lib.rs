//! From a T1 scan file to a harmonised volume in the cache.
//!
//! The data's way: [`format`] reads a scan file, [`orient`] turns it to RAS+, and [`cache`] keeps what the
//! recipe made of it; [`space`] and [`volume`] hold what all of them speak of.

pub mod atomic;
pub mod cache;
pub mod format;
pub mod orient;
pub mod space;
pub mod volume;

pub use space::{Affine, VoxelShape};
pub use volume::{Grid, Mask, Volume};
