//! Our own speed figures: what is measured on this machine, and what follows from it for others.
//!
//! [`timing`] repeats what is measured, [`machine`] says where; [`pipeline`] measures blocks, backprop and the pipelined
//! run, [`speed_model`] and [`placement`](crate::engine::placement) compute from those times what other methods and more devices would take, and
//! [`pipeline_rows`] makes one table of both. [`conv`] measures the convolutions of [`conv_shapes`], [`conv_network`]
//! networks that are made of them, [`vision`] image classifiers and [`vision_loading`] how fast their images come,
//! [`mod@preprocess`] the stages of preprocessing, [`predict`] a batch of
//! predictions. What is computed is never called measured. The command line prints; nothing is
//! printed here.

pub mod conv;
pub mod conv_network;
pub mod conv_shapes;
pub mod machine;
pub mod memory;
pub mod pipeline;
pub mod pipeline_rows;
pub mod predict;
pub mod preprocess;
pub mod speed_model;
pub mod timing;
pub mod vision;
pub mod vision_loading;
