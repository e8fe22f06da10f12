//! From samples to trained blocks.

use burn::tensor::Device;

use crate::Error;
use crate::data::batch::{BatchPlan, SampleSource as _};
use crate::data::brain::BrainSamples;
use crate::data::sampling::Draw;
use crate::engine::checkpoint::Checkpoints;
use crate::engine::device;
use crate::engine::event::{Event, EventSink};
use crate::engine::executor::Pipelined;
use crate::engine::target::AgeTarget;
use crate::engine::trainer::{Outcome, Training, workers};

use crate::models::{Block, Network};
use crate::run::metrics_log::MetricsLog;

use super::super::Progress;
use super::Request;

/// Trains, from the run's last checkpoint if there is one.
pub(super) fn fit(
    request: &Request<'_>,
    training: &BrainSamples,
    validation: &BrainSamples,
    target: AgeTarget,
) -> anyhow::Result<Vec<Block>> {
    let Request {
        config,
        run,
        placement,
        context,
        ..
    } = request;
    let section = &config.train;
    let checkpoints = Checkpoints::new(run.checkpoints(), section.checkpoint.keep);
    let network = Network::new(
        &config.model,
        target.n_outputs(),
        section.regime,
        section.seed,
        &Device::flex(),
    )?;
    let n_blocks = network.blocks.len();
    let latest = checkpoints.load_latest(n_blocks)?;
    let (start, states) = latest.map_or_else(Default::default, |c| (c.progress, Some(c.blocks)));
    let objective = section.objective(target);
    let executor = Pipelined::start(workers(
        &network,
        &placement.stages,
        device::open(&placement.devices)?,
        &objective,
        states.as_deref(),
    )?)?;
    let plan = BatchPlan {
        n_samples: training.len(),
        batch_size: section.batch_size,
        seed: section.seed,
        draw: Draw::new(config.data.sampling.balance, training),
    };
    let loop_ = Training {
        training,
        validation,
        augmentation: config.data.augmentation,
        plan,
        epochs: section.epochs,
        learning_rate: section.optimizer.learning_rate,
        schedule: section.schedule.clone(),
        checkpoints: &checkpoints,
        checkpoint: section.checkpoint,
        selection: section.selection,
        stop: context.stop.flag(),
    };
    let mut sink = RunSink {
        log: MetricsLog::open(&run.metrics(), start.step)?,
        progress: context
            .printer
            .progress("train", "steps", Some(loop_.n_steps())),
    };
    sink.progress.resume_at(start.step);
    match loop_.run(Box::new(executor), n_blocks, start, &mut sink)? {
        Outcome::Finished(blocks) => Ok(blocks),
        Outcome::Stopped { step } => Err(Error::Stopped {
            step,
            run: run.path().to_path_buf(),
        }
        .into()),
    }
}

/// Events into the log, and a few words of them to the screen.
struct RunSink {
    log: MetricsLog,
    progress: Progress,
}

impl EventSink for RunSink {
    fn emit(&mut self, event: &Event) -> std::io::Result<()> {
        match event {
            Event::Step { step, .. } => self.progress.set(step + 1),
            Event::Epoch { mae_years, .. } => {
                let maes: Vec<String> = mae_years.iter().map(|mae| format!("{mae:.1}")).collect();
                self.progress
                    .note(&format!("MAE by block {} years", maes.join(" ")));
            }
            Event::Validation { .. } | Event::Checkpoint { .. } => {}
        }
        self.log.emit(event)
    }
}
