//! The inner loop of weight gradients: dot products along the positions, for a block of output channels × taps.
#![expect(unsafe_code, reason = "unchecked loads in the inner loop")]
#![expect(
    clippy::inline_always,
    reason = "so that the caller's instruction set reaches the code"
)]

use super::blocks::CHANNELS;
use super::packing::Segment;
use super::simd::{Kernel, Simd};

const TAPS: usize = 3;
/// Positions that one dot product runs over before it is added to the sums: long enough that adding up the lanes costs
/// little, short enough that the gradients of [`GROUP`] channels stay in the innermost cache.
pub(crate) const POSITIONS: usize = 768;
const GROUP: usize = 8;

/// Adds products of output gradients and inputs to the sums of a block of input channels.
pub(crate) struct Dots<'a> {
    pub(crate) n_channels: usize,
    /// Packed inputs.
    pub(crate) inputs: &'a [f32],
    /// Taps of all input channels of the block.
    pub(crate) n_taps: usize,
    /// Of equal length.
    pub(crate) segments: &'a [DotSegment<'a>],
    /// `[four output channels][tap][output channel]`; f64, since volumes have more positions than f32 has digits.
    pub(crate) sums: &'a mut [f64],
}

/// A run of positions.
pub(crate) struct DotSegment<'a> {
    pub(crate) segment: Segment<'a>,
    /// What the segment's offsets are counted from.
    pub(crate) inputs_from: usize,
    /// The run in each output channel.
    pub(crate) gradients: Vec<&'a [f32]>,
}

/// Positions of one dot product: in each of some segments, `len` positions from `first` on.
#[derive(Clone, Copy)]
struct Span<'a> {
    segments: &'a [DotSegment<'a>],
    first: usize,
    len: usize,
}

impl Kernel for Dots<'_> {
    #[inline(always)]
    fn run<S: Simd>(mut self, simd: S) {
        let len = self.segments.first().map_or(0, |first| first.segment.len);
        let at_once = (POSITIONS / len.max(1)).max(1);
        let pieces = len.div_ceil(POSITIONS).max(1);
        let piece = len.div_ceil(pieces).next_multiple_of(S::LANES);
        for segments in self.segments.chunks(at_once) {
            for first in (0..len).step_by(piece) {
                let span = Span {
                    segments,
                    first,
                    len: piece.min(len - first),
                };
                self.all_channels(simd, span);
            }
        }
    }
}

impl Dots<'_> {
    #[inline(always)]
    fn all_channels<S: Simd>(&mut self, simd: S, span: Span<'_>) {
        let n_channels = self.n_channels;
        for group in (0..n_channels).step_by(GROUP) {
            let end = n_channels.min(group + GROUP);
            for tap in (0..self.n_taps).step_by(TAPS) {
                for channel in (group..end).step_by(CHANNELS) {
                    let channels = (end - channel).min(CHANNELS);
                    match (channels, (self.n_taps - tap).min(TAPS)) {
                        (4, 3) => self.block::<S, 4, 3>(simd, span, channel, tap),
                        (4, 2) => self.block::<S, 4, 2>(simd, span, channel, tap),
                        (4, _) => self.block::<S, 4, 1>(simd, span, channel, tap),
                        (_, taps) => {
                            for channel in channel..channel + channels {
                                match taps {
                                    3 => self.block::<S, 1, 3>(simd, span, channel, tap),
                                    2 => self.block::<S, 1, 2>(simd, span, channel, tap),
                                    _ => self.block::<S, 1, 1>(simd, span, channel, tap),
                                }
                            }
                        }
                    }
                }
            }
        }
    }

    #[inline(always)]
    fn block<S: Simd, const M: usize, const T: usize>(
        &mut self,
        simd: S,
        span: Span<'_>,
        channel: usize,
        tap: usize,
    ) {
        let mut sums = [[simd.splat(0.0); T]; M];
        for run in span.segments {
            let offsets = run.segment.offsets.first(self.n_taps).0;
            let mut inputs: [&[f32]; T] = [&[]; T];
            for (input, offset) in inputs.iter_mut().zip(&offsets[tap..]) {
                let from = run.inputs_from + offset + span.first;
                *input = &self.inputs[from..from + span.len];
            }
            let mut gradients: [&[f32]; M] = [&[]; M];
            for (gradient, channel) in gradients.iter_mut().zip(&run.gradients[channel..]) {
                *gradient = &channel[span.first..span.first + span.len];
            }
            multiply(simd, inputs, gradients, span.len, &mut sums);
        }
        for t in 0..T {
            let to = (channel / CHANNELS * self.n_taps + tap + t) * CHANNELS + channel % CHANNELS;
            let to = &mut self.sums[to..to + M];
            if let Ok(to) = <&mut [f64; 4]>::try_from(&mut *to) {
                let four = simd.sums(std::array::from_fn(|m| sums[m % M][t]));
                for (to, sum) in to.iter_mut().zip(four) {
                    *to += f64::from(sum);
                }
            } else {
                for (to, sums) in to.iter_mut().zip(sums) {
                    *to += f64::from(simd.sum(sums[t]));
                }
            }
        }
    }
}

#[inline(always)]
fn multiply<S: Simd, const M: usize, const T: usize>(
    simd: S,
    inputs: [&[f32]; T],
    gradients: [&[f32]; M],
    len: usize,
    sums: &mut [[S::Vector; T]; M],
) {
    assert!(inputs.iter().all(|input| input.len() == len));
    assert!(gradients.iter().all(|gradient| gradient.len() == len));
    let whole = len / S::LANES * S::LANES;
    let mut total = *sums;
    for at in (0..whole).step_by(S::LANES) {
        let mut vectors = [simd.splat(0.0); T];
        for (vector, input) in vectors.iter_mut().zip(inputs) {
            // SAFETY: each input has `len` numbers, and a vector at `at` ends at `whole` at the latest.
            *vector = unsafe { simd.load(input.as_ptr().wrapping_add(at)) };
        }
        for m in 0..M {
            // SAFETY: as for the inputs.
            let gradient = unsafe { simd.load(gradients[m].as_ptr().wrapping_add(at)) };
            for t in 0..T {
                total[m][t] = simd.mul_add(gradient, vectors[t], total[m][t]);
            }
        }
    }
    if whole < len {
        // Both factors end in zeros: what lies behind may be infinite.
        let mut vectors = [simd.splat(0.0); T];
        for (vector, input) in vectors.iter_mut().zip(inputs) {
            *vector = simd.load_part(&input[whole..]);
        }
        for m in 0..M {
            let gradient = simd.load_part(&gradients[m][whole..]);
            for t in 0..T {
                total[m][t] = simd.mul_add(gradient, vectors[t], total[m][t]);
            }
        }
    }
    *sums = total;
}
