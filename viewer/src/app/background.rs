//! What happened beside the window since the last frame.

use std::path::PathBuf;

use eframe::egui;

use super::Viewer;
use crate::commands::Command;
use crate::file_dialog::FileDialog;
use crate::image::scene::Space;
use crate::opening::{Opened, open_paths};
use crate::panels::run::data::RunLog;
use crate::predictor::Watch;
use crate::preparation::{Prepared, prepare};
use crate::state::Snapshot;
use crate::subject::Prediction;
use crate::task::Task;
use crate::theme;

impl Viewer {
    /// Takes it in.
    pub(super) fn take_in(&mut self, ctx: &egui::Context) {
        self.loader.poll();
        if let Some(run) = &mut self.run {
            run.poll();
        }
        for outcome in self.jobs.poll() {
            match outcome {
                Ok(Some(text)) => self.say(text),
                Ok(None) => (),
                Err(problem) => self.complain(problem),
            }
        }
        let chosen = self.file_dialog.as_ref().and_then(FileDialog::poll);
        if let Some(paths) = chosen {
            self.file_dialog = None;
            if !paths.is_empty() {
                self.apply(ctx, Command::OpenPaths(paths));
            }
        }
        if let Some(opened) = self.opening.as_mut().and_then(Task::poll) {
            self.opening = None;
            self.take_opened(ctx, opened);
        }
        let predicted = self.predicting.as_mut().and_then(|(subject, task)| {
            let answer = task.poll()?;
            Some((*subject, answer))
        });
        if let Some((subject, answer)) = predicted {
            self.predicting = None;
            self.take_prediction(subject, answer);
        }
        let prepared = self.preparing.as_mut().and_then(|(path, task)| {
            let answer = task.poll()?;
            Some((path.clone(), answer))
        });
        if let Some((path, answer)) = prepared {
            self.preparing = None;
            self.take_prepared(&path, answer);
        }
        let map = self.map_loading.as_mut().and_then(|(path, task)| {
            let answer = task.poll()?;
            Some((path.clone(), answer))
        });
        if let Some((path, answer)) = map {
            self.map_loading = None;
            match answer {
                Ok(map) => {
                    let shown = self.shown.as_mut().filter(|shown| shown.path == path);
                    if let Some(shown) = shown {
                        shown.map = Some(map);
                        let space = shown.scene.space;
                        self.rebuild_scene(space);
                    }
                }
                Err(reason) => self.complain(reason),
            }
        }
    }

    /// Starts to look at what was named.
    pub(super) fn open(&mut self, ctx: &egui::Context, paths: Vec<PathBuf>) {
        let read = self.read_subjects.clone();
        let work = move |watch: Watch<'_>| Ok(open_paths(&paths, read.as_ref(), watch.progress));
        match Task::start(ctx, "opener", work) {
            Ok(task) => self.opening = Some(task),
            Err(reason) => self.complain(reason),
        }
    }

    fn take_opened(&mut self, ctx: &egui::Context, opened: Result<Opened, String>) {
        let opened = match opened {
            Ok(opened) => opened,
            Err(reason) => return self.complain(reason),
        };
        match opened.run.map(|run| RunLog::follow(ctx, run)) {
            Some(Ok(run)) => self.run = Some(run),
            Some(Err(error)) => self.complain(format!("the run cannot be followed: {error}")),
            None => (),
        }
        if let Some(problem) = opened.problems.first() {
            self.complain(problem.clone());
        }
        let mut first = None;
        for subject in opened.subjects {
            let known = self
                .subjects
                .iter()
                .position(|known| known.path == subject.path);
            let at = if let Some(at) = known {
                // A table says more of a scan than its file.
                if subject.prediction.is_some() {
                    self.subjects[at] = subject;
                }
                at
            } else {
                self.subjects.push(subject);
                self.subjects.len() - 1
            };
            first = first.or(Some(at));
        }
        self.subjects_changed();
        if let Some(first) = first {
            self.keep_comment();
            self.selected = first;
            self.list.show(first);
            self.load_selected();
        }
    }

    fn take_prediction(&mut self, subject: usize, answer: Result<Prediction, String>) {
        if let Some(subject) = self.subjects.get_mut(subject) {
            subject.prediction = Some(answer.unwrap_or_else(|reason| Prediction {
                error: Some(reason),
                ..Prediction::default()
            }));
            self.subjects_changed();
        }
    }

    fn take_prepared(&mut self, path: &std::path::Path, answer: Result<Prepared, String>) {
        match answer {
            Ok(prepared) => {
                if let Some(shown) = self.shown.as_mut().filter(|shown| shown.path == path) {
                    shown.prepared = Some(prepared);
                    let space = shown.scene.space;
                    self.rebuild_scene(space);
                    self.say("Preprocessed: mask, template and bias field can be shown.");
                }
            }
            Err(reason) => self.complain(reason),
        }
    }

    /// Starts preprocessing of the scan on the screen.
    pub(super) fn prepare(&mut self, ctx: &egui::Context) {
        let (Some(preprocessing), Some(shown)) = (self.preprocessing.clone(), &self.shown) else {
            return self.complain("Scans cannot be preprocessed here.");
        };
        if self.preparing.is_some() || shown.scan.space == Space::Template {
            return;
        }
        let path = shown.path.clone();
        let scan = path.clone();
        let work = move |watch: Watch<'_>| prepare(&scan, &preprocessing, watch);
        match Task::start(ctx, "preparation", work) {
            Ok(task) => {
                self.preparing = Some((path, task));
                self.say("Preprocessing for the layers…");
            }
            Err(reason) => self.complain(reason),
        }
    }

    /// To be called when subjects were added or have got a prediction.
    pub(super) fn subjects_changed(&mut self) {
        self.list.subjects_changed();
        self.cohort = None;
    }

    /// At the end of a frame: changes that can be undone, and settings.
    pub(super) fn remember(&mut self, ctx: &egui::Context) {
        if self.settings.now.theme != self.theme {
            self.theme = self.settings.now.theme;
            theme::apply(ctx, self.theme);
            ctx.request_repaint();
        }
        // While a button is down, something is being dragged.
        if ctx.input(|input| input.pointer.any_down()) {
            return;
        }
        self.settings.save(&mut self.jobs);
        let time_secs = ctx.input(|input| input.time);
        if let Some(shown) = &mut self.shown {
            let now = Snapshot {
                view: shown.view.clone(),
                layout: self.settings.now.layout,
                layers: self.settings.now.layers,
            };
            shown.history.note(&now, time_secs);
        }
    }

    /// Whether the selected scan is still being read.
    #[cfg(test)]
    pub(crate) fn is_loading(&self) -> bool {
        self.loader.is_loading()
    }

    /// Blocks until everything that was asked for has been read.
    pub(crate) fn finish_loading(&mut self, ctx: &egui::Context) {
        self.unhurried = true;
        if let Some(mut task) = self.opening.take() {
            let opened = task.wait();
            self.take_opened(ctx, opened);
        }
        self.loader.wait();
        if let Some(run) = &mut self.run {
            run.wait();
        }
        self.refresh_shown(ctx);
        if let Some((path, mut task)) = self.map_loading.take() {
            match task.wait() {
                Ok(map) => {
                    if let Some(shown) = self.shown.as_mut().filter(|shown| shown.path == path) {
                        shown.map = Some(map);
                        self.rebuild_scene(Space::Scan);
                    }
                }
                Err(reason) => self.complain(reason),
            }
        }
        if let Some((path, mut task)) = self.preparing.take() {
            let prepared = task.wait();
            self.take_prepared(&path, prepared);
            self.notice = self.notice.take().filter(|notice| notice.is_problem);
        }
    }
}
