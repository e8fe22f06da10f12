//! `brainage quantize`: how a model of ages does with fewer bits a weight.

use std::path::PathBuf;

use brainage_cohorts::{CohortIndex, Split};
use brainage_pipelines::recipe::Recipe;
use burn::tensor::Tensor;
use rand::seq::SliceRandom as _;

use crate::Error;
use crate::config::train::TrainConfig;
use crate::data::batch::{BatchSource as _, Volumes};
use crate::engine::device::{DeviceName, Lane, open_one};
use crate::engine::seed::{Purpose, Seed};
use crate::eval::metrics::{Pair, mae};
use crate::model_file::Model;
use crate::models::Network;
use crate::predict::predictor::{AgePredictor, PredictSettings};
use crate::quantize::observe;
use crate::quantize::table::{QuantizationTable, Quantizing};
use crate::run::dir::RunDir;

use super::ages::{AgeTable, join};
use super::study::runs::read_config;
use super::training::judge::{in_split, visit};
use super::training::{preprocess, samples};
use super::{CliError, Context, ExitStatus, Printer, Progress};

/// Judge the model of a run with fewer bits a weight, by rounding and by COMQ
///
/// The units of the network are quantized from what some training scans give them, without any training, and ages of the test
/// scans are predicted with each number of bits. The heads stay as they are.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  brainage quantize --run runs/2026-11-25-ukbb --bits 2,3,4,8 --scans 64"
)]
pub struct Args {
    /// Run folder
    #[arg(long, value_name = "RUN")]
    run: PathBuf,
    #[command(flatten)]
    bits: Bits,
    /// Training scans whose way through the network decides how weights are rounded
    #[arg(long, default_value_t = 64, value_name = "N")]
    scans: usize,
    /// Device
    #[arg(long, value_name = "NAME", default_value_t = DeviceName::Cpu)]
    device: DeviceName,
    /// Folder of the cache; otherwise the project's, or the user's
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,
}

/// How many bits are tried.
#[derive(Debug, clap::Args)]
pub(super) struct Bits {
    /// Bits of a weight, 2 to 8
    #[arg(long, value_delimiter = ',', default_values_t = [2, 3, 4, 5, 6, 7, 8], value_name = "BITS",
        value_parser = clap::value_parser!(u32).range(2..=8))]
    pub(super) bits: Vec<u32>,
}

impl Bits {
    /// Advances by one with each number of bits.
    pub(super) fn progress(&self, printer: &Printer) -> Progress {
        printer.progress("quantize", "widths", Some(self.bits.len() as u64))
    }
}

/// Quantizes the units of the run's network by rounding and by COMQ, and predicts the test scans with each.
///
/// # Errors
/// Where the run has no model or no test scan that can be judged, a scan is gone that the cache has not, or the device is not
/// there.
pub fn run(args: &Args, context: &Context) -> anyhow::Result<ExitStatus> {
    let run = RunDir::open(args.run.clone())?;
    let config: TrainConfig = read_config(&run)?;
    let index = CohortIndex::read_csv(&run.index())?;
    let cache = context.cache(args.cache.as_deref())?;
    let lane = open_one(args.device)?;
    let network = Model::load(&run.model(), &lane.device)?.network;
    let recipe = Recipe::named(&config.data.recipe)?;
    let reports = preprocess(
        &index,
        &recipe,
        &cache,
        context,
        "give the same command again",
    )?;

    let settings = PredictSettings::default();
    let device = open_one(args.device)?;
    let mut predictor = AgePredictor::load(&[run.model()], device, settings)?;
    let ages = AgeTable::read(&run.index())?;
    let mut judge = |network: Network| -> Result<(f64, usize), Error> {
        predictor.replace_network(network);
        let rows = in_split(&index, &reports, Split::Test);
        let rows: Vec<_> = rows
            .map(|(row, report)| predictor.row(report, visit(row)))
            .collect();
        let cases = join(&rows, Some(&ages)).cases;
        let pairs = cases.iter().map(|case| Pair {
            age_years: case.age_years,
            predicted_age_years: case.predicted_age_years,
        });
        let pairs: Vec<Pair> = pairs.collect();
        let mae_years = mae(&pairs);
        let none = || Error::Data("no test scan of the run could be judged".into());
        Ok((mae_years.ok_or_else(none)?, pairs.len()))
    };
    let (full_error, n_test) = judge(network.clone())?;

    let training = samples(&index, &reports, Split::Train, &recipe.grid);
    let volumes = Volumes {
        source: &training,
        augmentation: config.data.augmentation,
    };
    let batches = calibration(&volumes, (args.scans, config.train.batch_size), &lane)?;
    let observer = observe(&network, batches, Seed(0));
    let quantizing = Quantizing {
        network: &network,
        observer: &observer,
        lane: &lane,
        bits: &args.bits.bits,
    };
    let progress = args.bits.progress(&context.printer);
    let error_of = |network| judge(network).map(|(mae_years, _)| mae_years);
    let (by_bits, [n_matrices, n_weights]) = quantizing.lines(error_of, || progress.advance(1))?;
    drop(progress);
    let table = QuantizationTable {
        unit: "years",
        judged_on: "test scans",
        n_test,
        n_matrices,
        n_weights,
        full_error,
        by_bits,
    };
    context.printer.object(&table)?;
    context.printer.line(&table.to_markdown())?;
    Ok(ExitStatus::Done)
}

/// Some training scans, as they are without augmentation, in batches.
fn calibration(
    volumes: &Volumes<'_>,
    (n, batch_size): (usize, usize),
    lane: &Lane,
) -> anyhow::Result<Vec<Tensor<5>>> {
    let mut members: Vec<usize> = (0..volumes.len()).collect();
    members.shuffle(&mut Seed(0).stream(Purpose::Calibration, &[]));
    members.truncate(n.max(1));
    if members.is_empty() {
        let hint =
            "the scans that a run learned from must be in the cache, or where its index.csv says";
        return Err(CliError::failed("no training scan of the run is there", hint).into());
    }
    let batches = members.chunks(batch_size.max(1)).map(|members| {
        let batch = volumes.batch(members, None)?;
        Ok(batch.volumes.to_device(&lane.device))
    });
    batches.collect()
}
