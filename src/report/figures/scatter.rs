//! Predicted against chronological age.

use std::io;

use plotters::prelude::*;

use super::{Axes, GRAY, figure, points, points_by_cohort, range};
use crate::eval::Case;

/// One point per case, and the line on which prediction and age agree.
pub(in crate::report) fn scatter(cases: &[Case]) -> io::Result<String> {
    let by_cohort = points_by_cohort(cases, |case| case.predicted_age_years);
    let all = || by_cohort.iter().flatten();
    // Both axes alike, so that the line is the diagonal.
    let ages = range(all().map(|point| point.0).chain(all().map(|point| point.1)));
    let axes = Axes {
        title: "Predicted against chronological age",
        size: (560, 520),
        x: ages.clone(),
        y: ages.clone(),
        x_label: "chronological age (years)",
        y_label: "predicted age (years)",
    };
    figure(&axes, |chart| {
        let diagonal = [(ages.start, ages.start), (ages.end, ages.end)];
        chart.draw_series(DashedLineSeries::new(diagonal, 6, 4, GRAY.stroke_width(1)))?;
        for (cohort, at) in by_cohort.iter().enumerate() {
            points(chart, cohort, at.iter().copied())?;
        }
        Ok(())
    })
}
