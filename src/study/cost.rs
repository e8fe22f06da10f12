//! What a run cost, as its log of events has it.

use serde::Serialize;

use super::figures::{mean_of, median};
use crate::engine::event::Event;

/// Times of a step and memory; none where the log does not tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Cost {
    /// Time from one step to the next: the median over the epochs, which an epoch that others disturbed does not move.
    pub seconds_per_step: Option<f64>,
    /// Processor time of all threads of the process from one step to the next: the median over the epochs.
    pub cpu_seconds_per_step: Option<f64>,
    /// Most resident memory of the process, bytes.
    pub peak_memory_bytes: Option<u64>,
}

impl Cost {
    /// From the log of a run.
    pub fn of(events: &[Event]) -> Self {
        let (mut seconds, mut cpu_seconds, mut peak) = (Vec::new(), Vec::new(), None);
        for event in events {
            if let Event::Epoch {
                seconds_per_step,
                cpu_seconds_per_step,
                peak_memory_bytes,
                ..
            } = event
            {
                seconds.extend(*seconds_per_step);
                cpu_seconds.extend(*cpu_seconds_per_step);
                peak = peak.max(*peak_memory_bytes);
            }
        }
        Self {
            seconds_per_step: median(seconds),
            cpu_seconds_per_step: median(cpu_seconds),
            peak_memory_bytes: peak,
        }
    }

    /// Of several runs: means of the times, the largest memory, each over those that tell it.
    pub fn of_runs(costs: &[Self]) -> Self {
        let mean = |of: fn(&Self) -> Option<f64>| mean_of(costs.iter().filter_map(of));
        Self {
            seconds_per_step: mean(|cost| cost.seconds_per_step),
            cpu_seconds_per_step: mean(|cost| cost.cpu_seconds_per_step),
            peak_memory_bytes: costs.iter().filter_map(|cost| cost.peak_memory_bytes).max(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cost(seconds: Option<f64>, cpu_seconds: Option<f64>, bytes: Option<u64>) -> Cost {
        Cost {
            seconds_per_step: seconds,
            cpu_seconds_per_step: cpu_seconds,
            peak_memory_bytes: bytes,
        }
    }

    /// The log of a run whose epochs cost so much.
    fn events(by_epoch: &[Cost]) -> Vec<Event> {
        let event = |(cost, epoch): (&Cost, u64)| Event::Epoch {
            epoch,
            step: epoch + 1,
            mae_years: Vec::new(),
            error_percent: vec![50.0],
            orthogonality_error: Vec::new(),
            data_wait_share: 0.0,
            busy_share: Vec::new(),
            queue_fill: Vec::new(),
            seconds_per_step: cost.seconds_per_step,
            cpu_seconds_per_step: cost.cpu_seconds_per_step,
            peak_memory_bytes: cost.peak_memory_bytes,
        };
        by_epoch.iter().zip(0..).map(event).collect()
    }

    #[test]
    fn a_disturbed_epoch_does_not_move_the_time_of_a_step() {
        let seconds = |by_epoch: &[Option<f64>]| {
            let by_epoch: Vec<Cost> = by_epoch.iter().map(|s| cost(*s, None, None)).collect();
            Cost::of(&events(&by_epoch)).seconds_per_step
        };
        assert_eq!(
            seconds(&[Some(15.0), Some(1.5), None, Some(1.0)]),
            Some(1.5)
        );
        assert_eq!(seconds(&[Some(1.0), Some(2.0)]), Some(1.5));
        assert_eq!(seconds(&[None]), None);
    }

    #[test]
    fn memory_is_the_most_of_all_epochs_and_runs_and_times_are_means_over_runs() {
        let one = Cost::of(&events(&[
            cost(Some(1.0), Some(2.0), Some(700)),
            cost(Some(1.0), Some(2.0), Some(500)),
        ]));
        assert_eq!(one.peak_memory_bytes, Some(700));
        let two = Cost::of(&events(&[cost(Some(3.0), None, None)]));
        let both = Cost::of_runs(&[one, two]);
        assert_eq!(both, cost(Some(2.0), Some(2.0), Some(700)));
        assert_eq!(Cost::of(&[]), Cost::default());
    }
}
