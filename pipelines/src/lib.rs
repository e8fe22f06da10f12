//! From a T1 scan file to a harmonised volume in the cache.
//!
//! The data's way: [`mod@format`] reads a scan file, [`orient`] turns it to RAS+, [`mod@preprocess`] takes it through
//! the steps of a [`recipe`] ([`brain_network`], [`register`] to the [`template`], [`bias_field`], [`mask`],
//! [`mod@resample`], [`intensity`], [`qc`]), [`cache`] keeps the result, [`batch`] does that for many scans at once,
//! [`outputs`] writes it as files for other programs and [`quality_page`] shows the quality of all of them. [`space`] and
//! [`volume`] hold what all of them speak of.
//!
//! This crate knows nothing of ages or participants: a path comes in, a volume with its quality goes out. It never
//! changes a scan and never goes to the network.

pub mod format;
pub mod orient;
pub mod recipe;
pub mod template;

pub mod preprocess;

pub mod bias_field;
pub mod brain_network;
pub mod intensity;
pub mod mask;
pub mod qc;
pub mod register;
pub mod resample;

pub mod batch;
pub mod cache;
mod contact_sheet;
pub mod map_back;
pub mod middle_slices;
pub mod outputs;
pub mod quality_page;
pub mod scan_layers;

pub mod atomic;
mod error;
mod field_of_view;
mod filter;
mod interpolate;
mod morphology;
mod prepared;
mod pyramid;
pub mod space;
pub mod volume;

pub use error::Error;
pub use space::{Affine, VoxelShape};
pub use volume::{Grid, Mask, Volume};
