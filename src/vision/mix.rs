//! Mixtures of the images of a batch: mixup (Zhang et al., ICLR 2018) and CutMix (Yun et al., ICCV 2019).
//!
//! Each image is mixed with the next one of its batch, the last with the first; how, its own stream says.

use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Beta, Distribution as _};

use super::augment::ImageAugmentation;

/// How an image is mixed with another one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Mixture {
    /// Weighted mean.
    Blend {
        /// Weight of the other image.
        share: f64,
    },
    /// A rectangle of the other image, in pixels.
    Patch {
        /// First and one past the last column.
        columns: [usize; 2],
        /// First and one past the last row.
        rows: [usize; 2],
        /// Its part of the whole area.
        share: f64,
    },
}

impl Mixture {
    /// Draws one; `None` where images are not mixed.
    pub fn draw(config: &ImageAugmentation, side: usize, rng: &mut ChaCha8Rng) -> Option<Self> {
        let blends = config.mixup > 0.0;
        let patches = config.cutmix > 0.0;
        let patch = match (blends, patches) {
            (false, false) => return None,
            (true, true) => rng.random_bool(0.5),
            (_, patches) => patches,
        };
        let alpha = if patch { config.cutmix } else { config.mixup };
        let share = Beta::new(alpha, alpha).ok()?.sample(rng);
        if !patch {
            return Some(Self::Blend { share });
        }
        let half = 0.5 * side as f64 * share.sqrt();
        let mut span = || {
            let middle = rng.random_range(0.0..side as f64);
            [middle - half, middle + half].map(|edge| edge.round().clamp(0.0, side as f64) as usize)
        };
        let (columns, rows) = (span(), span());
        let area = (columns[1] - columns[0]) * (rows[1] - rows[0]);
        Some(Self::Patch {
            columns,
            rows,
            share: area as f64 / (side * side) as f64,
        })
    }

    /// The other image's part.
    pub fn share(self) -> f64 {
        match self {
            Self::Blend { share } | Self::Patch { share, .. } => share,
        }
    }

    /// Mixes `other` into `image`.
    ///
    /// # Shapes
    /// Both `[3, side, side]`, x fastest.
    pub fn apply(self, image: &mut [f32], other: &[f32], side: usize) {
        match self {
            Self::Blend { share } => {
                for (value, other) in image.iter_mut().zip(other) {
                    *value += share as f32 * (other - *value);
                }
            }
            Self::Patch { columns, rows, .. } => {
                let planes = image
                    .chunks_exact_mut(side * side)
                    .zip(other.chunks_exact(side * side));
                for (plane, other) in planes {
                    for y in rows[0]..rows[1] {
                        let run = y * side + columns[0]..y * side + columns[1];
                        plane[run.clone()].copy_from_slice(&other[run]);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::seed::{Purpose, Seed};
    use crate::vision::augment::Crop;
    use crate::vision::rand_augment::RandAugment;

    fn config(mixup: f64, cutmix: f64) -> ImageAugmentation {
        ImageAugmentation {
            crop: Crop::Center,
            flip: 0.0,
            randaugment: RandAugment {
                operations: 0,
                magnitude: 0.0,
            },
            mixup,
            cutmix,
        }
    }

    fn draw(mixup: f64, cutmix: f64, sample: u64) -> Option<Mixture> {
        let mut rng = Seed(1).stream(Purpose::Mixing, &[0, sample]);
        Mixture::draw(&config(mixup, cutmix), 8, &mut rng)
    }

    #[test]
    fn the_share_is_the_part_of_the_other_image() {
        assert_eq!(draw(0.0, 0.0, 1), None);
        let mut n_patches = 0;
        for sample in 0..100 {
            let mixture = draw(0.4, 1.0, sample).unwrap();
            // An image of zeros and another of ones: the mean is the share.
            let mut image = vec![0.0; 3 * 64];
            mixture.apply(&mut image, &vec![1.0; 3 * 64], 8);
            let mean = f64::from(image.iter().sum::<f32>()) / 192.0;
            assert!((mean - mixture.share()).abs() < 1e-5, "{mixture:?}");
            n_patches += usize::from(matches!(mixture, Mixture::Patch { .. }));
        }
        // Binomial(100, ½): five standard deviations are 25.
        assert!((25..=75).contains(&n_patches), "{n_patches}");
        assert!(matches!(draw(0.2, 0.0, 3), Some(Mixture::Blend { .. })));
        assert!(matches!(draw(0.0, 1.0, 3), Some(Mixture::Patch { .. })));
    }
}
