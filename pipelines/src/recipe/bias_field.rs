//! The `[bias_field]` part of a recipe.

use std::ops::RangeInclusive;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use super::{positive, within};

/// Levels that can be told apart: the tenth has spans of half a millimeter.
const LEVELS: RangeInclusive<usize> = 1..=8;
const ITERATIONS: RangeInclusive<usize> = 1..=1000;
const HISTOGRAM_BINS: RangeInclusive<usize> = 16..=1024;

/// The `[bias_field]` part.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BiasFieldCorrection {
    /// How the field is estimated.
    pub method: BiasFieldMethod,
}

/// How the unevenness of the coils is estimated.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BiasFieldMethod {
    /// Not at all: the scan stays as it is.
    None,
    /// As N4 does; in TOML the table `[bias_field.method.n4]`.
    N4(N4),
}

/// Settings of N4 (Tustison et al. 2010, IEEE TMI 29(6)).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct N4 {
    /// About the distance of the voxels that the field is estimated from, in mm: every n-th of the scan.
    #[serde(deserialize_with = "positive")]
    pub grid_mm: f64,
    /// Levels: the first spans the scan with one piece of a cubic spline along each axis, each next one with twice as
    /// many.
    #[serde(deserialize_with = "levels")]
    pub levels: usize,
    /// Most rounds of sharpening and fitting at each level.
    #[serde(deserialize_with = "iterations")]
    pub iterations: usize,
    /// A level ends when a round changes the field by less than this (coefficient of variation of the ratio).
    #[serde(deserialize_with = "positive")]
    pub convergence: f64,
    /// Bins of the histogram of log intensities.
    #[serde(deserialize_with = "histogram_bins")]
    pub histogram_bins: usize,
    /// Full width at half maximum of the Gaussian that the histogram is sharpened by, in natural logarithms.
    #[serde(deserialize_with = "positive")]
    pub fwhm: f64,
    /// Noise of the Wiener filter.
    #[serde(deserialize_with = "positive")]
    pub noise: f64,
}

fn levels<'de, D: Deserializer<'de>>(from: D) -> Result<usize, D::Error> {
    count("levels", from, LEVELS)
}

fn iterations<'de, D: Deserializer<'de>>(from: D) -> Result<usize, D::Error> {
    count("iterations", from, ITERATIONS)
}

fn histogram_bins<'de, D: Deserializer<'de>>(from: D) -> Result<usize, D::Error> {
    count("bins", from, HISTOGRAM_BINS)
}

fn count<'de, D: Deserializer<'de>>(
    what: &str,
    from: D,
    range: RangeInclusive<usize>,
) -> Result<usize, D::Error> {
    let value = usize::deserialize(from).map_err(D::Error::custom)?;
    within(what, value, &(*range.start()..range.end() + 1))?;
    Ok(value)
}
