//! Prints how fast each convolution algorithm is on this machine, in GFLOP/s and as a share of the FMA peak.
//!
//! `cargo run --release -p brainage-kernels --example conv_speed -- [threads] [part of a shape's name]`
#![expect(
    clippy::print_stdout,
    clippy::expect_used,
    unsafe_code,
    reason = "a table for developers; the peak needs FMA instructions"
)]

use brainage_kernels::conv3d::{self, Algorithm, Geometry};
use std::hint::black_box;
use std::time::Instant;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let n_threads = arguments.next().and_then(|n| n.parse().ok()).unwrap_or(1);
    let wanted = arguments.next().unwrap_or_default();
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(n_threads)
        .build()
        .expect("no pool");
    let peak: f64 = pool.broadcast(|_| peak_gflops()).iter().sum();
    println!("{n_threads} threads, FMA peak {peak:.0} GFLOP/s (GFLOP/s, share of the peak, ms)");
    println!(
        "{:32}{:7}{:>18}{:>18}{:>18}",
        "", "", "forward", "input gradient", "weight gradient"
    );
    for (name, geometry) in shapes() {
        if name.contains(&wanted) {
            for algorithm in Algorithm::ALL {
                pool.install(|| print_row(name, &geometry, algorithm, peak));
            }
        }
    }
}

fn print_row(name: &str, g: &Geometry, algorithm: Algorithm, peak: f64) {
    let input = vec![0.5; g.input_len()];
    let weight = vec![0.5; g.weight_len()];
    let gradient = vec![0.5; g.output_len()];
    let seconds = [
        best(|| conv3d::forward(algorithm, g, &input, &weight, None)),
        best(|| conv3d::input_gradient(algorithm, g, &gradient, &weight)),
        best(|| conv3d::weight_gradient(algorithm, g, &input, &gradient)),
    ];
    let cells = seconds.map(|seconds| {
        let gflops = 2e-9 * g.macs() as f64 / seconds;
        format!(
            "{gflops:6.1}{:4.0}%{:7.2}",
            100.0 * gflops / peak,
            1e3 * seconds
        )
    });
    println!(
        "{name:32}{:7}{:>18}{:>18}{:>18}",
        format!("{algorithm:?}"),
        cells[0],
        cells[1],
        cells[2]
    );
}

/// Shortest of several runs, in seconds.
fn best<T>(work: impl Fn() -> T) -> f64 {
    let begin = Instant::now();
    let mut best = f64::INFINITY;
    let mut runs = 0;
    while runs < 3 || (begin.elapsed().as_secs_f64() < 0.15 && runs < 200) {
        let start = Instant::now();
        let result = work();
        best = best.min(start.elapsed().as_secs_f64());
        drop(black_box(result));
        runs += 1;
    }
    best
}

fn shapes() -> Vec<(&'static str, Geometry)> {
    let shape =
        |batch, [in_channels, out_channels]: [usize; 2], input, kernel, stride, padding| Geometry {
            batch,
            in_channels,
            out_channels,
            input,
            kernel,
            stride,
            padding,
        };
    vec![
        (
            "A 1-8 48x56x48 k3",
            shape(4, [1, 8], [48, 56, 48], [3; 3], [1; 3], [1; 3]),
        ),
        (
            "A 1-16 128 k6 p0 batch 1",
            shape(1, [1, 16], [128; 3], [6; 3], [1; 3], [0; 3]),
        ),
        (
            "A 1-16 128 k3 batch 1",
            shape(1, [1, 16], [128; 3], [3; 3], [1; 3], [1; 3]),
        ),
        (
            "B 8-16 24x28x24 k3",
            shape(4, [8, 16], [24, 28, 24], [3; 3], [1; 3], [1; 3]),
        ),
        (
            "B 16-32 12x14x12 k3",
            shape(4, [16, 32], [12, 14, 12], [3; 3], [1; 3], [1; 3]),
        ),
        (
            "B 32-64 6x7x6 k3",
            shape(4, [32, 64], [6, 7, 6], [3; 3], [1; 3], [1; 3]),
        ),
        (
            "C 8-16 24x28x24 k3 s2",
            shape(4, [8, 16], [24, 28, 24], [3; 3], [2; 3], [1; 3]),
        ),
        (
            "C 16-16 24x28x24 k1",
            shape(4, [16, 16], [24, 28, 24], [1; 3], [1; 3], [0; 3]),
        ),
        (
            "C 64-64 32x32 k3 batch 32",
            shape(32, [64, 64], [1, 32, 32], [1, 3, 3], [1; 3], [0, 1, 1]),
        ),
        (
            "C 64-128 32x32 k3 s2 batch 32",
            shape(32, [64, 128], [1, 32, 32], [1, 3, 3], [1, 2, 2], [0, 1, 1]),
        ),
        (
            "C 64-256 32x32 k1 batch 32",
            shape(32, [64, 256], [1, 32, 32], [1; 3], [1; 3], [0; 3]),
        ),
        (
            "C 256-64 32x32 k1 batch 32",
            shape(32, [256, 64], [1, 32, 32], [1; 3], [1; 3], [0; 3]),
        ),
        (
            "C 256-256 8x8 k3 batch 32",
            shape(32, [256, 256], [1, 8, 8], [1, 3, 3], [1; 3], [0, 1, 1]),
        ),
        (
            "C 512-512 4x4 k3 batch 32",
            shape(32, [512, 512], [1, 4, 4], [1, 3, 3], [1; 3], [0, 1, 1]),
        ),
        (
            "P 16-32 61 k6 p0 batch 1",
            shape(1, [16, 32], [61; 3], [6; 3], [1; 3], [0; 3]),
        ),
        (
            "P 32-64 28 k6 p0 batch 1",
            shape(1, [32, 64], [28; 3], [6; 3], [1; 3], [0; 3]),
        ),
        (
            "P 64-128 11 k6 p0 batch 1",
            shape(1, [64, 128], [11; 3], [6; 3], [1; 3], [0; 3]),
        ),
    ]
}

/// Most multiply-adds that one thread can do, counted as two operations each.
#[cfg(target_arch = "x86_64")]
fn peak_gflops() -> f64 {
    use std::arch::x86_64::{__m256, _mm256_fmadd_ps, _mm256_set1_ps};
    const TURNS: usize = 2_000_000;

    #[target_feature(enable = "avx2,fma")]
    fn turns() -> [__m256; 12] {
        let mut sums = [_mm256_set1_ps(black_box(1.0)); 12];
        let factor = _mm256_set1_ps(black_box(0.5));
        for _ in 0..TURNS {
            for sum in &mut sums {
                *sum = _mm256_fmadd_ps(*sum, factor, factor);
            }
        }
        sums
    }
    if !(is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")) {
        return f64::NAN;
    }
    let seconds = best(|| {
        // SAFETY: the processor has AVX2 and FMA.
        unsafe { turns() }
    });
    (TURNS * 12 * 8 * 2) as f64 * 1e-9 / seconds
}

#[cfg(not(target_arch = "x86_64"))]
fn peak_gflops() -> f64 {
    f64::NAN
}
