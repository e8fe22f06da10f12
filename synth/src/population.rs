//! Who the heads belong to: sizes of head and regions, contrast, all as functions of age and sex.
//!
//! Slopes, sex and head-size effects and correlations were estimated from regional volumes (as MUSE labels them) of
//! 291 adults of 40–86 years, and agree with published normative centiles of the same regions; below 40 they are
//! extrapolated. People differ only half as much here as those adults do ([`SPREAD`]), and brains are at most a few
//! years older or younger than their owners ([`BRAIN_AGE_SD_YEARS`]): a small model can then learn something from a
//! few dozen heads. What it reaches on them says nothing about people.

use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;

/// Regions whose volumes follow age.
pub(crate) const N_DRIVEN: usize = 13;
/// Their short names: lateral ventricles, third ventricle; frontal, parietal, temporal, occipital, cingulate cortex;
/// medial temporal cortex, hippocampus and amygdala, deep grey matter, white matter, cerebellum, brain stem.
pub(crate) const REGION_NAMES: [&str; N_DRIVEN] = [
    "LV", "V3", "FGM", "PGM", "TGM", "OGM", "CGM", "MTL", "HIP", "DGM", "WM", "CBL", "BS",
];

/// Standard deviation of (age of the brain − age).
const BRAIN_AGE_SD_YEARS: f64 = 2.5;
/// Spread of the anatomy about its mean for age and sex, as a fraction of that measured in people.
const SPREAD: f64 = 0.5;
/// The template counts as a brain of this age.
const TEMPLATE_AGE_YEARS: f64 = 27.0;
/// Share of the unique spread that is taken to be anatomy; the rest is segmentation error.
const UNIQUE_SHARE: f64 = 0.8;
const ICV_SD_LOG: f64 = 0.083;
const ICV_MIDDLE_ML: f64 = 1360.0;

const KNOTS_YEARS: [f64; 8] = [20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0, 90.0];

/// How a region follows age, sex and head size.
struct Region {
    /// ln(V/ICV) at the knots, relative to 40 years.
    by_age: [f64; 8],
    /// Male minus female at equal head size.
    sex: f64,
    /// Exponent of V/ICV on ICV.
    icv: f64,
    /// Loadings on four common factors.
    factors: [f64; 4],
    /// Standard deviation of what is the region's own.
    unique: f64,
}

const fn region(by_age: [f64; 8], sex: f64, icv: f64, factors: [f64; 4], unique: f64) -> Region {
    Region {
        by_age,
        sex,
        icv,
        factors,
        unique,
    }
}

#[rustfmt::skip]
const REGIONS: [Region; N_DRIVEN] = [
    region([-0.16, -0.09, 0.0, 0.125, 0.36, 0.70, 1.06, 1.38], 0.048, 0.71, [-0.151, -0.035, -0.137, -0.014], 0.326),
    region([-0.26, -0.14, 0.0, 0.25, 0.55, 0.89, 1.20, 1.47], 0.025, 1.06, [-0.171, -0.003, -0.193, 0.034], 0.308),
    region([0.088, 0.043, 0.0, -0.042, -0.085, -0.136, -0.189, -0.238], -0.018, -0.04, [0.036, -0.001, -0.002, 0.001], 0.033),
    region([0.074, 0.037, 0.0, -0.035, -0.073, -0.114, -0.159, -0.207], -0.032, 0.0, [0.028, -0.008, 0.002, 0.007], 0.051),
    region([0.040, 0.021, 0.0, -0.024, -0.053, -0.092, -0.139, -0.190], 0.003, -0.05, [0.031, -0.002, -0.011, 0.015], 0.039),
    region([0.026, 0.014, 0.0, -0.014, -0.032, -0.056, -0.085, -0.115], -0.006, -0.02, [0.025, -0.010, -0.006, 0.016], 0.065),
    region([0.060, 0.031, 0.0, -0.035, -0.070, -0.103, -0.132, -0.159], -0.028, 0.01, [0.040, 0.003, -0.006, 0.0], 0.060),
    region([0.004, 0.003, 0.0, -0.002, -0.013, -0.042, -0.085, -0.137], 0.023, -0.27, [0.005, 0.010, -0.006, 0.041], 0.056),
    region([-0.006, -0.002, 0.0, 0.0, -0.007, -0.037, -0.085, -0.145], -0.010, -0.31, [0.004, 0.008, 0.005, 0.041], 0.048),
    region([0.062, 0.032, 0.0, -0.032, -0.064, -0.096, -0.121, -0.137], -0.005, -0.34, [0.006, 0.017, 0.017, 0.013], 0.043),
    region([-0.035, -0.012, 0.0, 0.010, 0.012, -0.001, -0.023, -0.058], -0.010, 0.08, [-0.007, -0.002, 0.027, -0.001], 0.024),
    region([0.020, 0.011, 0.0, -0.012, -0.030, -0.057, -0.083, -0.100], 0.011, -0.24, [-0.001, 0.052, -0.011, 0.001], 0.035),
    region([-0.012, -0.004, 0.0, -0.004, -0.012, -0.032, -0.053, -0.068], 0.014, -0.24, [-0.003, 0.047, 0.031, 0.013], 0.040),
];

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

/// Draws a person of this age and sex.
pub(crate) fn draw_person(age_years: f64, sex: Sex, rng: &mut ChaCha8Rng) -> Person {
    let mut normal = || -> f64 { rng.sample(StandardNormal) };
    let brain_age = age_years + BRAIN_AGE_SD_YEARS * normal();
    let (icv_mean_ml, half_sex) = match sex {
        Sex::Female => (1292.0_f64, -0.5),
        Sex::Male => (1495.0, 0.5),
    };
    let log_icv = icv_mean_ml.ln() + ICV_SD_LOG * normal();
    let factors: [f64; 4] = std::array::from_fn(|_| SPREAD * normal());
    let trajectory = log_ratios_at(brain_age);
    let log_ratios = std::array::from_fn(|r| {
        let region = &REGIONS[r];
        let common: f64 = region.factors.iter().zip(factors).map(|(l, f)| l * f).sum();
        let t = trajectory[r]
            + region.sex * half_sex
            + region.icv * (log_icv - ICV_MIDDLE_ML.ln())
            + common
            + UNIQUE_SHARE * SPREAD * region.unique * normal();
        // Ventricles beyond this would tear the deformation.
        if r < 2 { t.clamp(-1.2, 1.9) } else { t }
    });
    let past_fifty = (brain_age - 50.0).max(0.0);
    Person {
        brain_age_years: brain_age,
        icv_ml: log_icv.exp(),
        log_ratios,
        hypointensity_ml: 1.6 * (0.07 * (brain_age - 60.0) + 0.7 * SPREAD * normal()).exp(),
        grey: 0.715
            + 0.0011 * (brain_age - 25.0)
            + 1e-5 * past_fifty * past_fifty
            + 0.010 * SPREAD * normal(),
        fluid: 0.29 + 0.02 * SPREAD * normal(),
    }
}

/// ln(volume / volume in the template) of each region in the mean of people whose brains have this age.
fn log_ratios_at(age_years: f64) -> [f64; N_DRIVEN] {
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
        // scipy.interpolate.CubicSpline(knots, LV, bc_type="natural")([27, 55, 93])
        let spline = NaturalSpline::through(&REGIONS[0].by_age);
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

    #[test]
    fn the_same_person_at_another_age_keeps_sex_and_head() {
        let draw = |age| {
            let key = HeadKey::of(3, 5);
            draw_person(age, Sex::Female, &mut key.stream(Stage::Anatomy))
        };
        let (young, old) = (draw(25.0), draw(80.0));
        assert_eq!(young.icv_ml, old.icv_ml);
        assert!(old.log_ratios[0] - young.log_ratios[0] > 0.8);
        assert!(old.log_ratios[2] < young.log_ratios[2] && old.grey > young.grey);
    }
}
