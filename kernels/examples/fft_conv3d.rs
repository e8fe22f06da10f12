//! Times the FFT convolution on the layers of the published network: best of several runs, in milliseconds.
//!
//! `cargo run --release -p brainage-kernels --example fft_conv3d -- [RUNS]`

#![expect(clippy::print_stdout, reason = "prints its table")]

use std::hint::black_box;
use std::time::Instant;

use brainage_kernels::conv3d::{Geometry, fft};

fn best<R>(runs: usize, mut work: impl FnMut() -> R) -> f64 {
    (0..runs)
        .map(|_| {
            let start = Instant::now();
            black_box(work());
            start.elapsed().as_secs_f64() * 1e3
        })
        .fold(f64::INFINITY, f64::min)
}

fn noise(len: usize) -> Vec<f32> {
    let mut state = 1_u32;
    (0..len)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 23) as f32 - 1.0
        })
        .collect()
}

fn main() -> Result<(), rayon::ThreadPoolBuildError> {
    let runs = std::env::args().nth(1).and_then(|runs| runs.parse().ok());
    let runs = runs.unwrap_or(10);
    let layers = [(1, 16, 128), (16, 32, 61), (32, 64, 28), (64, 128, 11)];
    println!("layer            threads  forward   pooled  input gr. weight gr.  (estimates)   MB");
    for (in_channels, out_channels, side) in layers {
        let g = Geometry {
            batch: 1,
            in_channels,
            out_channels,
            input: [side; 3],
            kernel: [6; 3],
            stride: [1; 3],
            padding: [0; 3],
        };
        let (input, weight) = (noise(g.input_len()), noise(g.weight_len()));
        let gradient = noise(g.output_len());
        for threads in [1, 2] {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()?;
            let times = pool.install(|| {
                [
                    best(runs, || fft::forward(&g, &input, &weight, None)),
                    best(runs, || fft::forward_pooled(&g, &input, &weight, None)),
                    best(runs, || fft::input_gradient(&g, &gradient, &weight)),
                    best(runs, || fft::weight_gradient(&g, &input, &gradient)),
                ]
            });
            let estimates = [
                brainage_kernels::conv3d::Pass::Forward,
                brainage_kernels::conv3d::Pass::InputGradient,
                brainage_kernels::conv3d::Pass::WeightGradient,
            ]
            .map(|pass| format!("{:.1}", fft::cycles(&g, pass) / 2.5e6));
            println!(
                "{:<16} {threads:>7} {:>8.1} {:>8.1} {:>10.1} {:>10.1}  {}  {:.0}",
                format!("{in_channels}→{out_channels} {side}³"),
                times[0],
                times[1],
                times[2],
                times[3],
                estimates.join(" "),
                fft::workspace_bytes(&g) as f64 / 1e6
            );
        }
    }
    Ok(())
}
