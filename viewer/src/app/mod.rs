//! The viewer as a whole, free of any window: a window, a test or a screenshot drives it.
//!
//! [`Viewer::ui`] draws one frame: what happened beside the window is taken in ([`background`]), keys and panels say
//! what is to be done ([`crate::commands`]), and [`apply`] does it.

mod apply;
mod background;
mod bars;
mod dialogs;
mod shown;

#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::Arc;

use eframe::egui::{self, Color32, RichText, Ui};

use crate::ViewerParams;
use crate::commands::{Command, bindings};
use crate::file_dialog::FileDialog;
use crate::jobs::Jobs;
use crate::loaded_scan::LoadFailure;
use crate::loader::{Loader, ScanState};
use crate::opening::{Opened, ReadSubjects};
use crate::panels::cohort::data::CohortData;
use crate::panels::cohort::ui::cohort_ui;
use crate::panels::layers::ui::{LayersPanel, layers_ui};
use crate::panels::list::ui::ScanList;
use crate::panels::prediction::data::PredictionData;
use crate::panels::prediction::ui::{Model, prediction_ui};
use crate::panels::review::data::Review;
use crate::panels::run::data::RunLog;
use crate::panels::run::ui::run_ui;
use crate::panels::slices::data::LoadedMap;
use crate::panels::slices::ui::{SlicesPanel, slices_ui};
use crate::panels::slices::{Budget, Textures};
use crate::predictor::Predictor;
use crate::preparation::{Prepared, Preprocessing};
use crate::settings::{SidePanel, StoredSettings};
use crate::subject::{Prediction, Subject};
use crate::task::Task;
use crate::theme;
use dialogs::Dialog;
use shown::Shown;

/// What every screen says.
pub(crate) const DISCLAIMER: &str = "Research software, not a medical device.";

/// Everything the window shows.
#[expect(
    clippy::struct_excessive_bools,
    reason = "facts about the window that do not depend on each other"
)]
pub(crate) struct Viewer {
    pub(crate) subjects: Vec<Subject>,
    pub(crate) selected: usize,
    /// The scan on the screen.
    pub(crate) shown: Option<Shown>,
    pub(crate) textures: Textures,
    pub(crate) settings: StoredSettings,
    /// Counts scenes, so that textures know theirs.
    n_scenes: u64,
    /// Whether one went forward or back through the list.
    travel: isize,
    list: ScanList,
    /// `None` where subjects have changed since it was made.
    cohort: Option<CohortData>,
    run: Option<RunLog>,
    review: Review,
    reviewing: bool,
    comment: String,
    loader: Loader,
    jobs: Jobs,
    predictor: Option<Arc<dyn Predictor>>,
    preprocessing: Option<Arc<Preprocessing>>,
    read_subjects: Option<ReadSubjects>,
    predicting: Option<(usize, Task<Prediction>)>,
    preparing: Option<(PathBuf, Task<Prepared>)>,
    opening: Option<Task<Opened>>,
    map_loading: Option<(PathBuf, Task<LoadedMap>)>,
    file_dialog: Option<FileDialog>,
    dialog: Option<Dialog>,
    notice: Option<Notice>,
    /// Whether a pane had the keyboard in the last frame.
    pane_focused: bool,
    /// Whether slices may take as long as they need.
    unhurried: bool,
    theme: crate::settings::Theme,
    prepare_first: bool,
}

/// Something to tell.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Notice {
    text: String,
    is_problem: bool,
}

impl Viewer {
    /// Shows the first subject.
    ///
    /// # Errors
    /// What the system answered where a thread can't be started.
    pub(crate) fn new(ctx: &egui::Context, params: ViewerParams) -> std::io::Result<Self> {
        let (mut settings, problem) = StoredSettings::open(params.settings);
        if let Some(layout) = params.start.layout {
            settings.now.layout = layout.into();
        }
        if let Some(panel) = params.start.panel {
            settings.now.side_panel = panel.into();
        }
        theme::apply(ctx, settings.now.theme);
        ctx.options_mut(|options| options.zoom_with_keyboard = false);
        let preprocessing = params.preprocessing.map(Arc::new);
        let mut viewer = Self {
            subjects: params.subjects,
            selected: 0,
            shown: None,
            textures: Textures::default(),
            theme: settings.now.theme,
            settings,
            n_scenes: 0,
            travel: 1,
            list: ScanList::default(),
            cohort: None,
            run: None,
            review: Review::default(),
            reviewing: false,
            comment: String::new(),
            loader: Loader::new(ctx, preprocessing.clone()),
            jobs: Jobs::start(ctx)?,
            predictor: params.predictor,
            preprocessing,
            read_subjects: params.read_subjects,
            predicting: None,
            preparing: None,
            opening: None,
            map_loading: None,
            file_dialog: None,
            dialog: None,
            notice: None,
            pane_focused: false,
            unhurried: false,
            prepare_first: params.start.prepare,
        };
        if let Some(problem) = problem {
            viewer.complain(problem);
        }
        if let Some(path) = params.review {
            match Review::open(path) {
                Ok(review) => viewer.review = review,
                Err(problem) => viewer.complain(problem),
            }
        }
        if let Some(run) = params.run {
            viewer.run = Some(RunLog::follow(ctx, run)?);
        }
        if !params.open.is_empty() {
            viewer.open(ctx, params.open);
        }
        viewer.load_selected();
        Ok(viewer)
    }

    /// One frame.
    pub(crate) fn ui(&mut self, ui: &mut Ui) {
        let ctx = ui.ctx().clone();
        self.take_in(&ctx);
        let dropped: Vec<PathBuf> = ui.input(|input| {
            let files = input.raw.dropped_files.iter();
            files.map(|file| file.path().to_path_buf()).collect()
        });
        if !dropped.is_empty() {
            self.apply(&ctx, Command::OpenPaths(dropped));
        }
        for command in self.pressed(&ctx) {
            self.apply(&ctx, command);
        }
        self.refresh_shown(&ctx);
        let mut commands = Vec::new();
        let frame = theme::panel_frame(ui);
        egui::Panel::top("toolbar")
            .frame(frame)
            .show(ui, |ui| commands.extend(self.toolbar_ui(ui)));
        egui::Panel::bottom("footer")
            .frame(frame)
            .show(ui, |ui| commands.extend(self.footer_ui(ui)));
        egui::Panel::left("scans")
            .frame(frame)
            .default_size(theme::LIST_WIDTH)
            .show(ui, |ui| {
                commands.extend(self.list.ui(ui, &self.subjects, self.selected));
            });
        egui::Panel::right("side")
            .frame(frame)
            .default_size(theme::PREDICTION_WIDTH)
            .show(ui, |ui| commands.extend(self.side_ui(ui)));
        if self.reviewing {
            egui::Panel::top("review")
                .frame(frame)
                .show(ui, |ui| commands.extend(self.review_bar_ui(ui)));
        }
        let middle = egui::Frame::central_panel(ui.style()).fill(Color32::TRANSPARENT);
        egui::CentralPanel::default()
            .frame(middle)
            .show(ui, |ui| commands.extend(self.scan_ui(ui)));
        commands.extend(self.dialog_ui(&ctx));
        if !commands.is_empty() {
            // Their effect is seen in the next frame.
            ctx.request_repaint();
        }
        for command in commands {
            self.apply(&ctx, command);
        }
        self.remember(&ctx);
    }

    /// Commands of the keys that were pressed.
    fn pressed(&self, ctx: &egui::Context) -> Vec<Command> {
        if ctx.text_edit_focused() || self.dialog.as_ref().is_some_and(Dialog::takes_keys) {
            return Vec::new();
        }
        let other_focus = ctx.memory(|memory| memory.focused().is_some()) && !self.pane_focused;
        let mut commands = Vec::new();
        for binding in bindings() {
            let moves = matches!(binding.command, Command::Move(_));
            let judges = matches!(binding.command, Command::Judge(_) | Command::WriteComment);
            // Arrows belong to the list, a slider, … that has the keyboard.
            if (moves && other_focus) || (judges && !self.reviewing) {
                continue;
            }
            let (modifiers, key) = (binding.modifiers, binding.key);
            let count = ctx.input_mut(|input| input.count_and_consume_key(modifiers, key));
            let steps = matches!(binding.command, Command::Move(_) | Command::Slice(_));
            // A held key comes several times a frame; of all but steps, once is enough.
            let count = if steps { count } else { count.min(1) };
            commands.extend(std::iter::repeat_n(binding.command, count));
        }
        if !commands.is_empty() {
            // The key that goes to the comment is not its first letter.
            let is_text = |event: &egui::Event| matches!(event, egui::Event::Text(_));
            ctx.input_mut(|input| input.events.retain(|event| !is_text(event)));
        }
        commands
    }

    fn side_ui(&mut self, ui: &mut Ui) -> Option<Command> {
        let panel = &mut self.settings.now.side_panel;
        ui.horizontal(|ui| {
            for (choice, name) in [
                (SidePanel::Prediction, "Prediction"),
                (SidePanel::Cohort, "Cohort"),
                (SidePanel::Layers, "Layers"),
                (SidePanel::Run, "Run"),
            ] {
                ui.selectable_value(panel, choice, name);
            }
        });
        ui.separator();
        let panel = *panel;
        egui::ScrollArea::vertical()
            .auto_shrink(false)
            .show(ui, |ui| match panel {
                SidePanel::Prediction => self.prediction_panel_ui(ui),
                SidePanel::Cohort => {
                    let subjects = &self.subjects;
                    let data = self.cohort.get_or_insert_with(|| CohortData::of(subjects));
                    cohort_ui(ui, data, subjects.get(self.selected))
                }
                SidePanel::Layers => self.layers_panel_ui(ui),
                SidePanel::Run => {
                    run_ui(ui, self.run.as_ref());
                    None
                }
            })
            .inner
    }

    fn prediction_panel_ui(&mut self, ui: &mut Ui) -> Option<Command> {
        let subject = self.subjects.get(self.selected)?;
        let data = PredictionData::of(subject, &self.subjects);
        let name = self.predictor.as_ref().map(|predictor| predictor.name());
        let under_way = self.predicting.as_ref().map(|(subject, task)| {
            let subject = self.subjects.get(*subject).map_or("", |s| s.name.as_str());
            (subject, &task.progress, task.time_left())
        });
        let model = Model {
            name: name.as_deref(),
            under_way,
        };
        ui.heading(&data.name);
        prediction_ui(ui, &data, &model)
    }

    fn layers_panel_ui(&mut self, ui: &mut Ui) -> Option<Command> {
        let is_prepared = self.shown.as_ref().is_some_and(|shown| {
            let prepared = shown.prepared.as_ref();
            prepared.is_some_and(|prepared| prepared.on_scan.is_some())
        });
        let under_way = self.preparing.as_ref();
        let (scene, view) = match &mut self.shown {
            Some(Shown { scene, view, .. }) => (Some(&*scene), Some(view)),
            None => (None, None),
        };
        let panel = LayersPanel {
            scene,
            can_prepare: self.preprocessing.is_some(),
            is_prepared,
            under_way: under_way.map(|(_, task)| (&task.progress, task.time_left())),
        };
        layers_ui(ui, &panel, &mut self.settings.now, view)
    }

    fn scan_ui(&mut self, ui: &mut Ui) -> Option<Command> {
        self.pane_focused = false;
        let Some(subject) = self.subjects.get(self.selected) else {
            let hint = "drop a scan, a folder, a run or a table of predictions onto this window";
            message_ui(ui, "No scan is open.", Some(hint));
            return None;
        };
        match self.loader.state(&subject.path) {
            ScanState::Done(Ok(_)) => self.slices_ui(ui),
            ScanState::Done(Err(LoadFailure { reason, hint })) => {
                message_ui(ui, reason, *hint);
                ui.button("Try again")
                    .clicked()
                    .then_some(Command::ReadAgain)
            }
            // The loader wakes the window; a spinner would repaint without end.
            ScanState::Reading(percent) => {
                message_ui(ui, &format!("Loading {}…", subject.name), None);
                let bar = egui::ProgressBar::new(percent as f32 / 100.0).desired_width(260.0);
                ui.add(bar.show_percentage());
                ui.button("Cancel")
                    .clicked()
                    .then_some(Command::CancelReading)
            }
            ScanState::Unknown => None,
        }
    }

    fn slices_ui(&mut self, ui: &mut Ui) -> Option<Command> {
        let info = self.info()?;
        let shown = self.shown.as_mut()?;
        let mut panel = SlicesPanel {
            scene: &shown.scene,
            settings: &self.settings.now,
            textures: &mut self.textures,
            budget: if self.unhurried {
                Budget::Unlimited
            } else {
                Budget::of_frame()
            },
            info: &info,
            focused: false,
        };
        let command = slices_ui(ui, &mut panel, &mut shown.view);
        self.pane_focused = panel.focused;
        command
    }

    fn say(&mut self, text: impl Into<String>) {
        self.notice = Some(Notice {
            text: text.into(),
            is_problem: false,
        });
    }

    fn complain(&mut self, text: impl Into<String>) {
        self.notice = Some(Notice {
            text: text.into(),
            is_problem: true,
        });
    }
}

fn message_ui(ui: &mut Ui, text: &str, hint: Option<&str>) {
    ui.add_space(ui.available_height() * 0.3);
    ui.label(RichText::new(text).size(theme::LETTER_SIZE));
    if let Some(hint) = hint {
        let color = theme::palette(ui).quiet;
        ui.label(RichText::new(format!("hint: {hint}")).color(color));
    }
}
