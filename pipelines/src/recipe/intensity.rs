//! The `[intensity]` part of a recipe.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use super::positive;

/// The `[intensity]` part.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Intensity {
    /// Values outside these percentiles (0–100) of the mask are clipped to them.
    #[serde(deserialize_with = "percentiles")]
    pub clip_percentiles: [f64; 2],
    /// Largest absolute value of the result, in its units.
    #[serde(deserialize_with = "positive")]
    pub clip_at: f64,
    /// The scale of the result.
    pub normalization: Normalization,
}

/// The scale of the result within the mask; outside it is 0.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Normalization {
    /// Mean 0 and standard deviation 1.
    ZScore,
    /// Mean 0 and standard deviation 1 of the white matter (Shinohara et al. 2014); in TOML the table
    /// `[intensity.normalization.white-stripe]`.
    WhiteStripe(WhiteStripe),
    /// The peak of the white matter at a given value, 0 at 0, whole numbers: the scale of FreeSurfer's `brain.mgz`; in
    /// TOML the table `[intensity.normalization.white-matter-peak]`.
    WhiteMatterPeak(WhiteMatterPeak),
    /// Percentiles of the mask at the places of a standard scale (Nyúl et al. 2000); in TOML the table
    /// `[intensity.normalization.nyul]`.
    Nyul(StandardScale),
}

/// Settings of WhiteStripe.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WhiteStripe {
    /// The stripe holds so large a share (0–0.5) of the mask's values to either side of the peak.
    #[serde(deserialize_with = "share")]
    pub width: f64,
}

/// Settings of [`Normalization::WhiteMatterPeak`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WhiteMatterPeak {
    /// What the peak of the white matter becomes.
    #[serde(deserialize_with = "positive")]
    pub value: f64,
}

/// Where percentiles lie on a standard scale: learned from many scans by [`crate::intensity::learn_standard_scale`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "RawStandardScale")]
pub struct StandardScale {
    percentiles: Vec<f64>,
    landmarks: Vec<f64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawStandardScale {
    percentiles: Vec<f64>,
    landmarks: Vec<f64>,
}

impl StandardScale {
    /// Joins percentiles (0–100) with their places on the scale.
    ///
    /// # Errors
    /// What is wrong, unless both lists have the same length of at least 2 and ascend strictly.
    pub fn new(percentiles: Vec<f64>, landmarks: Vec<f64>) -> Result<Self, String> {
        if percentiles.len() != landmarks.len() || percentiles.len() < 2 {
            let (n, m) = (percentiles.len(), landmarks.len());
            return Err(format!(
                "{n} percentiles and {m} landmarks, expected as many of one as of the other, at least 2"
            ));
        }
        let ascend = |list: &[f64]| {
            list.iter().all(|value| value.is_finite()) && list.windows(2).all(|two| two[0] < two[1])
        };
        let (first, last) = (percentiles[0], percentiles[percentiles.len() - 1]);
        if !(ascend(&percentiles) && 0.0 <= first && last <= 100.0) {
            return Err("percentiles don't ascend from 0 to 100".to_owned());
        }
        if !ascend(&landmarks) {
            return Err("landmarks don't ascend".to_owned());
        }
        Ok(Self {
            percentiles,
            landmarks,
        })
    }

    /// The percentiles, ascending.
    pub fn percentiles(&self) -> &[f64] {
        &self.percentiles
    }

    /// Their places on the scale, ascending.
    pub fn landmarks(&self) -> &[f64] {
        &self.landmarks
    }
}

impl TryFrom<RawStandardScale> for StandardScale {
    type Error = String;

    fn try_from(raw: RawStandardScale) -> Result<Self, String> {
        Self::new(raw.percentiles, raw.landmarks)
    }
}

fn percentiles<'de, D: Deserializer<'de>>(from: D) -> Result<[f64; 2], D::Error> {
    let [low, high] = <[f64; 2]>::deserialize(from)?;
    if !(0.0 <= low && low < high && high <= 100.0) {
        let text = "expected two ascending numbers from 0 to 100";
        return Err(D::Error::custom(format!(
            "percentiles are {low} and {high}, {text}"
        )));
    }
    Ok([low, high])
}

fn share<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    let value = f64::deserialize(from)?;
    if !(value > 0.0 && value < 0.5) {
        return Err(D::Error::custom(format!(
            "{value}, expected a share above 0 and below 0.5"
        )));
    }
    Ok(value)
}
