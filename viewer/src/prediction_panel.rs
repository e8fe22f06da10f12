//! The panel that says what a model thinks of the scan: ages, gap, blocks, quality.

use eframe::egui::{self, Color32, RichText, Ui};
use egui_plot::{AxisHints, HLine, Line, Plot, PlotPoint, PlotPoints, Points};

use crate::subject::{Prediction, QcLevel, Subject};
use crate::theme;

/// What the panel can be asked for.
pub(crate) enum Request {
    /// Predict the age of the selected scan.
    Predict,
    /// Select another subject.
    Select(usize),
}

/// What stands on the button, and whether a prediction is under way.
pub(crate) struct Model<'a> {
    /// Name of the model; `None` where none was given.
    pub(crate) name: Option<&'a str>,
    /// What the prediction under way has come to.
    pub(crate) stage: Option<String>,
}

/// Shows the panel.
pub(crate) fn prediction_ui(
    ui: &mut Ui,
    subjects: &[Subject],
    selected: usize,
    model: &Model<'_>,
) -> Option<Request> {
    let subject = subjects.get(selected)?;
    let mut request = None;
    ui.heading(&subject.name);
    egui::ScrollArea::vertical()
        .auto_shrink(false)
        .show(ui, |ui| {
            if let Some(prediction) = &subject.prediction {
                ages_ui(ui, subject, prediction);
                quality_ui(ui, subject.qc_level(), prediction);
                blocks_ui(ui, subject, prediction);
            } else {
                if let Some(age) = subject.age_years {
                    fact_ui(
                        ui,
                        "Chronological age",
                        &format!("{age:.1} years"),
                        theme::TEXT,
                    );
                }
                ui.label(RichText::new("No prediction of this scan.").color(theme::QUIET));
            }
            if let Some(stage) = &model.stage {
                ui.label(RichText::new(format!("Predicting: {stage}…")).color(theme::QUIET));
            } else if let Some(name) = model.name
                && ui
                    .button("Predict age")
                    .on_hover_text(format!("with {name}"))
                    .clicked()
            {
                request = Some(Request::Predict);
            }
            if let Some(other) = scatter_ui(ui, subjects, selected) {
                request = Some(Request::Select(other));
            }
        });
    request
}

/// A name and its value on one line.
pub(crate) fn fact_ui(ui: &mut Ui, name: &str, value: &str, color: Color32) {
    ui.horizontal_wrapped(|ui| {
        ui.label(RichText::new(name).color(theme::QUIET));
        ui.label(RichText::new(value).color(color));
    });
}

fn ages_ui(ui: &mut Ui, subject: &Subject, prediction: &Prediction) {
    if let Some(age) = prediction.predicted_age_years {
        ui.label(RichText::new("Predicted age").color(theme::QUIET));
        let figure = RichText::new(format!("{age:.1} years")).size(theme::FIGURE_SIZE);
        ui.label(figure.color(theme::PREDICTED));
    }
    let age = subject
        .age_years
        .map_or("unknown".to_owned(), |age| format!("{age:.1} years"));
    fact_ui(ui, "Chronological age", &age, theme::TEXT);
    if let Some(gap) = subject.gap_years() {
        fact_ui(
            ui,
            "Gap (predicted − chronological)",
            &format!("{gap:+.1} years"),
            theme::TEXT,
        );
    }
    if let Some(gap) = prediction.corrected_gap_years {
        fact_ui(
            ui,
            "Gap, corrected for age bias",
            &format!("{gap:+.1} years"),
            theme::TEXT,
        );
    }
    if !prediction.model.is_empty() {
        fact_ui(ui, "Model", &prediction.model, theme::TEXT);
    }
}

fn quality_ui(ui: &mut Ui, level: QcLevel, prediction: &Prediction) {
    fact_ui(ui, "Quality control", level.name(), level.color());
    for reason in &prediction.qc_reasons {
        ui.label(format!("• {reason}"));
    }
    if let Some(error) = &prediction.error {
        ui.label(RichText::new(error).color(theme::FAIL));
    }
}

/// The estimate of each block, first to last, beside predicted and chronological age.
fn blocks_ui(ui: &mut Ui, subject: &Subject, prediction: &Prediction) {
    let ages = &prediction.block_ages_years;
    if ages.is_empty() {
        return;
    }
    ui.separator();
    ui.label(RichText::new("Age by block (years)").color(theme::QUIET));
    let spoken: Vec<String> = ages
        .iter()
        .enumerate()
        .map(|(i, age)| format!("{}: {age:.1}", i + 1))
        .collect();
    ui.label(spoken.join("   "));
    let points = |ages: &[f64]| -> PlotPoints<'static> {
        ages.iter()
            .enumerate()
            .map(|(i, age)| [(i + 1) as f64, *age])
            .collect()
    };
    let line = Line::new("blocks", points(ages)).color(theme::PREDICTED);
    let marks = Points::new("blocks", points(ages))
        .radius(4.0)
        .color(theme::PREDICTED);
    let chronological = subject.age_years;
    let plot = Plot::new("block ages")
        .height(theme::BLOCK_CHART_HEIGHT)
        .set_margin_fraction(egui::Vec2::splat(0.12))
        .custom_x_axes(vec![AxisHints::new_x().label_spacing(10.0..=20.0)])
        .allow_scroll(false)
        .allow_zoom(false)
        .allow_drag(false)
        .include_x(0.5)
        .include_x(ages.len() as f64 + 0.5)
        .x_grid_spacer(|input| {
            let (first, last) = (input.bounds.0.ceil() as i64, input.bounds.1.floor() as i64);
            let mark = |i: i64| egui_plot::GridMark {
                value: i as f64,
                step_size: 1.0,
            };
            (first..=last.min(first + 100)).map(mark).collect()
        });
    let shown = plot.show(ui, |plot| {
        if let Some(age) = chronological {
            plot.hline(HLine::new("chronological age", age).color(theme::CHRONOLOGICAL));
        }
        plot.line(line);
        plot.points(marks);
    });
    shown
        .response
        .widget_info(|| egui::WidgetInfo::labeled(egui::Role::Figure, true, "Age by block"));
    if chronological.is_some() {
        ui.label(
            RichText::new("grey line: chronological age")
                .small()
                .color(theme::QUIET),
        );
    }
}

/// Predicted against chronological age of all subjects that have both; the one that was clicked.
fn scatter_ui(ui: &mut Ui, subjects: &[Subject], selected: usize) -> Option<usize> {
    let both = |i: usize| {
        let subject = subjects.get(i)?;
        Some([subject.age_years?, subject.predicted_age_years()?])
    };
    let known: Vec<(usize, [f64; 2])> = (0..subjects.len())
        .filter_map(|i| Some((i, both(i)?)))
        .collect();
    if known.len() < 2 {
        return None;
    }
    ui.separator();
    ui.label(RichText::new("Predicted against chronological age (years)").color(theme::QUIET));
    let flat = known.iter().flat_map(|(_, ages)| *ages);
    let (low, high) = flat.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), age| {
        (low.min(age), high.max(age))
    });
    let identity = PlotPoints::from(vec![[low, low], [high, high]]);
    let all: PlotPoints<'_> = known.iter().map(|(_, ages)| *ages).collect();
    let chosen: PlotPoints<'_> = both(selected).into_iter().collect();
    let count = known.len();
    let shown = Plot::new("scatter")
        .height(theme::PREDICTION_WIDTH * 0.75)
        .data_aspect(1.0)
        .allow_scroll(false)
        .show(ui, |plot| {
            plot.line(Line::new("identity", identity).color(theme::CHRONOLOGICAL));
            let marks = Points::new("subjects", all).radius(theme::MARK_RADIUS);
            plot.points(marks.color(theme::PREDICTED));
            let mark = Points::new("selected", chosen).radius(theme::SELECTED_RADIUS);
            plot.points(mark.color(theme::ACCENT));
            let pointer = plot.response().hover_pos()?;
            let distance = |[age, predicted]: [f64; 2]| {
                plot.screen_from_plot(PlotPoint::new(age, predicted))
                    .distance(pointer)
            };
            let near = known.iter().map(|(i, ages)| (*i, distance(*ages)));
            let nearest = near.min_by(|a, b| a.1.total_cmp(&b.1));
            nearest.filter(|(_, distance)| *distance <= theme::CLICK_REACH)
        });
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
