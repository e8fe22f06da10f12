//! Draws the plots of all scans; a click opens a subject.

use eframe::egui::{self, RichText, Ui};
use egui_plot::{AxisHints, Bar, BarChart, Line, Plot, PlotPoint, PlotPoints, Points, VLine};

use super::data::CohortData;
use crate::commands::Command;
use crate::subject::Subject;
use crate::theme;

/// Shows the plots; `selected` is marked in both.
pub(crate) fn cohort_ui(
    ui: &mut Ui,
    data: &CohortData,
    selected: Option<&Subject>,
) -> Option<Command> {
    let palette = theme::palette(ui);
    if data.n_points == 0 {
        let text = "No scan has both an age and a prediction.";
        ui.label(RichText::new(text).color(palette.quiet));
        return None;
    }
    if let Some(mae) = data.mae_years {
        let text = format!("{} scans, mean absolute gap {mae:.1} years", data.n_points);
        ui.label(RichText::new(text).color(palette.quiet));
    }
    let scatter = scatter_ui(ui, data, selected);
    ui.separator();
    let histogram = histogram_ui(ui, data, selected);
    scatter.or(histogram).map(Command::Select)
}

/// Predicted against chronological age; the subject that was clicked.
fn scatter_ui(ui: &mut Ui, data: &CohortData, selected: Option<&Subject>) -> Option<usize> {
    let palette = theme::palette(ui);
    ui.label(RichText::new("Predicted against chronological age (years)").color(palette.quiet));
    let [low, high] = data.range_years;
    let identity = PlotPoints::from(vec![[low, low], [high, high]]);
    let all: PlotPoints<'_> = data.points.iter().map(|(_, ages)| *ages).collect();
    let chosen =
        selected.and_then(|subject| Some([subject.age_years?, subject.predicted_age_years()?]));
    let chosen: PlotPoints<'_> = chosen.into_iter().collect();
    let shown = Plot::new("scatter")
        .height(ui.available_width() * 0.8)
        .width(theme::plot_width(ui))
        .data_aspect(1.0)
        .custom_x_axes(vec![years_axis()])
        .allow_scroll(false)
        .allow_drag(false)
        .show(ui, |plot| {
            plot.line(Line::new("identity", identity).color(palette.chronological));
            let marks = Points::new("subjects", all).radius(theme::MARK_RADIUS);
            plot.points(marks.color(palette.predicted));
            let mark = Points::new("selected", chosen).radius(theme::SELECTED_RADIUS);
            plot.points(mark.color(palette.accent));
            let pointer = plot.response().hover_pos()?;
            let distance = |[age, predicted]: [f64; 2]| {
                plot.screen_from_plot(PlotPoint::new(age, predicted))
                    .distance(pointer)
            };
            let near = data.points.iter().map(|(i, ages)| (*i, distance(*ages)));
            let nearest = near.min_by(|a, b| a.1.total_cmp(&b.1));
            nearest.filter(|(_, distance)| *distance <= theme::CLICK_REACH)
        });
    let count = data.n_points;
    shown.response.widget_info(|| egui::WidgetInfo {
        current_text_value: Some(format!("{count} scans")),
        ..egui::WidgetInfo::labeled(
            egui::Role::Figure,
            true,
            "Predicted against chronological age",
        )
    });
    let (nearest, _) = shown.inner?;
    shown.response.clicked().then_some(nearest)
}

/// Two digits and a sign have room in so many points.
fn years_axis() -> AxisHints<'static> {
    AxisHints::new_x().label_spacing(18.0..=32.0)
}

/// How often which gap is; the subject nearest to the click.
fn histogram_ui(ui: &mut Ui, data: &CohortData, selected: Option<&Subject>) -> Option<usize> {
    let palette = theme::palette(ui);
    let title = "Gap, predicted − chronological (years)";
    ui.label(RichText::new(title).color(palette.quiet));
    let bars = data.bars.iter().map(|(middle, n)| {
        let bar = Bar::new(*middle, *n as f64).width(data.bin_years);
        bar.fill(palette.predicted.gamma_multiply(0.7))
    });
    let chart = BarChart::new("gaps", bars.collect()).color(palette.predicted);
    let shown = Plot::new("gaps")
        .height(ui.available_width() * 0.5)
        .width(theme::plot_width(ui))
        .custom_x_axes(vec![years_axis()])
        .allow_scroll(false)
        .allow_drag(false)
        .include_x(0.0)
        .include_y(0.0)
        .show(ui, |plot| {
            plot.bar_chart(chart);
            plot.vline(VLine::new("no gap", 0.0).color(palette.chronological));
            if let Some(gap) = selected.and_then(Subject::gap_years) {
                let line = VLine::new("selected", gap).color(palette.accent);
                plot.vline(line.width(2.0));
            }
            plot.pointer_coordinate().map(|at| at.x)
        });
    let spoken: Vec<String> = data
        .bars
        .iter()
        .map(|(middle, n)| format!("{middle:+.1}: {n}"))
        .collect();
    shown.response.widget_info(|| egui::WidgetInfo {
        current_text_value: Some(spoken.join(", ")),
        ..egui::WidgetInfo::labeled(egui::Role::Figure, true, "Histogram of gaps")
    });
    let gap = shown.inner.filter(|_| shown.response.clicked())?;
    data.nearest_gap(gap)
}
