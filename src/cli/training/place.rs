//! Where the network is cut and which device has which blocks: decided once, kept in the run folder.

use std::path::Path;
use std::sync::Arc;

use brainage_pipelines::atomic::write_atomically;
use brainage_pipelines::recipe::Recipe;
use burn::tensor::Device;
use serde::{Deserialize, Serialize};

use super::super::Printer;
use crate::Error;
use crate::config::train::TrainConfig;
use crate::engine::calibration::{AGES_YEARS, NoiseBatch, block_seconds};
use crate::engine::device::{self, DeviceName};
use crate::engine::placement::{Replicas, Stage, best, in_words};
use crate::engine::target::AgeTarget;
use crate::models::{Cuts, ModelConfig, NamedCuts, Network, Regime};
use crate::run::dir::RunDir;

/// `placement.json` of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Placement {
    /// Devices that it is for.
    pub devices: Vec<DeviceName>,
    /// Numbers of the units that begin a new block.
    pub cuts: Vec<usize>,
    /// Seconds of each block's step on the first device; none where nothing had to be measured.
    pub block_seconds: Option<Vec<f64>>,
    /// Blocks, numbered from 0, with how many devices each run of them has.
    pub stages: Vec<Stage>,
}

/// The placement of a run: the one that it keeps, or a new one, measured where times decide. The same devices get the
/// same placement again, and the cuts of a run never change.
///
/// # Errors
/// Where network and grid don't fit, a device is not there, or the file cannot be read or written.
pub fn place(
    config: &TrainConfig,
    run: &RunDir,
    devices: &[DeviceName],
    printer: &Printer,
) -> anyhow::Result<Placement> {
    let kept = read(&run.placement())?;
    if let Some(kept) = kept.as_ref().filter(|kept| kept.devices == devices) {
        return Ok(kept.clone());
    }
    let model = kept.map_or_else(
        || config.model.clone(),
        |kept| with_cuts(&config.model, kept.cuts),
    );
    let placement = decide(
        &TrainConfig {
            model,
            ..config.clone()
        },
        devices,
        printer,
    )?;
    write_atomically(&run.placement(), |out| {
        serde_json::to_writer_pretty(&mut *out, &placement).map_err(std::io::Error::other)
    })?;
    Ok(placement)
}

/// The network with its cuts as numbers.
pub fn with_cuts(model: &ModelConfig, cuts: Vec<usize>) -> ModelConfig {
    ModelConfig {
        cuts: Cuts::Before(cuts),
        ..model.clone()
    }
}

fn read(path: &Path) -> anyhow::Result<Option<Placement>> {
    if !path.exists() {
        return Ok(None);
    }
    let text = fs_err::read_to_string(path)?;
    let kept = serde_json::from_str(&text).map_err(|error| Error::Run {
        path: path.to_path_buf(),
        message: format!("not a placement ({error}); delete the file to have it made anew"),
    })?;
    Ok(Some(kept))
}

fn decide(
    config: &TrainConfig,
    devices: &[DeviceName],
    printer: &Printer,
) -> anyhow::Result<Placement> {
    let regime = config.train.regime;
    let balanced_cuts = matches!(config.model.cuts, Cuts::Named(NamedCuts::Balanced));
    let (cuts, mut seconds) = if balanced_cuts && regime == Regime::Local {
        let of_units = measure(
            config,
            (1..config.model.stages.len()).collect(),
            devices,
            printer,
        )?;
        let n_blocks = devices.len().clamp(2, of_units.len().max(2));
        let of = |stage: &Stage| of_units[stage.blocks.clone()].iter().sum::<f64>();
        let blocks = best(of_units.len(), n_blocks, Replicas::One, of);
        let cuts = blocks.iter().skip(1).map(|block| block.blocks.start);
        (cuts.collect(), Some(blocks.iter().map(of).collect()))
    } else {
        let starts = config.model.block_starts(regime)?;
        (starts[1..].to_vec(), None)
    };
    let n_blocks = cuts.len() + 1;
    let stages = config.train.placement.place(n_blocks, devices.len(), || {
        let measured = match seconds.take() {
            Some(known) => known,
            None => measure(config, cuts.clone(), devices, printer)?,
        };
        seconds = Some(measured.clone());
        anyhow::Ok(measured)
    })?;
    if let Some(seconds) = &seconds {
        let seconds: Vec<String> = seconds.iter().map(|s| format!("{s:.3}")).collect();
        let (seconds, placed) = (seconds.join(" "), in_words(&stages));
        printer.status(&format!(
            "blocks take {seconds} s a step; on the devices: {placed}"
        ));
    }
    Ok(Placement {
        devices: devices.to_vec(),
        cuts,
        block_seconds: seconds,
        stages,
    })
}

/// Seconds of each block of the network with the given cuts, on the first of the devices.
fn measure(
    config: &TrainConfig,
    cuts: Vec<usize>,
    devices: &[DeviceName],
    printer: &Printer,
) -> anyhow::Result<Vec<f64>> {
    printer.status("measuring the blocks of the network, to place them on the devices");
    let section = &config.train;
    let grid = Recipe::named(&config.data.recipe)?.grid.shape.0;
    let target = AgeTarget::of(section.loss, &AGES_YEARS)?;
    let model = with_cuts(&config.model, cuts);
    let (n_outputs, seed) = (target.n_outputs(), section.seed);
    let network = Network::new(&model, n_outputs, Regime::Local, seed, &Device::flex())?;
    let lane = device::open(devices)?.into_iter().next();
    let lane = Arc::new(lane.ok_or_else(|| Error::Data("no device was named".into()))?);
    let batch = NoiseBatch::new(section.batch_size, grid, seed);
    let objective = section.objective(target);
    Ok(block_seconds(&network.blocks, &objective, &lane, &batch)?)
}
