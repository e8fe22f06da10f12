//! Which samples an epoch shows: each once, or rare ages or cohorts as often as common ones.

use std::collections::BTreeMap;
use std::sync::Arc;

use rand::RngExt as _;
use rand::seq::SliceRandom as _;
use serde::{Deserialize, Serialize};

use super::batch::SampleSource;
use crate::engine::seed::{Purpose, Seed};

/// Width of the bins of [`Balance::AgeBins`], years.
const AGE_BIN_YEARS: f64 = 10.0;

/// The `[data.sampling]` part of a config.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SamplingConfig {
    /// What is shown as often as its like.
    pub balance: Balance,
}

/// What is shown as often as its like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Balance {
    /// Nothing: an epoch shows each sample once.
    None,
    /// Decades of age.
    AgeBins,
    /// Cohorts.
    Cohorts,
}

/// How the samples of an epoch are drawn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Draw {
    /// Each once, in random order.
    Shuffled,
    /// With replacement, a group and then one of its members, all alike: a sample's weight is inverse to the size of
    /// its group. No group is empty.
    FromGroups(Arc<[Vec<usize>]>),
}

impl Draw {
    /// The groups that a balance makes of samples.
    pub fn new(balance: Balance, source: &dyn SampleSource) -> Self {
        match balance {
            Balance::None => Self::Shuffled,
            Balance::AgeBins => Self::grouped(source.len(), |sample| {
                (source.age_years(sample) / AGE_BIN_YEARS).floor() as i64
            }),
            Balance::Cohorts => Self::grouped(source.len(), |sample| source.cohort(sample)),
        }
    }

    fn grouped<K: Ord>(n_samples: usize, key: impl Fn(usize) -> K) -> Self {
        let mut groups: BTreeMap<K, Vec<usize>> = BTreeMap::new();
        for sample in 0..n_samples {
            groups.entry(key(sample)).or_default().push(sample);
        }
        Self::FromGroups(groups.into_values().collect())
    }

    /// The samples of an epoch in order, as many as there are.
    pub fn order(&self, n_samples: usize, seed: Seed, epoch: u64) -> Vec<usize> {
        match self {
            Self::Shuffled => {
                let mut order: Vec<usize> = (0..n_samples).collect();
                order.shuffle(&mut seed.stream(Purpose::Shuffle, &[epoch]));
                order
            }
            Self::FromGroups(groups) => {
                let mut rng = seed.stream(Purpose::Sampling, &[epoch]);
                let draw = |_| {
                    let group = &groups[rng.random_range(0..groups.len())];
                    group[rng.random_range(0..group.len())]
                };
                (0..n_samples).map(draw).collect()
            }
        }
    }
}

/// How often each sample of an order came before its place.
pub fn repeats(order: &[usize]) -> Vec<u64> {
    let mut seen = vec![0; order.iter().max().map_or(0, |last| last + 1)];
    let count = |sample: &usize| {
        seen[*sample] += 1;
        seen[*sample] - 1
    };
    order.iter().map(count).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Error;

    /// Ages, and cohorts by name.
    struct People(&'static [(f64, &'static str)]);

    impl SampleSource for People {
        fn len(&self) -> usize {
            self.0.len()
        }
        fn id(&self, sample: usize) -> u64 {
            sample as u64
        }
        fn age_years(&self, sample: usize) -> f64 {
            self.0[sample].0
        }
        fn cohort(&self, sample: usize) -> &str {
            self.0[sample].1
        }
        fn sides(&self) -> [usize; 3] {
            [1; 3]
        }
        fn voxel_size_mm(&self) -> [f64; 3] {
            [1.0; 3]
        }
        fn volume(&self, _: usize) -> Result<Vec<f32>, Error> {
            Ok(vec![0.0])
        }
    }

    const PEOPLE: People = People(&[
        (39.9, "b"),
        (40.0, "a"),
        (31.0, "b"),
        (8.0, "b"),
        (49.9, "b"),
    ]);

    #[test]
    fn decades_and_cohorts_make_the_groups() {
        let groups = |balance| match Draw::new(balance, &PEOPLE) {
            Draw::Shuffled => Vec::new(),
            Draw::FromGroups(groups) => groups.to_vec(),
        };
        assert!(groups(Balance::None).is_empty());
        assert_eq!(groups(Balance::AgeBins), [vec![3], vec![0, 2], vec![1, 4]]);
        assert_eq!(groups(Balance::Cohorts), [vec![1], vec![0, 2, 3, 4]]);
    }

    #[test]
    fn every_group_is_drawn_as_often_and_every_member_of_it_too() {
        let draw = Draw::new(Balance::Cohorts, &PEOPLE);
        let mut counts = [0_u32; 5];
        for epoch in 0..4000 {
            for sample in draw.order(5, Seed(5), epoch) {
                counts[sample] += 1;
            }
        }
        for (sample, share) in [(0, 0.125), (1, 0.5), (2, 0.125), (3, 0.125), (4, 0.125)] {
            let (n, count) = (20_000.0_f64, f64::from(counts[sample]));
            let sd = (n * share * (1.0 - share)).sqrt();
            assert!((count - n * share).abs() < 4.0 * sd, "{counts:?}");
        }
    }

    #[test]
    fn a_balanced_order_depends_on_seed_and_epoch_and_on_nothing_else() {
        let order = |seed, epoch| Draw::new(Balance::AgeBins, &PEOPLE).order(40, Seed(seed), epoch);
        assert_eq!(order(1, 2), order(1, 2));
        assert_ne!(order(1, 2), order(2, 2));
        assert_ne!(order(1, 2), order(1, 3));
    }

    #[test]
    fn the_unbalanced_order_is_a_shuffle_keyed_by_the_epoch() {
        let mut expected: Vec<usize> = (0..9).collect();
        expected.shuffle(&mut Seed(1).stream(Purpose::Shuffle, &[3]));
        assert_eq!(Draw::Shuffled.order(9, Seed(1), 3), expected);
    }

    #[test]
    fn repeats_count_what_came_before() {
        assert_eq!(repeats(&[4, 1, 4, 4, 1, 0]), [0, 0, 1, 2, 1, 0]);
    }
}
