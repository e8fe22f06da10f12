//! The values of a scan as they are kept: as 16-bit whole numbers where nothing is lost by that.
//!
//! Most scanners write such numbers. They take half the memory of what a scan is read to, and slices of them are made
//! sooner, since half as much has to come from memory.

use std::sync::Arc;

use brainage_pipelines::volume::Grid;
use brainage_pipelines::{Affine, Volume, VoxelShape};

/// Values looked at between two looks whether all are whole so far.
const AT_ONCE: usize = 1 << 14;
/// Values that change their form together; their memory is given back before the next ones follow.
const PIECE: usize = 1 << 20;
/// Added to a number of less than 22 bits, the lowest bits of the sum are that number rounded to a whole one.
const TO_WHOLE: f32 = 12_582_912.0;

/// The values of a scan with their place, shared with whoever else needs them.
#[derive(Clone, Debug)]
pub(crate) enum Intensities {
    /// Every value is one of these numbers.
    Whole(Arc<Grid<i16>>),
    /// As they were read.
    Real(Arc<Volume>),
}

/// A value as a gray value.
pub(crate) trait Gray: Copy {
    /// The same number.
    fn gray(self) -> f32;
}

impl Gray for f32 {
    fn gray(self) -> f32 {
        self
    }
}

impl Gray for i16 {
    fn gray(self) -> f32 {
        self.into()
    }
}

impl Intensities {
    /// Keeps a volume, in half the memory where it is the same.
    #[expect(clippy::expect_used, reason = "shape and place are those of a volume")]
    pub(crate) fn of(volume: Volume) -> Self {
        // Without a look at each, so that several are compared at once.
        let are_whole = |values: &[f32]| values.iter().fold(true, |all, v| all & is_whole(*v));
        if !volume.values().chunks(AT_ONCE).all(are_whole) {
            return Self::Real(Arc::new(volume));
        }
        let (shape, place) = (volume.shape(), volume.world_from_voxel());
        let grid = Grid::new(packed(volume.into_values()), shape, place);
        Self::Whole(Arc::new(grid.expect("as many values as before")))
    }

    /// Number of voxels along x, y, z.
    pub(crate) fn shape(&self) -> VoxelShape {
        match self {
            Self::Whole(grid) => grid.shape(),
            Self::Real(grid) => grid.shape(),
        }
    }

    /// Voxel indices → RAS+ mm.
    pub(crate) fn world_from_voxel(&self) -> Affine {
        match self {
            Self::Whole(grid) => grid.world_from_voxel(),
            Self::Real(grid) => grid.world_from_voxel(),
        }
    }

    /// The value at a voxel; `None` outside.
    pub(crate) fn get(&self, at: [usize; 3]) -> Option<f32> {
        match self {
            Self::Whole(grid) => grid.get(at).map(Gray::gray),
            Self::Real(grid) => grid.get(at),
        }
    }
}

fn is_whole(value: f32) -> bool {
    let rounded = (value + TO_WHOLE) - TO_WHOLE;
    // NaN is not equal to anything.
    (rounded == value) & (value >= f32::from(i16::MIN)) & (value <= f32::from(i16::MAX))
}

/// Whole numbers as such, from the end on: what has been taken over is given back at once, so that both forms are never in
/// memory together.
fn packed(mut values: Vec<f32>) -> Vec<i16> {
    // Memory that is not written to yet takes none.
    let mut packed = vec![0; values.len()];
    for piece in packed.chunks_mut(PIECE).rev() {
        let begin = values.len() - piece.len();
        for (whole, value) in piece.iter_mut().zip(&values[begin..]) {
            *whole = (value + TO_WHOLE).to_bits() as i16;
        }
        values.truncate(begin);
        values.shrink_to_fit();
    }
    packed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[f32]) -> Intensities {
        let shape = VoxelShape([values.len(), 1, 1]);
        Intensities::of(Volume::new(values.to_vec(), shape, Affine::identity()).unwrap())
    }

    #[test]
    fn whole_numbers_are_kept_in_half_the_memory_and_stay_the_same() {
        let all: Vec<f32> = (i16::MIN..=i16::MAX).map(f32::from).collect();
        // More than one piece, and a last one that is not full.
        let values = all.repeat(2 * PIECE / all.len() + 1);
        let kept = of(&values);
        assert!(matches!(kept, Intensities::Whole(_)));
        let at = |x| kept.get([x, 0, 0]).unwrap();
        assert!(values.iter().enumerate().all(|(x, value)| at(x) == *value));
        assert_eq!(of(&[-0.0]).get([0, 0, 0]), Some(0.0));
    }

    #[test]
    fn anything_else_is_kept_as_it_was_read() {
        let nearly = 7.0 + f32::EPSILON * 4.0;
        for other in [
            0.5,
            nearly,
            32768.0,
            -32769.0,
            f32::NAN,
            f32::INFINITY,
            1e-30,
            1e30,
        ] {
            let mut values = vec![7.0; 2 * AT_ONCE];
            values.push(other);
            let kept = of(&values);
            let found = kept.get([values.len() - 1, 0, 0]).unwrap();
            assert!(matches!(kept, Intensities::Real(_)), "{other}");
            assert_eq!(found.to_bits(), other.to_bits());
        }
    }
}
