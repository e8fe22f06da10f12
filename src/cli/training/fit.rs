//! From samples to trained blocks.

use burn::tensor::Device;

use crate::Error;
use crate::data::batch::{BatchPlan, SampleSource as _};
use crate::data::brain::BrainSamples;
use crate::data::sampling::Draw;
use crate::engine::checkpoint::Checkpoints;
use crate::engine::device;
use crate::engine::event::{Event, EventSink};
use crate::engine::executor::{Executor as _, Pipelined};
use crate::engine::target::AgeTarget;
use crate::engine::trainer::{Outcome, Training, workers};

use crate::models::{Block, Network};
use crate::run::metrics_log::MetricsLog;

use super::Request;
use super::watch::{Watch, Watched};

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
    let watched = Watched {
        plan: loop_.plan.clone(),
        epochs: loop_.epochs,
        first_step: start.step,
        validated: !validation.is_empty(),
        meters: executor.meters(),
    };
    let mut sink = RunSink {
        log: MetricsLog::open(&run.metrics(), start.step)?,
        watch: Watch::start(watched, &context.printer),
    };
    match loop_.run(Box::new(executor), n_blocks, start, &mut sink)? {
        Outcome::Finished(blocks) => Ok(blocks),
        Outcome::Stopped { step } => Err(Error::Stopped {
            step,
            run: run.path().to_path_buf(),
        }
        .into()),
    }
}

/// Events into the log, and onto the screen.
struct RunSink {
    log: MetricsLog,
    watch: Watch,
}

impl EventSink for RunSink {
    fn emit(&mut self, event: &Event) -> std::io::Result<()> {
        self.watch.note(event);
        self.log.emit(event)
    }
}
