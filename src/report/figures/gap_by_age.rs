//! The brain-age gap against age: a slope in it is the age bias.

use std::io;

use plotters::prelude::*;

use super::{Axes, GRAY, figure, points, points_by_cohort, range};
use crate::eval::groups::AGE_BIN_YEARS;
use crate::eval::{Case, Evaluation};

/// One point per case, and a bar at the mean gap of each age bin.
pub(in crate::report) fn gap_by_age(cases: &[Case], evaluation: &Evaluation) -> io::Result<String> {
    let by_cohort = points_by_cohort(cases, Case::gap_years);
    let all = || by_cohort.iter().flatten();
    let ages = range(all().map(|point| point.0));
    let axes = Axes {
        title: "Brain-age gap against chronological age",
        size: (560, 520),
        x: ages.clone(),
        y: range(all().map(|point| point.1).chain([0.0])),
        x_label: "chronological age (years)",
        y_label: "gap: predicted − chronological (years)",
    };
    figure(&axes, |chart| {
        let zero = [(ages.start, 0.0), (ages.end, 0.0)];
        chart.draw_series(DashedLineSeries::new(zero, 6, 4, GRAY.stroke_width(1)))?;
        for (cohort, at) in by_cohort.iter().enumerate() {
            points(chart, cohort, at.iter().copied())?;
        }
        for (bin, scores) in &evaluation.by_age_bin {
            let Some(bias) = scores.bias else { continue };
            let start = f64::from(bin.start_years());
            let end = start + f64::from(AGE_BIN_YEARS);
            let bar = [(start.max(ages.start), bias), (end.min(ages.end), bias)];
            chart.draw_series(LineSeries::new(bar, BLACK.stroke_width(3)))?;
        }
        Ok(())
    })
}
