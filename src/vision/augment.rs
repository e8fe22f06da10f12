//! Random changes of one training image, drawn from the image's own stream.

use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::pixels::{Pixels, Window};
use super::rand_augment::{RandAugment, change};
use crate::config::train::Check;

/// Share of the shorter side that is kept in the middle of a test image: 224 of 256 pixels.
const CENTER_SHARE: f64 = 224.0 / 256.0;
/// Windows that are drawn before one is taken from the middle.
const MOST_WINDOWS: usize = 10;

/// The `[data.augmentation]` part of a config for images.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageAugmentation {
    /// Which part of the image is shown.
    pub crop: Crop,
    /// Share of images that are mirrored left to right.
    pub flip: f64,
    /// Random operations on colors and shape.
    pub randaugment: RandAugment,
    /// α of the Beta(α, α) from which the shares of two mixed images come (Zhang et al., ICLR 2018); 0: none.
    pub mixup: f64,
    /// The same for a rectangle of another image (Yun et al., ICCV 2019); where both are used, half of the images each.
    pub cutmix: f64,
}

/// Which part of a training image is shown.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Crop {
    /// The middle.
    Center,
    /// A window of the image's size within the image and a black frame.
    Padded {
        /// Width of the frame, pixels.
        pixels: usize,
    },
    /// A window of random area and shape, scaled (Szegedy et al., CVPR 2015).
    Resized {
        /// Smallest part of the image's area, above 0.
        min_area: f64,
    },
}

impl ImageAugmentation {
    /// What the types don't say.
    pub(super) fn checks(&self) -> [Check; 5] {
        let not_negative = |v: f64| v.is_finite() && v >= 0.0;
        let crop = match self.crop {
            Crop::Center => true,
            Crop::Padded { pixels } => pixels <= 1024,
            Crop::Resized { min_area } => min_area > 0.0 && min_area <= 1.0,
        };
        [
            (
                "data.augmentation.crop",
                crop,
                "a frame above 1024 pixels, or an area not above 0 and up to 1",
            ),
            (
                "data.augmentation.flip",
                (0.0..=1.0).contains(&self.flip),
                "not a share from 0 to 1",
            ),
            (
                "data.augmentation.randaugment",
                (0.0..=10.0).contains(&self.randaugment.magnitude),
                "a magnitude not from 0 to 10",
            ),
            (
                "data.augmentation.mixup",
                not_negative(self.mixup),
                "below 0",
            ),
            (
                "data.augmentation.cutmix",
                not_negative(self.cutmix),
                "below 0",
            ),
        ]
    }
}

/// A training image as it is shown: `side` pixels a side.
pub fn augmented(
    image: &Pixels,
    side: usize,
    config: &ImageAugmentation,
    rng: &mut ChaCha8Rng,
) -> Pixels {
    let mut shown = match config.crop {
        Crop::Center => plain(image, side),
        Crop::Padded { pixels } => {
            let image = plain(image, side);
            let mut shift = || rng.random_range(0..=2 * pixels) as isize - pixels as isize;
            let (left, top) = (shift(), shift());
            image.cropped(left, top, side, side)
        }
        Crop::Resized { min_area } => {
            let window = random_window(image.width, image.height, min_area, rng);
            image.scaled(window, side, side)
        }
    };
    if rng.random_bool(config.flip) {
        shown = shown.mirrored();
    }
    change(shown, config.randaugment, rng)
}

/// An image as it is shown where nothing is random.
pub fn plain(image: &Pixels, side: usize) -> Pixels {
    image.center(side, CENTER_SHARE)
}

/// An area from `min_area` to all of it, sides from 3:4 to 4:3; the middle square where none fits.
fn random_window(width: usize, height: usize, min_area: f64, rng: &mut ChaCha8Rng) -> Window {
    let (width, height) = (width as f64, height as f64);
    for _ in 0..MOST_WINDOWS {
        let area = width * height * rng.random_range(min_area..=1.0);
        let ratio = rng
            .random_range((0.75_f64).ln()..=(4.0_f64 / 3.0).ln())
            .exp();
        let (w, h) = ((area * ratio).sqrt(), (area / ratio).sqrt());
        if w <= width && h <= height {
            return Window {
                left: rng.random_range(0.0..=width - w),
                top: rng.random_range(0.0..=height - h),
                width: w,
                height: h,
            };
        }
    }
    let side = width.min(height);
    Window {
        left: 0.5 * (width - side),
        top: 0.5 * (height - side),
        width: side,
        height: side,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::seed::{Purpose, Seed};

    fn stream(sample: u64) -> ChaCha8Rng {
        Seed(3).stream(Purpose::Augmentation, &[0, sample])
    }

    fn image(width: usize, height: usize) -> Pixels {
        Pixels {
            width,
            height,
            rgb: (0..3 * width * height)
                .map(|i| 1 + (i * 7 % 250) as u8)
                .collect(),
        }
    }

    const STILL: ImageAugmentation = ImageAugmentation {
        crop: Crop::Center,
        flip: 0.0,
        randaugment: RandAugment {
            operations: 0,
            magnitude: 9.0,
        },
        mixup: 0.0,
        cutmix: 0.0,
    };

    #[test]
    fn nothing_is_changed_where_nothing_is_asked_for() {
        let image = image(8, 8);
        assert_eq!(augmented(&image, 8, &STILL, &mut stream(0)), image);
    }

    #[test]
    fn a_padded_crop_moves_the_image_by_the_frame_at_most_and_each_image_its_own_way() {
        let image = image(8, 8);
        let config = ImageAugmentation {
            crop: Crop::Padded { pixels: 2 },
            ..STILL
        };
        let mut shifts = std::collections::BTreeSet::new();
        for sample in 0..200 {
            let shown = augmented(&image, 8, &config, &mut stream(sample));
            let shift = (-2..=2)
                .flat_map(|x| (-2..=2).map(move |y| (x, y)))
                .find(|(x, y)| image.cropped(*x, *y, 8, 8) == shown);
            shifts.insert(shift.expect("one of 25 windows"));
        }
        // Each is missed by 200 draws with a probability of (24/25)^200, about 3e-4.
        assert!(shifts.len() >= 24, "{shifts:?}");
    }

    #[test]
    fn a_stream_gives_the_same_image_and_another_stream_another_one() {
        let config = ImageAugmentation {
            crop: Crop::Resized { min_area: 0.2 },
            flip: 0.5,
            randaugment: RandAugment {
                operations: 2,
                magnitude: 9.0,
            },
            ..STILL
        };
        let image = image(20, 30);
        let shown = |sample| augmented(&image, 16, &config, &mut stream(sample));
        assert_eq!((shown(1).width, shown(1).height), (16, 16));
        assert_eq!(shown(1), shown(1));
        assert_ne!(shown(1), shown(2));
    }

    #[test]
    fn windows_lie_within_the_image_and_have_the_areas_asked_for() {
        for sample in 0..300 {
            let window = random_window(40, 30, 0.3, &mut stream(sample));
            let area = window.width * window.height / 1200.0;
            assert!((0.3 - 1e-9..=1.0 + 1e-9).contains(&area), "{window:?}");
            assert!(window.left >= 0.0 && window.left + window.width <= 40.0 + 1e-9);
            assert!(window.top >= 0.0 && window.top + window.height <= 30.0 + 1e-9);
        }
    }
}
