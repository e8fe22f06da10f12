//! One slice in its pane or tile: before preprocessing and, right of the line of the swipe, after it, with the outline of
//! the mask.

use eframe::egui::{Color32, Painter, Pos2, Rect, Ui, pos2};

use super::overlay;
use super::texture::{Budget, SliceTexture};
use crate::image::compose::{Half, SliceParams};
use crate::image::sample::Cut;
use crate::image::scene::Scene;
use crate::settings::Settings;
use crate::state::ViewState;

/// A texture's whole area.
const WHOLE: Rect = Rect::from_min_max(Pos2::ZERO, Pos2::new(1.0, 1.0));

/// Which slice is shown where.
pub(super) struct PlacedSlice {
    /// The pane or tile.
    pub(super) pane: Rect,
    /// The whole slice; reaches beyond the pane when zoomed.
    pub(super) image: Rect,
    /// The slice.
    pub(super) cut: Cut,
}

/// What all slices of a window have in common.
#[derive(Clone, Copy)]
pub(super) struct Look<'a> {
    /// What is shown.
    pub(super) scene: &'a Scene,
    /// How.
    pub(super) settings: &'a Settings,
    /// Where.
    pub(super) view: &'a ViewState,
    /// How long making slices may take.
    pub(super) budget: Budget,
}

impl Look<'_> {
    fn params(&self, cut: Cut, half: Half) -> SliceParams {
        SliceParams {
            cut,
            sides: self.settings.sides,
            window_level: self.view.window_level,
            interpolation: self.settings.interpolation,
            layers: self.settings.layers,
            half,
        }
    }
}

/// Paints a slice.
pub(super) fn paint_slice(
    ui: &Ui,
    painter: &Painter,
    slice: &PlacedSlice,
    [before, after]: &mut [SliceTexture; 2],
    look: Look<'_>,
) {
    let (scene, budget) = (look.scene, look.budget);
    let PlacedSlice { pane, image, cut } = *slice;
    overlay::ground(painter, pane, image);
    let texture = before.get(ui.ctx(), scene, &look.params(cut, Half::Before), budget);
    painter.image(texture, image, WHOLE, Color32::WHITE);
    let divider = look.view.swipe.filter(|_| scene.after.is_some());
    let divider = divider.map(|share| pane.left() + share * pane.width());
    if let Some(x) = divider {
        let texture = after.get(ui.ctx(), scene, &look.params(cut, Half::After), budget);
        let right = Rect::from_min_max(pos2(x, pane.top()), pane.max);
        let painter = painter.with_clip_rect(right.intersect(painter.clip_rect()));
        painter.image(texture, image, WHOLE, Color32::WHITE);
    }
    let opacity = look.settings.layers.mask.opacity;
    let size = cut.size(&scene.grid);
    overlay::outline(painter, image, size, before.outline(), opacity);
    if let Some(x) = divider {
        overlay::swipe(painter, pane, x);
    }
}
