//! Paints what egui has laid out into a picture, in software: no display, no graphics driver.
//!
//! Coverage is decided in integers, color in plain f32, so the pixels are the same on every run.
//! Paint callbacks (custom GL) cannot be drawn here; the viewer has none.

use std::collections::HashMap;

use eframe::egui::epaint::{ClippedPrimitive, ImageData, Mesh, Primitive, Vertex};
use eframe::egui::{
    Color32, ColorImage, Pos2, Rect, TextureFilter, TextureId, TextureOptions, TexturesDelta,
};

/// Steps in which a pixel's side is divided for the position of corners.
const SUBPIXELS: i64 = 256;

/// The textures of one egui context, as a graphics card would hold them.
#[derive(Default)]
pub(crate) struct Raster {
    textures: HashMap<TextureId, Texture>,
    freed: Vec<TextureId>,
}

struct Texture {
    image: ColorImage,
    options: TextureOptions,
}

impl Raster {
    /// Takes in the texture changes of one pass; those of every pass are needed, in order.
    pub(crate) fn update(&mut self, delta: &mut TexturesDelta) {
        for id in self.freed.drain(..) {
            self.textures.remove(&id);
        }
        for (id, change) in delta
            .set
            .drain()
            .flat_map(|(id, all)| all.into_iter().map(move |d| (id, d)))
        {
            let ImageData::Color(image) = change.image;
            match (change.pos, self.textures.get_mut(&id)) {
                (None, _) => {
                    let image = ColorImage::clone(&image);
                    self.textures.insert(
                        id,
                        Texture {
                            image,
                            options: change.options,
                        },
                    );
                }
                (Some(corner), Some(texture)) => patch(&mut texture.image, &image, corner),
                (Some(_), None) => {}
            }
        }
        // They may still be used by what is painted next.
        self.freed.extend(delta.free.drain());
    }

    /// Paints onto a ground of one color.
    ///
    /// # Units
    /// `size` in pixels; the primitives in points, `pixels_per_point` pixels each.
    pub(crate) fn paint(
        &self,
        size: [usize; 2],
        pixels_per_point: f32,
        ground: Color32,
        primitives: &[ClippedPrimitive],
    ) -> ColorImage {
        let mut picture = ColorImage::filled(size, ground);
        for ClippedPrimitive {
            clip_rect,
            primitive,
        } in primitives
        {
            if let Primitive::Mesh(mesh) = primitive
                && let Some(texture) = self.textures.get(&mesh.texture_id)
            {
                let clip = PixelRect::new(*clip_rect, pixels_per_point, size);
                paint_mesh(&mut picture, clip, mesh, texture, pixels_per_point);
            }
        }
        picture
    }
}

/// Copies `part` into `whole`; what lies outside is left out.
fn patch(whole: &mut ColorImage, part: &ColorImage, [left, top]: [usize; 2]) {
    let width = whole.width();
    for (y, row) in part.pixels.chunks_exact(part.width().max(1)).enumerate() {
        let start = (top + y) * width + left;
        if let Some(target) = whole.pixels.get_mut(start..start + row.len()) {
            target.copy_from_slice(row);
        }
    }
}

/// Pixels from `min` to before `max`.
#[derive(Clone, Copy)]
struct PixelRect {
    min: [i64; 2],
    max: [i64; 2],
}

impl PixelRect {
    fn new(rect: Rect, pixels_per_point: f32, [width, height]: [usize; 2]) -> Self {
        let pixel = |points: f32, limit: usize| {
            (points * pixels_per_point).round().clamp(0.0, limit as f32) as i64
        };
        Self {
            min: [pixel(rect.min.x, width), pixel(rect.min.y, height)],
            max: [pixel(rect.max.x, width), pixel(rect.max.y, height)],
        }
    }
}

/// One side of a triangle: positive on the inner side, linear in x and y.
#[derive(Clone, Copy)]
struct Side {
    /// Value at the first pixel center.
    start: i64,
    /// What a pixel to the right adds.
    step_x: i64,
    /// What a pixel down adds.
    step_y: i64,
}

impl Side {
    /// Twice the area between `from → to` and `point`; a point on the line itself belongs to
    /// top and left sides only, so that neighboring triangles never paint a pixel twice.
    fn new(from: [i64; 2], to: [i64; 2], point: [i64; 2]) -> Self {
        let (dx, dy) = (to[0] - from[0], to[1] - from[1]);
        let owns_its_line = dy < 0 || (dy == 0 && dx > 0);
        Self {
            start: doubled_area(from, to, point) - i64::from(!owns_its_line),
            step_x: -dy * SUBPIXELS,
            step_y: dx * SUBPIXELS,
        }
    }
}

fn doubled_area(a: [i64; 2], b: [i64; 2], c: [i64; 2]) -> i64 {
    (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
}

fn paint_mesh(
    picture: &mut ColorImage,
    clip: PixelRect,
    mesh: &Mesh,
    texture: &Texture,
    pixels_per_point: f32,
) {
    for corners in mesh.indices.chunks_exact(3) {
        let vertex = |i: usize| mesh.vertices.get(corners[i] as usize);
        if let (Some(a), Some(b), Some(c)) = (vertex(0), vertex(1), vertex(2)) {
            paint_triangle(picture, clip, [a, b, c], texture, pixels_per_point);
        }
    }
}

fn paint_triangle(
    picture: &mut ColorImage,
    clip: PixelRect,
    [a, mut b, mut c]: [&Vertex; 3],
    texture: &Texture,
    pixels_per_point: f32,
) {
    let place = |vertex: &Vertex| {
        [vertex.pos.x, vertex.pos.y]
            .map(|points| (points * pixels_per_point * SUBPIXELS as f32).round() as i64)
    };
    let at_a = place(a);
    let (mut at_b, mut at_c) = (place(b), place(c));
    if doubled_area(at_a, at_b, at_c) < 0 {
        std::mem::swap(&mut b, &mut c);
        std::mem::swap(&mut at_b, &mut at_c);
    }
    let area = doubled_area(at_a, at_b, at_c);
    let low = |axis: usize| {
        at_a[axis]
            .min(at_b[axis])
            .min(at_c[axis])
            .div_euclid(SUBPIXELS)
    };
    let high = |axis: usize| {
        at_a[axis]
            .max(at_b[axis])
            .max(at_c[axis])
            .div_euclid(SUBPIXELS)
            + 1
    };
    let [left, top] = [0, 1].map(|axis| low(axis).max(clip.min[axis]));
    let [right, bottom] = [0, 1].map(|axis| high(axis).min(clip.max[axis]));
    if area == 0 || left >= right || top >= bottom {
        return;
    }
    let first = [left, top].map(|pixel| pixel * SUBPIXELS + SUBPIXELS / 2);
    let sides =
        [(at_b, at_c), (at_c, at_a), (at_a, at_b)].map(|(from, to)| Side::new(from, to, first));
    let uniform = a.color == b.color && b.color == c.color;
    let flat = (a.uv == b.uv && b.uv == c.uv).then(|| texture.sample(a.uv));
    let width = picture.width();
    for y in top..bottom {
        let line = &mut picture.pixels[y as usize * width..][..width];
        for x in left..right {
            let weight = sides.map(|s| s.start + (x - left) * s.step_x + (y - top) * s.step_y);
            if weight.iter().any(|w| *w < 0) {
                continue;
            }
            let u = weight[0] as f32 / area as f32;
            let v = weight[1] as f32 / area as f32;
            let w = 1.0 - u - v;
            let texel = flat.unwrap_or_else(|| {
                texture.sample(
                    (a.uv.to_vec2() * u + b.uv.to_vec2() * v + c.uv.to_vec2() * w).to_pos2(),
                )
            });
            let tint = if uniform {
                a.color
            } else {
                mix([a.color, b.color, c.color], [u, v, w])
            };
            let pixel = &mut line[x as usize];
            *pixel = over(*pixel, multiply(texel, tint));
        }
    }
}

impl Texture {
    /// The color at a place from (0, 0), top left, to (1, 1).
    fn sample(&self, uv: Pos2) -> Color32 {
        let [width, height] = self.image.size;
        let texel = |x: f32, y: f32| {
            let column = (x.max(0.0) as usize).min(width.saturating_sub(1));
            let row = (y.max(0.0) as usize).min(height.saturating_sub(1));
            self.image
                .pixels
                .get(row * width + column)
                .copied()
                .unwrap_or(Color32::TRANSPARENT)
        };
        let (x, y) = (uv.x * width as f32, uv.y * height as f32);
        if self.options.magnification == TextureFilter::Nearest {
            return texel(x, y);
        }
        let (left, top) = ((x - 0.5).floor(), (y - 0.5).floor());
        let (right, down) = (x - 0.5 - left, y - 0.5 - top);
        let upper = mix2(texel(left, top), texel(left + 1.0, top), right);
        let lower = mix2(texel(left, top + 1.0), texel(left + 1.0, top + 1.0), right);
        mix2(upper, lower, down)
    }
}

fn mix2(a: Color32, b: Color32, share_of_b: f32) -> Color32 {
    if a == b {
        a
    } else {
        mix([a, b, b], [1.0 - share_of_b, share_of_b, 0.0])
    }
}

fn mix(colors: [Color32; 3], shares: [f32; 3]) -> Color32 {
    let channels = colors.map(|color| color.to_array());
    let [r, g, b, a] = [0, 1, 2, 3].map(|i| {
        let sum: f32 = channels
            .iter()
            .zip(shares)
            .map(|(c, share)| f32::from(c[i]) * share)
            .sum();
        (sum + 0.5) as u8
    });
    Color32::from_rgba_premultiplied(r, g, b, a)
}

/// `a · b / 255`, rounded.
fn scaled(a: u8, b: u8) -> u8 {
    ((u32::from(a) * u32::from(b) + 127) / 255) as u8
}

/// egui tints and blends gamma-encoded values with premultiplied alpha.
fn multiply(a: Color32, b: Color32) -> Color32 {
    let (a, b) = (a.to_array(), b.to_array());
    let [r, g, b, a] = [0, 1, 2, 3].map(|i| scaled(a[i], b[i]));
    Color32::from_rgba_premultiplied(r, g, b, a)
}

fn over(below: Color32, above: Color32) -> Color32 {
    if above.a() == 255 {
        return above;
    }
    let (below, above) = (below.to_array(), above.to_array());
    let [r, g, b, a] =
        [0, 1, 2, 3].map(|i| above[i].saturating_add(scaled(below[i], 255 - above[3])));
    Color32::from_rgba_premultiplied(r, g, b, a)
}

#[cfg(test)]
mod tests {
    use eframe::egui::epaint::textures::TextureOptions;
    use eframe::egui::{epaint::ImageDelta, pos2};

    use super::*;

    const ID: TextureId = TextureId::User(1);

    fn raster(image: ColorImage, options: TextureOptions) -> Raster {
        let mut delta = TexturesDelta::default();
        delta
            .set
            .entry(ID)
            .or_default()
            .push(ImageDelta::full(image, options));
        let mut raster = Raster::default();
        raster.update(&mut delta);
        raster
    }

    fn rectangle(rect: Rect, tint: Color32, clip_rect: Rect) -> ClippedPrimitive {
        let mut mesh = Mesh::with_texture(ID);
        mesh.add_rect_with_uv(rect, Rect::from_min_max(Pos2::ZERO, pos2(1.0, 1.0)), tint);
        ClippedPrimitive {
            clip_rect,
            primitive: Primitive::Mesh(mesh),
        }
    }

    #[test]
    fn a_half_transparent_rectangle_of_two_triangles_is_painted_once_and_clipped() {
        let white = ColorImage::filled([1, 1], Color32::WHITE);
        let tint = Color32::from_rgba_premultiplied(100, 0, 0, 128);
        let clip = Rect::from_min_max(Pos2::ZERO, pos2(4.0, 3.0));
        let rect = Rect::from_min_max(pos2(1.0, 1.0), pos2(6.0, 6.0));
        let picture = raster(white, TextureOptions::LINEAR).paint(
            [8, 8],
            1.0,
            Color32::from_gray(200),
            &[rectangle(rect, tint, clip)],
        );
        // 100 + 200·127/255 and 200·127/255.
        let blended = Color32::from_rgb(200, 100, 100);
        for (i, pixel) in picture.pixels.iter().enumerate() {
            let inside = (1..4).contains(&(i % 8)) && (1..3).contains(&(i / 8));
            let expected = if inside {
                blended
            } else {
                Color32::from_gray(200)
            };
            assert_eq!(pixel.to_array()[..3], expected.to_array()[..3], "pixel {i}");
        }
    }

    #[test]
    fn a_texture_is_shown_the_right_way_up_with_sharp_texels() {
        let colors: Vec<Color32> = [10, 20, 30, 40].map(Color32::from_gray).to_vec();
        let image = ColorImage::new([2, 2], colors);
        let whole = Rect::from_min_max(Pos2::ZERO, pos2(2.0, 2.0));
        let picture = raster(image, TextureOptions::NEAREST).paint(
            [4, 4],
            2.0,
            Color32::BLACK,
            &[rectangle(whole, Color32::WHITE, whole)],
        );
        let greys: Vec<u8> = picture.pixels.iter().map(Color32::r).collect();
        let expected = [
            10, 10, 20, 20, 10, 10, 20, 20, 30, 30, 40, 40, 30, 30, 40, 40,
        ];
        assert_eq!(greys, expected);
    }
}
