//! The viewer in a window of the desktop, and how fast it draws there.

use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use eframe::egui;

use crate::app::Viewer;
use crate::{Error, ViewerParams, theme};

/// How often a frame may be laid out until everything has its place.
const MAX_PASSES: NonZeroUsize = NonZeroUsize::MIN.saturating_add(1);

/// How fast a window drew while it went through slices.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FrameTimes {
    /// From the call to the first frame with slices in it.
    pub first_picture: Duration,
    /// From frame to frame, in their order; each shows new slices in all panes.
    pub frames: Vec<Duration>,
    /// The viewer's own part of each: slices and layout.
    pub own: Vec<Duration>,
}

impl FrameTimes {
    /// Frames a second, on average.
    pub fn frames_per_second(&self) -> f64 {
        let all: Duration = self.frames.iter().sum();
        self.frames.len() as f64 / all.as_secs_f64().max(1e-9)
    }

    /// The frame that `percent` of all are not longer than; of the viewer's own part.
    pub fn own_percentile(&self, percent: usize) -> Duration {
        let mut sorted = self.own.clone();
        sorted.sort();
        let at = sorted.len().saturating_sub(1) * percent.min(100) / 100;
        sorted.get(at).copied().unwrap_or_default()
    }
}

impl eframe::App for Viewer {
    fn ui(&mut self, ui: &mut egui::Ui, _: &mut eframe::Frame) {
        Self::ui(self, ui);
    }

    fn clear_color(&self, visuals: &egui::Visuals) -> [f32; 4] {
        ground(visuals)
    }
}

/// The ground of all panels: the window is cleared with it, which costs nothing, instead of every panel painting its own.
fn ground(visuals: &egui::Visuals) -> [f32; 4] {
    visuals.panel_fill.to_normalized_gamma_f32()
}

/// Opens a window and returns when it is closed; to be called on the main thread.
///
/// # Errors
/// [`Error::Window`] where there is no display, no OpenGL or a library of the desktop is missing.
pub fn open_window(params: ViewerParams) -> Result<(), Error> {
    let title = params.title.clone();
    run(&title, eframe::NativeOptions::default(), |ctx| {
        let viewer = Viewer::new(ctx, params)?;
        Ok(Box::new(viewer))
    })
}

/// Opens a window, goes through the slices of its first scan for so many frames as fast as they come, and closes it.
///
/// # Errors
/// As [`open_window`].
pub fn measure_frames(params: ViewerParams, n_frames: usize) -> Result<FrameTimes, Error> {
    let title = params.title.clone();
    let times = Arc::new(Mutex::new(FrameTimes::default()));
    let (kept, begun) = (Arc::clone(&times), Instant::now());
    let mut options = eframe::NativeOptions::default();
    options.glow_options.vsync = false;
    run(&title, options, move |ctx| {
        Ok(Box::new(Measured {
            viewer: Viewer::new(ctx, params)?,
            times: kept,
            n_frames,
            begun,
            last: None,
        }))
    })?;
    let times = times.lock().map(|times| times.clone());
    times.map_err(|_poisoned| Error::Window {
        reason: "the window failed while it was measured".into(),
    })
}

/// A viewer that goes through slices by itself.
struct Measured {
    viewer: Viewer,
    times: Arc<Mutex<FrameTimes>>,
    n_frames: usize,
    begun: Instant,
    last: Option<Instant>,
}

impl eframe::App for Measured {
    fn ui(&mut self, ui: &mut egui::Ui, _: &mut eframe::Frame) {
        let now = Instant::now();
        let was_shown = self.viewer.shown.is_some();
        if let Some(shown) = &mut self.viewer.shown {
            for axis in 0..3 {
                let n = shown.scene.grid.shape[axis];
                shown.view.go_to(axis, (shown.view.crosshair[axis] + 1) % n);
            }
        }
        self.viewer.ui(ui);
        if self.viewer.shown.is_some() {
            ui.ctx().request_repaint();
        }
        // A lock that is poisoned belongs to a window that has failed already.
        let Ok(mut times) = self.times.lock() else {
            return;
        };
        if !was_shown {
            times.first_picture = self.begun.elapsed();
        } else if let Some(last) = self.last.replace(now) {
            times.frames.push(now - last);
            times.own.push(now.elapsed());
        }
        if times.frames.len() >= self.n_frames {
            ui.ctx().send_viewport_cmd(egui::ViewportCommand::Close);
        }
    }

    fn clear_color(&self, visuals: &egui::Visuals) -> [f32; 4] {
        ground(visuals)
    }
}

/// Makes the viewer, and a window for it. In this order, so that the first scan is read while the window comes up.
fn run(
    title: &str,
    mut options: eframe::NativeOptions,
    make: impl FnOnce(&egui::Context) -> std::io::Result<Box<dyn eframe::App>>,
) -> Result<(), Error> {
    let displays = ["WAYLAND_DISPLAY", "WAYLAND_SOCKET", "DISPLAY"];
    let needs_one = cfg!(all(unix, not(target_os = "macos")));
    if needs_one && displays.iter().all(|name| std::env::var_os(name).is_none()) {
        let reason = "neither DISPLAY nor WAYLAND_DISPLAY is set".into();
        return Err(Error::Window { reason });
    }
    options.viewport = egui::ViewportBuilder::default()
        .with_title(title)
        .with_app_id("brainage")
        .with_inner_size(theme::WINDOW_SIZE)
        .with_drag_and_drop(true);
    // Gray values are shown as they are, without noise over them.
    options.dithering = false;
    let ctx = egui::Context::default();
    // As a window makes its own.
    ctx.set_embed_viewports(false);
    ctx.options_mut(|options| options.max_passes = MAX_PASSES);
    let app = make(&ctx).map_err(Error::Thread)?;
    let run = || eframe::run_native_ext(title, options, Some(ctx), Box::new(|_| Ok(app)));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_a_second_and_percentiles_follow_from_the_times() {
        let millis = |all: &[u64]| all.iter().map(|ms| Duration::from_millis(*ms)).collect();
        let times = FrameTimes {
            first_picture: Duration::ZERO,
            frames: millis(&[10, 30, 20, 40]),
            own: millis(&[4, 1, 3, 2]),
        };
        assert!((times.frames_per_second() - 40.0).abs() < 1e-9);
        assert_eq!(times.own_percentile(100), Duration::from_millis(4));
        assert_eq!(times.own_percentile(50), Duration::from_millis(2));
    }
}
