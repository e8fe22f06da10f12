//! From samples to trained blocks.

use brainage_kernels::free_memory;

use crate::Error;
use crate::config::train::TrainSection;
use crate::data::batch::{BatchPlan, BatchSource};
use crate::data::sampling::Draw;
use crate::engine::checkpoint::Checkpoints;
use crate::engine::device;
use crate::engine::event::{Event, EventSink};
use crate::engine::executor::{Executor as _, Pipelined};
use crate::engine::objective::Objective;
use crate::engine::trainer::{Outcome, Training, workers};
use crate::models::{Block, Network};
use crate::nn::weight::ORTHONORMAL_WITHIN;
use crate::process;
use crate::run::dir::RunDir;
use crate::run::metrics_log::MetricsLog;

use super::super::Context;
use super::place::Placement;
use super::watch::{Watch, Watched};

/// What is trained, on what and how.
pub(in crate::cli) struct Fit<'a, L> {
    /// How.
    pub(in crate::cli) section: &'a TrainSection<L>,
    /// As it starts.
    pub(in crate::cli) network: &'a Network,
    /// What its blocks learn.
    pub(in crate::cli) objective: Objective,
    /// Samples to learn from.
    pub(in crate::cli) training: &'a dyn BatchSource,
    /// Samples to watch; may be empty.
    pub(in crate::cli) validation: &'a dyn BatchSource,
    /// How an epoch is drawn.
    pub(in crate::cli) draw: Draw,
    /// Where everything goes.
    pub(in crate::cli) run: &'a RunDir,
    /// Where the blocks live.
    pub(in crate::cli) placement: &'a Placement,
    /// Printer and stop flag.
    pub(in crate::cli) context: &'a Context,
}

/// Trains, from the run's last checkpoint if there is one.
///
/// # Errors
/// What stopped a worker, a sample that cannot be read, a file that cannot be written; [`Error::Stopped`] after Ctrl-C.
pub(in crate::cli) fn fit<L>(fit: Fit<'_, L>) -> anyhow::Result<Vec<Block>> {
    let Fit {
        section,
        network,
        objective,
        training,
        validation,
        draw,
        run,
        placement,
        context,
    } = fit;
    // What the log says of memory is of this training, not of what an earlier one left; where the system keeps no record, of the
    // whole process.
    free_memory::give_back();
    process::forget_peak().ok();
    let plan = BatchPlan {
        n_samples: training.len(),
        batch_size: section.batch_size,
        seed: section.seed,
        draw,
    };
    let objective = Objective {
        n_steps: Some(section.epochs * plan.steps_per_epoch()),
        ..objective
    };
    let metric = objective.target.metric();
    let checkpoints = Checkpoints::new(run.checkpoints(), section.checkpoint.keep);
    let n_blocks = network.blocks.len();
    let latest = checkpoints.load_latest(n_blocks)?;
    let (start, states) = latest.map_or_else(Default::default, |c| (c.progress, Some(c.blocks)));
    let executor = Pipelined::start(workers(
        network,
        &placement.stages,
        device::open(&placement.devices)?,
        &objective,
        states.as_deref(),
    )?)?;
    let loop_ = Training {
        training,
        validation,
        metric,
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
        metric,
        meters: executor.meters(),
    };
    let mut sink = RunSink {
        log: MetricsLog::open(&run.metrics(), start.step)?,
        watch: Watch::start(watched, &context.printer),
    };
    match loop_.run(Box::new(executor), n_blocks, start, &mut sink)? {
        Outcome::Finished(blocks) => {
            let errors = blocks.iter().flat_map(Block::orthogonality_errors);
            if let Some(said) = lost_bases(&errors.collect::<Vec<_>>()) {
                context.printer.warning(&said);
            }
            Ok(blocks)
        }
        Outcome::Stopped { step } => Err(Error::Stopped {
            step,
            run: run.path().to_path_buf(),
        }
        .into()),
    }
}

/// What is to be said of layers whose bases depart from orthonormality by `errors`; nothing where all are bases.
fn lost_bases(errors: &[f64]) -> Option<String> {
    let largest = errors.iter().copied().fold(0.0, f64::max);
    let n_lost = errors.iter().filter(|e| **e > ORTHONORMAL_WITHIN).count();
    (n_lost > 0).then(|| {
        format!(
            "the bases of {n_lost} of {} layers are no longer orthonormal ({largest:.2} off at most, {ORTHONORMAL_WITHIN} is near enough): \
             train.orthogonality.mode=retract keeps them, and so may a lower learning rate or a larger train.orthogonality.weight",
            errors.len()
        )
    })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_whose_bases_are_none_any_more_are_counted_and_others_not_mentioned() {
        assert_eq!(lost_bases(&[]), None);
        assert_eq!(lost_bases(&[0.0, 0.1]), None);
        let said = lost_bases(&[0.05, 0.11, 0.456]).unwrap();
        assert!(said.contains("2 of 3 layers"), "{said}");
        assert!(said.contains("(0.46 off at most"), "{said}");
    }
}
