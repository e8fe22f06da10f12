//! Products of spectra, frequency by frequency: a complex matrix product whose every element is eight frequencies wide.

#![expect(
    clippy::inline_always,
    reason = "the work must end up inside the function that has the vector instructions"
)]

use super::codelet::Complex;
use super::lanes::{Lanes, Line};

/// Rows of the left factor, and of the right one, that are in registers together: 3 × 2 sums of 2 registers.
const LEFT: usize = 3;
const RIGHT: usize = 2;

/// A matrix of lines: `rows` rows of `len` lines, one after the other.
#[derive(Clone, Copy)]
pub(super) struct Rows<'a> {
    pub(super) lines: &'a [Line],
    pub(super) rows: usize,
    pub(super) len: usize,
}

impl<'a> Rows<'a> {
    #[inline(always)]
    fn some<const N: usize>(self, first: usize) -> [&'a [Line]; N] {
        std::array::from_fn(|i| &self.lines[(first + i) * self.len..][..self.len])
    }
}

/// Writes `Σ_r left[a, r] · right[b, r]` to `target[a · stride + b]`, the right factor conjugated if so told.
///
/// Sums run over `r` in order.
#[inline(always)]
pub(super) fn product<S: Lanes, const CONJUGATE: bool>(
    left: Rows<'_>,
    right: Rows<'_>,
    target: &mut [Line],
    stride: usize,
) {
    let mut b = 0;
    while b < right.rows {
        if b + RIGHT <= right.rows {
            strip::<S, RIGHT, CONJUGATE>(left, right.some(b), &mut target[b..], stride);
            b += RIGHT;
        } else {
            strip::<S, 1, CONJUGATE>(left, right.some(b), &mut target[b..], stride);
            b += 1;
        }
    }
}

#[inline(always)]
fn strip<S: Lanes, const B: usize, const CONJUGATE: bool>(
    left: Rows<'_>,
    right: [&[Line]; B],
    target: &mut [Line],
    stride: usize,
) {
    let mut a = 0;
    while a + LEFT <= left.rows {
        let target = &mut target[a * stride..];
        block::<S, LEFT, B, CONJUGATE>(left.some(a), right, target, stride);
        a += LEFT;
    }
    while a < left.rows {
        let target = &mut target[a * stride..];
        block::<S, 1, B, CONJUGATE>(left.some(a), right, target, stride);
        a += 1;
    }
}

#[inline(always)]
fn block<S: Lanes, const A: usize, const B: usize, const CONJUGATE: bool>(
    left: [&[Line]; A],
    right: [&[Line]; B],
    target: &mut [Line],
    stride: usize,
) {
    let zero = Complex {
        re: S::splat(0.0),
        im: S::splat(0.0),
    };
    let mut sums = [[zero; B]; A];
    for r in 0..left[0].len() {
        let mut y = [zero; B];
        for (y, right) in y.iter_mut().zip(right) {
            *y = Complex::load(&right[r]);
        }
        for (sums, left) in sums.iter_mut().zip(left) {
            let x = Complex::<S>::load(&left[r]);
            for (sum, y) in sums.iter_mut().zip(y) {
                sum.re = x.re.mul_add(y.re, sum.re);
                sum.im = x.im.mul_add(y.re, sum.im);
                if CONJUGATE {
                    sum.re = x.im.mul_add(y.im, sum.re);
                    sum.im = x.re.neg_mul_add(y.im, sum.im);
                } else {
                    sum.re = x.im.neg_mul_add(y.im, sum.re);
                    sum.im = x.re.mul_add(y.im, sum.im);
                }
            }
        }
    }
    for (a, sums) in sums.into_iter().enumerate() {
        for (b, sum) in sums.into_iter().enumerate() {
            sum.store(&mut target[a * stride + b]);
        }
    }
}
