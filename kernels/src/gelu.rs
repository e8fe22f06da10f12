//! GELU (Hendrycks & Gimpel 2016, arXiv 1606.08415): x·Φ(x) with the distribution function of the normal distribution, and
//! its gradient.
#![expect(unsafe_code, reason = "results are not zeroed before they are written")]
#![expect(
    clippy::inline_always,
    reason = "so that the caller's instruction set reaches the code"
)]

use std::f32::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI};
use std::mem::MaybeUninit;

use rayon::prelude::*;

use crate::conv3d::simd::{Kernel, Level, Simd};
use crate::elementary::{erf, exp};
use crate::output::written;

/// Numbers of a task.
const AT_ONCE: usize = 16 << 10;

/// x·Φ(x) of each number.
pub fn forward(x: &[f32]) -> Vec<f32> {
    let write = |to: &mut [MaybeUninit<f32>]| {
        let parts = to.par_chunks_mut(AT_ONCE).zip(x.par_chunks(AT_ONCE));
        parts.for_each(|(to, x)| Level::widest().run(Values { x, to }));
    };
    // SAFETY: the parts cover all, and each is written whole.
    unsafe { written(x.len(), write) }
}

/// The gradient of the input, from that of the values; empty where both have not the same length.
pub fn backward(gradient: &[f32], x: &[f32]) -> Vec<f32> {
    if gradient.len() != x.len() {
        return Vec::new();
    }
    let write = |to: &mut [MaybeUninit<f32>]| {
        to.par_chunks_mut(AT_ONCE)
            .zip(gradient.par_chunks(AT_ONCE))
            .zip(x.par_chunks(AT_ONCE))
            .for_each(|((to, g), x)| Level::widest().run(Gradient { g, x, to }));
    };
    // SAFETY: the parts cover all, and each is written whole.
    unsafe { written(x.len(), write) }
}

/// Φ.
#[inline(always)]
fn distribution(x: f32) -> f32 {
    0.5 + 0.5 * erf(x * FRAC_1_SQRT_2)
}

struct Values<'a> {
    x: &'a [f32],
    to: &'a mut [MaybeUninit<f32>],
}

impl Kernel for Values<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        for (to, x) in self.to.iter_mut().zip(self.x) {
            to.write(x * distribution(*x));
        }
    }
}

struct Gradient<'a> {
    g: &'a [f32],
    x: &'a [f32],
    to: &'a mut [MaybeUninit<f32>],
}

impl Kernel for Gradient<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        // 1/√(2π).
        let density = 0.5 * FRAC_2_SQRT_PI * FRAC_1_SQRT_2;
        for (to, (g, x)) in self.to.iter_mut().zip(self.g.iter().zip(self.x)) {
            let slope = distribution(*x) + x * density * exp(-0.5 * x * x);
            to.write(g * slope);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Φ by Simpson's rule over the density from −10 on, in f64.
    fn distribution_f64(x: f64) -> f64 {
        let n = 4000;
        let step = (x + 10.0) / f64::from(n);
        let density = |t: f64| (-0.5 * t * t).exp() / (2.0 * std::f64::consts::PI).sqrt();
        let weight = |i: i32| match i {
            0 => 1.0,
            i if i == n => 1.0,
            i => f64::from(2 + 2 * (i % 2)),
        };
        let terms = (0..=n).map(|i| weight(i) * density(-10.0 + f64::from(i) * step));
        terms.sum::<f64>() * step / 3.0
    }

    #[test]
    fn values_and_gradients_are_those_of_the_normal_distribution() {
        let x: Vec<f32> = (-60..=60).map(|i| i as f32 / 10.0).collect();
        let g: Vec<f32> = (0..x.len()).map(|i| 1.0 + i as f32 / 50.0).collect();
        let (values, gradients) = (forward(&x), backward(&g, &x));
        for (at, x) in x.iter().enumerate() {
            let wide = f64::from(*x);
            let value = |x: f64| x * distribution_f64(x);
            assert!((f64::from(values[at]) - value(wide)).abs() < 2e-6, "{x}");
            let slope = (value(wide + 1e-5) - value(wide - 1e-5)) / 2e-5;
            let found = f64::from(gradients[at] / g[at]);
            assert!((found - slope).abs() < 2e-6, "{x}: {found} {slope}");
        }
        assert!(forward(&[f32::NAN])[0].is_nan());
        assert_eq!(backward(&[1.0], &[1.0, 2.0]), Vec::<f32>::new());
    }
}
