//! Where one looks: crosshair, window, zoom. What the three planes share.

use brainage_pipelines::Volume;
use eframe::egui::Vec2;

use crate::loader::LoadedScan;
use crate::slice::{Convention, Plane, WindowLevel};

/// Smallest and largest zoom.
const ZOOM: [f32; 2] = [0.5, 20.0];

/// The view of one scan.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ViewState {
    /// The voxel under the crosshair; always inside the volume.
    pub(crate) crosshair: [usize; 3],
    shape: [usize; 3],
    /// Which grey values are black and white.
    pub(crate) window_level: WindowLevel,
    automatic: WindowLevel,
    /// 1 fits the planes into their panes.
    pub(crate) zoom: f32,
    /// How far each plane, in the order of [`Plane::ALL`], is moved from its pane's centre, in points.
    pub(crate) pan: [Vec2; 3],
    /// Which side is left.
    pub(crate) convention: Convention,
}

impl ViewState {
    /// The middle of a scan with its automatic window.
    pub(crate) fn new(scan: &LoadedScan, convention: Convention) -> Self {
        let shape = scan.volume.shape().0;
        Self {
            crosshair: shape.map(|n| n / 2),
            shape,
            window_level: scan.window_level,
            automatic: scan.window_level,
            zoom: 1.0,
            pan: [Vec2::ZERO; 3],
            convention,
        }
    }

    /// Puts the crosshair at `index` along an axis; the nearest there is.
    pub(crate) fn go_to(&mut self, axis: usize, index: usize) {
        self.crosshair[axis] = index.min(self.shape[axis].saturating_sub(1));
    }

    /// Moves the crosshair along an axis, as far as the volume goes.
    pub(crate) fn step(&mut self, axis: usize, by: isize) {
        self.go_to(axis, self.crosshair[axis].saturating_add_signed(by));
    }

    /// Changes window and level as a drag of so many points asks: right is wider, down is brighter.
    pub(crate) fn drag_window(&mut self, by: Vec2) {
        let WindowLevel { window, level } = self.window_level;
        let widest = self.automatic.window * 100.0;
        let narrowest = self.automatic.window * 1e-3;
        self.window_level = WindowLevel {
            window: (window * (1.0 + by.x * 0.005)).clamp(narrowest, widest),
            level: (level - by.y * window * 0.002)
                .clamp(self.automatic.level - widest, self.automatic.level + widest),
        };
    }

    /// Back to the automatic window.
    pub(crate) fn reset_window(&mut self) {
        self.window_level = self.automatic;
    }

    /// Zooms all planes; in the one at `pane` the place `about` (from the pane's centre) stays.
    pub(crate) fn zoom_by(&mut self, factor: f32, pane: usize, about: Vec2) {
        let zoom = (self.zoom * factor).clamp(ZOOM[0], ZOOM[1]);
        let ratio = zoom / self.zoom;
        for (i, pan) in self.pan.iter_mut().enumerate() {
            let fixed = if i == pane { about } else { Vec2::ZERO };
            *pan = fixed + (*pan - fixed) * ratio;
        }
        self.zoom = zoom;
    }

    /// Whole planes again.
    pub(crate) fn reset_zoom(&mut self) {
        (self.zoom, self.pan) = (1.0, [Vec2::ZERO; 3]);
    }

    /// The other convention.
    pub(crate) fn switch_convention(&mut self) {
        self.convention = match self.convention {
            Convention::Radiological => Convention::Neurological,
            Convention::Neurological => Convention::Radiological,
        };
    }
}

/// Points a millimetre at which every plane fits into a pane of this size.
pub(crate) fn points_per_mm(volume: &Volume, pane: Vec2) -> f32 {
    let fits = |plane: &Plane| {
        let room = pane / plane.size_mm(volume);
        room.x.min(room.y)
    };
    Plane::ALL
        .iter()
        .map(fits)
        .fold(f32::INFINITY, f32::min)
        .max(1e-3)
}

#[cfg(test)]
mod tests {
    use brainage_pipelines::{Affine, VoxelShape};

    use super::*;

    fn view() -> ViewState {
        let volume = Volume::new(vec![1.0; 60], VoxelShape([3, 4, 5]), Affine::identity()).unwrap();
        let window_level = WindowLevel {
            window: 100.0,
            level: 50.0,
        };
        let scan = LoadedScan {
            volume,
            window_level,
            facts: vec![],
            warnings: vec![],
        };
        ViewState::new(&scan, Convention::Radiological)
    }

    #[test]
    fn the_crosshair_never_leaves_the_volume() {
        let mut view = view();
        assert_eq!(view.crosshair, [1, 2, 2]);
        view.step(2, 99);
        view.step(0, -99);
        view.go_to(1, usize::MAX);
        assert_eq!(view.crosshair, [0, 3, 4]);
    }

    #[test]
    fn a_window_stays_positive_however_far_it_is_dragged() {
        let mut view = view();
        view.drag_window(Vec2::new(-1e9, 1e9));
        assert!(view.window_level.window > 0.0 && view.window_level.level.is_finite());
        view.reset_window();
        assert_eq!(
            view.window_level,
            WindowLevel {
                window: 100.0,
                level: 50.0
            }
        );
    }

    #[test]
    fn zooming_leaves_the_place_under_the_pointer_where_it_is() {
        let mut view = view();
        view.zoom_by(2.0, 1, Vec2::new(10.0, -4.0));
        assert_eq!(view.pan[1], Vec2::new(-10.0, 4.0));
        assert_eq!(view.pan[0], Vec2::ZERO);
    }
}
