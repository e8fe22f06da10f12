//! How gaps are distributed in each cohort.

use std::io;

use plotters::prelude::*;

use super::{Axes, GRAY, cohorts, color, figure, range};
use crate::eval::Case;

/// Width of a step, years.
const STEP_YEARS: f64 = 2.0;

/// A stepped line per cohort: the share of its scans in each two years of gap. Shares, because cohorts differ in size.
pub(in crate::report) fn gap_histogram(cases: &[Case]) -> io::Result<String> {
    let gaps = range(cases.iter().map(Case::gap_years));
    let first = (gaps.start / STEP_YEARS).floor();
    let n_steps = ((gaps.end / STEP_YEARS).ceil() - first).clamp(1.0, 400.0) as usize;
    let shares = |cohort: &str| {
        let mut counts = vec![0.0_f64; n_steps];
        let own = cases.iter().filter(|case| case.cohort == cohort);
        for gap in own.map(Case::gap_years).filter(|gap| gap.is_finite()) {
            let step = (gap / STEP_YEARS).floor() - first;
            if let Some(count) = counts.get_mut(step.max(0.0) as usize) {
                *count += 1.0;
            }
        }
        let all: f64 = counts.iter().sum();
        counts
            .into_iter()
            .map(|count| 100.0 * count / all.max(1.0))
            .collect()
    };
    let by_cohort: Vec<Vec<f64>> = cohorts(cases).into_iter().map(shares).collect();
    let edge = |step: usize| (first + step as f64) * STEP_YEARS;
    let axes = Axes {
        title: "Distribution of the gap in each cohort",
        size: (560, 520),
        x: edge(0)..edge(n_steps),
        y: 0.0..range(by_cohort.iter().flatten().copied()).end,
        x_label: "gap: predicted − chronological (years)",
        y_label: "share of the cohort's scans (%)",
    };
    figure(&axes, |chart| {
        let top = axes.y.end;
        let zero = [(0.0, 0.0), (0.0, top)];
        chart.draw_series(DashedLineSeries::new(zero, 6, 4, GRAY.stroke_width(1)))?;
        for (cohort, shares) in by_cohort.iter().enumerate() {
            let corners = shares
                .iter()
                .enumerate()
                .flat_map(|(step, share)| [(edge(step), *share), (edge(step + 1), *share)]);
            chart.draw_series(LineSeries::new(corners, color(cohort).stroke_width(2)))?;
        }
        Ok(())
    })
}
