//! The brain-age gap against age: a slope in it is the age bias.

use std::collections::BTreeMap;
use std::io;

use plotters::prelude::*;

use super::{Axes, GRAY, figure, points, points_by_cohort, range};
use crate::eval::groups::{AGE_BIN_YEARS, AgeBin};
use crate::eval::{Case, Evaluation};

/// One point per case, and a bar at the mean gap of each age bin.
pub(in crate::report) fn gap_by_age(cases: &[Case], evaluation: &Evaluation) -> io::Result<String> {
    let bins = evaluation.by_age_bin.iter();
    let bars: Vec<(f64, f64)> = bins
        .filter_map(|(bin, scores)| Some((f64::from(bin.start_years()), scores.bias?)))
        .collect();
    let by_cohort = points_by_cohort(cases, Case::gap_years);
    let title = "Brain-age gap against chronological age";
    drawn(
        (title, "gap: predicted − chronological (years)"),
        &by_cohort,
        &bars,
    )
}

/// The same after age-bias correction, of the cases that have one; `None` without any.
pub(in crate::report) fn corrected_gap_by_age(cases: &[Case]) -> io::Result<Option<String>> {
    let corrected = |case: &Case| Some(case.corrected_age_years? - case.age_years);
    let known: Vec<Case> = cases
        .iter()
        .filter(|c| corrected(c).is_some())
        .cloned()
        .collect();
    if known.is_empty() {
        return Ok(None);
    }
    let mut sums: BTreeMap<AgeBin, [f64; 2]> = BTreeMap::new();
    for case in &known {
        let sum = sums.entry(AgeBin::of(case.age_years)).or_default();
        sum[0] += corrected(case).unwrap_or(0.0);
        sum[1] += 1.0;
    }
    let bars: Vec<(f64, f64)> = sums
        .into_iter()
        .map(|(bin, [sum, n])| (f64::from(bin.start_years()), sum / n))
        .collect();
    let by_cohort = points_by_cohort(&known, |case| corrected(case).unwrap_or(f64::NAN));
    let title = "Corrected brain-age gap against chronological age";
    drawn((title, "corrected gap (years)"), &by_cohort, &bars).map(Some)
}

/// Points of cohorts, and bars that begin at an age and are one bin long.
fn drawn(
    (title, y_label): (&'static str, &'static str),
    by_cohort: &[Vec<(f64, f64)>],
    bars: &[(f64, f64)],
) -> io::Result<String> {
    let all = || by_cohort.iter().flatten();
    let ages = range(all().map(|point| point.0));
    let axes = Axes {
        title,
        size: (560, 520),
        x: ages.clone(),
        y: range(all().map(|point| point.1).chain([0.0])),
        x_label: "chronological age (years)",
        y_label,
    };
    figure(&axes, |chart| {
        let zero = [(ages.start, 0.0), (ages.end, 0.0)];
        chart.draw_series(DashedLineSeries::new(zero, 6, 4, GRAY.stroke_width(1)))?;
        for (cohort, at) in by_cohort.iter().enumerate() {
            points(chart, cohort, at.iter().copied())?;
        }
        for &(start, bias) in bars {
            let end = start + f64::from(AGE_BIN_YEARS);
            let bar = [(start.max(ages.start), bias), (end.min(ages.end), bias)];
            chart.draw_series(LineSeries::new(bar, BLACK.stroke_width(3)))?;
        }
        Ok(())
    })
}
