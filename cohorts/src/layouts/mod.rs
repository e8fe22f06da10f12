//! The data sets whose folders and tables are known, one file each.
//!
//! Each gets the files of a walk and finds scans and people among them; [`crate::layout`] joins them.

pub(crate) mod bids;
pub(crate) mod camcan;
mod scan_names;
pub(crate) mod table;
#[cfg(test)]
mod tree;
pub(crate) mod ukbb;
mod ukbb_table;
