//! Changes of a training volume: where the brain lies, then how bright it is.
//!
//! Everything is drawn from one keyed stream in a fixed order, used or not, so that one setting changes nothing but
//! its own part.

mod intensity;
mod pose;

use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution as _, StandardNormal};
use serde::{Deserialize, Serialize};

use intensity::{Appearance, BiasField, change};
use pose::{Pose, posed};

/// The `[data.augmentation]` part of a config.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AugmentationConfig {
    /// Share of volumes that are mirrored left to right.
    pub flip: f64,
    /// Share of volumes that are turned, scaled and shifted. Interpolation blurs those, as it blurs no scan that is
    /// predicted, so a network should see others, too (nnU-Net turns 20 %, Isensee et al. 2021).
    pub moved: f64,
    /// Largest turn about each axis, either way, degrees.
    pub max_rotation_degrees: f64,
    /// Largest relative growth or shrinkage.
    pub max_scale: f64,
    /// Longest shift along each axis, either way, mm; what comes in is 0.
    pub max_shift_mm: f64,
    /// Standard deviation of the factor on all intensities, around 1.
    pub gain_sd: f64,
    /// Standard deviation of the logarithm of the contrast's exponent.
    pub gamma_sd: f64,
    /// Standard deviation of the noise, in units of the volume's intensities.
    pub noise_sd: f64,
    /// Largest relative change by a smooth bias field.
    pub max_bias: f64,
}

/// A changed volume.
///
/// # Shapes
/// `volume` has `sides` x, y, z with z fastest, as has the result.
pub fn augment(
    volume: Vec<f32>,
    sides: [usize; 3],
    voxel_size_mm: [f64; 3],
    config: &AugmentationConfig,
    rng: &mut ChaCha8Rng,
) -> Vec<f32> {
    let (pose, appearance) = draw(config, rng);
    let mut volume = posed(volume, sides, voxel_size_mm, &pose);
    change(&mut volume, sides, &appearance, rng);
    volume
}

fn draw(config: &AugmentationConfig, rng: &mut ChaCha8Rng) -> (Pose, Appearance) {
    // `random_bool` draws nothing where the answer is certain.
    let mut happens = |share: f64| rng.random::<f64>() < share;
    let mirrored = happens(config.flip);
    let moved = if happens(config.moved) { 1.0 } else { 0.0 };
    let mut within = |max: f64| moved * max * (2.0 * rng.random::<f64>() - 1.0);
    let pose = Pose {
        mirrored,
        rotation_radians: std::array::from_fn(|_| within(config.max_rotation_degrees).to_radians()),
        scale: 1.0 + within(config.max_scale),
        shift_mm: std::array::from_fn(|_| within(config.max_shift_mm)),
    };
    let mut normal = |sd: f64| {
        let z: f64 = StandardNormal.sample(rng);
        sd * z
    };
    let gain = (1.0 + normal(config.gain_sd)).max(0.0) as f32;
    let gamma = normal(config.gamma_sd).exp() as f32;
    let amplitude = (config.max_bias * rng.random::<f64>()) as f32;
    let appearance = Appearance {
        gamma,
        bias: BiasField::draw(amplitude, rng),
        gain,
        noise_sd: config.noise_sd as f32,
    };
    (pose, appearance)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::seed::{Purpose, Seed};

    const NOTHING: AugmentationConfig = AugmentationConfig {
        flip: 0.0,
        moved: 1.0,
        max_rotation_degrees: 0.0,
        max_scale: 0.0,
        max_shift_mm: 0.0,
        gain_sd: 0.0,
        gamma_sd: 0.0,
        noise_sd: 0.0,
        max_bias: 0.0,
    };

    const ALL: AugmentationConfig = AugmentationConfig {
        flip: 0.5,
        moved: 1.0,
        max_rotation_degrees: 10.0,
        max_scale: 0.05,
        max_shift_mm: 8.0,
        gain_sd: 0.05,
        gamma_sd: 0.1,
        noise_sd: 0.05,
        max_bias: 0.2,
    };

    fn ramp() -> Vec<f32> {
        (0..24).map(|i| i as f32).collect()
    }

    fn changed(config: AugmentationConfig, key: u64) -> Vec<f32> {
        let mut rng = Seed(1).stream(Purpose::Augmentation, &[key]);
        augment(ramp(), [2, 3, 4], [2.0; 3], &config, &mut rng)
    }

    #[test]
    fn nothing_asked_nothing_changed() {
        assert_eq!(changed(NOTHING, 1), ramp());
    }

    #[test]
    fn a_flip_exchanges_left_and_right_alone() {
        let flip = AugmentationConfig {
            flip: 1.0,
            ..NOTHING
        };
        let expected: Vec<f32> = (12..24).chain(0..12).map(|i| i as f32).collect();
        assert_eq!(changed(flip, 1), expected);
    }

    #[test]
    fn a_key_gives_the_same_change_again_and_another_key_another() {
        assert_eq!(changed(ALL, 1), changed(ALL, 1));
        assert_ne!(changed(ALL, 1), changed(ALL, 2));
    }

    #[test]
    fn draws_stay_within_their_bounds_and_come_near_them() {
        let mut largest = [0.0_f64; 4];
        for key in 0..500 {
            let mut rng = Seed(1).stream(Purpose::Augmentation, &[key]);
            let (pose, appearance) = draw(&ALL, &mut rng);
            let found = [
                pose.rotation_radians[0].to_degrees() / ALL.max_rotation_degrees,
                (pose.scale - 1.0) / ALL.max_scale,
                pose.shift_mm[2] / ALL.max_shift_mm,
                f64::from(appearance.bias.amplitude) / ALL.max_bias,
            ];
            largest = std::array::from_fn(|i| largest[i].max(found[i].abs()));
        }
        assert!(
            largest
                .iter()
                .all(|share| (0.98..1.0 + 1e-6).contains(share)),
            "{largest:?}"
        );
    }

    #[test]
    fn a_share_of_volumes_keeps_its_voxels_and_changes_in_brightness_alone() {
        let half = AugmentationConfig { moved: 0.5, ..ALL };
        let n = 1000;
        let n_kept = (0..n)
            .filter(|key| {
                let drawn =
                    |config| draw(&config, &mut Seed(1).stream(Purpose::Augmentation, &[*key]));
                let ((pose, appearance), all) = (drawn(half), drawn(ALL));
                assert_eq!((pose.mirrored, appearance), (all.0.mirrored, all.1));
                let is_kept =
                    (pose.rotation_radians, pose.scale, pose.shift_mm) == ([0.0; 3], 1.0, [0.0; 3]);
                assert!(is_kept || pose == all.0);
                is_kept
            })
            .count();
        // Five standard deviations.
        assert!((420..580).contains(&n_kept), "{n_kept}");
    }

    #[test]
    fn a_setting_changes_no_draw_but_its_own() {
        let drawn = |config| draw(&config, &mut Seed(1).stream(Purpose::Augmentation, &[7]));
        let (all, shiftless) = (
            drawn(ALL),
            drawn(AugmentationConfig {
                max_shift_mm: 0.0,
                ..ALL
            }),
        );
        assert_eq!(shiftless.0.shift_mm, [0.0; 3]);
        let shift_mm = all.0.shift_mm;
        assert_eq!(
            (
                Pose {
                    shift_mm,
                    ..shiftless.0
                },
                shiftless.1
            ),
            all
        );
    }
}
