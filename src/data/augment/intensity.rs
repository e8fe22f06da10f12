//! How bright a volume is: contrast, a coil's bias field, gain and noise, within the brain alone.
//!
//! Volumes come normalized (mean 0 within the brain), where neither a power nor a bias field would mean anything; both
//! therefore act on what a voxel has above the darkest one, as they would on the scanner's own values.

use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution as _, StandardNormal};

/// What is done to the intensities of one volume.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Appearance {
    /// Exponent on intensities from the darkest (0) to the brightest voxel (1); below 1 grays become brighter.
    pub gamma: f32,
    /// What the coil adds.
    pub bias: BiasField,
    /// Factor on all intensities.
    pub gain: f32,
    /// Standard deviation of the noise, in units of the volume's intensities.
    pub noise_sd: f32,
}

/// Terms of a polynomial in one coordinate.
const TERMS: usize = 4;

/// A smooth factor 1 + `amplitude` · f, with f a polynomial of degree 3 in x, y, z that is scaled to reach ±1 within
/// the brain.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct BiasField {
    /// Largest relative change.
    pub amplitude: f32,
    /// Of xⁱ yʲ zᵏ, coordinates from −1 to 1 across the volume.
    coefficients: [[[f32; TERMS]; TERMS]; TERMS],
}

impl BiasField {
    /// All terms of degree 1 to 3 get a part in it.
    pub(super) fn draw(amplitude: f32, rng: &mut ChaCha8Rng) -> Self {
        let mut coefficients = [[[0.0; TERMS]; TERMS]; TERMS];
        for (i, plane) in coefficients.iter_mut().enumerate() {
            for (j, row) in plane.iter_mut().enumerate() {
                for (k, coefficient) in row.iter_mut().enumerate() {
                    if (1..TERMS).contains(&(i + j + k)) {
                        *coefficient = rng.random_range(-1.0..1.0);
                    }
                }
            }
        }
        Self {
            amplitude,
            coefficients,
        }
    }

    /// What is left as a polynomial in z where x and y are given.
    fn along_z(&self, x: f32, y: f32) -> [f32; TERMS] {
        std::array::from_fn(|k| {
            let in_y = |i: usize| value(std::array::from_fn(|j| self.coefficients[i][j][k]), y);
            value(std::array::from_fn(in_y), x)
        })
    }
}

/// Horner.
fn value(coefficients: [f32; TERMS], at: f32) -> f32 {
    coefficients.iter().rev().fold(0.0, |sum, c| sum * at + c)
}

/// From −1 at the first voxel to 1 at the last.
fn coordinate(voxel: usize, side: usize) -> f32 {
    2.0 * voxel as f32 / (side.max(2) - 1) as f32 - 1.0
}

/// The rows of a volume, each with its voxels and its polynomial.
fn rows<'a>(
    volume: &'a mut [f32],
    [_, ny, nz]: [usize; 3],
    bias: &'a BiasField,
) -> impl Iterator<Item = (&'a mut [f32], [f32; TERMS])> {
    let nx = volume.len() / (ny * nz).max(1);
    volume
        .chunks_exact_mut(nz.max(1))
        .enumerate()
        .map(move |(row, values)| {
            let (x, y) = (coordinate(row / ny, nx), coordinate(row % ny, ny));
            (values, bias.along_z(x, y))
        })
}

/// Changes the voxels of the brain, those that are not 0.
///
/// # Shapes
/// `volume` has `sides` x, y, z with z fastest.
pub(super) fn change(
    volume: &mut [f32],
    sides: [usize; 3],
    appearance: &Appearance,
    rng: &mut ChaCha8Rng,
) {
    let Appearance {
        gamma,
        bias,
        gain,
        noise_sd,
    } = appearance;
    if *gamma != 1.0 || bias.amplitude != 0.0 {
        bend(volume, sides, *gamma, bias);
    }
    if *gain == 1.0 && *noise_sd == 0.0 {
        return;
    }
    for value in volume.iter_mut().filter(|value| **value != 0.0) {
        *value *= gain;
        if *noise_sd != 0.0 {
            let z: f32 = StandardNormal.sample(rng);
            *value += noise_sd * z;
        }
    }
}

/// Contrast and bias field.
fn bend(volume: &mut [f32], sides: [usize; 3], gamma: f32, bias: &BiasField) {
    let along_z: Vec<f32> = (0..sides[2]).map(|z| coordinate(z, sides[2])).collect();
    let (mut darkest, mut brightest, mut peak) = (f32::INFINITY, f32::NEG_INFINITY, 0.0_f32);
    for (values, polynomial) in rows(volume, sides, bias) {
        for (v, z) in values.iter().zip(&along_z).filter(|(v, _)| **v != 0.0) {
            darkest = darkest.min(*v);
            brightest = brightest.max(*v);
            peak = peak.max(value(polynomial, *z).abs());
        }
    }
    let range = brightest - darkest;
    // Also where there is no brain, or a NaN.
    if !(range > 0.0 && range.is_finite()) {
        return;
    }
    let strength = if peak > 0.0 {
        bias.amplitude / peak
    } else {
        0.0
    };
    for (values, polynomial) in rows(volume, sides, bias) {
        for (v, z) in values.iter_mut().zip(&along_z).filter(|(v, _)| **v != 0.0) {
            let level = (*v - darkest) / range;
            let factor = 1.0 + strength * value(polynomial, *z);
            *v = darkest + range * level.powf(gamma) * factor;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::seed::{Purpose, Seed};

    const SIDES: [usize; 3] = [7, 8, 9];

    fn rng() -> ChaCha8Rng {
        Seed(3).stream(Purpose::Augmentation, &[1])
    }

    fn plain() -> Appearance {
        Appearance {
            gamma: 1.0,
            bias: BiasField::draw(0.0, &mut rng()),
            gain: 1.0,
            noise_sd: 0.0,
        }
    }

    fn changed(before: &[f32], appearance: &Appearance) -> Vec<f32> {
        let mut volume = before.to_vec();
        change(&mut volume, SIDES, appearance, &mut rng());
        volume
    }

    /// Every third voxel is outside.
    fn brain(of: impl Fn(usize) -> f32) -> Vec<f32> {
        let n: usize = SIDES.iter().product();
        (0..n)
            .map(|i| if i % 3 == 0 { 0.0 } else { of(i) })
            .collect()
    }

    #[test]
    fn what_is_outside_of_the_brain_stays_zero_and_what_is_inside_changes() {
        let before = brain(|i| (i % 11) as f32 / 4.0 - 1.1);
        let all = Appearance {
            gamma: 1.2,
            bias: BiasField::draw(0.2, &mut rng()),
            gain: 1.1,
            noise_sd: 0.1,
        };
        for (a, b) in before.iter().zip(changed(&before, &all)) {
            assert!(b.is_finite());
            assert_eq!(*a == 0.0, b == 0.0, "{a} {b}");
        }
        assert_eq!(changed(&before, &plain()), before);
    }

    #[test]
    fn gamma_keeps_the_ends_and_squares_the_levels_between() {
        let before = brain(|i| [-2.0, -1.0, 1.0, 2.0][i % 4]);
        let gamma = Appearance {
            gamma: 2.0,
            ..plain()
        };
        // Levels 0, 1/4, 3/4, 1 of a range of 4 above −2.
        for (a, b) in before.iter().zip(changed(&before, &gamma)) {
            let expected = match a {
                -1.0 => -2.0 + 4.0 / 16.0,
                1.0 => -2.0 + 4.0 * 9.0 / 16.0,
                end => *end,
            };
            assert!((b - expected).abs() < 1e-6, "{a} → {b}, not {expected}");
        }
    }

    #[test]
    fn gain_multiplies_and_noise_has_its_spread() {
        let before = brain(|i| i as f32 / 100.0);
        let gained = changed(
            &before,
            &Appearance {
                gain: 1.5,
                ..plain()
            },
        );
        assert!(before.iter().zip(&gained).all(|(a, b)| a * 1.5 == *b));

        let noisy = Appearance {
            noise_sd: 0.25,
            ..plain()
        };
        let mut volume = vec![1.0; 100_000];
        change(&mut volume, [100, 100, 10], &noisy, &mut rng());
        let n = volume.len() as f64;
        let mean = volume.iter().map(|v| f64::from(*v)).sum::<f64>() / n;
        let variance = volume
            .iter()
            .map(|v| (f64::from(*v) - mean).powi(2))
            .sum::<f64>()
            / n;
        // Five standard errors of a mean and of a standard deviation.
        assert!((mean - 1.0).abs() < 5.0 * 0.25 / n.sqrt(), "{mean}");
        assert!((variance.sqrt() - 0.25).abs() < 5.0 * 0.25 / (2.0 * n).sqrt());
    }

    #[test]
    fn a_bias_field_is_a_cubic_that_changes_no_voxel_by_more_than_its_amplitude() {
        // Two levels: 1 in a single corner, 3 elsewhere, so what is above the darkest voxel is 2 · field.
        let mut before = vec![3.0; SIDES.iter().product()];
        before[0] = 1.0;
        let bias = Appearance {
            bias: BiasField::draw(0.2, &mut rng()),
            ..plain()
        };
        let after = changed(&before, &bias);
        let relative: Vec<f32> = after.iter().map(|v| (v - 1.0) / 2.0 - 1.0).collect();
        let largest = relative[1..].iter().fold(0.0_f32, |m, r| m.max(r.abs()));
        assert!((0.1..0.2 + 1e-5).contains(&largest), "{largest}");
        // Fourth differences of a cubic are 0; third ones of a drawn one are not.
        let row = &relative[9..18];
        for five in row.windows(5) {
            let fourth = five[0] - 4.0 * five[1] + 6.0 * five[2] - 4.0 * five[3] + five[4];
            assert!(fourth.abs() < 1e-5, "{row:?}");
        }
    }

    #[test]
    fn a_brain_of_one_gray_and_a_volume_without_a_brain_are_left_alone() {
        let all = Appearance {
            gamma: 1.2,
            bias: BiasField::draw(0.2, &mut rng()),
            ..plain()
        };
        for before in [brain(|_| 2.0), brain(|_| 0.0)] {
            assert_eq!(changed(&before, &all), before);
        }
    }
}
