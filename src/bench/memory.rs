//! Peak memory of a training step, as the system sees it (Linux).
//!
//! A process keeps what it once had, so each regime is measured in a process of its own: see `brainage bench memory`.

use std::sync::Arc;

use burn::tensor::Device;
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::config::train::TrainConfig;
use crate::engine::calibration::{AGES_YEARS, NoiseBatch};
use crate::engine::device::{DeviceName, open_one};
use crate::engine::target::AgeTarget;
use crate::engine::worker::BlockTrainer;
use crate::models::{Network, Regime};
use crate::process::{forget_peak, peak, resident};

/// Steps that are taken: the second one starts with all that the first one leaves.
const STEPS: u64 = 2;

/// Resident memory around a step, bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepMemory {
    /// With network and batch there, before the first step.
    pub before: u64,
    /// Most of it during the steps.
    pub peak: u64,
}

impl StepMemory {
    /// What the steps take on top: activations, gradients, what the optimizer remembers, buffers.
    pub fn of_steps(&self) -> u64 {
        self.peak.saturating_sub(self.before)
    }
}

/// Takes steps in this process, all blocks one after the other on one device, and looks at its memory.
///
/// # Errors
/// [`Error::Config`] where network and grid don't fit, what stops a block, and where the system does not tell.
pub fn measure_steps(
    config: &TrainConfig,
    grid: [usize; 3],
    regime: Regime,
    device: DeviceName,
) -> Result<StepMemory, Error> {
    config.model.feature_sides(grid)?;
    let section = &config.train;
    let target = AgeTarget::of(section.loss, &AGES_YEARS)?;
    let (n_outputs, seed) = (target.n_outputs(), section.seed);
    let network = Network::new(&config.model, n_outputs, regime, seed, &Device::flex())?;
    let network = section.prepared(network, config.model.weights);
    let lane = [Arc::new(open_one(device)?)];
    let objective = section.objective(target);
    let blocks = network.blocks.iter().enumerate();
    let mut trainers = blocks
        .map(|(number, block)| BlockTrainer::new(number, block, objective.clone(), &lane))
        .collect::<Result<Vec<_>, Error>>()?;
    let batch = NoiseBatch::new(section.batch_size, grid, seed);
    let before = resident()?;
    forget_peak()?;
    for step in 0..STEPS {
        let mut message = batch.message(step);
        for trainer in &mut trainers {
            message = trainer.handle(message)?.1;
        }
        lane[0].wait()?;
    }
    let peak =
        peak().ok_or_else(|| Error::Data("this system tells no peak of a process".into()))?;
    Ok(StepMemory { before, peak })
}
