//! Measures a brain network as a whole: a forward pass, and training steps of both regimes.

use std::sync::Arc;
use std::time::Instant;

use serde::Serialize;

use super::pipeline::{OneDevice, network};
use super::timing::{Spread, in_turns};
use crate::Error;
use crate::config::train::TrainConfig;
use crate::engine::calibration::NoiseBatch;
use crate::engine::device::Lane;
use crate::models::Regime;
use crate::nn::weight::WeightForm;

/// Rounds that fill caches before any time counts.
const WARM_UP_ROUNDS: usize = 1;

/// One thing that a network does.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// Stable name for machines, such as `brain-cnn-128/step`: network, side of a cubic grid, and what it does.
    pub name: String,
    /// The network.
    pub network: &'static str,
    /// `forward`, `backprop` or `local`, the latter two with the form of the weights.
    pub what: &'static str,
    /// Volumes.
    pub batch: usize,
    /// Sides of a volume, voxels.
    pub grid: [usize; 3],
    /// Operations of the stages' direct convolutions, 10^9; heads are not counted.
    pub gflop: f64,
    /// Its times.
    #[serde(flatten)]
    pub times: Spread,
    /// 10^9 of these operations a second, at the shortest time.
    pub gflops: f64,
}

/// Forward pass as `predict` does it, a step of backprop and a step of block-local training, both with dense and with
/// eigen weights, in turns; each step with loss, gradients and update.
///
/// # Errors
/// Where grid and network don't fit, and what stops a block.
pub fn measure(
    name: &'static str,
    config: &TrainConfig,
    (grid, batch): ([usize; 3], usize),
    lane: &Arc<Lane>,
    repeats: usize,
) -> Result<Vec<Row>, Error> {
    let macs = config.model.forward_macs(grid)?;
    let gflop = |macs: u64| 2e-9 * macs as f64 * batch as f64;
    let (all, first): (u64, u64) = (macs.iter().sum(), macs[..1].iter().sum());
    // Values and the gradient of the weights of each layer; backprop alone asks for gradients of inputs, of all but the
    // first layer's.
    let (backprop, local) = (gflop(3 * all - first), gflop(2 * all));
    let counted = [
        ("forward", "forward", gflop(all)),
        ("step", "backprop, dense", backprop),
        ("local-step", "local, dense", local),
        ("step-eigen", "backprop, eigen", backprop),
        ("local-step-eigen", "local, eigen", local),
    ];
    let noise = NoiseBatch::new(batch, grid, config.train.seed);
    let of = |form| {
        let mut config = config.clone();
        config.model.weights = form;
        OneDevice::new(&config, lane)
    };
    let (mut dense, mut eigen) = (of(WeightForm::Dense)?, of(WeightForm::Eigen)?);
    let folded = network(config, Regime::Backprop)?.fold();
    let spreads = in_turns(WARM_UP_ROUNDS, repeats, || {
        lane.pool.install(|| {
            let volumes = noise.volumes.clone().to_device(&lane.device);
            let start = Instant::now();
            drop(folded.outputs(volumes));
            lane.wait()?;
            let mut seconds = vec![start.elapsed().as_secs_f64()];
            for trainers in [&mut dense, &mut eigen] {
                seconds.extend(trainers.backprop_step(&noise)?);
                // After the blocks' own times comes that of all of them.
                seconds.extend(trainers.local_step(&noise)?.pop());
            }
            Ok::<_, Error>(seconds)
        })
    })?;
    let side = match grid {
        [x, y, z] if x == y && y == z => format!("-{x}"),
        _ => String::new(),
    };
    let rows = counted.into_iter().zip(spreads);
    Ok(rows
        .map(|((does, what, gflop), times)| Row {
            name: format!("{name}{side}/{does}"),
            network: name,
            what,
            batch,
            grid,
            gflop,
            times,
            gflops: gflop / times.min,
        })
        .collect())
}
