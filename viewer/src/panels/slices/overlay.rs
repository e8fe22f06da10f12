//! What is drawn over a slice: the mask's outline, crosshair, letters, title, badge, scale bar.

use eframe::egui::{Align2, Color32, FontId, Mesh, Painter, Pos2, Rect, Shape, Stroke, Vec2, pos2};

use super::data::scale_bar_mm;
use crate::image::compose::Segment;
use crate::theme;

/// Distance of text from the border of a pane, in points.
const MARGIN: f32 = 6.0;

/// Fills what a picture at `image` leaves free of a pane. Nothing is painted twice: without a graphics card, painting takes
/// most of a frame's time.
pub(super) fn ground(painter: &Painter, pane: Rect, image: Rect) {
    let mut mesh = Mesh::default();
    let image = image.intersect(pane);
    if image.is_positive() {
        let (above, below) = (image.top(), image.bottom());
        for [min, max] in [
            [pane.min, pos2(pane.right(), above)],
            [pos2(pane.left(), below), pane.max],
            [pos2(pane.left(), above), pos2(image.left(), below)],
            [pos2(image.right(), above), pos2(pane.right(), below)],
        ] {
            mesh.add_colored_rect(Rect::from_min_max(min, max), theme::PANE);
        }
    } else {
        mesh.add_colored_rect(pane, theme::PANE);
    }
    painter.add(Shape::mesh(mesh));
}

/// Draws the outline of a mask over the picture at `image`, which has `size` voxels.
pub(super) fn outline(
    painter: &Painter,
    image: Rect,
    size: [usize; 2],
    segments: &[Segment],
    opacity: f32,
) {
    let scale = image.size() / Vec2::new(size[0] as f32, size[1] as f32);
    let half = Vec2::splat(theme::OUTLINE_WIDTH / 2.0);
    let color = theme::MASK.gamma_multiply(opacity);
    let mut mesh = Mesh::default();
    let place =
        |[column, row]: [u16; 2]| image.min + Vec2::new(f32::from(column), f32::from(row)) * scale;
    for [from, to] in segments {
        let rect = Rect::from_min_max(place(*from) - half, place(*to) + half);
        mesh.add_colored_rect(rect, color);
    }
    painter.add(Shape::mesh(mesh));
}

/// Draws the lines of the crosshair, open in the middle so that what they mark can be seen.
pub(super) fn crosshair(painter: &Painter, pane: Rect, at: Pos2) {
    let (gap, stroke) = (theme::CROSSHAIR_GAP, theme::crosshair());
    // The letters at the borders stay free.
    let pane = pane.shrink(theme::PANE_MARGIN.min(pane.width() * 0.15));
    let lines = [
        [pos2(pane.left(), at.y), pos2(at.x - gap, at.y)],
        [pos2(at.x + gap, at.y), pos2(pane.right(), at.y)],
        [pos2(at.x, pane.top()), pos2(at.x, at.y - gap)],
        [pos2(at.x, at.y + gap), pos2(at.x, pane.bottom())],
    ];
    for [from, to] in lines {
        if from.x <= to.x && from.y <= to.y {
            painter.line_segment([from, to], stroke);
        }
    }
}

/// Writes the letters of the directions at the left, right, top and bottom border; none for a space.
pub(super) fn letters(painter: &Painter, pane: Rect, letters: [char; 4], size: f32) {
    let [left, right, top, bottom] = letters;
    let inset = Vec2::new(MARGIN, 0.0);
    let down = Vec2::new(0.0, 3.0);
    for (letter, align, at) in [
        (left, Align2::LEFT_CENTER, pane.left_center() + inset),
        (right, Align2::RIGHT_CENTER, pane.right_center() - inset),
        (top, Align2::CENTER_TOP, pane.center_top() + down),
        (bottom, Align2::CENTER_BOTTOM, pane.center_bottom() - down),
    ] {
        if letter != ' ' {
            shadowed(painter, at, align, &letter.to_string(), size, theme::LETTER);
        }
    }
}

/// Writes into the top left corner of a pane.
pub(super) fn title(painter: &Painter, pane: Rect, text: &str) {
    let at = pane.min + Vec2::splat(MARGIN);
    shadowed(
        painter,
        at,
        Align2::LEFT_TOP,
        text,
        theme::SMALL_SIZE,
        theme::PANE_TEXT,
    );
}

/// Writes which side is left into the bottom left corner.
pub(super) fn badge(painter: &Painter, pane: Rect, text: &str) {
    let at = pane.left_bottom() + Vec2::new(MARGIN, -MARGIN);
    shadowed(
        painter,
        at,
        Align2::LEFT_BOTTOM,
        text,
        theme::SMALL_SIZE,
        theme::LETTER,
    );
}

/// Draws a bar of a round number of millimeters, at most a third of a slice, into the bottom right corner.
pub(super) fn scale_bar(painter: &Painter, pane: Rect, slice_width: f32, points_per_mm: f32) {
    let mm = scale_bar_mm(points_per_mm, slice_width * 0.3);
    let right = pane.right_bottom() - Vec2::splat(MARGIN + 2.0);
    let left = right - Vec2::new(mm * points_per_mm, 0.0);
    let stroke = Stroke::new(2.0, theme::PANE_TEXT);
    painter.line_segment([left, right], stroke);
    for end in [left, right] {
        painter.line_segment([end, end - Vec2::new(0.0, 5.0)], stroke);
    }
    let text = if mm >= 10.0 {
        format!("{:.0} cm", mm / 10.0)
    } else {
        format!("{mm:.0} mm")
    };
    let middle = left.lerp(right, 0.5) - Vec2::new(0.0, 4.0);
    shadowed(
        painter,
        middle,
        Align2::CENTER_BOTTOM,
        &text,
        theme::SMALL_SIZE,
        theme::PANE_TEXT,
    );
}

/// Draws the line between before and after, and says which is which where there is room for it.
pub(super) fn swipe(painter: &Painter, pane: Rect, x: f32) {
    painter.vline(x, pane.y_range(), Stroke::new(2.0, Color32::WHITE));
    if pane.width() < theme::SMALL_PANE {
        return;
    }
    let handle = Rect::from_center_size(pos2(x, pane.center().y), Vec2::new(8.0, 28.0));
    painter.rect_filled(handle, 3.0, Color32::WHITE);
    let y = pane.top() + MARGIN + theme::SMALL_SIZE * 1.6;
    for (text, align, dx) in [
        ("before", Align2::RIGHT_TOP, -MARGIN),
        ("after", Align2::LEFT_TOP, MARGIN),
    ] {
        let at = pos2(x + dx, y);
        shadowed(
            painter,
            at,
            align,
            text,
            theme::SMALL_SIZE,
            theme::PANE_TEXT,
        );
    }
}

/// Text that can be read on black and on white: what is below it is darkened.
fn shadowed(painter: &Painter, at: Pos2, align: Align2, text: &str, size: f32, color: Color32) {
    let font = FontId::proportional(size);
    let text = painter.layout_no_wrap(text.to_owned(), font, color);
    let rect = align.anchor_size(at, text.size());
    painter.rect_filled(rect.expand2(Vec2::new(3.0, 0.0)), 3.0, theme::TEXT_GROUND);
    painter.galley(rect.min, text, color);
}
