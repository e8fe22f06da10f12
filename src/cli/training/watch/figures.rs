//! What is known of a training under way, and how it reads.

use std::time::Duration;

use crate::cli::progress::{clock, remaining};
use crate::data::batch::BatchPlan;
use crate::engine::event::Event;
use crate::engine::meter::Load;
use crate::engine::target::Metric;

/// Weight of a step in the smoothed figures.
const NEWEST: f64 = 0.1;

/// Where a training stands.
#[derive(Clone, Debug)]
pub(super) struct Figures {
    /// Who is in which batch.
    pub(super) plan: BatchPlan,
    /// Passes over the training set.
    pub(super) epochs: u64,
    /// Steps that an earlier program took; they say nothing about the speed of this one.
    pub(super) first_step: u64,
    /// Steps that were taken.
    pub(super) step: u64,
    /// What errors are.
    pub(super) metric: Metric,
    /// A row each.
    pub(super) blocks: Vec<BlockFigures>,
}

/// What is known of a block.
#[derive(Clone, Debug, Default)]
pub(super) struct BlockFigures {
    /// Name of its device.
    pub(super) device: String,
    /// Loss, smoothed over steps.
    pub(super) loss: Option<f64>,
    /// Error on training batches, smoothed over steps.
    pub(super) error: Option<f64>,
    /// Error on the last epoch's training batches.
    pub(super) epoch_error: Option<f64>,
    /// Error on the validation set after the last epoch.
    pub(super) validation_error: Option<f64>,
    /// How busy its device is; none before it was measured.
    pub(super) load: Option<Load>,
    /// Messages before its device.
    pub(super) n_waiting: u64,
}

/// Names of the columns of [`BlockFigures::row`].
pub(super) fn heading(metric: Metric) -> &'static str {
    match metric {
        Metric::AbsoluteYears => {
            "block     loss  MAE, years: training  validation   busy  waiting  device"
        }
        Metric::WrongPercent => {
            "block     loss    error, %: training  validation   busy  waiting  device"
        }
    }
}

/// Errors of an event: in years, or in percent where there are none in years.
fn of_event<'a>(mae_years: &'a [f64], error_percent: &'a [f64]) -> &'a [f64] {
    if mae_years.is_empty() {
        error_percent
    } else {
        mae_years
    }
}

impl Figures {
    /// Takes in what happened.
    pub(super) fn note(&mut self, event: &Event) {
        match event {
            Event::Step {
                step,
                mae_years,
                error_percent,
                loss,
                ..
            } => {
                let errors = of_event(mae_years, error_percent);
                self.step = step + 1;
                for ((block, error), loss) in self.blocks.iter_mut().zip(errors).zip(loss) {
                    block.loss = Some(smoothed(block.loss, *loss));
                    block.error = Some(smoothed(block.error, *error));
                }
            }
            Event::Epoch {
                mae_years,
                error_percent,
                ..
            } => {
                let errors = of_event(mae_years, error_percent);
                for (block, error) in self.blocks.iter_mut().zip(errors) {
                    block.epoch_error = Some(*error);
                }
            }
            Event::Validation {
                mae_years,
                error_percent,
                ..
            } => {
                let errors = of_event(mae_years, error_percent);
                for (block, error) in self.blocks.iter_mut().zip(errors) {
                    block.validation_error = Some(*error);
                }
            }
            Event::Checkpoint { .. } => {}
        }
    }

    /// Steps of the whole training.
    pub(super) fn n_steps(&self) -> u64 {
        self.epochs * self.plan.steps_per_epoch()
    }

    /// `3/30`: the epoch under way, or the last one.
    pub(super) fn epoch(&self) -> String {
        let of_last_step = self.step.saturating_sub(1);
        let begun = self.plan.place(of_last_step).0 + 1;
        format!("{begun}/{}", self.epochs)
    }

    /// Samples that this program has learned from in a second, on average.
    pub(super) fn samples_per_sec(&self, elapsed: Duration) -> f64 {
        let n = self.samples_until(self.step) - self.samples_until(self.first_step);
        n as f64 / elapsed.as_secs_f64().max(f64::MIN_POSITIVE)
    }

    /// The last batch of an epoch may be smaller.
    fn samples_until(&self, step: u64) -> u64 {
        let (epoch, place) = self.plan.place(step);
        let n_samples = self.plan.n_samples as u64;
        epoch * n_samples + (place * self.plan.batch_size as u64).min(n_samples)
    }

    /// `train: epoch 3/30, 36/360 steps, MAE by block 9.8 9.4 years, validation 10.2 9.9 years, 34.2 samples/s, 0:42, about
    /// 5:10 left`
    pub(super) fn line(&self, elapsed: Duration) -> String {
        let mut parts = vec![
            format!("train: epoch {}", self.epoch()),
            format!("{}/{} steps", self.step, self.n_steps()),
        ];
        let of_blocks = |error: fn(&BlockFigures) -> Option<f64>| {
            let errors: Option<Vec<f64>> = self.blocks.iter().map(error).collect();
            let errors = errors.filter(|errors| !errors.is_empty())?;
            let texts: Vec<String> = errors.iter().map(|error| format!("{error:.1}")).collect();
            Some(texts.join(" "))
        };
        let (name, unit) = match self.metric {
            Metric::AbsoluteYears => ("MAE", "years"),
            Metric::WrongPercent => ("error", "%"),
        };
        let training = of_blocks(|block| block.epoch_error);
        parts.extend(training.map(|errors| format!("{name} by block {errors} {unit}")));
        let validation = of_blocks(|block| block.validation_error);
        parts.extend(validation.map(|errors| format!("validation {errors} {unit}")));
        parts.push(format!(
            "{} samples/s",
            speed(self.samples_per_sec(elapsed))
        ));
        parts.push(clock(elapsed));
        let (n_new, n_rest) = (
            self.step.saturating_sub(self.first_step),
            self.n_steps().saturating_sub(self.first_step),
        );
        let left = remaining(n_new, n_rest, elapsed);
        parts.extend(left.map(|left| format!("about {} left", clock(left))));
        parts.join(", ")
    }
}

impl BlockFigures {
    /// The row of the block with this number, from 1, under [`heading`].
    pub(super) fn row(&self, number: usize) -> String {
        let figure = |value: Option<f64>, digits: usize| {
            value.map_or_else(|| "–".to_owned(), |value| format!("{value:.digits$}"))
        };
        format!(
            "{number:>5} {:>8} {:>21} {:>11} {:>4} % {:>8}  {}",
            figure(self.loss, 3),
            figure(self.error, 1),
            figure(self.validation_error, 1),
            figure(self.load.map(|load| 100.0 * load.busy_share), 0),
            self.n_waiting,
            self.device,
        )
    }
}

/// `0.42`, `7.3`, `1234`: three digits where there are no more before the point.
pub(super) fn speed(per_sec: f64) -> String {
    let digits = match per_sec {
        p if p < 1.0 => 2,
        p if p < 100.0 => 1,
        _ => 0,
    };
    format!("{per_sec:.digits$}")
}

fn smoothed(before: Option<f64>, newest: f64) -> f64 {
    before.map_or(newest, |before| before + NEWEST * (newest - before))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::sampling::Draw;
    use crate::engine::seed::Seed;

    /// Two blocks, 7 samples in batches of 3, four epochs.
    fn figures() -> Figures {
        let block = |device: &str| BlockFigures {
            device: device.into(),
            ..BlockFigures::default()
        };
        Figures {
            plan: BatchPlan {
                n_samples: 7,
                batch_size: 3,
                seed: Seed(1),
                draw: Draw::Shuffled,
            },
            epochs: 4,
            first_step: 0,
            step: 0,
            metric: Metric::AbsoluteYears,
            blocks: vec![block("cpu:0"), block("cpu:1")],
        }
    }

    fn step(step: u64, loss: [f64; 2]) -> Event {
        Event::Step {
            step,
            epoch: 0,
            learning_rate: 0.1,
            mae_years: vec![10.0, 8.0],
            error_percent: Vec::new(),
            loss: loss.into(),
        }
    }

    #[test]
    fn a_line_says_what_is_known_and_leaves_out_the_rest() {
        let mut figures = figures();
        let ten_secs = Duration::from_secs(10);
        let line = figures.line(ten_secs);
        assert_eq!(line, "train: epoch 1/4, 0/12 steps, 0.00 samples/s, 0:10");
        figures.note(&step(2, [0.5, 0.4]));
        figures.note(&Event::Epoch {
            epoch: 0,
            step: 3,
            mae_years: vec![9.75, 8.0],
            error_percent: Vec::new(),
            orthogonality_error: Vec::new(),
            data_wait_share: 0.0,
            busy_share: Vec::new(),
            queue_fill: Vec::new(),
            seconds_per_step: None,
            cpu_seconds_per_step: None,
            peak_memory_bytes: None,
        });
        figures.note(&Event::Validation {
            epoch: 0,
            step: 3,
            n: 2,
            mae_years: vec![12.0, 11.0],
            error_percent: Vec::new(),
        });
        assert_eq!(
            figures.line(ten_secs),
            "train: epoch 1/4, 3/12 steps, MAE by block 9.8 8.0 years, validation 12.0 11.0 years, 0.70 samples/s, 0:10, \
             about 0:30 left"
        );
    }

    #[test]
    fn speed_counts_the_smaller_last_batches_and_no_steps_of_an_earlier_program() {
        let mut figures = figures();
        figures.step = 5;
        assert_eq!(figures.samples_per_sec(Duration::from_secs(1)), 13.0);
        figures.first_step = 3;
        assert_eq!(figures.samples_per_sec(Duration::from_secs(2)), 3.0);
        assert_eq!(figures.epoch(), "2/4");
        figures.step = 6;
        assert_eq!(figures.epoch(), "2/4");
        let texts = [0.123, 12.34, 456.7].map(speed);
        assert_eq!(texts, ["0.12", "12.3", "457"]);
    }

    #[test]
    fn rows_stand_under_their_heading_and_fit_80_columns() {
        let mut figures = figures();
        let empty = figures.blocks[0].row(1);
        assert_eq!(
            empty,
            "    1        –                     –           –    – %        0  cpu:0"
        );
        figures.note(&step(0, [1.0, 2.0]));
        figures.note(&step(1, [0.0, 2.0]));
        let block = &mut figures.blocks[0];
        block.validation_error = Some(10.25);
        block.load = Some(Load {
            busy_share: 1.0,
            queue_fill: 0.5,
        });
        block.n_waiting = 2;
        let row = block.row(1);
        assert_eq!(
            row,
            "    1    0.900                  10.0        10.2  100 %        2  cpu:0"
        );
        for heading in [Metric::AbsoluteYears, Metric::WrongPercent].map(heading) {
            for column in ["loss", "training", "validation", "waiting"] {
                let end = heading.find(column).unwrap() + column.len();
                let last: String = row.chars().skip(end - 1).take(2).collect();
                assert!(last.ends_with(' ') && !last.starts_with(' '), "{column}");
            }
            assert!(row.chars().count() <= 80 && heading.len() <= 80);
        }
    }
}
