//! Prints what a convolution with max-pooling costs in milliseconds, as one operation and as two.
//!
//! `cargo run --release -p brainage-kernels --example stage_speed -- [threads] [part of a shape's name]`
#![expect(
    clippy::print_stdout,
    clippy::expect_used,
    reason = "a table for developers"
)]

use brainage_kernels::conv3d::{self, Algorithm, Geometry, PooledGradient};
use brainage_kernels::max_pool3d;
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
    println!("{n_threads} threads; milliseconds: convolution alone, then pooled, at once");
    println!(
        "{:28}{:7}{:>28}{:>28}",
        "", "", "forward", "weight and bias gradient"
    );
    for (name, geometry) in shapes() {
        if name.contains(&wanted) {
            for algorithm in Algorithm::ALL {
                pool.install(|| print_row(name, &geometry, algorithm));
            }
        }
    }
}

fn print_row(name: &str, g: &Geometry, algorithm: Algorithm) {
    // Without a pattern: which voxel is largest must not be foreseen.
    let numbers = |len: usize| -> Vec<f32> {
        let mixed = (0..len as u32).map(|at| at.wrapping_mul(0x9E37_79B1).rotate_left(13));
        mixed
            .map(|at| at.wrapping_mul(0x85EB_CA77) as f32 / 4e9 - 0.5)
            .collect()
    };
    let (input, weight) = (numbers(g.input_len()), numbers(g.weight_len()));
    let [x, y, z] = g.output();
    let dims = [g.batch, g.out_channels, x, y, z];
    let pooled = conv3d::forward_pooled(algorithm, g, &input, &weight, None);
    let values = &numbers(pooled.values.len());
    let positions = &pooled.positions;
    let full = max_pool3d::backward(values, positions, dims);
    let forward = [
        best(|| conv3d::forward(algorithm, g, &input, &weight, None)),
        best(|| max_pool3d::forward(&conv3d::forward(algorithm, g, &input, &weight, None), dims)),
        best(|| conv3d::forward_pooled(algorithm, g, &input, &weight, None)),
    ];
    let backward = [
        best(|| conv3d::weight_gradient(algorithm, g, &input, &full)),
        best(|| {
            let full = max_pool3d::backward(values, positions, dims);
            let bias = conv3d::bias_gradient(g, &full);
            (bias, conv3d::weight_gradient(algorithm, g, &input, &full))
        }),
        best(|| {
            let gradient = PooledGradient { values, positions };
            let bias = conv3d::pooled_bias_gradient(g, values);
            (
                bias,
                conv3d::pooled_weight_gradient(algorithm, g, &input, gradient),
            )
        }),
    ];
    let cells = [forward, backward].map(|[alone, then, at_once]| {
        format!(
            "{:8.2} {:8.2} {:8.2}",
            1e3 * alone,
            1e3 * then,
            1e3 * at_once
        )
    });
    let name_of = format!("{algorithm:?}");
    println!("{name:28}{name_of:7}{:>28}{:>28}", cells[0], cells[1]);
}

/// Shortest of several runs, in seconds.
fn best<T>(work: impl Fn() -> T) -> f64 {
    let begin = Instant::now();
    let mut best = f64::INFINITY;
    let mut runs = 0;
    while runs < 3 || (begin.elapsed().as_secs_f64() < 0.3 && runs < 100) {
        let start = Instant::now();
        let result = work();
        best = best.min(start.elapsed().as_secs_f64());
        drop(black_box(result));
        runs += 1;
    }
    best
}

/// Stages of the small network and of the published one.
fn shapes() -> Vec<(&'static str, Geometry)> {
    let shape =
        |batch, [in_channels, out_channels]: [usize; 2], input, kernel: usize, padding| Geometry {
            batch,
            in_channels,
            out_channels,
            input,
            kernel: [kernel; 3],
            stride: [1; 3],
            padding: [padding; 3],
        };
    vec![
        ("small 1-8 48x56x48", shape(4, [1, 8], [48, 56, 48], 3, 1)),
        ("small 8-16 24x28x24", shape(4, [8, 16], [24, 28, 24], 3, 1)),
        (
            "small 16-32 12x14x12",
            shape(4, [16, 32], [12, 14, 12], 3, 1),
        ),
        ("small 32-64 6x7x6", shape(4, [32, 64], [6, 7, 6], 3, 1)),
        ("published 1-16 128", shape(1, [1, 16], [128; 3], 6, 0)),
        ("published 16-32 61", shape(1, [16, 32], [61; 3], 6, 0)),
        ("published 32-64 28", shape(1, [32, 64], [28; 3], 6, 0)),
        ("published 64-128 11", shape(1, [64, 128], [11; 3], 6, 0)),
    ]
}
