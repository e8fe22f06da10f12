//! Images with classes: data sets as they ship, their random changes, batches for the engine, and tables of results.
//!
//! Files go to [`dataset`], which lists images without decoding them; [`source`] decodes, changes and normalizes the
//! members of a batch when a loader asks for it. What is trained on them is in [`crate::models`], how in [`crate::engine`].

pub mod anatomy;
pub mod augment;
pub mod cifar;
pub mod config;
pub mod curves;
pub mod dataset;
pub mod decode;
pub mod evaluation;
pub mod folder;
pub mod mix;
pub mod model_file;
pub mod pixels;
pub mod published;
pub mod rand_augment;
pub mod source;
pub mod table;
