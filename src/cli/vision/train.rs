//! `brainage vision train`: a config becomes a run folder with a classifier and its evaluation.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::tensor::Device;

use crate::Error;
use crate::data::sampling::Draw;
use crate::engine::calibration::{NoiseBatch, block_seconds};
use crate::engine::device::{DeviceName, Lane, open_one};
use crate::models::{Cuts, ImageModelConfig, NetworkDraw, Regime};
use crate::run::dir::RunDir;
use crate::vision::config::{ImageSplits, VisionConfig};
use crate::vision::evaluation::{ClassifierEvaluation, Heads, evaluate};
use crate::vision::model_file::{Classifier, ClassifierFacts};

use super::super::study::runs::read_config;
use super::super::training::fit::{Fit, fit};
use super::super::training::place::{Placement, Units, place_units};
use super::super::{CliError, Context, ExitStatus};

/// Options of `vision train`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  brainage vision train --config configs/vision/cifar10-resnet18-small.toml --data cifar-10-batches-bin --out runs/one\n  \
    brainage vision train --config configs/vision/cifar10-resnet50-enn-local.toml --set train.seed=2 --devices cuda:0 --out runs/two\n  \
    brainage vision train --resume runs/two"
)]
pub struct Args {
    /// Training config
    #[arg(
        long,
        value_name = "FILE",
        required_unless_present = "resume",
        conflicts_with = "resume"
    )]
    config: Option<PathBuf>,
    /// Change one key of the config; repeatable
    #[arg(long, value_name = "SECTION.KEY=VALUE", conflicts_with = "resume")]
    set: Vec<String>,
    /// Folder of the data set; the same as --set data.root=DIR
    #[arg(long, value_name = "DIR", conflicts_with = "resume")]
    data: Option<PathBuf>,
    /// Devices of the blocks, such as cpu, cpu:0,cpu:1 or cuda:0
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    devices: Vec<DeviceName>,
    /// Run folder that is made
    #[arg(
        long,
        value_name = "RUN",
        required_unless_present = "resume",
        conflicts_with = "resume"
    )]
    out: Option<PathBuf>,
    /// Run folder that is continued from its last checkpoint
    #[arg(long, value_name = "RUN")]
    resume: Option<PathBuf>,
}

/// Trains and says what came of it.
///
/// # Errors
/// Where the config, the data set or a device is not usable, or a file cannot be written.
pub fn run(args: &Args, context: &Context) -> anyhow::Result<ExitStatus> {
    let (config, run) = match (&args.resume, &args.config, &args.out) {
        (Some(folder), _, _) => resumed(folder)?,
        (None, Some(path), Some(out)) => started(args, path, out)?,
        (None, _, _) => {
            return Err(CliError::usage(
                "nothing to train",
                "give --config and --out, or --resume",
            )
            .into());
        }
    };
    let evaluation = execute(&config, &run, &args.devices, context)?;
    match evaluation {
        Some(evaluation) => super::eval::say(&evaluation, &context.printer)?,
        None => context
            .printer
            .warning("the data set has no test images here, so the model is not judged"),
    }
    Ok(ExitStatus::Done)
}

/// Trains what a run's config says, from its last checkpoint if there is one, and judges it on the test images; without any
/// there is no evaluation. Where no devices are named, those of the config are taken.
pub(super) fn execute(
    config: &VisionConfig,
    run: &RunDir,
    devices: &[DeviceName],
    context: &Context,
) -> anyhow::Result<Option<ClassifierEvaluation>> {
    let printer = &context.printer;
    let splits = config.data.open()?;
    for note in &splits.notes {
        printer.warning(note);
    }
    printer.status(&format!(
        "{}: {} images learn, {} watch, {} test; {} classes",
        config.data.dataset.title(),
        splits.training.images.len(),
        splits.validation.images.len(),
        splits.test.images.len(),
        splits.classes.len()
    ));
    let devices = if devices.is_empty() {
        config.train.devices.as_slice()
    } else {
        devices
    };
    let placement = place(config, splits.classes.len(), run, devices, context)?;
    let classifier = train(config, &splits, (run, &placement), context)?;
    classifier.save(&run.model())?;
    if splits.test.images.is_empty() {
        return Ok(None);
    }
    let lane = open_one(first(devices)?)?;
    let evaluation = judge((run, &splits), config.train.batch_size, Heads::Last, &lane)?;
    evaluation.write(&run.evaluation())?;
    Ok(Some(evaluation))
}

/// Judges the model of a run as it lies on disk, on the test images.
pub(super) fn judge(
    (run, splits): (&RunDir, &ImageSplits),
    batch_size: usize,
    heads: Heads,
    lane: &Lane,
) -> Result<ClassifierEvaluation, Error> {
    let classifier = Classifier::load(&run.model(), &lane.device)?;
    evaluate(&classifier, &splits.test, batch_size, heads, lane)
}

/// The first of the devices.
pub(super) fn first(devices: &[DeviceName]) -> Result<DeviceName, Error> {
    let first = devices.first().copied();
    first.ok_or_else(|| Error::Data("no device was named".into()))
}

fn resumed(folder: &Path) -> anyhow::Result<(VisionConfig, RunDir)> {
    let run = RunDir::open(folder.to_path_buf())?;
    let config = read_config(&run)?;
    Ok((config, run))
}

fn started(args: &Args, path: &Path, out: &Path) -> anyhow::Result<(VisionConfig, RunDir)> {
    let mut config = VisionConfig::parse(&fs_err::read_to_string(path)?, path, &args.set)?;
    if let Some(root) = &args.data {
        config.data.root.clone_from(root);
    }
    // Refused before a folder is made for it.
    config.data.open()?;
    let run = RunDir::create(out.to_path_buf())?;
    run.write_config(&config.to_toml()?)?;
    Ok((config, run))
}

fn place(
    config: &VisionConfig,
    n_classes: usize,
    run: &RunDir,
    devices: &[DeviceName],
    context: &Context,
) -> anyhow::Result<Placement> {
    let section = &config.train;
    let seconds = |cuts: Vec<usize>, lane: &Arc<Lane>| {
        let seed = section.seed;
        let device = Device::flex();
        let draw = NetworkDraw {
            n_outputs: n_classes,
            regime: Regime::Local,
            seed,
            device: &device,
        };
        let network = with_cuts(&config.model, Cuts::Before(cuts));
        let network = network.network(config.data.side, draw)?;
        let network = section.prepared(network, config.model.weights);
        let batch = NoiseBatch::of_images(section.batch_size, config.data.side, n_classes, seed);
        let objective = section.objective(config.target(n_classes));
        block_seconds(&network.blocks, &objective, lane, &batch)
    };
    let units = Units {
        regime: section.regime,
        rule: section.placement,
        n: config.model.n_units(),
        cuts: &config.model.cuts,
        starts: &|cuts| with_cuts(&config.model, cuts.clone()).part_starts(section.regime),
        seconds: &seconds,
    };
    place_units(&units, run, devices, &context.printer)
}

fn with_cuts(model: &ImageModelConfig, cuts: Cuts) -> ImageModelConfig {
    ImageModelConfig {
        cuts,
        ..model.clone()
    }
}

fn train(
    config: &VisionConfig,
    splits: &ImageSplits,
    (run, placement): (&RunDir, &Placement),
    context: &Context,
) -> anyhow::Result<Classifier> {
    let section = &config.train;
    let n_classes = splits.classes.len();
    let model = with_cuts(&config.model, Cuts::Before(placement.cuts.clone()));
    let device = Device::flex();
    let draw = NetworkDraw {
        n_outputs: n_classes,
        regime: section.regime,
        seed: section.seed,
        device: &device,
    };
    let network = model.network(config.data.side, draw)?;
    let network = section.prepared(network, model.weights);
    let blocks = fit(Fit {
        section,
        network: &network,
        objective: section.objective(config.target(n_classes)),
        training: &splits.training,
        validation: &splits.validation,
        draw: Draw::Shuffled,
        run,
        placement,
        context,
    })?;
    let facts = ClassifierFacts {
        model,
        regime: section.regime,
        classes: splits.classes.clone(),
        side: config.data.side,
        normalization: splits.training.normalization,
        dataset: config.data.dataset,
        n_training: splits.training.images.len(),
        epochs: section.epochs,
        seed: section.seed.0,
    };
    Ok(Classifier::new(facts, blocks))
}
