//! Who the heads belong to: sizes of head and regions, contrast, all as functions of age and sex.
//!
//! How regions follow age, sex and head size is `calibration`: measured in adults of 40–86 years, extrapolated below.
//! How much people differ about that is theirs too; a cohort may be made of people who differ less (`spread`), so that a
//! small model can learn something from a few dozen heads. What it reaches on them says nothing about people.

use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;

use crate::calibration::{ICV_ML, ICV_SD_LOG, KNOTS_YEARS, N_DRIVEN, REGIONS};

/// Short names of the regions whose volumes follow age: lateral ventricles, third ventricle; frontal, parietal, temporal, occipital, cingulate cortex;
/// medial temporal cortex, hippocampus and amygdala, deep grey matter, white matter, cerebellum, brain stem.
pub(crate) const REGION_NAMES: [&str; N_DRIVEN] = [
    "LV", "V3", "FGM", "PGM", "TGM", "OGM", "CGM", "MTL", "HIP", "DGM", "WM", "CBL", "BS",
];

/// Standard deviation of (age of the brain − age) as a share of the age, and its least and greatest value in years.
const BRAIN_AGE_SD: (f64, [f64; 2]) = (0.06, [1.5, 5.0]);
/// The template counts as a brain of this age.
const TEMPLATE_AGE_YEARS: f64 = 27.0;
/// Share of the unique spread that is taken to be anatomy; the rest is segmentation error.
const UNIQUE_SHARE: f64 = 0.8;
/// Head size at which sexes are compared, as in the calibration.
const ICV_MIDDLE_ML: f64 = 1360.0;

/// Sex of a synthetic participant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sex {
    /// Women.
    Female,
    /// Men.
    Male,
}

/// The anatomy of one person, before it is given a shape.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Person {
    /// By how much people differ, as a fraction of how much real ones do; also that of shapes, poses and contrasts.
    pub(crate) spread: f64,
    /// Age of the brain; its owner's age is the label, this never is.
    pub(crate) brain_age_years: f64,
    /// Intracranial volume.
    pub(crate) icv_ml: f64,
    /// ln(volume / volume in the template) at equal ICV.
    pub(crate) log_ratios: [f64; N_DRIVEN],
    /// White matter that is dark in a T1 image.
    pub(crate) hypointensity_ml: f64,
    /// Brightness of grey matter, white matter = 1.
    pub(crate) grey: f64,
    /// Brightness of fluid, white matter = 1.
    pub(crate) fluid: f64,
}

/// Draws a person of this age and sex. With a `spread` of 0 everyone of an age and sex has the mean anatomy, and only
/// the size of the head differs.
pub(crate) fn draw_person(age_years: f64, sex: Sex, spread: f64, rng: &mut ChaCha8Rng) -> Person {
    let mut normal = || -> f64 { rng.sample(StandardNormal) };
    let (share, [least, greatest]) = BRAIN_AGE_SD;
    let brain_age_sd = (share * age_years).clamp(least, greatest);
    let brain_age = age_years + spread * brain_age_sd * normal();
    let (icv_mean_ml, half_sex) = match sex {
        Sex::Female => (ICV_ML[0], -0.5),
        Sex::Male => (ICV_ML[1], 0.5),
    };
    let log_icv = icv_mean_ml.ln() + ICV_SD_LOG * normal();
    let factors: [f64; 4] = std::array::from_fn(|_| spread * normal());
    let trajectory = log_ratios_at(brain_age);
    let log_ratios = std::array::from_fn(|r| {
        let region = &REGIONS[r];
        let common: f64 = region.factors.iter().zip(factors).map(|(l, f)| l * f).sum();
        let t = trajectory[r]
            + region.sex * half_sex
            + region.icv * (log_icv - ICV_MIDDLE_ML.ln())
            + common
            + UNIQUE_SHARE * spread * region.unique * normal();
        // Ventricles beyond this would tear the deformation.
        if r < 2 { t.clamp(-1.2, 1.9) } else { t }
    });
    let past_fifty = (brain_age - 50.0).max(0.0);
    Person {
        spread,
        brain_age_years: brain_age,
        icv_ml: log_icv.exp(),
        log_ratios,
        hypointensity_ml: 1.6 * (0.07 * (brain_age - 60.0) + 0.7 * spread * normal()).exp(),
        grey: 0.715
            + 0.0011 * (brain_age - 25.0)
            + 1e-5 * past_fifty * past_fifty
            + 0.010 * spread * normal(),
        fluid: 0.29 + 0.02 * spread * normal(),
    }
}

/// ln(volume / volume in the template) of each region in the mean of people whose brains have this age.
pub(crate) fn log_ratios_at(age_years: f64) -> [f64; N_DRIVEN] {
    let age = age_years.clamp(18.0, 97.0);
    std::array::from_fn(|r| {
        let spline = NaturalSpline::through(&REGIONS[r].by_age);
        spline.at(age) - spline.at(TEMPLATE_AGE_YEARS)
    })
}

/// Cubic spline through values at [`KNOTS_YEARS`] whose second derivative is 0 at both ends.
struct NaturalSpline<'a> {
    values: &'a [f64; 8],
    second: [f64; 8],
}

impl<'a> NaturalSpline<'a> {
    fn through(values: &'a [f64; 8]) -> Self {
        // Thomas algorithm; the knots are equally spaced.
        let step = KNOTS_YEARS[1] - KNOTS_YEARS[0];
        let (mut upper, mut right) = ([0.0; 8], [0.0; 8]);
        for i in 1..7 {
            let rhs = 6.0 * (values[i + 1] - 2.0 * values[i] + values[i - 1]) / (step * step);
            let pivot = 4.0 - upper[i - 1];
            upper[i] = 1.0 / pivot;
            right[i] = (rhs - right[i - 1]) / pivot;
        }
        let mut second = [0.0; 8];
        for i in (1..7).rev() {
            second[i] = right[i] - upper[i] * second[i + 1];
        }
        Self { values, second }
    }

    /// Beyond the knots the first and the last piece go on.
    fn at(&self, age_years: f64) -> f64 {
        let step = KNOTS_YEARS[1] - KNOTS_YEARS[0];
        let i = (((age_years - KNOTS_YEARS[0]) / step).floor().max(0.0) as usize).min(6);
        let b = (age_years - KNOTS_YEARS[i]) / step;
        let a = 1.0 - b;
        let bend = (a * a * a - a) * self.second[i] + (b * b * b - b) * self.second[i + 1];
        a * self.values[i] + b * self.values[i + 1] + bend * step * step / 6.0
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::{Path, PathBuf};

    use nalgebra::{DMatrix, DVector};

    use super::*;
    use crate::stream::{HeadKey, Stage};

    #[test]
    fn the_trajectory_goes_through_the_table() {
        for (r, region) in REGIONS.iter().enumerate() {
            for (age, value) in KNOTS_YEARS.iter().zip(region.by_age) {
                let between = log_ratios_at(*age)[r] - log_ratios_at(40.0)[r];
                assert!((between - value).abs() < 1e-12, "{} {age}", REGION_NAMES[r]);
            }
        }
        assert_eq!(log_ratios_at(TEMPLATE_AGE_YEARS), [0.0; N_DRIVEN]);
    }

    #[test]
    fn a_spline_between_knots_is_that_of_scipy() {
        // scipy.interpolate.CubicSpline(knots, values, bc_type="natural")([27, 55, 93])
        let spline = NaturalSpline::through(&[-0.16, -0.09, 0.0, 0.125, 0.36, 0.70, 1.06, 1.38]);
        for (age, expected) in [
            (27.0, -0.112_593_071_110),
            (55.0, 0.226_734_154_930),
            (93.0, 1.473_089_938_166),
        ] {
            assert!(
                (spline.at(age) - expected).abs() < 1e-9,
                "{age}: {}",
                spline.at(age)
            );
        }
    }

    /// Age, sex (±½), ln ICV in ml and ln(V/ICV) of each region.
    type Adult = (f64, f64, f64, [f64; N_DRIVEN]);

    /// The adults that the constants were fitted to.
    fn measured_adults() -> Option<Vec<Adult>> {
        const MUSE: [&[&str]; N_DRIVEN] = [
            &["49", "50", "51", "52"],
            &["4"],
            &["404"],
            &["409"],
            &["411"],
            &["407"],
            &["306"],
            &["307"],
            &["47", "48", "31", "32"],
            &["23", "30", "36", "37", "55", "56", "57", "58", "59", "60"],
            &["405", "408", "410", "412", "403", "501"],
            &["502"],
            &["35", "61", "62"],
        ];
        let data = std::env::var_os("BRAINAGE_DATA").map_or_else(
            || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data"),
            PathBuf::from,
        );
        let folder = data.join("ageing");
        let read = |name: &str| fs_err::read_to_string(folder.join(name)).ok();
        let (people, volumes) = (read("IXI_demog.csv")?, read("IXI_DLMUSE.csv")?);
        let people: BTreeMap<&str, (f64, f64)> = people
            .lines()
            .skip(1)
            .map(|line| {
                let cells: Vec<&str> = line.split(',').collect();
                let sex = if cells[2].trim() == "M" { 0.5 } else { -0.5 };
                (cells[0], (cells[1].parse().unwrap(), sex))
            })
            .collect();
        let mut lines = volumes.lines();
        let header: Vec<&str> = lines.next()?.split(',').collect();
        let adults = lines.map(|line| {
            let cells: Vec<&str> = line.split(',').collect();
            let volume = |id: &&str| -> f64 {
                let column = header.iter().position(|name| name == id).unwrap();
                cells[column].parse().unwrap()
            };
            let icv = volume(&"702");
            let ratio = |ids: &[&str]| (ids.iter().map(volume).sum::<f64>() / icv).ln();
            let (age, sex) = people[cells[0]];
            (age, sex, (icv / 1000.0).ln(), MUSE.map(ratio))
        });
        Some(adults.collect())
    }

    #[test]
    fn curves_sex_head_size_and_spread_are_those_of_the_adults_they_were_measured_in() {
        let Some(adults) = measured_adults() else {
            println!("skipped: no volumes of real adults (set BRAINAGE_DATA)");
            return;
        };
        // Another way than the tool that made the constants: least squares by singular values.
        let decades = |age: f64| (age - 60.0) / 10.0;
        let design = DMatrix::from_fn(adults.len(), 5, |i, j| {
            let (age, sex, log_icv, _) = adults[i];
            let u = decades(age);
            [1.0, u, u * u, sex, log_icv - ICV_MIDDLE_ML.ln()][j]
        });
        let solver = design.clone().svd(true, true);
        for (r, region) in REGIONS.iter().enumerate() {
            let name = REGION_NAMES[r];
            let logs = DVector::from_fn(adults.len(), |i, _| adults[i].3[r]);
            let fit = solver.solve(&logs, 1e-12).unwrap();
            let curve = |age: f64| fit[1] * decades(age) + fit[2] * decades(age).powi(2);
            // Constants have three decimals, the exponent two.
            for (age, constant) in KNOTS_YEARS.iter().zip(region.by_age).skip(2) {
                let measured = curve(*age) - curve(40.0);
                assert!(
                    (measured - constant).abs() < 6e-4,
                    "{name} {age}: {measured}"
                );
            }
            assert!((fit[3] - region.sex).abs() < 6e-4, "{name}: {}", fit[3]);
            assert!((fit[4] - region.icv).abs() < 6e-3, "{name}: {}", fit[4]);
            let residuals = &logs - &design * &fit;
            let variance = residuals.norm_squared() / (adults.len() - 5) as f64;
            let common: f64 = region.factors.iter().map(|l| l * l).sum();
            let ageing = (3.6 * fit[1] / 10.0).powi(2);
            let sd = (common + region.unique.powi(2) + ageing).sqrt();
            assert!(
                (sd / variance.sqrt() - 1.0).abs() < 0.05,
                "{name}: {sd} {}",
                variance.sqrt()
            );
        }
    }

    #[test]
    fn the_same_person_at_another_age_keeps_sex_and_head() {
        let draw = |age| {
            let key = HeadKey::of(3, 5);
            draw_person(age, Sex::Female, 1.0, &mut key.stream(Stage::Anatomy))
        };
        let (young, old) = (draw(25.0), draw(80.0));
        assert_eq!(young.icv_ml, old.icv_ml);
        assert!(old.log_ratios[0] - young.log_ratios[0] > 0.8);
        assert!(old.log_ratios[2] < young.log_ratios[2] && old.grey > young.grey);
    }
}
