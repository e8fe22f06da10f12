//! Draws the learning curves of a run.

use eframe::egui::{self, Color32, RichText, Ui};
use egui_plot::{AxisHints, Line, LineStyle, Plot, PlotPoints};

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
    legend_ui(ui, curves.blocks.len());
    curves_ui(ui, "Training error (MAE, years) by step", curves, |block| {
        if block.epochs.len() > 1 {
            &block.epochs
        } else {
            &block.steps
        }
    });
    curves_ui(
        ui,
        "Validation error (MAE, years) by step",
        curves,
        |block| &block.validation,
    );
    curves_ui(
        ui,
        "Error of each batch, smoothed (MAE, years)",
        curves,
        |block| &block.steps,
    );
}

/// Color and kind of a block's line, and the kind in words.
fn look_of(palette: &theme::Palette, block: usize) -> (Color32, LineStyle, &'static str) {
    let n_colors = palette.blocks.len();
    let (style, words) = match block / n_colors % 3 {
        0 => (LineStyle::Solid, ""),
        1 => (LineStyle::dashed_dense(), " (dashed)"),
        _ => (LineStyle::dotted_dense(), " (dotted)"),
    };
    (palette.blocks[block % n_colors], style, words)
}

/// Names the blocks in the colors of their lines, once for all plots.
fn legend_ui(ui: &mut Ui, n_blocks: usize) {
    let palette = theme::palette(ui);
    ui.horizontal_wrapped(|ui| {
        for block in 0..n_blocks {
            let (color, _, words) = look_of(palette, block);
            let name = format!("block {}{words}", block + 1);
            ui.label(RichText::new(name).color(color).strong());
        }
    });
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
    let shown = Plot::new(title)
        .height(ui.available_width() * 0.5)
        .width(theme::plot_width(ui))
        .allow_scroll(false)
        .allow_drag(false)
        .custom_x_axes(vec![AxisHints::new_x().label_spacing(30.0..=50.0)])
        .include_y(0.0)
        .show(ui, |plot| {
            for (i, block) in curves.blocks.iter().enumerate() {
                let line = Line::new(
                    format!("block {}", i + 1),
                    PlotPoints::from(points(block).to_vec()),
                );
                let (color, style, _) = look_of(palette, i);
                plot.line(line.color(color).style(style).width(1.8));
            }
        });
    let summary = curves.summary();
    shown.response.widget_info(|| egui::WidgetInfo {
        current_text_value: Some(summary.clone()),
        ..egui::WidgetInfo::labeled(egui::Role::Figure, true, title)
    });
}
