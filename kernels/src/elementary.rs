//! The exponential and the error function in f32, in a form that compilers turn into vectors.
#![expect(
    clippy::inline_always,
    reason = "so that the caller's instruction set reaches the code"
)]

/// Larger than any number that is rounded to a whole one by being added to it, and of a size that leaves no digits for
/// fractions: 1.5 · 2²³.
const ROUNDS: f32 = 12_582_912.0;
/// Below, the exponential is less than 2e-38, near the least normal number.
const LEAST: f32 = -86.9;
/// Above, it is infinite.
const MOST: f32 = 88.7;
/// ln 2 as two numbers, the first with few digits so that its multiples are exact.
const LN_2: [f32; 2] = [355.0 / 512.0, -2.121_944_4e-4];

/// eˣ, to about 1e-7 of itself; 0 where it is less than 2e-38, and NaN for NaN.
///
/// By 2ⁿ·eʳ with |r| ≤ ½ ln 2 and the polynomial of Cephes (Moshier, `expf`).
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    let bounded = if x > MOST { MOST } else { x };
    let shifted = bounded * std::f32::consts::LOG2_E + ROUNDS;
    let n = shifted - ROUNDS;
    let r = (bounded - n * LN_2[0]) - n * LN_2[1];
    let mut sum = 1.987_569_1e-4;
    for coefficient in [
        1.398_199_9e-3,
        8.333_452e-3,
        4.166_579_6e-2,
        1.666_666_5e-1,
        0.5,
    ] {
        sum = sum * r + coefficient;
    }
    let of_r = (sum * r) * r + r + 1.0;
    // 2ⁿ⁻¹ twice, for 2¹²⁸ is infinite.
    let n = shifted.to_bits().wrapping_sub(ROUNDS.to_bits());
    let power = f32::from_bits(n.wrapping_add(126) << 23);
    let value = of_r * power * 2.0;
    if x < LEAST { 0.0 } else { value }
}

/// The error function, to about 5e-7.
///
/// By a rational function of x² between −4 and 4 (that of Eigen and XLA); beyond, it is ±1 to the last digit.
#[inline(always)]
pub(crate) fn erf(x: f32) -> f32 {
    // `clamp` and `max` have more to say of NaN.
    let bounded = if x < -4.0 { -4.0 } else { x };
    let bounded = if bounded > 4.0 { 4.0 } else { bounded };
    let square = bounded * bounded;
    let mut above = -2.726_142_3e-10;
    for coefficient in [
        2.770_681_4e-8,
        -2.101_024e-6,
        -5.692_506_5e-5,
        -7.349_906_3e-4,
        -2.954_6e-3,
        -1.609_603_3e-2,
    ] {
        above = above * square + coefficient;
    }
    let mut below = -1.456_607_2e-5;
    for coefficient in [
        -2.133_740_6e-4,
        -1.682_827e-3,
        -7.373_329e-3,
        -1.426_473_9e-2,
    ] {
        below = below * square + coefficient;
    }
    bounded * above / below
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2/√π · Σ (−1)ⁿ x²ⁿ⁺¹ / (n! (2n + 1)), in f64: enough digits up to 5 or so.
    fn series(x: f64) -> f64 {
        let (mut sum, mut term) = (x, x);
        for n in 1..200 {
            term *= -x * x / f64::from(n);
            sum += term / f64::from(2 * n + 1);
        }
        sum * 2.0 / std::f64::consts::PI.sqrt()
    }

    #[test]
    fn the_exponential_is_that_of_f64() {
        for i in -8690..8870 {
            let x = i as f32 / 100.0;
            let expected = f64::from(x).exp();
            let error = (f64::from(exp(x)) - expected).abs() / expected;
            assert!(error < 2.5e-7, "{x}: {error}");
        }
        assert_eq!(
            (exp(0.0), exp(-100.0), exp(f32::NEG_INFINITY)),
            (1.0, 0.0, 0.0)
        );
        assert!(exp(f32::NAN).is_nan() && exp(200.0) > 1e38);
    }

    #[test]
    fn the_error_function_is_that_of_its_series() {
        for i in -500..=500 {
            let x = i as f32 / 100.0;
            let error = (f64::from(erf(x)) - series(f64::from(x))).abs();
            assert!(error < 5e-7, "{x}: {error}");
        }
        assert!(erf(f32::NAN).is_nan() && (erf(1e30) - 1.0).abs() < 1e-6);
    }
}
