//! Switches of the layers, contrast and display settings.

pub(crate) mod data;
pub(crate) mod ui;
