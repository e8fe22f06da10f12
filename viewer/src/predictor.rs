//! The port through which the viewer asks for an age, and the thread that waits for the answer.
//!
//! The viewer knows nothing of models: whoever opens it may hand in a [`Predictor`].

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};

use eframe::egui;

use crate::subject::Prediction;

/// Predicts the age of the brain in a scan.
pub trait Predictor: Send + Sync {
    /// How the model is called.
    fn name(&self) -> String;

    /// Predicts from a scan file; tells `progress` which stage it has come to.
    ///
    /// # Errors
    /// A plain sentence that says why there is no prediction.
    fn predict(&self, path: &Path, progress: &dyn Fn(&str)) -> Result<Prediction, String>;
}

/// What the prediction thread reports.
enum Report {
    Stage(String),
    Done(Result<Prediction, String>),
}

/// A prediction under way on its own thread.
pub(crate) struct PendingPrediction {
    /// Index of the subject it is for.
    pub(crate) subject: usize,
    /// What the predictor said last.
    pub(crate) stage: String,
    reports: mpsc::Receiver<Report>,
}

impl PendingPrediction {
    /// Starts predicting; wakes `ctx` whenever there is news.
    ///
    /// # Errors
    /// A plain sentence where no thread can be had.
    pub(crate) fn start(
        ctx: &egui::Context,
        predictor: Arc<dyn Predictor>,
        subject: usize,
        path: PathBuf,
    ) -> Result<Self, String> {
        let (sender, reports) = mpsc::channel();
        let ctx = ctx.clone();
        std::thread::Builder::new()
            .name("predictor".into())
            .spawn(move || {
                // A send fails only where the viewer is gone: then nobody waits for the answer.
                let report = |report| {
                    sender.send(report).ok();
                    ctx.request_repaint();
                };
                let predict =
                    || predictor.predict(&path, &|stage| report(Report::Stage(stage.to_owned())));
                let done = catch_unwind(AssertUnwindSafe(predict)).unwrap_or_else(|_| {
                    Err("the predictor stopped unexpectedly, see the terminal".into())
                });
                report(Report::Done(done));
            })
            .map_err(|error| format!("no thread could be started for the prediction: {error}"))?;
        Ok(Self {
            subject,
            stage: "starting".into(),
            reports,
        })
    }

    /// Takes in what was reported since the last frame; the answer, once it is there.
    pub(crate) fn poll(&mut self) -> Option<Result<Prediction, String>> {
        loop {
            match self.reports.try_recv() {
                Ok(report) => {
                    if let Some(answer) = self.take(report) {
                        return Some(answer);
                    }
                }
                Err(mpsc::TryRecvError::Empty) => return None,
                Err(mpsc::TryRecvError::Disconnected) => {
                    return Some(Err("the predictor ended without an answer".into()));
                }
            }
        }
    }

    /// Waits for the next report; the answer, if that is what came.
    #[cfg(test)]
    pub(crate) fn wait(&mut self) -> Option<Result<Prediction, String>> {
        let report = self.reports.recv().ok()?;
        self.take(report)
    }

    fn take(&mut self, report: Report) -> Option<Result<Prediction, String>> {
        match report {
            Report::Stage(stage) => {
                self.stage = stage;
                None
            }
            Report::Done(answer) => Some(answer),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Faulty;

    impl Predictor for Faulty {
        fn name(&self) -> String {
            "faulty".into()
        }
        fn predict(&self, _: &Path, progress: &dyn Fn(&str)) -> Result<Prediction, String> {
            progress("reading");
            panic!("a bug");
        }
    }

    #[test]
    fn a_predictor_that_panics_gives_an_error_and_not_a_dead_viewer() {
        let ctx = egui::Context::default();
        let mut pending =
            PendingPrediction::start(&ctx, Arc::new(Faulty), 0, "a.nii".into()).unwrap();
        assert!(pending.wait().is_none());
        assert_eq!(pending.stage, "reading");
        assert!(matches!(pending.wait(), Some(Err(reason)) if reason.contains("unexpectedly")));
    }
}
