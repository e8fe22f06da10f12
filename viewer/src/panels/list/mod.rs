//! The list of scans: sorted, filtered, searched.

pub(crate) mod data;
pub(crate) mod ui;
