//! One slice plane on the screen: painted, and moved by mouse and screen readers.

use eframe::egui::{self, PointerButton, Rect, Response, Sense, StrokeKind, Ui, Vec2, accesskit};

use super::data::number;
use super::halves::{Look, PlacedSlice, paint_slice};
use super::overlay;
use super::ui::SlicesPanel;
use crate::commands::Command;
use crate::image::plane::{PaneGeometry, Plane, points_per_mm};
use crate::image::sample::Cut;
use crate::settings::{Layout, WheelAction};
use crate::state::ViewState;
use crate::theme;

/// How far beside the line of the swipe a press still takes it, in points.
const SWIPE_REACH: f32 = 8.0;

/// Shows the pane of a plane and lets it change the view.
pub(super) fn pane_ui(
    ui: &mut Ui,
    size: Vec2,
    plane: Plane,
    panel: &mut SlicesPanel<'_>,
    view: &mut ViewState,
) -> Option<Command> {
    let (rect, mut response) = ui.allocate_exact_size(size, Sense::click_and_drag());
    let before = view.clone();
    mouse(ui, &response, plane, panel, view);
    if response.has_focus() {
        view.active = plane;
        panel.focused = true;
        // Else the arrows would move the focus to another widget.
        let filter = egui::EventFilter {
            vertical_arrows: true,
            horizontal_arrows: true,
            ..Default::default()
        };
        ui.memory_mut(|memory| memory.set_focus_lock_filter(response.id, filter));
    }
    screen_reader(ui, &response, plane, panel, view);
    if *view != before {
        response.mark_changed();
    }
    if ui.is_rect_visible(rect) {
        paint(ui, &response, plane, panel, view);
    }
    response
        .double_clicked()
        .then_some(Command::Maximize(plane))
}

fn geometry(
    rect: Rect,
    plane: Plane,
    panel: &SlicesPanel<'_>,
    view: &ViewState,
) -> (PaneGeometry, f32) {
    let room = (rect.size() - Vec2::splat(2.0 * theme::PANE_MARGIN)).max(Vec2::splat(1.0));
    let grid = &panel.scene.grid;
    let scale = points_per_mm(grid, &panel.settings.layout.planes(), room) * view.zoom;
    let center = rect.center() + view.pan_mm[plane.position()] * scale;
    (
        PaneGeometry::new(grid, plane, panel.settings.sides, center, scale),
        scale,
    )
}

fn mouse(
    ui: &Ui,
    response: &Response,
    plane: Plane,
    panel: &SlicesPanel<'_>,
    view: &mut ViewState,
) {
    let [column_axis, row_axis, _] = plane.axes();
    let rect = response.rect;
    let (geometry, scale) = geometry(rect, plane, panel, view);
    let pressed =
        response.is_pointer_button_down_on() && ui.input(|input| input.pointer.primary_down());
    let swiping = swipe(ui, response, pressed.then_some(rect), view);
    // A quick click is pressed and released between two frames: it is never seen as down.
    if (pressed || response.clicked())
        && !swiping
        && let Some(point) = response.interact_pointer_pos()
    {
        let [column, row] = geometry.voxel_at(point);
        view.go_to(column_axis, column);
        view.go_to(row_axis, row);
        view.active = plane;
        response.request_focus();
    }
    if response.dragged_by(PointerButton::Secondary) {
        view.drag_window(response.drag_delta(), panel.settings.level_drag);
    }
    if response.dragged_by(PointerButton::Middle) {
        view.pan_by(plane, response.drag_delta() / scale);
    }
    if let Some(point) = response.hover_pos().filter(|_| response.contains_pointer()) {
        let about_mm = (point - rect.center()) / scale;
        wheel(ui, response, (plane, about_mm), panel.settings.wheel, view);
    }
}

/// Whether the press is on the line between before and after, which it then moves; `pane` is where the pointer is down.
pub(super) fn swipe(
    ui: &Ui,
    response: &Response,
    pane: Option<Rect>,
    view: &mut ViewState,
) -> bool {
    let (Some(share), Some(point)) = (view.swipe, response.interact_pointer_pos()) else {
        return false;
    };
    let id = response.id.with("swipe");
    if ui.input(|input| input.pointer.primary_pressed()) {
        let is_near = |pane: &Rect| {
            let x = pane.left() + share * pane.width();
            (point.x - x).abs() <= SWIPE_REACH
        };
        // Kept while the button is down, also where the pointer leaves the pane.
        ui.data_mut(|data| data.insert_temp(id, pane.filter(is_near)));
    }
    let held = ui.data(|data| data.get_temp::<Option<Rect>>(id)).flatten();
    if let (Some(held), Some(_)) = (held, pane) {
        view.swipe = Some(((point.x - held.left()) / held.width()).clamp(0.02, 0.98));
    }
    held.is_some()
}

/// Goes through slices or zooms about a place, in mm on the screen from the middle of what is under the pointer.
pub(super) fn wheel(
    ui: &Ui,
    response: &Response,
    (plane, about_mm): (Plane, Vec2),
    action: WheelAction,
    view: &mut ViewState,
) {
    let (steps, zoom) = match action {
        WheelAction::Slices => (
            wheel_notches(ui, response.id, false),
            ui.input(egui::InputState::zoom_delta),
        ),
        WheelAction::Zoom => {
            let notches = wheel_notches(ui, response.id, false);
            let slices = wheel_notches(ui, response.id.with("ctrl"), true);
            (slices, 1.1f32.powi(notches as i32))
        }
    };
    if steps != 0 {
        view.step(plane.axes()[2], steps);
        view.active = plane;
    }
    if zoom != 1.0 {
        view.zoom_by(zoom, plane, about_mm);
    }
}

fn screen_reader(
    ui: &Ui,
    response: &Response,
    plane: Plane,
    panel: &SlicesPanel<'_>,
    view: &mut ViewState,
) {
    use accesskit::{Action, ActionData};
    let through = plane.axes()[2];
    ui.input_mut(|input| {
        input.consume_accesskit_action_requests(response.id, |request| {
            match (request.action, &request.data) {
                (Action::Increment, _) => view.step(through, 1),
                (Action::Decrement, _) => view.step(through, -1),
                (Action::SetValue, Some(ActionData::NumericValue(index))) => {
                    view.go_to(through, *index as usize);
                }
                _ => return false,
            }
            true
        });
    });
    let n_slices = panel.scene.grid.shape[through];
    let index = view.crosshair[through];
    let value = panel.scene.value(view.crosshair);
    response.widget_info(|| egui::WidgetInfo {
        current_text_value: Some(format!(
            "{} of {n_slices}, intensity {}",
            index + 1,
            value.map_or("none".to_owned(), number)
        )),
        ..egui::WidgetInfo::slider(true, index as f64, format!("{} slice", plane.name()))
    });
    ui.ctx().accesskit_node_builder(response.id, |node| {
        node.set_min_numeric_value(0.0);
        node.set_max_numeric_value(n_slices.saturating_sub(1) as f64);
        node.set_numeric_value_step(1.0);
        for action in [Action::Increment, Action::Decrement, Action::SetValue] {
            node.add_action(action);
        }
    });
}

fn paint(
    ui: &Ui,
    response: &Response,
    plane: Plane,
    panel: &mut SlicesPanel<'_>,
    view: &ViewState,
) {
    let rect = response.rect;
    let [column_axis, row_axis, through] = plane.axes();
    let (geometry, scale) = geometry(rect, plane, panel, view);
    let (scene, settings) = (panel.scene, panel.settings);
    let look = Look {
        scene,
        settings,
        view,
        budget: panel.budget,
    };
    let slice = PlacedSlice {
        pane: rect,
        image: geometry.image,
        cut: Cut {
            plane,
            index: view.crosshair[through],
        },
    };
    let painter = ui.painter_at(rect);
    let textures = &mut panel.textures.planes[plane.position()];
    paint_slice(ui, &painter, &slice, textures, look);
    if settings.marks.crosshair {
        let at = geometry.point_at([view.crosshair[column_axis], view.crosshair[row_axis]]);
        overlay::crosshair(&painter, rect, at);
    }
    if settings.marks.letters {
        let letters = plane.letters(settings.sides);
        overlay::letters(&painter, rect, letters, theme::LETTER_SIZE);
    }
    let mm = scene.grid.world_mm(view.crosshair)[through];
    let n_slices = scene.grid.shape[through];
    let index = view.crosshair[through] + 1;
    let title = format!("{} {index} / {n_slices}\n{mm:.1} mm", plane.name());
    overlay::title(&painter, rect, &title);
    if settings.layout != Layout::Three || plane != Plane::Sagittal {
        overlay::badge(&painter, rect, settings.sides.convention.name());
    }
    if settings.marks.scale_bar {
        overlay::scale_bar(&painter, rect, rect.width(), scale);
    }
    if response.has_focus() {
        painter.rect_stroke(rect, 0.0, theme::focus(), StrokeKind::Inside);
    }
}

/// Whole wheel notches since the last frame, away from the user positive; the rest is kept in egui's memory.
///
/// egui's smoothed scrolling spreads a notch over several frames and cannot be counted.
fn wheel_notches(ui: &Ui, id: egui::Id, with_command: bool) -> isize {
    let points_per_line = ui
        .ctx()
        .options(|options| options.input_options.line_scroll_speed);
    let lines: f32 = ui.input(|input| {
        let lines = |event: &egui::Event| match event {
            egui::Event::MouseWheel {
                unit,
                delta,
                modifiers,
                ..
            } if modifiers.command == with_command => Some(match unit {
                egui::MouseWheelUnit::Line => delta.y,
                egui::MouseWheelUnit::Point => delta.y / points_per_line,
                egui::MouseWheelUnit::Page => delta.y * 10.0,
            }),
            _ => None,
        };
        input.events.iter().filter_map(lines).sum()
    });
    if lines == 0.0 {
        return 0;
    }
    ui.data_mut(|data| {
        let rest = data.get_temp_mut_or_default::<f32>(id);
        if *rest * lines < 0.0 {
            *rest = 0.0;
        }
        *rest += lines;
        let whole = rest.trunc();
        *rest -= whole;
        whole as isize
    })
}
