//! RandAugment (Cubuk et al., NeurIPS 2020, arXiv 1909.13719): a few operations, drawn from one list, of one magnitude.

use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::pixels::Pixels;

/// Settings of RandAugment.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RandAugment {
    /// Operations on each image; 0: none.
    pub operations: usize,
    /// How strong they are, 0 to 10.
    pub magnitude: f64,
}

/// Color that comes in at the edges, and that contrast pales to.
const GRAY: [u8; 3] = [128; 3];

/// The list of the paper's table 6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    Identity,
    AutoContrast,
    Equalize,
    Rotate,
    Solarize,
    Posterize,
    Color,
    Contrast,
    Brightness,
    Sharpness,
    ShearX,
    ShearY,
    TranslateX,
    TranslateY,
}

const ALL: [Operation; 14] = [
    Operation::Identity,
    Operation::AutoContrast,
    Operation::Equalize,
    Operation::Rotate,
    Operation::Solarize,
    Operation::Posterize,
    Operation::Color,
    Operation::Contrast,
    Operation::Brightness,
    Operation::Sharpness,
    Operation::ShearX,
    Operation::ShearY,
    Operation::TranslateX,
    Operation::TranslateY,
];

/// An image after the operations that its stream draws.
pub fn change(image: Pixels, config: RandAugment, rng: &mut ChaCha8Rng) -> Pixels {
    let strength = config.magnitude / 10.0;
    (0..config.operations).fold(image, |image, _| {
        let operation = ALL[rng.random_range(0..ALL.len())];
        let sign = if rng.random_bool(0.5) { 1.0 } else { -1.0 };
        apply(&image, operation, strength, sign)
    })
}

/// `strength` is 0 to 1; `sign` counts where an operation has two directions.
fn apply(image: &Pixels, operation: Operation, strength: f64, sign: f64) -> Pixels {
    // Ranges of the paper's AutoAugment operations: 30°, shear 0.3, a third of the side, factors 0.1 to 1.9.
    let signed = sign * strength;
    let factor = 1.0 + 0.9 * signed;
    match operation {
        Operation::Identity => image.clone(),
        Operation::AutoContrast => by_channel(image, stretched),
        Operation::Equalize => by_channel(image, equalized),
        Operation::Rotate => {
            let (sin, cos) = (30.0 * signed).to_radians().sin_cos();
            image.mapped([[cos, -sin, 0.0], [sin, cos, 0.0]], GRAY)
        }
        Operation::Solarize => {
            let threshold = 256.0 * (1.0 - strength);
            by_value(image, |v| {
                if f64::from(v) >= threshold {
                    255 - v
                } else {
                    v
                }
            })
        }
        Operation::Posterize => {
            let dropped = (4.0 * strength).round() as u32;
            by_value(image, |v| (v >> dropped) << dropped)
        }
        Operation::Color => blended(image, &gray_of(image), factor),
        Operation::Contrast => {
            let gray = gray_of(image);
            let mean =
                gray.rgb.iter().map(|v| f64::from(*v)).sum::<f64>() / gray.rgb.len().max(1) as f64;
            let flat = by_value(image, |_| mean.round() as u8);
            blended(image, &flat, factor)
        }
        Operation::Brightness => blended(image, &by_value(image, |_| 0), factor),
        Operation::Sharpness => blended(image, &smoothed(image), factor),
        Operation::ShearX => image.mapped([[1.0, 0.3 * signed, 0.0], [0.0, 1.0, 0.0]], GRAY),
        Operation::ShearY => image.mapped([[1.0, 0.0, 0.0], [0.3 * signed, 1.0, 0.0]], GRAY),
        Operation::TranslateX => {
            let shift = image.width as f64 / 3.0 * signed;
            image.mapped([[1.0, 0.0, shift], [0.0, 1.0, 0.0]], GRAY)
        }
        Operation::TranslateY => {
            let shift = image.height as f64 / 3.0 * signed;
            image.mapped([[1.0, 0.0, 0.0], [0.0, 1.0, shift]], GRAY)
        }
    }
}

fn by_value(image: &Pixels, of: impl Fn(u8) -> u8) -> Pixels {
    Pixels {
        rgb: image.rgb.iter().map(|value| of(*value)).collect(),
        ..*image
    }
}

/// Changes each color by a table made from the number of pixels of each of its values.
fn by_channel(image: &Pixels, table: impl Fn(&[usize; 256]) -> [u8; 256]) -> Pixels {
    let mut rgb = image.rgb.clone();
    for channel in 0..3 {
        let mut counts = [0; 256];
        for value in image.rgb.iter().skip(channel).step_by(3) {
            counts[usize::from(*value)] += 1;
        }
        let table = table(&counts);
        for value in rgb.iter_mut().skip(channel).step_by(3) {
            *value = table[usize::from(*value)];
        }
    }
    Pixels { rgb, ..*image }
}

/// The darkest value becomes 0, the brightest 255.
fn stretched(counts: &[usize; 256]) -> [u8; 256] {
    let darkest = counts.iter().position(|n| *n > 0).unwrap_or(0);
    let brightest = counts.iter().rposition(|n| *n > 0).unwrap_or(255);
    std::array::from_fn(|value| {
        if brightest <= darkest {
            return value as u8;
        }
        let share = (value as f64 - darkest as f64) / (brightest - darkest) as f64;
        (255.0 * share).round().clamp(0.0, 255.0) as u8
    })
}

/// Values become their ranks, so that all are alike often.
fn equalized(counts: &[usize; 256]) -> [u8; 256] {
    let total: usize = counts.iter().sum();
    let last = counts.iter().rev().find(|n| **n > 0).copied().unwrap_or(0);
    let step = (total - last) / 255;
    let mut below = step / 2;
    std::array::from_fn(|value| {
        if step == 0 {
            return value as u8;
        }
        let rank = below / step;
        below += counts[value];
        rank.min(255) as u8
    })
}

/// Luma of ITU-R BT.601.
fn gray_of(image: &Pixels) -> Pixels {
    let luma = |pixel: &[u8]| {
        let [r, g, b] = [0, 1, 2].map(|i| f64::from(pixel[i]));
        (0.299 * r + 0.587 * g + 0.114 * b).round() as u8
    };
    Pixels {
        rgb: image
            .rgb
            .chunks_exact(3)
            .flat_map(|pixel| [luma(pixel); 3])
            .collect(),
        ..*image
    }
}

/// other + factor · (image − other).
fn blended(image: &Pixels, other: &Pixels, factor: f64) -> Pixels {
    let pairs = image.rgb.iter().zip(&other.rgb);
    let blend = |(value, other): (&u8, &u8)| {
        let (value, other) = (f64::from(*value), f64::from(*other));
        (other + factor * (value - other)).round().clamp(0.0, 255.0) as u8
    };
    Pixels {
        rgb: pairs.map(blend).collect(),
        ..*image
    }
}

/// Mean of 3×3 pixels, the middle five times; the edge stays.
fn smoothed(image: &Pixels) -> Pixels {
    let mut result = image.clone();
    for y in 1..image.height.saturating_sub(1) {
        for x in 1..image.width.saturating_sub(1) {
            for channel in 0..3 {
                let at =
                    |x: usize, y: usize| u32::from(image.rgb[3 * (y * image.width + x) + channel]);
                let around: u32 = (y - 1..=y + 1)
                    .flat_map(|y| (x - 1..=x + 1).map(move |x| (x, y)))
                    .map(|(x, y)| at(x, y))
                    .sum();
                let sum = around + 4 * at(x, y);
                result.rgb[3 * (y * image.width + x) + channel] = ((sum + 6) / 13) as u8;
            }
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image() -> Pixels {
        Pixels {
            width: 9,
            height: 9,
            rgb: (0..3 * 81).map(|i| 20 + (i * 37 % 200) as u8).collect(),
        }
    }

    #[test]
    fn operations_of_no_strength_leave_the_image_and_strong_ones_do_not() {
        for operation in ALL {
            let still = apply(&image(), operation, 0.0, 1.0);
            let strong = apply(&image(), operation, 1.0, 1.0);
            let needs_no_strength =
                [Operation::AutoContrast, Operation::Equalize].contains(&operation);
            assert!(still == image() || needs_no_strength, "{operation:?}");
            assert!(
                strong != image()
                    || operation == Operation::Identity
                    || operation == Operation::Equalize,
                "{operation:?}"
            );
            assert_eq!(strong.rgb.len(), image().rgb.len());
        }
    }

    #[test]
    fn values_change_as_they_should() {
        let solarized = apply(&image(), Operation::Solarize, 0.5, 1.0);
        for (after, before) in solarized.rgb.iter().zip(&image().rgb) {
            assert_eq!(
                *after,
                if *before >= 128 {
                    255 - before
                } else {
                    *before
                }
            );
        }
        let posterized = apply(&image(), Operation::Posterize, 1.0, 1.0);
        assert!(posterized.rgb.iter().all(|value| value % 16 == 0));
        let stretched = apply(&image(), Operation::AutoContrast, 0.0, 1.0);
        assert_eq!(stretched.rgb.iter().min(), Some(&0));
        assert_eq!(stretched.rgb.iter().max(), Some(&255));
        let dark = apply(&image(), Operation::Brightness, 1.0, -1.0);
        assert!(
            dark.rgb
                .iter()
                .zip(&image().rgb)
                .all(|(after, before)| *after <= before / 10 + 1)
        );
    }

    #[test]
    fn equalizing_spreads_values_over_the_whole_range() {
        // 510 pixels of two values: the ranks of both lie half the range apart.
        let mut counts = [0; 256];
        counts[100] = 255;
        counts[101] = 255;
        let table = equalized(&counts);
        assert_eq!((table[100], table[101]), (0, 255));
    }
}
