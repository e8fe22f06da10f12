use super::*;

const EPSILON: f32 = 1e-3;

fn numbers(len: usize, salt: u32) -> Vec<f32> {
    let mixed = (0..len as u32).map(|at| (at ^ salt).wrapping_mul(0x9E37_79B1).rotate_left(9));
    mixed.map(|at| at as f32 / 2e9 - 0.9).collect()
}

/// The whole operation in f64, straight from its definition.
fn reference(
    input: &[f64],
    dims: Dims,
    [gamma, beta]: [&[f32]; 2],
    (shortcut, relu): (Option<&[f64]>, bool),
) -> Vec<f64> {
    let [batch, channels, voxels] = dims;
    let mut output = vec![0.0; input.len()];
    for channel in 0..channels {
        let places: Vec<usize> = (0..batch * voxels)
            .map(|at| (at / voxels * channels + channel) * voxels + at % voxels)
            .collect();
        let n = places.len() as f64;
        let mean = places.iter().map(|at| input[*at]).sum::<f64>() / n;
        let square = |at: &usize| (input[*at] - mean).powi(2);
        let variance = places.iter().map(square).sum::<f64>() / n;
        let scale = f64::from(gamma[channel]) / (variance + f64::from(EPSILON)).sqrt();
        for at in places {
            let added = shortcut.map_or(0.0, |shortcut| shortcut[at]);
            let value = (input[at] - mean) * scale + f64::from(beta[channel]) + added;
            output[at] = if relu { value.max(0.0) } else { value };
        }
    }
    output
}

fn wide(numbers: &[f32]) -> Vec<f64> {
    numbers.iter().copied().map(f64::from).collect()
}

fn check(dims: Dims, [added, relu]: [bool; 2]) {
    let len = dims.iter().product();
    let (input, shortcut, weights) = (numbers(len, 1), numbers(len, 2), numbers(len, 3));
    let (gamma, beta) = (numbers(dims[1], 4), numbers(dims[1], 5));
    let affine = [&gamma[..], &beta[..]];
    let then = Then {
        shortcut: added.then_some(&shortcut[..]),
        relu,
    };
    let found = forward(&input, dims, affine, EPSILON, then);
    let (wide_input, wide_shortcut) = (wide(&input), wide(&shortcut));
    let values = |input: &[f64], shortcut: &[f64]| {
        reference(input, dims, affine, (added.then_some(shortcut), relu))
    };
    let expected = values(&wide_input, &wide_shortcut);
    for (found, expected) in found.values.iter().zip(&expected) {
        assert!(
            (f64::from(*found) - expected).abs() < 1e-5,
            "{found} {expected}"
        );
    }
    let of = Channels {
        mean: &found.mean,
        variance: &found.variance,
        gamma: &gamma,
        beta: &beta,
        epsilon: EPSILON,
    };
    assert_eq!(normalize(&input, dims, of, then), found.values);
    let given = Given {
        input: &input,
        values: &found.values,
        added,
        relu,
    };
    let (gradients, of_shortcut) = gradients(&weights, given, dims, of);
    assert_eq!(of_shortcut.len(), if added { len } else { 0 });
    // Of the sum of all values, each weighted by another number.
    let loss = |input: &[f64], shortcut: &[f64]| -> f64 {
        let values = values(input, shortcut);
        let terms = values.iter().zip(&weights);
        terms.map(|(y, weight)| y * f64::from(*weight)).sum()
    };
    for at in (0..len).step_by(3) {
        let moved = |numbers: &[f64], by: f64| {
            let mut moved = numbers.to_vec();
            moved[at] += by;
            moved
        };
        let expected = (loss(&moved(&wide_input, 1e-6), &wide_shortcut)
            - loss(&moved(&wide_input, -1e-6), &wide_shortcut))
            / 2e-6;
        let found = f64::from(gradients.input[at]);
        assert!((found - expected).abs() < 2e-5, "{at}: {found} {expected}");
        if added {
            let expected = (loss(&wide_input, &moved(&wide_shortcut, 1e-6))
                - loss(&wide_input, &moved(&wide_shortcut, -1e-6)))
                / 2e-6;
            assert!((f64::from(of_shortcut[at]) - expected).abs() < 1e-5, "{at}");
        }
    }
    // By the definition: β gets what passes, γ that times the normalized input.
    for channel in 0..dims[1] {
        let mut sums = [0.0; 2];
        for at in (0..len).filter(|at| at / dims[2] % dims[1] == channel) {
            let passes = !relu || expected[at] > 0.0;
            let g = if passes { f64::from(weights[at]) } else { 0.0 };
            let deviation = f64::from(found.variance[channel] + EPSILON).sqrt();
            sums[0] += g;
            sums[1] += g * (wide_input[at] - f64::from(found.mean[channel])) / deviation;
        }
        assert!((f64::from(gradients.beta[channel]) - sums[0]).abs() < 1e-4);
        assert!((f64::from(gradients.gamma[channel]) - sums[1]).abs() < 1e-4);
    }
}

#[test]
fn values_and_gradients_are_those_of_the_definition_with_and_without_shortcut_and_relu() {
    for dims in [[3, 2, 37], [2, 5, 1], [1, 1, 70], [4, 3, 600]] {
        for (added, relu) in [(false, false), (false, true), (true, false), (true, true)] {
            check(dims, [added, relu]);
        }
    }
}

#[test]
fn nan_is_not_hidden() {
    let then = Then {
        shortcut: None,
        relu: true,
    };
    let found = forward(&[1.0, f32::NAN], [1, 1, 2], [&[1.0], &[0.0]], EPSILON, then);
    assert!(found.mean[0].is_nan() && found.values.iter().all(|value| value.is_nan()));
}

#[test]
fn short_slices_give_nothing() {
    let found = forward(
        &[1.0],
        [1, 1, 2],
        [&[1.0], &[0.0]],
        EPSILON,
        Then::default(),
    );
    assert_eq!(found, Normalized::default());
}
