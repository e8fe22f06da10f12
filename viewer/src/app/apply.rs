//! Does what was asked for.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use eframe::egui::{self, Vec2};

use super::Viewer;
use super::dialogs::{Dialog, SaveDialog};
use crate::commands::{Command, SaveKind};
use crate::file_dialog::{Choose, FileDialog};
use crate::image::plane::Plane;
use crate::image::sample::Interpolation;
use crate::image::scene::Space;
use crate::jobs::{JobOutcome, write_file};
use crate::offscreen::png_bytes;
use crate::panels::list::data::csv;
use crate::panels::review::ui::comment_id;
use crate::panels::slices::data::screen_axes;
use crate::picture::{PictureParams, montage, picture};
use crate::predictor::Watch;
use crate::review::Verdict;
use crate::settings::{Layout, Theme};
use crate::subject::Subject;
use crate::task::Task;

/// Size of a picture of the slices, in points.
const PICTURE_POINTS: Vec2 = Vec2::new(1000.0, 860.0);
/// Size of a montage.
const MONTAGE_POINTS: Vec2 = Vec2::new(1200.0, 1500.0);

impl Viewer {
    /// Does it.
    pub(super) fn apply(&mut self, ctx: &egui::Context, command: Command) {
        match command {
            Command::OpenFiles => self.choose(ctx, Choose::Files),
            Command::OpenFolder => self.choose(ctx, Choose::Folder),
            Command::OpenPaths(paths) => self.open(ctx, paths),
            Command::Select(subject) => self.select(subject),
            Command::NextScan => self.step_scan(1),
            Command::PreviousScan => self.step_scan(-1),
            Command::ReadAgain => {
                if let Some(subject) = self.subjects.get(self.selected) {
                    self.loader.request_again(&subject.path);
                }
            }
            Command::CancelReading => self.loader.cancel(),
            Command::Prepare => self.prepare(ctx),
            Command::Predict => self.predict(ctx),
            Command::CancelPrediction => {
                if self.predicting.take().is_some() {
                    self.say("Prediction canceled.");
                }
            }
            Command::CancelPreparation => {
                if self.preparing.take().is_some() {
                    self.say("Preprocessing canceled.");
                }
            }
            Command::CopyCoordinates => self.copy_coordinates(ctx),
            Command::SavePicture => self.ask_where(SaveKind::Picture),
            Command::SaveMontage => self.ask_where(SaveKind::Montage),
            Command::SaveList => self.ask_where(SaveKind::List),
            Command::Save(kind, path) => self.save(kind, path),
            Command::SwitchReview => self.switch_review(ctx),
            Command::Judge(verdict) => self.judge(verdict),
            Command::WriteComment => {
                ctx.memory_mut(|memory| memory.request_focus(comment_id()));
            }
            Command::SwitchTheme => {
                let theme = &mut self.settings.now.theme;
                *theme = match theme {
                    Theme::Dark => Theme::Light,
                    Theme::Light => Theme::Dark,
                };
            }
            Command::SwitchHelp => self.switch_dialog(Dialog::Help),
            Command::SwitchAbout => self.switch_dialog(Dialog::About),
            other => self.apply_to_view(ctx, other),
        }
    }

    /// What changes only how the scan is shown.
    fn apply_to_view(&mut self, ctx: &egui::Context, command: Command) {
        let settings = &mut self.settings.now;
        match command {
            Command::Show(Layout::Mosaic(_)) => {
                settings.layout = match settings.layout {
                    Layout::Mosaic(Plane::Axial) => Layout::Mosaic(Plane::Coronal),
                    Layout::Mosaic(Plane::Coronal) => Layout::Mosaic(Plane::Sagittal),
                    _ => Layout::Mosaic(Plane::Axial),
                };
            }
            Command::Show(layout) => settings.layout = layout,
            Command::Maximize(plane) => {
                settings.layout = match settings.layout {
                    Layout::One(_) => Layout::Three,
                    Layout::Three | Layout::Mosaic(_) => Layout::One(plane),
                };
            }
            Command::SwitchCrosshair => settings.marks.crosshair ^= true,
            Command::SwitchLetters => settings.marks.letters ^= true,
            Command::SwitchConvention => {
                settings.sides.convention = settings.sides.convention.other();
            }
            Command::SwitchNose => settings.sides.nose = settings.sides.nose.other(),
            Command::SwitchInterpolation => {
                settings.interpolation = match settings.interpolation {
                    Interpolation::Nearest => Interpolation::Linear,
                    Interpolation::Linear => Interpolation::Nearest,
                };
            }
            Command::ChangeOpacity(by) => {
                let has_map = self
                    .shown
                    .as_ref()
                    .is_some_and(|shown| shown.scene.map.is_some());
                let layer = if has_map {
                    &mut settings.layers.map
                } else {
                    &mut settings.layers.template
                };
                layer.opacity = (layer.opacity + by).clamp(0.0, 1.0);
            }
            Command::SwitchMask => {
                if self.needs_preparation(ctx, |scene| scene.mask.is_some()) {
                    self.settings.now.layers.mask.shown ^= true;
                }
            }
            Command::SwitchOverlay => self.switch_overlay(ctx),
            Command::SwitchSpace if self.shown_entry_of().is_some() => self.show_made_from(),
            Command::SwitchSpace => {
                if self.needs_preparation(ctx, |scene| scene.template.is_some()) {
                    let space = self.shown.as_ref().map(|shown| shown.scene.space);
                    self.rebuild_scene(match space {
                        Some(Space::Scan) => Space::Template,
                        _ => Space::Scan,
                    });
                }
            }
            Command::SwitchSwipe => {
                if self.needs_preparation(ctx, |scene| scene.after.is_some())
                    && let Some(shown) = &mut self.shown
                {
                    shown.view.swipe = match shown.view.swipe {
                        None => Some(0.5),
                        Some(_) => None,
                    };
                }
            }
            Command::Undo => self.go_back_to(crate::state::History::undo),
            Command::Redo => self.go_back_to(crate::state::History::redo),
            other => self.move_view(&other),
        }
    }

    /// Of an entry of the cache that is on the screen: the scan it was made from.
    pub(super) fn shown_entry_of(&self) -> Option<&Path> {
        self.shown.as_ref()?.scan.made_from.as_deref()
    }

    /// Goes from an entry of the cache to the scan it was made from.
    fn show_made_from(&mut self) {
        let Some(scan) = self.shown_entry_of().map(Path::to_path_buf) else {
            return;
        };
        if !scan.exists() {
            let said = format!(
                "the scan of this entry is not there any more: `{}`",
                scan.display()
            );
            return self.complain(said);
        }
        let known = self.subjects.iter().position(|known| known.path == scan);
        let subject = known.unwrap_or_else(|| {
            self.subjects.push(Subject::from_path(scan));
            self.subjects_changed();
            self.subjects.len() - 1
        });
        self.select(subject);
    }

    /// What moves the crosshair, or changes contrast and zoom.
    fn move_view(&mut self, command: &Command) {
        let settings = &self.settings.now;
        let Some(shown) = &mut self.shown else { return };
        let view = &mut shown.view;
        let active = match settings.layout {
            Layout::Three => view.active,
            Layout::One(plane) | Layout::Mosaic(plane) => plane,
        };
        match *command {
            Command::Slice(by) => view.step(active.axes()[2], by),
            Command::Move(by) => {
                let axes = screen_axes(active, active.mirrored(settings.sides));
                for ((axis, sign), by) in axes.into_iter().zip(by) {
                    view.step(axis, sign * by);
                }
            }
            Command::Window(preset) => view.set_preset(preset),
            Command::ResetView => view.reset(),
            _ => (),
        }
    }

    /// Whether the layer is there; else it is made, where that is possible.
    fn needs_preparation(
        &mut self,
        ctx: &egui::Context,
        is_there: impl Fn(&crate::image::scene::Scene) -> bool,
    ) -> bool {
        let Some(shown) = &self.shown else {
            return false;
        };
        if is_there(&shown.scene) {
            return true;
        }
        self.prepare(ctx);
        false
    }

    fn switch_overlay(&mut self, ctx: &egui::Context) {
        let has_map = self
            .shown
            .as_ref()
            .is_some_and(|shown| shown.scene.map.is_some());
        if has_map {
            self.settings.now.layers.map.shown ^= true;
        } else if self.needs_preparation(ctx, |scene| scene.template.is_some()) {
            self.settings.now.layers.template.shown ^= true;
        }
    }

    fn go_back_to(
        &mut self,
        which: impl Fn(&mut crate::state::History) -> Option<crate::state::Snapshot>,
    ) {
        let Some(shown) = &mut self.shown else { return };
        let Some(snapshot) = which(&mut shown.history) else {
            return;
        };
        let space = snapshot.view.space;
        if space != shown.scene.space {
            self.rebuild_scene(space);
        }
        self.settings.now.layout = snapshot.layout;
        self.settings.now.layers = snapshot.layers;
        if let Some(shown) = &mut self.shown {
            shown.view = snapshot.view;
        }
    }

    pub(super) fn select(&mut self, subject: usize) {
        if subject != self.selected && subject < self.subjects.len() {
            self.keep_comment();
            self.selected = subject;
            self.list.show(subject);
            self.load_selected();
        }
    }

    fn step_scan(&mut self, by: isize) {
        self.travel = by;
        if let Some(next) = self.list.neighbor(&self.subjects, self.selected, by) {
            self.select(next);
        }
    }

    /// Asks for the selected scan, and for the one that comes next on the way one goes.
    pub(super) fn load_selected(&mut self) {
        let selected = self.selected;
        let next = self.list.neighbor(&self.subjects, selected, self.travel);
        let next = next.filter(|next| *next != selected);
        let path_of = |i: usize| self.subjects.get(i).map(|subject| subject.path.as_path());
        if let Some(path) = path_of(selected) {
            self.comment = self.review.of(path).comment;
            self.loader.request(path, next.and_then(path_of));
        }
    }

    fn choose(&mut self, ctx: &egui::Context, choose: Choose) {
        if self.file_dialog.is_some() {
            return;
        }
        match FileDialog::open(ctx, choose) {
            Ok(dialog) => self.file_dialog = Some(dialog),
            Err(error) => self.complain(format!("no dialog can be opened: {error}")),
        }
    }

    fn predict(&mut self, ctx: &egui::Context) {
        let (Some(predictor), Some(subject)) = (&self.predictor, self.subjects.get(self.selected))
        else {
            return;
        };
        if self.predicting.is_some() {
            return;
        }
        let (path, age_years) = (subject.path.clone(), subject.age_years);
        let predictor = Arc::clone(predictor);
        let work = move |watch: Watch<'_>| predictor.predict(&path, age_years, watch);
        match Task::start(ctx, "predictor", work) {
            Ok(task) => self.predicting = Some((self.selected, task)),
            Err(reason) => self.complain(reason),
        }
    }

    fn copy_coordinates(&mut self, ctx: &egui::Context) {
        if let Some(under) = self.under_crosshair() {
            let line = under.line();
            ctx.copy_text(line.clone());
            self.say(format!("Copied: {line}"));
        }
    }

    fn ask_where(&mut self, kind: SaveKind) {
        let name = self
            .subjects
            .get(self.selected)
            .map(|subject| subject.name.clone());
        if kind != SaveKind::List && self.shown.is_none() {
            return self.complain("There is no scan to make a picture of.");
        }
        let name = name.unwrap_or_default().replace(['/', '\\', ' '], "_");
        self.dialog = Some(Dialog::Save(SaveDialog::new(kind, &name)));
    }

    fn save(&mut self, kind: SaveKind, path: PathBuf) {
        if kind == SaveKind::List {
            let rows = self.list.rows(&self.subjects).to_vec();
            let subjects = self.subjects.clone();
            self.jobs
                .run(move || write_file(&path, &csv(&subjects, &rows)?));
            return;
        }
        let (Some(shown), Some(info)) = (&self.shown, self.info()) else {
            return;
        };
        let params = PictureParams {
            scene: shown.scene.clone(),
            view: shown.view.clone(),
            settings: self.settings.now.clone(),
            info,
            size_points: if kind == SaveKind::Montage {
                MONTAGE_POINTS
            } else {
                PICTURE_POINTS
            },
            scale: 2.0,
        };
        self.jobs.run(move || save_picture(kind, &params, &path));
        self.say("Drawing the picture…");
    }

    fn switch_review(&mut self, ctx: &egui::Context) {
        self.reviewing ^= true;
        if !self.reviewing {
            return;
        }
        if self.review.path.is_none() {
            self.complain("These judgments are not kept: start with --review FILE.");
        }
        ctx.request_repaint();
        let judged = self.subjects.get(self.selected);
        let judged = judged.and_then(|subject| self.review.of(&subject.path).verdict);
        if judged.is_some() {
            self.next_to_judge();
        }
    }

    fn judge(&mut self, verdict: Verdict) {
        let Some(subject) = self.subjects.get(self.selected) else {
            return;
        };
        let mut judgment = self.review.of(&subject.path);
        judgment.verdict = Some(verdict);
        judgment.comment.clone_from(&self.comment);
        self.review.set(subject, judgment);
        self.write_review();
        self.next_to_judge();
    }

    fn next_to_judge(&mut self) {
        let rows = self.list.rows(&self.subjects).to_vec();
        match self.review.next(&self.subjects, &rows, self.selected) {
            Some(next) => {
                self.travel = 1;
                self.select(next);
            }
            None => self.say("All scans of the list are judged."),
        }
    }

    /// Takes a comment that was written into the judgment of the scan.
    pub(super) fn keep_comment(&mut self) {
        let Some(subject) = self.subjects.get(self.selected) else {
            return;
        };
        let mut judgment = self.review.of(&subject.path);
        if judgment.comment != self.comment {
            judgment.comment.clone_from(&self.comment);
            self.review.set(subject, judgment);
            self.write_review();
        }
    }

    fn write_review(&mut self) {
        let Some(path) = self.review.path.clone() else {
            return;
        };
        match self.review.csv() {
            Ok(bytes) => self
                .jobs
                .run(move || write_file(&path, &bytes).map(|_| None)),
            Err(reason) => self.complain(reason),
        }
    }

    fn switch_dialog(&mut self, dialog: Dialog) {
        self.dialog = match (&self.dialog, dialog) {
            (Some(Dialog::Help), Dialog::Help) | (Some(Dialog::About), Dialog::About) => None,
            (_, dialog) => Some(dialog),
        };
    }

    /// How often the slices of a plane were handed to the graphics card.
    #[cfg(test)]
    pub(crate) fn n_uploads(&self, plane: Plane) -> usize {
        self.textures.planes[plane.position()][0].n_uploads
    }
}

fn save_picture(kind: SaveKind, params: &PictureParams, path: &Path) -> JobOutcome {
    let image = match kind {
        SaveKind::Picture => picture(params),
        SaveKind::Montage | SaveKind::List => montage(params),
    };
    let bytes = png_bytes(&image).map_err(|error| format!("picture not drawn: {error}"))?;
    write_file(path, &bytes)
}
