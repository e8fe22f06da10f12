//! Many slices of one plane at once. The crosshair is drawn in the tile of its slice and nowhere else.

use eframe::egui::{self, PointerButton, Pos2, Rect, Sense, StrokeKind, Ui, Vec2};

use super::data::{Crop, mosaic};
use super::halves::{Look, PlacedSlice, paint_slice};
use super::overlay;
use super::pane::{swipe, wheel};
use super::ui::SlicesPanel;
use crate::image::plane::{PaneGeometry, Plane};
use crate::image::sample::Cut;
use crate::state::ViewState;
use crate::theme;

/// Where a tile lies and which slice it is.
struct Tile {
    rect: Rect,
    index: usize,
    geometry: PaneGeometry,
}

/// Shows the mosaic and lets it change the view.
pub(super) fn mosaic_ui(
    ui: &mut Ui,
    plane: Plane,
    panel: &mut SlicesPanel<'_>,
    view: &mut ViewState,
) {
    let (rect, response) = ui.allocate_exact_size(ui.available_size(), Sense::click_and_drag());
    let through = plane.axes()[2];
    let (tiles, scale) = tiles(ui.ctx(), rect, plane, panel, view);
    let tile_at = |point: Pos2| tiles.iter().find(|tile| tile.rect.contains(point));
    let pressed =
        response.is_pointer_button_down_on() && ui.input(|input| input.pointer.primary_down());
    let under = response.interact_pointer_pos().and_then(tile_at);
    let pane = under.map_or(rect, |tile| tile.rect);
    let swiping = swipe(ui, &response, pressed.then_some(pane), view);
    if (pressed || response.clicked())
        && !swiping
        && let (Some(point), Some(tile)) = (response.interact_pointer_pos(), under)
    {
        go_to(plane, tile, point, view);
        response.request_focus();
    }
    if response.dragged_by(PointerButton::Secondary) {
        view.drag_window(response.drag_delta(), panel.settings.level_drag);
    }
    if response.dragged_by(PointerButton::Middle) {
        view.pan_by(plane, response.drag_delta() / scale);
    }
    if let Some(point) = response.hover_pos().filter(|_| response.contains_pointer()) {
        let middle = tile_at(point).map_or(point, |tile| tile.rect.center());
        let place = (plane, (point - middle) / scale);
        wheel(ui, &response, place, panel.settings.wheel, view);
    }
    view.active = plane;
    let n = tiles.len();
    response.widget_info(|| {
        let at = view.crosshair[through] + 1;
        egui::WidgetInfo {
            current_text_value: Some(format!("{n} slices, crosshair in slice {at}")),
            ..egui::WidgetInfo::labeled(egui::Role::Image, true, format!("{} mosaic", plane.name()))
        }
    });
    // What the input changed shows at once.
    let (tiles, scale) = self::tiles(ui.ctx(), rect, plane, panel, view);
    paint(ui, (rect, plane), (&tiles, scale), panel, view);
    if response.has_focus() {
        panel.focused = true;
        let painter = ui.painter_at(rect);
        painter.rect_stroke(rect, 0.0, theme::focus(), StrokeKind::Inside);
    }
}

fn go_to(plane: Plane, tile: &Tile, point: Pos2, view: &mut ViewState) {
    let [column_axis, row_axis, through] = plane.axes();
    let [column, row] = tile.geometry.voxel_at(point);
    view.go_to(column_axis, column);
    view.go_to(row_axis, row);
    view.go_to(through, tile.index);
}

fn tiles(
    ctx: &egui::Context,
    rect: Rect,
    plane: Plane,
    panel: &SlicesPanel<'_>,
    view: &ViewState,
) -> (Vec<Tile>, f32) {
    let (scene, sides) = (panel.scene, panel.settings.sides);
    let through = plane.axes()[2];
    let crop = Crop::of(scene, plane, sides);
    let mosaic = mosaic(
        scene.content[through],
        view.crosshair[through],
        panel.settings.mosaic.0,
        rect.size(),
        crop.size_mm,
    );
    let size = rect.size() / Vec2::new(mosaic.columns as f32, mosaic.rows.max(1) as f32);
    let room = (size - Vec2::splat(2.0)).max(Vec2::splat(1.0)) / crop.size_mm;
    let scale = room.x.min(room.y).max(1e-3) * view.zoom;
    let middle = (view.pan_mm[plane.position()] - crop.middle_mm) * scale;
    let points_per_pixel = 1.0 / ctx.pixels_per_point();
    let tile = |(i, index): (usize, usize)| {
        let place = Vec2::new((i % mosaic.columns) as f32, (i / mosaic.columns) as f32);
        let corner = |place: Vec2| {
            // Between pixels nothing would be painted.
            let at = (rect.min + place * size).to_vec2() / points_per_pixel;
            (at.round() * points_per_pixel).to_pos2()
        };
        let rect = Rect::from_min_max(corner(place), corner(place + Vec2::splat(1.0)));
        let center = rect.center() + middle;
        Tile {
            rect,
            index,
            geometry: PaneGeometry::new(&scene.grid, plane, sides, center, scale),
        }
    };
    (
        mosaic.slices.into_iter().enumerate().map(tile).collect(),
        scale,
    )
}

fn paint(
    ui: &Ui,
    (rect, plane): (Rect, Plane),
    (tiles, scale): (&[Tile], f32),
    panel: &mut SlicesPanel<'_>,
    view: &ViewState,
) {
    let [column_axis, row_axis, through] = plane.axes();
    let (scene, settings) = (panel.scene, panel.settings);
    let look = Look {
        scene,
        settings,
        view,
        budget: panel.budget,
    };
    let painter = ui.painter_at(rect);
    if let Some(last) = tiles.last() {
        let free = Rect::from_min_max(last.rect.right_top(), rect.max);
        overlay::ground(&painter, free, Rect::NOTHING);
    }
    let textures = &mut panel.textures.mosaic;
    textures.resize_with(tiles.len(), Default::default);
    for (tile, textures) in tiles.iter().zip(textures) {
        let painter = painter.with_clip_rect(tile.rect);
        let slice = PlacedSlice {
            pane: tile.rect,
            image: tile.geometry.image,
            cut: Cut {
                plane,
                index: tile.index,
            },
        };
        paint_slice(ui, &painter, &slice, textures, look);
        // What is on the screen decides: a texture may be a frame behind.
        let shown = textures[0].shown();
        let shown = shown.map_or(tile.index, |params| params.cut.index);
        if shown == view.crosshair[through] {
            if settings.marks.crosshair {
                let at = [view.crosshair[column_axis], view.crosshair[row_axis]];
                overlay::crosshair(&painter, tile.rect, tile.geometry.point_at(at));
            }
            painter.rect_stroke(tile.rect, 0.0, theme::focus(), StrokeKind::Inside);
        }
        let mut index = [0; 3];
        index[through] = shown;
        let mm = scene.grid.world_mm(index)[through];
        overlay::title(&painter, tile.rect, &format!("{}   {mm:.0} mm", shown + 1));
        if settings.marks.letters {
            let [left, right, _, _] = plane.letters(settings.sides);
            overlay::letters(
                &painter,
                tile.rect,
                [left, right, ' ', ' '],
                theme::SMALL_SIZE,
            );
        }
    }
    overlay::badge(&painter, rect, settings.sides.convention.name());
    if settings.marks.scale_bar {
        let width = tiles.first().map_or(rect.width(), |tile| tile.rect.width());
        overlay::scale_bar(&painter, rect, width, scale);
    }
}
