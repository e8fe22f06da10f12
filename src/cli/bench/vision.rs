//! `brainage bench vision`: how fast image classifiers train and answer, and how fast their images are loaded.

use std::path::PathBuf;
use std::sync::Arc;

use serde::Serialize;

use crate::Error;
use crate::bench::machine::Machine;
use crate::bench::vision::{self, Batches, Classifier};
use crate::bench::vision_loading::{self, Files};
use crate::engine::device::{cpu_with_threads, n_cores};

use super::super::{Context, ExitStatus, Printer};
use super::at_least_one;

/// Measure training steps and answers of image classifiers, and the loading of images
///
/// ResNet-50 and ViT-Ti for images of 32×32 pixels, with all channels, dense weights and backprop, on made-up images. A step
/// is forward pass, loss, gradients, clipping and AdamW; loading is no part of it. With folders of data sets, also how many
/// images a second the loader of the training reads, decodes, changes and puts into batches. Other work on the machine
/// disturbs the times.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  brainage bench vision\n  brainage bench vision --networks vit-ti --repeats 10 --json\n  \
    brainage bench vision --no-networks --data tiny-imagenet-200 --cifar10 cifar-10-batches-bin"
)]
pub struct Args {
    /// Classifiers to measure
    #[arg(long, value_name = "LIST", value_enum, value_delimiter = ',', default_values = ["resnet50", "vit-ti"], conflicts_with = "no_networks")]
    pub networks: Vec<Classifier>,
    /// Measure no classifier, only loading
    #[arg(long)]
    pub no_networks: bool,
    /// Change one key of the classifiers' configs; repeatable
    #[arg(long, value_name = "SECTION.KEY=VALUE")]
    pub set: Vec<String>,
    /// Images of a training step, and of a batch that is loaded
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = at_least_one)]
    pub batch: usize,
    /// Images that are classified at once
    #[arg(long, value_name = "N", default_value_t = 128, value_parser = at_least_one)]
    pub eval_batch: usize,
    /// Threads of the classifiers; otherwise one for each core
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub threads: Option<usize>,
    /// How often each is measured, after once that does not count
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = at_least_one)]
    pub repeats: usize,
    /// Folder of Tiny ImageNet, or of a part of it, whose loading is measured
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Folder of CIFAR-10 (binary) whose loading is measured
    #[arg(long, value_name = "DIR")]
    pub cifar10: Option<PathBuf>,
    /// Images that are loaded each time, at least
    #[arg(long, value_name = "N", default_value_t = 4000, value_parser = at_least_one)]
    pub images: usize,
}

/// The answer for machines.
#[derive(Serialize)]
struct Answer {
    machine: Machine,
    threads: usize,
    rows: Vec<vision::Row>,
    loading: Vec<vision_loading::Row>,
}

/// Measures and prints the tables.
///
/// # Errors
/// Where a change or a data set is not usable, and what stops a network.
pub fn run(args: &Args, context: &Context) -> anyhow::Result<ExitStatus> {
    let printer = &context.printer;
    let answer = measure(args, printer)?;
    print(&answer, printer)?;
    printer.object(&answer)?;
    Ok(ExitStatus::Done)
}

fn measure(args: &Args, printer: &Printer) -> Result<Answer, Error> {
    let lane = Arc::new(cpu_with_threads(args.threads.unwrap_or_else(n_cores))?);
    let folders = [
        (Files::TinyImagenet, &args.data),
        (Files::Cifar10, &args.cifar10),
    ];
    let networks: &[Classifier] = if args.no_networks {
        &[]
    } else {
        &args.networks
    };
    let n_parts = networks.len() + folders.iter().filter(|(_, root)| root.is_some()).count();
    let progress = printer.progress("bench", "parts", Some(n_parts as u64));
    let batches = Batches {
        training: args.batch,
        inference: args.eval_batch,
    };
    let (mut rows, mut loading) = (Vec::new(), Vec::new());
    for network in networks {
        let measured = vision::measure(*network, &args.set, batches, &lane, args.repeats)?;
        rows.extend(measured);
        progress.advance(1);
    }
    for (files, root) in folders {
        if let Some(root) = root {
            let sizes = (args.images, args.batch);
            let row = vision_loading::measure(files, root.clone(), sizes, args.repeats)?;
            loading.push(row);
            progress.advance(1);
        }
    }
    Ok(Answer {
        machine: Machine::here(),
        threads: lane.pool.current_num_threads(),
        rows,
        loading,
    })
}

fn print(answer: &Answer, printer: &Printer) -> anyhow::Result<()> {
    let Machine { cpu, cores, .. } = &answer.machine;
    printer.line(&format!(
        "{cpu}, {cores} cores, {} threads; milliseconds",
        answer.threads
    ))?;
    printer.line(&format!(
        "{:<40}{:>9}{:>9}{:>9}{:>10}",
        "", "median", "min", "max", "images/s"
    ))?;
    let networks = answer.rows.iter().map(|row| {
        let what = format!("{}, batch {}: {}", row.network, row.batch, row.what);
        (what, row.times, row.images_per_second)
    });
    let loading = answer.loading.iter().map(|row| {
        let what = format!("{}, {} images: loading", row.dataset, row.images);
        (what, row.times, row.images_per_second)
    });
    for (what, times, images_per_second) in networks.chain(loading) {
        printer.line(&format!(
            "{what:<40}{:>9.1}{:>9.1}{:>9.1}{images_per_second:>10.0}",
            1e3 * times.seconds,
            1e3 * times.min,
            1e3 * times.max,
        ))?;
    }
    Ok(())
}
