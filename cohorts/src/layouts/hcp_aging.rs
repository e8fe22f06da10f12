//! HCP Aging: `HCA#######_V#_MR` folders or packages, tables of the NIMH Data Archive (see [`super::nda`]).
//!
//! Ages from 90 years on are released as a bound; such scans are left out unless coarse ages are asked for.

use super::nda::{Study, layout};
use crate::layout::Layout;

struct Aging;

impl Study for Aging {
    const NAME: &'static str = "hcp-aging";
    const PREFIX: &'static str = "HCA";
    const EXPECTED_SCANS: &'static str = "HCA#######_V#_MR/T1w/T1w_acpc_dc_restore.nii.gz";
    const CAP_YEARS: Option<f64> = Some(90.0);
}

/// The layout.
pub(super) const LAYOUT: Layout = layout::<Aging>();

#[cfg(test)]
mod tests {
    use super::super::tree::{Tree, skipped};
    use super::*;
    use crate::AgeSource;
    use crate::archive::tests::stored;

    const SUBJECTS: (&str, &str) = (
        "ndar_subject01.txt",
        "\"collection_id\"\t\"subjectkey\"\t\"src_subject_id\"\t\"interview_date\"\t\"interview_age\"\t\"sex\"\t\"site\"\n\
         \"collection_id\"\t\"The NDAR Global Unique Identifier\"\t\"Subject ID how it's defined in lab/project\"\t\
         \"Date on which the interview was completed. MM/DD/YYYY\"\t\"Age in months at the time of the interview\"\t\
         \"Sex of the subject\"\t\"Study Site\"\n\
         \"2847\"\t\"NDAR_INVAA1\"\t\"HCA6000030\"\t\"01/01/1970\"\t\"738\"\t\"F\"\t\"MGH\"\n\
         \"2847\"\t\"NDAR_INVAA2\"\t\"HCA6000131\"\t\"01/01/1970\"\t\"1200\"\t\"M\"\t\"WashU\"\n\
         \"2847\"\t\"NDAR_INVAA3\"\t\"HCD0001305\"\t\"01/01/1970\"\t\"130\"\t\"M\"\t\"UCLA\"\n",
    );
    const FIRST: &str = "imagingcollection01/HCA6000030_V1_MR/T1w/T1w_acpc_dc_restore.nii.gz";
    const SECOND: &str = "imagingcollection01/HCA6000030_V2_MR/T1w/T1w_acpc_dc_restore.nii.gz";

    #[test]
    fn months_are_read_below_two_header_lines_and_capped_ages_are_left_out() {
        let old = "fmriresults01/HCA6000131_V1_MR/T1w/T1w_acpc_dc_restore.nii.gz";
        let child = "fmriresults01/HCD0001305_V1_MR/T1w/T1w_acpc_dc_restore.nii.gz";
        let tree = Tree::new(&[FIRST, SECOND, old, child], &[SUBJECTS]);
        let listing = tree.list(LAYOUT).unwrap();
        assert_eq!(
            tree.rows(&listing),
            [format!("HCA6000030 V1 61.5 F {FIRST}")]
        );
        assert_eq!(listing.rows[0].age_source, AgeSource::Converted);
        assert_eq!(listing.rows[0].site, "MGH");
        assert_eq!(skipped(&listing), ["age_capped=1", "no_age=1"]);
        let example = &listing.skipped_examples["no_age"][0];
        assert!(
            example.ends_with("(only the age at V1 is in the tables)"),
            "{example}"
        );
        assert_eq!(listing.warnings, Vec::<String>::new());
    }

    #[test]
    fn a_table_of_images_gives_the_age_at_each_visit() {
        let images = (
            "image03.txt",
            "\"src_subject_id\"\t\"interview_age\"\t\"gender\"\t\"visit\"\n\"Subject ID\"\t\"Age in months\"\t\"Sex\"\t\"Visit name\"\n\
             \"HCA6000030\"\t\"738\"\t\"F\"\t\"V1\"\n\"HCA6000030\"\t\"762\"\t\"F\"\t\"V2\"\n",
        );
        let tree = Tree::new(&[FIRST, SECOND], &[SUBJECTS, images]);
        let listing = tree.list(LAYOUT).unwrap();
        let expected = [
            format!("HCA6000030 V1 61.5 F {FIRST}"),
            format!("HCA6000030 V2 63.5 F {SECOND}"),
        ];
        assert_eq!(tree.rows(&listing), expected);
        assert_eq!(listing.rows[0].group_key, listing.rows[1].group_key);
    }

    #[test]
    fn packages_and_unprocessed_images_are_used_where_nothing_better_is_there() {
        let mean = "T1w_MPR_vNav_4e_e1e2_mean";
        let raw = format!("HCA6000030_V1_MR/unprocessed/{mean}/HCA6000030_V1_MR_{mean}.nii.gz");
        let norm = format!(
            "HCA6000030_V1_MR/unprocessed/{mean}/OTHER_FILES/HCA6000030_V1_MR_{mean}.nii.gz"
        );
        let tree = Tree::new(&[&raw, &norm], &[SUBJECTS]);
        let listing = tree.list(LAYOUT).unwrap();
        assert_eq!(tree.rows(&listing), [format!("HCA6000030 V1 61.5 F {raw}")]);
        assert_eq!(
            listing.rows[0].note,
            "unprocessed, T1w_acpc_dc_restore is missing"
        );
        let package = "HCA6000030_V1_MR_StructuralPreprocRecommended.zip";
        let member = "HCA6000030_V1_MR/T1w/T1w_acpc_dc_restore.nii.gz";
        fs_err::write(tree.path(package), stored(&[(member, b"x")])).unwrap();
        let listing = tree.list(LAYOUT).unwrap();
        assert_eq!(
            tree.rows(&listing),
            [format!("HCA6000030 V1 61.5 F {package}/{member}")]
        );
    }
}
