use super::*;
use crate::max_pool3d;
use pooled::forward_pooled_at;
use proptest::prelude::*;
use simd::Portable;

/// Largest error that a pass may make, relative to the largest value of its result. The direct convolution adds at most some
/// hundred products in f32 before it rounds to the output; a product of matrices adds as many as the library takes in one
/// piece, thousands where kernels are large.
fn tolerance(layout: Layout) -> f64 {
    match layout {
        Layout::Rows => 1e-6,
        Layout::Columns => 5e-6,
    }
}

/// Numbers without a pattern in −1..1.
fn numbers(len: usize, seed: u32) -> Vec<f32> {
    (0..len as u32)
        .map(|at| {
            let mixed = (at ^ seed).wrapping_mul(0x9E37_79B1);
            let mixed = (mixed ^ (mixed >> 15)).wrapping_mul(0x85EB_CA77);
            (mixed >> 8) as f32 / (1 << 23) as f32 - 1.0
        })
        .collect()
}

struct Arrays {
    input: Vec<f32>,
    weight: Vec<f32>,
    bias: Vec<f32>,
    output_gradient: Vec<f32>,
}

impl Arrays {
    fn of(g: &Geometry) -> Self {
        Self {
            input: numbers(g.input_len(), 1),
            weight: numbers(g.weight_len(), 2),
            bias: numbers(g.out_channels, 3),
            output_gradient: numbers(g.output_len(), 4),
        }
    }

    /// Values, gradient of the input, gradient of the weights.
    fn passes(&self, level: Level, layout: Layout, g: &Geometry) -> [Vec<f32>; 3] {
        let bias = Some(&self.bias[..]);
        [
            forward_at(level, layout, g, (&self.input, &self.weight, bias)),
            input_gradient_at(level, layout, g, (&self.output_gradient, &self.weight)),
            weight_gradient_at(
                level,
                layout,
                g,
                (&self.input, OutputGradient::Dense(&self.output_gradient)),
            ),
        ]
    }
}

#[track_caller]
fn check_close(found: &[f32], expected: &[f64], tolerance: f64, what: impl std::fmt::Debug) {
    check_close_to(found, expected, 0.0, tolerance, what);
}

/// As [`check_close`], with a scale of at least `least`.
#[track_caller]
fn check_close_to(
    found: &[f32],
    expected: &[f64],
    least: f64,
    tolerance: f64,
    what: impl std::fmt::Debug,
) {
    assert_eq!(found.len(), expected.len(), "{what:?}");
    let scale = expected
        .iter()
        .fold(least, |scale: f64, e| scale.max(e.abs()));
    for (at, (found, expected)) in found.iter().zip(expected).enumerate() {
        let error = (f64::from(*found) - expected).abs();
        assert!(
            error <= tolerance * scale,
            "{found} instead of {expected} at {at}, scale {scale}: {what:?}"
        );
    }
}

/// Compares all algorithms on all instruction sets with the definition.
#[track_caller]
fn check(g: &Geometry) {
    let arrays = Arrays::of(g);
    let expected = [
        reference::forward(g, &arrays.input, &arrays.weight, &arrays.bias),
        reference::input_gradient(g, &arrays.output_gradient, &arrays.weight),
        reference::weight_gradient(g, &arrays.input, &arrays.output_gradient),
    ];
    let n_taps: usize = g.kernel.iter().product();
    let n_positions: usize = g.output().iter().product();
    let n_products = [
        g.in_channels * n_taps,
        g.out_channels * n_taps,
        g.batch * n_positions,
    ];
    for level in [Level::Portable(Portable), Level::detect(), Level::widest()] {
        for layout in [Layout::Rows, Layout::Columns] {
            let found = arrays.passes(level, layout, g);
            for (pass, (found, expected)) in found.iter().zip(&expected).enumerate() {
                // Where results are few, all of them may be near 0 by chance: then the scale is that of the sum of so many
                // products of numbers in −1..1, a third of the root of their number.
                let chance = (n_products[pass] as f64).sqrt() / 3.0;
                let what = (level, layout, pass, g);
                check_close_to(found, expected, chance, tolerance(layout), what);
            }
        }
    }
}

prop_compose! {
    fn geometries()(
        batch in 1usize..3,
        in_channels in 1usize..6,
        out_channels in 1usize..10,
        input in prop::array::uniform3(1usize..11),
        kernel in prop::array::uniform3(1usize..7),
        stride in prop::array::uniform3(1usize..3),
        padding in prop::array::uniform3(0usize..4),
    ) -> Geometry {
        Geometry { batch, in_channels, out_channels, input, kernel, stride, padding }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn every_algorithm_equals_the_definition(g in geometries()) {
        check(&g);
    }
}

/// Compares values that are pooled at once with pooled values, and gradients of pooled values with those of the full
/// output: no bit may differ.
#[track_caller]
fn check_pooled(g: &Geometry) {
    let arrays = Arrays::of(g);
    let [x, y, z] = g.output();
    let dims = [g.batch, g.out_channels, x, y, z];
    let operands = (
        &arrays.input[..],
        &arrays.weight[..],
        Some(&arrays.bias[..]),
    );
    for level in [Level::Portable(Portable), Level::detect(), Level::widest()] {
        for (algorithm, layout) in [
            (Algorithm::Direct, Layout::Rows),
            (Algorithm::Gemm, Layout::Columns),
        ] {
            let expected = max_pool3d::forward(&forward_at(level, layout, g, operands), dims);
            let found = forward_pooled_at(level, algorithm, g, operands);
            assert_eq!(found, expected, "{level:?} {algorithm:?} {g:?}");
            let values = &numbers(found.values.len(), 5);
            let gradient = PooledGradient {
                values,
                positions: &found.positions,
            };
            let full = max_pool3d::backward(values, &found.positions, dims);
            let of = |gradient| weight_gradient_at(level, layout, g, (&arrays.input, gradient));
            assert_eq!(
                of(OutputGradient::Pooled(gradient)),
                of(OutputGradient::Dense(&full)),
                "{level:?} {algorithm:?} {g:?}"
            );
            if full.len() == g.output_len() {
                assert_eq!(
                    pooled_input_gradient(algorithm, g, gradient, &arrays.weight),
                    input_gradient(algorithm, g, &full, &arrays.weight),
                );
                let expected: Vec<f64> =
                    bias_gradient(g, &full).into_iter().map(f64::from).collect();
                check_close(&pooled_bias_gradient(g, values), &expected, 1e-6, g);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn pooling_at_once_gives_the_bits_of_pooling_afterwards(g in geometries()) {
        check_pooled(&g);
    }
}

#[test]
fn pooling_at_once_works_across_tiles_and_blocks_of_channels() {
    // Several blocks of input channels and groups of output channels.
    check_pooled(&cube(2, [40, 17], 5, 3));
    check_pooled(&cube(1, [12, 40], 9, 3));
    // Planes that are cut along y.
    check_pooled(&cube(1, [9, 3], 46, 3));
    // Several pairs in a tile, odd sides, and samples that go together.
    check_pooled(&cube(1, [1, 19], 41, 3));
    check_pooled(&cube(2, [1, 8], 20, 6));
    check_pooled(&cube(9, [3, 8], 4, 3));
}

#[test]
fn pooled_gradients_by_fourier_transforms_are_those_of_the_full_output() {
    let g = cube(2, [3, 5], 13, 5);
    let arrays = Arrays::of(&g);
    let [x, y, z] = g.output();
    let dims = [g.batch, g.out_channels, x, y, z];
    let pooled = forward_pooled(
        Algorithm::Fft,
        &g,
        &arrays.input,
        &arrays.weight,
        Some(&arrays.bias),
    );
    let values = forward(
        Algorithm::Fft,
        &g,
        &arrays.input,
        &arrays.weight,
        Some(&arrays.bias),
    );
    assert_eq!(pooled, max_pool3d::forward(&values, dims));
    let values = &numbers(pooled.values.len(), 5);
    let gradient = PooledGradient {
        values,
        positions: &pooled.positions,
    };
    let full = max_pool3d::backward(values, &pooled.positions, dims);
    // Twice: the second call finds what the first one left in the buffer.
    for _ in 0..2 {
        assert_eq!(
            pooled_weight_gradient(Algorithm::Fft, &g, &arrays.input, gradient),
            weight_gradient(Algorithm::Fft, &g, &arrays.input, &full)
        );
        assert_eq!(
            pooled_input_gradient(Algorithm::Fft, &g, gradient, &arrays.weight),
            input_gradient(Algorithm::Fft, &g, &full, &arrays.weight)
        );
    }
}

fn cube(batch: usize, channels: [usize; 2], side: usize, kernel: usize) -> Geometry {
    Geometry {
        batch,
        in_channels: channels[0],
        out_channels: channels[1],
        input: [side, side + 1, side],
        kernel: [kernel; 3],
        stride: [1; 3],
        padding: [kernel / 2; 3],
    }
}

#[test]
fn several_tiles_and_blocks_of_channels_give_the_sum_over_all() {
    // More input channels than a block has.
    check(&cube(2, [40, 17], 5, 3));
    // Planes that are cut along y, and several x in a tile.
    check(&cube(1, [9, 3], 26, 3));
    check(&cube(2, [1, 8], 20, 6));
    // Channel mixing, and a picture with x = 1.
    check(&cube(2, [70, 20], 7, 1));
    let mut picture = cube(3, [19, 33], 9, 3);
    (picture.input[0], picture.kernel[0], picture.padding[0]) = (1, 1, 0);
    check(&picture);
    picture.stride = [1, 2, 2];
    check(&picture);
    // Pictures so small that several samples go together, and not all at once.
    picture.batch = 40;
    check(&picture);
}

#[test]
fn hundreds_of_products_in_one_sum_stay_accurate() {
    // Found by a long run over random shapes: 1.1e-6 by matrices.
    check(&Geometry {
        batch: 2,
        in_channels: 4,
        out_channels: 2,
        input: [10, 10, 8],
        kernel: [4, 4, 6],
        stride: [1, 2, 1],
        padding: [2, 1, 2],
    });
    check(&cube(1, [48, 3], 7, 6));
}

#[test]
fn few_results_that_are_near_0_by_chance_are_as_accurate_as_their_sums() {
    // Found by a long run over random shapes: two results, each a sum of 60 products, of which the larger is 0.40 where such
    // sums have a standard deviation of 2.6. Its error of 6.7e-7 is a few units in the last place of the partial sums.
    check(&Geometry {
        batch: 1,
        in_channels: 1,
        out_channels: 1,
        input: [4, 3, 5],
        kernel: [4, 6, 5],
        stride: [1, 1, 1],
        padding: [0, 2, 0],
    });
}

#[test]
fn strides_beyond_the_kernel_skip_voxels() {
    let mut g = cube(1, [2, 3], 9, 2);
    g.stride = [3, 4, 5];
    check(&g);
}

#[test]
fn one_and_two_threads_give_the_same_bits() {
    for g in [
        cube(3, [1, 8], 19, 3),
        cube(1, [33, 34], 6, 3),
        cube(2, [3, 2], 8, 1),
    ] {
        let arrays = Arrays::of(&g);
        for layout in [Layout::Rows, Layout::Columns] {
            let [one, two] = [1, 2].map(|n_threads| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(n_threads);
                let passes = || arrays.passes(Level::detect(), layout, &g);
                let passes = pool.build().unwrap().install(passes);
                passes.map(|pass| pass.iter().map(|v| v.to_bits()).collect::<Vec<_>>())
            });
            assert_eq!(one, two);
        }
    }
}

#[test]
fn a_kernel_larger_than_the_padded_input_gives_an_empty_output_and_no_gradient() {
    let mut g = cube(2, [3, 4], 3, 6);
    g.padding = [1, 1, 1];
    for algorithm in Algorithm::ALL {
        let weight = numbers(g.weight_len(), 1);
        let input = numbers(g.input_len(), 2);
        assert!(forward(algorithm, &g, &input, &weight, None).is_empty());
        let gradient = input_gradient(algorithm, &g, &[], &weight);
        assert_eq!(gradient, vec![0.0; g.input_len()]);
        let gradient = weight_gradient(algorithm, &g, &input, &[]);
        assert_eq!(gradient, vec![0.0; g.weight_len()]);
    }
    assert_eq!(bias_gradient(&g, &[]), [0.0; 4]);
}

#[test]
fn a_convolution_without_input_channels_is_its_bias() {
    let g = cube(2, [0, 2], 3, 3);
    let output = forward(Algorithm::Direct, &g, &[], &[], Some(&[1.0, 2.0]));
    assert_eq!(output.len(), g.output_len());
    assert!(output[..36].iter().all(|v| *v == 1.0));
    assert!(output[36..72].iter().all(|v| *v == 2.0));
}

#[test]
fn arrays_of_the_wrong_length_give_an_empty_result() {
    let g = cube(1, [1, 1], 3, 3);
    for algorithm in Algorithm::ALL {
        assert!(forward(algorithm, &g, &[1.0], &[1.0], None).is_empty());
        assert!(input_gradient(algorithm, &g, &[1.0], &[1.0]).is_empty());
        assert!(weight_gradient(algorithm, &g, &[1.0], &[1.0]).is_empty());
    }
    assert!(bias_gradient(&g, &[1.0]).is_empty());
    let standing = Geometry {
        stride: [1, 0, 1],
        ..g
    };
    assert!(!Algorithm::Direct.supports(&standing));
    assert!(forward(Algorithm::Direct, &standing, &[0.0; 36], &[0.0; 27], None).is_empty());
    assert_eq!(bias_gradient(&standing, &[]), [0.0]);
}

#[test]
fn an_infinite_voxel_reaches_exactly_the_outputs_and_weights_that_see_it() {
    let mut g = cube(2, [2, 5], 7, 3);
    g.stride = [1, 2, 1];
    let mut arrays = Arrays::of(&g);
    for bad in [f32::INFINITY, f32::NAN] {
        for at in [0, 100, g.input_len() - 1] {
            let before = std::mem::replace(&mut arrays.input[at], bad);
            let values = reference::forward(&g, &arrays.input, &arrays.weight, &arrays.bias);
            let gradient = reference::weight_gradient(&g, &arrays.input, &arrays.output_gradient);
            for level in [Level::Portable(Portable), Level::detect(), Level::widest()] {
                for layout in [Layout::Rows, Layout::Columns] {
                    let [v, _, w] = arrays.passes(level, layout, &g);
                    for (found, expected) in [(v, &values), (w, &gradient)] {
                        let mut pairs = found.iter().zip(expected);
                        assert!(pairs.all(|(f, e)| f.is_finite() == e.is_finite()));
                    }
                }
            }
            arrays.input[at] = before;
        }
    }
}

#[test]
fn the_bias_gradient_sums_each_channel_over_samples_and_positions() {
    let g = cube(3, [1, 5], 6, 3);
    let gradient = numbers(g.output_len(), 9);
    let positions: usize = g.output().iter().product();
    let mut expected = vec![0.0; 5];
    for (at, value) in gradient.iter().enumerate() {
        expected[at / positions % 5] += f64::from(*value);
    }
    check_close(&bias_gradient(&g, &gradient), &expected, 1e-6, g);
}
