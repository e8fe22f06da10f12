//! Every color and size of the viewer, so that no panel invents its own.
//!
//! The viewer is dark, as reading rooms are: grey values are judged against black.

use eframe::egui::{self, Color32, Stroke};

/// Width and height of the window at the start, in points.
pub(crate) const WINDOW_SIZE: [f32; 2] = [1400.0, 900.0];
/// Width of the list of subjects at the start, in points.
pub(crate) const LIST_WIDTH: f32 = 340.0;
/// Width of the prediction panel at the start, in points.
pub(crate) const PREDICTION_WIDTH: f32 = 330.0;
/// Space between two slice panes, in points.
pub(crate) const PANE_GAP: f32 = 6.0;
/// Room kept free around the slices of a pane for the direction letters, in points.
pub(crate) const PANE_MARGIN: f32 = 20.0;
/// Height of a row of the list, in points.
pub(crate) const ROW_HEIGHT: f32 = 22.0;
/// Width of each column of numbers in the list, in points.
pub(crate) const NUMBER_COLUMN: f32 = 52.0;
/// Size of the direction letters, in points.
pub(crate) const LETTER_SIZE: f32 = 15.0;
/// Size of the small text, in points.
pub(crate) const SMALL_SIZE: f32 = 12.0;
/// Size of the text, in points.
pub(crate) const TEXT_SIZE: f32 = 13.5;
/// Size of the predicted age in its panel, in points.
pub(crate) const FIGURE_SIZE: f32 = 30.0;
/// Height of the chart of block estimates, in points.
pub(crate) const BLOCK_CHART_HEIGHT: f32 = 130.0;
/// Radius of a subject in the scatter, in points.
pub(crate) const MARK_RADIUS: f32 = 2.5;
/// Radius of the selected subject in the scatter, in points.
pub(crate) const SELECTED_RADIUS: f32 = 5.5;
/// How far from a mark of the scatter a click still takes it, in points.
pub(crate) const CLICK_REACH: f32 = 12.0;

/// Ground of a slice pane.
pub(crate) const PANE: Color32 = Color32::BLACK;
/// Ground of the side panels.
pub(crate) const PANEL: Color32 = Color32::from_rgb(24, 26, 31);
/// Text of usual weight.
pub(crate) const TEXT: Color32 = Color32::from_rgb(214, 218, 224);
/// Text that explains, and numbers that are missing.
pub(crate) const QUIET: Color32 = Color32::from_rgb(140, 147, 158);
/// Direction letters on a pane.
pub(crate) const LETTER: Color32 = Color32::from_rgb(255, 214, 102);
/// The selected subject, in the list and in the scatter.
pub(crate) const ACCENT: Color32 = Color32::from_rgb(255, 159, 67);
/// Marks and lines of predictions.
pub(crate) const PREDICTED: Color32 = Color32::from_rgb(98, 174, 239);
/// Chronological age, and the line where prediction and age agree.
pub(crate) const CHRONOLOGICAL: Color32 = Color32::from_rgb(150, 156, 166);
/// Quality control: passed.
pub(crate) const PASS: Color32 = Color32::from_rgb(120, 200, 130);
/// Quality control: look at it.
pub(crate) const WARN: Color32 = Color32::from_rgb(240, 196, 84);
/// Quality control: failed; and everything that went wrong.
pub(crate) const FAIL: Color32 = Color32::from_rgb(240, 112, 104);
/// Outline of a mask on a slice.
pub(crate) const MASK: Color32 = Color32::from_rgb(64, 220, 200);
/// Ground of the selected row.
pub(crate) const SELECTED_ROW: Color32 = Color32::from_rgb(58, 64, 78);
/// Ground of the row under the pointer.
pub(crate) const HOVERED_ROW: Color32 = Color32::from_rgb(38, 42, 50);

/// The line of the crosshair.
pub(crate) fn crosshair() -> Stroke {
    Stroke::new(1.0, Color32::from_rgba_unmultiplied(255, 214, 102, 130))
}

/// Frame of the pane that has the keyboard.
pub(crate) fn focus() -> Stroke {
    Stroke::new(1.0, PREDICTED)
}

/// Sets the viewer's style in `ctx`, whatever the system's theme.
pub(crate) fn apply(ctx: &egui::Context) {
    ctx.set_theme(egui::Theme::Dark);
    ctx.all_styles_mut(|style| {
        style.visuals.panel_fill = PANEL;
        style.visuals.override_text_color = Some(TEXT);
        style.visuals.selection.bg_fill = SELECTED_ROW;
        style.spacing.item_spacing = egui::vec2(8.0, 5.0);
        for (kind, size) in [
            (egui::TextStyle::Body, TEXT_SIZE),
            (egui::TextStyle::Button, TEXT_SIZE),
            (egui::TextStyle::Small, SMALL_SIZE),
        ] {
            style
                .text_styles
                .insert(kind, egui::FontId::proportional(size));
        }
    });
}
