//! Learning rates over a run: linear warm-up, then half a cosine, steps down, or no change.

use serde::{Deserialize, Serialize};

/// The `[train.schedule]` part of a config.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScheduleConfig {
    /// What follows the warm-up.
    pub shape: ScheduleShape,
    /// Share of all steps in which the rate rises from 0 to its peak.
    pub warmup: f64,
    /// Cosine: rate of the last step as a share of the peak.
    pub final_share: f64,
    /// Step: shares of all steps after which the rate falls, rising.
    pub milestones: Vec<f64>,
    /// Step: what it is multiplied with at each of them.
    pub factor: f64,
}

/// What follows the warm-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ScheduleShape {
    /// Half a cosine down to the final share (Loshchilov & Hutter, ICLR 2017).
    Cosine,
    /// Down by a factor at each milestone.
    Step,
    /// The peak until the end.
    Constant,
}

impl ScheduleConfig {
    /// Learning rate of step `step` of `n_steps`, with `peak` as the highest.
    pub fn learning_rate(&self, step: u64, n_steps: u64, peak: f64) -> f64 {
        let n_warmup = (self.warmup * n_steps as f64).round();
        let position = step as f64;
        if position < n_warmup {
            return peak * (position + 1.0) / (n_warmup + 1.0);
        }
        match self.shape {
            ScheduleShape::Cosine => {
                let rest = (n_steps as f64 - n_warmup - 1.0).max(1.0);
                let progress = ((position - n_warmup) / rest).min(1.0);
                let cosine = 0.5 * (1.0 + (std::f64::consts::PI * progress).cos());
                peak * (self.final_share + (1.0 - self.final_share) * cosine)
            }
            ScheduleShape::Step => {
                let is_past = |share: &&f64| position >= **share * n_steps as f64;
                let n_past = self.milestones.iter().filter(is_past).count();
                peak * self.factor.powi(n_past as i32)
            }
            ScheduleShape::Constant => peak,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(shape: ScheduleShape, warmup: f64) -> ScheduleConfig {
        ScheduleConfig {
            shape,
            warmup,
            final_share: 0.01,
            milestones: vec![0.5, 0.75],
            factor: 0.1,
        }
    }

    #[test]
    fn the_rate_rises_to_its_peak_and_ends_at_its_final_share() {
        let schedule = schedule(ScheduleShape::Cosine, 0.1);
        let rate = |step| schedule.learning_rate(step, 100, 2.0);
        assert!(rate(0) > 0.0 && rate(0) < rate(5) && rate(5) < rate(9));
        assert!((rate(10) - 2.0).abs() < 1e-12);
        assert!((10..99).all(|step| rate(step + 1) < rate(step)));
        assert!((rate(99) - 0.02).abs() < 1e-12);
    }

    #[test]
    fn steps_go_down_at_the_milestones_alone() {
        let schedule = schedule(ScheduleShape::Step, 0.0);
        let rates = [0, 49, 50, 74, 75, 99].map(|step| schedule.learning_rate(step, 100, 2.0));
        for (rate, expected) in rates.iter().zip([2.0, 2.0, 0.2, 0.2, 0.02, 0.02]) {
            assert!((rate - expected).abs() < 1e-12, "{rates:?}");
        }
    }

    #[test]
    fn a_run_of_one_step_has_a_rate() {
        for shape in [
            ScheduleShape::Cosine,
            ScheduleShape::Step,
            ScheduleShape::Constant,
        ] {
            assert!(schedule(shape, 0.0).learning_rate(0, 1, 1.0) > 0.0);
        }
    }
}
