//! The table of a training on a terminal.

use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressState, ProgressStyle};

use super::figures::{Figures, heading, speed};
use crate::cli::progress::clock;

/// How often the clock is drawn while nothing happens.
const BETWEEN_TICKS: Duration = Duration::from_millis(500);
const BAR: &str = "train  epoch {prefix}  {wide_bar}  {pos}/{len}, {msg}, {clock}, {left} left";
/// Longer rows are cut at the edge.
const ROW: &str = "{wide_msg}";

/// A bar, a heading and a row for each block.
pub(super) struct Table {
    /// An empty line. A terminal echoes `^C` behind the last row, which wraps and pushes the table down by one line; this
    /// is the one that then stays.
    spacer: ProgressBar,
    bar: ProgressBar,
    heading: ProgressBar,
    rows: Vec<ProgressBar>,
}

impl Table {
    pub(super) fn draw(bars: &MultiProgress, figures: &Figures) -> Self {
        let line = || bars.add(ProgressBar::new(0).with_style(style(ROW)));
        let spacer = line();
        spacer.tick();
        let bar = bars.add(ProgressBar::new(figures.n_steps()));
        bar.set_style(style(BAR));
        bar.set_position(figures.first_step);
        bar.reset_eta();
        bar.enable_steady_tick(BETWEEN_TICKS);
        let table = Self {
            spacer,
            bar,
            heading: line(),
            rows: figures.blocks.iter().map(|_| line()).collect(),
        };
        table.heading.set_message(heading(figures.metric));
        table.update(figures, Duration::ZERO);
        table
    }

    pub(super) fn update(&self, figures: &Figures, elapsed: Duration) {
        let speed = speed(figures.samples_per_sec(elapsed));
        self.bar.set_prefix(figures.epoch());
        self.bar.set_message(format!("{speed} samples/s"));
        self.bar.set_position(figures.step);
        for (number, (row, block)) in self.rows.iter().zip(&figures.blocks).enumerate() {
            row.set_message(block.row(number + 1));
        }
    }

    /// Takes the table off the terminal.
    pub(super) fn clear(&self) {
        let above = [&self.heading, &self.bar, &self.spacer];
        for line in self.rows.iter().chain(above) {
            line.finish_and_clear();
        }
    }
}

/// A template that does not parse would leave plain bars; the test below reads both.
fn style(template: &str) -> ProgressStyle {
    let style =
        ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    let write = |time: Duration, out: &mut dyn std::fmt::Write| {
        // There is nobody to tell that a line could not be drawn.
        out.write_str(&clock(time)).ok();
    };
    style
        .with_key(
            "clock",
            move |state: &ProgressState, out: &mut dyn std::fmt::Write| {
                write(state.elapsed(), out);
            },
        )
        .with_key(
            "left",
            move |state: &ProgressState, out: &mut dyn std::fmt::Write| {
                write(state.eta(), out);
            },
        )
        .progress_chars("━╸─")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_templates_parse() {
        for template in [BAR, ROW] {
            assert!(ProgressStyle::with_template(template).is_ok(), "{template}");
        }
    }
}
