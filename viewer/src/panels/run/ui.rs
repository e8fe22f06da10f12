//! Draws the learning curves of a run.

use eframe::egui::{self, RichText, Ui};
use egui_plot::{Legend, Line, LineStyle, Plot, PlotPoints};

use super::data::{BlockCurves, Curves, RunLog};
use crate::theme;

/// Shows the curves, or says how to come to them.
pub(crate) fn run_ui(ui: &mut Ui, run: Option<&RunLog>) {
    let palette = theme::palette(ui);
    let Some(run) = run else {
        let text = "No run is open. Drop a run folder onto the window, or start with --run RUN.";
        ui.label(RichText::new(text).color(palette.quiet));
        return;
    };
    ui.label(RichText::new(run.folder.display().to_string()).color(palette.quiet));
    let curves = match &run.curves {
        Ok(curves) => curves,
        Err(reason) => {
            ui.label(RichText::new(reason).color(palette.fail));
            return;
        }
    };
    ui.label(curves.summary());
    curves_ui(
        ui,
        "Training error by block (MAE, years)",
        curves,
        |block| {
            if block.epochs.len() > 1 {
                &block.epochs
            } else {
                &block.steps
            }
        },
    );
    curves_ui(
        ui,
        "Validation error by block (MAE, years)",
        curves,
        |block| &block.validation,
    );
    curves_ui(
        ui,
        "Error on each batch, smoothed (MAE, years)",
        curves,
        |block| &block.steps,
    );
}

fn curves_ui(
    ui: &mut Ui,
    title: &str,
    curves: &Curves,
    points: impl Fn(&BlockCurves) -> &[[f64; 2]],
) {
    if curves.blocks.iter().all(|block| points(block).is_empty()) {
        return;
    }
    let palette = theme::palette(ui);
    ui.separator();
    ui.label(RichText::new(title).color(palette.quiet));
    let styles = [
        LineStyle::Solid,
        LineStyle::dashed_dense(),
        LineStyle::dotted_dense(),
    ];
    let shown = Plot::new(title)
        .height(ui.available_width() * 0.5)
        .allow_scroll(false)
        .allow_drag(false)
        .include_y(0.0)
        .legend(Legend::default())
        .show(ui, |plot| {
            for (i, block) in curves.blocks.iter().enumerate() {
                let line = Line::new(
                    format!("block {}", i + 1),
                    PlotPoints::from(points(block).to_vec()),
                );
                let color = palette.blocks[i % palette.blocks.len()];
                let style = styles[i / palette.blocks.len() % styles.len()];
                plot.line(line.color(color).style(style).width(1.8));
            }
        });
    let summary = curves.summary();
    shown.response.widget_info(|| egui::WidgetInfo {
        current_text_value: Some(summary.clone()),
        ..egui::WidgetInfo::labeled(egui::Role::Figure, true, title)
    });
}
