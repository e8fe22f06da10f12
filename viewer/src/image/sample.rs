//! Values of a volume where a plane of the display grid cuts it.

use brainage_pipelines::volume::Grid;
use brainage_pipelines::{Affine, Mask};
use serde::{Deserialize, Serialize};

use super::grid::DisplayGrid;
use super::intensities::Gray;
use super::plane::Plane;

/// How values between voxels are found, and how voxels are enlarged on the screen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Interpolation {
    /// The nearest voxel: what was measured, as squares.
    #[default]
    Nearest,
    /// Linear between voxels.
    Linear,
}

/// One slice of the display grid.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Cut {
    /// Which plane.
    pub(crate) plane: Plane,
    /// Index along the axis through it.
    pub(crate) index: usize,
}

/// The voxel coordinates of a slice, row by row from the axis's start.
struct Walk {
    start: [f64; 3],
    along_columns: [f64; 3],
    along_rows: [f64; 3],
    columns: usize,
    rows: usize,
}

impl Cut {
    /// Columns and rows of the slice.
    pub(crate) fn size(self, grid: &DisplayGrid) -> [usize; 2] {
        let [column, row, _] = self.plane.axes();
        [grid.shape[column], grid.shape[row]]
    }

    fn walk(self, grid: &DisplayGrid, voxel_from_index: &Affine) -> Walk {
        let [column, row, through] = self.plane.axes();
        let mut first = [0.0; 3];
        first[through] = self.index as f64;
        let start = voxel_from_index.apply(first);
        let toward = |axis: usize| {
            let mut next = first;
            next[axis] += 1.0;
            let next = voxel_from_index.apply(next);
            [0, 1, 2].map(|i| next[i] - start[i])
        };
        let [columns, rows] = self.size(grid);
        Walk {
            start,
            along_columns: toward(column),
            along_rows: toward(row),
            columns,
            rows,
        }
    }
}

impl Walk {
    /// Calls `visit` with the voxel coordinates of every place, the first row of the axis first.
    fn visit(&self, mut visit: impl FnMut([f64; 3])) {
        for row in 0..self.rows {
            let begin: [f64; 3] =
                std::array::from_fn(|i| self.start[i] + self.along_rows[i] * row as f64);
            for column in 0..self.columns {
                visit(std::array::from_fn(|i| {
                    begin[i] + self.along_columns[i] * column as f64
                }));
            }
        }
    }
}

/// Values along the columns' axis, then the rows'; NaN outside the volume.
pub(crate) fn values<T: Gray>(
    volume: &Grid<T>,
    voxel_from_index: &Affine,
    grid: &DisplayGrid,
    cut: Cut,
    interpolation: Interpolation,
) -> Vec<f32> {
    let [columns, rows] = cut.size(grid);
    if is_identity(voxel_from_index) && volume.shape().0 == grid.shape {
        return own_voxels(volume, cut, f32::NAN, T::gray);
    }
    let mut values = Vec::with_capacity(columns * rows);
    let walk = cut.walk(grid, voxel_from_index);
    match interpolation {
        Interpolation::Nearest => walk.visit(|at| {
            let value = nearest_offset(at, volume.shape().0).and_then(|i| volume.values().get(i));
            values.push(value.map_or(f32::NAN, |value| value.gray()));
        }),
        Interpolation::Linear => walk.visit(|at| values.push(trilinear(volume, at))),
    }
    values
}

/// Whether each place of a slice is inside the mask, in the order of [`values`].
pub(crate) fn inside(
    mask: &Mask,
    voxel_from_index: &Affine,
    grid: &DisplayGrid,
    cut: Cut,
) -> Vec<bool> {
    let [columns, rows] = cut.size(grid);
    if is_identity(voxel_from_index) && mask.shape().0 == grid.shape {
        return own_voxels(mask, cut, false, |inside| inside);
    }
    let mut inside = Vec::with_capacity(columns * rows);
    cut.walk(grid, voxel_from_index).visit(|at| {
        let value = nearest_offset(at, mask.shape().0).and_then(|i| mask.values().get(i));
        inside.push(value.copied().unwrap_or(false));
    });
    inside
}

/// A slice of the grid's own voxels, without any arithmetic on places.
fn own_voxels<T: Copy, U: Copy>(
    grid: &Grid<T>,
    cut: Cut,
    outside: U,
    shown: impl Fn(T) -> U,
) -> Vec<U> {
    let [column_axis, row_axis, through] = cut.plane.axes();
    let shape = grid.shape();
    let (columns, rows) = (shape.0[column_axis], shape.0[row_axis]);
    if cut.index >= shape.0[through] {
        return vec![outside; columns * rows];
    }
    let at = |column: usize, row: usize| {
        let mut voxel = [0; 3];
        (voxel[column_axis], voxel[row_axis], voxel[through]) = (column, row, cut.index);
        shape.offset(voxel)
    };
    let stride = if columns > 1 { at(1, 0) - at(0, 0) } else { 1 };
    let mut values = Vec::with_capacity(columns * rows);
    for row in 0..rows {
        let line = grid.values()[at(0, row)..].iter();
        let line = line.step_by(stride).take(columns);
        values.extend(line.map(|value| shown(*value)));
    }
    values
}

fn nearest_offset(at: [f64; 3], [nx, ny, nz]: [usize; 3]) -> Option<usize> {
    let [x, y, z] = at.map(|v| (v + 0.5).floor());
    let fits = |v: f64, n: usize| v >= 0.0 && v < n as f64;
    (fits(x, nx) && fits(y, ny) && fits(z, nz))
        .then(|| x as usize + nx * (y as usize + ny * z as usize))
}

/// The value at voxel coordinates, linear between the eight voxels around; up to half a voxel outside, the border's.
fn trilinear<T: Gray>(volume: &Grid<T>, at: [f64; 3]) -> f32 {
    let shape = volume.shape().0;
    let mut low = [0; 3];
    let mut step = [0; 3];
    let mut share = [0.0f32; 3];
    let strides = [1, shape[0], shape[0] * shape[1]];
    for axis in 0..3 {
        let last = shape[axis] as f64 - 1.0;
        if !(at[axis] >= -0.5 && at[axis] <= last + 0.5) {
            return f32::NAN;
        }
        let inside = at[axis].clamp(0.0, last);
        low[axis] = inside as usize;
        share[axis] = (inside - low[axis] as f64) as f32;
        step[axis] = if low[axis] + 1 < shape[axis] {
            strides[axis]
        } else {
            0
        };
    }
    let first = low[0] + strides[1] * low[1] + strides[2] * low[2];
    let voxels = volume.values();
    let value = |offset: usize| voxels.get(first + offset).map_or(f32::NAN, |v| v.gray());
    let along_x = |offset: usize| {
        let (a, b) = (value(offset), value(offset + step[0]));
        a + (b - a) * share[0]
    };
    let along_y = |offset: usize| {
        let (a, b) = (along_x(offset), along_x(offset + step[1]));
        a + (b - a) * share[1]
    };
    let (a, b) = (along_y(0), along_y(step[2]));
    a + (b - a) * share[2]
}

/// Whether a map is the identity but for rounding.
fn is_identity(map: &Affine) -> bool {
    let (rows, identity) = (map.rows(), Affine::identity().rows());
    rows.iter()
        .flatten()
        .zip(identity.iter().flatten())
        .all(|(a, b)| (a - b).abs() < 1e-9)
}

#[cfg(test)]
mod tests {
    use brainage_pipelines::{Volume, VoxelShape};

    use super::*;

    /// Voxel `[x, y, z]` holds `x + 10·y + 100·z`: linear, so linear interpolation must be exact.
    fn counting(shape: [usize; 3], place: Affine) -> Volume {
        let mut values = Vec::new();
        for z in 0..shape[2] {
            for y in 0..shape[1] {
                values.extend((0..shape[0]).map(|x| (x + 10 * y + 100 * z) as f32));
            }
        }
        Volume::new(values, VoxelShape(shape), place).unwrap()
    }

    #[test]
    fn planes_take_the_voxels_they_should() {
        let volume = counting([3, 2, 2], Affine::identity());
        let grid = DisplayGrid::of(volume.shape(), volume.world_from_voxel());
        let of = |plane, index| {
            let cut = Cut { plane, index };
            values(
                &volume,
                &Affine::identity(),
                &grid,
                cut,
                Interpolation::Nearest,
            )
        };
        assert_eq!(
            of(Plane::Axial, 1),
            [100.0, 101.0, 102.0, 110.0, 111.0, 112.0]
        );
        assert_eq!(
            of(Plane::Coronal, 1),
            [10.0, 11.0, 12.0, 110.0, 111.0, 112.0]
        );
        assert_eq!(of(Plane::Sagittal, 2), [2.0, 12.0, 102.0, 112.0]);
        assert!(of(Plane::Sagittal, 3).iter().all(|value| value.is_nan()));
    }

    #[test]
    fn the_slow_way_gives_the_same_voxels_as_the_quick_one() {
        let volume = counting([5, 4, 3], Affine::identity());
        let grid = DisplayGrid::of(volume.shape(), volume.world_from_voxel());
        // So little aside that the nearest voxel is the same, but no identity any more.
        let nudged = Affine::grid([1.0; 3], [1e-6; 3]);
        for plane in Plane::ALL {
            let cut = Cut { plane, index: 1 };
            let of = |map: &Affine| values(&volume, map, &grid, cut, Interpolation::Nearest);
            assert_eq!(of(&nudged), of(&Affine::identity()));
        }
    }

    #[test]
    fn linear_interpolation_of_a_linear_volume_is_exact_and_nothing_is_outside() {
        let volume = counting([6, 5, 4], Affine::identity());
        let grid = DisplayGrid::boxed([6, 5, 4], [1.0; 3], [0.0; 3]);
        let voxel_from_index = Affine::grid([0.5, 0.5, 0.5], [1.25, 0.5, 0.75]);
        let cut = Cut {
            plane: Plane::Axial,
            index: 2,
        };
        let found = values(
            &volume,
            &voxel_from_index,
            &grid,
            cut,
            Interpolation::Linear,
        );
        for (i, value) in found.iter().enumerate() {
            let [x, y, z] = voxel_from_index.apply([(i % 6) as f64, (i / 6) as f64, 2.0]);
            // Sums of a few hundred in f32.
            assert!((f64::from(*value) - (x + 10.0 * y + 100.0 * z)).abs() < 1e-3);
        }
        let far = Affine::grid([1.0; 3], [6.0, 0.0, 0.0]);
        let found = values(&volume, &far, &grid, cut, Interpolation::Linear);
        assert!(found.iter().all(|value| value.is_nan()));
    }
}
