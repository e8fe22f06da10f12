//! What a training step takes under each parallel method, computed from times measured on one device.
//!
//! All functions are pure; measured times come from [`super::pipeline`]. A transfer occupies its sender and is not
//! hidden behind work, which favors none of the methods. With T the backprop step of one device, K devices, M
//! micro-batches and S the slowest stage, all of them for the same batch:
//!
//! | method | step |
//! |---|---|
//! | data parallel | T/K + 2(K−1)/K · bytes / bandwidth |
//! | layers placed on devices | T + transfers of activations and gradients |
//! | GPipe, 1F1B | (M + K − 1)/M · S; GPipe with recomputation runs each forward pass twice |
//! | block-local pipeline | S of the local steps |
//!
//! # References
//! GPipe: Huang et al., `NeurIPS` 2019. 1F1B: Narayanan et al., SOSP 2019 (`PipeDream`). Ring all-reduce: Patarasuk &
//! Yuan, J. Parallel Distrib. Comput. 69(2), 2009.

use std::ops::Range;

use crate::engine::placement::{Replicas, Stage, best};

/// Times and sizes of one network and one batch on one device.
#[derive(Clone, Debug, PartialEq)]
pub struct Costs {
    /// For each block: forward, backward and update on its own loss, head included.
    pub local_seconds: Vec<f64>,
    /// For each block: forward alone, without head.
    pub forward_seconds: Vec<f64>,
    /// The whole network with one loss at its end: forward, backward and update.
    pub backprop_seconds: f64,
    /// For each block: what it hands on for a batch, bytes.
    pub feature_bytes: Vec<f64>,
    /// For each block: its parameters, bytes.
    pub parameter_bytes: Vec<f64>,
    /// Parameters of the backprop network, bytes.
    pub backprop_parameter_bytes: f64,
    /// Assumed bandwidth between two devices.
    pub bytes_per_second: f64,
}

/// What is done with activations until the backward pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activations {
    /// They are kept.
    Kept,
    /// They are computed again.
    Recomputed,
}

/// Ways to train on several devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Each device has the whole network and a share of the batch; gradients are averaged.
    DataParallel,
    /// Each device has some layers; only one of them works at a time.
    LayerPlacement,
    /// All micro-batches go forward, then all backward.
    GPipe {
        /// Parts of the batch.
        micro_batches: usize,
        /// What becomes of the activations.
        activations: Activations,
    },
    /// One micro-batch forward, one backward in turns: GPipe's time, activations of at most K micro-batches.
    OneForwardOneBackward {
        /// Parts of the batch.
        micro_batches: usize,
    },
    /// Each device has some blocks, which learn on their own losses from successive batches.
    BlockLocal {
        /// Whether several devices may share a block's batch.
        replicas: Replicas,
    },
}

/// What a method comes to on a number of devices.
#[derive(Clone, Debug, PartialEq)]
pub struct Estimate {
    /// For each batch, in the steady state.
    pub step_seconds: f64,
    /// Which device has which blocks; empty where each has all of them.
    pub stages: Vec<Stage>,
}

impl Costs {
    /// What a batch takes with `method` on at most `n_devices` devices, with the best placement.
    pub fn estimate(&self, method: Method, n_devices: usize) -> Estimate {
        match method {
            Method::DataParallel => Estimate {
                step_seconds: self.backprop_seconds / n_devices as f64
                    + self.all_reduce_seconds(self.backprop_parameter_bytes, n_devices),
                stages: Vec::new(),
            },
            Method::LayerPlacement => {
                let backward = self.backprop_stage_seconds(Activations::Kept);
                let stages = self.backprop_stages(&backward, n_devices);
                let transfers: f64 = stages
                    .iter()
                    .map(|stage| self.round_trip(&stage.blocks))
                    .sum();
                Estimate {
                    step_seconds: self.backprop_seconds + transfers,
                    stages,
                }
            }
            Method::GPipe {
                micro_batches,
                activations,
            } => self.micro_batched(micro_batches, activations, n_devices),
            Method::OneForwardOneBackward { micro_batches } => {
                self.micro_batched(micro_batches, Activations::Kept, n_devices)
            }
            Method::BlockLocal { replicas } => {
                let of_stage = |stage: &Stage| self.local_stage_seconds(stage);
                let stages = best(self.local_seconds.len(), n_devices, replicas, of_stage);
                Estimate {
                    step_seconds: slowest(&stages, of_stage),
                    stages,
                }
            }
        }
    }

    /// The block-local pipeline with a given placement.
    pub fn block_local_seconds(&self, stages: &[Stage]) -> f64 {
        slowest(stages, |stage| self.local_stage_seconds(stage))
    }

    fn micro_batched(
        &self,
        micro_batches: usize,
        activations: Activations,
        n_devices: usize,
    ) -> Estimate {
        let of_blocks = self.backprop_stage_seconds(activations);
        let stages = self.backprop_stages(&of_blocks, n_devices);
        let slowest = slowest(&stages, |stage| self.backprop_stage(&of_blocks, stage));
        Estimate {
            step_seconds: micro_batched_seconds(slowest, stages.len(), micro_batches),
            stages,
        }
    }

    /// The backprop step shared out among the blocks: output, gradient of the weights and gradient of the input count
    /// as one forward pass each, and the first block needs no gradient of its input (3F − F₁ in all); scaled so that
    /// they add up to the measured step.
    fn backprop_stage_seconds(&self, activations: Activations) -> Vec<f64> {
        let passes = |block: usize| if block == 0 { 2.0 } else { 3.0 };
        let shares = self.forward_seconds.iter().enumerate();
        let shares: Vec<f64> = shares
            .map(|(block, forward)| passes(block) * forward)
            .collect();
        let scale = self.backprop_seconds / shares.iter().sum::<f64>();
        let again = match activations {
            Activations::Kept => 0.0,
            Activations::Recomputed => 1.0,
        };
        let forward = self.forward_seconds.iter();
        shares
            .iter()
            .zip(forward)
            .map(|(share, forward)| scale * (share + again * forward))
            .collect()
    }

    fn backprop_stages(&self, of_blocks: &[f64], n_devices: usize) -> Vec<Stage> {
        best(of_blocks.len(), n_devices, Replicas::One, |stage| {
            self.backprop_stage(of_blocks, stage)
        })
    }

    fn backprop_stage(&self, of_blocks: &[f64], stage: &Stage) -> f64 {
        of_blocks[stage.blocks.clone()].iter().sum::<f64>() + self.round_trip(&stage.blocks)
    }

    /// Replicas split the batch and average their gradients.
    fn local_stage_seconds(&self, stage: &Stage) -> f64 {
        let Stage { blocks, replicas } = stage;
        let work: f64 = self.local_seconds[blocks.clone()].iter().sum();
        let gradients = self.parameter_bytes[blocks.clone()].iter().sum();
        (work + self.one_way(blocks)) / *replicas as f64
            + self.all_reduce_seconds(gradients, *replicas)
    }

    /// Seconds to hand on the last block's features; 0 for the end of the network.
    fn one_way(&self, blocks: &Range<usize>) -> f64 {
        if blocks.end == self.feature_bytes.len() {
            return 0.0;
        }
        let last = self.feature_bytes[blocks.clone()].last();
        last.map_or(0.0, |bytes| bytes / self.bytes_per_second)
    }

    /// Features one way, their gradient the other.
    fn round_trip(&self, blocks: &Range<usize>) -> f64 {
        2.0 * self.one_way(blocks)
    }

    /// A ring: each device sends 2(K−1)/K of the gradient.
    fn all_reduce_seconds(&self, bytes: f64, n_devices: usize) -> f64 {
        2.0 * (n_devices - 1) as f64 / n_devices as f64 * bytes / self.bytes_per_second
    }
}

/// M micro-batches through K stages: the slowest stage works M times, and K − 1 times it waits.
fn micro_batched_seconds(slowest_stage: f64, n_stages: usize, micro_batches: usize) -> f64 {
    slowest_stage * (micro_batches + n_stages - 1) as f64 / micro_batches as f64
}

fn slowest(stages: &[Stage], seconds: impl Fn(&Stage) -> f64) -> f64 {
    stages.iter().map(seconds).fold(0.0, f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// GMAC of the four blocks of the published brain network at 128³, learning reference §4.
    const PUBLISHED: [f64; 4] = [6.431, 19.422, 5.382, 0.382];

    /// A network whose passes take as long as their multiply-adds say, on devices with free transfers.
    fn by_macs(forward: &[f64]) -> Costs {
        let total: f64 = forward.iter().sum();
        Costs {
            local_seconds: forward.iter().map(|f| 2.0 * f).collect(),
            forward_seconds: forward.to_vec(),
            backprop_seconds: 3.0 * total - forward[0],
            feature_bytes: vec![0.0; forward.len()],
            parameter_bytes: vec![0.0; forward.len()],
            backprop_parameter_bytes: 0.0,
            bytes_per_second: 1.0,
        }
    }

    fn once_each(blocks: [Range<usize>; 2]) -> [Stage; 2] {
        blocks.map(|blocks| Stage {
            blocks,
            replicas: 1,
        })
    }

    fn speed(costs: &Costs, method: Method, n_devices: usize) -> f64 {
        costs.backprop_seconds / costs.estimate(method, n_devices).step_seconds
    }

    fn check(found: f64, expected: f64) {
        assert!(
            (found - expected).abs() < 0.005,
            "{found}, expected {expected}"
        );
    }

    const LOCAL: Method = Method::BlockLocal {
        replicas: Replicas::One,
    };

    #[test]
    fn balanced_gpipe_has_its_published_speeds() {
        for (micro_batches, expected) in [(4, 2.29), (8, 2.91), (16, 3.37), (32, 3.66)] {
            check(
                4.0 / (4.0 * micro_batched_seconds(0.25, 4, micro_batches)),
                expected,
            );
            // Four blocks of equal stages: the first one has no gradient of its input.
            let costs = by_macs(&[3.0, 2.0, 2.0, 2.0]);
            let activations = Activations::Kept;
            let gpipe = Method::GPipe {
                micro_batches,
                activations,
            };
            check(speed(&costs, gpipe, 4), expected);
            check(
                speed(&costs, Method::OneForwardOneBackward { micro_batches }, 4),
                expected,
            );
        }
    }

    #[test]
    fn recomputation_costs_gpipe_a_forward_pass_in_three() {
        let costs = by_macs(&[0.0, 1.0, 1.0, 1.0]);
        let gpipe = |activations| Method::GPipe {
            micro_batches: 8,
            activations,
        };
        let kept = costs.estimate(gpipe(Activations::Kept), 4).step_seconds;
        let recomputed = costs
            .estimate(gpipe(Activations::Recomputed), 4)
            .step_seconds;
        check(recomputed / kept, 4.0 / 3.0);
    }

    #[test]
    fn the_published_network_block_by_block_is_2_28_times_as_fast_on_four_devices_and_1_40_on_one()
    {
        let costs = by_macs(&PUBLISHED);
        check(costs.backprop_seconds, 88.42);
        check(speed(&costs, LOCAL, 4), 2.28);
        check(speed(&costs, LOCAL, 1), 1.40);
        // Plain shares, nothing saved by the gradients that are not computed.
        let shares = costs.local_seconds.iter().sum::<f64>();
        check(shares / costs.estimate(LOCAL, 4).step_seconds, 1.63);
    }

    #[test]
    fn two_devices_for_the_second_block_double_the_published_networks_speed() {
        let costs = by_macs(&PUBLISHED);
        let any = Method::BlockLocal {
            replicas: Replicas::OfBlock,
        };
        let estimate = costs.estimate(any, 4);
        assert_eq!(
            estimate.stages[1],
            Stage {
                blocks: 1..2,
                replicas: 2
            }
        );
        let shares = costs.local_seconds.iter().sum::<f64>();
        check(shares / estimate.step_seconds, 3.26);
        check(speed(&costs, any, 4), 2.0 * 2.2763);
    }

    #[test]
    fn one_device_takes_the_backprop_step_whatever_the_method() {
        let mut costs = by_macs(&PUBLISHED);
        costs.feature_bytes = vec![5.0; 4];
        costs.backprop_parameter_bytes = 7.0;
        for method in [
            Method::DataParallel,
            Method::LayerPlacement,
            Method::OneForwardOneBackward { micro_batches: 4 },
        ] {
            check(speed(&costs, method, 1), 1.0);
        }
    }

    #[test]
    fn transfers_are_counted_at_every_cut_and_gradients_around_the_ring() {
        let mut costs = by_macs(&[3.0, 2.0, 2.0, 2.0]);
        costs.feature_bytes = vec![20.0, 10.0, 30.0, 1e9];
        costs.backprop_parameter_bytes = 80.0;
        costs.bytes_per_second = 10.0;
        // T = 24. Four devices: 24/4 + 2·3/4·80/10.
        check(costs.estimate(Method::DataParallel, 4).step_seconds, 18.0);
        // The best cut of two is after the second block: there and back 2·10/10.
        let placed = costs.estimate(Method::LayerPlacement, 2);
        assert_eq!(placed.stages[0].blocks, 0..2);
        check(placed.step_seconds, 24.0 + 2.0);
        // Local: features one way only; (2·3 + 2·2) + 1 on the first device.
        check(costs.block_local_seconds(&once_each([0..2, 2..4])), 11.0);
        check(costs.block_local_seconds(&once_each([0..1, 1..4])), 12.0);
    }
}
