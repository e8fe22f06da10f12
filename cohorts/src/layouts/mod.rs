//! The data sets whose folders and tables are known, one file each.
//!
//! Each gets the files of a walk and finds scans and people among them; [`crate::listing`] joins them. A new layout is a
//! file here with its `LAYOUT`, and its line in [`ALL`].

mod bids;
mod camcan;
mod scan_names;
mod table;
#[cfg(test)]
pub(crate) mod tree;
mod ukbb;
mod ukbb_table;

use crate::layout::Layout;

/// All layouts; those that are special cases of others go before them.
pub(crate) const ALL: [Layout; 4] = [ukbb::LAYOUT, camcan::LAYOUT, bids::LAYOUT, table::LAYOUT];

/// Their names in the project file.
pub(crate) const NAMES: &str = "auto, ukbb, camcan, bids or table";
