//! The desktop viewer: slices of scans beside what a model said of them.
//!
//! Subjects come in as plain data ([`Subject`]), volumes from the scan files they name, predictions
//! from the caller or from a [`Predictor`]. [`open_window`] shows them; [`screenshot()`] draws the same
//! without a display. The viewer knows nothing of models or training and never changes a scan.
//!
//! It is research software, not a medical device, and says so on every screen.

mod subject;

pub mod review;

mod predictor;
mod preparation;

mod app;
mod commands;
mod settings;
mod state;

mod image;
mod panels;

mod file_dialog;
mod jobs;
mod loaded_scan;
mod loader;
mod opening;
mod task;

mod offscreen;
mod picture;
mod raster;
mod screenshot;
mod theme;
mod window;

#[cfg(test)]
mod phantom;
#[cfg(test)]
mod snapshot_tests;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

pub use opening::ReadSubjects;
pub use predictor::{Predictor, Progress, Watch};
pub use preparation::{Preprocessing, share_after, words};
pub use screenshot::screenshot;
pub use subject::{Prediction, Subject};
pub use window::{FrameTimes, measure_frames, open_window};

/// What a viewer shows.
pub struct ViewerParams {
    /// The scans, in the order of the list; the first is shown.
    pub subjects: Vec<Subject>,
    /// Further scans, folders, runs, caches and tables, looked at once the window is there.
    pub open: Vec<PathBuf>,
    /// Who is asked for ages; `None` hides the button.
    pub predictor: Option<Arc<dyn Predictor>>,
    /// How scans are preprocessed for the layers; `None` leaves the layers out.
    pub preprocessing: Option<Preprocessing>,
    /// Who reads tables and run folders that are opened later.
    pub read_subjects: Option<ReadSubjects>,
    /// The run folder whose learning curves are shown.
    pub run: Option<PathBuf>,
    /// The file that keeps the settings; `None` keeps none.
    pub settings: Option<PathBuf>,
    /// The table that keeps judgments of scans; `None` keeps none.
    pub review: Option<PathBuf>,
    /// What is seen first.
    pub start: Start,
    /// Title of the window.
    pub title: String,
}

impl ViewerParams {
    /// Scans, and nothing else.
    pub fn new(subjects: Vec<Subject>) -> Self {
        Self {
            subjects,
            open: Vec::new(),
            predictor: None,
            preprocessing: None,
            read_subjects: None,
            run: None,
            settings: None,
            review: None,
            start: Start::default(),
            title: "brainage".into(),
        }
    }
}

/// What is seen first, where it is not as the last time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Start {
    /// Which planes.
    pub layout: Option<StartLayout>,
    /// Which panel on the right.
    pub panel: Option<StartPanel>,
    /// Whether the first scan is preprocessed at once, so that its layers are there.
    pub prepare: bool,
}

/// Which planes are seen first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartLayout {
    /// All three.
    Three,
    /// Axial alone.
    Axial,
    /// Coronal alone.
    Coronal,
    /// Sagittal alone.
    Sagittal,
    /// Many axial slices.
    Mosaic,
}

/// Which panel is seen first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartPanel {
    /// What the model says.
    Prediction,
    /// All scans in plots.
    Cohort,
    /// Layers and contrast.
    Layers,
    /// Learning curves.
    Run,
}

/// Why there is no window or no picture.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The system gives no window: no display, no OpenGL, a library missing.
    #[error("no window could be opened ({reason})")]
    Window {
        /// What the system said.
        reason: String,
    },
    /// No thread to read scans with.
    #[error("no thread could be started to read scans")]
    Thread(#[source] io::Error),
    /// A picture too small to show anything, or too large.
    #[error("picture of {} × {} pixels, expected sides of {} to {}", found[0], found[1], limits[0], limits[1])]
    PictureSize {
        /// Width and height asked for.
        found: [u32; 2],
        /// Smallest and largest side.
        limits: [u32; 2],
    },
    /// The picture cannot be written.
    #[error("picture could not be written ({source}): `{}`", path.display())]
    Picture {
        /// Its file.
        path: PathBuf,
        /// What the system answered.
        source: io::Error,
    },
}

impl Error {
    /// What the user can do about it, where there is something.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Window { .. } => Some(
                "without a display, write a picture instead with `--screenshot FILE.png`; under X11 \
                 libGL, libXcursor, libXi and libxkbcommon-x11 are needed",
            ),
            Self::Picture { .. } => {
                Some("name a file in a folder that exists and can be written to")
            }
            Self::Thread(_) | Self::PictureSize { .. } => None,
        }
    }
}
