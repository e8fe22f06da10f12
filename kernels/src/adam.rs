//! A step of AdamW (Loshchilov & Hutter, ICLR 2019) in one go through memory.
#![expect(
    clippy::inline_always,
    reason = "so that the caller's instruction set reaches the code"
)]

use rayon::prelude::*;

use crate::conv3d::simd::{Kernel, Level, Simd};

/// Numbers of a task.
const AT_ONCE: usize = 16 << 10;

/// What all numbers of a parameter have in common.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    /// Length of a step.
    pub learning_rate: f32,
    /// Share of a number that it loses; the learning rate is part of it.
    pub decay: f32,
    /// Factor on the gradient.
    pub clip: f32,
    /// Memories of the mean gradient and of the mean squared gradient.
    pub betas: [f32; 2],
    /// 1 − β of both: of a β near 1 too few digits are left in f32.
    pub rests: [f32; 2],
    /// 1 − βⁿ of both, after n steps.
    pub corrections: [f32; 2],
    /// Is added to the root of the mean square.
    pub epsilon: f32,
}

/// The parameter after the step; both memories move on in place. `None` where lengths differ.
pub fn step(
    step: Step,
    parameter: &[f32],
    gradient: &[f32],
    [first, second]: [&mut [f32]; 2],
) -> Option<Vec<f32>> {
    let n = parameter.len();
    if gradient.len() != n || first.len() != n || second.len() != n {
        return None;
    }
    let mut moved = crate::large_pages::untouched(vec![0.0; n]);
    moved
        .par_chunks_mut(AT_ONCE)
        .zip(parameter.par_chunks(AT_ONCE))
        .zip(gradient.par_chunks(AT_ONCE))
        .zip(first.par_chunks_mut(AT_ONCE))
        .zip(second.par_chunks_mut(AT_ONCE))
        .for_each(|((((moved, parameter), gradient), first), second)| {
            Level::widest().run(Update {
                step,
                moved,
                parameter,
                gradient,
                first,
                second,
            });
        });
    Some(moved)
}

struct Update<'a> {
    step: Step,
    moved: &'a mut [f32],
    parameter: &'a [f32],
    gradient: &'a [f32],
    first: &'a mut [f32],
    second: &'a mut [f32],
}

impl Kernel for Update<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let Step {
            learning_rate,
            decay,
            clip,
            betas: [beta1, beta2],
            rests: [rest1, rest2],
            corrections: [of_first, of_second],
            epsilon,
        } = self.step;
        let memories = self.first.iter_mut().zip(self.second);
        let read = self.parameter.iter().zip(self.gradient);
        for ((moved, (parameter, gradient)), (first, second)) in
            self.moved.iter_mut().zip(read).zip(memories)
        {
            let gradient = gradient * clip;
            *first = *first * beta1 + gradient * rest1;
            *second = *second * beta2 + gradient * gradient * rest2;
            let root = (*second / of_second).sqrt() + epsilon;
            let change = *first / of_first / root * learning_rate + parameter * decay;
            *moved = parameter - change;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_steps_are_those_of_the_definition_in_f64() {
        let n = 20_000;
        let numbers = |salt: usize| -> Vec<f32> {
            (0..n)
                .map(|i| ((i * 7919 + salt) % 1009) as f32 / 500.0 - 1.0)
                .collect()
        };
        let (mut parameter, gradients) = (numbers(1), [numbers(2), numbers(3)]);
        let mut wide: Vec<[f64; 3]> = parameter
            .iter()
            .map(|p| [f64::from(*p), 0.0, 0.0])
            .collect();
        let [mut first, mut second] = [vec![0.0; n], vec![0.0; n]];
        for (number, gradient) in (1..).zip(&gradients) {
            let settings = Step {
                learning_rate: 0.1,
                decay: 0.01,
                clip: 0.5,
                betas: [0.9, 0.99],
                rests: [0.1, 0.01],
                corrections: [0.9_f32, 0.99].map(|beta| 1.0 - beta.powi(number)),
                epsilon: 1e-8,
            };
            parameter = step(settings, &parameter, gradient, [&mut first, &mut second])
                .expect("lengths fit");
            for ([p, m, v], g) in wide.iter_mut().zip(gradient) {
                let g = 0.5 * f64::from(*g);
                *m = 0.9 * *m + 0.1 * g;
                *v = 0.99 * *v + 0.01 * g * g;
                let mean = *m / (1.0 - 0.9_f64.powi(number));
                let square = *v / (1.0 - 0.99_f64.powi(number));
                *p -= 0.1 * mean / (square.sqrt() + 1e-8) + 0.01 * *p;
            }
        }
        for (found, [expected, ..]) in parameter.iter().zip(&wide) {
            assert!(
                (f64::from(*found) - expected).abs() < 1e-5,
                "{found} {expected}"
            );
        }
    }

    #[test]
    fn lengths_that_differ_are_refused() {
        let settings = Step {
            learning_rate: 0.1,
            decay: 0.0,
            clip: 1.0,
            betas: [0.9, 0.99],
            rests: [0.1, 0.01],
            corrections: [0.1, 0.01],
            epsilon: 1e-8,
        };
        assert_eq!(
            step(settings, &[1.0], &[1.0, 2.0], [&mut [0.0], &mut [0.0]]),
            None
        );
    }
}
