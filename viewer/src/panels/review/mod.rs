//! Judging scans one by one, and the table of the judgments.

pub(crate) mod data;
pub(crate) mod ui;
