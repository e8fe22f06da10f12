//! One slice plane on the screen: painted, and moved by mouse, keyboard and screen readers.
//!
//! Left press or drag moves the crosshair, the wheel steps through slices, a right drag sets window
//! and level, a middle drag moves the picture, Ctrl + wheel zooms, a double click shows it whole.

use eframe::egui::{
    self, Align2, Color32, FontId, Key, Modifiers, PointerButton, Pos2, Rect, Response, Sense,
    StrokeKind, TextureOptions, Ui, Vec2, accesskit,
};

use crate::loader::LoadedScan;
use crate::slice::{PaneGeometry, Plane, SliceParams, draw_slice};
use crate::state::{ViewState, points_per_mm};
use crate::theme;

/// A slice on the graphics card, uploaded only when what it shows has changed.
#[derive(Default)]
pub(crate) struct SliceTexture {
    handle: Option<egui::TextureHandle>,
    shown: Option<(u64, SliceParams)>,
    /// How often a picture was handed to the graphics card.
    pub(crate) n_uploads: usize,
}

impl SliceTexture {
    /// The texture of a slice; `scan_id` differs between scans.
    fn get(
        &mut self,
        ctx: &egui::Context,
        scan_id: u64,
        scan: &LoadedScan,
        params: SliceParams,
    ) -> egui::TextureId {
        if let Some(handle) = &mut self.handle {
            if self.shown != Some((scan_id, params)) {
                handle.set(
                    draw_slice(&scan.volume, None, params),
                    TextureOptions::NEAREST,
                );
                self.shown = Some((scan_id, params));
                self.n_uploads += 1;
            }
            return handle.id();
        }
        let image = draw_slice(&scan.volume, None, params);
        let handle = ctx.load_texture(params.plane.name(), image, TextureOptions::NEAREST);
        let id = handle.id();
        self.handle = Some(handle);
        self.shown = Some((scan_id, params));
        self.n_uploads += 1;
        id
    }
}

/// The scan of a pane, and which of the planes it is.
pub(crate) struct Pane<'a> {
    /// What is shown.
    pub(crate) scan: &'a LoadedScan,
    /// Differs between scans.
    pub(crate) scan_id: u64,
    /// Position in [`Plane::ALL`].
    pub(crate) position: usize,
    /// Its texture.
    pub(crate) texture: &'a mut SliceTexture,
}

impl Pane<'_> {
    fn plane(&self) -> Plane {
        Plane::ALL[self.position]
    }

    fn geometry(&self, rect: Rect, view: &ViewState) -> PaneGeometry {
        let room = (rect.size() - Vec2::splat(2.0 * theme::PANE_MARGIN)).max(Vec2::splat(1.0));
        let scale = points_per_mm(&self.scan.volume, room) * view.zoom;
        let center = rect.center() + view.pan[self.position];
        PaneGeometry::new(
            &self.scan.volume,
            self.plane(),
            view.convention,
            center,
            scale,
        )
    }

    /// Shows the pane and lets it change the view.
    pub(crate) fn ui(mut self, ui: &mut Ui, size: Vec2, view: &mut ViewState) -> Response {
        let (rect, mut response) = ui.allocate_exact_size(size, Sense::click_and_drag());
        let before = view.clone();
        self.mouse(ui, &response, view);
        if response.has_focus() {
            self.keyboard(ui, &response, view);
        }
        self.screen_reader(ui, &response, view);
        if *view != before {
            response.mark_changed();
        }
        if ui.is_rect_visible(rect) {
            self.paint(ui, rect, &response, view);
        }
        response
    }

    fn mouse(&self, ui: &Ui, response: &Response, view: &mut ViewState) {
        let [column_axis, row_axis, through] = self.plane().axes();
        let rect = response.rect;
        let pressed =
            response.is_pointer_button_down_on() && ui.input(|input| input.pointer.primary_down());
        // A quick click is pressed and released between two frames: it is never seen as down.
        if (pressed || response.clicked())
            && let Some(point) = response.interact_pointer_pos()
        {
            let [column, row] = self.geometry(rect, view).voxel_at(point);
            view.go_to(column_axis, column);
            view.go_to(row_axis, row);
            response.request_focus();
        }
        if response.dragged_by(PointerButton::Secondary) {
            view.drag_window(response.drag_delta());
        }
        if response.dragged_by(PointerButton::Middle) {
            view.pan[self.position] += response.drag_delta();
        }
        if response.contains_pointer() {
            view.step(through, wheel_notches(ui, response.id));
            let factor = ui.input(egui::InputState::zoom_delta);
            if factor != 1.0
                && let Some(point) = response.hover_pos()
            {
                view.zoom_by(factor, self.position, point - rect.center());
            }
        }
        if response.double_clicked() {
            view.reset_zoom();
        }
    }

    fn keyboard(&self, ui: &Ui, response: &Response, view: &mut ViewState) {
        let through = self.plane().axes()[2];
        // Else the arrows would move the focus to another widget.
        let filter = egui::EventFilter {
            vertical_arrows: true,
            ..Default::default()
        };
        ui.memory_mut(|memory| memory.set_focus_lock_filter(response.id, filter));
        ui.input_mut(|input| {
            for (key, by) in [
                (Key::ArrowUp, 1),
                (Key::ArrowDown, -1),
                (Key::PageUp, 10),
                (Key::PageDown, -10),
            ] {
                let n = input.count_and_consume_key(Modifiers::NONE, key) as isize;
                view.step(through, n * by);
            }
        });
    }

    fn screen_reader(&self, ui: &Ui, response: &Response, view: &mut ViewState) {
        use accesskit::{Action, ActionData};
        let through = self.plane().axes()[2];
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
        let n_slices = self.scan.volume.shape().0[through];
        let index = view.crosshair[through];
        let value = self.scan.volume.get(view.crosshair).unwrap_or(f32::NAN);
        response.widget_info(|| egui::WidgetInfo {
            current_text_value: Some(format!("{} of {n_slices}, intensity {value:.0}", index + 1)),
            ..egui::WidgetInfo::slider(true, index as f64, format!("{} slice", self.plane().name()))
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

    fn paint(&mut self, ui: &Ui, rect: Rect, response: &Response, view: &ViewState) {
        let plane = self.plane();
        let [column_axis, row_axis, through] = plane.axes();
        let params = SliceParams {
            plane,
            index: view.crosshair[through],
            convention: view.convention,
            window_level: view.window_level,
        };
        let geometry = self.geometry(rect, view);
        let texture = self.texture.get(ui.ctx(), self.scan_id, self.scan, params);
        let painter = ui.painter_at(rect);
        painter.rect_filled(rect, 0.0, theme::PANE);
        let whole = Rect::from_min_max(Pos2::ZERO, Pos2::new(1.0, 1.0));
        painter.image(texture, geometry.image, whole, Color32::WHITE);
        let cross = geometry.point_at([view.crosshair[column_axis], view.crosshair[row_axis]]);
        painter.hline(rect.x_range(), cross.y, theme::crosshair());
        painter.vline(cross.x, rect.y_range(), theme::crosshair());

        let letter_font = FontId::proportional(theme::LETTER_SIZE);
        let [left, right, top, bottom] = plane.letters(view.convention);
        for (letter, align, at) in [
            (
                left,
                Align2::LEFT_CENTER,
                rect.left_center() + Vec2::new(5.0, 0.0),
            ),
            (
                right,
                Align2::RIGHT_CENTER,
                rect.right_center() - Vec2::new(5.0, 0.0),
            ),
            (
                top,
                Align2::CENTER_TOP,
                rect.center_top() + Vec2::new(0.0, 3.0),
            ),
            (
                bottom,
                Align2::CENTER_BOTTOM,
                rect.center_bottom() - Vec2::new(0.0, 3.0),
            ),
        ] {
            painter.text(at, align, letter, letter_font.clone(), theme::LETTER);
        }
        let n_slices = self.scan.volume.shape().0[through];
        let title = format!("{} {} / {n_slices}", plane.name(), params.index + 1);
        let small = FontId::proportional(theme::SMALL_SIZE);
        painter.text(
            rect.min + Vec2::splat(6.0),
            Align2::LEFT_TOP,
            title,
            small,
            theme::TEXT,
        );
        if response.has_focus() {
            painter.rect_stroke(rect, 0.0, theme::focus(), StrokeKind::Inside);
        }
    }
}

/// Whole wheel notches since the last frame, away from the user positive; the rest is kept in egui's memory.
///
/// egui's smoothed scrolling spreads a notch over several frames and cannot be counted.
fn wheel_notches(ui: &Ui, id: egui::Id) -> isize {
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
            } if !modifiers.command => Some(match unit {
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
