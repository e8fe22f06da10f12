//! Transform of real signals along the last axis: half as many complex points, and one pass that takes the two halves
//! of the signal apart (Sorensen et al. 1987, IEEE Trans. ASSP 35(6)).
//!
//! A signal of `2M` numbers lies in `M` lines, even numbers as real, odd ones as imaginary parts: that is the order that
//! numbers have in memory. Its spectrum has `M + 1` lines. Both directions leave out a factor of ½, so a value that went
//! there and back is `4M` times what it was.

#![expect(
    clippy::inline_always,
    reason = "a transform must end up inside the function that has the vector instructions"
)]

use super::codelet::{Complex, LARGEST};
use super::lanes::{Lanes, Line};
use super::transform::{Packed, packed};

/// Memory for half a row.
pub(super) type Cells = [Line; LARGEST / 2];

/// Cosine and sine of `k / (2M)` turns for `k` up to `M / 2`.
pub(super) fn twiddles(points: usize) -> Vec<[f32; 2]> {
    (0..=points / 2)
        .map(|k| {
            let angle = std::f64::consts::PI * k as f64 / points as f64;
            [angle.cos() as f32, angle.sin() as f32]
        })
        .collect()
}

/// Twice the spectrum of the signal in `cells`.
#[inline(always)]
pub(super) fn forward<S: Lanes>(
    cells: &[Line],
    twiddles: &[[f32; 2]],
    between: &mut Cells,
    spectrum: &mut [Line],
) {
    let points = cells.len();
    let (between, spectrum) = (&mut between[..points], &mut spectrum[..=points]);
    packed::<S, false>(
        points,
        Packed {
            source: cells,
            target: between,
        },
    );
    for (k, [c, s]) in twiddles.iter().enumerate() {
        let (c, s) = (S::splat(*c), S::splat(*s));
        let a = Complex::<S>::load(&between[k]);
        let b = Complex::<S>::load(&between[if k == 0 { 0 } else { points - k }]);
        // Sum and difference with the mirrored point's conjugate; then −i · e^(−iθ) times the difference.
        let (sum_re, sum_im) = (a.re.add(b.re), a.im.sub(b.im));
        let (diff_re, diff_im) = (a.re.sub(b.re), a.im.add(b.im));
        let turned_re = diff_re.neg_mul_add(s, diff_im.mul(c));
        let turned_im = diff_re.mul_add(c, diff_im.mul(s));
        Complex {
            re: sum_re.add(turned_re),
            im: sum_im.sub(turned_im),
        }
        .store(&mut spectrum[k]);
        Complex {
            re: sum_re.sub(turned_re),
            im: S::splat(0.0).sub(sum_im.add(turned_im)),
        }
        .store(&mut spectrum[points - k]);
    }
}

/// The signal of `spectrum`, times `2M`.
#[inline(always)]
pub(super) fn inverse<S: Lanes>(
    spectrum: &[Line],
    twiddles: &[[f32; 2]],
    between: &mut Cells,
    cells: &mut [Line],
) {
    let points = cells.len();
    let (between, spectrum) = (&mut between[..points], &spectrum[..=points]);
    for (k, [c, s]) in twiddles.iter().enumerate() {
        let (c, s) = (S::splat(*c), S::splat(*s));
        let a = Complex::<S>::load(&spectrum[k]);
        let b = Complex::<S>::load(&spectrum[points - k]);
        let (sum_re, sum_im) = (a.re.add(b.re), a.im.sub(b.im));
        let (diff_re, diff_im) = (a.re.sub(b.re), a.im.add(b.im));
        // i · e^(iθ) times the difference.
        let minus_turned_re = diff_re.mul_add(s, diff_im.mul(c));
        let turned_im = diff_im.neg_mul_add(s, diff_re.mul(c));
        Complex {
            re: sum_re.sub(minus_turned_re),
            im: sum_im.add(turned_im),
        }
        .store(&mut between[k]);
        if k > 0 {
            Complex {
                re: sum_re.add(minus_turned_re),
                im: turned_im.sub(sum_im),
            }
            .store(&mut between[points - k]);
        }
    }
    packed::<S, true>(
        points,
        Packed {
            source: between,
            target: cells,
        },
    );
}

#[cfg(test)]
mod tests {
    use super::super::codelet::SIDES;
    use super::super::lanes::{Kernel, LANES, Path};
    use super::*;

    struct ThereAndBack<'a> {
        cells: &'a mut [Line],
        spectrum: &'a mut [Line],
    }
    impl Kernel for ThereAndBack<'_> {
        #[inline(always)]
        fn run<S: Lanes>(self) {
            let twiddles = twiddles(self.cells.len());
            let mut between = [Line::ZERO; LARGEST / 2];
            forward::<S>(self.cells, &twiddles, &mut between, self.spectrum);
            inverse::<S>(self.spectrum, &twiddles, &mut between, self.cells);
        }
    }

    fn check(path: Path, points: usize) {
        let signal = |n: usize, lane: usize| ((n * 7 + lane * 3) % 11) as f32 - 5.0;
        let mut cells: Vec<Line> = (0..points)
            .map(|m| {
                Line(std::array::from_fn(|odd| {
                    std::array::from_fn(|lane| signal(2 * m + odd, lane))
                }))
            })
            .collect();
        let mut spectrum = vec![Line::ZERO; points + 1];
        path.call(ThereAndBack {
            cells: &mut cells,
            spectrum: &mut spectrum,
        });
        let side = 2 * points;
        for lane in 0..LANES {
            for (k, line) in spectrum.iter().enumerate() {
                let (mut re, mut im) = (0.0, 0.0);
                for n in 0..side {
                    let angle = std::f64::consts::TAU * (n * k % side) as f64 / side as f64;
                    re += 2.0 * f64::from(signal(n, lane)) * angle.cos();
                    im -= 2.0 * f64::from(signal(n, lane)) * angle.sin();
                }
                assert!((f64::from(line.0[0][lane]) - re).abs() < 1e-5 * side as f64);
                assert!((f64::from(line.0[1][lane]) - im).abs() < 1e-5 * side as f64);
            }
            for (m, line) in cells.iter().enumerate() {
                for odd in 0..2 {
                    let value = line.0[odd][lane] / (4 * points) as f32;
                    assert!((value - signal(2 * m + odd, lane)).abs() < 1e-4);
                }
            }
        }
    }

    #[test]
    fn the_real_transform_equals_the_definition_and_its_inverse_returns_the_signal() {
        for path in [Path::detect(), Path::Portable] {
            for points in SIDES.into_iter().filter(|side| 2 * side <= LARGEST) {
                check(path, points);
            }
        }
    }
}
