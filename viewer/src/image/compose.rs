//! One slice as a picture: base, layers over it, and the outline of the mask.

use eframe::egui::{Color32, ColorImage};

use super::color_map::ColorMap;
use super::plane::Sides;
use super::sample::{Cut, Interpolation, inside, values};
use super::scene::{After, LayersView, Placed, Scene};
use super::window_level::WindowLevel;

/// Bias fields are colored from this to its inverse.
const BIAS_RANGE: f32 = 0.7;

/// Which half of the swipe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Half {
    /// The scan as it is.
    Before,
    /// After preprocessing.
    After,
}

/// Everything that decides what a slice of a scene looks like.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct SliceParams {
    /// Which slice.
    pub(crate) cut: Cut,
    /// Which way round.
    pub(crate) sides: Sides,
    /// Which values are black and white.
    pub(crate) window_level: WindowLevel,
    /// Between voxels.
    pub(crate) interpolation: Interpolation,
    /// What lies over it.
    pub(crate) layers: LayersView,
    /// Before or after preprocessing.
    pub(crate) half: Half,
}

/// A line along the border of the mask: columns and rows of its ends, from the picture's top left corner.
pub(crate) type Segment = [[u16; 2]; 2];

/// A slice ready for the screen.
pub(crate) struct SlicePicture {
    /// One pixel a voxel of the grid, rows from the top down.
    pub(crate) image: ColorImage,
    /// The outline of the mask.
    pub(crate) outline: Vec<Segment>,
}

/// Share of a bias field on its color map: the middle is 1, logarithmic.
pub(crate) fn bias_share(value: f32) -> f32 {
    0.5 - 0.5 * value.max(1e-6).ln() / BIAS_RANGE.ln()
}

/// The values at the ends of the bias field's color map.
pub(crate) fn bias_ends() -> [f32; 2] {
    [BIAS_RANGE, 1.0 / BIAS_RANGE]
}

/// Draws a slice.
pub(crate) fn draw_slice(scene: &Scene, params: &SliceParams) -> SlicePicture {
    let [columns, rows] = params.cut.size(&scene.grid);
    let sampled = |placed, interpolation| sampled(scene, params, placed, interpolation);
    let mask = scene.mask.as_ref().map(|placed| {
        inside(
            &placed.voxels,
            &placed.voxel_from_index,
            &scene.grid,
            params.cut,
        )
    });
    let (base, window) = base_of(scene, params, mask.as_deref());
    let mut pixels: Vec<[u8; 3]> = base.iter().map(|value| [window.gray(*value); 3]).collect();
    let layers = params.layers;
    if let (Some(template), true) = (&scene.template, layers.template.shown) {
        let values = sampled(template, Interpolation::Linear);
        blend(&mut pixels, &values, |value| {
            let color = ColorMap::Gray.color(value / 255.0);
            (color, layers.template.opacity)
        });
    }
    if let (Some(field), true) = (&scene.bias_field, layers.bias_field.shown) {
        let values = sampled(field, Interpolation::Linear);
        blend(&mut pixels, &values, |value| {
            (
                ColorMap::CoolWarm.color(bias_share(value)),
                layers.bias_field.opacity,
            )
        });
    }
    if let (Some((map, range)), true) = (&scene.map, layers.map.shown) {
        let values = sampled(map, Interpolation::Linear);
        blend(&mut pixels, &values, |value| {
            let share = range.share(value);
            // What is low lets the scan through.
            let opacity = layers.map.opacity * (2.0 * share).min(1.0);
            (layers.map_colors.color(share), opacity)
        });
    }
    let mirrored = params.cut.plane.mirrored(params.sides);
    let outline = match mask {
        Some(mut mask) if layers.mask.shown => {
            turn(&mut mask, columns, mirrored);
            outline(&mask, [columns, rows])
        }
        _ => Vec::new(),
    };
    turn(&mut pixels, columns, mirrored);
    let colors = pixels
        .into_iter()
        .map(|[r, g, b]| Color32::from_rgb(r, g, b));
    SlicePicture {
        image: ColorImage::new([columns, rows], colors.collect()),
        outline,
    }
}

/// The values of a layer on the slice.
fn sampled(
    scene: &Scene,
    params: &SliceParams,
    placed: &Placed<f32>,
    interpolation: Interpolation,
) -> Vec<f32> {
    let (voxels, from_index) = (&placed.voxels, &placed.voxel_from_index);
    values(voxels, from_index, &scene.grid, params.cut, interpolation)
}

/// The gray values of the slice before or after preprocessing, and the window that suits them; NaN where there is nothing.
fn base_of(scene: &Scene, params: &SliceParams, mask: Option<&[bool]>) -> (Vec<f32>, WindowLevel) {
    let sampled = |placed, interpolation| sampled(scene, params, placed, interpolation);
    let (mut base, window) = match (&scene.after, params.half) {
        (Some(After::Volume(placed, window)), Half::After) => {
            (sampled(placed, params.interpolation), *window)
        }
        _ => (
            scene
                .base
                .values(&scene.grid, params.cut, params.interpolation),
            params.window_level,
        ),
    };
    if let (Some(After::Corrected), Half::After, Some(field)) =
        (&scene.after, params.half, &scene.bias_field)
    {
        let field = sampled(field, Interpolation::Linear);
        for (value, field) in base.iter_mut().zip(field) {
            *value /= field.max(1e-3);
        }
    }
    // What was preprocessed is nothing outside the mask; its 0 may be any gray.
    if let (Some(mask), true) = (mask, scene.base_is_masked || params.half == Half::After) {
        for (value, inside) in base.iter_mut().zip(mask) {
            *value = if *inside { *value } else { f32::NAN };
        }
    }
    (base, window)
}

/// Puts colors over pixels, where there is a value.
fn blend(pixels: &mut [[u8; 3]], values: &[f32], color_of: impl Fn(f32) -> ([u8; 3], f32)) {
    for (pixel, value) in pixels.iter_mut().zip(values) {
        if value.is_nan() {
            continue;
        }
        let (color, opacity) = color_of(*value);
        for (below, above) in pixel.iter_mut().zip(color) {
            let mixed = f32::from(*below) * (1.0 - opacity) + f32::from(above) * opacity;
            *below = (mixed + 0.5) as u8;
        }
    }
}

/// From the order of the axes to that of the screen: the last row first, and mirrored where it must be.
fn turn<T>(pixels: &mut [T], columns: usize, mirrored: bool) {
    // Reversing everything turns rows and columns; reversing each row turns its columns back.
    pixels.reverse();
    if !mirrored && columns > 0 {
        for row in pixels.chunks_mut(columns) {
            row.reverse();
        }
    }
}

/// The lines between what is inside and what is not.
fn outline(inside: &[bool], [columns, rows]: [usize; 2]) -> Vec<Segment> {
    let at = |column: isize, row: isize| {
        let fits = |i: isize, n: usize| i >= 0 && (i as usize) < n;
        fits(column, columns)
            && fits(row, rows)
            && inside
                .get(row as usize * columns + column as usize)
                .copied()
                .unwrap_or(false)
    };
    let mut segments = Vec::new();
    let mut lines =
        |n_lines: usize, length: usize, differs: &dyn Fn(isize, isize) -> bool, flip| {
            for line in 0..=n_lines {
                let mut begun = None;
                for along in 0..=length {
                    let border = along < length && differs(line as isize, along as isize);
                    match (begun, border) {
                        (None, true) => begun = Some(along),
                        (Some(start), false) => {
                            let ends = [start, along].map(|along| {
                                let [a, b] = [along as u16, line as u16];
                                if flip { [b, a] } else { [a, b] }
                            });
                            segments.push(ends);
                            begun = None;
                        }
                        _ => (),
                    }
                }
            }
        };
    lines(
        rows,
        columns,
        &|row, column| at(column, row - 1) != at(column, row),
        false,
    );
    lines(
        columns,
        rows,
        &|column, row| at(column - 1, row) != at(column, row),
        true,
    );
    segments
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use brainage_pipelines::{Affine, Mask, Volume, VoxelShape};

    use super::*;
    use crate::image::plane::{Convention, Plane};
    use crate::image::scene::{LayerView, Voxels};
    use crate::image::window_level::Presets;

    /// Gray value = voxel value for values 0 to 255.
    const IDENTITY: WindowLevel = WindowLevel {
        window: 255.0,
        level: 127.0,
    };

    fn scene(shape: [usize; 3], value: impl Fn([usize; 3]) -> f32) -> Scene {
        let mut values = Vec::new();
        for z in 0..shape[2] {
            for y in 0..shape[1] {
                values.extend((0..shape[0]).map(|x| value([x, y, z])));
            }
        }
        let volume = Volume::new(values, VoxelShape(shape), Affine::identity()).unwrap();
        let presets = Presets::of(volume.values());
        Scene::of_volume(1, volume, presets)
    }

    fn params(plane: Plane, index: usize, convention: Convention) -> SliceParams {
        let mut layers = LayersView::default();
        layers.map.shown = false;
        SliceParams {
            cut: Cut { plane, index },
            sides: Sides {
                convention,
                ..Sides::default()
            },
            window_level: IDENTITY,
            interpolation: Interpolation::Nearest,
            layers,
            half: Half::Before,
        }
    }

    fn grays(scene: &Scene, params: &SliceParams) -> Vec<Vec<u8>> {
        let image = draw_slice(scene, params).image;
        let rows = image.pixels.chunks(image.width());
        rows.map(|row| row.iter().map(Color32::r).collect())
            .collect()
    }

    #[test]
    fn the_top_row_comes_first_and_the_radiological_convention_mirrors_left_and_right() {
        let scene = scene([3, 2, 2], |[x, y, z]| (x + 10 * y + 100 * z) as f32);
        let of = |plane, index, convention| grays(&scene, &params(plane, index, convention));
        let (radiological, neurological) = (Convention::Radiological, Convention::Neurological);
        assert_eq!(
            of(Plane::Axial, 1, neurological),
            [[110, 111, 112], [100, 101, 102]]
        );
        assert_eq!(
            of(Plane::Axial, 1, radiological),
            [[112, 111, 110], [102, 101, 100]]
        );
        assert_eq!(
            of(Plane::Coronal, 1, neurological),
            [[110, 111, 112], [10, 11, 12]]
        );
        assert_eq!(
            of(Plane::Coronal, 1, radiological),
            [[112, 111, 110], [12, 11, 10]]
        );
        assert_eq!(of(Plane::Sagittal, 2, neurological), [[102, 112], [2, 12]]);
        assert_eq!(of(Plane::Sagittal, 2, radiological), [[102, 112], [2, 12]]);
        assert_eq!(of(Plane::Axial, 9, neurological), [[0; 3], [0; 3]]);
    }

    fn with_mask(mut scene: Scene, inside: impl Fn(usize) -> bool) -> Scene {
        let shape = VoxelShape(scene.grid.shape);
        let values = (0..shape.n_voxels()).map(inside).collect();
        let mask = Mask::new(values, shape, Affine::identity()).unwrap();
        let voxels = Voxels::Shared(Arc::new(mask));
        scene.mask = Some(Placed::new(voxels, &Affine::identity(), &scene.grid));
        scene
    }

    #[test]
    fn the_outline_of_a_block_is_its_four_sides() {
        // Columns 1 to 3 and rows 1 and 2 from the bottom of 5 × 5; from the top: rows 2 and 3.
        let scene = with_mask(scene([5, 5, 1], |_| 9.0), |i| {
            (1..4).contains(&(i % 5)) && (1..3).contains(&(i / 5))
        });
        let drawn = draw_slice(&scene, &params(Plane::Axial, 0, Convention::Neurological));
        let expected: [Segment; 4] = [
            [[1, 2], [4, 2]],
            [[1, 4], [4, 4]],
            [[1, 2], [1, 4]],
            [[4, 2], [4, 4]],
        ];
        assert_eq!(drawn.outline, expected);
    }

    #[test]
    fn an_overlay_is_mixed_in_by_its_opacity_and_only_where_it_has_values() {
        let mut scene = scene([4, 1, 1], |_| 100.0);
        let template = Volume::new(vec![200.0; 2], VoxelShape([2, 1, 1]), Affine::identity());
        let voxels = Voxels::Shared(Arc::new(template.unwrap()));
        scene.template = Some(Placed::new(voxels, &Affine::identity(), &scene.grid));
        let mut params = params(Plane::Axial, 0, Convention::Neurological);
        params.layers.template = LayerView {
            shown: true,
            opacity: 0.25,
        };
        assert_eq!(grays(&scene, &params), [[125, 125, 100, 100]]);
    }

    #[test]
    fn after_correction_the_scan_is_divided_by_its_field_and_black_outside_the_mask() {
        let mut scene = with_mask(scene([3, 1, 1], |_| 100.0), |i| i < 2);
        let shape = VoxelShape([3, 1, 1]);
        let field = Volume::new(vec![1.0, 2.0, 1.0], shape, Affine::identity()).unwrap();
        let voxels = Voxels::Shared(Arc::new(field));
        scene.bias_field = Some(Placed::new(voxels, &Affine::identity(), &scene.grid));
        scene.after = Some(After::Corrected);
        let mut params = params(Plane::Axial, 0, Convention::Neurological);
        params.half = Half::After;
        assert_eq!(grays(&scene, &params), [[100, 50, 0]]);
    }

    #[test]
    fn a_bias_of_one_is_the_middle_of_its_colors_and_the_ends_are_inverse() {
        let [low, high] = bias_ends();
        assert_eq!(bias_share(1.0), 0.5);
        assert!((bias_share(low) - 0.0).abs() < 1e-6 && (bias_share(high) - 1.0).abs() < 1e-6);
    }
}
