//! The most multiply-adds that this machine can do, measured: what the speed of kernels is compared with.
#![expect(
    clippy::inline_always,
    reason = "so that the caller's instruction set reaches the code"
)]

use std::hint::black_box;
use std::time::Instant;

use crate::conv3d::simd::{Kernel, Level, Simd};

/// Independent sums, so that no multiply-add waits for the one before.
const SUMS: usize = 12;
/// Multiply-adds on each sum in a run: a few milliseconds.
const TURNS: usize = 1_000_000;
/// Runs, of which the fastest counts: others may have been disturbed.
const RUNS: usize = 5;

/// Multiply-adds of f32 in registers that the threads of the current rayon pool do at the same time, in GFLOP/s: each
/// multiply-add counts as two operations.
///
/// With the longest vectors that our kernels use on this processor: AVX-512, AVX2 with FMA, or what the compiler makes of a
/// product and a sum. Takes about 20 ms. It is the sum of each thread's fastest run, so that a busy machine is measured as
/// if it were a little less so.
pub fn gflops() -> f64 {
    rayon::broadcast(|_| gflops_of_this_thread()).iter().sum()
}

fn gflops_of_this_thread() -> f64 {
    let mut lanes = 0;
    let seconds = (0..RUNS).map(|_| {
        let start = Instant::now();
        Level::widest().run(MultiplyAdds { lanes: &mut lanes });
        start.elapsed().as_secs_f64()
    });
    let fastest = seconds.fold(f64::INFINITY, f64::min);
    (2 * TURNS * SUMS * lanes) as f64 * 1e-9 / fastest
}

struct MultiplyAdds<'a> {
    lanes: &'a mut usize,
}

impl Kernel for MultiplyAdds<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        *self.lanes = S::LANES;
        let mut sums = [simd.splat(black_box(1.0)); SUMS];
        let factor = simd.splat(black_box(0.5));
        for _ in 0..TURNS {
            for sum in &mut sums {
                *sum = simd.mul_add(*sum, factor, factor);
            }
        }
        black_box(sums.map(|sum| simd.sum(sum)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_has_a_peak() {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build();
        let gflops = pool.expect("a thread").install(gflops);
        // From an embedded processor to one that does not exist yet.
        assert!((0.01..10_000.0).contains(&gflops), "{gflops}");
    }
}
