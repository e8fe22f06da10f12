//! Lays the panes out.

use eframe::egui::{RichText, Ui, Vec2};

use super::mosaic::mosaic_ui;
use super::pane::pane_ui;
use super::texture::{Budget, Textures};
use crate::commands::Command;
use crate::image::plane::Plane;
use crate::image::scene::Scene;
use crate::settings::{Layout, Settings};
use crate::state::ViewState;
use crate::theme;

/// What the panes are made of.
pub(crate) struct SlicesPanel<'a> {
    /// What is shown.
    pub(crate) scene: &'a Scene,
    /// How.
    pub(crate) settings: &'a Settings,
    /// Where its pictures are kept.
    pub(crate) textures: &'a mut Textures,
    /// How long making them may take.
    pub(crate) budget: Budget,
    /// What stands in the place that three planes leave free.
    pub(crate) info: &'a Info,
    /// Set where a pane has the keyboard.
    pub(crate) focused: bool,
}

/// Words beside the slices.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Info {
    /// Above all else.
    pub(crate) title: String,
    /// What changes with the view: name and value.
    pub(crate) view: Vec<(&'static str, String)>,
    /// What the file is.
    pub(crate) file: Vec<(&'static str, String)>,
    /// What is odd about it.
    pub(crate) warnings: Vec<String>,
}

/// Shows the slices and lets them change the view.
pub(crate) fn slices_ui(
    ui: &mut Ui,
    panel: &mut SlicesPanel<'_>,
    view: &mut ViewState,
) -> Option<Command> {
    match panel.settings.layout {
        Layout::Three => three_ui(ui, panel, view),
        Layout::One(plane) => {
            let size = ui.available_size().max(Vec2::splat(40.0));
            pane_ui(ui, size, plane, panel, view)
        }
        Layout::Mosaic(plane) => {
            mosaic_ui(ui, plane, panel, view);
            None
        }
    }
}

/// The planes in two rows of two; the fourth place says what the scan is.
fn three_ui(ui: &mut Ui, panel: &mut SlicesPanel<'_>, view: &mut ViewState) -> Option<Command> {
    let gap = theme::PANE_GAP;
    let size = ((ui.available_size() - Vec2::splat(gap)) / 2.0).max(Vec2::splat(40.0));
    ui.spacing_mut().item_spacing = Vec2::splat(gap);
    let mut command = None;
    ui.horizontal_top(|ui| {
        for plane in [Plane::Axial, Plane::Sagittal] {
            command = command.take().or(pane_ui(ui, size, plane, panel, view));
        }
    });
    ui.horizontal_top(|ui| {
        let coronal = pane_ui(ui, size, Plane::Coronal, panel, view);
        command = command.take().or(coronal);
        ui.allocate_ui(size, |ui| info_ui(ui, panel.info));
    });
    command
}

fn info_ui(ui: &mut Ui, info: &Info) {
    ui.set_clip_rect(ui.max_rect().intersect(ui.clip_rect()));
    ui.vertical(|ui| {
        ui.spacing_mut().item_spacing = Vec2::new(8.0, 3.0);
        let color = theme::palette(ui).accent;
        ui.label(
            RichText::new(&info.title)
                .size(theme::LETTER_SIZE)
                .color(color),
        );
        facts_ui(ui, &info.view);
        ui.separator();
        facts_ui(ui, &info.file);
        let color = theme::palette(ui).warn;
        for warning in &info.warnings {
            ui.label(RichText::new(warning).color(color));
        }
    });
}

fn facts_ui(ui: &mut Ui, facts: &[(&'static str, String)]) {
    for (name, text) in facts {
        theme::fact_ui(ui, name, text, theme::palette(ui).text);
    }
}
