//! All scans in plots: predicted against chronological age, and the gaps.

pub(crate) mod data;
pub(crate) mod ui;
