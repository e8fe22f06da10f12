//! Difference against mean of predicted and chronological age.

use std::io;

use plotters::prelude::*;

use super::{Axes, GRAY, figure, points, range};
use crate::eval::Case;

/// One point per case; lines at the mean gap and at 1.96 standard deviations on either side.
///
/// # References
/// Bland & Altman 1986, Lancet 327:307. The mean of both, and not the age, is on the axis: against the age the gap has
/// a slope by regression to the mean alone.
pub(in crate::report) fn bland_altman(cases: &[Case]) -> io::Result<String> {
    let mean_of = |case: &Case| f64::midpoint(case.age_years, case.predicted_age_years);
    let by_cohort = super::points_by_cohort_at(cases, mean_of, Case::gap_years);
    let all = || by_cohort.iter().flatten();
    let gaps: Vec<f64> = cases
        .iter()
        .map(Case::gap_years)
        .filter(|g| g.is_finite())
        .collect();
    let n = gaps.len().max(1) as f64;
    let mean = gaps.iter().sum::<f64>() / n;
    let squares: f64 = gaps.iter().map(|gap| (gap - mean).powi(2)).sum();
    let sd = (squares / (n - 1.0).max(1.0)).sqrt();
    let limits = [mean - 1.96 * sd, mean + 1.96 * sd];
    let means = range(all().map(|point| point.0));
    let axes = Axes {
        title: "Difference against mean of predicted and chronological age",
        size: (560, 520),
        x: means.clone(),
        y: range(all().map(|point| point.1).chain(limits).chain([0.0])),
        x_label: "mean of predicted and chronological age (years)",
        y_label: "predicted − chronological (years)",
    };
    figure(&axes, |chart| {
        for (cohort, at) in by_cohort.iter().enumerate() {
            points(chart, cohort, at.iter().copied())?;
        }
        let line = |y: f64| [(means.start, y), (means.end, y)];
        chart.draw_series(LineSeries::new(line(mean), BLACK.stroke_width(2)))?;
        for limit in limits {
            chart.draw_series(DashedLineSeries::new(
                line(limit),
                8,
                4,
                BLACK.stroke_width(1),
            ))?;
        }
        chart.draw_series(DashedLineSeries::new(line(0.0), 2, 4, GRAY.stroke_width(1)))?;
        Ok(())
    })
}
