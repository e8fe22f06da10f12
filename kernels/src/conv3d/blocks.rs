//! The inner loop of values and input gradients: a block of output channels × vectors of positions, held in registers.
#![expect(unsafe_code, reason = "unchecked loads and stores in the inner loop")]
#![expect(
    clippy::inline_always,
    reason = "so that the caller's instruction set reaches the code"
)]

use super::packing::Segment;
use super::simd::{Kernel, Simd};
use std::mem::MaybeUninit;

/// Output channels of a block. With three vectors of positions they fill 12 of AVX2's 16 registers, three more hold the
/// inputs and one the weight.
pub(crate) const CHANNELS: usize = 4;
const VECTORS: usize = 3;
/// Products that are added one after the other; the sums of such chains are added in turn. Longer chains would round
/// more away than a millionth of the result.
const CHAIN: usize = 108;
/// What a packed buffer needs behind its last number: blocks may read, and then discard, that much.
pub(crate) const SLACK: usize = 64;

/// What a block's products are added to.
#[derive(Clone, Copy)]
pub(crate) enum Start<'a> {
    /// One number for each output channel, or zero.
    Bias(Option<&'a [f32]>),
    /// What the output already holds: the sum over earlier input channels. It is added last, for sums of sums lose
    /// fewer digits than one long sum.
    Output,
}

/// Adds the products of one block of input channels to one tile of outputs.
pub(crate) struct Accumulate<'a, 'o> {
    pub(crate) start: Start<'a>,
    /// Packed inputs, with [`SLACK`].
    pub(crate) inputs: &'a [f32],
    /// Taps of all input channels of the block.
    pub(crate) n_taps: usize,
    pub(crate) segments: &'a [Segment<'a>],
    /// `[block of output channels][tap][channel of the block]`
    pub(crate) weights: &'a [f32],
    /// One slice for each output channel: its positions of this tile.
    pub(crate) outputs: &'a mut [&'o mut [MaybeUninit<f32>]],
}

impl<'a, 'o> Accumulate<'a, 'o> {
    /// # Safety
    /// With [`Start::Output`], the segments of all outputs must have been written before.
    pub(crate) unsafe fn vouched(self) -> Vouched<'a, 'o> {
        Vouched(self)
    }
}

/// A task whose caller has vouched for what its outputs hold.
pub(crate) struct Vouched<'a, 'o>(Accumulate<'a, 'o>);

impl Kernel for Vouched<'_, '_> {
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let mut task = self.0;
        // Channels outside: the outputs are then written in runs, however far apart their channels are.
        let n_channels = task.outputs.len();
        for first in (0..n_channels).step_by(CHANNELS) {
            match n_channels - first {
                1 => task.channels::<S, 1>(simd, first),
                2 => task.channels::<S, 2>(simd, first),
                3 => task.channels::<S, 3>(simd, first),
                _ => task.channels::<S, 4>(simd, first),
            }
        }
    }
}

/// Positions that blocks run over: where they begin in a segment, and how many they are.
#[derive(Clone, Copy)]
struct Run {
    first: usize,
    len: usize,
}

impl Accumulate<'_, '_> {
    #[inline(always)]
    fn channels<S: Simd, const M: usize>(&mut self, simd: S, first: usize) {
        for segment in self.segments {
            let vectors = segment.len.div_ceil(S::LANES);
            // Two and two are faster than three and one.
            let threes = match vectors % VECTORS {
                1 => (vectors / VECTORS).saturating_sub(1),
                2 => vectors / VECTORS,
                _ => vectors.div_ceil(VECTORS),
            };
            let threes = segment.len.min(threes * VECTORS * S::LANES);
            let rest = Run {
                first: threes,
                len: segment.len - threes,
            };
            if threes > 0 {
                let run = Run {
                    first: 0,
                    len: threes,
                };
                self.blocks::<S, M, VECTORS>(simd, segment, run, first);
            }
            if rest.len > S::LANES {
                self.blocks::<S, M, 2>(simd, segment, rest, first);
            } else if rest.len > 0 {
                self.blocks::<S, M, 1>(simd, segment, rest, first);
            }
        }
    }

    #[inline(always)]
    fn blocks<S: Simd, const M: usize, const N: usize>(
        &mut self,
        simd: S,
        segment: &Segment<'_>,
        run: Run,
        first: usize,
    ) {
        let (offsets, furthest) = segment.offsets.first(self.n_taps);
        simd.call(Blocks::<M, N> {
            start: match self.start {
                Start::Bias(bias) => Start::Bias(bias.map(|bias| &bias[first..first + M])),
                Start::Output => Start::Output,
            },
            inputs: &self.inputs[run.first..],
            offsets,
            furthest,
            weights: &self.weights[first * self.n_taps..][..M * self.n_taps],
            outputs: &mut self.outputs[first..first + M],
            position: segment.position + run.first,
            len: run.len,
        });
    }
}

/// The products of M output channels, N vectors of positions after the other.
struct Blocks<'a, 'o, const M: usize, const N: usize> {
    start: Start<'a>,
    inputs: &'a [f32],
    offsets: &'a [usize],
    furthest: usize,
    weights: &'a [f32],
    outputs: &'a mut [&'o mut [MaybeUninit<f32>]],
    position: usize,
    len: usize,
}

impl<const M: usize, const N: usize> Kernel for Blocks<'_, '_, M, N> {
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        for done in (0..self.len).step_by(N * S::LANES) {
            let mut sums = [[simd.splat(0.0); N]; M];
            if let Start::Bias(Some(bias)) = self.start {
                for (sums, bias) in sums.iter_mut().zip(bias) {
                    *sums = [simd.splat(*bias); N];
                }
            }
            self.multiply(simd, done, &mut sums);
            let first = self.position + done;
            let end = first + (self.len - done).min(N * S::LANES);
            for (sums, output) in sums.iter_mut().zip(&mut *self.outputs) {
                let row = &mut output[first..end];
                if let Start::Output = self.start {
                    // SAFETY: the caller of `vouched` knows the outputs to be written.
                    let row = unsafe { row.assume_init_ref() };
                    let before: [S::Vector; N] = load_row(simd, row);
                    for (sum, before) in sums.iter_mut().zip(before) {
                        *sum = simd.mul_add(simd.splat(1.0), *sum, before);
                    }
                }
                store_row(simd, sums, row);
            }
        }
    }
}

impl<const M: usize, const N: usize> Blocks<'_, '_, M, N> {
    /// Adds the products of the block that begins `done` positions into the run.
    #[inline(always)]
    fn multiply<S: Simd>(&self, simd: S, done: usize, sums: &mut [[S::Vector; N]; M]) {
        let inputs = &self.inputs[done..];
        let (first, rest) = self.offsets.split_at(self.offsets.len().min(CHAIN));
        let (weights, more_weights) = self.weights.split_at(first.len() * M);
        multiply(simd, inputs, (first, self.furthest), weights, sums);
        for (offsets, weights) in rest.chunks(CHAIN).zip(more_weights.chunks(CHAIN * M)) {
            let mut chain = [[simd.splat(0.0); N]; M];
            multiply(simd, inputs, (offsets, self.furthest), weights, &mut chain);
            for (sums, chain) in sums.iter_mut().flatten().zip(chain.iter().flatten()) {
                *sums = simd.mul_add(simd.splat(1.0), *chain, *sums);
            }
        }
    }
}

#[inline(always)]
fn multiply<S: Simd, const M: usize, const N: usize>(
    simd: S,
    inputs: &[f32],
    (offsets, furthest): (&[usize], usize),
    weights: &[f32],
    sums: &mut [[S::Vector; N]; M],
) {
    assert!(furthest + N * S::LANES <= inputs.len());
    let mut total = *sums;
    for (offset, weights) in offsets.iter().zip(weights.as_chunks::<M>().0) {
        let mut vectors = [simd.splat(0.0); N];
        for (n, vector) in vectors.iter_mut().enumerate() {
            let from = inputs.as_ptr().wrapping_add(offset + n * S::LANES);
            // SAFETY: no offset is beyond `furthest`, and the assertion leaves room for N vectors after it.
            *vector = unsafe { simd.load(from) };
        }
        for (total, weight) in total.iter_mut().zip(weights) {
            let weight = simd.splat_next(weight);
            for n in 0..N {
                total[n] = simd.mul_add(weight, vectors[n], total[n]);
            }
        }
    }
    *sums = total;
}

#[inline(always)]
fn load_row<S: Simd, const N: usize>(simd: S, row: &[f32]) -> [S::Vector; N] {
    let mut vectors = [simd.splat(0.0); N];
    if row.len() >= N * S::LANES {
        for (n, vector) in vectors.iter_mut().enumerate() {
            let from = row.as_ptr().wrapping_add(n * S::LANES);
            // SAFETY: the row has N vectors.
            *vector = unsafe { simd.load(from) };
        }
    } else {
        for (vector, part) in vectors.iter_mut().zip(row.chunks(S::LANES)) {
            *vector = simd.load_part(part);
        }
    }
    vectors
}

#[inline(always)]
fn store_row<S: Simd, const N: usize>(
    simd: S,
    vectors: &[S::Vector; N],
    row: &mut [MaybeUninit<f32>],
) {
    if row.len() >= N * S::LANES {
        for (n, vector) in vectors.iter().enumerate() {
            let to = row.as_mut_ptr().wrapping_add(n * S::LANES).cast();
            // SAFETY: the row has room for N vectors.
            unsafe { simd.store(to, *vector) };
        }
    } else {
        let mut whole = [0.0; 16];
        assert!(S::LANES <= whole.len());
        for (vector, part) in vectors.iter().zip(row.chunks_mut(S::LANES)) {
            // SAFETY: `whole` has room for a vector.
            unsafe { simd.store(whole.as_mut_ptr(), *vector) };
            for (to, value) in part.iter_mut().zip(whole) {
                to.write(value);
            }
        }
    }
}
