//! A training as it is watched: a table on a terminal, a line an epoch elsewhere.
//!
//! ```text
//! train  epoch 3/30  ━━━━━╸─────────────────────────  36/360, 31.9 samples/s, 0:42, 5:10 left
//! block     loss  MAE, years: training  validation   busy  waiting  device
//!     1    0.512                   9.8        10.2   97 %        2  cpu:0
//!     2    0.471                   9.5         9.9   64 %        0  cpu:1
//! ```
//!
//! Figures come from the engine's events and meters; nothing is computed here but means over time.

mod figures;
mod table;

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::cli::Printer;
use crate::cli::progress::{ProgressStyle, write_line};
use crate::data::batch::BatchPlan;
use crate::engine::event::Event;
use crate::engine::meter::{Meter, Meters};
use crate::engine::target::Metric;
use figures::{BlockFigures, Figures};
use table::Table;

/// Least time between two lines within an epoch.
const BETWEEN_LINES: Duration = Duration::from_mins(1);
/// Least time between two lines of short epochs.
const BETWEEN_EPOCHS: Duration = Duration::from_secs(1);
/// Least time over which a load is measured.
const BETWEEN_LOADS: Duration = Duration::from_secs(1);

/// What is watched.
pub(super) struct Watched {
    /// Who is in which batch.
    pub(super) plan: BatchPlan,
    /// Passes over the training set.
    pub(super) epochs: u64,
    /// Steps that an earlier program took.
    pub(super) first_step: u64,
    /// Whether a validation follows each epoch.
    pub(super) validated: bool,
    /// What errors are.
    pub(super) metric: Metric,
    /// Of the workers.
    pub(super) meters: Meters,
}

/// Shows a training; what is drawn goes when it is dropped.
pub(super) struct Watch {
    figures: Figures,
    meters: Meters,
    validated: bool,
    started: Instant,
    measured: Instant,
    display: Display,
}

enum Display {
    Silent,
    Lines {
        last: Instant,
        /// Whether the last line said all there is to say.
        current: bool,
    },
    Table(Table),
}

impl Watch {
    pub(super) fn start(watched: Watched, printer: &Printer) -> Self {
        let Watched {
            plan,
            epochs,
            first_step,
            validated,
            metric,
            meters,
        } = watched;
        let block = |meter: &Arc<Meter>| BlockFigures {
            device: meter.device().to_owned(),
            ..BlockFigures::default()
        };
        let figures = Figures {
            plan,
            epochs,
            first_step,
            step: first_step,
            metric,
            blocks: meters.of_heads().iter().map(block).collect(),
        };
        let started = Instant::now();
        let display = match printer.progress_style() {
            ProgressStyle::Silent => Display::Silent,
            ProgressStyle::Lines => {
                write_line(&format!("train: {} steps …", figures.n_steps()));
                Display::Lines {
                    last: started,
                    current: true,
                }
            }
            ProgressStyle::Bar(bars) => Display::Table(Table::draw(&bars, &figures)),
        };
        Self {
            figures,
            meters,
            validated,
            started,
            measured: started,
            display,
        }
    }

    /// Takes in what happened, and shows it.
    pub(super) fn note(&mut self, event: &Event) {
        self.figures.note(event);
        let elapsed = self.started.elapsed();
        match &mut self.display {
            Display::Silent => {}
            Display::Lines { last, current } => {
                let between = match event {
                    Event::Validation { .. } => BETWEEN_EPOCHS,
                    Event::Epoch { .. } if !self.validated => BETWEEN_EPOCHS,
                    _ => BETWEEN_LINES,
                };
                *current = last.elapsed() >= between;
                if *current {
                    *last = Instant::now();
                    write_line(&self.figures.line(elapsed));
                }
            }
            Display::Table(table) => {
                for (block, meter) in self.figures.blocks.iter_mut().zip(self.meters.of_heads()) {
                    block.n_waiting = meter.n_waiting();
                }
                if self.measured.elapsed() >= BETWEEN_LOADS {
                    self.measured = Instant::now();
                    let loads = self.meters.take_loads();
                    for (block, load) in self.figures.blocks.iter_mut().zip(loads) {
                        block.load = Some(load);
                    }
                }
                table.update(&self.figures, elapsed);
            }
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let elapsed = self.started.elapsed();
        match &self.display {
            Display::Silent | Display::Lines { current: true, .. } => {}
            Display::Lines { .. } => write_line(&self.figures.line(elapsed)),
            Display::Table(table) => table.clear(),
        }
    }
}
