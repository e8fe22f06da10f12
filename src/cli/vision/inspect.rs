//! `brainage vision inspect`: what the classifier of a run looks like inside.

use std::path::PathBuf;

use brainage_pipelines::atomic::write_atomically;
use serde::Serialize;

use crate::data::batch::BatchSource as _;
use crate::vision::anatomy::{
    Correlation, Orthogonality, Spectrum, correlations, orthogonality, spectra, to_csv,
};
use crate::vision::model_file::Classifier;

use super::super::training::events;
use super::super::{CliError, Context, ExitStatus};
use super::opened::{Opened, Place};

/// Options of `vision inspect`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  brainage vision inspect runs/one --csv spectra.csv")]
pub struct Args {
    /// Run folder
    #[arg(value_name = "RUN")]
    run: PathBuf,
    /// All singular values as comma-separated values
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
    #[command(flatten)]
    place: Place,
}

/// What was found.
#[derive(Serialize)]
struct Answer {
    n_images: usize,
    correlations: Vec<Correlation>,
    orthogonality: Vec<Orthogonality>,
    spectra: Vec<Spectrum>,
}

/// Looks at weights and, on the validation images, at features.
///
/// # Errors
/// Where the run has no model, the data set is not usable or has no validation images, or a device is not there.
pub fn run(args: &Args, context: &Context) -> anyhow::Result<ExitStatus> {
    let Opened {
        run,
        config,
        splits,
        lane,
    } = args.place.open(&args.run)?;
    let images = splits.validation;
    if images.len() < 2 {
        let hint = "data.validation is the share of the training images that only watch";
        let said = "the run has no two validation images to correlate features over";
        return Err(CliError::failed(said, hint).into());
    }
    let network = Classifier::load(&run.model(), &lane.device)?.network;
    let answer = Answer {
        n_images: images.len(),
        correlations: correlations(&network, &images, config.train.batch_size, &lane)?,
        orthogonality: orthogonality(&events(&run)?),
        spectra: spectra(&network),
    };
    if let Some(path) = &args.csv {
        let csv = to_csv(&answer.spectra)?;
        write_atomically(path, |out| out.write_all(csv.as_bytes()))?;
    }
    context.printer.object(&answer)?;
    for line in told(&answer) {
        context.printer.line(&line)?;
    }
    Ok(ExitStatus::Done)
}

fn told(answer: &Answer) -> Vec<String> {
    let mut lines = vec![
        format!(
            "Features before each head, over {} validation images:",
            answer.n_images
        ),
        String::new(),
        "| head | channels | mean of abs(r) between channels | effective rank, share |".into(),
        "|--:|--:|--:|--:|".into(),
    ];
    let correlations = answer.correlations.iter();
    lines.extend(correlations.map(|found| {
        format!(
            "| {} | {} | {:.3} | {:.3} |",
            found.head, found.n_channels, found.mean_absolute, found.effective_rank_share
        )
    }));
    if !answer.orthogonality.is_empty() {
        lines.extend([
            String::new(),
            "Departure of bases from orthonormality at the end of the last epoch:".into(),
            String::new(),
            "| block | layers | mean | largest |".into(),
            "|--:|--:|--:|--:|".into(),
        ]);
        let blocks = answer.orthogonality.iter();
        lines.extend(blocks.map(|found| {
            format!(
                "| {} | {} | {:.2e} | {:.2e} |",
                found.block, found.n_layers, found.mean, found.largest
            )
        }));
    }
    lines.extend([
        String::new(),
        "Singular values of the weight matrices:".into(),
        String::new(),
        "| layer | matrix | largest | smallest | stable rank |".into(),
        "|---|--:|--:|--:|--:|".into(),
    ]);
    let spectra = answer.spectra.iter();
    lines.extend(spectra.map(|spectrum| {
        let values = &spectrum.singular_values;
        let or_nan = |value: Option<&f64>| value.copied().unwrap_or(f64::NAN);
        format!(
            "| {} | {}×{} | {:.3} | {:.3} | {:.1} |",
            spectrum.layer,
            spectrum.rows,
            spectrum.columns,
            or_nan(values.first()),
            or_nan(values.last()),
            spectrum.stable_rank()
        )
    }));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_bases_and_layers_have_a_table_each_and_dense_weights_have_no_bases() {
        let mut answer = Answer {
            n_images: 900,
            correlations: vec![Correlation {
                head: 1,
                n_channels: 8,
                mean_absolute: 0.25,
                effective_rank_share: 0.75,
            }],
            orthogonality: vec![Orthogonality {
                block: 1,
                n_layers: 5,
                mean: 0.001,
                largest: 0.0025,
            }],
            spectra: vec![Spectrum {
                layer: "block.0.head.output".into(),
                rows: 2,
                columns: 3,
                singular_values: vec![4.0, 3.0],
            }],
        };
        let text = told(&answer).join("\n");
        for line in [
            "| 1 | 8 | 0.250 | 0.750 |",
            "| 1 | 5 | 1.00e-3 | 2.50e-3 |",
            "| block.0.head.output | 2×3 | 4.000 | 3.000 | 1.6 |",
        ] {
            assert!(text.contains(line), "{line}: {text}");
        }
        answer.orthogonality.clear();
        assert!(!told(&answer).join("\n").contains("orthonormality"));
    }
}
