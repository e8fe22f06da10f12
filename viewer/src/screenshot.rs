//! A picture of the viewer without a window: no display and no graphics driver are needed.

use std::path::Path;

use brainage_pipelines::atomic::write_atomically;
use eframe::egui::{self, Color32, ColorImage, Pos2, Rect, Vec2};

use crate::app::Viewer;
use crate::raster::Raster;
use crate::{Error, ViewerParams};

/// Smallest and largest side of a picture, in pixels.
const SIDE: [u32; 2] = [200, 8192];

/// Passes after which the layout has settled; a later one changes nothing any more.
const PASSES: usize = 4;

/// Writes what the viewer shows of its first subject as a PNG file of `[width, height]` pixels.
///
/// A scan that cannot be read makes no error: the picture says why.
///
/// # Errors
/// [`Error::PictureSize`] for sides too small or too large, [`Error::Thread`] where the system gives
/// no thread to read with, [`Error::Picture`] if the file cannot be written.
pub fn screenshot(params: ViewerParams, path: &Path, size: [u32; 2]) -> Result<(), Error> {
    if size.iter().any(|side| !(SIDE[0]..=SIDE[1]).contains(side)) {
        return Err(Error::PictureSize {
            found: size,
            limits: SIDE,
        });
    }
    let picture = draw(params, size).map_err(Error::Thread)?;
    let written = |source| Error::Picture {
        path: path.to_path_buf(),
        source,
    };
    let png = encode(&picture, size).map_err(|error| written(error.into()))?;
    write_atomically(path, |file| file.write_all(&png)).map_err(written)
}

/// Lays the viewer out until it has settled, and paints it.
fn draw(params: ViewerParams, size: [u32; 2]) -> std::io::Result<ColorImage> {
    let ctx = egui::Context::default();
    let mut viewer = Viewer::new(&ctx, params)?;
    viewer.finish_loading();
    let size_points = Vec2::new(size[0] as f32, size[1] as f32);
    let mut raster = Raster::default();
    let mut shapes = Vec::new();
    for pass in 0..PASSES {
        let input = egui::RawInput {
            screen_rect: Some(Rect::from_min_size(Pos2::ZERO, size_points)),
            // A second a pass: whatever moves has come to rest.
            time: Some(pass as f64),
            max_texture_side: Some(SIDE[1] as usize),
            ..Default::default()
        };
        let mut output = ctx.run_ui(input, |ui| viewer.ui(ui));
        raster.update(&mut output.textures_delta);
        shapes = output.shapes;
    }
    let primitives = ctx.tessellate(shapes, 1.0);
    Ok(raster.paint(
        size.map(|side| side as usize),
        1.0,
        Color32::BLACK,
        &primitives,
    ))
}

fn encode(picture: &ColorImage, [width, height]: [u32; 2]) -> Result<Vec<u8>, png::EncodingError> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width, height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    let rgb: Vec<u8> = picture
        .pixels
        .iter()
        .flat_map(|c| [c.r(), c.g(), c.b()])
        .collect();
    encoder.write_header()?.write_image_data(&rgb)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Subject, phantom};

    fn params(path: &Path) -> ViewerParams {
        let subjects = vec![Subject::from_path(path.to_path_buf())];
        ViewerParams {
            subjects,
            predictor: None,
            title: "test".into(),
        }
    }

    #[test]
    fn a_picture_of_a_scan_has_the_size_asked_for_and_shows_its_grey_values() {
        let folder = tempfile::tempdir().unwrap();
        let scan = folder.path().join("a.nii");
        phantom::write(&scan, [8, 9, 10]);
        let file = folder.path().join("a.png");
        screenshot(params(&scan), &file, [1400, 900]).unwrap();
        let reader = std::io::BufReader::new(std::io::Cursor::new(fs_err::read(&file).unwrap()));
        let mut reader = png::Decoder::new(reader).read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut pixels).unwrap();
        assert_eq!((info.width, info.height), (1400, 900));
        // The ten axial slices differ by 100 and their rows by 10: in the upright planes each has a grey
        // of its own, over an area that no letter covers.
        let mut n_pixels = [0; 256];
        for pixel in pixels.chunks(3).filter(|p| p[0] == p[1] && p[1] == p[2]) {
            n_pixels[usize::from(pixel[0])] += 1;
        }
        let n_greys = n_pixels.iter().filter(|n| **n > 500).count();
        assert!(n_greys >= 10, "{n_greys} greys");
    }

    #[test]
    fn an_unreadable_scan_still_gives_a_picture() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.png");
        screenshot(params(Path::new("/nowhere/a.nii")), &file, [400, 300]).unwrap();
        assert!(file.is_file());
    }

    #[test]
    fn a_picture_without_an_area_is_refused() {
        let refused = screenshot(params(Path::new("a.nii")), Path::new("a.png"), [0, 300]);
        assert!(matches!(
            refused,
            Err(Error::PictureSize {
                found: [0, 300],
                ..
            })
        ));
    }
}
