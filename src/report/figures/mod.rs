//! The figures of the report, each an SVG element that stands in the page.

mod bland_altman;
mod gap_by_age;
mod gap_histogram;
mod loss_curves;
mod scatter;

pub(super) use bland_altman::bland_altman;
pub(super) use gap_by_age::{corrected_gap_by_age, gap_by_age};
pub(super) use gap_histogram::gap_histogram;
pub(super) use loss_curves::loss_curves;
pub(super) use scatter::scatter;

use std::collections::BTreeSet;
use std::io;
use std::ops::Range;

use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;

use crate::eval::Case;

/// More points are thinned evenly: they would hide each other and make the page slow.
pub(super) const MAX_POINTS: usize = 4000;

/// Colors that the color-blind tell apart.
///
/// # References
/// Okabe & Ito 2008, Color Universal Design.
const COLORS: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(230, 159, 0),
    RGBColor(90, 90, 90),
];

const GRAY: RGBColor = RGBColor(130, 130, 130);
const FONT: (&str, i32) = ("sans-serif", 15);

type Chart<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;
type Drawn = Result<(), DrawingAreaErrorKind<io::Error>>;

/// The frame of a figure.
struct Axes {
    /// What the figure shows, for those who cannot see it.
    title: &'static str,
    size: (u32, u32),
    x: Range<f64>,
    y: Range<f64>,
    x_label: &'static str,
    y_label: &'static str,
}

/// An SVG element with axes and what `plot` draws into them.
fn figure(axes: &Axes, plot: impl FnOnce(&mut Chart<'_, '_>) -> Drawn) -> io::Result<String> {
    let mut svg = String::new();
    draw(&mut svg, axes, plot).map_err(|error| io::Error::other(error.to_string()))?;
    // Within a page the element needs no name space, and takes its size from the style.
    let inner = svg.split_once(">\n").map_or("", |(_, inner)| inner);
    let ((width, height), title) = (axes.size, axes.title);
    Ok(format!(
        "<svg viewBox=\"0 0 {width} {height}\" role=\"img\" aria-label=\"{title}\">\n{inner}"
    ))
}

fn draw(svg: &mut String, axes: &Axes, plot: impl FnOnce(&mut Chart<'_, '_>) -> Drawn) -> Drawn {
    let area = SVGBackend::with_string(svg, axes.size).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .margin(10)
        .x_label_area_size(46)
        .y_label_area_size(56)
        .build_cartesian_2d(axes.x.clone(), axes.y.clone())?;
    chart
        .configure_mesh()
        .x_desc(axes.x_label)
        .y_desc(axes.y_label)
        .label_style(FONT)
        .axis_desc_style(FONT)
        .light_line_style(TRANSPARENT)
        .bold_line_style(RGBColor(228, 228, 228))
        .axis_style(GRAY)
        .draw()?;
    plot(&mut chart)?;
    area.present()
}

/// Points of one cohort: each has its own mark and color, the marks of [`cohort_mark`].
fn points(chart: &mut Chart<'_, '_>, cohort: usize, at: impl Iterator<Item = (f64, f64)>) -> Drawn {
    let color = color(cohort);
    match cohort % 3 {
        0 => {
            chart.draw_series(at.map(|point| Circle::new(point, 3, color.mix(0.7).filled())))?;
        }
        1 => {
            let style = color.mix(0.7).filled();
            chart.draw_series(at.map(|point| TriangleMarker::new(point, 5, style)))?;
        }
        _ => {
            chart.draw_series(at.map(|point| Cross::new(point, 3, color.stroke_width(1))))?;
        }
    }
    Ok(())
}

/// Cohorts in the order that gives them their marks.
pub(super) fn cohorts(cases: &[Case]) -> BTreeSet<&str> {
    cases.iter().map(|case| case.cohort.as_str()).collect()
}

/// Mark of a cohort in the legend, and its color as CSS writes it.
pub(super) fn cohort_mark(cohort: usize) -> (&'static str, String) {
    let mark = match cohort % 3 {
        0 => "●",
        1 => "▲",
        _ => "✕",
    };
    (mark, css_color(cohort))
}

/// Color of a cohort or block as CSS writes it.
pub(super) fn css_color(index: usize) -> String {
    let RGBColor(red, green, blue) = color(index);
    format!("#{red:02x}{green:02x}{blue:02x}")
}

fn color(index: usize) -> RGBColor {
    COLORS.get(index % COLORS.len()).copied().unwrap_or(BLACK)
}

/// The cases of each cohort that can be drawn, as points, thinned to [`MAX_POINTS`].
fn points_by_cohort(cases: &[Case], y: impl Fn(&Case) -> f64) -> Vec<Vec<(f64, f64)>> {
    points_by_cohort_at(cases, |case| case.age_years, y)
}

/// As [`points_by_cohort`], with something else than the age to the right.
fn points_by_cohort_at(
    cases: &[Case],
    x: impl Fn(&Case) -> f64,
    y: impl Fn(&Case) -> f64,
) -> Vec<Vec<(f64, f64)>> {
    let step = cases.len().div_ceil(MAX_POINTS).max(1);
    let shown = || cases.iter().step_by(step);
    let of = |cohort: &str| {
        let own = shown().filter(|case| case.cohort == cohort);
        own.map(|case| (x(case), y(case)))
            .filter(|(x, y)| x.is_finite() && y.is_finite())
            .collect()
    };
    cohorts(cases).into_iter().map(of).collect()
}

/// The range of some values with a little room around; that of one value is widened.
fn range(values: impl Iterator<Item = f64>) -> Range<f64> {
    let finite = values.filter(|value| value.is_finite());
    let [low, high] = finite.fold([f64::INFINITY, f64::NEG_INFINITY], |[low, high], value| {
        [low.min(value), high.max(value)]
    });
    if low > high {
        return 0.0..1.0;
    }
    let room = ((high - low) * 0.04).max(0.5);
    low - room..high + room
}
