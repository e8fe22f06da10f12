//! What the panes show: the scene of a scan, the slices of a mosaic, the length of a scale bar, what is under the
//! crosshair.

use std::sync::Arc;

use brainage_pipelines::{Affine, Volume};
use eframe::egui::Vec2;

use crate::image::grid::DisplayGrid;
use crate::image::plane::{Plane, Sides};
use crate::image::scene::{After, Placed, PlacedScan, Scene, Space, Voxels};
use crate::image::window_level::WindowLevel;
use crate::loaded_scan::LoadedScan;
use crate::preparation::Prepared;

/// What is left around a head in a mosaic.
const CROP_MARGIN_MM: f64 = 5.0;

/// A map to lay over a scan, such as where the model looked.
#[derive(Clone, Debug)]
pub(crate) struct LoadedMap {
    /// Its values.
    pub(crate) volume: Arc<Volume>,
    /// Whose world they lie in.
    pub(crate) space: Space,
    /// The values of its lowest and highest color.
    pub(crate) range: WindowLevel,
}

/// The scan, in its own space or the template's, with all that is known of it. Without a registration there is only
/// its own space.
pub(crate) fn scene_of(
    id: u64,
    scan: &LoadedScan,
    prepared: Option<&Prepared>,
    map: Option<&LoadedMap>,
    space: Space,
) -> Scene {
    let mut scene = Scene::of_scan(id, scan.intensities.clone(), scan.presets);
    scene.space = scan.space;
    let place = scan.intensities.world_from_voxel();
    scene.content = content_on(&scene.grid, &place, scan.content);
    let same = Affine::identity();
    let registration = prepared.map(|prepared| prepared.mni_from_scan);
    let scan_from_mni = registration.and_then(|affine| affine.inverse());
    if let (Some(prepared), Some(scan_from_mni)) = (prepared, scan_from_mni) {
        // From the world of the scene to that of the scan.
        let scan_from_scene = match (scan.space, space) {
            (Space::Scan, Space::Scan) => same,
            (Space::Scan, Space::Template) | (Space::Template, _) => scan_from_mni,
        };
        if scan.space == Space::Scan && space == Space::Template {
            scene.space = Space::Template;
            let t1 = &prepared.template.t1;
            scene.grid = DisplayGrid::of(t1.shape(), t1.world_from_voxel());
            // The template's head fills its grid.
            scene.content = scene.grid.shape.map(|n| [0, n.saturating_sub(1)]);
            let scan = scan.intensities.clone();
            scene.base = PlacedScan::new(scan, &scan_from_scene, &scene.grid);
        }
        let grid = scene.grid;
        let mni_from_scene = prepared.mni_from_scan * scan_from_scene;
        scene.template = Some(Placed::new(
            Voxels::Static(&prepared.template.t1),
            &mni_from_scene,
            &grid,
        ));
        let prepared_from_scene = prepared.volume_world_from_scan * scan_from_scene;
        let on_scan = prepared
            .on_scan
            .as_ref()
            .filter(|_| scan.space == Space::Scan);
        scene.mask = Some(match on_scan {
            Some(on_scan) if scene.space == Space::Scan => {
                Placed::new(Voxels::Shared(Arc::clone(&on_scan.mask)), &same, &grid)
            }
            _ => {
                let mask = Voxels::Shared(Arc::clone(&prepared.mask));
                Placed::new(mask, &prepared_from_scene, &grid)
            }
        });
        scene.base_is_masked = scan.space == Space::Template;
        scene.bias_field = on_scan
            .and_then(|on_scan| on_scan.bias_field.clone())
            .map(|field| Placed::new(Voxels::Shared(field), &scan_from_scene, &grid));
        scene.after = match (scan.space, scene.space) {
            // It is what preprocessing made already.
            (Space::Template, _) => None,
            (Space::Scan, Space::Scan) if scene.bias_field.is_some() => Some(After::Corrected),
            _ => {
                let volume = Voxels::Shared(Arc::clone(&prepared.volume));
                let placed = Placed::new(volume, &prepared_from_scene, &grid);
                Some(After::Volume(placed, prepared.presets.auto))
            }
        };
    }
    scene.map = map.and_then(|map| {
        let world_from_scene = match (map.space, scene.space) {
            (Space::Scan, Space::Scan) | (Space::Template, Space::Template) => same,
            (Space::Template, Space::Scan) => registration?,
            (Space::Scan, Space::Template) => scan_from_mni?,
        };
        let voxels = Voxels::Shared(Arc::clone(&map.volume));
        Some((
            Placed::new(voxels, &world_from_scene, &scene.grid),
            map.range,
        ))
    });
    scene
}

/// The slices of the grid that hold these voxels of a volume.
fn content_on(
    grid: &DisplayGrid,
    world_from_voxel: &Affine,
    content: [[usize; 2]; 3],
) -> [[usize; 2]; 3] {
    let mut found = [[usize::MAX, 0]; 3];
    for corner in 0..8 {
        let at = [0, 1, 2].map(|axis| content[axis][corner >> axis & 1] as f64);
        let index = grid.index_at(world_from_voxel.apply(at));
        for axis in 0..3 {
            found[axis][0] = found[axis][0].min(index[axis]);
            found[axis][1] = found[axis][1].max(index[axis]);
        }
    }
    found
}

/// How the slices of a mosaic are laid out.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Mosaic {
    /// Tiles in a row.
    pub(crate) columns: usize,
    /// Rows of tiles.
    pub(crate) rows: usize,
    /// The slice of each tile, rising.
    pub(crate) slices: Vec<usize>,
}

/// At most `n_tiles` slices of those from `first` to `last`, evenly apart, that hold the one at `through` (so that the
/// crosshair's slice is always there), in the number of columns that makes tiles of this shape largest.
pub(crate) fn mosaic(
    [first, last]: [usize; 2],
    through: usize,
    n_tiles: usize,
    area: Vec2,
    tile: Vec2,
) -> Mosaic {
    let (first, last) = (first.min(through), last.max(through));
    let step = (last - first + 1).div_ceil(n_tiles.max(1)).max(1);
    let begin = first + (through - first) % step;
    let slices: Vec<usize> = (begin..=last).step_by(step).collect();
    let n = slices.len().max(1);
    let size = |columns: usize| {
        let rows = n.div_ceil(columns);
        (area.x / (columns as f32 * tile.x)).min(area.y / (rows as f32 * tile.y))
    };
    let mut columns = 1;
    for candidate in 2..=n {
        if size(candidate) > size(columns) {
            columns = candidate;
        }
    }
    Mosaic {
        columns,
        rows: n.div_ceil(columns),
        slices,
    }
}

/// The part of a plane's slices with something in it, with a little around it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Crop {
    /// From the middle of the slice to the middle of the part, on the screen, mm.
    pub(crate) middle_mm: Vec2,
    /// Its width and height, mm.
    pub(crate) size_mm: Vec2,
}

impl Crop {
    /// Of the slices of a scene.
    pub(crate) fn of(scene: &Scene, plane: Plane, sides: Sides) -> Self {
        let grid = &scene.grid;
        let [column, row, _] = plane.axes();
        let part = |axis: usize| {
            let [first, last] = scene.content[axis].map(|index| index as f64);
            let (n, spacing_mm) = (grid.shape[axis] as f64, grid.spacing_mm[axis]);
            let whole_mm = n * spacing_mm;
            let size_mm = ((last - first + 1.0) * spacing_mm + 2.0 * CROP_MARGIN_MM).min(whole_mm);
            let middle_mm = (f64::midpoint(first, last) - (n - 1.0) / 2.0) * spacing_mm;
            [middle_mm as f32, size_mm.max(1e-3) as f32]
        };
        let ([x, width], [y, height]) = (part(column), part(row));
        let sign = if plane.mirrored(sides) { -1.0 } else { 1.0 };
        Self {
            // Rows run down, the axis up.
            middle_mm: Vec2::new(sign * x, -y),
            size_mm: Vec2::new(width, height),
        }
    }
}

/// The longest of 1, 2, 5, 10, … mm that is not wider than `room` points.
pub(crate) fn scale_bar_mm(points_per_mm: f32, room: f32) -> f32 {
    let mut longest = 1.0;
    for mm in [2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0] {
        if mm * points_per_mm <= room {
            longest = mm;
        }
    }
    longest
}

/// What is under the crosshair.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct UnderCrosshair {
    /// Voxel of the scan; `None` outside it.
    pub(crate) voxel: Option<[usize; 3]>,
    /// Its value.
    pub(crate) value: Option<f32>,
    /// Place in the world of the scan, RAS+ mm.
    pub(crate) scan_mm: Option<[f64; 3]>,
    /// Place in the template's world.
    pub(crate) mni_mm: Option<[f64; 3]>,
}

/// Reads off what is under an index of the grid.
pub(crate) fn under_crosshair(
    scene: &Scene,
    index: [usize; 3],
    mni_from_scan: Option<&Affine>,
) -> UnderCrosshair {
    let world = scene.grid.world_mm(index);
    let (scan_mm, mni_mm) = match scene.space {
        Space::Scan => (Some(world), mni_from_scan.map(|affine| affine.apply(world))),
        Space::Template => {
            let scan_from_mni = mni_from_scan.and_then(Affine::inverse);
            (scan_from_mni.map(|affine| affine.apply(world)), Some(world))
        }
    };
    UnderCrosshair {
        voxel: scene.scan_voxel(index),
        value: scene.value(index),
        scan_mm,
        mni_mm,
    }
}

impl UnderCrosshair {
    /// One line for the clipboard.
    pub(crate) fn line(&self) -> String {
        let mm = |[x, y, z]: [f64; 3]| format!("{x:.1}, {y:.1}, {z:.1} mm");
        let mut parts = Vec::new();
        parts.extend(self.voxel.map(|[i, j, k]| format!("voxel {i}, {j}, {k}")));
        parts.extend(self.scan_mm.map(|at| format!("RAS+ {}", mm(at))));
        parts.extend(self.mni_mm.map(|at| format!("MNI {}", mm(at))));
        parts.extend(self.value.map(|value| format!("value {}", number(value))));
        parts.join("; ")
    }
}

/// A value with as many digits as one can use.
pub(crate) fn number(value: f32) -> String {
    if value.abs() >= 100.0 || value.fract() == 0.0 {
        format!("{value:.0}")
    } else if value.abs() >= 1.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.3}")
    }
}

/// The axes a plane's screen goes along, for keys: (axis, whether the screen's direction is the axis's).
pub(crate) fn screen_axes(plane: Plane, mirrored: bool) -> [(usize, isize); 2] {
    let [column, row, _] = plane.axes();
    [(column, if mirrored { -1 } else { 1 }), (row, 1)]
}

#[cfg(test)]
mod tests {
    use brainage_pipelines::VoxelShape;

    use super::*;
    use crate::image::plane::Convention;
    use crate::image::window_level::Presets;

    #[test]
    fn a_mosaic_always_holds_the_slice_of_the_crosshair_and_no_more_tiles_than_asked_for() {
        for through in 0..91 {
            let area = Vec2::new(1000.0, 600.0);
            let mosaic = mosaic([0, 90], through, 20, area, Vec2::new(1.0, 1.2));
            assert!(mosaic.slices.contains(&through));
            assert!(mosaic.slices.len() <= 20);
            assert!(mosaic.slices.windows(2).all(|pair| pair[1] - pair[0] == 5));
            assert!(mosaic.columns * mosaic.rows >= mosaic.slices.len());
            assert!(mosaic.columns > mosaic.rows, "a wide window has wide rows");
        }
    }

    #[test]
    fn a_mosaic_leaves_out_what_is_empty_unless_the_crosshair_is_there() {
        let slices = |through| {
            let square = Vec2::splat(1.0);
            mosaic([30, 49], through, 10, Vec2::splat(500.0), square).slices
        };
        assert_eq!(slices(40), (30..50).step_by(2).collect::<Vec<_>>());
        assert_eq!(slices(90).last(), Some(&90));
    }

    #[test]
    fn a_crop_is_the_part_with_something_in_it_where_it_is_on_the_screen() {
        let shape = VoxelShape([40, 30, 20]);
        let volume = Volume::new(vec![1.0; 24_000], shape, Affine::identity()).unwrap();
        let presets = Presets::of(volume.values());
        let mut scene = Scene::of_volume(1, volume, presets);
        // Voxels 4 to 13 of 40 from the left, 10 to 29 of 30 from the back.
        scene.content = [[4, 13], [10, 29], [0, 19]];
        let crop = Crop::of(&scene, Plane::Axial, Sides::default());
        assert_eq!(crop.size_mm, Vec2::new(20.0, 30.0));
        // 8.5 − 19.5 to the patient's right, which is on the left of the picture; 19.5 − 14.5 to the front, which is up.
        assert_eq!(crop.middle_mm, Vec2::new(11.0, -5.0));
        let neurological = Sides {
            convention: Convention::Neurological,
            ..Sides::default()
        };
        let crop = Crop::of(&scene, Plane::Axial, neurological);
        assert_eq!(crop.middle_mm, Vec2::new(-11.0, -5.0));
    }

    #[test]
    fn a_scale_bar_is_as_long_as_there_is_room() {
        assert_eq!(scale_bar_mm(2.0, 119.0), 50.0);
        assert_eq!(scale_bar_mm(0.1, 1.0), 10.0);
        assert_eq!(scale_bar_mm(50.0, 3.0), 1.0);
    }

    #[test]
    fn what_is_under_the_crosshair_is_told_in_voxels_and_in_both_worlds() {
        let place = Affine::grid([2.0, 2.0, 3.0], [-10.0, -20.0, 5.0]);
        let values = (0..60u8).map(f32::from).collect();
        let volume = Volume::new(values, VoxelShape([3, 4, 5]), place).unwrap();
        let presets = Presets::of(volume.values());
        let scene = Scene::of_volume(1, volume, presets);
        let mni_from_scan = Affine::grid([1.0; 3], [100.0, 0.0, 0.0]);
        let under = under_crosshair(&scene, [1, 2, 3], Some(&mni_from_scan));
        // 1 + 3·2 + 12·3
        assert_eq!(
            under.line(),
            "voxel 1, 2, 3; RAS+ -8.0, -16.0, 14.0 mm; MNI 92.0, -16.0, 14.0 mm; value 43"
        );
    }
}
