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
    let before = resident("VmRSS:")?;
    // From here on the system's record of the peak begins anew.
    fs_err::write(CLEAR_REFS, RESET_PEAK)?;
    for step in 0..STEPS {
        let mut message = batch.message(step);
        for trainer in &mut trainers {
            message = trainer.handle(message)?.1;
        }
        lane[0].wait()?;
    }
    let peak = resident("VmHWM:")?;
    Ok(StepMemory { before, peak })
}

/// Where the system is told to begin its record of the peak anew, and how.
const CLEAR_REFS: &str = "/proc/self/clear_refs";
const RESET_PEAK: &str = "5";

/// Most resident memory of this process since [`forget_peak`], bytes; none where the system does not tell.
pub(crate) fn peak() -> Option<u64> {
    resident("VmHWM:").ok()
}

/// Begins the record of the peak anew, where the system has one.
pub(crate) fn forget_peak() {
    let _no_record = fs_err::write(CLEAR_REFS, RESET_PEAK);
}

/// A line of the system's record of this process, in bytes.
fn resident(key: &str) -> Result<u64, Error> {
    let path = "/proc/self/status";
    let text = fs_err::read_to_string(path)?;
    let value = text.lines().find_map(|line| {
        let kilobytes = line.strip_prefix(key)?.trim().strip_suffix("kB")?;
        kilobytes.trim().parse::<u64>().ok()
    });
    let kilobytes = value.ok_or_else(|| Error::Data(format!("{path} has no {key}")))?;
    Ok(kilobytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn the_record_of_the_peak_sees_what_was_given_back() {
        fs_err::write("/proc/self/clear_refs", "5").unwrap();
        let before = resident("VmRSS:").unwrap();
        let large = vec![1u8; 200_000_000];
        assert_eq!(
            large.iter().map(|b| u64::from(*b)).sum::<u64>(),
            200_000_000
        );
        drop(large);
        let peak = resident("VmHWM:").unwrap();
        assert!(peak >= before + 190_000_000, "{before} {peak}");
    }
}
