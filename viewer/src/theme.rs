//! Every color and size of the viewer, so that no panel invents its own.
//!
//! Slices are always on black: gray values are judged against it. The panels around them are dark, as reading rooms
//! are, or light.

use eframe::egui::{self, Color32, RichText, Stroke, Ui};

use crate::settings::Theme;

/// Width and height of the window at the start, in points.
pub(crate) const WINDOW_SIZE: [f32; 2] = [1400.0, 900.0];
/// Width of the list of subjects at the start, in points.
pub(crate) const LIST_WIDTH: f32 = 340.0;
/// Width of the list of keys, in points.
pub(crate) const HELP_WIDTH: f32 = 620.0;
/// Width of the prediction panel at the start, in points.
pub(crate) const PREDICTION_WIDTH: f32 = 330.0;
/// Space between two slice panes, in points.
pub(crate) const PANE_GAP: f32 = 6.0;
/// Room kept free around the slices of a pane for the direction letters, in points.
pub(crate) const PANE_MARGIN: f32 = 20.0;
/// Height of the buttons above the slices, in points.
pub(crate) const TOOL_HEIGHT: f32 = 24.0;
/// Panes narrower than this, in points, have no room for words.
pub(crate) const SMALL_PANE: f32 = 240.0;
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

/// Width of the outline of a mask, in points.
pub(crate) const OUTLINE_WIDTH: f32 = 1.4;
/// Half of the opening in the middle of the crosshair, in points.
pub(crate) const CROSSHAIR_GAP: f32 = 4.0;
/// Marks drawn in one plot; of more scans, evenly chosen ones.
pub(crate) const MOST_MARKS: usize = 3000;

/// Ground of a slice pane.
pub(crate) const PANE: Color32 = Color32::BLACK;
/// Text on a slice pane.
pub(crate) const PANE_TEXT: Color32 = Color32::from_rgb(214, 218, 224);
/// Laid under text on a slice pane.
pub(crate) const TEXT_GROUND: Color32 = Color32::from_black_alpha(150);
/// Direction letters on a pane.
pub(crate) const LETTER: Color32 = Color32::from_rgb(255, 214, 102);
/// Outline of a mask on a slice.
pub(crate) const MASK: Color32 = Color32::from_rgb(64, 220, 200);

/// The colors of the panels.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Palette {
    /// Ground of the panels.
    pub(crate) panel: Color32,
    /// Text of usual weight.
    pub(crate) text: Color32,
    /// Text that explains, and numbers that are missing.
    pub(crate) quiet: Color32,
    /// The selected subject, in the list and in the plots.
    pub(crate) accent: Color32,
    /// Marks and lines of predictions.
    pub(crate) predicted: Color32,
    /// Chronological age, and the line where prediction and age agree.
    pub(crate) chronological: Color32,
    /// Quality control: passed.
    pub(crate) pass: Color32,
    /// Quality control: look at it.
    pub(crate) warn: Color32,
    /// Quality control: failed; and everything that went wrong.
    pub(crate) fail: Color32,
    /// Ground of the selected row.
    pub(crate) selected_row: Color32,
    /// Ground of the row under the pointer.
    pub(crate) hovered_row: Color32,
    /// Lines of the blocks of a network, first to last.
    pub(crate) blocks: [Color32; 6],
}

const DARK: Palette = Palette {
    panel: Color32::from_rgb(24, 26, 31),
    text: Color32::from_rgb(214, 218, 224),
    quiet: Color32::from_rgb(150, 157, 168),
    accent: Color32::from_rgb(255, 159, 67),
    predicted: Color32::from_rgb(98, 174, 239),
    chronological: Color32::from_rgb(150, 156, 166),
    pass: Color32::from_rgb(120, 200, 130),
    warn: Color32::from_rgb(240, 196, 84),
    fail: Color32::from_rgb(240, 112, 104),
    selected_row: Color32::from_rgb(58, 64, 78),
    hovered_row: Color32::from_rgb(38, 42, 50),
    blocks: [
        Color32::from_rgb(230, 159, 0),
        Color32::from_rgb(86, 180, 233),
        Color32::from_rgb(0, 158, 115),
        Color32::from_rgb(240, 228, 66),
        Color32::from_rgb(213, 94, 0),
        Color32::from_rgb(204, 121, 167),
    ],
};

const LIGHT: Palette = Palette {
    panel: Color32::from_rgb(246, 247, 249),
    text: Color32::from_rgb(28, 31, 36),
    quiet: Color32::from_rgb(92, 99, 110),
    accent: Color32::from_rgb(176, 84, 0),
    predicted: Color32::from_rgb(20, 100, 180),
    chronological: Color32::from_rgb(110, 116, 126),
    pass: Color32::from_rgb(24, 122, 44),
    warn: Color32::from_rgb(140, 92, 0),
    fail: Color32::from_rgb(186, 32, 28),
    selected_row: Color32::from_rgb(206, 218, 236),
    hovered_row: Color32::from_rgb(228, 233, 240),
    blocks: [
        Color32::from_rgb(176, 120, 0),
        Color32::from_rgb(0, 114, 178),
        Color32::from_rgb(0, 120, 88),
        Color32::from_rgb(150, 140, 0),
        Color32::from_rgb(190, 80, 0),
        Color32::from_rgb(170, 80, 130),
    ],
};

/// The colors that go with the theme of `ui`.
pub(crate) fn palette(ui: &Ui) -> &'static Palette {
    if ui.visuals().dark_mode {
        &DARK
    } else {
        &LIGHT
    }
}

/// The line of the crosshair.
pub(crate) fn crosshair() -> Stroke {
    Stroke::new(1.0, Color32::from_rgba_unmultiplied(255, 214, 102, 170))
}

/// Frame of the pane that has the keyboard, and of the tile that has the crosshair.
pub(crate) fn focus() -> Stroke {
    Stroke::new(1.0, DARK.predicted)
}

/// Frame of the panels around the slices; the ground is the window's own.
pub(crate) fn panel_frame(ui: &Ui) -> egui::Frame {
    egui::Frame::side_top_panel(ui.style()).fill(Color32::TRANSPARENT)
}

/// Width of a plot, in points: the last number below it reaches beyond its border.
pub(crate) fn plot_width(ui: &Ui) -> f32 {
    (ui.available_width() - TEXT_SIZE).max(1.0)
}

/// A name and its value on one line.
pub(crate) fn fact_ui(ui: &mut Ui, name: &str, value: &str, color: Color32) {
    ui.horizontal_wrapped(|ui| {
        ui.label(RichText::new(name).color(palette(ui).quiet));
        ui.label(RichText::new(value).color(color));
    });
}

/// Sets the viewer's style in `ctx`, whatever the system's theme.
pub(crate) fn apply(ctx: &egui::Context, theme: Theme) {
    for (theme, palette) in [(egui::Theme::Dark, &DARK), (egui::Theme::Light, &LIGHT)] {
        ctx.style_mut_of(theme, |style| {
            style.visuals.panel_fill = palette.panel;
            style.visuals.override_text_color = Some(palette.text);
            style.visuals.selection.bg_fill = palette.selected_row;
            style.visuals.selection.stroke.color = palette.text;
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
    ctx.set_theme(match theme {
        Theme::Dark => egui::Theme::Dark,
        Theme::Light => egui::Theme::Light,
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Contrast of two colors by WCAG 2.1: 1 to 21.
    fn contrast(a: Color32, b: Color32) -> f64 {
        let luminance = |color: Color32| {
            let linear = |channel: u8| {
                let c = f64::from(channel) / 255.0;
                if c <= 0.040_45 {
                    c / 12.92
                } else {
                    ((c + 0.055) / 1.055).powf(2.4)
                }
            };
            0.2126 * linear(color.r()) + 0.7152 * linear(color.g()) + 0.0722 * linear(color.b())
        };
        let (a, b) = (luminance(a), luminance(b));
        (a.max(b) + 0.05) / (a.min(b) + 0.05)
    }

    #[test]
    fn every_color_of_text_can_be_read_on_its_ground() {
        for palette in [DARK, LIGHT] {
            let Palette {
                text,
                quiet,
                accent,
                predicted,
                pass,
                warn,
                fail,
                ..
            } = palette;
            for color in [text, quiet, accent, predicted, pass, warn, fail] {
                // WCAG 2.1 AA for text of usual size.
                assert!(contrast(color, palette.panel) >= 4.5, "{color:?}");
            }
        }
    }
}
