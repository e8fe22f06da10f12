//! The panels. Each is a `data.rs`, plain values that say what is shown, and a `ui.rs` that draws them and says what
//! the user asked for.

pub(crate) mod list;
pub(crate) mod slices;

pub(crate) mod cohort;
pub(crate) mod layers;
pub(crate) mod prediction;
pub(crate) mod run;

pub(crate) mod review;
