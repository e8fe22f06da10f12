//! Products of spectra, frequency by frequency: a complex matrix product whose every element is eight frequencies wide.

#![expect(
    clippy::inline_always,
    reason = "the work must end up inside the function that has the vector instructions"
)]

use super::codelet::Complex;
use super::lanes::{Lanes, Line};

/// Most rows of one factor that are in registers together: 6 sums of 2 registers, and 4 for one number of each factor.
const MOST: usize = 6;

/// A matrix of lines: `rows` rows of `len` lines, one after the other.
#[derive(Clone, Copy)]
pub(super) struct Matrix<'a> {
    pub(super) lines: &'a [Line],
    pub(super) rows: usize,
    pub(super) len: usize,
}

impl<'a> Matrix<'a> {
    #[inline(always)]
    fn row(self, at: usize) -> &'a [Line] {
        &self.lines[at * self.len..][..self.len]
    }
}

/// Neither factor is conjugated, or the row that stands alone, or the rows that are many.
const NONE: u8 = 0;
const ONE: u8 = 1;
const MANY: u8 = 2;

/// Writes `Σ_r left[a, r] · right[b, r]` to `target[a · stride + b]`, the right factor conjugated if so told.
///
/// Sums run over `r` in order.
#[inline(always)]
pub(super) fn product<S: Lanes, const CONJUGATE: bool>(
    left: Matrix<'_>,
    right: Matrix<'_>,
    target: &mut [Line],
    stride: usize,
) {
    // Many rows against one keep more sums going than few.
    if left.rows < MOST / 2 && left.rows < right.rows {
        for a in 0..left.rows {
            let target = &mut target[a * stride..];
            if CONJUGATE {
                strip::<S, MANY>(right, left.row(a), target, 1);
            } else {
                strip::<S, NONE>(right, left.row(a), target, 1);
            }
        }
    } else {
        for b in 0..right.rows {
            let target = &mut target[b..];
            if CONJUGATE {
                strip::<S, ONE>(left, right.row(b), target, stride);
            } else {
                strip::<S, NONE>(left, right.row(b), target, stride);
            }
        }
    }
}

#[inline(always)]
fn strip<S: Lanes, const CONJUGATE: u8>(
    many: Matrix<'_>,
    one: &[Line],
    target: &mut [Line],
    stride: usize,
) {
    let blocks = many.rows.div_ceil(MOST);
    for block in 0..blocks {
        // As equal as can be: 9 rows are 5 and 4.
        let first = many.rows * block / blocks;
        let rows = many.rows * (block + 1) / blocks - first;
        let lines = &many.lines[first * many.len..][..rows * many.len];
        let target = &mut target[first * stride..];
        match rows {
            1 => sums::<S, 1, CONJUGATE>(lines, one, target, stride),
            2 => sums::<S, 2, CONJUGATE>(lines, one, target, stride),
            3 => sums::<S, 3, CONJUGATE>(lines, one, target, stride),
            4 => sums::<S, 4, CONJUGATE>(lines, one, target, stride),
            5 => sums::<S, 5, CONJUGATE>(lines, one, target, stride),
            _ => sums::<S, MOST, CONJUGATE>(lines, one, target, stride),
        }
    }
}

#[inline(always)]
fn sums<S: Lanes, const A: usize, const CONJUGATE: u8>(
    many: &[Line],
    one: &[Line],
    target: &mut [Line],
    stride: usize,
) {
    let zero = Complex {
        re: S::splat(0.0),
        im: S::splat(0.0),
    };
    let len = one.len();
    let mut rows: [&[Line]; A] = [&[]; A];
    for (a, row) in rows.iter_mut().enumerate() {
        *row = &many[a * len..][..len];
    }
    let mut sums = [zero; A];
    for (r, line) in one.iter().enumerate() {
        let y = Complex::<S>::load(line);
        for (sum, row) in sums.iter_mut().zip(rows) {
            let x = Complex::<S>::load(&row[r]);
            sum.re = x.re.mul_add(y.re, sum.re);
            match CONJUGATE {
                ONE => {
                    sum.im = x.im.mul_add(y.re, sum.im);
                    sum.re = x.im.mul_add(y.im, sum.re);
                    sum.im = x.re.neg_mul_add(y.im, sum.im);
                }
                MANY => {
                    sum.im = x.re.mul_add(y.im, sum.im);
                    sum.re = x.im.mul_add(y.im, sum.re);
                    sum.im = x.im.neg_mul_add(y.re, sum.im);
                }
                _ => {
                    sum.im = x.im.mul_add(y.re, sum.im);
                    sum.re = x.im.neg_mul_add(y.im, sum.re);
                    sum.im = x.re.mul_add(y.im, sum.im);
                }
            }
        }
    }
    for (a, sum) in sums.into_iter().enumerate() {
        sum.store(&mut target[a * stride]);
    }
}
