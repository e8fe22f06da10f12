//! The table of `bench pipeline`: what was measured, and what follows from it by the speed model.

use serde::Serialize;

use super::pipeline::{Measured, PipelinedRun, RunKind};
use super::speed_model::{Activations, Costs, Method};
use super::timing::Spread;
use crate::engine::placement::{Replicas, in_words};

/// Numbers of devices that are always computed.
const DEVICE_COUNTS: [usize; 3] = [1, 2, 4];
/// Numbers of micro-batches that are computed.
const MICRO_BATCHES: [usize; 2] = [4, 16];

/// One line of the table; all times are seconds for one batch.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// Stable name for machines, such as `block-local/2`.
    pub name: String,
    /// The same in words.
    pub what: String,
    /// Whether it was measured; if not it was computed from what was.
    pub measured: bool,
    /// Devices.
    pub devices: usize,
    /// Which device has which blocks, where they are placed.
    pub placement: Option<String>,
    /// Median, or what was computed.
    pub seconds: f64,
    /// Shortest measured.
    pub min: Option<f64>,
    /// Longest measured.
    pub max: Option<f64>,
    /// How often it was measured.
    pub repeats: usize,
    /// Times as fast as the measured backprop step of one device; for whole steps.
    pub speedup: Option<f64>,
    /// Part of the network's multiply-adds; for single blocks.
    pub mac_share: Option<f64>,
    /// What the speed model says about a measured pipelined run.
    pub computed_seconds: Option<f64>,
    /// The same as a part of what was measured.
    pub computed_over_measured: Option<f64>,
}

/// All rows: measured blocks, measured steps, measured pipelined runs, then the computed methods, each for several
/// numbers of devices. `bytes_per_second` is the bandwidth that is assumed between devices.
pub fn rows(measured: &Measured, bytes_per_second: f64) -> Vec<Row> {
    let costs = costs(measured, bytes_per_second);
    let backprop = measured.backprop_step.seconds;
    let mut rows = block_rows(measured);
    rows.push(Row {
        speedup: Some(1.0),
        ..measured_row("backprop/1", "backprop", measured.backprop_step)
    });
    rows.push(Row {
        speedup: Some(backprop / measured.local_step.seconds),
        ..measured_row(
            "local/1",
            "all blocks, one after the other",
            measured.local_step,
        )
    });
    let pipelined = measured.pipelined.iter();
    rows.extend(pipelined.map(|run| pipelined_row(run, &costs)));
    let mut counts = DEVICE_COUNTS.to_vec();
    counts.push(measured.n_devices);
    counts.sort_unstable();
    counts.dedup();
    for (name, what, method) in methods() {
        rows.extend(counts.iter().map(|n| {
            let estimate = costs.estimate(method, *n);
            Row {
                name: format!("{name}/{n}"),
                what: what.clone(),
                measured: false,
                devices: *n,
                placement: (!estimate.stages.is_empty()).then(|| in_words(&estimate.stages)),
                seconds: estimate.step_seconds,
                min: None,
                max: None,
                repeats: 0,
                speedup: Some(backprop / estimate.step_seconds),
                mac_share: None,
                computed_seconds: None,
                computed_over_measured: None,
            }
        }));
    }
    rows
}

fn costs(measured: &Measured, bytes_per_second: f64) -> Costs {
    let medians = |spreads: &[Spread]| spreads.iter().map(|spread| spread.seconds).collect();
    let bytes = |sizes: &[usize]| sizes.iter().map(|n| *n as f64).collect();
    Costs {
        local_seconds: medians(&measured.local),
        forward_seconds: medians(&measured.forward),
        backprop_seconds: measured.backprop_step.seconds,
        feature_bytes: bytes(&measured.feature_bytes),
        parameter_bytes: bytes(&measured.parameter_bytes),
        backprop_parameter_bytes: measured.backprop_parameter_bytes as f64,
        bytes_per_second,
    }
}

fn methods() -> Vec<(String, String, Method)> {
    let mut all = vec![
        (
            "data-parallel".into(),
            "data parallel".into(),
            Method::DataParallel,
        ),
        (
            "layer-placement".into(),
            "layers placed, no micro-batches".into(),
            Method::LayerPlacement,
        ),
    ];
    for micro_batches in MICRO_BATCHES {
        let gpipe = |activations| Method::GPipe {
            micro_batches,
            activations,
        };
        all.push((
            format!("gpipe-m{micro_batches}"),
            format!("GPipe, M = {micro_batches}"),
            gpipe(Activations::Kept),
        ));
        all.push((
            format!("gpipe-recomputed-m{micro_batches}"),
            format!("GPipe, M = {micro_batches}, recomputing"),
            gpipe(Activations::Recomputed),
        ));
        all.push((
            format!("1f1b-m{micro_batches}"),
            format!("1F1B, M = {micro_batches}"),
            Method::OneForwardOneBackward { micro_batches },
        ));
    }
    for (name, what, replicas) in [
        ("block-local", "block-local pipeline", Replicas::One),
        (
            "block-local-replicas",
            "… with replicas of slow blocks",
            Replicas::OfBlock,
        ),
    ] {
        all.push((name.into(), what.into(), Method::BlockLocal { replicas }));
    }
    all
}

fn measured_row(name: &str, what: &str, spread: Spread) -> Row {
    Row {
        name: name.to_owned(),
        what: what.to_owned(),
        measured: true,
        devices: 1,
        placement: None,
        seconds: spread.seconds,
        min: Some(spread.min),
        max: Some(spread.max),
        repeats: spread.repeats,
        speedup: None,
        mac_share: None,
        computed_seconds: None,
        computed_over_measured: None,
    }
}

fn block_rows(measured: &Measured) -> Vec<Row> {
    let blocks = measured
        .local
        .iter()
        .zip(&measured.forward)
        .zip(&measured.mac_shares);
    let rows = blocks
        .enumerate()
        .flat_map(|(i, ((local, forward), share))| {
            let number = i + 1;
            let of_block = |part: &str, what: &str, spread: Spread| Row {
                mac_share: Some(*share),
                ..measured_row(
                    &format!("block-{number}/{part}"),
                    &format!("block {number}, {what}"),
                    spread,
                )
            };
            [
                of_block("forward", "forward", *forward),
                of_block("local-step", "local step", *local),
            ]
        });
    rows.collect()
}

fn pipelined_row(run: &PipelinedRun, costs: &Costs) -> Row {
    let n = run.stages.iter().map(|stage| stage.replicas).sum();
    let (name, what) = match run.kind {
        RunKind::OneDevice => ("one-device", "through the queues of one device"),
        RunKind::Even => ("even", "pipelined, as many blocks a device"),
        RunKind::Balanced => ("balanced", "pipelined, balanced by time"),
        RunKind::Replicated => ("replicated", "pipelined, slow blocks on several devices"),
        RunKind::DataParallel => ("data-parallel", "backprop, data parallel"),
    };
    let (placement, computed) = match run.kind {
        RunKind::DataParallel => (None, costs.estimate(Method::DataParallel, n).step_seconds),
        _ => (
            Some(in_words(&run.stages)),
            costs.block_local_seconds(&run.stages),
        ),
    };
    Row {
        devices: n,
        placement,
        speedup: Some(costs.backprop_seconds / run.step.seconds),
        computed_seconds: Some(computed),
        computed_over_measured: Some(computed / run.step.seconds),
        ..measured_row(&format!("run-{name}/{n}"), what, run.step)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::device::DeviceName;
    use crate::engine::placement::even;

    fn spread(seconds: f64) -> Spread {
        Spread {
            seconds,
            min: seconds,
            max: seconds,
            repeats: 3,
        }
    }

    /// Four blocks of 1, 4, 2 and 1 s; backprop takes 12 s.
    fn measured() -> Measured {
        let blocks = [1.0, 4.0, 2.0, 1.0].map(spread).to_vec();
        Measured {
            device: DeviceName::LogicalCpu(0),
            n_threads: 1,
            n_devices: 2,
            local: blocks.clone(),
            forward: blocks,
            local_step: spread(8.0),
            backprop_step: spread(12.0),
            pipelined: vec![PipelinedRun {
                kind: RunKind::Even,
                stages: even(4, 2),
                step: spread(6.0),
            }],
            feature_bytes: vec![0; 4],
            parameter_bytes: vec![0; 4],
            backprop_parameter_bytes: 0,
            mac_shares: vec![0.25; 4],
        }
    }

    fn row(rows: &[Row], name: &str) -> Row {
        let found = rows.iter().find(|row| row.name == name);
        found.unwrap_or_else(|| panic!("no row {name}")).clone()
    }

    #[test]
    fn a_measured_pipelined_run_is_compared_with_its_own_placement() {
        let run = row(&rows(&measured(), 1.0), "run-even/2");
        assert!(run.measured);
        assert_eq!(run.placement.as_deref(), Some("1-2 | 3-4"));
        assert_eq!((run.seconds, run.speedup), (6.0, Some(2.0)));
        assert_eq!(run.computed_seconds, Some(5.0));
        assert_eq!(run.computed_over_measured, Some(5.0 / 6.0));
    }

    #[test]
    fn computed_rows_say_so_and_have_no_spread() {
        let rows = rows(&measured(), 1.0);
        for row in rows.iter().filter(|row| !row.measured) {
            assert_eq!(
                (row.min, row.max, row.repeats),
                (None, None, 0),
                "{}",
                row.name
            );
        }
        let local = row(&rows, "block-local/4");
        assert_eq!((local.seconds, local.speedup), (4.0, Some(3.0)));
        let replicas = row(&rows, "block-local-replicas/4");
        assert_eq!(replicas.placement.as_deref(), Some("1 | 2 ×2 | 3-4"));
        assert_eq!((replicas.seconds, replicas.speedup), (3.0, Some(4.0)));
        assert_eq!(row(&rows, "data-parallel/4").speedup, Some(4.0));
        assert_eq!(row(&rows, "layer-placement/4").speedup, Some(1.0));
    }

    #[test]
    fn the_names_of_the_rows_are_all_different() {
        let mut names: Vec<String> = rows(&measured(), 1.0)
            .into_iter()
            .map(|row| row.name)
            .collect();
        let n = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), n);
    }
}
