//! Sums of many numbers, in an order that suits vectors and is always the same.
#![expect(
    clippy::inline_always,
    reason = "so that the caller's instruction set reaches the code"
)]

/// Numbers that are summed side by side.
const SIDE_BY_SIDE: usize = 32;
/// The same at the end.
const FEW: usize = 16;

/// Sums of `f(number of the place)` over `n` places, running ones side by side so that they need not wait for each other.
#[inline(always)]
pub(crate) fn sums<const K: usize>(n: usize, mut f: impl FnMut(usize) -> [f64; K]) -> [f64; K] {
    let mut running = [[0.0; SIDE_BY_SIDE]; K];
    let whole = n / SIDE_BY_SIDE * SIDE_BY_SIDE;
    for first in (0..whole).step_by(SIDE_BY_SIDE) {
        for lane in 0..SIDE_BY_SIDE {
            let terms = f(first + lane);
            for (running, term) in running.iter_mut().zip(terms) {
                running[lane] += term;
            }
        }
    }
    let mut first = whole;
    if n - first >= FEW {
        for lane in 0..FEW {
            let terms = f(first + lane);
            for (running, term) in running.iter_mut().zip(terms) {
                running[lane] += term;
            }
        }
        first += FEW;
    }
    for place in first..n {
        let terms = f(place);
        for (running, term) in running.iter_mut().zip(terms) {
            running[place - first] += term;
        }
    }
    running.map(|running| running.iter().sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_counts_once() {
        for n in [0, 1, 15, 16, 17, 31, 32, 49, 100] {
            let [ones, places] = sums(n, |at| [1.0, at as f64]);
            assert_eq!(
                (ones, places),
                (n as f64, (n * n.saturating_sub(1) / 2) as f64)
            );
        }
    }
}
