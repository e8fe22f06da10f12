//! Landmarks of a histogram: the peak of the white matter, and percentiles on a standard scale.

use crate::recipe::{StandardScale, WhiteStripe};

use super::percentile;

/// Bins of the histogram that the white matter's peak is found in.
const BINS: usize = 400;
/// The histogram lies between these percentiles: beyond are vessels, fat and spikes.
const RANGE_PERCENTILES: [f64; 2] = [0.1, 99.9];
/// Standard deviation of the Gaussian that smooths the histogram, as a share of its range: a third of the distance
/// between grey and white matter in a T1 scan is some 7 % of it.
const SMOOTHING: f64 = 0.02;
/// Peaks lower than this share of the highest are tails (Shinohara et al. 2014 take a fifth).
const RARE: f64 = 0.2;

/// The value of white matter on a T1 scan: the last peak of the smoothed histogram of the brain. Reorders `values`;
/// `None` for none, or equal ones.
pub(super) fn white_matter_peak(values: &mut [f32]) -> Option<f64> {
    let [low, high] = RANGE_PERCENTILES.map(|p| percentile(values, p).map(f64::from));
    let (low, high) = (low?, high?);
    let width = (high - low) / BINS as f64;
    if !(width > 0.0 && width.is_finite()) {
        return None;
    }
    let mut histogram = vec![0.0; BINS];
    for value in values.iter() {
        let bin = (f64::from(*value) - low) / width;
        if (0.0..BINS as f64).contains(&bin) {
            histogram[bin as usize] += 1.0;
        }
    }
    let smooth = smoothed(&histogram, SMOOTHING * BINS as f64);
    let highest = smooth.iter().copied().fold(0.0, f64::max);
    let at = |bin: usize| smooth.get(bin).copied().unwrap_or(0.0);
    let is_peak = |bin: usize| {
        let before = bin.checked_sub(1).map_or(0.0, at);
        at(bin) >= RARE * highest && at(bin) > before && at(bin) >= at(bin + 1)
    };
    let bin = (0..BINS).rev().find(|bin| is_peak(*bin))?;
    // The vertex of the parabola through the peak and its neighbours.
    let (before, peak, after) = (bin.checked_sub(1).map_or(0.0, at), at(bin), at(bin + 1));
    let bend = before - 2.0 * peak + after;
    let shift = if bend < 0.0 {
        0.5 * (before - after) / bend
    } else {
        0.0
    };
    Some(low + (bin as f64 + 0.5 + shift.clamp(-0.5, 0.5)) * width)
}

fn smoothed(histogram: &[f64], sigma: f64) -> Vec<f64> {
    let radius = (4.0 * sigma).ceil() as usize;
    let weight = |distance: usize| (-0.5 * (distance as f64 / sigma).powi(2)).exp();
    (0..histogram.len())
        .map(|bin| {
            let near = bin.saturating_sub(radius)..(bin + radius + 1).min(histogram.len());
            near.map(|other| histogram[other] * weight(bin.abs_diff(other)))
                .sum()
        })
        .collect()
}

/// Mean and standard deviation of the values around the peak of the white matter. Reorders `values`; `None` where
/// there is no peak, or no spread.
///
/// # References
/// Shinohara et al. 2014, NeuroImage: Clinical 6, 9–19, §2.2: the stripe of quantiles `width` to either side.
pub(super) fn white_stripe(values: &mut [f32], params: WhiteStripe) -> Option<(f64, f64)> {
    let peak = white_matter_peak(values)?;
    let below = values.iter().filter(|v| f64::from(**v) < peak).count();
    let quantile = below as f64 / values.len() as f64;
    let [low, high] = [quantile - params.width, quantile + params.width]
        .map(|q| percentile(values, 100.0 * q).unwrap_or(0.0));
    let stripe = || {
        let inside = values.iter().filter(|v| (low..=high).contains(*v));
        inside.map(|v| f64::from(*v))
    };
    let count = stripe().count() as f64;
    let mean = stripe().sum::<f64>() / count;
    let deviation = (stripe().map(|v| (v - mean).powi(2)).sum::<f64>() / count).sqrt();
    (deviation > 0.0).then_some((mean, deviation))
}

/// The piecewise linear map that takes a scan's percentiles to their places on a standard scale.
#[derive(Debug)]
pub(super) struct ToStandardScale<'a> {
    from: Vec<f64>,
    to: &'a [f64],
}

impl<'a> ToStandardScale<'a> {
    /// Reorders `values`; `None` where two of the percentiles are the same value.
    pub(super) fn new(values: &mut [f32], scale: &'a StandardScale) -> Option<Self> {
        let from = percentiles(values, scale.percentiles())?;
        let ascends = from.windows(2).all(|two| two[0] < two[1]);
        ascends.then_some(Self {
            from,
            to: scale.landmarks(),
        })
    }

    /// Beyond the first and last landmark the outermost pieces go on.
    pub(super) fn map(&self, value: f64) -> f64 {
        let last = self.from.len() - 1;
        let piece = self.from.partition_point(|from| *from <= value);
        let piece = piece.clamp(1, last) - 1;
        let share = (value - self.from[piece]) / (self.from[piece + 1] - self.from[piece]);
        self.to[piece] + share * (self.to[piece + 1] - self.to[piece])
    }
}

fn percentiles(values: &mut [f32], percents: &[f64]) -> Option<Vec<f64>> {
    percents
        .iter()
        .map(|p| percentile(values, *p).map(f64::from))
        .collect()
}

/// Learns where percentiles lie on a standard scale from the values inside the brain masks of some scans.
///
/// Each scan's percentiles are brought to mean 0 and standard deviation 1 of that scan's values, then averaged over
/// scans: the scale is in standard deviations of an average scan, so a network takes its values as they are.
///
/// # Errors
/// What is wrong: no scan, a scan without contrast, or landmarks that don't ascend.
/// # References
/// Nyúl, Udupa, Zhang 2000, IEEE TMI 19(2), 143–150, whose landmarks are the deciles.
pub fn learn_standard_scale(
    scans: &mut [Vec<f32>],
    percents: &[f64],
) -> Result<StandardScale, String> {
    let mut landmarks = vec![0.0; percents.len()];
    let n_scans = scans.len() as f64;
    if scans.is_empty() {
        return Err("no scan to learn a standard scale from".to_owned());
    }
    for (i, values) in scans.iter_mut().enumerate() {
        let count = values.len() as f64;
        let mean = values.iter().map(|v| f64::from(*v)).sum::<f64>() / count;
        let squares: f64 = values.iter().map(|v| (f64::from(*v) - mean).powi(2)).sum();
        let deviation = (squares / count).sqrt();
        let found = percentiles(values, percents).filter(|_| deviation > 0.0);
        let found = found.ok_or_else(|| format!("scan {} of {n_scans} has no contrast", i + 1))?;
        for (landmark, value) in landmarks.iter_mut().zip(found) {
            *landmark += (value - mean) / deviation / n_scans;
        }
    }
    StandardScale::new(percents.to_vec(), landmarks)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `count` values whose histogram is a Gaussian, by quantiles.
    fn gaussian(mean: f64, deviation: f64, count: usize) -> Vec<f32> {
        let quantile = |i: usize| {
            // Inverse of the logistic function scaled to deviation 1: bell-shaped, symmetric, known in closed form.
            let p = (i as f64 + 0.5) / count as f64;
            (p / (1.0 - p)).ln() * 3.0_f64.sqrt() / std::f64::consts::PI
        };
        (0..count)
            .map(|i| (mean + deviation * quantile(i)) as f32)
            .collect()
    }

    /// Cerebrospinal fluid, grey and white matter of a T1 scan.
    fn brain() -> Vec<f32> {
        let mut values = gaussian(200.0, 30.0, 3000);
        values.extend(gaussian(600.0, 35.0, 12_000));
        values.extend(gaussian(900.0, 30.0, 9000));
        values
    }

    #[test]
    fn the_last_peak_is_white_matter_and_not_the_highest() {
        let peak = white_matter_peak(&mut brain()).unwrap();
        // The bins are 2 wide, and the tail of grey matter pulls a little.
        assert!((peak - 900.0).abs() < 4.0, "{peak}");
    }

    #[test]
    fn few_bright_voxels_are_no_peak() {
        let mut values = brain();
        values.extend(gaussian(1400.0, 20.0, 300));
        let peak = white_matter_peak(&mut values).unwrap();
        assert!((peak - 900.0).abs() < 4.0, "{peak}");
    }

    #[test]
    fn the_stripe_has_the_mean_of_white_matter_and_the_spread_of_its_quantiles() {
        let mut values = brain();
        let n = values.len() as f64;
        let (mean, deviation) = white_stripe(&mut values, WhiteStripe { width: 0.05 }).unwrap();
        assert!((mean - 900.0).abs() < 4.0, "{mean}");
        // 5 % of all values to either side of the peak, of the 9000 of white matter: quantiles 0.5 ± q.
        let q = 0.05 * n / 9000.0;
        let edge = ((0.5 + q) / (0.5 - q)).ln() * 30.0 * 3.0_f64.sqrt() / std::f64::consts::PI;
        // Nearly uniform between the edges: deviation edge/√3.
        let expected = edge / 3.0_f64.sqrt();
        assert!(
            (deviation / expected - 1.0).abs() < 0.05,
            "{deviation} {expected}"
        );
    }

    #[test]
    fn equal_values_and_none_have_no_peak() {
        assert_eq!(white_matter_peak(&mut [3.0; 50]), None);
        assert_eq!(white_matter_peak(&mut []), None);
        assert_eq!(
            white_stripe(&mut [3.0; 50], WhiteStripe { width: 0.05 }),
            None
        );
    }

    #[test]
    fn landmarks_go_to_their_places_and_the_ends_go_on() {
        let scale = StandardScale::new(vec![0.0, 50.0, 100.0], vec![-1.0, 0.0, 3.0]).unwrap();
        let mut values: Vec<f32> = (0..=100).map(|v| v as f32).collect();
        let map = ToStandardScale::new(&mut values, &scale).unwrap();
        for (value, expected) in [
            (0.0, -1.0),
            (25.0, -0.5),
            (50.0, 0.0),
            (75.0, 1.5),
            (100.0, 3.0),
            (-50.0, -2.0),
            (150.0, 6.0),
        ] {
            assert!((map.map(value) - expected).abs() < 1e-9, "{value}");
        }
        assert!(ToStandardScale::new(&mut [1.0; 9], &scale).is_none());
    }

    #[test]
    fn a_scale_learned_from_one_distribution_undoes_any_monotone_change_of_it() {
        let percents = [1.0, 10.0, 25.0, 50.0, 75.0, 90.0, 99.0];
        let mut scans = [brain(), brain().iter().map(|v| 3.0 * v - 50.0).collect()];
        let scale = learn_standard_scale(&mut scans, &percents).unwrap();
        let mut bent: Vec<f32> = brain().iter().map(|v| v * v / 900.0).collect();
        let map = ToStandardScale::new(&mut bent, &scale).unwrap();
        let mut straight = brain();
        let reference = ToStandardScale::new(&mut straight, &scale).unwrap();
        for percent in percents {
            let value = f64::from(percentile(&mut straight, percent).unwrap());
            let same = f64::from(percentile(&mut bent, percent).unwrap());
            assert!(
                (map.map(same) - reference.map(value)).abs() < 1e-6,
                "{percent}"
            );
        }
    }

    #[test]
    fn a_scale_needs_scans_with_contrast() {
        assert!(learn_standard_scale(&mut [], &[1.0, 99.0]).is_err());
        let flat = learn_standard_scale(&mut [vec![1.0; 50]], &[1.0, 99.0]);
        assert_eq!(flat.unwrap_err(), "scan 1 of 1 has no contrast");
    }
}
