//! The data sets whose folders and tables are known, one file each.
//!
//! Each gets the files of a walk and finds scans and people among them; [`crate::listing`] joins them. A new layout is a
//! file here with its `LAYOUT`, and its line in [`ALL`].

mod adni;
mod adni_images;
mod adni_table;
mod adni_visits;
mod bids;
mod bids_ages;
mod bids_scans;
mod camcan;
mod hcp_aging;
mod hcp_development;
mod hcp_ya;
mod ixi;
mod nda;
mod oasis3;
mod scan_names;
mod table;
#[cfg(test)]
pub(crate) mod tree;
mod ukbb;
mod ukbb_table;
mod usual_tables;

use crate::layout::Layout;

/// All layouts; those that are special cases of others go before them.
pub(crate) static ALL: &[Layout] = &[
    ukbb::LAYOUT,
    hcp_ya::LAYOUT,
    hcp_aging::LAYOUT,
    hcp_development::LAYOUT,
    adni::LAYOUT,
    camcan::LAYOUT,
    ixi::LAYOUT,
    oasis3::LAYOUT,
    bids::LAYOUT,
    table::LAYOUT,
];

/// Their names in the project file.
pub(crate) const NAMES: &str = "auto, ukbb, hcp-ya, hcp-aging, hcp-development, adni, camcan, ixi, \
                                oasis3, bids or table";
