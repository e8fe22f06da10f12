//! What the model says of the selected scan.

pub(crate) mod data;
pub(crate) mod ui;
