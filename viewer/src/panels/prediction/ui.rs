//! Draws what the model says of the scan.

use std::time::Duration;

use eframe::egui::{self, RichText, Ui};
use egui_plot::{AxisHints, HLine, Line, Plot, PlotPoints, Points, Polygon};

use super::data::{PredictionData, progress_words};
use crate::commands::Command;
use crate::panels::list::ui::qc_color;
use crate::predictor::Progress;
use crate::theme;

/// What stands on the button, and whether a prediction is under way.
pub(crate) struct Model<'a> {
    /// Name of the model; `None` where none was given.
    pub(crate) name: Option<&'a str>,
    /// Name of the subject of the prediction under way, how far it is, and how long it will take.
    pub(crate) under_way: Option<(&'a str, &'a Progress, Option<Duration>)>,
}

/// Shows the panel.
pub(crate) fn prediction_ui(
    ui: &mut Ui,
    data: &PredictionData,
    model: &Model<'_>,
) -> Option<Command> {
    let palette = theme::palette(ui);
    if let Some(predicted) = &data.predicted {
        ui.label(RichText::new("Predicted age").color(palette.quiet));
        let figure = RichText::new(predicted).size(theme::FIGURE_SIZE);
        ui.label(figure.color(palette.predicted));
    } else if !data.was_asked {
        ui.label(RichText::new("No prediction of this scan.").color(palette.quiet));
    }
    if let Some(interval) = &data.interval {
        ui.label(RichText::new(interval).color(palette.predicted));
    }
    for (name, value) in &data.facts {
        theme::fact_ui(ui, name, value, palette.text);
    }
    if data.was_asked {
        theme::fact_ui(ui, "Quality control", data.qc.name(), qc_color(ui, data.qc));
    }
    for reason in &data.reasons {
        ui.label(format!("• {reason}"));
    }
    if let Some(error) = &data.error {
        ui.label(RichText::new(error).color(palette.fail));
    }
    let command = model_ui(ui, data, model);
    blocks_ui(ui, data);
    command
}

fn model_ui(ui: &mut Ui, data: &PredictionData, model: &Model<'_>) -> Option<Command> {
    if let Some((subject, progress, left)) = model.under_way {
        let words = progress_words(progress, left);
        let words = if subject == data.name {
            words
        } else {
            format!("{subject}: {words}")
        };
        ui.label(format!("Predicting: {words}"));
        ui.add(egui::ProgressBar::new(progress.share).show_percentage());
        let canceled = ui.button("Cancel prediction").clicked();
        return canceled.then_some(Command::CancelPrediction);
    }
    let name = model.name?;
    let button = ui
        .button("Predict age")
        .on_hover_text(format!("with {name}; the scan is preprocessed first"));
    button.clicked().then_some(Command::Predict)
}

/// The estimate of each block, first to last, beside predicted and chronological age.
fn blocks_ui(ui: &mut Ui, data: &PredictionData) {
    let ages = &data.block_ages_years;
    if ages.is_empty() {
        return;
    }
    let palette = theme::palette(ui);
    ui.separator();
    let title = "Age by block (years): how the estimate forms through the network";
    ui.label(RichText::new(title).color(palette.quiet));
    ui.label(data.blocks_line());
    let points = || -> PlotPoints<'static> {
        let ages = ages.iter().enumerate();
        ages.map(|(i, age)| [(i + 1) as f64, *age]).collect()
    };
    let line = Line::new("blocks", points()).color(palette.predicted);
    let marks = Points::new("blocks", points())
        .radius(4.0)
        .color(palette.predicted);
    let last = ages.len() as f64 + 0.5;
    let plot = Plot::new("block ages")
        .height(theme::BLOCK_CHART_HEIGHT)
        .set_margin_fraction(egui::Vec2::splat(0.12))
        .custom_x_axes(vec![AxisHints::new_x().label_spacing(10.0..=20.0)])
        .custom_y_axes(vec![AxisHints::new_y().label_spacing(12.0..=18.0)])
        .allow_scroll(false)
        .allow_zoom(false)
        .allow_drag(false)
        .include_x(0.5)
        .include_x(last)
        .x_grid_spacer(|input| {
            let (first, last) = (input.bounds.0.ceil() as i64, input.bounds.1.floor() as i64);
            let mark = |i: i64| egui_plot::GridMark {
                value: i as f64,
                step_size: 1.0,
            };
            (first..=last.min(first + 100)).map(mark).collect()
        });
    let shown = plot.show(ui, |plot| {
        if let Some([low, high]) = data.interval_years {
            let corners = vec![[0.5, low], [last, low], [last, high], [0.5, high]];
            let band = Polygon::new("interval", PlotPoints::from(corners));
            let fill = palette.predicted.gamma_multiply(0.12);
            plot.polygon(band.fill_color(fill).stroke(egui::Stroke::NONE));
        }
        if let Some(age) = data.age_years {
            plot.hline(HLine::new("chronological age", age).color(palette.chronological));
        }
        plot.line(line);
        plot.points(marks);
    });
    shown.response.widget_info(|| egui::WidgetInfo {
        current_text_value: Some(data.blocks_line()),
        ..egui::WidgetInfo::labeled(egui::Role::Figure, true, "Age by block")
    });
    let mut legend = Vec::new();
    legend.extend(data.age_years.map(|_| "gray line: chronological age"));
    legend.extend(
        data.interval_years
            .map(|_| "band: interval of the prediction"),
    );
    if !legend.is_empty() {
        ui.label(
            RichText::new(legend.join("; "))
                .small()
                .color(palette.quiet),
        );
    }
}
