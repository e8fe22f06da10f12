//! `brainage vision quantize`: how a classifier does with fewer bits a weight.

use std::path::PathBuf;

use serde::Serialize;

use crate::data::batch::BatchSource as _;
use crate::engine::device::{DeviceName, open_one};
use crate::engine::seed::{Purpose, Seed};
use crate::quantize::comq::ComqParams;
use crate::quantize::{ByBits, Quantized, SWEEPS, observe, quantized};
use crate::run::dir::RunDir;
use crate::vision::config::VisionConfig;
use crate::vision::evaluation::{Heads, evaluate};
use crate::vision::model_file::Classifier;
use rand::seq::SliceRandom as _;

use super::super::study::runs::read_config;
use super::super::{Context, ExitStatus};
use super::train::first;

/// Options of `vision quantize`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  brainage vision quantize --run runs/one --bits 2,3,4,8 --images 256"
)]
pub struct Args {
    /// Run folder
    #[arg(long, value_name = "RUN")]
    run: PathBuf,
    /// Folder of the data set; otherwise the run's
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Bits of a weight, 2 to 8
    #[arg(long, value_delimiter = ',', default_values_t = [2, 3, 4, 5, 6, 7, 8], value_name = "BITS",
        value_parser = clap::value_parser!(u32).range(2..=8))]
    bits: Vec<u32>,
    /// Training images whose way through the network decides how weights are rounded
    #[arg(long, default_value_t = 128, value_name = "N")]
    images: usize,
    /// Device; otherwise the first of the run's
    #[arg(long, value_name = "NAME")]
    device: Option<DeviceName>,
}

/// The whole table.
#[derive(Serialize)]
struct Answer {
    n_test: usize,
    n_matrices: usize,
    n_weights: usize,
    full_error_percent: f64,
    by_bits: Vec<ByBits>,
}

/// Quantizes the units of the run's network by rounding and by COMQ, and classifies the test images with each.
///
/// # Errors
/// Where the run has no model, the data set is not usable, or a device is not there.
pub fn run(args: &Args, context: &Context) -> anyhow::Result<ExitStatus> {
    let run = RunDir::open(args.run.clone())?;
    let mut config: VisionConfig = read_config(&run)?;
    if let Some(root) = &args.data {
        config.data.root.clone_from(root);
    }
    let splits = config.data.open()?;
    let device = match args.device {
        Some(device) => device,
        None => first(&config.train.devices)?,
    };
    let lane = open_one(device)?;
    let classifier = Classifier::load(&run.model(), &lane.device)?;
    let error_of = |network: &Classifier| {
        let batch_size = config.train.batch_size;
        let evaluation = evaluate(network, &splits.test, batch_size, Heads::Last, &lane)?;
        Ok::<f64, crate::Error>(evaluation.error_percent)
    };
    let full_error_percent = error_of(&classifier)?;

    let mut members: Vec<usize> = (0..splits.training.len()).collect();
    members.shuffle(&mut Seed(0).stream(Purpose::Calibration, &[]));
    members.truncate(args.images.max(1));
    let batch = splits.training.batch(&members, None)?;
    let volumes = batch.volumes.to_device(&lane.device);
    let observer = observe(&classifier.network, volumes, Seed(0));
    let (mut by_bits, mut n_matrices, mut n_weights) = (Vec::new(), 0, 0);
    let progress = context
        .printer
        .progress("quantize", "widths", Some(args.bits.len() as u64));
    for bits in &args.bits {
        let with = |sweeps| -> Result<(f64, Quantized), crate::Error> {
            let params = ComqParams {
                bits: *bits,
                sweeps,
            };
            let result = lane
                .pool
                .install(|| quantized(&classifier.network, &observer, params));
            let quantized = Classifier {
                network: result.network.clone(),
                ..classifier.clone()
            };
            Ok((error_of(&quantized)?, result))
        };
        let ((rounded, by_rounding), (comq, by_comq)) = (with(0)?, with(SWEEPS)?);
        (n_matrices, n_weights) = (by_comq.n_matrices, by_comq.n_weights);
        by_bits.push(ByBits {
            bits: *bits,
            rounded,
            comq,
            rounding_residual: by_rounding.relative_error,
            comq_residual: by_comq.relative_error,
        });
        progress.advance(1);
    }
    drop(progress);
    let answer = Answer {
        n_test: splits.test.len(),
        n_matrices,
        n_weights,
        full_error_percent,
        by_bits,
    };
    context.printer.object(&answer)?;
    for line in told(&answer) {
        context.printer.line(&line)?;
    }
    Ok(ExitStatus::Done)
}

fn told(answer: &Answer) -> Vec<String> {
    let mut lines = vec![
        format!(
            "{} weights of {} layers quantized, the heads left as they are; {} test images",
            answer.n_weights, answer.n_matrices, answer.n_test
        ),
        "| bits | error, rounded | error, COMQ | left of the layers' outputs, rounded | COMQ |"
            .into(),
        "|--:|--:|--:|--:|--:|".into(),
        format!("| 32 | {:.2} % | | | |", answer.full_error_percent),
    ];
    let rows = answer.by_bits.iter().map(|row| {
        let [rounding, comq] =
            [row.rounding_residual, row.comq_residual].map(|share| 100.0 * share);
        format!(
            "| {} | {:.2} % | {:.2} % | {rounding:.3} % | {comq:.3} % |",
            row.bits, row.rounded, row.comq
        )
    });
    lines.extend(rows);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_a_line_for_full_weights_and_one_for_each_width() {
        let answer = Answer {
            n_test: 2000,
            n_matrices: 20,
            n_weights: 1234,
            full_error_percent: 30.0,
            by_bits: vec![ByBits {
                bits: 4,
                rounded: 35.5,
                comq: 31.25,
                rounding_residual: 0.02,
                comq_residual: 0.005,
            }],
        };
        let lines = told(&answer);
        assert_eq!(lines[3], "| 32 | 30.00 % | | | |");
        assert_eq!(lines[4], "| 4 | 35.50 % | 31.25 % | 2.000 % | 0.500 % |");
    }
}
