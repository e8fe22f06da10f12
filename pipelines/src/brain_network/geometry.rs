//! Between the voxels of a scan and the cubes that the networks see: which voxel is taken, and how grey values are scaled.
//!
//! Written after deepbet's `run_model`, whose arithmetic (f32, nearest voxel, rounding) is kept: one voxel more or less in
//! a box moves all others that are taken.

use std::ops::Range;

use crate::intensity::percentile;
use crate::space::VoxelShape;

/// Percentiles of the whole scan that become 0 and 1.
const PERCENTILES: [f64; 2] = [0.5, 99.5];
/// Mean and standard deviation that the networks were trained with (those of ImageNet's green channel).
const MEAN: f64 = 0.449;
const DEVIATION: f64 = 0.226;
/// A slice belongs to the box if a larger share of it is inside.
const SHARE_OF_SLICE: f32 = 0.02;
/// How much longer the box is than what was found.
const WIDER: f32 = 1.2;

/// A box of a scan's voxels.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct VoxelBox {
    ranges: [Range<usize>; 3],
}

impl VoxelBox {
    pub(super) fn whole(shape: VoxelShape) -> Self {
        Self {
            ranges: shape.0.map(|side| 0..side),
        }
    }

    pub(super) fn shape(&self) -> VoxelShape {
        VoxelShape([0, 1, 2].map(|axis| self.ranges[axis].len()))
    }

    /// Nearest values on the box's voxels of a cube that was made of it, x fastest.
    pub(super) fn out_of_cube(&self, cube: &[bool], side: usize) -> Vec<bool> {
        let sources = self.shape().0.map(|n| nearest(side, 0..n, n));
        gather(cube, VoxelShape([side; 3]), &sources)
    }

    /// The values of the box within a whole scan, `false` around it.
    pub(super) fn within(&self, values: &[bool], shape: VoxelShape) -> Vec<bool> {
        let mut whole = vec![false; shape.n_voxels()];
        let [xs, ys, zs] = &self.ranges;
        let places = zs.clone().flat_map(|z| ys.clone().map(move |y| (y, z)));
        for (row, (y, z)) in values.chunks_exact(xs.len().max(1)).zip(places) {
            let first = shape.offset([xs.start, y, z]);
            whole[first..first + row.len()].copy_from_slice(row);
        }
        whole
    }
}

/// The nearest voxels of a part of a scan, as a cube of `side` voxels along each axis, x fastest.
pub(super) fn resized<T: Copy>(
    values: &[T],
    shape: VoxelShape,
    part: &VoxelBox,
    side: usize,
) -> Vec<T> {
    let sources = [0, 1, 2].map(|axis| {
        let range = &part.ranges[axis];
        let within = nearest(range.len(), 0..side, side);
        within
            .into_iter()
            .map(|i| range.start + i)
            .collect::<Vec<_>>()
    });
    gather(values, shape, &sources)
}

fn gather<T: Copy>(values: &[T], shape: VoxelShape, sources: &[Vec<usize>; 3]) -> Vec<T> {
    let [xs, ys, zs] = sources;
    let mut taken = Vec::with_capacity(xs.len() * ys.len() * zs.len());
    for (z, y) in zs.iter().flat_map(|z| ys.iter().map(move |y| (*z, *y))) {
        let row = &values[shape.offset([0, y, z])..][..shape.0[0]];
        taken.extend(xs.iter().map(|x| row[*x]));
    }
    taken
}

/// For each of the new voxels, the old one that it is taken from: PyTorch's `nearest-exact`, in its precision.
fn nearest(n_old: usize, new: Range<usize>, n_new: usize) -> Vec<usize> {
    let scale = f64::from(n_old as f32 / n_new as f32);
    new.map(|i| (((i as f64 + 0.5) * scale) as f32 as usize).min(n_old.saturating_sub(1)))
        .collect()
}

/// The grey values between which the networks see differences.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct IntensityRange {
    low: f32,
    high: f32,
}

impl IntensityRange {
    /// Of the whole scan; `None` where all of it is alike.
    pub(super) fn of(values: &[f32]) -> Option<Self> {
        let mut values = values.to_vec();
        let [low, high] = PERCENTILES.map(|percent| percentile(&mut values, percent));
        let (low, high) = (low?, high?);
        (high > low).then_some(Self { low, high })
    }

    /// Brings values to the scale that the networks were trained with; `None` where all of them are alike.
    pub(super) fn standardize(self, values: &mut [f32]) -> Option<()> {
        let width = self.high - self.low;
        for value in &mut *values {
            *value = ((*value - self.low) / width).clamp(0.0, 1.0);
        }
        let count = values.len() as f64;
        let mean = values.iter().map(|v| f64::from(*v)).sum::<f64>() / count;
        let squares: f64 = values.iter().map(|v| (f64::from(*v) - mean).powi(2)).sum();
        let scale = DEVIATION / (squares / (count - 1.0)).sqrt();
        for value in &mut *values {
            *value = ((f64::from(*value) - mean) * scale + MEAN) as f32;
        }
        scale.is_finite().then_some(())
    }
}

/// The box about what is inside a cube of `side` voxels that stands for a whole scan; `None` where nothing is.
pub(super) fn find_box(inside: &[bool], side: usize, shape: VoxelShape) -> Option<VoxelBox> {
    let mut counts = [0, 1, 2].map(|_| vec![0_usize; side]);
    for (i, _) in inside.iter().enumerate().filter(|(_, inside)| **inside) {
        let at = [i % side, i / side % side, i / (side * side)];
        for axis in 0..3 {
            counts[axis][at[axis]] += 1;
        }
    }
    let is_filled = |count: &usize| *count as f32 / (side * side) as f32 > SHARE_OF_SLICE;
    let mut ranges = [0..0, 0..0, 0..0];
    for (axis, counts) in counts.iter().enumerate() {
        let first = counts.iter().position(is_filled)?;
        let end = counts.iter().rposition(is_filled)? + 1;
        let scale = shape.0[axis] as f32 / side as f32;
        let center = (scale * ((end + first) as f32 / 2.0)).round_ties_even();
        let length = (WIDER * (scale * (end - first) as f32)).round_ties_even();
        let begin = (center - length / 2.0).max(0.0) as usize;
        let end = ((center + length / 2.0) as usize).min(shape.0[axis]);
        if begin >= end {
            return None;
        }
        ranges[axis] = begin..end;
    }
    Some(VoxelBox { ranges })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn voxels_are_taken_as_pytorch_takes_them() {
        // F.interpolate(torch.arange(5.)[None, None], 8, mode="nearest-exact"), and 5 to 3, and 8 to 4.
        assert_eq!(nearest(5, 0..8, 8), [0, 0, 1, 2, 2, 3, 4, 4]);
        assert_eq!(nearest(5, 0..3, 3), [0, 2, 4]);
        assert_eq!(nearest(8, 0..4, 4), [1, 3, 5, 7]);
    }

    #[test]
    fn a_box_is_a_fifth_longer_than_what_was_found_and_ends_with_the_scan() {
        let side = 16;
        let inside: Vec<bool> = (0..side * side * side)
            .map(|i| {
                (4..9).contains(&(i % side)) && (2..16).contains(&(i / side % side)) && i / 256 > 9
            })
            .collect();
        let found = find_box(&inside, side, VoxelShape([32, 16, 48])).unwrap();
        // x: center 13, length 12; y: center 9, length 16.8; z: center 39, length 21.6.
        assert_eq!(found.ranges, [7..19, 0..16, 28..48]);
        assert_eq!(
            find_box(&vec![false; 4096], side, VoxelShape([16; 3])),
            None
        );
    }

    #[test]
    fn standardized_values_have_the_trained_mean_and_deviation() {
        let mut values: Vec<f32> = (0..4000).map(|i| (i * 37 % 4000) as f32).collect();
        let range = IntensityRange::of(&values).unwrap();
        range.standardize(&mut values).unwrap();
        let mean = values.iter().map(|v| f64::from(*v)).sum::<f64>() / 4000.0;
        let squares: f64 = values.iter().map(|v| (f64::from(*v) - mean).powi(2)).sum();
        assert!((mean - MEAN).abs() < 1e-6);
        assert!(((squares / 3999.0).sqrt() - DEVIATION).abs() < 1e-6);
        assert_eq!(IntensityRange::of(&[3.0; 50]), None);
        assert_eq!(range.standardize(&mut [9e9; 50]), None);
    }

    proptest! {
        #[test]
        fn a_cube_finer_than_the_box_comes_back_as_it_was(
            sides in prop::array::uniform3(1..9_usize),
            begin in prop::array::uniform3(0..4_usize),
            bits in any::<u64>(),
        ) {
            let shape = VoxelShape([0, 1, 2].map(|axis| begin[axis] + sides[axis] + 1));
            let part = VoxelBox { ranges: [0, 1, 2].map(|axis| begin[axis]..begin[axis] + sides[axis]) };
            let scan: Vec<bool> = (0..shape.n_voxels()).map(|i| bits.rotate_left(i as u32 * 7) & 1 == 1).collect();
            let back = part.out_of_cube(&resized(&scan, shape, &part, 16), 16);
            let whole = part.within(&back, shape);
            for (i, value) in whole.iter().enumerate() {
                let at = [i % shape.0[0], i / shape.0[0] % shape.0[1], i / (shape.0[0] * shape.0[1])];
                let inside = (0..3).all(|axis| part.ranges[axis].contains(&at[axis]));
                prop_assert_eq!(*value, inside && scan[i]);
            }
        }
    }
}
