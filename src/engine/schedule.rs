//! Learning rates over a run: linear warm-up, then half a cosine down to a share of the peak.

use serde::{Deserialize, Serialize};

/// The `[train.schedule]` part of a config.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScheduleConfig {
    /// Share of all steps in which the rate rises from 0 to its peak.
    pub warmup: f64,
    /// Rate of the last step as a share of the peak.
    pub final_share: f64,
}

impl ScheduleConfig {
    /// Learning rate of step `step` of `n_steps`, with `peak` as the highest.
    pub fn learning_rate(&self, step: u64, n_steps: u64, peak: f64) -> f64 {
        let n_warmup = (self.warmup * n_steps as f64).round();
        let position = step as f64;
        if position < n_warmup {
            return peak * (position + 1.0) / (n_warmup + 1.0);
        }
        let rest = (n_steps as f64 - n_warmup - 1.0).max(1.0);
        let progress = ((position - n_warmup) / rest).min(1.0);
        let cosine = 0.5 * (1.0 + (std::f64::consts::PI * progress).cos());
        peak * (self.final_share + (1.0 - self.final_share) * cosine)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_rises_to_its_peak_and_ends_at_its_final_share() {
        let schedule = ScheduleConfig {
            warmup: 0.1,
            final_share: 0.01,
        };
        let rate = |step| schedule.learning_rate(step, 100, 2.0);
        assert!(rate(0) > 0.0 && rate(0) < rate(5) && rate(5) < rate(9));
        assert!((rate(10) - 2.0).abs() < 1e-12);
        assert!((10..99).all(|step| rate(step + 1) < rate(step)));
        assert!((rate(99) - 0.02).abs() < 1e-12);
    }

    #[test]
    fn a_run_of_one_step_has_a_rate() {
        assert!(
            ScheduleConfig {
                warmup: 0.0,
                final_share: 0.1
            }
            .learning_rate(0, 1, 1.0)
                > 0.0
        );
    }
}
