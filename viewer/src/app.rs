//! The viewer as a whole, free of any window: a window, a test or a screenshot drives it.

use std::path::PathBuf;
use std::sync::Arc;

use brainage_pipelines::format::find_scans;
use eframe::egui::{self, Key, Modifiers, RichText, Ui, Vec2};

use crate::ViewerParams;
use crate::file_dialog::FileDialog;
use crate::list::ScanList;
use crate::loader::{LoadFailure, LoadedScan, Loader};
use crate::pane::{Pane, SliceTexture};
use crate::prediction_panel::{Model, Request, fact_ui, prediction_ui};
use crate::predictor::{PendingPrediction, Predictor};
use crate::slice::{Convention, Plane};
use crate::state::ViewState;
use crate::subject::{Prediction, Subject};
use crate::theme;

/// What every screen says.
const DISCLAIMER: &str = "Research software, not a medical device.";

/// Everything the window shows.
pub(crate) struct Viewer {
    pub(crate) subjects: Vec<Subject>,
    pub(crate) selected: usize,
    /// The view, and the path of the scan it belongs to.
    pub(crate) view: Option<(PathBuf, ViewState)>,
    pub(crate) textures: [SliceTexture; 3],
    /// Counts the scans that were shown, so that textures know theirs.
    scan_id: u64,
    convention: Convention,
    list: ScanList,
    loader: Loader,
    predictor: Option<Arc<dyn Predictor>>,
    pending: Option<PendingPrediction>,
    dialog: Option<FileDialog>,
    about_open: bool,
    notice: Option<String>,
}

impl Viewer {
    /// Shows the first subject.
    ///
    /// # Errors
    /// What the system answered where the reading thread can't be started.
    pub(crate) fn new(ctx: &egui::Context, params: ViewerParams) -> std::io::Result<Self> {
        theme::apply(ctx);
        ctx.options_mut(|options| options.zoom_with_keyboard = false);
        let mut viewer = Self {
            subjects: params.subjects,
            selected: 0,
            view: None,
            textures: Default::default(),
            scan_id: 0,
            convention: Convention::default(),
            list: ScanList::default(),
            loader: Loader::start(ctx)?,
            predictor: params.predictor,
            pending: None,
            dialog: None,
            about_open: false,
            notice: None,
        };
        viewer.load_selected();
        Ok(viewer)
    }

    /// Whether the selected scan is still being read.
    #[cfg(test)]
    pub(crate) fn is_loading(&self) -> bool {
        self.loader.is_loading()
    }

    /// Blocks until the selected scan has been read.
    pub(crate) fn finish_loading(&mut self) {
        self.loader.wait();
    }

    fn select(&mut self, subject: usize) {
        if subject != self.selected && subject < self.subjects.len() {
            self.selected = subject;
            self.load_selected();
        }
    }

    fn load_selected(&mut self) {
        if let Some(subject) = self.subjects.get(self.selected) {
            self.loader.request(&subject.path);
        }
    }

    /// Adds scans, and those in folders, to the list and shows the first of them.
    fn open(&mut self, paths: Vec<PathBuf>) {
        let before = self.subjects.len();
        for path in paths {
            let found = if path.is_dir() {
                find_scans(&path)
            } else {
                Ok(vec![path.clone()])
            };
            match found {
                Ok(scans) if scans.is_empty() => {
                    self.notice = Some(format!("no scans in `{}`", path.display()));
                }
                Ok(scans) => self
                    .subjects
                    .extend(scans.into_iter().map(Subject::from_path)),
                Err(error) => {
                    self.notice = Some(format!("{error}: `{}`", path.display()));
                }
            }
        }
        if self.subjects.len() > before {
            self.notice = None;
            self.list.subjects_changed();
            self.selected = before;
            self.load_selected();
        }
    }

    /// One frame.
    pub(crate) fn ui(&mut self, ui: &mut Ui) {
        self.loader.poll();
        self.poll_prediction();
        let chosen = self.dialog.as_ref().and_then(FileDialog::poll);
        if let Some(paths) = chosen {
            self.dialog = None;
            self.open(paths);
        }
        let dropped: Vec<PathBuf> = ui.input(|input| {
            input
                .raw
                .dropped_files
                .iter()
                .map(|file| file.path().to_path_buf())
                .collect()
        });
        self.open(dropped);
        self.shortcuts(ui.ctx());

        egui::Panel::bottom("footer").show(ui, |ui| self.footer_ui(ui));
        egui::Panel::left("scans")
            .default_size(theme::LIST_WIDTH)
            .show(ui, |ui| {
                if let Some(clicked) = self.list.ui(ui, &self.subjects, self.selected) {
                    self.select(clicked);
                }
            });
        egui::Panel::right("prediction")
            .default_size(theme::PREDICTION_WIDTH)
            .show(ui, |ui| self.prediction_ui(ui));
        egui::CentralPanel::default().show(ui, |ui| self.scan_ui(ui));
        self.about_ui(ui.ctx());
    }

    fn shortcuts(&mut self, ctx: &egui::Context) {
        if ctx.text_edit_focused() {
            return;
        }
        let pressed = |key| ctx.input_mut(|input| input.consume_key(Modifiers::NONE, key));
        for (key, by) in [(Key::N, 1), (Key::P, -1)] {
            if pressed(key)
                && let Some(neighbor) = self.list.neighbor(self.selected, by)
            {
                self.select(neighbor);
            }
        }
        if pressed(Key::F1) {
            self.about_open = !self.about_open;
        }
        if let Some((_, view)) = &mut self.view {
            if pressed(Key::R) {
                view.reset_zoom();
                view.reset_window();
            }
            if pressed(Key::C) {
                view.switch_convention();
                self.convention = view.convention;
            }
        }
    }

    fn footer_ui(&mut self, ui: &mut Ui) {
        ui.horizontal(|ui| {
            ui.label(RichText::new(DISCLAIMER).color(theme::WARN));
            if ui.button("About").clicked() {
                self.about_open = true;
            }
            if ui
                .add_enabled(self.dialog.is_none(), egui::Button::new("Open…"))
                .clicked()
            {
                match FileDialog::open(ui.ctx()) {
                    Ok(dialog) => self.dialog = Some(dialog),
                    Err(error) => self.notice = Some(format!("no dialog can be opened: {error}")),
                }
            }
            if let Some((_, view)) = &mut self.view {
                if ui
                    .button(view.convention.name())
                    .on_hover_text("Which side is left; key C")
                    .clicked()
                {
                    view.switch_convention();
                    self.convention = view.convention;
                }
                if ui
                    .button("Reset view")
                    .on_hover_text("Zoom and window; key R")
                    .clicked()
                {
                    view.reset_zoom();
                    view.reset_window();
                }
            }
            if let Some(notice) = &self.notice {
                ui.label(RichText::new(notice).color(theme::FAIL));
            }
        });
    }

    fn scan_ui(&mut self, ui: &mut Ui) {
        let Some(subject) = self.subjects.get(self.selected) else {
            message_ui(
                ui,
                "No scan is open.",
                Some("drop a scan or a folder onto this window"),
            );
            return;
        };
        let path = subject.path.clone();
        match self.loader.outcome(&path).cloned() {
            Some(Ok(scan)) => self.planes_ui(ui, path, &scan),
            Some(Err(LoadFailure { reason, hint })) => {
                message_ui(ui, &reason, hint);
                if ui.button("Try again").clicked() {
                    self.loader.forget(&path);
                    self.loader.request(&path);
                }
            }
            // The loader wakes the window; a spinner would repaint without end.
            None => message_ui(ui, &format!("Loading {}…", subject.name), None),
        }
    }

    /// The planes in two rows of two; the fourth place says what the scan is.
    fn planes_ui(&mut self, ui: &mut Ui, path: PathBuf, scan: &LoadedScan) {
        let is_new = self.view.as_ref().is_none_or(|(shown, _)| *shown != path);
        if is_new {
            self.scan_id += 1;
            self.view = Some((path, ViewState::new(scan, self.convention)));
        }
        let Some((_, view)) = &mut self.view else {
            return;
        };
        let gap = theme::PANE_GAP;
        let size = ((ui.available_size() - Vec2::splat(gap)) / 2.0).max(Vec2::splat(40.0));
        ui.spacing_mut().item_spacing = Vec2::splat(gap);
        for pair in [[0, 1], [2, 3]] {
            ui.horizontal_top(|ui| {
                for position in pair {
                    let Some(texture) = self.textures.get_mut(position) else {
                        ui.allocate_ui(size, |ui| facts_ui(ui, scan, view));
                        continue;
                    };
                    let pane = Pane {
                        scan,
                        scan_id: self.scan_id,
                        position,
                        texture,
                    };
                    let response = pane.ui(ui, size, view);
                    let nothing_focused = ui.memory(|memory| memory.focused().is_none());
                    if is_new && nothing_focused && Plane::ALL[position] == Plane::Axial {
                        response.request_focus();
                    }
                }
            });
        }
    }

    fn prediction_ui(&mut self, ui: &mut Ui) {
        let name = self.predictor.as_ref().map(|predictor| predictor.name());
        let stage = self.pending.as_ref().map(|pending| {
            let who = self
                .subjects
                .get(pending.subject)
                .map_or("", |s| s.name.as_str());
            if pending.subject == self.selected {
                pending.stage.clone()
            } else {
                format!("{who}, {}", pending.stage)
            }
        });
        let model = Model {
            name: name.as_deref(),
            stage,
        };
        match prediction_ui(ui, &self.subjects, self.selected, &model) {
            Some(Request::Predict) => self.predict(ui.ctx()),
            Some(Request::Select(subject)) => self.select(subject),
            None => {}
        }
    }

    fn predict(&mut self, ctx: &egui::Context) {
        let (Some(predictor), Some(subject)) = (&self.predictor, self.subjects.get(self.selected))
        else {
            return;
        };
        let path = subject.path.clone();
        match PendingPrediction::start(ctx, Arc::clone(predictor), self.selected, path) {
            Ok(pending) => self.pending = Some(pending),
            Err(reason) => self.notice = Some(reason),
        }
    }

    fn poll_prediction(&mut self) {
        let Some(pending) = &mut self.pending else {
            return;
        };
        let Some(answer) = pending.poll() else { return };
        let subject = pending.subject;
        self.pending = None;
        if let Some(subject) = self.subjects.get_mut(subject) {
            subject.prediction = Some(answer.unwrap_or_else(|reason| Prediction {
                error: Some(reason),
                ..Prediction::default()
            }));
            self.list.subjects_changed();
        }
    }

    fn about_ui(&mut self, ctx: &egui::Context) {
        if !self.about_open {
            return;
        }
        let answer = egui::Modal::new(egui::Id::unique("about")).show(ctx, |ui| {
            ui.set_width(theme::LIST_WIDTH);
            ui.heading(format!("Brain age viewer {}", env!("CARGO_PKG_VERSION")));
            ui.label(
                "Research software, not a medical device. Do not use it for diagnosis, treatment \
                 or any other decision about a person.",
            );
            ui.label("A brain-age gap is a statistical estimate with an error of years; it is no disease.");
            ui.separator();
            for line in [
                "Left click or drag: move the crosshair",
                "Wheel, up and down, page up and down: other slices",
                "Right drag: window (sideways) and level (up and down)",
                "Ctrl + wheel: zoom; middle drag: move; double click: whole slice",
                "N, P: next and previous scan; R: reset; C: which side is left",
            ] {
                ui.label(RichText::new(line).color(theme::QUIET));
            }
            ui.button("Close").clicked()
        });
        if answer.inner || answer.should_close() {
            self.about_open = false;
        }
    }
}

fn message_ui(ui: &mut Ui, text: &str, hint: Option<&str>) {
    ui.add_space(ui.available_height() * 0.3);
    ui.label(RichText::new(text).size(theme::LETTER_SIZE));
    if let Some(hint) = hint {
        ui.label(RichText::new(format!("hint: {hint}")).color(theme::QUIET));
    }
}

/// What the scan is, and what is under the crosshair.
fn facts_ui(ui: &mut Ui, scan: &LoadedScan, view: &ViewState) {
    let volume = &scan.volume;
    ui.vertical(|ui| {
        let voxel = view.crosshair;
        let [x, y, z] = volume.world_from_voxel().apply(voxel.map(|i| i as f64));
        let value = volume.get(voxel).unwrap_or(f32::NAN);
        let shown = view.window_level;
        let [i, j, k] = voxel;
        for (name, text) in [
            ("Crosshair, voxel", format!("{i}, {j}, {k}")),
            ("RAS+", format!("{x:.1}, {y:.1}, {z:.1} mm")),
            ("Intensity", format!("{value:.1}")),
            (
                "Window, level",
                format!("{:.1}, {:.1}", shown.window, shown.level),
            ),
            ("Zoom", format!("{:.0} %", view.zoom * 100.0)),
        ] {
            fact_ui(ui, name, &text, theme::TEXT);
        }
        ui.separator();
        for (name, text) in &scan.facts {
            fact_ui(ui, name, text, theme::TEXT);
        }
        for warning in &scan.warnings {
            ui.label(RichText::new(warning).color(theme::WARN));
        }
    });
}

#[cfg(test)]
#[path = "app_tests.rs"]
mod tests;
