//! `brainage bench conv`: how fast the convolutions are, one by one and in whole networks.

use std::sync::Arc;

use brainage_kernels::{conv3d::Algorithm, peak};
use serde::Serialize;

use crate::Error;
use crate::bench::conv::{self, BURN, BurnMeasured, Row};
use crate::bench::conv_network;
use crate::bench::conv_shapes::Network;
use crate::bench::machine::Machine;
use crate::engine::device::{cpu_with_threads, n_cores};

use super::super::{Context, ExitStatus, Printer};
use super::at_least_one;

/// Forces an algorithm in the whole program.
const FORCED: &str = "BRAINAGE_CONV";

/// Measure the convolutions of brain networks and of ResNet-50, and whole networks
///
/// Each convolution by each of our algorithms and by Burn's own code, in turns: values, gradient of the input, gradient of
/// the weights. Then a forward pass and training steps of the brain networks. GFLOP/s count what a direct convolution
/// would do, whatever the algorithm, so Fourier transforms can pass the peak. Other work on the machine disturbs the times.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  brainage bench conv\n  \
    brainage bench conv --shapes brain-cnn --threads 1 --repeats 10 --burn --json")]
pub struct Args {
    /// Threads; otherwise one for each core
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub threads: Option<usize>,
    /// How often each is measured; fewer times where it takes long, more often where it is over at once
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = at_least_one)]
    pub repeats: usize,
    /// Whose convolutions
    #[arg(long, value_enum, default_value_t = Shapes::All)]
    pub shapes: Shapes,
    /// Let Burn compute large convolutions too: minutes
    #[arg(long)]
    pub burn: bool,
}

/// Whose convolutions are measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Shapes {
    /// The small brain CNN: seconds
    Small,
    /// The published brain CNN at 128³, and the small one
    BrainCnn,
    /// ResNet-50 for 32×32 pixels
    Resnet50Cifar,
    /// ResNet-50 for 224×224 pixels
    Resnet50Imagenet,
    /// All of these
    All,
}

impl Shapes {
    fn networks(self) -> &'static [Network] {
        match self {
            Self::Small => &[Network::BrainCnnSmall],
            Self::BrainCnn => &[Network::BrainCnn, Network::BrainCnnSmall],
            Self::Resnet50Cifar => &[Network::Resnet50Cifar],
            Self::Resnet50Imagenet => &[Network::Resnet50Imagenet],
            Self::All => &Network::ALL,
        }
    }
}

/// The answer for machines.
#[derive(Serialize)]
struct Answer {
    machine: Machine,
    threads: usize,
    peak_gflops: f64,
    /// What `BRAINAGE_CONV` forces in whole networks.
    forced: Option<String>,
    convolutions: Vec<Row>,
    /// Whole networks.
    rows: Vec<conv_network::Row>,
}

/// Measures and prints the tables.
///
/// # Errors
/// What stops a network.
pub fn run(args: &Args, context: &Context) -> anyhow::Result<ExitStatus> {
    let printer = &context.printer;
    let forced = std::env::var(FORCED).ok();
    if let Some(forced) = &forced {
        printer.warning(&format!("{FORCED}={forced} is set: whole networks use it"));
    }
    let answer = measure(args, forced, printer)?;
    print_convolutions(&answer, printer)?;
    print_networks(&answer, printer)?;
    printer.object(&answer)?;
    Ok(ExitStatus::Done)
}

fn measure(args: &Args, forced: Option<String>, printer: &Printer) -> Result<Answer, Error> {
    let lane = Arc::new(cpu_with_threads(args.threads.unwrap_or_else(n_cores))?);
    let burn = if args.burn {
        BurnMeasured::All
    } else {
        BurnMeasured::Small
    };
    let mut shapes = Vec::new();
    for network in args.shapes.networks() {
        let of_network = network.shapes()?.into_iter();
        shapes.extend(of_network.map(|shape| (network.name(), shape)));
    }
    let peak_gflops = lane.pool.install(peak::gflops);
    let progress = printer.progress("bench", "shapes", Some(shapes.len() as u64));
    let mut convolutions = Vec::with_capacity(3 * shapes.len());
    for (network, shape) in &shapes {
        convolutions.extend(
            lane.pool
                .install(|| conv::measure(network, shape, burn, args.repeats, peak_gflops)),
        );
        progress.advance(1);
    }
    drop(progress);
    let mut networks = Vec::new();
    for network in args.shapes.networks() {
        if let Some(brain) = network.brain()? {
            let given = (brain.grid, brain.batch);
            networks.extend(conv_network::measure(
                network.name(),
                &brain.config,
                given,
                &lane,
                args.repeats,
            )?);
        }
    }
    Ok(Answer {
        machine: Machine::here(),
        threads: lane.pool.current_num_threads(),
        peak_gflops,
        forced,
        convolutions,
        rows: networks,
    })
}

fn print_convolutions(answer: &Answer, printer: &Printer) -> anyhow::Result<()> {
    let Machine { cpu, cores, .. } = &answer.machine;
    printer.line(&format!(
        "{cpu}, {cores} cores; {} threads, {:.0} GFLOP/s of multiply-adds at most",
        answer.threads, answer.peak_gflops
    ))?;
    printer.line("")?;
    printer.line("Shortest times in ms, * what the program uses; GFLOP/s and share of the peak are of that one")?;
    let header: Vec<String> = columns().map(|by| format!("{by:>9}")).collect();
    let header = header.concat();
    for rows in answer.convolutions.chunk_by(|a, b| a.network == b.network) {
        printer.line("")?;
        printer.line(&format!(
            "{:<27}{:>2} {:<15}{:>6} {}{:>8}{:>6}",
            format!("{}, batch {}", rows[0].network, rows[0].batch),
            "×",
            "",
            "GFLOP",
            header,
            "GFLOP/s",
            "peak"
        ))?;
        for row in rows {
            printer.line(&line(row))?;
        }
    }
    Ok(())
}

/// Our algorithms, then the framework's.
fn columns() -> impl Iterator<Item = &'static str> {
    Algorithm::ALL.iter().map(|a| a.name()).chain([BURN])
}

fn line(row: &Row) -> String {
    let cells: Vec<String> = columns()
        .map(|by| {
            let mark = if by == row.chosen { "*" } else { "" };
            let cell = row.by(by).map_or("-".to_owned(), |speed| {
                format!("{mark}{:.2}", 1e3 * speed.times.min)
            });
            format!("{cell:>9}")
        })
        .collect();
    let chosen = row.by(row.chosen).map_or(String::new(), |speed| {
        let share = format!("{:.0}%", 100.0 * speed.peak_share);
        format!("{:>8.1}{share:>6}", speed.gflops)
    });
    format!(
        "{:<27}{:>2} {:<15}{:>6.2} {}{chosen}",
        row.shape,
        row.count,
        row.pass.replace('-', " "),
        row.gflop,
        cells.concat(),
    )
}

fn print_networks(answer: &Answer, printer: &Printer) -> anyhow::Result<()> {
    if answer.rows.is_empty() {
        return Ok(());
    }
    printer.line("")?;
    printer.line("Whole networks: ms")?;
    printer.line(&format!(
        "{:<52}{:>8}{:>9}{:>9}{:>9}{:>9}",
        "", "GFLOP", "median", "min", "max", "GFLOP/s"
    ))?;
    for row in &answer.rows {
        let [x, y, z] = row.grid;
        let what = format!(
            "{} {x}×{y}×{z}, batch {}: {}",
            row.network, row.batch, row.what
        );
        printer.line(&format!(
            "{what:<52}{:>8.2}{:>9.1}{:>9.1}{:>9.1}{:>9.1}",
            row.gflop,
            1e3 * row.times.seconds,
            1e3 * row.times.min,
            1e3 * row.times.max,
            row.gflops
        ))?;
    }
    Ok(())
}
