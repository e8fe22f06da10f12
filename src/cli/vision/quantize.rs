//! `brainage vision quantize`: how a classifier does with fewer bits a weight.

use std::path::PathBuf;

use rand::seq::SliceRandom as _;

use crate::Error;
use crate::data::batch::BatchSource as _;
use crate::engine::seed::{Purpose, Seed};
use crate::models::Network;
use crate::quantize::observe;
use crate::quantize::table::{QuantizationTable, Quantizing};
use crate::vision::evaluation::{Heads, evaluate};
use crate::vision::model_file::Classifier;

use super::super::quantize::Bits;
use super::super::{Context, ExitStatus};
use super::opened::{Opened, Place};

/// Options of `vision quantize`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  brainage vision quantize --run runs/one --bits 2,3,4,8 --images 256"
)]
pub struct Args {
    /// Run folder
    #[arg(long, value_name = "RUN")]
    run: PathBuf,
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    bits: Bits,
    /// Training images whose way through the network decides how weights are rounded
    #[arg(long, default_value_t = 128, value_name = "N")]
    images: usize,
}

/// Quantizes the units of the run's network by rounding and by COMQ, and classifies the test images with each.
///
/// # Errors
/// Where the run has no model, the data set is not usable, or a device is not there.
pub fn run(args: &Args, context: &Context) -> anyhow::Result<ExitStatus> {
    let Opened {
        run,
        config,
        splits,
        lane,
    } = args.place.open(&args.run)?;
    let classifier = Classifier::load(&run.model(), &lane.device)?;
    let error_of = |network: Network| -> Result<f64, Error> {
        let classifier = Classifier {
            network,
            ..classifier.clone()
        };
        let batch_size = config.train.batch_size;
        Ok(evaluate(&classifier, &splits.test, batch_size, Heads::Last, &lane)?.error_percent)
    };
    let full_error = error_of(classifier.network.clone())?;

    let mut members: Vec<usize> = (0..splits.training.len()).collect();
    members.shuffle(&mut Seed(0).stream(Purpose::Calibration, &[]));
    members.truncate(args.images.max(1));
    let batch = splits.training.batch(&members, None)?;
    let volumes = batch.volumes.to_device(&lane.device);
    let observer = observe(&classifier.network, [volumes], Seed(0));
    let quantizing = Quantizing {
        network: &classifier.network,
        observer: &observer,
        lane: &lane,
        bits: &args.bits.bits,
    };
    let progress = args.bits.progress(&context.printer);
    let (by_bits, [n_matrices, n_weights]) = quantizing.lines(error_of, || progress.advance(1))?;
    drop(progress);
    let table = QuantizationTable {
        unit: "%",
        judged_on: "test images",
        n_test: splits.test.len(),
        n_matrices,
        n_weights,
        full_error,
        by_bits,
    };
    context.printer.object(&table)?;
    context.printer.line(&table.to_markdown())?;
    Ok(ExitStatus::Done)
}
