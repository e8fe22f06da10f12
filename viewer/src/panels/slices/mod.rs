//! The slices: panes of one plane each, or a mosaic, with what can be done in them.

pub(crate) mod data;
pub(crate) mod ui;

mod halves;
mod mosaic;
mod overlay;
mod pane;
mod texture;

pub(crate) use texture::{Budget, Textures};
