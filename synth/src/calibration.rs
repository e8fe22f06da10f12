//! How regions of the brain follow age, sex and head size: written by `tools/calibrate_ageing.py`, not by hand.
//!
//! From volumes of 291 adults of 40 to 86 years: IXI (brain-development.org), segmented by NiChart (MUSE regions),
//! CC BY-SA 3.0. 20 and 30 years are extrapolated with published adult findings. docs/synthetic-heads.md has the model.

/// Regions whose volumes follow age.
pub(crate) const N_DRIVEN: usize = 13;
/// Ages at which curves are given; a natural cubic spline goes through them.
pub(crate) const KNOTS_YEARS: [f64; 8] = [20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0, 90.0];

/// How a region follows age, sex and head size.
pub(crate) struct Region {
    /// ln(V/ICV) at the knots, relative to 40 years.
    pub(crate) by_age: [f64; 8],
    /// Male minus female at equal head size.
    pub(crate) sex: f64,
    /// Exponent of V/ICV on ICV.
    pub(crate) icv: f64,
    /// Loadings on four common factors.
    pub(crate) factors: [f64; 4],
    /// Standard deviation of what is the region's own.
    pub(crate) unique: f64,
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

/// Geometric means of the intracranial volume of women and of men, ml.
pub(crate) const ICV_ML: [f64; 2] = [1292.0, 1495.0];
/// Standard deviation of its logarithm.
pub(crate) const ICV_SD_LOG: f64 = 0.083;

#[rustfmt::skip]
pub(crate) const REGIONS: [Region; N_DRIVEN] = [
    // LV: 0.925 % of the intracranial volume at 40 years
    region([-0.160, -0.090, 0.000, 0.186, 0.438, 0.758, 1.144, 1.596], 0.048, 0.71, [-0.163, -0.071, 0.109, 0.024], 0.329),
    // V3: 0.036 % of the intracranial volume at 40 years
    region([-0.260, -0.140, 0.000, 0.238, 0.520, 0.847, 1.219, 1.635], 0.025, 1.06, [-0.168, -0.063, 0.191, 0.042], 0.311),
    // FGM: 13.750 % of the intracranial volume at 40 years
    region([0.088, 0.043, 0.000, -0.044, -0.092, -0.144, -0.201, -0.262], -0.018, -0.04, [0.033, -0.010, -0.004, -0.009], 0.033),
    // PGM: 6.706 % of the intracranial volume at 40 years
    region([0.074, 0.037, 0.000, -0.033, -0.071, -0.116, -0.167, -0.224], -0.032, 0.00, [0.027, -0.010, -0.006, 0.002], 0.052),
    // TGM: 7.500 % of the intracranial volume at 40 years
    region([0.040, 0.021, 0.000, -0.026, -0.062, -0.107, -0.162, -0.225], 0.003, -0.05, [0.032, -0.012, 0.010, 0.003], 0.040),
    // OGM: 5.374 % of the intracranial volume at 40 years
    region([0.026, 0.014, 0.000, -0.010, -0.025, -0.047, -0.074, -0.107], -0.006, -0.02, [0.028, -0.013, 0.003, 0.010], 0.066),
    // CGM: 1.778 % of the intracranial volume at 40 years
    region([0.060, 0.031, 0.000, -0.049, -0.090, -0.123, -0.147, -0.164], -0.028, 0.01, [0.037, -0.011, 0.001, -0.013], 0.060),
    // MTL: 0.750 % of the intracranial volume at 40 years
    region([0.004, 0.003, 0.000, -0.005, -0.025, -0.059, -0.106, -0.168], 0.023, -0.27, [0.019, 0.013, 0.025, 0.025], 0.056),
    // HIP: 0.711 % of the intracranial volume at 40 years
    region([-0.006, -0.002, 0.000, -0.003, -0.019, -0.046, -0.087, -0.139], -0.010, -0.31, [0.019, 0.018, 0.016, 0.029], 0.049),
    // DGM: 2.550 % of the intracranial volume at 40 years
    region([0.062, 0.032, 0.000, -0.042, -0.077, -0.104, -0.125, -0.139], -0.005, -0.34, [0.014, 0.025, -0.002, 0.003], 0.043),
    // WM: 35.607 % of the intracranial volume at 40 years
    region([-0.035, -0.012, 0.000, 0.010, 0.010, 0.000, -0.019, -0.048], -0.010, 0.08, [-0.004, 0.016, -0.022, 0.007], 0.024),
    // CBL: 10.351 % of the intracranial volume at 40 years
    region([0.020, 0.011, 0.000, -0.019, -0.043, -0.070, -0.101, -0.136], 0.011, -0.24, [0.004, 0.033, 0.032, -0.027], 0.035),
    // BS: 2.202 % of the intracranial volume at 40 years
    region([-0.012, -0.004, 0.000, -0.016, -0.033, -0.050, -0.067, -0.085], 0.014, -0.24, [0.010, 0.056, 0.002, -0.007], 0.041),
];
