//! The desktop viewer: slices of scans beside what a model said of them.
//!
//! Subjects come in as plain data ([`Subject`]), volumes from the scan files they name, predictions
//! from the caller or from a [`Predictor`]. [`open_window`] shows them; [`screenshot()`] draws the same
//! without a display. The viewer knows nothing of models or training and never changes a scan.
//!
//! It is research software, not a medical device, and says so on every screen.

mod subject;

mod predictor;

mod app;
mod file_dialog;
mod list;
mod loader;
mod pane;
mod prediction_panel;
mod slice;
mod state;

mod raster;
mod screenshot;
mod theme;
mod window;

#[cfg(test)]
mod phantom;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

pub use predictor::Predictor;
pub use screenshot::screenshot;
pub use subject::{Prediction, Subject};
pub use window::open_window;

/// What a viewer shows.
pub struct ViewerParams {
    /// The scans, in the order of the list; the first is shown.
    pub subjects: Vec<Subject>,
    /// Who is asked for ages; `None` hides the button.
    pub predictor: Option<Arc<dyn Predictor>>,
    /// Title of the window.
    pub title: String,
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
