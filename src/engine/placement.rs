//! Which device gets which blocks so that the slowest device is as fast as can be.

use std::ops::Range;

use serde::{Deserialize, Serialize};

/// The `train.placement` key: how blocks are placed on devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PlacementRule {
    /// As many blocks on each device; needs no times.
    Even,
    /// By measured times, each block once; where there are more devices than blocks, slow blocks on several.
    Balanced,
    /// By measured times, slow blocks on several devices wherever that is faster.
    Replicated,
}

impl PlacementRule {
    /// Places blocks; `block_seconds` measures what each takes, and is asked only where the answer matters.
    ///
    /// # Errors
    /// That of the measurement.
    pub fn place<E>(
        self,
        n_blocks: usize,
        n_devices: usize,
        block_seconds: impl FnOnce() -> Result<Vec<f64>, E>,
    ) -> Result<Vec<Stage>, E> {
        let replicas = match self {
            Self::Balanced if n_devices <= n_blocks => Replicas::One,
            Self::Balanced | Self::Replicated => Replicas::OfBlock,
            Self::Even => Replicas::One,
        };
        // A single block has no others to be balanced with: all devices split its batches.
        if n_blocks == 1 {
            let replicas = n_devices.max(1);
            return Ok(vec![Stage {
                blocks: 0..1,
                replicas,
            }]);
        }
        if n_devices <= 1
            || self == Self::Even
            || (n_devices == n_blocks && replicas == Replicas::One)
        {
            return Ok(even(n_blocks, n_devices));
        }
        let seconds = block_seconds()?;
        Ok(best(n_blocks, n_devices, replicas, |stage| {
            let of_stage = seconds.get(stage.blocks.clone()).unwrap_or_default();
            of_stage.iter().sum::<f64>() / stage.replicas as f64
        }))
    }
}

/// Blocks that live together, on one device or on several that split the batch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stage {
    /// Numbers of the blocks, from 0.
    pub blocks: Range<usize>,
    /// Devices that hold a copy of them each.
    pub replicas: usize,
}

/// How many devices may hold the same blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replicas {
    /// One: every block lives once.
    One,
    /// A block that lives alone may live on several, which split the batch.
    OfBlock,
}

/// As many blocks on each device, as even as can be; devices beyond the number of blocks stay free.
pub fn even(n_blocks: usize, n_devices: usize) -> Vec<Stage> {
    let n_used = n_devices.clamp(1, n_blocks.max(1));
    let stage = |device: usize| Stage {
        blocks: device * n_blocks / n_used..(device + 1) * n_blocks / n_used,
        replicas: 1,
    };
    (0..n_used).map(stage).collect()
}

/// The placement of contiguous blocks on at most `n_devices` whose slowest stage is the fastest; of several such, one
/// with the fewest devices. Exact, by dynamic programming over (blocks placed, devices used).
///
/// `stage_seconds` says what a stage takes for a batch. Both numbers are at least 1.
pub fn best(
    n_blocks: usize,
    n_devices: usize,
    replicas: Replicas,
    stage_seconds: impl Fn(&Stage) -> f64,
) -> Vec<Stage> {
    /// The best way to place the first blocks on a number of devices: its slowest stage and its last one.
    type Best = Option<(f64, Stage)>;
    let mut table: Vec<Vec<Best>> = vec![vec![None; n_devices + 1]; n_blocks + 1];
    for end in 1..=n_blocks {
        for used in 1..=n_devices {
            let mut found: Best = None;
            for start in 0..end {
                let most = match replicas {
                    Replicas::OfBlock if start + 1 == end => used,
                    Replicas::OfBlock | Replicas::One => 1,
                };
                for copies in 1..=most {
                    let before = match (start, used - copies) {
                        (0, 0) => 0.0,
                        (0, _) => continue,
                        (start, left) => match &table[start][left] {
                            Some((slowest, _)) => *slowest,
                            None => continue,
                        },
                    };
                    let stage = Stage {
                        blocks: start..end,
                        replicas: copies,
                    };
                    let slowest = stage_seconds(&stage).max(before);
                    if found.as_ref().is_none_or(|(best, _)| slowest < *best) {
                        found = Some((slowest, stage));
                    }
                }
            }
            table[end][used] = found;
        }
    }
    let slowest = |used: usize| table[n_blocks][used].as_ref().map(|(slowest, _)| *slowest);
    let fastest = (1..=n_devices)
        .filter_map(|used| Some((slowest(used)?, used)))
        .min_by(|a, b| a.0.total_cmp(&b.0));
    let mut left = fastest.map_or(0, |(_, used)| used);
    let (mut end, mut stages) = (n_blocks, Vec::new());
    while let Some((_, stage)) = &table[end][left] {
        left -= stage.replicas;
        end = stage.blocks.start;
        stages.push(stage.clone());
    }
    stages.reverse();
    stages
}

/// Blocks of each device, counted from 1, such as `1 | 2 ×2 | 3-4`.
pub fn in_words(stages: &[Stage]) -> String {
    let numbers = |blocks: &Range<usize>| match blocks.len() {
        1 => format!("{}", blocks.end),
        _ => format!("{}-{}", blocks.start + 1, blocks.end),
    };
    let texts = stages.iter().map(|stage| match stage.replicas {
        1 => numbers(&stage.blocks),
        n => format!("{} ×{n}", numbers(&stage.blocks)),
    });
    texts.collect::<Vec<_>>().join(" | ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// MAC shares of the four blocks of the published brain network, learning reference §7.
    const PUBLISHED: [f64; 4] = [20.3, 61.4, 17.0, 1.2];

    fn plain(times: &[f64]) -> impl Fn(&Stage) -> f64 {
        |stage| times[stage.blocks.clone()].iter().sum::<f64>() / stage.replicas as f64
    }

    fn slowest(stages: &[Stage], times: &[f64]) -> f64 {
        stages.iter().map(plain(times)).fold(0.0, f64::max)
    }

    /// All ways to place blocks from `start` on at most `n_devices`: the fastest slowest stage.
    fn by_trying_all(start: usize, n_devices: usize, replicas: Replicas, times: &[f64]) -> f64 {
        if start == times.len() {
            return 0.0;
        }
        let mut best = f64::INFINITY;
        for copies in 1..=n_devices {
            for end in start + 1..=times.len() {
                if copies > 1 && (replicas == Replicas::One || end > start + 1) {
                    continue;
                }
                let own = times[start..end].iter().sum::<f64>() / copies as f64;
                let rest = by_trying_all(end, n_devices - copies, replicas, times);
                best = best.min(own.max(rest));
            }
        }
        best
    }

    proptest! {
        #[test]
        fn blocks_are_spread_without_gaps_and_as_evenly_as_can_be(n_blocks in 1usize..12, n_devices in 1usize..12) {
            let stages = even(n_blocks, n_devices);
            prop_assert_eq!(stages.len(), n_devices.min(n_blocks));
            prop_assert_eq!(stages.first().map(|s| s.blocks.start), Some(0));
            prop_assert_eq!(stages.last().map(|s| s.blocks.end), Some(n_blocks));
            prop_assert!(stages.windows(2).all(|pair| pair[0].blocks.end == pair[1].blocks.start));
            let sizes: Vec<usize> = stages.iter().map(|s| s.blocks.len()).collect();
            prop_assert!(sizes.iter().max().zip(sizes.iter().min()).is_some_and(|(a, b)| a - b <= 1));
        }

        #[test]
        fn no_other_placement_has_a_faster_slowest_stage(
            times in prop::collection::vec(0.1f64..10.0, 1..6),
            n_devices in 1usize..6,
            any in any::<bool>(),
        ) {
            let replicas = if any { Replicas::OfBlock } else { Replicas::One };
            let stages = best(times.len(), n_devices, replicas, plain(&times));
            prop_assert_eq!(stages.first().map(|s| s.blocks.start), Some(0));
            prop_assert_eq!(stages.last().map(|s| s.blocks.end), Some(times.len()));
            prop_assert!(stages.windows(2).all(|pair| pair[0].blocks.end == pair[1].blocks.start));
            prop_assert!(stages.iter().map(|s| s.replicas).sum::<usize>() <= n_devices);
            let expected = by_trying_all(0, n_devices, replicas, &times);
            prop_assert!((slowest(&stages, &times) - expected).abs() < 1e-9);
        }
    }

    #[test]
    fn rules_measure_only_where_times_decide() {
        let never = || -> Result<Vec<f64>, ()> { Err(()) };
        let times = || -> Result<Vec<f64>, ()> { Ok(PUBLISHED.to_vec()) };
        assert_eq!(PlacementRule::Even.place(4, 2, never), Ok(even(4, 2)));
        assert_eq!(PlacementRule::Balanced.place(4, 1, never), Ok(even(4, 1)));
        assert_eq!(PlacementRule::Balanced.place(4, 4, never), Ok(even(4, 4)));
        assert_eq!(PlacementRule::Balanced.place(4, 2, never), Err(()));
        let counts = |stages: Vec<Stage>| stages.iter().map(|s| s.replicas).collect::<Vec<_>>();
        let of = |rule: PlacementRule, n| counts(rule.place(4, n, times).expect("times"));
        assert_eq!(of(PlacementRule::Balanced, 2), [1, 1]);
        assert_eq!(of(PlacementRule::Balanced, 5), [1, 3, 1]);
        assert_eq!(of(PlacementRule::Replicated, 4), [1, 2, 1]);
        // Backprop is one block, and data-parallel on all devices.
        assert_eq!(
            counts(
                PlacementRule::Balanced
                    .place(1, 3, never)
                    .expect("one block")
            ),
            [3]
        );
    }

    #[test]
    fn the_published_network_on_four_devices_is_held_up_by_its_second_block() {
        let stages = best(4, 4, Replicas::One, plain(&PUBLISHED));
        let total: f64 = PUBLISHED.iter().sum();
        assert!((total / slowest(&stages, &PUBLISHED) - 1.63).abs() < 0.005);
        // A fourth device would not help, so none is taken.
        let blocks: Vec<_> = stages.into_iter().map(|stage| stage.blocks).collect();
        assert_eq!(blocks, [0..1, 1..2, 2..4]);
    }

    #[test]
    fn two_of_four_devices_for_the_second_block_make_the_published_network_twice_as_fast() {
        let stages = best(4, 4, Replicas::OfBlock, plain(&PUBLISHED));
        let placed: Vec<_> = stages
            .iter()
            .map(|s| (s.blocks.clone(), s.replicas))
            .collect();
        assert_eq!(placed, [(0..1, 1), (1..2, 2), (2..4, 1)]);
        assert!((100.0 / slowest(&stages, &PUBLISHED) - 3.26).abs() < 0.005);
    }
}
