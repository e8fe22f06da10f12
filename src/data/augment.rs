//! Changes of a training volume: mirrored, shifted by whole voxels, brighter or darker.

use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution as _, StandardNormal};
use serde::{Deserialize, Serialize};

/// The `[data.augmentation]` part of a config.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AugmentationConfig {
    /// Share of volumes that are mirrored left to right.
    pub flip: f64,
    /// Longest shift along each axis, in voxels; what comes in is 0.
    pub max_shift_voxels: usize,
    /// Standard deviation of the factor on all intensities, around 1.
    pub gain_sd: f64,
}

/// A changed copy of a volume.
///
/// # Shapes
/// `volume` has `sides` x, y, z with z fastest, as has the result.
pub fn augment(
    volume: &[f32],
    sides: [usize; 3],
    config: &AugmentationConfig,
    rng: &mut ChaCha8Rng,
) -> Vec<f32> {
    let mirrored = rng.random_bool(config.flip);
    let max_shift = config.max_shift_voxels as i64;
    let shift: [i64; 3] = std::array::from_fn(|_| rng.random_range(-max_shift..=max_shift));
    let z: f64 = StandardNormal.sample(rng);
    let gain = (1.0 + config.gain_sd * z).max(0.0) as f32;

    let [nx, ny, nz] = sides;
    // Where a coordinate of the result comes from.
    let source = |to: usize, shift: i64, side: usize| {
        usize::try_from(to as i64 - shift)
            .ok()
            .filter(|from| *from < side)
    };
    let mut result = vec![0.0; volume.len()];
    for x in 0..nx {
        let Some(from_x) = source(x, shift[0], nx) else {
            continue;
        };
        let from_x = if mirrored { nx - 1 - from_x } else { from_x };
        for y in 0..ny {
            let Some(from_y) = source(y, shift[1], ny) else {
                continue;
            };
            let (to_row, from_row) = ((x * ny + y) * nz, (from_x * ny + from_y) * nz);
            for z in 0..nz {
                if let Some(from_z) = source(z, shift[2], nz) {
                    result[to_row + z] = volume[from_row + from_z] * gain;
                }
            }
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::seed::{Purpose, Seed};

    fn changed(config: AugmentationConfig, key: u64) -> Vec<f32> {
        let volume: Vec<f32> = (0..24).map(|i| i as f32).collect();
        let mut rng = Seed(1).stream(Purpose::Augmentation, &[key]);
        augment(&volume, [2, 3, 4], &config, &mut rng)
    }

    #[test]
    fn nothing_asked_nothing_changed() {
        let none = AugmentationConfig {
            flip: 0.0,
            max_shift_voxels: 0,
            gain_sd: 0.0,
        };
        assert_eq!(
            changed(none, 1),
            (0..24).map(|i| i as f32).collect::<Vec<_>>()
        );
    }

    #[test]
    fn a_flip_exchanges_left_and_right_alone() {
        let flip = AugmentationConfig {
            flip: 1.0,
            max_shift_voxels: 0,
            gain_sd: 0.0,
        };
        let expected: Vec<f32> = (12..24).chain(0..12).map(|i| i as f32).collect();
        assert_eq!(changed(flip, 1), expected);
    }

    #[test]
    fn a_shift_moves_voxels_whole_and_brings_in_zeros() {
        let shift = AugmentationConfig {
            flip: 0.0,
            max_shift_voxels: 1,
            gain_sd: 0.0,
        };
        for key in 0..20 {
            let moved = changed(shift, key);
            // Voxel (x, y, z) held 12x + 4y + z, so every value tells where it came from: one shift for all.
            let mut shifts: Vec<i64> = Vec::new();
            for (to, value) in moved.iter().enumerate().filter(|(_, value)| **value != 0.0) {
                shifts.push(to as i64 - *value as i64);
            }
            assert!(
                shifts.windows(2).all(|pair| pair[0] == pair[1]),
                "{shifts:?}"
            );
        }
    }
}
