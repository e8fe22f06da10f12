//! Predicts the age of a brain from a T1-weighted MRI scan.
//!
//! The data's way: cohort folders become an index (`brainage-cohorts`), scans become cached volumes
//! (`brainage-pipelines`); [`data`] makes batches of them, [`models`] are lists of blocks of [`nn`] layers, [`engine`]
//! trains each block on its device, [`run`] keeps what a training leaves, [`model_file`] what prediction needs,
//! [`predict`] asks it for ages, [`eval`] and [`report`] say how good they are, [`mod@bench`] how
//! fast. [`vision`] has images with classes for the same engine, [`study`] compares many runs of either kind. [`cli`] alone ties
//! them together.

pub mod bench;
pub mod cli;
pub mod config;
pub mod data;
pub mod engine;
mod error;
pub mod eval;
pub mod model_file;
pub mod models;
pub mod nn;
pub mod predict;
mod process;
pub mod quantize;
pub mod report;
pub mod run;
pub mod study;
mod tensor_file;
pub mod vision;

pub use error::Error;
