//! Copies of rows. Most are short, so a call of the library's copy would cost more than the copying.
#![expect(unsafe_code, reason = "vectors that overlap at the end of a row")]
#![expect(
    clippy::inline_always,
    reason = "so that the caller's instruction set reaches the code"
)]

use super::correlation::Correlation;
use super::simd::Simd;

/// Parts of longer vectors than this are cheaper than so many numbers one by one.
const SHORT: usize = 8;

/// How one tap sees a row along z: zeros, every `stride`-th voxel from `first` on, zeros; `len` in all.
pub(crate) struct RowCopy {
    zeros_before: usize,
    end: usize,
    first: usize,
    stride: usize,
    len: usize,
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
            len: n,
        }
    }

    /// The copies of a row without steps, a vector at a time: from which voxel on, and which lanes lie inside.
    pub(crate) fn vectors<S: Simd>(&self, simd: S) -> Option<Vec<(isize, S::Mask)>> {
        if self.stride > 1 {
            return None;
        }
        let shift = self.first as isize - self.zeros_before as isize;
        let n_vectors = self.len.div_ceil(S::LANES);
        let vector = |number: usize| {
            let at = number * S::LANES;
            let inside = self.zeros_before.saturating_sub(at)..self.end.saturating_sub(at);
            (at as isize + shift, simd.mask(inside))
        };
        Some((0..n_vectors).map(vector).collect())
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

/// `copy_from_slice`, inlined.
#[inline(always)]
pub(crate) fn copy<S: Simd>(simd: S, from: &[f32], to: &mut [f32]) {
    assert_eq!(from.len(), to.len());
    let Some(last) = to.len().checked_sub(S::LANES) else {
        if S::LANES > SHORT {
            let mask = simd.mask(0..to.len());
            // SAFETY: both have as many numbers as the mask has lanes.
            let vector = unsafe { simd.load_masked(from.as_ptr(), mask) };
            // SAFETY: as above.
            unsafe { simd.store_masked(to.as_mut_ptr(), mask, vector) };
            return;
        }
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
        if S::LANES > SHORT {
            // SAFETY: there are as many numbers as the mask has lanes.
            unsafe { simd.store_masked(to.as_mut_ptr(), simd.mask(0..to.len()), simd.splat(0.0)) };
            return;
        }
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
