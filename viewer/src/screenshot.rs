//! A picture of the whole viewer without a window: no display and no graphics driver are needed.

use std::path::Path;

use brainage_pipelines::atomic::write_atomically;
use eframe::egui;

use crate::app::Viewer;
use crate::offscreen::{draw, png_bytes};
use crate::{Error, ViewerParams};

/// Smallest and largest side of a picture, in pixels.
const SIDE: [u32; 2] = [200, 8192];

/// Writes what the viewer shows of its first subject as a PNG file of `[width, height]` pixels, of which a point of the
/// interface has `scale`.
///
/// A scan that cannot be read makes no error: the picture says why.
///
/// # Errors
/// [`Error::PictureSize`] for sides too small or too large, [`Error::Thread`] where the system gives
/// no thread to read with, [`Error::Picture`] if the file cannot be written.
pub fn screenshot(
    params: ViewerParams,
    path: &Path,
    size: [u32; 2],
    scale: f32,
) -> Result<(), Error> {
    if size.iter().any(|side| !(SIDE[0]..=SIDE[1]).contains(side)) {
        return Err(Error::PictureSize {
            found: size,
            limits: SIDE,
        });
    }
    let ctx = egui::Context::default();
    let mut viewer = Viewer::new(&ctx, params).map_err(Error::Thread)?;
    viewer.finish_loading(&ctx);
    let pixels = size.map(|side| side as usize);
    let picture = draw(&ctx, pixels, scale.clamp(0.5, 4.0), |ui| viewer.ui(ui));
    let written = |source| Error::Picture {
        path: path.to_path_buf(),
        source,
    };
    let png = png_bytes(&picture).map_err(|error| written(error.into()))?;
    write_atomically(path, |file| file.write_all(&png)).map_err(written)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Subject, phantom};

    fn params(path: &Path) -> ViewerParams {
        ViewerParams::new(vec![Subject::from_path(path.to_path_buf())])
    }

    #[test]
    fn a_picture_of_a_scan_has_the_size_asked_for_and_shows_its_gray_values() {
        let folder = tempfile::tempdir().unwrap();
        let scan = folder.path().join("a.nii");
        phantom::write(&scan, [8, 9, 10]);
        let file = folder.path().join("a.png");
        screenshot(params(&scan), &file, [1400, 900], 1.0).unwrap();
        let reader = std::io::BufReader::new(std::io::Cursor::new(fs_err::read(&file).unwrap()));
        let mut reader = png::Decoder::new(reader).read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut pixels).unwrap();
        assert_eq!((info.width, info.height), (1400, 900));
        // The ten axial slices differ by 100 and their rows by 10: in the upright planes each has a gray
        // of its own, over an area that no letter covers.
        let mut n_pixels = [0; 256];
        for pixel in pixels.chunks(3).filter(|p| p[0] == p[1] && p[1] == p[2]) {
            n_pixels[usize::from(pixel[0])] += 1;
        }
        let n_grays = n_pixels.iter().filter(|n| **n > 500).count();
        assert!(n_grays >= 10, "{n_grays} grays");
    }

    #[test]
    fn an_unreadable_scan_still_gives_a_picture() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.png");
        screenshot(params(Path::new("/nowhere/a.nii")), &file, [400, 300], 1.0).unwrap();
        assert!(file.is_file());
    }

    #[test]
    fn a_picture_without_an_area_is_refused() {
        let refused = screenshot(
            params(Path::new("a.nii")),
            Path::new("a.png"),
            [0, 300],
            1.0,
        );
        assert!(matches!(
            refused,
            Err(Error::PictureSize {
                found: [0, 300],
                ..
            })
        ));
    }
}
