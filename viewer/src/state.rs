//! Where one looks: crosshair, window, zoom. What all panes share, and what can be undone.

use eframe::egui::Vec2;

use crate::image::plane::Plane;
use crate::image::scene::{LayersView, Scene, Space};
use crate::image::window_level::{Preset, Presets, WindowLevel};
use crate::settings::{Layout, LevelDrag};

/// Smallest and largest zoom.
const ZOOM: [f32; 2] = [0.5, 20.0];
/// How many changes can be undone.
const UNDO_DEPTH: usize = 100;
/// Changes within this time are undone together, as those of one turn of the wheel.
const ONE_CHANGE_SECONDS: f64 = 0.6;

/// The view of one scan.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ViewState {
    /// The voxel of the display grid under the crosshair; always inside it.
    pub(crate) crosshair: [usize; 3],
    shape: [usize; 3],
    /// Whose coordinates the crosshair has.
    pub(crate) space: Space,
    /// Which values are black and white.
    pub(crate) window_level: WindowLevel,
    presets: Presets,
    /// 1 fits the planes into their panes.
    pub(crate) zoom: f32,
    /// How far each plane, in the order of [`Plane::ALL`], is moved from its pane's center, in mm of the plane: the same
    /// in a pane, a tile and a picture of any size.
    pub(crate) pan_mm: [Vec2; 3],
    /// Left of this share of a pane's width the scan is shown, right of it what preprocessing made of it.
    pub(crate) swipe: Option<f32>,
    /// The plane that keys without a pane of their own move.
    pub(crate) active: Plane,
}

impl ViewState {
    /// The middle of a scene with its automatic window.
    pub(crate) fn new(scene: &Scene) -> Self {
        let shape = scene.grid.shape;
        Self {
            crosshair: shape.map(|n| n / 2),
            shape,
            space: scene.space,
            window_level: scene.presets.auto,
            presets: scene.presets,
            zoom: 1.0,
            pan_mm: [Vec2::ZERO; 3],
            swipe: None,
            active: Plane::Axial,
        }
    }

    /// The same place in another scene of the same scan; `new_from_old` leads from world to world.
    pub(crate) fn carried(&self, from: &Scene, to: &Scene, world_mm: [f64; 3]) -> Self {
        let same_grid = from.grid == to.grid;
        Self {
            crosshair: if same_grid {
                self.crosshair
            } else {
                to.grid.index_at(world_mm)
            },
            shape: to.grid.shape,
            space: to.space,
            ..self.clone()
        }
    }

    /// Puts the crosshair at `index` along an axis; the nearest there is.
    pub(crate) fn go_to(&mut self, axis: usize, index: usize) {
        self.crosshair[axis] = index.min(self.shape[axis].saturating_sub(1));
    }

    /// Moves the crosshair along an axis, as far as the grid goes.
    pub(crate) fn step(&mut self, axis: usize, by: isize) {
        self.go_to(axis, self.crosshair[axis].saturating_add_signed(by));
    }

    /// Changes window and level as a drag of so many points asks: right is wider.
    pub(crate) fn drag_window(&mut self, by: Vec2, sign: LevelDrag) {
        let WindowLevel { window, level } = self.window_level;
        let automatic = self.presets.auto;
        let widest = automatic.window * 100.0;
        let narrowest = automatic.window * 1e-3;
        let up = match sign {
            LevelDrag::UpIsDarker => -by.y,
            LevelDrag::UpIsBrighter => by.y,
        };
        self.window_level = WindowLevel {
            window: (window * (1.0 + by.x * 0.005)).clamp(narrowest, widest),
            level: (level + up * window * 0.002)
                .clamp(automatic.level - widest, automatic.level + widest),
        };
    }

    /// A window that was found when the scan was read.
    pub(crate) fn set_preset(&mut self, preset: Preset) {
        self.window_level = self.presets.get(preset);
    }

    /// Zooms all planes; in `plane` the place `about_mm` (on the screen, from the pane's center) stays.
    pub(crate) fn zoom_by(&mut self, factor: f32, plane: Plane, about_mm: Vec2) {
        let zoom = (self.zoom * factor).clamp(ZOOM[0], ZOOM[1]);
        // So much of the way to the center is shorter on the screen, once it is enlarged.
        self.pan_mm[plane.position()] += about_mm * (self.zoom / zoom - 1.0);
        self.zoom = zoom;
    }

    /// Moves a plane by so much on the screen.
    pub(crate) fn pan_by(&mut self, plane: Plane, by_mm: Vec2) {
        self.pan_mm[plane.position()] += by_mm;
    }

    /// Whole planes, and the automatic window.
    pub(crate) fn reset(&mut self) {
        (self.zoom, self.pan_mm) = (1.0, [Vec2::ZERO; 3]);
        self.set_preset(Preset::Auto);
    }
}

/// All that one undoes at once.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Snapshot {
    /// Where one looks.
    pub(crate) view: ViewState,
    /// In which panes.
    pub(crate) layout: Layout,
    /// At which layers.
    pub(crate) layers: LayersView,
}

/// The changes of the view that can be undone, for one scan.
#[derive(Debug, Default)]
pub(crate) struct History {
    settled: Option<Snapshot>,
    settled_at_secs: f64,
    undone: Vec<Snapshot>,
    past: Vec<Snapshot>,
}

impl History {
    /// Takes in how the view is now; to be called in every frame without a pressed button.
    pub(crate) fn note(&mut self, now: &Snapshot, time_secs: f64) {
        match &mut self.settled {
            Some(settled) if settled == now => (),
            Some(settled) => {
                let before = std::mem::replace(settled, now.clone());
                let goes_on = time_secs - self.settled_at_secs < ONE_CHANGE_SECONDS;
                if !goes_on || self.past.is_empty() {
                    self.past.push(before);
                }
                if self.past.len() > UNDO_DEPTH {
                    self.past.remove(0);
                }
                self.undone.clear();
                self.settled_at_secs = time_secs;
            }
            None => self.settled = Some(now.clone()),
        }
    }

    /// The view before the last change.
    pub(crate) fn undo(&mut self) -> Option<Snapshot> {
        let before = self.past.pop()?;
        self.undone.extend(self.settled.replace(before.clone()));
        self.settled_at_secs = f64::NEG_INFINITY;
        Some(before)
    }

    /// The view that was undone last.
    pub(crate) fn redo(&mut self) -> Option<Snapshot> {
        let again = self.undone.pop()?;
        self.past.extend(self.settled.replace(again.clone()));
        self.settled_at_secs = f64::NEG_INFINITY;
        Some(again)
    }
}

#[cfg(test)]
mod tests {
    use brainage_pipelines::{Affine, Volume, VoxelShape};

    use super::*;

    fn view() -> ViewState {
        let values: Vec<f32> = (1..=60u8).map(f32::from).collect();
        let volume = Volume::new(values, VoxelShape([3, 4, 5]), Affine::identity()).unwrap();
        let presets = Presets::of(volume.values());
        ViewState::new(&Scene::of_volume(1, volume, presets))
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
        let before = view.window_level;
        view.drag_window(Vec2::new(-1e9, 1e9), LevelDrag::UpIsDarker);
        assert!(view.window_level.window > 0.0 && view.window_level.level.is_finite());
        view.reset();
        assert_eq!(view.window_level, before);
    }

    #[test]
    fn the_direction_of_the_level_drag_is_a_setting() {
        let (mut darker, mut brighter) = (view(), view());
        let level = darker.window_level.level;
        darker.drag_window(Vec2::new(0.0, -10.0), LevelDrag::UpIsDarker);
        brighter.drag_window(Vec2::new(0.0, -10.0), LevelDrag::UpIsBrighter);
        assert!(darker.window_level.level > level && brighter.window_level.level < level);
    }

    #[test]
    fn zooming_leaves_the_place_under_the_pointer_where_it_is() {
        let mut view = view();
        let pointer_points = Vec2::new(30.0, -12.0);
        // What is under the pointer, from the center of the plane, at 3 points a mm and zoom 1.
        let under = |view: &ViewState| {
            let scale = 3.0 * view.zoom;
            pointer_points / scale - view.pan_mm[Plane::Sagittal.position()]
        };
        view.pan_by(Plane::Sagittal, Vec2::new(1.0, 2.0));
        let before = under(&view);
        view.zoom_by(2.0, Plane::Sagittal, pointer_points / 3.0);
        assert_eq!((view.zoom, under(&view)), (2.0, before));
        assert_eq!(view.pan_mm[Plane::Axial.position()], Vec2::ZERO);
    }

    #[test]
    fn changes_are_undone_one_by_one_and_a_turn_of_the_wheel_as_one() {
        let at = |z: usize| {
            let mut view = view();
            view.go_to(2, z);
            Snapshot {
                view,
                layout: Layout::Three,
                layers: LayersView::default(),
            }
        };
        let mut history = History::default();
        // At rest at 0, then at 1; then a quick turn from 1 to 4.
        for (z, time) in [(0, 0.0), (1, 5.0), (2, 9.0), (3, 9.1), (4, 9.2)] {
            history.note(&at(z), time);
        }
        assert_eq!(history.undo(), Some(at(1)));
        history.note(&at(1), 20.0);
        assert_eq!(history.undo(), Some(at(0)));
        assert_eq!(history.undo(), None);
        assert_eq!(history.redo(), Some(at(1)));
        assert_eq!(history.redo(), Some(at(4)));
        assert_eq!(history.redo(), None);
    }
}
