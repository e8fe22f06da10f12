//! The viewer in a window of the desktop.

use std::panic::{AssertUnwindSafe, catch_unwind};

use eframe::egui;

use crate::app::Viewer;
use crate::{Error, ViewerParams, theme};

impl eframe::App for Viewer {
    fn ui(&mut self, ui: &mut egui::Ui, _: &mut eframe::Frame) {
        Self::ui(self, ui);
    }
}

/// Opens a window and returns when it is closed; to be called on the main thread.
///
/// # Errors
/// [`Error::Window`] where there is no display, no OpenGL or a library of the desktop is missing.
pub fn open_window(params: ViewerParams) -> Result<(), Error> {
    let displays = ["WAYLAND_DISPLAY", "WAYLAND_SOCKET", "DISPLAY"];
    let needs_one = cfg!(all(unix, not(target_os = "macos")));
    if needs_one && displays.iter().all(|name| std::env::var_os(name).is_none()) {
        let reason = "neither DISPLAY nor WAYLAND_DISPLAY is set".into();
        return Err(Error::Window { reason });
    }
    let title = params.title.clone();
    let viewport = egui::ViewportBuilder::default()
        .with_title(title.as_str())
        .with_app_id("brainage")
        .with_inner_size(theme::WINDOW_SIZE)
        .with_drag_and_drop(true);
    let options = eframe::NativeOptions {
        viewport,
        ..Default::default()
    };
    let run = || {
        eframe::run_native(
            &title,
            options,
            Box::new(|creation| Ok(Box::new(Viewer::new(&creation.egui_ctx, params)?))),
        )
    };
    // The window system panics where a library that it loads at run time is missing.
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(closed) => closed.map_err(|error| Error::Window {
            reason: error.to_string(),
        }),
        Err(_) => Err(Error::Window {
            reason: "the window system failed, see above".into(),
        }),
    }
}
