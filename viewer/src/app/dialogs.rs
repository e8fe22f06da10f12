//! What lies over everything for a moment: the keys, the about box, where to save.

use std::path::PathBuf;

use eframe::egui::{self, Key, Modifiers, RichText, Ui};

use super::Viewer;
use crate::commands::{Command, MOUSE, SaveKind, bindings};
use crate::theme;

/// One of them.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Dialog {
    /// All keys.
    Help,
    /// What this is.
    About,
    /// Where to save.
    Save(SaveDialog),
}

/// Asks where to save.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct SaveDialog {
    kind: SaveKind,
    path: String,
}

impl Dialog {
    /// Whether keys are not for the rest of the window.
    pub(super) fn takes_keys(&self) -> bool {
        matches!(self, Self::Save(_))
    }
}

impl SaveDialog {
    /// Proposes a file in the working directory.
    pub(super) fn new(kind: SaveKind, subject: &str) -> Self {
        let name = match kind {
            SaveKind::Picture => format!("{subject}_view.png"),
            SaveKind::Montage => format!("{subject}_montage.png"),
            SaveKind::List => "scans.csv".to_owned(),
        };
        let folder = std::env::current_dir().unwrap_or_default();
        Self {
            kind,
            path: folder.join(name).display().to_string(),
        }
    }

    fn title(&self) -> &'static str {
        match self.kind {
            SaveKind::Picture => "Save the slices as a picture",
            SaveKind::Montage => "Save a montage of all three planes",
            SaveKind::List => "Save the list as CSV",
        }
    }
}

impl Viewer {
    pub(super) fn dialog_ui(&mut self, ctx: &egui::Context) -> Option<Command> {
        let mut dialog = self.dialog.take()?;
        let mut command = None;
        let mut done = false;
        let answer =
            egui::Modal::new(egui::Id::unique("dialog")).show(ctx, |ui| match &mut dialog {
                Dialog::Help => done = help_ui(ui),
                Dialog::About => done = about_ui(ui),
                Dialog::Save(save) => match save_ui(ui, save) {
                    Some(true) => {
                        command = Some(Command::Save(save.kind, PathBuf::from(save.path.trim())));
                        done = true;
                    }
                    Some(false) => done = true,
                    None => (),
                },
            });
        if !(done || answer.should_close()) {
            self.dialog = Some(dialog);
        }
        command
    }
}

/// Shows the keys; whether it is to be closed.
fn help_ui(ui: &mut Ui) -> bool {
    ui.set_width(theme::HELP_WIDTH);
    ui.heading("Keys and mouse");
    let all = bindings();
    let half = all.len().div_ceil(2);
    ui.columns(2, |columns| {
        for (column, part) in columns.iter_mut().zip(all.chunks(half)) {
            egui::Grid::new(part[0].shown)
                .num_columns(2)
                .striped(true)
                .show(column, |ui| {
                    for binding in part {
                        ui.label(RichText::new(binding.shown).strong().monospace());
                        ui.label(binding.words);
                        ui.end_row();
                    }
                });
        }
    });
    ui.separator();
    egui::Grid::new("mouse").num_columns(2).show(ui, |ui| {
        for (gesture, does) in MOUSE {
            ui.label(RichText::new(gesture).strong());
            ui.label(does);
            ui.end_row();
        }
    });
    ui.button("Close").clicked()
}

/// Says what this is; whether it is to be closed.
fn about_ui(ui: &mut Ui) -> bool {
    ui.set_width(theme::LIST_WIDTH);
    ui.heading(format!("Brain age viewer {}", env!("CARGO_PKG_VERSION")));
    ui.label(
        "Research software, not a medical device. Do not use it for diagnosis, treatment \
         or any other decision about a person.",
    );
    ui.label(
        "A brain-age gap is a statistical estimate with an error of years; it is no disease. \
         Predictions mean something only for scans and ages like those that the model has \
         learned from.",
    );
    ui.label(
        "Scans are never changed and never leave this machine. The template is ICBM 152 \
         (McConnell Brain Imaging Centre, MNI).",
    );
    ui.button("Close").clicked()
}

/// Shows the field; `Some(true)` saves, `Some(false)` cancels.
fn save_ui(ui: &mut Ui, save: &mut SaveDialog) -> Option<bool> {
    ui.set_width(theme::HELP_WIDTH * 0.75);
    ui.heading(save.title());
    let label = ui.label("File");
    let field = egui::TextEdit::singleline(&mut save.path).desired_width(f32::INFINITY);
    let field = ui.add(field).labelled_by(label.id);
    if !ui.memory(|memory| memory.focused().is_some()) {
        field.request_focus();
    }
    let entered = ui.input_mut(|input| input.consume_key(Modifiers::NONE, Key::Enter));
    ui.horizontal(|ui| {
        let named = !save.path.trim().is_empty();
        if ui.add_enabled(named, egui::Button::new("Save")).clicked() || (entered && named) {
            return Some(true);
        }
        ui.button("Cancel").clicked().then_some(false)
    })
    .inner
}
