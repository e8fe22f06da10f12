//! How each block's head got better while training.

use std::io;

use plotters::prelude::*;

use super::{Axes, FONT, color, figure, range};
use crate::report::BlockCurve;

/// Solid: training scans; dashed: validation scans; the block's number stands at the end of its line.
pub(in crate::report) fn loss_curves(curves: &[BlockCurve]) -> io::Result<String> {
    let lines: Vec<[Vec<(f64, f64)>; 2]> = curves
        .iter()
        .map(|curve| [finite(&curve.train), finite(&curve.validation)])
        .collect();
    let all = || lines.iter().flatten().flatten();
    let epochs = range(all().map(|point| point.0));
    let axes = Axes {
        title: "Mean absolute error of each block while training",
        size: (1120, 420),
        x: epochs.start.max(0.0)..epochs.end,
        y: 0.0..range(all().map(|point| point.1)).end,
        x_label: "epoch",
        y_label: "mean absolute error (years)",
    };
    figure(&axes, |chart| {
        for (block, [train, validation]) in lines.iter().enumerate() {
            let color = color(block);
            chart.draw_series(LineSeries::new(
                train.iter().copied(),
                color.stroke_width(2),
            ))?;
            let dashed = color.stroke_width(2);
            chart.draw_series(DashedLineSeries::new(
                validation.iter().copied(),
                7,
                4,
                dashed,
            ))?;
            // A single point makes no line.
            let points = train.iter().chain(validation);
            let style = color.filled();
            chart.draw_series(points.map(|&point| Circle::new(point, 2, style)))?;
            let end = validation.last().or(train.last()).copied();
            let label = |at| {
                Text::new(
                    format!(" {}", block + 1),
                    at,
                    FONT.into_font().color(&color),
                )
            };
            chart.draw_series(end.into_iter().map(label))?;
        }
        Ok(())
    })
}

fn finite(points: &[[f64; 2]]) -> Vec<(f64, f64)> {
    let finite = points
        .iter()
        .filter(|point| point.iter().all(|value| value.is_finite()));
    finite
        .map(|&[epoch, mae_years]| (epoch, mae_years))
        .collect()
}
