//! Moved copies of a volume: what test-time augmentation shows a network.
//!
//! The left–right mirror image, and shifts by one voxel along each axis: moves that change nothing of a brain's age. How
//! far the answers lie apart says how much they hang on such things.

/// A copy of a volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Move {
    /// Whether left and right change places (x is the axis from left to right).
    mirrored: bool,
    /// By how many voxels along x, y, z.
    shift: [isize; 3],
}

/// The volume as it is, alone.
pub(super) const AS_IT_IS: [Move; 1] = [Move {
    mirrored: false,
    shift: [0; 3],
}];

/// The volume as it is, mirrored, and shifted both ways along each axis.
pub(super) const TEST_TIME: [Move; 8] = [
    AS_IT_IS[0],
    Move {
        mirrored: true,
        shift: [0; 3],
    },
    shifted([1, 0, 0]),
    shifted([-1, 0, 0]),
    shifted([0, 1, 0]),
    shifted([0, -1, 0]),
    shifted([0, 0, 1]),
    shifted([0, 0, -1]),
];

const fn shifted(shift: [isize; 3]) -> Move {
    Move {
        mirrored: false,
        shift,
    }
}

impl Move {
    /// The copy; voxels from outside are 0, as they are around every masked brain.
    ///
    /// # Shapes
    /// `voxels` has sides x, y, z, z fastest; so has the result.
    pub(super) fn of(self, voxels: &[f32], sides: [usize; 3]) -> Vec<f32> {
        let [nx, ny, nz] = sides;
        let from = |at: usize, axis: usize| {
            let at = at.checked_add_signed(-self.shift[axis])?;
            (at < sides[axis]).then_some(at)
        };
        let mut copy = vec![0.0; voxels.len()];
        for (row, target) in copy.chunks_exact_mut(nz.max(1)).enumerate() {
            let (x, y) = (row / ny, row % ny);
            let x = if self.mirrored { nx - 1 - x } else { x };
            let (Some(x), Some(y)) = (from(x, 0), from(y, 1)) else {
                continue;
            };
            let source = &voxels[(x * ny + y) * nz..][..nz];
            for (z, value) in target.iter_mut().enumerate() {
                *value = from(z, 2).map_or(0.0, |z| source[z]);
            }
        }
        copy
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIDES: [usize; 3] = [3, 4, 5];

    fn marked(at: [usize; 3]) -> Vec<f32> {
        let mut voxels = vec![0.0; 60];
        voxels[(at[0] * 4 + at[1]) * 5 + at[2]] = 1.0;
        voxels
    }

    #[test]
    fn a_marked_voxel_goes_where_the_move_says() {
        assert_eq!(AS_IT_IS[0].of(&marked([0, 2, 3]), SIDES), marked([0, 2, 3]));
        let mirrored = TEST_TIME[1].of(&marked([0, 2, 3]), SIDES);
        assert_eq!(mirrored, marked([2, 2, 3]));
        for (shift, to) in [
            ([1, 0, 0], [2, 2, 3]),
            ([0, -1, 0], [1, 1, 3]),
            ([0, 0, 1], [1, 2, 4]),
        ] {
            assert_eq!(shifted(shift).of(&marked([1, 2, 3]), SIDES), marked(to));
        }
    }

    #[test]
    fn what_is_shifted_out_is_gone_and_what_comes_in_is_nothing() {
        assert_eq!(
            shifted([0, 0, 1]).of(&marked([1, 2, 4]), SIDES),
            vec![0.0; 60]
        );
        assert_eq!(
            shifted([0, -1, 0]).of(&marked([1, 0, 0]), SIDES),
            vec![0.0; 60]
        );
    }
}
