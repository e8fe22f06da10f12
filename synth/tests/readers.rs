//! What is written in a cohort's layout, its reader finds again: every scan, with the age and sex it was made with.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use brainage_cohorts::{
    Cohort, CohortIndex, Criteria, LayoutChoice, Sex, SplitFractions, assign_splits, check_leakage,
    list_cohort,
};
use brainage_synth::{Error, SynthLayout, SynthParams, SynthReport, write_cohort};

const N_SUBJECTS: usize = 2;

fn made(out: &Path, layout: SynthLayout) -> Result<SynthReport, Error> {
    let params = SynthParams {
        layout,
        n_subjects: N_SUBJECTS,
        seed: 11,
        age_years: [18.0, 90.0],
        spread: 1.0,
        voxel_size_mm: 6.0,
    };
    write_cohort(out, &params, &AtomicBool::new(false), &|_| ())
}

/// The reader's layout, and how far its ages may be from the truth in years.
fn expected(layout: SynthLayout) -> (&'static str, f64) {
    // Rounded to a hundredth; to a day, and births to the middle of a month.
    let (decimals, day) = (0.005 + 1e-6, 0.003);
    match layout {
        SynthLayout::Ukbb | SynthLayout::UkbbZip => ("ukbb", day),
        // Completed years, counted from their middle; the retest has the age of the first visit.
        SynthLayout::HcpYa => ("hcp-ya", 0.5 + 145.0 / 365.25),
        // Completed months.
        SynthLayout::HcpAging => ("hcp-aging", 1.0 / 12.0),
        SynthLayout::HcpDevelopment => ("hcp-development", 1.0 / 12.0),
        // One decimal at baseline.
        SynthLayout::Adni => ("adni", 0.05 + day),
        SynthLayout::Camcan => ("camcan", decimals),
        SynthLayout::Ixi => ("ixi", day),
        SynthLayout::Oasis3 => ("oasis3", decimals + day),
        SynthLayout::Bids => ("bids", decimals),
    }
}

#[test]
fn every_layout_is_recognized_and_read_back_with_the_ages_and_sexes_it_was_made_with() {
    for layout in SynthLayout::ALL {
        let folder = tempfile::tempdir().unwrap();
        let report = made(folder.path(), layout).unwrap();
        let (reader, tolerance_years) = expected(layout);
        let cohort = Cohort {
            name: "made".to_owned(),
            layout: LayoutChoice::Auto,
            root: folder.path().to_path_buf(),
            demographics: Vec::new(),
            withdrawals: Vec::new(),
            criteria: Criteria::default(),
        };
        let listing = list_cohort(&cohort).unwrap();
        let name = layout.name();
        assert_eq!(
            listing.layout.name(),
            reader,
            "{name}: {:?}",
            listing.recognized_by
        );
        assert_eq!(listing.warnings, Vec::<String>::new(), "{name}");
        let mut found: Vec<_> = listing.rows.iter().map(|row| &row.scan).collect();
        let mut written: Vec<_> = report.scans.iter().collect();
        found.sort();
        written.sort();
        assert_eq!(found, written, "{name}: {:?}", listing.skipped_examples);
        assert_eq!(
            (listing.scans, listing.participants),
            (report.n_scans, N_SUBJECTS),
            "{name}"
        );
        for (scan, participant) in report.scans.iter().zip(&report.participants) {
            let row = listing.rows.iter().find(|row| row.scan == *scan).unwrap();
            assert_eq!(row.participant_id.as_str(), participant.id, "{name}");
            let years_off = (row.age_years.years() - participant.age_years).abs();
            assert!(
                years_off <= tolerance_years,
                "{name}: {} {}",
                row.age_years,
                participant.age_years
            );
            let sex = match participant.sex {
                brainage_synth::Sex::Female => Sex::Female,
                brainage_synth::Sex::Male => Sex::Male,
            };
            assert_eq!(row.sex, sex, "{name}");
        }
        let mut index = CohortIndex { rows: listing.rows };
        let fractions = SplitFractions {
            validation: 0.2,
            test: 0.2,
        };
        assign_splits(&mut index, 1, fractions).unwrap();
        check_leakage(&index).unwrap();
    }
}
