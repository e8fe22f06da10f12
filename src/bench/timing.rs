//! Repeated measurements and their spread.

use std::time::Instant;

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

/// How often a contestant of [`race`] runs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Effort {
    /// Runs that count, at least.
    pub repeats: usize,
    /// Seconds that they last in all, at least.
    pub at_least_secs: f64,
    /// Seconds after which no further run is started, whatever the rest says.
    pub at_most_secs: f64,
}

impl Effort {
    /// So many runs, more of those that are over at once, and one of those that take long.
    pub fn of_repeats(repeats: usize) -> Self {
        Self {
            repeats,
            at_least_secs: 0.02,
            at_most_secs: 0.2 * repeats as f64,
        }
    }
}

/// Measures several things in turns, each after a run that does not count, unless that alone takes as long as all its runs
/// may.
pub fn race(contestants: &mut [Box<dyn FnMut() + '_>], effort: Effort) -> Vec<Spread> {
    let clocked = |contestant: &mut Box<dyn FnMut() + '_>| {
        let start = Instant::now();
        contestant();
        start.elapsed().as_secs_f64()
    };
    let mut columns: Vec<Vec<f64>> = Vec::with_capacity(contestants.len());
    for contestant in &mut *contestants {
        let warm_up = clocked(contestant);
        let counts = warm_up >= effort.at_most_secs;
        columns.push(Vec::from_iter(counts.then_some(warm_up)));
    }
    loop {
        let mut any = false;
        for (contestant, column) in contestants.iter_mut().zip(&mut columns) {
            let so_far: f64 = column.iter().sum();
            let enough = column.len() >= effort.repeats && so_far >= effort.at_least_secs;
            if !enough && so_far < effort.at_most_secs {
                column.push(clocked(contestant));
                any = true;
            }
        }
        if !any {
            return columns.into_iter().filter_map(Spread::of).collect();
        }
    }
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

    #[test]
    fn short_runs_of_a_race_are_repeated_and_long_ones_are_not() {
        let (mut n_short, mut n_long) = (0, 0);
        let effort = Effort {
            repeats: 3,
            at_least_secs: 0.0,
            at_most_secs: 0.02,
        };
        let long = std::time::Duration::from_millis(21);
        let times = race(
            &mut [
                Box::new(|| n_short += 1),
                Box::new(|| {
                    n_long += 1;
                    let start = Instant::now();
                    while start.elapsed() < long {}
                }),
            ],
            effort,
        );
        assert_eq!((n_short, n_long), (4, 1));
        assert_eq!((times[0].repeats, times[1].repeats), (3, 1));
        assert!(times[1].min >= 0.021);
    }
}
