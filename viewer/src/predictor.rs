//! The port through which the viewer asks for an age.
//!
//! The viewer knows nothing of models: whoever opens it may hand in a [`Predictor`].

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::subject::Prediction;

/// How far a piece of work has come.
#[derive(Clone, Debug, PartialEq)]
pub struct Progress {
    /// What is being done, in a word or two.
    pub stage: String,
    /// Share of the whole that is done, 0 to 1.
    pub share: f32,
}

impl Progress {
    /// A stage, and which share of all was done before it.
    pub fn new(stage: &str, share: f32) -> Self {
        Self {
            stage: stage.to_owned(),
            share,
        }
    }
}

/// Who waits for a piece of work: hears how far it has come, and may call it off.
#[derive(Clone, Copy)]
pub struct Watch<'a> {
    /// Hears of progress.
    pub progress: &'a dyn Fn(Progress),
    /// Once true, nobody wants the result any more.
    pub canceled: &'a AtomicBool,
}

impl Watch<'_> {
    /// Tells that `stage` begins, and which share of all was done before it.
    pub fn tell(&self, stage: &str, share: f32) {
        (self.progress)(Progress::new(stage, share));
    }

    /// Whether the work was called off.
    pub fn is_canceled(&self) -> bool {
        self.canceled.load(Ordering::Relaxed)
    }
}

/// Predicts the age of the brain in a scan.
pub trait Predictor: Send + Sync {
    /// How the model is called.
    fn name(&self) -> String;

    /// Predicts from a scan file; `age_years`, where it is known, is for the gap alone. Tells `watch` which stage it has
    /// come to, and ends after that stage where it was called off.
    ///
    /// # Errors
    /// A plain sentence that says why there is no prediction.
    fn predict(
        &self,
        path: &Path,
        age_years: Option<f64>,
        watch: Watch<'_>,
    ) -> Result<Prediction, String>;
}
