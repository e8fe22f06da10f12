//! The three planes, which way round they are shown, and where a slice lies on the screen.
//!
//! What is shown lies on RAS+ axes: x grows to the patient's right, y to the front, z to the top.

use eframe::egui::{Pos2, Rect, Vec2};
use serde::{Deserialize, Serialize};

use super::grid::DisplayGrid;

/// One of the three orthogonal planes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Plane {
    /// Seen from below or above, see [`Convention`].
    Axial,
    /// Seen from the front or the back.
    Coronal,
    /// Seen from the patient's right or left, see [`Nose`].
    Sagittal,
}

/// Which side of the patient is on the left of axial and coronal pictures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Convention {
    /// The patient's right is on the left of the picture, as if facing the patient.
    #[default]
    Radiological,
    /// The patient's right is on the right of the picture, as if seen from behind.
    Neurological,
}

/// Where the front of the head is in sagittal pictures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Nose {
    /// On the left of the picture.
    Left,
    /// On the right of the picture.
    #[default]
    Right,
}

/// Which way round all planes are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Sides {
    /// Of axial and coronal pictures.
    pub(crate) convention: Convention,
    /// Of sagittal pictures.
    pub(crate) nose: Nose,
}

/// Where a slice lies on the screen: the map between voxels of the display grid and points of one pane.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PaneGeometry {
    /// The whole slice on the screen, in points; reaches beyond the pane when zoomed.
    pub(crate) image: Rect,
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

    /// Position in [`Plane::ALL`].
    pub(crate) fn position(self) -> usize {
        match self {
            Self::Axial => 0,
            Self::Sagittal => 1,
            Self::Coronal => 2,
        }
    }

    /// The axes along the columns of the picture, along its rows, and through it.
    pub(crate) fn axes(self) -> [usize; 3] {
        match self {
            Self::Axial => [0, 1, 2],
            Self::Coronal => [0, 2, 1],
            Self::Sagittal => [1, 2, 0],
        }
    }

    /// Whether the picture's columns run against their axis.
    pub(crate) fn mirrored(self, sides: Sides) -> bool {
        match self {
            Self::Axial | Self::Coronal => sides.convention == Convention::Radiological,
            Self::Sagittal => sides.nose == Nose::Left,
        }
    }

    /// Directions at the left, right, top and bottom border.
    pub(crate) fn letters(self, sides: Sides) -> [char; 4] {
        const MINUS: [char; 3] = ['L', 'P', 'I'];
        const PLUS: [char; 3] = ['R', 'A', 'S'];
        let [column, row, _] = self.axes();
        let (left, right) = if self.mirrored(sides) {
            (PLUS[column], MINUS[column])
        } else {
            (MINUS[column], PLUS[column])
        };
        [left, right, PLUS[row], MINUS[row]]
    }

    /// Width and height of a whole slice in mm.
    pub(crate) fn size_mm(self, grid: &DisplayGrid) -> Vec2 {
        let [column, row, _] = self.axes();
        let extent = |axis: usize| (grid.shape[axis] as f64 * grid.spacing_mm[axis]).max(1e-3);
        Vec2::new(extent(column) as f32, extent(row) as f32)
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

    /// The other one.
    pub(crate) fn other(self) -> Self {
        match self {
            Self::Radiological => Self::Neurological,
            Self::Neurological => Self::Radiological,
        }
    }
}

impl Nose {
    /// The other one.
    pub(crate) fn other(self) -> Self {
        match self {
            Self::Left => Self::Right,
            Self::Right => Self::Left,
        }
    }
}

impl PaneGeometry {
    /// Places the slices of `plane` with `points_per_mm`, their center at `center`.
    pub(crate) fn new(
        grid: &DisplayGrid,
        plane: Plane,
        sides: Sides,
        center: Pos2,
        points_per_mm: f32,
    ) -> Self {
        let [column, row, _] = plane.axes();
        Self {
            image: Rect::from_center_size(center, plane.size_mm(grid) * points_per_mm),
            columns: grid.shape[column],
            rows: grid.shape[row],
            mirrored: plane.mirrored(sides),
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

    /// The point at the center of a voxel.
    pub(crate) fn point_at(&self, [column, row]: [usize; 2]) -> Pos2 {
        let x = (column as f32 + 0.5) / self.columns as f32;
        let y = (row as f32 + 0.5) / self.rows as f32;
        let x = if self.mirrored { 1.0 - x } else { x };
        self.image.min + Vec2::new(x, 1.0 - y) * self.image.size()
    }
}

/// Points a millimeter at which every plane fits into a pane of this size.
pub(crate) fn points_per_mm(grid: &DisplayGrid, planes: &[Plane], pane: Vec2) -> f32 {
    let fits = |plane: &Plane| {
        let room = pane / plane.size_mm(grid);
        room.x.min(room.y)
    };
    let smallest = planes.iter().map(fits).fold(f32::INFINITY, f32::min);
    smallest.clamp(1e-3, 1e6)
}

#[cfg(test)]
mod tests {
    use eframe::egui::pos2;

    use super::*;

    fn grid() -> DisplayGrid {
        DisplayGrid::boxed([5, 4, 3], [1.0, 2.0, 3.0], [0.0; 3])
    }

    fn all_sides() -> [Sides; 4] {
        let mut all = [Sides::default(); 4];
        for (i, sides) in all.iter_mut().enumerate() {
            if i % 2 == 1 {
                sides.convention = Convention::Neurological;
            }
            if i > 1 {
                sides.nose = Nose::Left;
            }
        }
        all
    }

    #[test]
    fn letters_are_those_of_the_textbooks() {
        let [radiological, neurological, nose_left, _] = all_sides();
        assert_eq!(Plane::Axial.letters(radiological), ['R', 'L', 'A', 'P']);
        assert_eq!(Plane::Axial.letters(neurological), ['L', 'R', 'A', 'P']);
        assert_eq!(Plane::Coronal.letters(radiological), ['R', 'L', 'S', 'I']);
        assert_eq!(Plane::Sagittal.letters(radiological), ['P', 'A', 'S', 'I']);
        assert_eq!(Plane::Sagittal.letters(neurological), ['P', 'A', 'S', 'I']);
        assert_eq!(Plane::Sagittal.letters(nose_left), ['A', 'P', 'S', 'I']);
    }

    #[test]
    fn every_voxel_is_found_again_at_its_point_whichever_way_round() {
        for sides in all_sides() {
            for plane in Plane::ALL {
                let geometry = PaneGeometry::new(&grid(), plane, sides, pos2(80.0, 50.0), 3.3);
                let [column_axis, row_axis, _] = plane.axes();
                for column in 0..grid().shape[column_axis] {
                    for row in 0..grid().shape[row_axis] {
                        let point = geometry.point_at([column, row]);
                        assert_eq!(geometry.voxel_at(point), [column, row]);
                    }
                }
            }
        }
    }

    #[test]
    fn slices_have_their_true_proportions_in_millimeters() {
        let sides = Sides::default();
        let geometry = PaneGeometry::new(&grid(), Plane::Sagittal, sides, Pos2::ZERO, 2.0);
        assert_eq!(geometry.image.size(), Vec2::new(16.0, 18.0));
        assert_eq!(
            points_per_mm(&grid(), &Plane::ALL, Vec2::new(16.0, 90.0)),
            2.0
        );
    }
}
