//! From a volume to 2D pictures and back: which voxels a plane shows, in which order, how bright.
//!
//! All of it is pure: no window, no texture. Volumes are RAS+ (the loader sees to it), so x grows to
//! the patient's right, y to the front and z to the top; planes run along the voxel axes, also in
//! oblique scans.

use brainage_pipelines::{Mask, Volume};
use eframe::egui::{Color32, ColorImage, Pos2, Rect, Vec2};

use crate::theme;

/// One of the three orthogonal planes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plane {
    /// Seen from below or above, see [`Convention`].
    Axial,
    /// Seen from the front or the back.
    Coronal,
    /// Seen from the patient's right: the front is on the right of the picture.
    Sagittal,
}

/// Which side of the patient is on the left of axial and coronal pictures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Convention {
    /// The patient's right is on the left of the picture, as if facing the patient.
    #[default]
    Radiological,
    /// The patient's right is on the right of the picture, as if seen from behind.
    Neurological,
}

/// Which grey values become black and white.
///
/// # Units
/// Those of the volume's values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct WindowLevel {
    /// White − black; positive.
    pub window: f32,
    /// The middle grey.
    pub level: f32,
}

/// Everything that decides what a slice looks like, apart from the volume.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct SliceParams {
    pub plane: Plane,
    /// Index along the axis through the plane.
    pub index: usize,
    pub convention: Convention,
    pub window_level: WindowLevel,
}

/// Where a slice lies on the screen: the map between voxels and points of one pane.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PaneGeometry {
    /// The whole slice on the screen, in points; reaches beyond the pane when zoomed.
    pub image: Rect,
    columns: usize,
    rows: usize,
    mirrored: bool,
}

impl Plane {
    /// In the order in which they are shown.
    pub(crate) const ALL: [Self; 3] = [Self::Axial, Self::Sagittal, Self::Coronal];

    /// As the pane is titled.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Axial => "Axial",
            Self::Coronal => "Coronal",
            Self::Sagittal => "Sagittal",
        }
    }

    /// The voxel axes along the columns of the picture, along its rows, and through it.
    pub(crate) fn axes(self) -> [usize; 3] {
        match self {
            Self::Axial => [0, 1, 2],
            Self::Coronal => [0, 2, 1],
            Self::Sagittal => [1, 2, 0],
        }
    }

    /// Whether the picture's columns run against the voxel axis.
    pub(crate) fn mirrored(self, convention: Convention) -> bool {
        self.axes()[0] == 0 && convention == Convention::Radiological
    }

    /// Directions at the left, right, top and bottom border.
    pub(crate) fn letters(self, convention: Convention) -> [char; 4] {
        const MINUS: [char; 3] = ['L', 'P', 'I'];
        const PLUS: [char; 3] = ['R', 'A', 'S'];
        let [column, row, _] = self.axes();
        let (left, right) = if self.mirrored(convention) {
            (PLUS[column], MINUS[column])
        } else {
            (MINUS[column], PLUS[column])
        };
        [left, right, PLUS[row], MINUS[row]]
    }

    /// Width and height of a whole slice in mm.
    pub(crate) fn size_mm(self, volume: &Volume) -> Vec2 {
        let [column, row, _] = self.axes();
        let extent = |axis: usize| {
            (volume.shape().0[axis] as f64 * volume.voxel_size_mm()[axis]).max(1e-3) as f32
        };
        Vec2::new(extent(column), extent(row))
    }
}

impl Convention {
    /// As the switch is labeled.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Radiological => "Radiological",
            Self::Neurological => "Neurological",
        }
    }
}

impl WindowLevel {
    /// From the 1st to the 99th percentile of the values that are finite and not zero.
    ///
    /// Of more than a million values every n-th is looked at, always the same ones.
    pub(crate) fn auto(values: &[f32]) -> Self {
        let stride = values.len().div_ceil(1_000_000).max(1);
        let mut sample: Vec<f32> = values
            .iter()
            .step_by(stride)
            .copied()
            .filter(|value| value.is_finite() && *value != 0.0)
            .collect();
        if sample.is_empty() {
            return Self {
                window: 1.0,
                level: 0.5,
            };
        }
        sample.sort_unstable_by(f32::total_cmp);
        let last = sample.len() - 1;
        let (low, high) = (sample[last / 100], sample[last - last / 100]);
        Self {
            window: (high - low).max(f32::MIN_POSITIVE),
            level: low + (high - low) / 2.0,
        }
    }

    /// Grey of a value; NaN is black.
    pub(crate) fn grey(self, value: f32) -> u8 {
        // `as u8` saturates and maps NaN to 0.
        ((value - self.level) / self.window * 255.0 + 127.5) as u8
    }
}

impl PaneGeometry {
    /// Places the slices of `plane` with `points_per_mm`, their centre at `center`.
    pub(crate) fn new(
        volume: &Volume,
        plane: Plane,
        convention: Convention,
        center: Pos2,
        points_per_mm: f32,
    ) -> Self {
        let [column, row, _] = plane.axes();
        Self {
            image: Rect::from_center_size(center, plane.size_mm(volume) * points_per_mm),
            columns: volume.shape().0[column],
            rows: volume.shape().0[row],
            mirrored: plane.mirrored(convention),
        }
    }

    /// The voxel, along the columns' and the rows' axis, at a point; the nearest one outside the slice.
    pub(crate) fn voxel_at(&self, point: Pos2) -> [usize; 2] {
        let fraction = (point - self.image.min) / self.image.size();
        let x = if self.mirrored {
            1.0 - fraction.x
        } else {
            fraction.x
        };
        // Rows run down, the axis up.
        let y = 1.0 - fraction.y;
        let index = |f: f32, n: usize| ((f * n as f32).max(0.0) as usize).min(n.saturating_sub(1));
        [index(x, self.columns), index(y, self.rows)]
    }

    /// The point at the centre of a voxel.
    pub(crate) fn point_at(&self, [column, row]: [usize; 2]) -> Pos2 {
        let x = (column as f32 + 0.5) / self.columns as f32;
        let y = (row as f32 + 0.5) / self.rows as f32;
        let x = if self.mirrored { 1.0 - x } else { x };
        self.image.min + Vec2::new(x, 1.0 - y) * self.image.size()
    }
}

/// Draws one slice, one pixel a voxel, rows from the top down.
///
/// A mask is drawn as its outline; it must have the volume's shape.
/// # Shapes
/// `[columns, rows]` of the plane; an index outside the volume gives a black picture.
pub(crate) fn draw_slice(volume: &Volume, mask: Option<&Mask>, params: SliceParams) -> ColorImage {
    let [column_axis, row_axis, through] = params.plane.axes();
    let shape = volume.shape();
    let (columns, rows) = (shape.0[column_axis], shape.0[row_axis]);
    if params.index >= shape.0[through] {
        return ColorImage::filled([columns, rows], Color32::BLACK);
    }
    let at = |column: usize, row: usize| {
        let mut voxel = [0; 3];
        (voxel[column_axis], voxel[row_axis], voxel[through]) = (column, row, params.index);
        shape.offset(voxel)
    };
    let stride = if columns > 1 { at(1, 0) - at(0, 0) } else { 1 };
    let mut pixels = Vec::with_capacity(columns * rows);
    for row in (0..rows).rev() {
        let line = volume.values()[at(0, row)..]
            .iter()
            .step_by(stride)
            .take(columns);
        pixels.extend(line.map(|value| Color32::from_gray(params.window_level.grey(*value))));
        if let Some(mask) = mask {
            let start = pixels.len() - columns;
            let inside = |column: usize, row: usize| mask.values()[at(column, row)];
            for column in 0..columns {
                if inside(column, row) && is_border(column, row, [columns, rows], inside) {
                    pixels[start + column] = theme::MASK;
                }
            }
        }
        if params.plane.mirrored(params.convention) {
            let start = pixels.len() - columns;
            pixels[start..].reverse();
        }
    }
    ColorImage::new([columns, rows], pixels)
}

/// Whether one of the four neighbors lies outside the mask or the picture.
fn is_border(
    column: usize,
    row: usize,
    [columns, rows]: [usize; 2],
    inside: impl Fn(usize, usize) -> bool,
) -> bool {
    column == 0
        || row == 0
        || column + 1 == columns
        || row + 1 == rows
        || !(inside(column - 1, row)
            && inside(column + 1, row)
            && inside(column, row - 1)
            && inside(column, row + 1))
}

#[cfg(test)]
mod tests {
    use brainage_pipelines::{Affine, VoxelShape};
    use eframe::egui::pos2;

    use super::*;

    /// Voxel `[x, y, z]` holds `x + 10·y + 100·z`.
    fn counting_volume(shape: [usize; 3], voxel_size_mm: [f64; 3]) -> Volume {
        let mut values = Vec::new();
        for z in 0..shape[2] {
            for y in 0..shape[1] {
                values.extend((0..shape[0]).map(|x| (x + 10 * y + 100 * z) as f32));
            }
        }
        Volume::new(
            values,
            VoxelShape(shape),
            Affine::grid(voxel_size_mm, [0.0; 3]),
        )
        .unwrap()
    }

    /// Grey value = voxel value for values 0 to 255.
    const IDENTITY: WindowLevel = WindowLevel {
        window: 255.0,
        level: 127.0,
    };

    fn greys(plane: Plane, index: usize, convention: Convention) -> Vec<Vec<u8>> {
        let volume = counting_volume([3, 2, 2], [1.0; 3]);
        let params = SliceParams {
            plane,
            index,
            convention,
            window_level: IDENTITY,
        };
        let image = draw_slice(&volume, None, params);
        let grey = |pixel: &Color32| pixel.r();
        image
            .pixels
            .chunks(image.width())
            .map(|row| row.iter().map(grey).collect())
            .collect()
    }

    #[test]
    fn planes_show_the_voxels_they_should_with_the_top_row_first() {
        let neurological = Convention::Neurological;
        assert_eq!(
            greys(Plane::Axial, 1, neurological),
            [[110, 111, 112], [100, 101, 102]]
        );
        assert_eq!(
            greys(Plane::Coronal, 1, neurological),
            [[110, 111, 112], [10, 11, 12]]
        );
        assert_eq!(
            greys(Plane::Sagittal, 2, neurological),
            [[102, 112], [2, 12]]
        );
    }

    #[test]
    fn the_radiological_convention_mirrors_left_and_right_but_not_front_and_back() {
        let radiological = Convention::Radiological;
        assert_eq!(
            greys(Plane::Axial, 1, radiological),
            [[112, 111, 110], [102, 101, 100]]
        );
        assert_eq!(
            greys(Plane::Coronal, 1, radiological),
            [[112, 111, 110], [12, 11, 10]]
        );
        assert_eq!(
            greys(Plane::Sagittal, 2, radiological),
            [[102, 112], [2, 12]]
        );
        assert_eq!(Plane::Axial.letters(radiological), ['R', 'L', 'A', 'P']);
        assert_eq!(
            Plane::Axial.letters(Convention::Neurological),
            ['L', 'R', 'A', 'P']
        );
        assert_eq!(Plane::Coronal.letters(radiological), ['R', 'L', 'S', 'I']);
        assert_eq!(Plane::Sagittal.letters(radiological), ['P', 'A', 'S', 'I']);
    }

    #[test]
    fn a_slice_outside_the_volume_is_black() {
        assert_eq!(
            greys(Plane::Axial, 9, Convention::Neurological),
            [[0; 3], [0; 3]]
        );
    }

    #[test]
    fn every_voxel_is_found_again_at_its_point_in_both_conventions() {
        let volume = counting_volume([5, 4, 3], [1.0, 2.0, 3.0]);
        for convention in [Convention::Radiological, Convention::Neurological] {
            for plane in Plane::ALL {
                let geometry = PaneGeometry::new(&volume, plane, convention, pos2(80.0, 50.0), 3.3);
                let [column_axis, row_axis, _] = plane.axes();
                for column in 0..volume.shape().0[column_axis] {
                    for row in 0..volume.shape().0[row_axis] {
                        let point = geometry.point_at([column, row]);
                        assert_eq!(geometry.voxel_at(point), [column, row]);
                    }
                }
            }
        }
    }

    #[test]
    fn slices_have_their_true_proportions_in_millimetres() {
        let volume = counting_volume([5, 4, 3], [1.0, 2.0, 3.0]);
        let geometry = PaneGeometry::new(
            &volume,
            Plane::Sagittal,
            Convention::Neurological,
            Pos2::ZERO,
            2.0,
        );
        assert_eq!(geometry.image.size(), Vec2::new(16.0, 18.0));
    }

    #[test]
    fn the_automatic_window_leaves_out_zeros_and_one_percent_at_either_end() {
        let mut values = vec![0.0; 500];
        values.extend((1..=1001u16).map(f32::from));
        values.push(f32::NAN);
        let auto = WindowLevel::auto(&values);
        assert_eq!(
            (
                auto.level - auto.window / 2.0,
                auto.level + auto.window / 2.0
            ),
            (11.0, 991.0)
        );
    }

    #[test]
    fn a_volume_of_zeros_or_of_one_value_still_has_a_window() {
        assert!(WindowLevel::auto(&[0.0; 8]).window > 0.0);
        assert!(WindowLevel::auto(&[7.0; 8]).window > 0.0);
    }

    #[test]
    fn a_mask_is_drawn_as_its_outline() {
        let volume = counting_volume([5, 5, 1], [1.0; 3]);
        let inside = |i: usize| (1..4).contains(&(i % 5)) && (1..4).contains(&(i / 5));
        let mask = Mask::new(
            (0..25).map(inside).collect(),
            volume.shape(),
            volume.world_from_voxel(),
        )
        .unwrap();
        let params = SliceParams {
            plane: Plane::Axial,
            index: 0,
            convention: Convention::Neurological,
            window_level: IDENTITY,
        };
        let image = draw_slice(&volume, Some(&mask), params);
        let outline = image
            .pixels
            .iter()
            .filter(|pixel| **pixel == theme::MASK)
            .count();
        assert_eq!(outline, 8);
        assert_ne!(image.pixels[12], theme::MASK);
    }
}
