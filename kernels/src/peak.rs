//! The most multiply-adds that this machine can do, measured: what the speed of kernels is compared with.

use std::hint::black_box;
use std::time::Instant;

/// Independent sums, so that no multiply-add waits for the one before.
const SUMS: usize = 12;
/// Numbers in a sum: an AVX2 vector of f32.
const LANES: usize = 8;
/// Multiply-adds on each sum in a run: a few milliseconds.
const TURNS: usize = 1_000_000;
/// Runs, of which the fastest counts: others may have been disturbed.
const RUNS: usize = 5;

/// Multiply-adds of f32 in registers that the threads of the current rayon pool do at the same time, in GFLOP/s: each
/// multiply-add counts as two operations.
///
/// With AVX2 and FMA where the processor has them, as our kernels use them (one with AVX-512 can do more); elsewhere with
/// what the compiler makes of a product and a sum. Takes about 20 ms. It is the sum of each thread's fastest run, so that a
/// busy machine is measured as if it were a little less so.
pub fn gflops() -> f64 {
    rayon::broadcast(|_| gflops_of_this_thread()).iter().sum()
}

fn gflops_of_this_thread() -> f64 {
    let seconds = (0..RUNS).map(|_| {
        let start = Instant::now();
        run();
        start.elapsed().as_secs_f64()
    });
    let fastest = seconds.fold(f64::INFINITY, f64::min);
    (2 * TURNS * SUMS * LANES) as f64 * 1e-9 / fastest
}

fn run() {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
        // SAFETY: the processor has AVX2 and FMA.
        #[expect(unsafe_code, reason = "instructions that not every processor has")]
        unsafe {
            multiply_add_avx2();
        }
        return;
    }
    multiply_add();
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn multiply_add_avx2() {
    use std::arch::x86_64::{_mm256_fmadd_ps, _mm256_set1_ps};
    let mut sums = [_mm256_set1_ps(black_box(1.0)); SUMS];
    let factor = _mm256_set1_ps(black_box(0.5));
    for _ in 0..TURNS {
        for sum in &mut sums {
            *sum = _mm256_fmadd_ps(*sum, factor, factor);
        }
    }
    black_box(sums);
}

fn multiply_add() {
    let mut sums = [[black_box(1.0f32); LANES]; SUMS];
    let factor = black_box(0.5);
    for _ in 0..TURNS {
        for sum in sums.as_flattened_mut() {
            *sum = *sum * factor + factor;
        }
    }
    black_box(sums);
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
