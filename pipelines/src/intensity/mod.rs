//! Making grey values comparable between scans: clip, scale within the brain mask, nothing outside.
//!
//! Works on one scan alone, so that a single new scan comes out as it would have in any cohort. What is learned from
//! many (the standard scale of Nyúl) stands in the recipe.

mod landmarks;

use crate::recipe::{Intensity, Normalization};
use crate::volume::{Mask, Volume};
use landmarks::{ToStandardScale, white_matter_peak, white_stripe};

pub use landmarks::learn_standard_scale;

/// Fewest voxels within the mask whose mean and deviation mean anything.
pub const FEWEST_VOXELS: usize = 100;

/// What stands in the way of normalization.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Unusable {
    /// Hardly any voxel is inside the mask: so many are.
    TooFewVoxels(usize),
    /// All voxels inside the mask have this value.
    Constant(f64),
}

/// Clips the values inside the mask at the recipe's percentiles, brings them to the recipe's scale, clips again on that
/// scale, and sets everything outside to 0.
///
/// `volume` and `mask` have the same grid.
///
/// # Errors
/// [`Unusable`] if the mask holds fewer than [`FEWEST_VOXELS`] voxels, or their values have no spread to measure a
/// scale by.
pub fn normalize(volume: &mut Volume, mask: &Mask, params: &Intensity) -> Result<(), Unusable> {
    let mut inside: Vec<f32> = within(volume, mask).collect();
    if inside.len() < FEWEST_VOXELS {
        return Err(Unusable::TooFewVoxels(inside.len()));
    }
    let [low, high] = params
        .clip_percentiles
        .map(|p| percentile(&mut inside, p).unwrap_or(0.0));
    let count = inside.len() as f64;
    let mean = inside
        .iter()
        .map(|v| f64::from(v.clamp(low, high)))
        .sum::<f64>()
        / count;
    let variance = inside
        .iter()
        .map(|v| (f64::from(v.clamp(low, high)) - mean).powi(2))
        .sum::<f64>()
        / count;
    let deviation = variance.sqrt();
    let constant = Unusable::Constant(mean);
    if !(deviation > 1e-6 * mean.abs() && deviation > 0.0) {
        return Err(constant);
    }
    for value in &mut inside {
        *value = value.clamp(low, high);
    }
    let mut fill = |scaled: &dyn Fn(f64) -> f64| {
        for (value, is_inside) in volume.values_mut().iter_mut().zip(mask.values()) {
            *value = if *is_inside {
                let scaled = scaled(f64::from(value.clamp(low, high)));
                scaled.clamp(-params.clip_at, params.clip_at) as f32
            } else {
                0.0
            };
        }
    };
    match &params.normalization {
        Normalization::ZScore => fill(&|v| (v - mean) / deviation),
        Normalization::WhiteStripe(stripe) => {
            let (mean, deviation) = white_stripe(&mut inside, *stripe).ok_or(constant)?;
            fill(&|v| (v - mean) / deviation);
        }
        Normalization::WhiteMatterPeak(target) => {
            let peak = white_matter_peak(&mut inside);
            let peak = peak.filter(|peak| *peak > 0.0).ok_or(constant)?;
            fill(&|v| (v.max(0.0) * target.value / peak).round());
        }
        Normalization::Nyul(scale) => {
            let map = ToStandardScale::new(&mut inside, scale).ok_or(constant)?;
            fill(&|v| map.map(v));
        }
    }
    Ok(())
}

/// The values inside a mask of the same grid.
pub(crate) fn within<'a>(volume: &'a Volume, mask: &'a Mask) -> impl Iterator<Item = f32> + 'a {
    volume
        .values()
        .iter()
        .zip(mask.values())
        .filter(|(_, inside)| **inside)
        .map(|(value, _)| *value)
}

/// The percentile of some values, interpolated between the two nearest (NumPy's rule); reorders them. `None` for none.
pub(crate) fn percentile(values: &mut [f32], percent: f64) -> Option<f32> {
    let last = values.len().checked_sub(1)?;
    let position = (percent / 100.0).clamp(0.0, 1.0) * last as f64;
    let lower = position as usize;
    let (_, low, above) = values.select_nth_unstable_by(lower, f32::total_cmp);
    let low = *low;
    let high = above.iter().copied().min_by(f32::total_cmp).unwrap_or(low);
    Some(low + (position - lower as f64) as f32 * (high - low))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::{Recipe, StandardScale, WhiteMatterPeak, WhiteStripe};
    use crate::space::{Affine, VoxelShape};

    fn params() -> Intensity {
        Recipe::named("fast").unwrap().intensity
    }

    fn volume_and_mask(values: Vec<f32>) -> (Volume, Mask) {
        let shape = VoxelShape([values.len(), 1, 1]);
        let volume = Volume::new(values, shape, Affine::identity()).unwrap();
        let mut mask = volume.map(|_| true);
        mask.values_mut()[0] = false;
        (volume, mask)
    }

    #[test]
    fn percentiles_are_interpolated_as_numpy_does() {
        let mut values = [7.0, 1.0, 3.0, 2.0];
        // np.percentile([1, 2, 3, 7], [0, 30, 50, 95, 100])
        for (percent, expected) in [
            (0.0, 1.0),
            (30.0, 1.9),
            (50.0, 2.5),
            (95.0, 6.4),
            (100.0, 7.0),
        ] {
            let found = percentile(&mut values, percent).unwrap();
            assert!((found - expected).abs() < 1e-5, "{percent}: {found}");
        }
        assert_eq!(percentile(&mut [], 50.0), None);
    }

    #[test]
    fn normalized_values_have_mean_0_and_deviation_1_inside_and_are_0_outside() {
        let (mut volume, mask) =
            volume_and_mask((0..2000).map(|i| (i * 37 % 2000) as f32).collect());
        normalize(&mut volume, &mask, &params()).unwrap();
        let inside: Vec<f64> = within(&volume, &mask).map(f64::from).collect();
        let mean = inside.iter().sum::<f64>() / inside.len() as f64;
        let variance = inside.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / inside.len() as f64;
        assert!(
            mean.abs() < 1e-6 && (variance - 1.0).abs() < 1e-5,
            "{mean} {variance}"
        );
        assert_eq!(volume.values()[0], 0.0);
    }

    #[test]
    fn scale_and_offset_of_the_scanner_do_not_matter() {
        let values: Vec<f32> = (0..500).map(|i| (i * 7 % 500) as f32).collect();
        let (mut one, mask) = volume_and_mask(values.clone());
        let (mut other, _) = volume_and_mask(values.iter().map(|v| 3.0 * v - 40.0).collect());
        normalize(&mut one, &mask, &params()).unwrap();
        normalize(&mut other, &mask, &params()).unwrap();
        assert!(
            one.values()
                .iter()
                .zip(other.values())
                .all(|(a, b)| (a - b).abs() < 1e-4)
        );
    }

    #[test]
    fn a_single_huge_voxel_changes_little() {
        let (mut volume, mask) = volume_and_mask((0..5000).map(|i| (i % 100) as f32).collect());
        volume.values_mut()[17] = 3e38;
        normalize(&mut volume, &mask, &params()).unwrap();
        assert!(volume.values().iter().all(|v| v.abs() < 2.0));
    }

    #[test]
    fn every_scale_puts_white_matter_where_it_says() {
        // Grey matter about 500, white matter about 800, triangles of ±50; voxel 0 is outside.
        let triangle = |i: usize| (i * 7 % 51 + i * 13 % 50) as f32 - 50.0;
        let values = (0..6000)
            .map(|i| if i % 3 == 0 { 800.0 } else { 500.0 } + triangle(i))
            .collect();
        let (volume, mask) = volume_and_mask(values);
        let white = |normalization, clip_at| {
            let mut scaled = volume.clone();
            let params = Intensity {
                clip_percentiles: [0.0, 100.0],
                clip_at,
                normalization,
            };
            normalize(&mut scaled, &mask, &params).unwrap();
            let white = (1..2000).map(|i| f64::from(scaled.values()[3 * i]));
            white.sum::<f64>() / 1999.0
        };
        let stripe = Normalization::WhiteStripe(WhiteStripe { width: 0.05 });
        assert!(white(stripe, 50.0).abs() < 1.0);
        let peak = white(
            Normalization::WhiteMatterPeak(WhiteMatterPeak { value: 110.0 }),
            255.0,
        );
        assert!((peak - 110.0).abs() < 2.0, "{peak}");
        let scale = StandardScale::new(vec![33.0, 83.0], vec![-1.0, 2.0]).unwrap();
        let nyul = white(Normalization::Nyul(scale), 9.0);
        // Percentile 83 lies in the middle of the brightest third.
        assert!((nyul - 2.0).abs() < 0.05, "{nyul}");
    }

    #[test]
    fn equal_values_and_empty_masks_are_refused() {
        let (mut volume, mask) = volume_and_mask(vec![4.0; 300]);
        assert_eq!(
            normalize(&mut volume, &mask, &params()),
            Err(Unusable::Constant(4.0))
        );
        let empty = mask.map(|_| false);
        assert_eq!(
            normalize(&mut volume, &empty, &params()),
            Err(Unusable::TooFewVoxels(0))
        );
    }
}
