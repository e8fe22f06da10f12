//! Sides can't be mistaken: a head with a mark at its left, front and top, stored in every way a file can be.
//!
//! The truth is the world of the file (RAS+ mm), which the test writes down itself; nothing of the viewer makes it.

use brainage_pipelines::orient::to_ras_plus;
use brainage_pipelines::{Affine, Volume, VoxelShape};
use eframe::egui::{Color32, Pos2, Vec2, pos2};

use super::compose::{Half, SliceParams, draw_slice};
use super::plane::{Convention, Nose, PaneGeometry, Plane, Sides};
use super::sample::{Cut, Interpolation};
use super::scene::{LayersView, Scene};
use super::window_level::{Presets, WindowLevel};

/// Voxels toward the right, the front and the top.
const SHAPE: [usize; 3] = [10, 12, 14];
const SIZE_MM: [f64; 3] = [2.0, 1.5, 1.0];
/// The mark, counted from the left, the back and the bottom: left, front, top.
const MARK: [usize; 3] = [1, 10, 12];

const SIDES: [Sides; 4] = [
    Sides {
        convention: Convention::Radiological,
        nose: Nose::Right,
    },
    Sides {
        convention: Convention::Radiological,
        nose: Nose::Left,
    },
    Sides {
        convention: Convention::Neurological,
        nose: Nose::Right,
    },
    Sides {
        convention: Convention::Neurological,
        nose: Nose::Left,
    },
];

/// The head, stored so that voxel axis `a` runs along world axis `axes[a]`, backward where `flipped[a]`; its whole
/// world is turned by `turn`.
fn stored(axes: [usize; 3], flipped: [bool; 3], turn: &Affine) -> Volume {
    let shape = axes.map(|axis| SHAPE[axis]);
    let mut values = Vec::new();
    let counted = |stored: usize, i: usize| {
        if flipped[stored] {
            shape[stored] - 1 - i
        } else {
            i
        }
    };
    for k in 0..shape[2] {
        for j in 0..shape[1] {
            for i in 0..shape[0] {
                let mut head = [0; 3];
                for (stored, at) in [i, j, k].into_iter().enumerate() {
                    head[axes[stored]] = counted(stored, at);
                }
                values.push(if head == MARK { 200.0 } else { 50.0 });
            }
        }
    }
    let mut rows = [[0.0; 4]; 3];
    for stored in 0..3 {
        let axis = axes[stored];
        let size = SIZE_MM[axis];
        rows[axis][stored] = if flipped[stored] { -size } else { size };
        rows[axis][3] += if flipped[stored] {
            size * (shape[stored] as f64 - 1.0)
        } else {
            0.0
        };
    }
    Volume::new(values, VoxelShape(shape), *turn * Affine::from_rows(rows)).unwrap()
}

fn scene(stored: &Volume) -> Scene {
    let (volume, _) = to_ras_plus(stored);
    let presets = Presets::of(volume.values());
    Scene::of_volume(1, volume, presets)
}

/// Where the mark is in the picture of the slice `index`: the middle of its pixels, as shares of width and height.
fn seen(scene: &Scene, plane: Plane, sides: Sides, index: usize) -> Option<Vec2> {
    let layers = LayersView::default();
    let params = SliceParams {
        cut: Cut { plane, index },
        sides,
        window_level: WindowLevel::between(0.0, 255.0),
        interpolation: Interpolation::Nearest,
        layers,
        half: Half::Before,
    };
    let image = draw_slice(scene, &params).image;
    let [width, height] = image.size;
    let bright = |color: &Color32| color.r() > 150;
    let found: Vec<Vec2> = (0..width * height)
        .filter(|i| bright(&image.pixels[*i]))
        .map(|i| {
            let at = Vec2::new((i % width) as f32 + 0.5, (i / width) as f32 + 0.5);
            at / Vec2::new(width as f32, height as f32)
        })
        .collect();
    let sum = found.iter().fold(Vec2::ZERO, |sum, at| sum + *at);
    (!found.is_empty()).then(|| sum / found.len() as f32)
}

/// Checks that the mark is where the letters say and where the crosshair would be drawn.
fn check(scene: &Scene, plane: Plane, sides: Sides, mark: [usize; 3], what: &str) {
    let [column_axis, row_axis, through] = plane.axes();
    let Some(at) = seen(scene, plane, sides, mark[through]) else {
        panic!("{what}: the mark is not in its slice");
    };
    let [left, right, top, bottom] = plane.letters(sides);
    let across = if at.x < 0.5 { left } else { right };
    let upright = if at.y < 0.5 { top } else { bottom };
    // The mark lies at the left, the front and the top.
    let is = ['L', 'A', 'S'];
    assert_eq!(
        [across, upright],
        [is[column_axis], is[row_axis]],
        "{what}, {sides:?}"
    );
    let geometry = PaneGeometry::new(&scene.grid, plane, sides, pos2(70.0, 40.0), 3.0);
    let crosshair: Pos2 = geometry.point_at([mark[column_axis], mark[row_axis]]);
    let pixel = geometry.image.min + at * geometry.image.size();
    // A third of the smallest voxel on the screen: it is the same one.
    assert!(
        crosshair.distance(pixel) < 1.0,
        "{what}, {sides:?}: {crosshair} {pixel}"
    );
}

#[test]
fn every_letter_is_on_its_side_for_all_48_ways_to_store_a_head() {
    let orders = [
        [0, 1, 2],
        [0, 2, 1],
        [1, 0, 2],
        [1, 2, 0],
        [2, 0, 1],
        [2, 1, 0],
    ];
    for axes in orders {
        for bits in 0..8u8 {
            let flipped = [0, 1, 2].map(|axis| bits >> axis & 1 == 1);
            let scene = scene(&stored(axes, flipped, &Affine::identity()));
            assert_eq!(scene.grid.shape, SHAPE);
            let what = format!("{axes:?} {flipped:?}");
            for plane in Plane::ALL {
                for sides in SIDES {
                    check(&scene, plane, sides, MARK, &what);
                }
            }
        }
    }
}

#[test]
fn an_oblique_head_is_shown_in_the_world_with_its_mark_where_it_lies() {
    let (sin, cos) = 15f64.to_radians().sin_cos();
    let about_z = Affine::from_rows([
        [cos, -sin, 0.0, 4.0],
        [sin, cos, 0.0, -3.0],
        [0.0, 0.0, 1.0, 2.0],
    ]);
    let about_x = Affine::from_rows([
        [1.0, 0.0, 0.0, 4.0],
        [0.0, cos, -sin, -3.0],
        [0.0, sin, cos, 2.0],
    ]);
    let straight = Affine::grid(SIZE_MM, [0.0; 3]);
    for turn in [about_z, about_x] {
        let mark_mm = (turn * straight).apply(MARK.map(|i| i as f64));
        // Stored as LPS, as DICOM converters like to.
        let scene = scene(&stored([0, 1, 2], [true, true, false], &turn));
        assert_eq!(
            scene.grid.spacing_mm, [1.0; 3],
            "cubes of the smallest side"
        );
        let mark = scene.grid.index_at(mark_mm);
        assert_eq!(scene.value(mark), Some(200.0));
        for plane in Plane::ALL {
            let through = plane.axes()[2];
            for sides in SIDES {
                let at = seen(&scene, plane, sides, mark[through]).unwrap();
                let geometry = PaneGeometry::new(&scene.grid, plane, sides, Pos2::ZERO, 1.0);
                let [column, row] =
                    geometry.voxel_at(geometry.image.min + at * geometry.image.size());
                let mut found = mark;
                (found[plane.axes()[0]], found[plane.axes()[1]]) = (column, row);
                let found_mm = scene.grid.world_mm(found);
                for axis in 0..3 {
                    // Half of the mark's voxel and half of the grid's.
                    let reach = SIZE_MM[axis] / 2.0 + 0.5;
                    assert!((found_mm[axis] - mark_mm[axis]).abs() <= reach, "{plane:?}");
                }
            }
        }
    }
}
