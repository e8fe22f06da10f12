//! Learning curves of a run, also while it trains.

pub(crate) mod data;
pub(crate) mod ui;
