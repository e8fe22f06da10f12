//! Copies of rows. Most are short, so a call of the library's copy would cost more than the copying.
#![expect(unsafe_code, reason = "vectors that overlap at the end of a row")]
#![expect(
    clippy::inline_always,
    reason = "so that the caller's instruction set reaches the code"
)]

use super::correlation::Correlation;
use super::simd::Simd;

/// How one tap sees a row along z: zeros, every `stride`-th voxel from `first` on, zeros.
pub(crate) struct RowCopy {
    zeros_before: usize,
    end: usize,
    first: usize,
    stride: usize,
}

impl RowCopy {
    pub(crate) fn new(c: &Correlation, tap: usize) -> Self {
        let (n, stride) = (c.output[2], c.stride[2]);
        let outside = c.before[2] - tap as isize;
        let zeros_before = usize::try_from(outside)
            .unwrap_or(0)
            .div_ceil(stride)
            .min(n);
        let end = c.input[2].saturating_add_signed(outside).div_ceil(stride);
        Self {
            zeros_before,
            end: end.clamp(zeros_before, n),
            first: (zeros_before * stride).saturating_add_signed(-outside),
            stride,
        }
    }

    #[inline(always)]
    pub(crate) fn run<S: Simd>(&self, simd: S, from: &[f32], to: &mut [f32]) {
        for to in &mut to[..self.zeros_before] {
            *to = 0.0;
        }
        for to in &mut to[self.end..] {
            *to = 0.0;
        }
        let to = &mut to[self.zeros_before..self.end];
        if to.is_empty() {
            return;
        }
        let from = &from[self.first..];
        if self.stride == 1 {
            copy(simd, &from[..to.len()], to);
        } else {
            for (to, from) in to.iter_mut().zip(from.iter().step_by(self.stride)) {
                *to = *from;
            }
        }
    }
}

impl RowCopy {
    /// Adds to each voxel what [`RowCopy::run`] would have made of it.
    #[inline(always)]
    pub(crate) fn add_back<S: Simd>(&self, simd: S, from: &[f32], to: &mut [f32]) {
        let from = &from[self.zeros_before..self.end];
        if from.is_empty() {
            return;
        }
        let to = &mut to[self.first..];
        if self.stride == 1 {
            add(simd, from, &mut to[..from.len()]);
        } else {
            for (to, from) in to.iter_mut().step_by(self.stride).zip(from) {
                *to += *from;
            }
        }
    }
}

/// `to += from`, inlined.
#[inline(always)]
fn add<S: Simd>(simd: S, from: &[f32], to: &mut [f32]) {
    assert_eq!(from.len(), to.len());
    let whole = to.len() / S::LANES * S::LANES;
    for at in (0..whole).step_by(S::LANES) {
        // SAFETY: both have as many numbers, and a vector at `at` ends at `whole` at the latest.
        let [a, b] = [from.as_ptr(), to.as_ptr()]
            .map(|numbers| unsafe { simd.load(numbers.wrapping_add(at)) });
        let sum = simd.mul_add(a, simd.splat(1.0), b);
        // SAFETY: as above.
        unsafe { simd.store(to.as_mut_ptr().wrapping_add(at), sum) };
    }
    for (to, from) in to[whole..].iter_mut().zip(&from[whole..]) {
        *to += *from;
    }
}

/// `copy_from_slice`, inlined.
#[inline(always)]
pub(crate) fn copy<S: Simd>(simd: S, from: &[f32], to: &mut [f32]) {
    assert_eq!(from.len(), to.len());
    let Some(last) = to.len().checked_sub(S::LANES) else {
        for (to, from) in to.iter_mut().zip(from) {
            *to = *from;
        }
        return;
    };
    let mut at = 0;
    loop {
        // SAFETY: both have as many numbers, and no vector begins after the last that fits.
        let vector = unsafe { simd.load(from.as_ptr().wrapping_add(at)) };
        // SAFETY: as above.
        unsafe { simd.store(to.as_mut_ptr().wrapping_add(at), vector) };
        if at == last {
            return;
        }
        at = last.min(at + S::LANES);
    }
}

/// `fill(0.0)`, inlined.
#[inline(always)]
pub(crate) fn zero<S: Simd>(simd: S, to: &mut [f32]) {
    let Some(last) = to.len().checked_sub(S::LANES) else {
        for to in to {
            *to = 0.0;
        }
        return;
    };
    let mut at = 0;
    loop {
        // SAFETY: no vector begins after the last that fits.
        unsafe { simd.store(to.as_mut_ptr().wrapping_add(at), simd.splat(0.0)) };
        if at == last {
            return;
        }
        at = last.min(at + S::LANES);
    }
}
