//! Repeated measurements and their spread.

use serde::Serialize;

/// Times of one thing that was measured several times, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    /// Median.
    pub seconds: f64,
    /// Shortest.
    pub min: f64,
    /// Longest.
    pub max: f64,
    /// How often it was measured.
    pub repeats: usize,
}

impl Spread {
    /// Of any number of times; `None` for none.
    pub fn of(mut seconds: Vec<f64>) -> Option<Self> {
        seconds.sort_by(f64::total_cmp);
        let (min, max) = (*seconds.first()?, *seconds.last()?);
        let repeats = seconds.len();
        let middle = &seconds[(repeats - 1) / 2..=repeats / 2];
        Some(Self {
            seconds: middle.iter().sum::<f64>() / middle.len() as f64,
            min,
            max,
            repeats,
        })
    }
}

/// Measures several things in turns, so that whatever else the machine does hits all of them alike.
///
/// `round` measures each thing once and gives their seconds, always in the same order; the first `n_warm_ups` rounds
/// don't count. `repeats` is at least 1.
///
/// # Errors
/// The first one of a round.
pub fn in_turns<E>(
    n_warm_ups: usize,
    repeats: usize,
    mut round: impl FnMut() -> Result<Vec<f64>, E>,
) -> Result<Vec<Spread>, E> {
    for _ in 0..n_warm_ups {
        round()?;
    }
    let mut columns: Vec<Vec<f64>> = round()?.into_iter().map(|first| vec![first]).collect();
    for _ in 1..repeats {
        for (column, seconds) in columns.iter_mut().zip(round()?) {
            column.push(seconds);
        }
    }
    Ok(columns.into_iter().filter_map(Spread::of).collect())
}

/// Means over `n` runs in a row after one that does not count: whatever ran before has left its own data in the caches.
///
/// `run` gives seconds, always in the same order; `n` is at least 1.
///
/// # Errors
/// The first one of a run.
pub fn mean_of<E>(n: usize, mut run: impl FnMut() -> Result<Vec<f64>, E>) -> Result<Vec<f64>, E> {
    run()?;
    let mut sums = run()?;
    for _ in 1..n {
        for (sum, seconds) in sums.iter_mut().zip(run()?) {
            *sum += seconds;
        }
    }
    Ok(sums.into_iter().map(|sum| sum / n as f64).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_lies_between_the_middle_two() {
        let spread = Spread::of(vec![4.0, 1.0, 3.0, 10.0]).unwrap();
        assert_eq!(
            (spread.seconds, spread.min, spread.max, spread.repeats),
            (3.5, 1.0, 10.0, 4)
        );
        assert_eq!(Spread::of(vec![4.0, 1.0, 9.0]).unwrap().seconds, 4.0);
        assert_eq!(Spread::of(Vec::new()), None);
    }

    #[test]
    fn warm_ups_run_and_do_not_count() {
        let mut n = 0.0;
        let spreads = in_turns(2, 3, || {
            n += 1.0;
            Ok::<_, ()>(vec![n, 10.0 * n])
        })
        .unwrap();
        assert_eq!(n, 5.0);
        assert_eq!(
            (spreads[0].min, spreads[0].seconds, spreads[0].max),
            (3.0, 4.0, 5.0)
        );
        assert_eq!(spreads[1].seconds, 40.0);
    }

    #[test]
    fn a_mean_leaves_out_the_first_run() {
        let mut runs = [100.0, 1.0, 2.0, 6.0].into_iter();
        let mean = mean_of(3, || runs.next().map(|seconds| vec![seconds]).ok_or(()));
        assert_eq!(mean, Ok(vec![3.0]));
    }
}
