//! A few pictures, compared with those of an earlier day: what no assertion about numbers would notice.
//!
//! The raster is integer arithmetic and plain f32, so the same program gives the same pixels; tolerated are differences of 2
//! of 255 anywhere (rounding on another processor) and larger ones in 0.1 % of the pixels (borders of glyphs).
//! `UPDATE_SNAPSHOTS=1` writes the pictures anew: look at them before they are committed.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use brainage_pipelines::{Affine, Mask, Volume, VoxelShape};
use eframe::egui::{ColorImage, Vec2};

use crate::image::plane::Plane;
use crate::image::scene::{Placed, Scene, Voxels};
use crate::image::window_level::Presets;
use crate::offscreen::png_bytes;
use crate::panels::slices::ui::Info;
use crate::picture::{PictureParams, picture};
use crate::settings::{Layout, Settings};
use crate::state::ViewState;

const SHAPE: VoxelShape = VoxelShape([40, 48, 40]);

/// A round head with a bright ball at its left, so that a turned picture is another picture.
fn head() -> Scene {
    let mut values = Vec::new();
    let mut brain = Vec::new();
    for i in 0..SHAPE.n_voxels() {
        let [x, y, z] = [i % 40, i / 40 % 48, i / 40 / 48].map(|v| v as f32);
        let from = |center: [f32; 3], radii: [f32; 3]| {
            let part = |at: f32, axis: usize| ((at - center[axis]) / radii[axis]).powi(2);
            part(x, 0) + part(y, 1) + part(z, 2)
        };
        let head = from([20.0, 24.0, 20.0], [17.0, 21.0, 18.0]);
        let ball = from([12.0, 30.0, 26.0], [4.0; 3]);
        brain.push(head < 0.75);
        values.push(match (ball < 1.0, head < 0.75, head < 1.0) {
            (true, _, _) => 240.0,
            (_, true, _) => 100.0 + x + y,
            (_, _, true) => 60.0,
            _ => 0.0,
        });
    }
    let place = Affine::grid([4.0, 4.0, 4.5], [-78.0, -110.0, -70.0]);
    let volume = Volume::new(values, SHAPE, place).unwrap();
    let presets = Presets::of(volume.values());
    let mut scene = Scene::of_volume(1, volume, presets);
    let mask = Voxels::Shared(Arc::new(Mask::new(brain, SHAPE, place).unwrap()));
    scene.mask = Some(Placed::new(mask, &Affine::identity(), &scene.grid));
    scene
}

fn check(name: &str, layout: Layout) {
    let scene = head();
    let params = PictureParams {
        view: ViewState::new(&scene),
        scene,
        settings: Settings {
            layout,
            ..Settings::default()
        },
        info: Info {
            title: "round head".into(),
            view: vec![("Intensity", "144".into())],
            ..Info::default()
        },
        size_points: Vec2::new(480.0, 400.0),
        scale: 1.0,
    };
    compare(name, &picture(&params));
}

fn compare(name: &str, found: &ColorImage) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/snapshots");
    let path: PathBuf = folder.join(format!("{name}.png"));
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        fs_err::create_dir_all(&folder).unwrap();
        fs_err::write(&path, png_bytes(found).unwrap()).unwrap();
    }
    let bytes = std::io::Cursor::new(fs_err::read(&path).unwrap());
    let mut reader = png::Decoder::new(bytes).read_info().unwrap();
    let mut expected = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut expected).unwrap();
    assert_eq!([info.width as usize, info.height as usize], found.size);
    let differs = |(found, expected): (&eframe::egui::Color32, &[u8])| {
        let channels = [found.r(), found.g(), found.b()];
        channels
            .iter()
            .zip(expected)
            .any(|(a, b)| a.abs_diff(*b) > 2)
    };
    let pixels = found.pixels.iter().zip(expected.chunks(3));
    let n_different = pixels.filter(|pair| differs(*pair)).count();
    if n_different * 1000 > found.pixels.len() {
        let new = std::env::temp_dir().join(format!("{name}.new.png"));
        fs_err::write(&new, png_bytes(found).unwrap()).unwrap();
        panic!("{n_different} pixels differ: see `{}`", new.display());
    }
}

#[test]
fn three_planes_look_as_they_did() {
    check("three", Layout::Three);
}

#[test]
fn a_mosaic_looks_as_it_did() {
    check("mosaic", Layout::Mosaic(Plane::Coronal));
}
