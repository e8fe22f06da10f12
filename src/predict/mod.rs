//! What was predicted: the table of predictions.

pub mod table;
