//! What to make, and which numbers are refused.

use crate::error::Error;
use crate::layouts::{Plan, SynthLayout};

/// Ages for which anatomy is known well enough.
pub const AGES_YEARS: [f64; 2] = [18.0, 95.0];
const SPREADS: [f64; 2] = [0.0, 1.5];
const VOXEL_SIZES_MM: [f64; 2] = [0.7, 6.0];
const MAX_SUBJECTS: usize = 99_999;

/// What to make.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SynthParams {
    /// Folders and tables; [`crate::write_scan_folder`] takes no notice.
    pub layout: SynthLayout,
    /// How many participants; some layouts have several visits of some of them.
    pub n_subjects: usize,
    /// Seed of everything random. Each layout has people of its own, whatever the seed: two cohorts, or a cohort and a
    /// folder of scans, never share one.
    pub seed: u64,
    /// Youngest and oldest, within [`AGES_YEARS`]; ages are uniform between them, as far as the study goes.
    pub age_years: [f64; 2],
    /// By how much people differ, as a fraction of how much real ones do, from 0 to 1.5: volumes beyond age and sex,
    /// proportions of heads, contrast. Head size and shape differ in any case.
    pub spread: f64,
    /// Side of a voxel. Below 2 mm the heads grow no sharper, only larger.
    pub voxel_size_mm: f64,
}

/// The ages asked for, as far as the study has them.
pub(crate) fn ages_of(params: &SynthParams, plan: &Plan) -> Result<[f64; 2], Error> {
    let [low, high] = params.age_years;
    let [youngest, oldest] = plan.ages_years;
    let ages = [low.max(youngest), high.min(oldest)];
    if ages[0] > ages[1] {
        return Err(Error::Parameter {
            what: "range of ages",
            found: format!("{low} to {high} years"),
            expected: format!(
                "some of {youngest} to {oldest} years for the layout {}",
                plan.name
            ),
        });
    }
    if params.n_subjects > plan.most_subjects {
        return Err(Error::Parameter {
            what: "number of participants",
            found: params.n_subjects.to_string(),
            expected: format!("1 to {} for the layout {}", plan.most_subjects, plan.name),
        });
    }
    Ok(ages)
}

/// Refuses numbers that no head can be made with.
pub(crate) fn check(params: &SynthParams) -> Result<(), Error> {
    let refuse = |what, found: String, expected: String| {
        Err(Error::Parameter {
            what,
            found,
            expected,
        })
    };
    let [low, high] = params.age_years;
    let [youngest, oldest] = AGES_YEARS;
    if !(youngest <= low && low <= high && high <= oldest) {
        let expected = format!("ages in order from {youngest} to {oldest} years");
        return refuse("range of ages", format!("{low} to {high} years"), expected);
    }
    if !(SPREADS[0]..=SPREADS[1]).contains(&params.spread) {
        let expected = format!("{} to {}", SPREADS[0], SPREADS[1]);
        return refuse("spread of people", params.spread.to_string(), expected);
    }
    let [finest, coarsest] = VOXEL_SIZES_MM;
    if !(finest..=coarsest).contains(&params.voxel_size_mm) {
        let expected = format!("{finest} to {coarsest} mm");
        return refuse(
            "voxel size",
            format!("{} mm", params.voxel_size_mm),
            expected,
        );
    }
    if !(1..=MAX_SUBJECTS).contains(&params.n_subjects) {
        let expected = format!("1 to {MAX_SUBJECTS}");
        return refuse(
            "number of participants",
            params.n_subjects.to_string(),
            expected,
        );
    }
    Ok(())
}
