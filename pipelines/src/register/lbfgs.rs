//! L-BFGS for the twelve numbers of an affine.
//!
//! # References
//! Liu & Nocedal 1989, Mathematical Programming 45 (two-loop recursion). The step is halved, or shortened to the minimum
//! of a parabola, until the gain is a fair share of what the slope promises (Armijo).

use std::collections::VecDeque;

/// The numbers that are sought.
pub(super) type Params = [f64; 12];

/// How many past steps the curvature is estimated from.
const MEMORY: usize = 8;
/// Length of the first step: the parameters are about mm at the surface of the brain.
const FIRST_STEP: f64 = 2.0;
/// Share of the promised gain that a step must bring.
const ARMIJO: f64 = 1e-4;
/// Shortest step tried, relative to the full one.
const SHORTEST: f64 = 1.0 / 1024.0;

/// One past step and the change of the gradient along it.
struct Pair {
    step: Params,
    change: Params,
    inverse_dot: f64,
}

/// Maximizes `objective` (value and gradient) from 0; returns the best parameters and their value.
///
/// Ends after `max_steps`, or when two steps in a row gain less than `tolerance`.
pub(super) fn maximize(
    mut objective: impl FnMut(&Params) -> (f64, Params),
    max_steps: usize,
    tolerance: f64,
) -> (Params, f64) {
    let mut at = [0.0; 12];
    let (mut value, mut gradient) = objective(&at);
    let mut pairs: VecDeque<Pair> = VecDeque::new();
    let mut small_gains = 0;
    for _ in 0..max_steps {
        let mut direction = uphill(&gradient, &pairs);
        if dot(&direction, &gradient) <= 0.0 {
            pairs.clear();
            direction = uphill(&gradient, &pairs);
        }
        let slope = dot(&direction, &gradient);
        if slope.is_nan() || slope <= 0.0 {
            break;
        }
        let Some((next, next_value, next_gradient)) =
            search(&mut objective, &at, value, &direction, slope)
        else {
            if pairs.is_empty() {
                break;
            }
            pairs.clear();
            continue;
        };
        let step: Params = std::array::from_fn(|i| next[i] - at[i]);
        let change: Params = std::array::from_fn(|i| gradient[i] - next_gradient[i]);
        let curvature = dot(&step, &change);
        if curvature > 1e-12 {
            if pairs.len() == MEMORY {
                pairs.pop_front();
            }
            pairs.push_back(Pair {
                step,
                change,
                inverse_dot: 1.0 / curvature,
            });
        }
        small_gains = if next_value - value < tolerance {
            small_gains + 1
        } else {
            0
        };
        (at, value, gradient) = (next, next_value, next_gradient);
        if small_gains == 2 {
            break;
        }
    }
    (at, value)
}

/// The gradient, bent by the estimated inverse curvature.
fn uphill(gradient: &Params, pairs: &VecDeque<Pair>) -> Params {
    let mut direction = *gradient;
    let Some(latest) = pairs.back() else {
        let length = dot(gradient, gradient).sqrt();
        return if length > 0.0 {
            direction.map(|v| v * FIRST_STEP / length)
        } else {
            direction
        };
    };
    let mut shares = [0.0; MEMORY];
    for (pair, share) in pairs.iter().zip(&mut shares).rev() {
        *share = pair.inverse_dot * dot(&pair.step, &direction);
        direction = std::array::from_fn(|i| direction[i] - *share * pair.change[i]);
    }
    let scale = 1.0 / (latest.inverse_dot * dot(&latest.change, &latest.change));
    direction = direction.map(|v| v * scale);
    for (pair, share) in pairs.iter().zip(&shares) {
        let back = share - pair.inverse_dot * dot(&pair.change, &direction);
        direction = std::array::from_fn(|i| direction[i] + back * pair.step[i]);
    }
    direction
}

/// Walks along `direction` until the gain is fair; `None` where no step brings one.
fn search(
    objective: &mut impl FnMut(&Params) -> (f64, Params),
    at: &Params,
    value: f64,
    direction: &Params,
    slope: f64,
) -> Option<(Params, f64, Params)> {
    let mut length = 1.0;
    while length >= SHORTEST {
        let next: Params = std::array::from_fn(|i| at[i] + length * direction[i]);
        let (next_value, next_gradient) = objective(&next);
        if next_value >= value + ARMIJO * length * slope {
            return Some((next, next_value, next_gradient));
        }
        // Top of the parabola through both values and the slope.
        let shortfall = value + length * slope - next_value;
        let top = 0.5 * slope * length * length / shortfall;
        length = if top.is_finite() {
            top.clamp(0.1 * length, 0.5 * length)
        } else {
            0.5 * length
        };
    }
    None
}

fn dot(a: &Params, b: &Params) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_top_of_a_skewed_hill_is_found() {
        let top: Params = std::array::from_fn(|i| i as f64 - 5.0);
        let hill = |p: &Params| {
            let mut value = 0.0;
            let mut gradient = [0.0; 12];
            for i in 0..12 {
                let steepness = 1.0 + i as f64;
                value -= steepness * (p[i] - top[i]).powi(2);
                gradient[i] = -2.0 * steepness * (p[i] - top[i]);
            }
            (value, gradient)
        };
        let (found, value) = maximize(hill, 100, 1e-14);
        assert!(value > -1e-8, "{value}");
        assert!(found.iter().zip(top).all(|(a, b)| (a - b).abs() < 1e-3));
    }
}
