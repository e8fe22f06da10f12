//! HCP Development: `HCD#######_V#_MR` folders or packages, tables of the NIMH Data Archive (see [`super::nda`]).

use super::nda::{Study, layout};
use crate::layout::Layout;

struct Development;

impl Study for Development {
    const NAME: &'static str = "hcp-development";
    const PREFIX: &'static str = "HCD";
    const EXPECTED_SCANS: &'static str = "HCD#######_V#_MR/T1w/T1w_acpc_dc_restore.nii.gz";
    const CAP_YEARS: Option<f64> = None;
}

/// The layout.
pub(super) const LAYOUT: Layout = layout::<Development>();

#[cfg(test)]
mod tests {
    use super::super::tree::Tree;
    use super::*;

    #[test]
    fn children_are_listed_with_ages_in_years() {
        let scan = "fmriresults01/HCD0001305_V1_MR/T1w/T1w_acpc_dc_restore.nii.gz";
        let table = "\"src_subject_id\"\t\"interview_age\"\t\"sex\"\n\"Subject ID\"\t\"Age in months\"\t\"Sex\"\n\
                     \"HCD0001305\"\t\"130\"\t\"M\"\n";
        let tree = Tree::new(&[scan], &[("ndar_subject01.txt", table)]);
        let listing = tree.list(LAYOUT).unwrap();
        assert_eq!(
            tree.rows(&listing),
            [format!("HCD0001305 V1 10.8333 M {scan}")]
        );
        let message = Tree::new(&[scan], &[])
            .list(LAYOUT)
            .unwrap_err()
            .to_string();
        assert!(
            message.starts_with("no table with ages found, expected `ndar_subject01.txt`"),
            "{message}"
        );
    }
}
