//! Shapes made of voxels: grown, shrunk, filled, their largest piece.
//!
//! All take `inside`, one `bool` a voxel, x fastest, and give as many back. What lies beyond the grid is unknown: it
//! neither grows into a shape nor eats away from it.

use crate::space::VoxelShape;

/// Offsets of the voxels no farther than `radius` from the center.
pub(crate) fn ball(radius: usize) -> Vec<[isize; 3]> {
    let r = radius as isize;
    let mut offsets = Vec::new();
    for z in -r..=r {
        for y in -r..=r {
            offsets.extend((-r..=r).map(|x| [x, y, z]));
        }
    }
    offsets.retain(|[x, y, z]| x * x + y * y + z * z <= r * r);
    offsets
}

/// Every voxel that has a voxel of the shape at one of the offsets, which are symmetric about 0.
pub(crate) fn dilated(inside: &[bool], shape: VoxelShape, offsets: &[[isize; 3]]) -> Vec<bool> {
    let [nx, ny, nz] = shape.0;
    let mut grown = vec![false; inside.len()];
    let moved =
        |at: usize, by: isize, side: usize| at.checked_add_signed(by).filter(|at| *at < side);
    for [dx, dy, dz] in offsets {
        let (skip, length) = (dx.unsigned_abs(), nx.saturating_sub(dx.unsigned_abs()));
        let (from, to) = if *dx >= 0 { (skip, 0) } else { (0, skip) };
        for z in 0..nz {
            for y in 0..ny {
                let (Some(y_from), Some(z_from)) = (moved(y, *dy, ny), moved(z, *dz, nz)) else {
                    continue;
                };
                let source = shape.offset([0, y_from, z_from]) + from;
                let target = shape.offset([0, y, z]) + to;
                let source = &inside[source..source + length];
                let target = grown[target..target + length].iter_mut();
                target
                    .zip(source)
                    .for_each(|(grown, inside)| *grown |= inside);
            }
        }
    }
    grown
}

/// Every voxel that has only voxels of the shape at the offsets.
pub(crate) fn eroded(inside: &[bool], shape: VoxelShape, offsets: &[[isize; 3]]) -> Vec<bool> {
    inverted(&dilated(&inverted(inside), shape, offsets))
}

/// The shape without what is thinner than the ball of `offsets`.
pub(crate) fn opened(inside: &[bool], shape: VoxelShape, offsets: &[[isize; 3]]) -> Vec<bool> {
    dilated(&eroded(inside, shape, offsets), shape, offsets)
}

/// The shape with its gaps narrower than the ball of `offsets` filled.
pub(crate) fn closed(inside: &[bool], shape: VoxelShape, offsets: &[[isize; 3]]) -> Vec<bool> {
    eroded(&dilated(inside, shape, offsets), shape, offsets)
}

/// The shape with everything that it encloses: what cannot be reached over faces from the grid's border.
pub(crate) fn filled(inside: &[bool], shape: VoxelShape) -> Vec<bool> {
    let mut full = vec![true; inside.len()];
    let [nx, ny, nz] = shape.0;
    let on_border = |i: usize| {
        let [x, y, z] = voxel_at(shape, i);
        x == 0 || y == 0 || z == 0 || x + 1 == nx || y + 1 == ny || z + 1 == nz
    };
    for seed in (0..inside.len()).filter(|i| on_border(*i)) {
        flood(seed, shape, |i| {
            let reached = full[i] && !inside[i];
            full[i] &= !reached;
            reached
        });
    }
    full
}

/// The largest piece connected over faces; of equals the first.
pub(crate) fn largest_piece(inside: &[bool], shape: VoxelShape) -> Vec<bool> {
    let mut piece_of = vec![0_u32; inside.len()];
    let (mut n_pieces, mut largest, mut largest_size) = (0, 0, 0);
    for seed in 0..inside.len() {
        if !inside[seed] || piece_of[seed] != 0 {
            continue;
        }
        n_pieces += 1;
        let size = flood(seed, shape, |i| {
            let reached = inside[i] && piece_of[i] == 0;
            if reached {
                piece_of[i] = n_pieces;
            }
            reached
        });
        if size > largest_size {
            (largest, largest_size) = (n_pieces, size);
        }
    }
    piece_of
        .iter()
        .map(|piece| largest != 0 && *piece == largest)
        .collect()
}

/// Goes from voxel to voxel over faces as long as `reach` says that one is newly reached; how many were.
fn flood(seed: usize, shape: VoxelShape, mut reach: impl FnMut(usize) -> bool) -> usize {
    let [nx, ny, nz] = shape.0;
    if !reach(seed) {
        return 0;
    }
    let (mut open, mut size) = (vec![seed], 0);
    while let Some(i) = open.pop() {
        size += 1;
        let [x, y, z] = voxel_at(shape, i);
        let neighbours = [
            (x > 0).then(|| i - 1),
            (x + 1 < nx).then_some(i + 1),
            (y > 0).then(|| i - nx),
            (y + 1 < ny).then_some(i + nx),
            (z > 0).then(|| i - nx * ny),
            (z + 1 < nz).then_some(i + nx * ny),
        ];
        open.extend(neighbours.into_iter().flatten().filter(|next| reach(*next)));
    }
    size
}

fn inverted(inside: &[bool]) -> Vec<bool> {
    inside.iter().map(|inside| !inside).collect()
}

/// The voxel at an offset in memory.
fn voxel_at(shape: VoxelShape, offset: usize) -> [usize; 3] {
    let [nx, ny, _] = shape.0;
    [offset % nx, offset / nx % ny, offset / (nx * ny)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SHAPE: VoxelShape = VoxelShape([7, 6, 5]);

    /// Every voxel against its definition.
    fn dilated_by_definition(inside: &[bool], offsets: &[[isize; 3]]) -> Vec<bool> {
        let at = |[x, y, z]: [isize; 3]| {
            let within = |v: isize, side: usize| (0..side as isize).contains(&v);
            within(x, 7)
                && within(y, 6)
                && within(z, 5)
                && inside[SHAPE.offset([x as usize, y as usize, z as usize])]
        };
        (0..inside.len())
            .map(|i| {
                let v = voxel_at(SHAPE, i).map(|v| v as isize);
                offsets
                    .iter()
                    .any(|d| at([v[0] + d[0], v[1] + d[1], v[2] + d[2]]))
            })
            .collect()
    }

    proptest! {
        #[test]
        fn growing_follows_its_definition_and_opening_and_closing_enclose_the_shape(
            inside in prop::collection::vec(prop::bool::weighted(0.3), 7 * 6 * 5),
            radius in 1_usize..3,
        ) {
            let ball = ball(radius);
            prop_assert_eq!(dilated(&inside, SHAPE, &ball), dilated_by_definition(&inside, &ball));
            let is_part = |a: &[bool], b: &[bool]| a.iter().zip(b).all(|(a, b)| !a || *b);
            let (open, close) = (opened(&inside, SHAPE, &ball), closed(&inside, SHAPE, &ball));
            prop_assert!(is_part(&open, &inside) && is_part(&inside, &close));
            prop_assert_eq!(&opened(&open, SHAPE, &ball), &open);
            prop_assert_eq!(&closed(&close, SHAPE, &ball), &close);
        }
    }

    #[test]
    fn balls_hold_the_voxels_within_their_radius() {
        assert_eq!([0, 1, 2].map(|radius| ball(radius).len()), [1, 7, 33]);
    }

    #[test]
    fn a_hole_is_filled_and_a_dent_is_not() {
        // A box with a hole in its middle and a dent in one face.
        let inside: Vec<bool> = (0..SHAPE.n_voxels())
            .map(|i| {
                let [x, y, z] = voxel_at(SHAPE, i);
                (1..6).contains(&x)
                    && (1..5).contains(&y)
                    && (1..4).contains(&z)
                    && [x, y, z] != [3, 2, 2]
                    && [x, y, z] != [5, 3, 2]
            })
            .collect();
        let full = filled(&inside, SHAPE);
        assert!(full[SHAPE.offset([3, 2, 2])] && !full[SHAPE.offset([5, 3, 2])]);
        let count = |shape: &[bool]| shape.iter().filter(|inside| **inside).count();
        assert_eq!(count(&full), count(&inside) + 1);
    }
}
