//! Turning the axes of a grid to RAS+ ("closest canonical") and back.
//!
//! Only whole axes are exchanged and flipped: no interpolation, every voxel keeps its value and its place in the
//! world. An oblique scan stays oblique. The grid comes from [`crate::format`]; masks and fields made on the RAS+
//! grid go back to the stored one through [`Reorientation::undo`].

use nalgebra::{Matrix3, Vector3};

use crate::space::{Affine, VoxelShape};
use crate::volume::Grid;

/// Side of the square tiles in which axes are exchanged; two cache lines of f32.
const TILE: usize = 32;

/// Which stored axis became which RAS+ axis, and which were flipped.
#[derive(Clone, Debug, PartialEq)]
pub struct Reorientation {
    /// For each RAS+ axis, where it comes from.
    sources: [AxisSource; 3],
    stored_shape: VoxelShape,
    world_from_stored: Affine,
    world_from_ras: Affine,
}

/// One axis of the new grid in terms of the old one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct AxisSource {
    axis: usize,
    flipped: bool,
}

impl Reorientation {
    /// The turn to RAS+ of a grid with this shape and place.
    pub fn to_ras_plus(stored_shape: VoxelShape, world_from_stored: Affine) -> Self {
        let mut sources = [AxisSource {
            axis: 0,
            flipped: false,
        }; 3];
        for (axis, (world, forward)) in world_from_stored.closest_axes().into_iter().enumerate() {
            sources[world] = AxisSource {
                axis,
                flipped: !forward,
            };
        }
        let world_from_ras = world_from_stored * old_from_new(sources, stored_shape);
        Self {
            sources,
            stored_shape,
            world_from_stored,
            world_from_ras,
        }
    }

    /// Whether the stored grid is RAS+ already.
    pub fn is_identity(&self) -> bool {
        self.sources
            .iter()
            .enumerate()
            .all(|(i, s)| s.axis == i && !s.flipped)
    }

    /// Shape of the stored grid.
    pub fn stored_shape(&self) -> VoxelShape {
        self.stored_shape
    }

    /// Shape of the RAS+ grid.
    pub fn ras_shape(&self) -> VoxelShape {
        VoxelShape(self.sources.map(|source| self.stored_shape.0[source.axis]))
    }

    /// Stored voxel indices → RAS+ mm.
    pub fn world_from_stored(&self) -> Affine {
        self.world_from_stored
    }

    /// RAS+ voxel indices → RAS+ mm.
    pub fn world_from_ras(&self) -> Affine {
        self.world_from_ras
    }

    /// How the stored slices get to their places.
    pub(crate) fn placing(&self) -> Placing {
        Placing {
            sources: self.sources,
            shape: self.stored_shape,
        }
    }

    /// The RAS+ grid of voxels that were put into it by [`Self::placing`]; `None` if there are not as many as it has.
    pub(crate) fn ras_grid<T>(&self, values: Vec<T>) -> Option<Grid<T>> {
        let new_from_stored = new_from_old(self.sources, self.stored_shape);
        let stored_from_world = self.world_from_stored.inverse()?;
        (values.len() == self.stored_shape.n_voxels()).then(|| {
            Grid::from_parts(
                values,
                self.ras_shape(),
                self.world_from_ras,
                new_from_stored * stored_from_world,
            )
        })
    }

    /// Turns a RAS+ grid back to the axes of the stored scan.
    ///
    /// A grid of the scan's own shape and place gets exactly the stored affine again; any other grid has its axes
    /// turned all the same.
    pub fn undo<T: Copy>(&self, ras: &Grid<T>) -> Grid<T> {
        let mut sources = [AxisSource {
            axis: 0,
            flipped: false,
        }; 3];
        for (ras_axis, source) in self.sources.iter().enumerate() {
            sources[source.axis] = AxisSource {
                axis: ras_axis,
                flipped: source.flipped,
            };
        }
        let is_own_grid =
            ras.shape() == self.ras_shape() && ras.world_from_voxel() == self.world_from_ras;
        reindex(ras, sources, is_own_grid.then_some(self.world_from_stored))
    }
}

/// Turns a grid to RAS+ and says how.
pub fn to_ras_plus<T: Copy>(grid: &Grid<T>) -> (Grid<T>, Reorientation) {
    let reorientation = Reorientation::to_ras_plus(grid.shape(), grid.world_from_voxel());
    let ras = reindex(
        grid,
        reorientation.sources,
        Some(reorientation.world_from_ras),
    );
    (ras, reorientation)
}

/// Maps indices of the new grid to indices of the old one; `shape` is the old grid's.
fn old_from_new(sources: [AxisSource; 3], shape: VoxelShape) -> Affine {
    let mut linear = Matrix3::zeros();
    let mut translation = Vector3::zeros();
    for (new_axis, AxisSource { axis, flipped }) in sources.into_iter().enumerate() {
        linear[(axis, new_axis)] = if flipped { -1.0 } else { 1.0 };
        translation[axis] = if flipped {
            shape.0[axis] as f64 - 1.0
        } else {
            0.0
        };
    }
    Affine::from_parts(&linear, &translation)
}

/// Maps indices of the old grid to indices of the new one: the exact inverse of [`old_from_new`].
fn new_from_old(sources: [AxisSource; 3], shape: VoxelShape) -> Affine {
    let mut linear = Matrix3::zeros();
    let mut translation = Vector3::zeros();
    for (new_axis, AxisSource { axis, flipped }) in sources.into_iter().enumerate() {
        linear[(new_axis, axis)] = if flipped { -1.0 } else { 1.0 };
        translation[new_axis] = if flipped {
            shape.0[axis] as f64 - 1.0
        } else {
            0.0
        };
    }
    Affine::from_parts(&linear, &translation)
}

/// The same voxels with exchanged and flipped axes.
fn reindex<T: Copy>(
    old: &Grid<T>,
    sources: [AxisSource; 3],
    world_from_new: Option<Affine>,
) -> Grid<T> {
    let shape = VoxelShape(sources.map(|source| old.shape().0[source.axis]));
    let world_from_new = world_from_new
        .unwrap_or_else(|| old.world_from_voxel() * old_from_new(sources, old.shape()));
    let new_from_world = new_from_old(sources, old.shape()) * old.voxel_from_world();
    let values = permute(old.values(), old.shape(), sources);
    Grid::from_parts(values, shape, world_from_new, new_from_world)
}

/// Values in the order of the new axes.
fn permute<T: Copy>(old: &[T], shape: VoxelShape, sources: [AxisSource; 3]) -> Vec<T> {
    let Some(&filler) = old.first() else {
        return Vec::new();
    };
    let mut values = vec![filler; old.len()];
    Placing { sources, shape }.place(old, 0, &mut values);
    values
}

/// How slices of a stored grid, as they come, get to their places in the RAS+ grid.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Placing {
    sources: [AxisSource; 3],
    /// Of the stored grid.
    shape: VoxelShape,
}

impl Placing {
    /// How many slices are best placed at once: as many as a cache line holds where they become neighbors in it.
    pub(crate) fn slices_at_once(&self) -> usize {
        if self.sources[0].axis == 2 { 16 } else { 1 }
    }

    /// Puts stored slices, from number `first` on, into `values`, which has room for the whole RAS+ grid.
    pub(crate) fn place<T: Copy>(&self, slices: &[T], first: usize, values: &mut [T]) {
        let [nx, ny, _] = self.shape.0;
        if slices.is_empty() {
            return;
        }
        let (slice, n_slices) = (nx * ny, slices.len() / (nx * ny));
        let old_strides = [1, nx as isize, slice as isize];
        let mut new = Strided {
            sides: [0; 3],
            ranges: [(0, 0); 3],
            strides: [0; 3],
            start: -((first * slice) as isize),
        };
        for (new_axis, AxisSource { axis, flipped }) in self.sources.into_iter().enumerate() {
            let (side, stride) = (self.shape.0[axis], old_strides[axis]);
            let (low, high) = if axis == 2 {
                (first, first + n_slices)
            } else {
                (0, side)
            };
            new.sides[new_axis] = side;
            if flipped {
                new.ranges[new_axis] = (side - high, side - low);
                new.strides[new_axis] = -stride;
                new.start += stride * (side as isize - 1);
            } else {
                new.ranges[new_axis] = (low, high);
                new.strides[new_axis] = stride;
            }
        }
        match self.sources.iter().position(|source| source.axis == 0) {
            Some(0) | None => copy_rows(slices, &new, values),
            Some(contiguous) => copy_tiles(slices, &new, contiguous, values),
        }
    }
}

/// Where the voxels of a part of the new grid lie in the old one's memory.
struct Strided {
    /// Of the whole new grid.
    sides: [usize; 3],
    /// The part along each axis: first voxel, and the one after the last.
    ranges: [(usize, usize); 3],
    strides: [isize; 3],
    start: isize,
}

impl Strided {
    fn offset(&self, at: [usize; 3]) -> usize {
        let moved: isize = at
            .iter()
            .zip(self.strides)
            .map(|(i, stride)| *i as isize * stride)
            .sum();
        (self.start + moved) as usize
    }

    fn range(&self, axis: usize) -> std::ops::Range<usize> {
        self.ranges[axis].0..self.ranges[axis].1
    }
}

/// For grids whose x axis stays x: rows are copied, or copied backwards.
fn copy_rows<T: Copy>(old: &[T], new: &Strided, values: &mut [T]) {
    let [nx, ny, _] = new.sides;
    for (z, y) in new.range(2).flat_map(|z| new.range(1).map(move |y| (z, y))) {
        let target = &mut values[nx * (y + ny * z)..][..nx];
        let first = new.offset([0, y, z]);
        if new.strides[0] > 0 {
            target.copy_from_slice(&old[first..first + nx]);
        } else {
            let source = old[first + 1 - nx..=first].iter().rev();
            target.iter_mut().zip(source).for_each(|(t, s)| *t = *s);
        }
    }
}

/// For grids whose x axis comes from y or z: squares are read along the old x axis (`contiguous` in the new grid),
/// transposed in a small buffer and written along the new one, so that no cache line is fetched twice.
fn copy_tiles<T: Copy>(old: &[T], new: &Strided, contiguous: usize, values: &mut [T]) {
    let third = 3 - contiguous;
    let [nx, ny, _] = new.sides;
    let new_strides = [1, nx, nx * ny];
    let forward = new.strides[contiguous] > 0;
    let mut tile = [old[0]; TILE * TILE];
    for outer in new.range(third) {
        for c0 in new.range(contiguous).step_by(TILE) {
            let height = TILE.min(new.ranges[contiguous].1 - c0);
            for x0 in new.range(0).step_by(TILE) {
                let width = TILE.min(new.ranges[0].1 - x0);
                let mut at = [x0, 0, 0];
                at[contiguous] = c0;
                at[third] = outer;
                for i in 0..width {
                    let mut from = at;
                    from[0] = x0 + i;
                    let first = new.offset(from);
                    if forward {
                        let run = &old[first..first + height];
                        run.iter()
                            .enumerate()
                            .for_each(|(c, value)| tile[c * TILE + i] = *value);
                    } else {
                        let run = old[first + 1 - height..=first].iter().rev();
                        run.enumerate()
                            .for_each(|(c, value)| tile[c * TILE + i] = *value);
                    }
                }
                let target = x0 + c0 * new_strides[contiguous] + outer * new_strides[third];
                for c in 0..height {
                    let row = target + c * new_strides[contiguous];
                    values[row..row + width].copy_from_slice(&tile[c * TILE..c * TILE + width]);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// All 48 ways to lay three axes along the world's: exchanges times flips.
    fn affine_of(which: usize, oblique: f64) -> Affine {
        const ORDERS: [[usize; 3]; 6] = [
            [0, 1, 2],
            [0, 2, 1],
            [1, 0, 2],
            [1, 2, 0],
            [2, 0, 1],
            [2, 1, 0],
        ];
        let sizes = [1.5, 2.0, 0.75];
        let mut rows = [[oblique, oblique * 0.7, -oblique, 3.0]; 3];
        for (axis, world) in ORDERS[which % 6].into_iter().enumerate() {
            let sign = if (which / 6) >> axis & 1 == 1 {
                -1.0
            } else {
                1.0
            };
            rows[world][axis] = sign * sizes[axis];
        }
        Affine::from_rows(rows)
    }

    fn numbered(shape: [usize; 3], world_from_voxel: Affine) -> Grid<u32> {
        let shape = VoxelShape(shape);
        Grid::new(
            (0..shape.n_voxels() as u32).collect(),
            shape,
            world_from_voxel,
        )
        .unwrap()
    }

    #[test]
    fn reorienting_las_to_ras_flips_x_and_keeps_world_coordinates() {
        let las = Affine::from_rows([
            [-2.0, 0.0, 0.0, 6.0],
            [0.0, 2.0, 0.0, 0.0],
            [0.0, 0.0, 2.0, 0.0],
        ]);
        let (ras, reorientation) = to_ras_plus(&numbered([4, 1, 1], las));
        assert_eq!(ras.values(), [3, 2, 1, 0]);
        assert_eq!(ras.world_from_voxel(), Affine::grid([2.0; 3], [0.0; 3]));
        assert!(!reorientation.is_identity());
    }

    #[test]
    fn every_voxel_keeps_its_place_in_the_world_in_all_48_orientations() {
        for which in 0..48 {
            let stored = numbered([5, 3, 4], affine_of(which, 0.1));
            let (ras, _) = to_ras_plus(&stored);
            assert_eq!(
                ras.world_from_voxel().orientation(),
                "RAS",
                "orientation {which}"
            );
            let [nx, ny, nz] = ras.shape().0;
            for (x, y, z) in
                (0..nz).flat_map(|z| (0..ny).flat_map(move |y| (0..nx).map(move |x| (x, y, z))))
            {
                let world = ras.world_from_voxel().apply([x as f64, y as f64, z as f64]);
                let at = stored
                    .voxel_from_world()
                    .apply(world)
                    .map(|v| v.round() as usize);
                assert_eq!(ras.get([x, y, z]), stored.get(at), "orientation {which}");
                let back = ras.voxel_from_world().apply(world);
                assert!((back[0] - x as f64).abs() < 1e-9 && (back[2] - z as f64).abs() < 1e-9);
            }
        }
    }

    #[test]
    fn all_48_orientations_of_one_head_give_the_same_ras_array() {
        let head = numbered([6, 35, 33], affine_of(0, 0.0));
        for which in 0..48 {
            let reorientation =
                Reorientation::to_ras_plus(VoxelShape([1; 3]), affine_of(which, 0.0));
            let shape = std::array::from_fn::<usize, 3, _>(|axis| {
                let ras = reorientation
                    .sources
                    .iter()
                    .position(|s| s.axis == axis)
                    .unwrap();
                head.shape().0[ras]
            });
            let turn = Reorientation::to_ras_plus(VoxelShape(shape), affine_of(which, 0.0));
            let stored = turn.undo(&head);
            assert_eq!(
                stored.world_from_voxel().orientation(),
                affine_of(which, 0.0).orientation()
            );
            let (ras, _) = to_ras_plus(&stored);
            assert_eq!(ras.values(), head.values(), "orientation {which}");
            assert_eq!(ras.shape(), head.shape());
        }
    }

    #[test]
    fn slices_that_come_a_few_at_a_time_get_to_the_places_of_all_at_once() {
        for which in 0..48 {
            let stored = numbered([35, 6, 37], affine_of(which, 0.1));
            let (expected, reorientation) = to_ras_plus(&stored);
            for n_at_once in [1, 5, 16, 37] {
                let mut values = vec![u32::MAX; stored.values().len()];
                let slices = stored.values().chunks(n_at_once * 35 * 6);
                for (i, slices) in slices.enumerate() {
                    reorientation
                        .placing()
                        .place(slices, i * n_at_once, &mut values);
                }
                let placed = reorientation.ras_grid(values).unwrap();
                assert_eq!(placed, expected, "orientation {which}, {n_at_once} at once");
            }
        }
    }

    proptest! {
        #[test]
        fn undo_is_the_exact_inverse(
            which in 0usize..48, oblique in -0.3..0.3f64, shape in prop::array::uniform3(1usize..40),
        ) {
            let stored = numbered(shape, affine_of(which, oblique));
            let (ras, reorientation) = to_ras_plus(&stored);
            let undone = reorientation.undo(&ras);
            prop_assert_eq!(undone.values(), stored.values());
            prop_assert_eq!(undone.shape(), stored.shape());
            prop_assert_eq!(undone.world_from_voxel(), stored.world_from_voxel());
        }
    }
}
