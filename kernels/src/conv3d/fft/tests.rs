use proptest::prelude::*;

use super::super::{Geometry, reference};
use super::*;
use crate::max_pool3d;

fn noise(len: usize, seed: u32) -> Vec<f32> {
    let mut state = seed.wrapping_mul(747_796_405) | 1;
    (0..len)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 23) as f32 - 1.0
        })
        .collect()
}

/// Largest difference, relative to the largest expected value.
fn error(found: &[f32], expected: &[f64]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let scale = expected.iter().fold(0.0_f64, |m, v| m.max(v.abs()));
    let worst = found
        .iter()
        .zip(expected)
        .fold(0.0_f64, |m, (f, e)| m.max((f64::from(*f) - e).abs()));
    if scale == 0.0 { worst } else { worst / scale }
}

/// Runs in a pool of its own.
fn with_threads<R: Send>(threads: usize, work: impl FnOnce() -> R + Send) -> R {
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .unwrap()
        .install(work)
}

struct Arrays {
    input: Vec<f32>,
    weight: Vec<f32>,
    bias: Vec<f32>,
    gradient: Vec<f32>,
}

fn arrays(g: &Geometry, seed: u32) -> Arrays {
    Arrays {
        input: noise(g.input_len(), seed),
        weight: noise(g.weight_len(), seed + 1),
        bias: noise(g.out_channels, seed + 2),
        gradient: noise(g.output_len(), seed + 3),
    }
}

/// All passes against the definition, on both paths, and their bits for one and two threads.
fn check(g: &Geometry, seed: u32) {
    let a = arrays(g, seed);
    let forward = reference::forward(g, &a.input, &a.weight, &a.bias);
    let input_gradient = reference::input_gradient(g, &a.gradient, &a.weight);
    let weight_gradient = reference::weight_gradient(g, &a.input, &a.gradient);
    for path in [Path::detect(), Path::Portable] {
        let run = |threads| {
            with_threads(threads, || {
                (
                    forward_on(path, g, &a.input, &a.weight, Some(&a.bias)),
                    input_gradient_on(path, g, &a.gradient, &a.weight),
                    weight_gradient_on(path, g, &a.input, &a.gradient),
                    forward_pooled_on(path, g, &a.input, &a.weight, Some(&a.bias)),
                )
            })
        };
        let found = run(1);
        assert!(found == run(2), "threads change the result of {g:?}");
        for (pass, error) in [
            ("forward", error(&found.0, &forward)),
            ("input gradient", error(&found.1, &input_gradient)),
            ("weight gradient", error(&found.2, &weight_gradient)),
        ] {
            assert!(
                error <= 1e-5,
                "{pass} of {g:?} on {path:?}: error {error:e}"
            );
        }
        let [x, y, z] = g.output();
        let dims = [g.batch, g.out_channels, x, y, z];
        assert!(
            found.3 == max_pool3d::forward(&found.0, dims),
            "pooling of {g:?}"
        );
    }
}

fn axis() -> impl Strategy<Value = [usize; 3]> {
    prop::array::uniform3(1_usize..=7)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn all_passes_equal_the_definition_for_any_geometry(
        batch in 1_usize..=2,
        in_channels in 1_usize..=5,
        out_channels in 1_usize..=6,
        input in prop::array::uniform3(1_usize..=23),
        kernel in axis(),
        padding in prop::array::uniform3(0_usize..=3),
        seed in any::<u16>(),
    ) {
        let g = Geometry { batch, in_channels, out_channels, input, kernel, stride: [1; 3], padding };
        check(&g, seed.into());
    }
}

fn geometry(channels: [usize; 2], input: [usize; 3], kernel: [usize; 3]) -> Geometry {
    Geometry {
        batch: 1,
        in_channels: channels[0],
        out_channels: channels[1],
        input,
        kernel,
        stride: [1; 3],
        padding: [0; 3],
    }
}

#[test]
fn several_bands_of_several_tiles_that_do_not_divide_equal_the_definition() {
    check(&geometry([2, 3], [83, 47, 45], [2, 3, 5]), 1);
    check(&geometry([1, 2], [41, 77, 39], [6, 2, 3]), 2);
}

#[test]
fn a_geometry_without_output_gives_empty_output_and_zero_gradients() {
    let g = geometry([2, 3], [4, 9, 9], [5, 2, 2]);
    let a = arrays(&g, 3);
    assert!(forward(&g, &a.input, &a.weight, None).is_empty());
    assert_eq!(
        input_gradient(&g, &a.gradient, &a.weight),
        vec![0.0; g.input_len()]
    );
    assert_eq!(
        weight_gradient(&g, &a.input, &a.gradient),
        vec![0.0; g.weight_len()]
    );
}

#[test]
fn sizes_of_zero_and_slices_too_short_do_not_panic() {
    for at in 0..9 {
        let mut sides = [2, 2, 3, 7, 7, 7, 2, 2, 2];
        sides[at] = 0;
        let [batch, in_channels, out_channels, x, y, z, kx, ky, kz] = sides;
        let g = Geometry {
            batch,
            in_channels,
            out_channels,
            input: [x, y, z],
            kernel: [kx, ky, kz],
            stride: [1; 3],
            padding: [2; 3],
        };
        if supports(&g) {
            check(&g, 4);
        }
    }
    let g = geometry([1, 1], [5; 3], [2; 3]);
    assert!(forward(&g, &[1.0; 124], &[1.0; 8], None).is_empty());
    assert!(weight_gradient(&g, &[1.0; 125], &[1.0; 63]).is_empty());
}

#[test]
fn padding_far_wider_than_a_tile_is_zeros() {
    let mut g = geometry([1, 2], [3, 4, 5], [3; 3]);
    g.padding = [50, 30, 20];
    check(&g, 5);
}

#[test]
fn nan_spoils_only_the_tiles_that_contain_it() {
    let g = geometry([1, 2], [90, 8, 8], [3; 3]);
    let mut a = arrays(&g, 6);
    a.input[0] = f32::NAN;
    let output = forward(&g, &a.input, &a.weight, None);
    let volume = g.output().iter().product::<usize>();
    for channel in output.chunks(volume) {
        assert!(channel[0].is_nan());
        assert!(channel[volume / 2..].iter().all(|value| value.is_finite()));
    }
}
