//! Intervals of figures by resampling families or participants, never scans.
//!
//! Scans of one participant err alike, so drawing them one by one would make the interval too narrow: each resample
//! draws whole group keys with replacement (Field & Welsh 2007, J R Stat Soc B 69:369, the cluster bootstrap).

use std::collections::BTreeMap;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};
use rayon::prelude::*;

use super::metrics::Pair;
use super::sums::{Center, Figures, N_FIGURES, Sums};

/// Resamples behind each interval: the 2.5 % point then rests on 50 of them.
pub const N_RESAMPLES: u64 = 2000;

/// Fixed for good: another text gives other intervals.
const STREAM: &str = "brainage 2026-08 evaluation bootstrap resample";

/// What one group key adds to a mean.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Cluster {
    sum: f64,
    count: f64,
}

/// 95 % percentile interval of the mean of `values` (group key, value).
///
/// `None` with fewer than two group keys, which say nothing about the spread between them, or with a value that is no
/// number. The result depends on the values, their order within a group and the seed, never on the number of threads.
///
/// # References
/// Percentile interval: Efron & Tibshirani 1993, An Introduction to the Bootstrap, §13.3.
pub fn mean_interval<'a>(
    values: impl Iterator<Item = (&'a str, f64)>,
    seed: u64,
) -> Option<[f64; 2]> {
    interval(&means(values, seed)?)
}

/// 95 % percentile intervals of all figures of `pairs` (group key, ages), from the same resamples as [`mean_interval`].
/// A figure that is not defined in more than a tenth of the resamples has none.
pub(super) fn figure_intervals<'a>(
    pairs: impl Iterator<Item = (&'a str, Pair)>,
    center: Center,
    seed: u64,
) -> Figures<[f64; 2]> {
    let mut by_key: BTreeMap<&str, Sums> = BTreeMap::new();
    for (key, pair) in pairs {
        by_key.entry(key).or_default().add(pair, center);
    }
    let clusters: Vec<Sums> = by_key.into_values().collect();
    let Some(n_clusters) = u32::try_from(clusters.len()).ok().filter(|&n| n >= 2) else {
        return Figures::default();
    };
    let resamples: Vec<[Option<f64>; N_FIGURES]> = (0..N_RESAMPLES)
        .into_par_iter()
        .map(|resample| {
            let mut total = Sums::default();
            let mut rng = stream(seed, resample);
            for _ in 0..n_clusters {
                if let Some(cluster) = clusters.get(draw_below(n_clusters, &mut rng) as usize) {
                    total.join(cluster);
                }
            }
            total.figures(center).into_array()
        })
        .collect();
    let column = |figure: usize| {
        let defined = resamples.iter().filter_map(|values| values[figure]);
        let mut values: Vec<f64> = defined.collect();
        values.sort_unstable_by(f64::total_cmp);
        let enough = values.len() as u64 * 10 >= N_RESAMPLES * 9;
        enough.then(|| interval(&values)).flatten()
    };
    Figures::from_array(std::array::from_fn(column))
}

/// The 2.5 % and 97.5 % points of sorted values.
fn interval(sorted: &[f64]) -> Option<[f64; 2]> {
    Some([quantile(sorted, 0.025)?, quantile(sorted, 0.975)?])
}

/// The mean of `values` (group key, value) in every resample, sorted; `None` as in [`mean_interval`].
pub fn means<'a>(values: impl Iterator<Item = (&'a str, f64)>, seed: u64) -> Option<Vec<f64>> {
    let mut by_key: BTreeMap<&str, Cluster> = BTreeMap::new();
    for (key, value) in values {
        let cluster = by_key.entry(key).or_default();
        cluster.sum += value;
        cluster.count += 1.0;
    }
    let clusters: Vec<Cluster> = by_key.into_values().collect();
    let n_clusters = u32::try_from(clusters.len()).ok().filter(|&n| n >= 2)?;
    if !clusters.iter().all(|cluster| cluster.sum.is_finite()) {
        return None;
    }
    let mut means: Vec<f64> = (0..N_RESAMPLES)
        .into_par_iter()
        .map(|resample| resampled_mean(&clusters, n_clusters, &mut stream(seed, resample)))
        .collect();
    means.sort_unstable_by(f64::total_cmp);
    Some(means)
}

fn stream(seed: u64, resample: u64) -> ChaCha8Rng {
    let mut hasher = blake3::Hasher::new_derive_key(STREAM);
    hasher.update(&seed.to_le_bytes());
    hasher.update(&resample.to_le_bytes());
    ChaCha8Rng::from_seed(*hasher.finalize().as_bytes())
}

/// Mean over as many clusters as there are, drawn with replacement.
fn resampled_mean(clusters: &[Cluster], n_clusters: u32, rng: &mut ChaCha8Rng) -> f64 {
    let mut total = Cluster::default();
    for _ in 0..n_clusters {
        if let Some(cluster) = clusters.get(draw_below(n_clusters, rng) as usize) {
            total.sum += cluster.sum;
            total.count += cluster.count;
        }
    }
    total.sum / total.count
}

/// A whole number in `0..bound`, all equally likely.
///
/// # References
/// Lemire 2019, ACM TOMACS 29(1):3, algorithm 5.
fn draw_below(bound: u32, rng: &mut ChaCha8Rng) -> u32 {
    loop {
        let product = u64::from(rng.next_u32()) * u64::from(bound);
        let (high, low) = ((product >> 32) as u32, product as u32);
        if low >= bound || low >= bound.wrapping_neg() % bound {
            return high;
        }
    }
}

/// Quantile of sorted values, linear between neighbors (Hyndman & Fan 1996, type 7; NumPy's default).
fn quantile(sorted: &[f64], probability: f64) -> Option<f64> {
    let position = probability * sorted.len().checked_sub(1)? as f64;
    let lower = *sorted.get(position.floor() as usize)?;
    let upper = *sorted.get(position.ceil() as usize)?;
    Some(lower + (upper - lower) * position.fract())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_distr::{Distribution as _, StandardNormal};

    fn interval(values: &[f64], seed: u64) -> Option<[f64; 2]> {
        let keys: Vec<String> = (0..values.len()).map(|i| format!("p{i:06}")).collect();
        mean_interval(
            keys.iter().map(String::as_str).zip(values.iter().copied()),
            seed,
        )
    }

    fn normal_values(n: usize, seed: u64) -> Vec<f64> {
        StandardNormal
            .sample_iter(ChaCha8Rng::seed_from_u64(seed))
            .take(n)
            .collect()
    }

    #[test]
    fn the_interval_of_a_constant_is_the_constant() {
        assert_eq!(interval(&[4.25; 30], 1), Some([4.25, 4.25]));
    }

    #[test]
    fn fewer_than_two_groups_or_a_nan_have_no_interval() {
        assert_eq!(interval(&[], 1), None);
        assert_eq!(interval(&[3.0], 1), None);
        assert_eq!(interval(&[3.0, f64::NAN], 1), None);
        let one_family = [("f1", 3.0), ("f1", 9.0), ("f1", 5.0)];
        assert_eq!(mean_interval(one_family.into_iter(), 1), None);
    }

    #[test]
    fn the_same_seed_gives_the_same_interval_and_another_seed_another() {
        let values = normal_values(200, 3);
        assert_eq!(interval(&values, 7), interval(&values, 7));
        assert_ne!(interval(&values, 7), interval(&values, 8));
    }

    #[test]
    fn the_number_of_threads_does_not_change_a_bit() {
        let values = normal_values(500, 4);
        let on = |n_threads| {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(n_threads)
                .build()
                .unwrap();
            pool.install(|| interval(&values, 5))
        };
        assert_eq!(on(1), on(3));
    }

    #[test]
    fn all_figures_come_from_the_resamples_of_the_mean() {
        let gaps = normal_values(150, 11);
        let keys: Vec<String> = (0..150).map(|i| format!("p{i:06}")).collect();
        let pairs: Vec<Pair> = gaps
            .iter()
            .enumerate()
            .map(|(i, gap)| Pair {
                age_years: 20.0 + 0.4 * i as f64,
                predicted_age_years: 24.0 + 0.36 * i as f64 + 4.0 * gap,
            })
            .collect();
        let keyed = || keys.iter().map(String::as_str).zip(pairs.iter().copied());
        let center = Center::of(&pairs);
        let all = figure_intervals(keyed(), center, 3);
        let errors = keyed().map(|(key, pair)| (key, pair.gap_years().abs()));
        let [low, high] = mean_interval(errors, 3).unwrap();
        let [all_low, all_high] = all.mae.unwrap();
        assert!((low - all_low).abs() < 1e-9 && (high - all_high).abs() < 1e-9);
        // What is true of the figures of the pairs themselves: each lies within its own interval.
        let here = [
            (all.rmse, crate::eval::metrics::rmse(&pairs)),
            (all.bias, crate::eval::metrics::bias(&pairs)),
            (all.r, crate::eval::metrics::pearson_r(&pairs)),
            (all.r2, crate::eval::metrics::r2(&pairs)),
            (all.bias_slope, crate::eval::metrics::bias_slope(&pairs)),
        ];
        for (interval, figure) in here {
            let ([low, high], figure) = (interval.unwrap(), figure.unwrap());
            assert!(low < figure && figure < high, "{low} {figure} {high}");
        }
    }

    #[test]
    fn the_slope_s_interval_is_as_wide_as_theory_says() {
        // Standard error of a least-squares slope with noise s: s / √Σ(y − ȳ)²; 1.96 of them, and 12 % as above. Of one fixed
        // set of ages the bootstrap also draws the ages, which widens it by less than 5 % at n = 400.
        let gaps = normal_values(400, 21);
        let keys: Vec<String> = (0..400).map(|i| format!("p{i:06}")).collect();
        let pairs: Vec<Pair> = gaps
            .iter()
            .enumerate()
            .map(|(i, gap)| Pair {
                age_years: 20.0 + 0.15 * i as f64,
                predicted_age_years: 20.0 + 0.15 * i as f64 + gap,
            })
            .collect();
        let keyed = keys.iter().map(String::as_str).zip(pairs.iter().copied());
        let all = figure_intervals(keyed, Center::of(&pairs), 5);
        let [low, high] = all.bias_slope.unwrap();
        let mean = pairs.iter().map(|pair| pair.age_years).sum::<f64>() / 400.0;
        let spread: f64 = pairs.iter().map(|p| (p.age_years - mean).powi(2)).sum();
        let sd = (gaps.iter().map(|gap| gap * gap).sum::<f64>() / 400.0).sqrt();
        let expected = 2.0 * 1.96 * sd / spread.sqrt();
        assert!(((high - low) / expected - 1.0).abs() < 0.15);
    }

    #[test]
    fn the_width_is_that_of_the_normal_approximation() {
        // Mean of 400 values: ±1.96 · s / √400. The bootstrap's own 2.5 % point from 2,000 resamples has a standard error
        // of √(0.025 · 0.975 / 2000) / φ(1.96) = 0.06 standard errors of the mean, 3 % of the half width; 3.5 of these: 12 %.
        let values = normal_values(400, 5);
        let mean = values.iter().sum::<f64>() / 400.0;
        let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / 400.0;
        let half_width = 1.96 * (variance / 400.0).sqrt();
        let [low, high] = interval(&values, 6).unwrap();
        assert!(((mean - low) / half_width - 1.0).abs() < 0.12);
        assert!(((high - mean) / half_width - 1.0).abs() < 0.12);
    }

    #[test]
    fn the_interval_covers_the_true_mean_in_about_95_of_100_experiments() {
        // 300 experiments of 60 values: the percentile interval is slightly narrow there, so about 94.5 % are expected;
        // binomial standard error √(0.945 · 0.055 / 300) = 1.3 %, four of which are allowed on either side.
        let covered = (0..300)
            .filter(|&experiment| {
                let [low, high] =
                    interval(&normal_values(60, 1000 + experiment), experiment).unwrap();
                low <= 0.0 && 0.0 <= high
            })
            .count();
        assert!((268..=299).contains(&covered), "{covered} of 300");
    }

    #[test]
    fn scans_of_one_participant_are_drawn_together() {
        // Ten copies of each value carry no news: the interval is that of the single values, not √10 times narrower.
        let values = normal_values(100, 9);
        let keys: Vec<String> = (0..100).map(|i| format!("p{i:06}")).collect();
        let repeated = keys
            .iter()
            .zip(&values)
            .flat_map(|(k, &v)| (0..10).map(move |_| (k.as_str(), v)));
        let ([a, b], [c, d]) = (
            mean_interval(repeated, 2).unwrap(),
            interval(&values, 2).unwrap(),
        );
        assert!((a - c).abs() < 1e-9 && (b - d).abs() < 1e-9);
    }

    #[test]
    fn draws_below_a_bound_are_equally_likely() {
        // χ² with 6 degrees of freedom is below 27.9 in all but 1 of 10,000 cases.
        let mut rng = stream(1, 1);
        let mut counts = [0.0_f64; 7];
        (0..70_000).for_each(|_| counts[draw_below(7, &mut rng) as usize] += 1.0);
        let chi_squared: f64 = counts.iter().map(|count| (count - 1e4).powi(2) / 1e4).sum();
        assert!(chi_squared < 27.9, "{chi_squared}");
    }

    #[test]
    fn quantiles_agree_with_numpy() {
        // np.quantile([1., 2., 4., 8., 16.], [0.025, 0.5, 0.9, 1]) → [1.1, 4, 12.8, 16]
        let sorted = [1.0, 2.0, 4.0, 8.0, 16.0];
        for (probability, expected) in [(0.025, 1.1), (0.5, 4.0), (0.9, 12.8), (1.0, 16.0)] {
            assert!((quantile(&sorted, probability).unwrap() - expected).abs() < 1e-12);
        }
        assert_eq!(quantile(&[], 0.5), None);
    }
}
