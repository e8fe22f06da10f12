//! Which values become black and white.

use serde::{Deserialize, Serialize};

/// Values looked at to find a window; of more, every n-th is taken.
const SAMPLE: usize = 200_000;

/// Which values become black and white.
///
/// # Units
/// Those of the volume's values.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct WindowLevel {
    /// White − black; positive.
    pub(crate) window: f32,
    /// The middle gray.
    pub(crate) level: f32,
}

/// Windows that suit a scan, found once when it is read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Presets {
    /// 1st to 99th percentile of what is not background.
    pub(crate) auto: WindowLevel,
    /// 25th to 95th percentile: gray and white matter apart.
    pub(crate) tissue: WindowLevel,
    /// 2nd to 99.9th percentile: bright vessels and fat, too.
    pub(crate) bright: WindowLevel,
    /// Smallest to largest value.
    pub(crate) full: WindowLevel,
}

/// One of the [`Presets`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Preset {
    Auto,
    Tissue,
    Bright,
    Full,
}

impl Preset {
    /// In the order of the menu.
    pub(crate) const ALL: [Self; 4] = [Self::Auto, Self::Tissue, Self::Bright, Self::Full];

    /// As the menu says it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Auto => "Auto (1–99 %)",
            Self::Tissue => "Gray and white matter (25–95 %)",
            Self::Bright => "Bright vessels and fat (2–99.9 %)",
            Self::Full => "Full range",
        }
    }
}

impl WindowLevel {
    /// From black to white.
    pub(crate) fn between(black: f32, white: f32) -> Self {
        Self {
            window: (white - black).max(f32::MIN_POSITIVE),
            level: black + (white - black) / 2.0,
        }
    }

    /// The value at a share of the way from black to white.
    pub(crate) fn at_share(self, share: f32) -> f32 {
        self.black() + share * self.window
    }

    /// What is black.
    pub(crate) fn black(self) -> f32 {
        self.level - self.window / 2.0
    }

    /// Gray of a value; NaN is black.
    pub(crate) fn gray(self, value: f32) -> u8 {
        // `as u8` saturates and maps NaN to 0.
        ((value - self.level) / self.window * 255.0 + 127.5) as u8
    }

    /// Share of the way from black to white, 0 to 1.
    pub(crate) fn share(self, value: f32) -> f32 {
        ((value - self.level) / self.window + 0.5).clamp(0.0, 1.0)
    }
}

impl Presets {
    /// Of the finite values that are not background: above a twentieth of the 99th percentile of those above 0, or,
    /// where values may be negative, all that are not 0.
    pub(crate) fn of(values: &[f32]) -> Self {
        let stride = values.len().div_ceil(SAMPLE).max(1);
        let looked_at = values.iter().step_by(stride).copied();
        let mut sample: Vec<f32> = looked_at
            .filter(|value| value.is_finite() && *value != 0.0)
            .collect();
        if sample.is_empty() {
            let one = WindowLevel::between(0.0, 1.0);
            return Self {
                auto: one,
                tissue: one,
                bright: one,
                full: one,
            };
        }
        sample.sort_unstable_by(f32::total_cmp);
        let (lowest, highest) = (sample[0], sample[sample.len() - 1]);
        let begin = if lowest < 0.0 {
            0
        } else {
            let floor = at_percent(&sample, 99.0) / 20.0;
            sample.partition_point(|value| *value < floor)
        };
        let head = &sample[begin.min(sample.len() - 1)..];
        let between =
            |low, high| WindowLevel::between(at_percent(head, low), at_percent(head, high));
        Self {
            auto: between(1.0, 99.0),
            tissue: between(25.0, 95.0),
            bright: between(2.0, 99.9),
            full: WindowLevel::between(lowest.min(0.0), highest),
        }
    }

    /// One of them.
    pub(crate) fn get(&self, preset: Preset) -> WindowLevel {
        match preset {
            Preset::Auto => self.auto,
            Preset::Tissue => self.tissue,
            Preset::Bright => self.bright,
            Preset::Full => self.full,
        }
    }
}

/// The value at a percentile of sorted values.
fn at_percent(sorted: &[f32], percent: f64) -> f32 {
    let last = sorted.len().saturating_sub(1);
    let at = (last as f64 * percent / 100.0).round() as usize;
    sorted.get(at).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends(window: WindowLevel) -> (f32, f32) {
        (
            window.level - window.window / 2.0,
            window.level + window.window / 2.0,
        )
    }

    #[test]
    fn the_automatic_window_leaves_out_background_and_one_percent_at_either_end() {
        let mut values = vec![0.0; 500];
        // Faint noise of the air.
        values.extend(vec![3.0; 500]);
        values.extend((100..=1100u16).map(f32::from));
        values.push(f32::NAN);
        let presets = Presets::of(&values);
        assert_eq!(ends(presets.auto), (110.0, 1090.0));
        assert_eq!(ends(presets.full), (0.0, 1100.0));
    }

    #[test]
    fn negative_values_are_no_background() {
        let values: Vec<f32> = (-500..=500i16).map(f32::from).collect();
        // 0 is left out, so a percent is 10 of 1000 values.
        assert_eq!(ends(Presets::of(&values).auto), (-490.0, 490.0));
    }

    #[test]
    fn a_volume_of_zeros_or_of_one_value_still_has_a_window() {
        for values in [[0.0; 8], [7.0; 8], [f32::NAN; 8]] {
            let presets = Presets::of(&values);
            assert!(
                Preset::ALL
                    .iter()
                    .all(|preset| presets.get(*preset).window > 0.0)
            );
        }
    }

    #[test]
    fn black_and_white_are_the_ends_of_the_window() {
        let window = WindowLevel::between(10.0, 20.0);
        assert_eq!(
            [9.0, 10.0, 20.0, 99.0].map(|v| window.gray(v)),
            [0, 0, 255, 255]
        );
        assert_eq!(window.gray(f32::NAN), 0);
        assert_eq!(window.share(15.0), 0.5);
        assert_eq!(window.at_share(0.25), 12.5);
    }
}
