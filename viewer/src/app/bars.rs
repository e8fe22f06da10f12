//! The bars above and below the slices.

use eframe::egui::{self, RichText, Ui};

use super::{DISCLAIMER, Viewer};
use crate::commands::Command;
use crate::image::plane::{Convention, Plane};
use crate::image::scene::Space;
use crate::panels::review::ui::{ReviewBar, review_ui};
use crate::settings::Layout;
use crate::theme;

impl Viewer {
    pub(super) fn toolbar_ui(&mut self, ui: &mut Ui) -> Option<Command> {
        let mut command = None;
        ui.horizontal_wrapped(|ui| {
            // As high as the highest of them, so that all stand on one line.
            ui.spacing_mut().interact_size.y = theme::TOOL_HEIGHT;
            let mut button = |ui: &mut Ui, name: &str, hint: &str, does: Command| {
                if ui.button(name).on_hover_text(hint).clicked() {
                    command = Some(does);
                }
            };
            button(
                ui,
                "Open…",
                "Scans or a table of predictions; Ctrl+O",
                Command::OpenFiles,
            );
            button(
                ui,
                "Folder…",
                "Scans, a run or a cache",
                Command::OpenFolder,
            );
            ui.separator();
            let layout = self.settings.now.layout;
            let mosaic = match layout {
                Layout::Mosaic(plane) => plane,
                _ => Plane::Axial,
            };
            for (name, hint, choice) in [
                ("Three", "Key 4", Layout::Three),
                ("Axial", "Key 1", Layout::One(Plane::Axial)),
                ("Coronal", "Key 2", Layout::One(Plane::Coronal)),
                ("Sagittal", "Key 3", Layout::One(Plane::Sagittal)),
                (
                    "Mosaic",
                    "Key 5; again for the next plane",
                    Layout::Mosaic(mosaic),
                ),
            ] {
                let chosen = ui
                    .selectable_label(layout == choice, name)
                    .on_hover_text(hint);
                if chosen.clicked() {
                    command = Some(Command::Show(choice));
                }
            }
            ui.separator();
            if badge_ui(ui, self.settings.now.sides.convention) {
                command = Some(Command::SwitchConvention);
            }
            let space = self.shown.as_ref().map(|shown| shown.scene.space);
            if let Some(space) = space {
                let (name, hint) = match space {
                    _ if self.shown_entry_of().is_some() => {
                        ("Show its scan", "What this entry was made from; key V")
                    }
                    Space::Scan => ("Scan space", "Scan or template; key V"),
                    Space::Template => ("MNI space", "Scan or template; key V"),
                };
                if ui.button(name).on_hover_text(hint).clicked() {
                    command = Some(Command::SwitchSpace);
                }
            }
            ui.separator();
            for (name, hint, does) in [
                ("Reset", "Zoom and contrast; key R", Command::ResetView),
                ("Picture…", "Ctrl+S", Command::SavePicture),
                (
                    "Montage…",
                    "All three planes; Ctrl+Shift+S",
                    Command::SaveMontage,
                ),
                ("Judge", "Scans one by one; key Q", Command::SwitchReview),
                ("Keys", "Key ?", Command::SwitchHelp),
                ("About", "Key F1", Command::SwitchAbout),
            ] {
                if ui.button(name).on_hover_text(hint).clicked() {
                    command = Some(does);
                }
            }
        });
        command
    }

    pub(super) fn footer_ui(&mut self, ui: &mut Ui) -> Option<Command> {
        let palette = theme::palette(ui);
        let mut command = None;
        ui.horizontal_wrapped(|ui| {
            ui.label(RichText::new(DISCLAIMER).color(palette.warn));
            if let Some(under) = self.under_crosshair() {
                ui.separator();
                ui.label(under.line());
                if ui.small_button("Copy").on_hover_text("Ctrl+K").clicked() {
                    command = Some(Command::CopyCoordinates);
                }
            }
            if let Some(task) = &self.opening {
                ui.separator();
                ui.label(format!("Opening: {}…", task.progress.stage));
            }
            if let Some((_, task)) = &self.preparing {
                ui.separator();
                ui.label(format!("Preprocessing: {}", task.progress.stage));
                ui.add(egui::ProgressBar::new(task.progress.share).desired_width(80.0));
            }
            if let Some(notice) = &self.notice {
                ui.separator();
                let color = if notice.is_problem {
                    palette.fail
                } else {
                    palette.quiet
                };
                ui.label(RichText::new(&notice.text).color(color));
            }
        });
        command
    }

    pub(super) fn review_bar_ui(&mut self, ui: &mut Ui) -> Option<Command> {
        let subject = self.subjects.get(self.selected)?;
        let judgment = self.review.of(&subject.path);
        let rows = self.list.rows(&self.subjects);
        let mut bar = ReviewBar {
            judgment: &judgment,
            n_judged: self.review.n_judged(&self.subjects, rows),
            n_shown: rows.len(),
            comment: &mut self.comment,
            table: self.review.path.as_deref(),
        };
        let command = review_ui(ui, &mut bar);
        if !ui.ctx().text_edit_focused() {
            self.keep_comment();
        }
        command
    }
}

/// Says which side is left, in two colors; whether it was clicked.
fn badge_ui(ui: &mut Ui, convention: Convention) -> bool {
    let palette = theme::palette(ui);
    let (color, hint) = match convention {
        Convention::Radiological => (
            palette.accent,
            "The patient's right is on the left of the picture. Click or C to switch.",
        ),
        Convention::Neurological => (
            palette.predicted,
            "The patient's left is on the left of the picture. Click or C to switch.",
        ),
    };
    let text = RichText::new(convention.name()).color(color).strong();
    let button = egui::Button::new(text).stroke(egui::Stroke::new(1.5, color));
    ui.add(button).on_hover_text(hint).clicked()
}
