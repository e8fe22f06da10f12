//! Draws an interface without a window: no display and no graphics driver are needed.

use eframe::egui::{self, ColorImage, Pos2, Rect, Ui, Vec2};

use crate::raster::Raster;

/// Passes after which the layout has settled; a later one changes nothing any more.
const PASSES: usize = 4;
/// Largest side of a texture.
const TEXTURE_SIDE: usize = 8192;

/// Lays an interface out until it has settled, and paints it.
///
/// # Units
/// `size` in pixels, of which a point has `scale`.
pub(crate) fn draw(
    ctx: &egui::Context,
    size: [usize; 2],
    scale: f32,
    mut ui: impl FnMut(&mut Ui),
) -> ColorImage {
    let size_points = Vec2::new(size[0] as f32, size[1] as f32) / scale;
    let mut raster = Raster::default();
    let mut shapes = Vec::new();
    for pass in 0..PASSES {
        let mut input = egui::RawInput {
            screen_rect: Some(Rect::from_min_size(Pos2::ZERO, size_points)),
            // A second a pass: whatever moves has come to rest.
            time: Some(pass as f64),
            max_texture_side: Some(TEXTURE_SIDE),
            ..Default::default()
        };
        let window = input.viewports.entry(egui::ViewportId::ROOT).or_default();
        window.native_pixels_per_point = Some(scale);
        let mut output = ctx.run_ui(input, &mut ui);
        raster.update(&mut output.textures_delta);
        shapes = output.shapes;
    }
    let primitives = ctx.tessellate(shapes, scale);
    let ground = ctx.global_style().visuals.panel_fill;
    raster.paint(size, scale, ground, &primitives)
}

/// A picture as the bytes of a PNG file.
///
/// # Errors
/// What the encoder answered.
pub(crate) fn png_bytes(picture: &ColorImage) -> Result<Vec<u8>, png::EncodingError> {
    let mut bytes = Vec::new();
    let [width, height] = picture.size.map(|side| side as u32);
    let mut encoder = png::Encoder::new(&mut bytes, width, height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    let pixels = picture.pixels.iter();
    let rgb: Vec<u8> = pixels.flat_map(|c| [c.r(), c.g(), c.b()]).collect();
    encoder.write_header()?.write_image_data(&rgb)?;
    Ok(bytes)
}
