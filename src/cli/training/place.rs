//! Where the network is cut and which device has which blocks: decided once, kept in the run folder.

use std::path::Path;
use std::sync::Arc;

use brainage_pipelines::atomic::write_atomically;
use brainage_pipelines::recipe::Recipe;
use burn::tensor::Device;
use serde::{Deserialize, Serialize};

use super::super::Printer;
use crate::Error;
use crate::config::train::{TrainConfig, refusal};
use crate::engine::calibration::{AGES_YEARS, NoiseBatch, block_seconds};
use crate::engine::device::{self, DeviceName, Lane};
use crate::engine::placement::{PlacementRule, Replicas, Stage, best, in_words};
use crate::engine::target::AgeTarget;
use crate::models::{Cuts, ModelConfig, NamedCuts, Network, Regime};
use crate::run::dir::RunDir;

/// `placement.json` of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Placement {
    /// Devices that it is for.
    pub devices: Vec<DeviceName>,
    /// Numbers of the units that begin a new block; in deep supervision, where no blocks are, a new part with a head.
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
    place_units(
        &Units {
            regime: config.train.regime,
            rule: config.train.placement,
            n: config.model.stages.len(),
            cuts: &config.model.cuts,
            starts: &|cuts| with_cuts_of(&config.model, cuts).part_starts(config.train.regime),
            seconds: &|cuts, lane| seconds(config, cuts, lane),
        },
        run,
        devices,
        printer,
    )
}

fn with_cuts_of(model: &ModelConfig, cuts: &Cuts) -> ModelConfig {
    ModelConfig {
        cuts: cuts.clone(),
        ..model.clone()
    }
}

/// Seconds of each block of a network with the given cuts, on a device.
type MeasureBlocks<'a> = dyn Fn(Vec<usize>, &Arc<Lane>) -> Result<Vec<f64>, Error> + 'a;

/// A network as far as its placement asks.
pub(in crate::cli) struct Units<'a> {
    /// Whether gradients cross from block to block.
    pub(in crate::cli) regime: Regime,
    /// How blocks are placed.
    pub(in crate::cli) rule: PlacementRule,
    /// How many units the network has.
    pub(in crate::cli) n: usize,
    /// Where it is to be cut.
    pub(in crate::cli) cuts: &'a Cuts,
    /// Numbers of the units that begin a part with a head, the first one included, for cuts that are not measured.
    pub(in crate::cli) starts: &'a dyn Fn(&Cuts) -> Result<Vec<usize>, Error>,
    /// Seconds of each block of the network with the given cuts, on a device.
    pub(in crate::cli) seconds: &'a MeasureBlocks<'a>,
}

/// The placement of a run of any network, see [`place`].
///
/// # Errors
/// As [`place`].
pub(in crate::cli) fn place_units(
    units: &Units<'_>,
    run: &RunDir,
    devices: &[DeviceName],
    printer: &Printer,
) -> anyhow::Result<Placement> {
    let kept = read(&run.placement())?;
    if let Some(kept) = kept.as_ref().filter(|kept| kept.devices == devices) {
        return Ok(kept.clone());
    }
    let cuts = kept.map_or_else(|| units.cuts.clone(), |kept| Cuts::Before(kept.cuts));
    let placement = decide(
        &Units {
            cuts: &cuts,
            ..*units
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
    units: &Units<'_>,
    devices: &[DeviceName],
    printer: &Printer,
) -> anyhow::Result<Placement> {
    let balanced_cuts = matches!(units.cuts, Cuts::Named(NamedCuts::Balanced));
    let (cuts, mut seconds) = if balanced_cuts && units.regime.is_cut() {
        let of_units = measure(units, (1..units.n).collect(), devices, printer)?;
        let n_blocks = devices.len().clamp(2, of_units.len().max(2));
        let of = |stage: &Stage| of_units[stage.blocks.clone()].iter().sum::<f64>();
        let blocks = best(of_units.len(), n_blocks, Replicas::One, of);
        let cuts = blocks.iter().skip(1).map(|block| block.blocks.start);
        (cuts.collect(), Some(blocks.iter().map(of).collect()))
    } else {
        let starts = (units.starts)(units.cuts)?;
        (starts[1..].to_vec(), None)
    };
    let n_blocks = units.regime.n_blocks(cuts.len() + 1);
    match units.regime {
        // All of one shape: which one is slower, nobody knows.
        Regime::NoProp { .. } => seconds = Some(vec![1.0; n_blocks]),
        _ if n_blocks == 1 => seconds = None,
        _ => {}
    }
    let stages = units.rule.place(n_blocks, devices.len(), || {
        let measured = match seconds.take() {
            Some(known) => known,
            None => measure(units, cuts.clone(), devices, printer)?,
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
    units: &Units<'_>,
    cuts: Vec<usize>,
    devices: &[DeviceName],
    printer: &Printer,
) -> anyhow::Result<Vec<f64>> {
    printer.status("measuring the blocks of the network, to place them on the devices");
    let lane = device::open(devices)?.into_iter().next();
    let lane = Arc::new(lane.ok_or_else(|| Error::Data("no device was named".into()))?);
    Ok((units.seconds)(cuts, &lane)?)
}

/// Seconds of each block of a brain network with the given cuts.
fn seconds(config: &TrainConfig, cuts: Vec<usize>, lane: &Arc<Lane>) -> Result<Vec<f64>, Error> {
    let section = &config.train;
    let recipe = Recipe::named(&config.data.recipe);
    let grid = recipe
        .map_err(|error| refusal("data.recipe", error.to_string()))?
        .grid
        .shape
        .0;
    let target = AgeTarget::of(section.loss, &AGES_YEARS)?;
    let model = with_cuts(&config.model, cuts);
    let (n_outputs, seed) = (target.n_outputs(), section.seed);
    let network = Network::new(&model, n_outputs, Regime::Local, seed, &Device::flex())?;
    let network = section.prepared(network, model.weights);
    let batch = NoiseBatch::new(section.batch_size, grid, seed);
    let objective = section.objective(target);
    block_seconds(&network.blocks, &objective, lane, &batch)
}
