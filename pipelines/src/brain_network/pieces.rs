//! One piece without holes, out of what a network found.

use crate::space::VoxelShape;

/// The largest of the pieces, connected over faces, edges and corners; of equals the first. `None` where nothing is
/// inside.
pub(super) fn largest_piece(inside: &[bool], shape: VoxelShape) -> Option<Vec<bool>> {
    let mut seen = inside.iter().map(|inside| !inside).collect::<Vec<_>>();
    let (mut largest, mut piece) = (Vec::new(), Vec::new());
    for seed in 0..inside.len() {
        if seen[seed] {
            continue;
        }
        seen[seed] = true;
        piece.clear();
        piece.push(seed as u32);
        // The piece is its own queue.
        let mut next = 0;
        while let Some(&at) = piece.get(next) {
            next += 1;
            around(at as usize, shape, |neighbor| {
                if !std::mem::replace(&mut seen[neighbor], true) {
                    piece.push(neighbor as u32);
                }
            });
        }
        if piece.len() > largest.len() {
            std::mem::swap(&mut piece, &mut largest);
        }
    }
    let mut kept = vec![false; inside.len()];
    for at in &largest {
        kept[*at as usize] = true;
    }
    (!largest.is_empty()).then_some(kept)
}

/// Calls `visit` for each of the up to 26 neighbors of a voxel.
fn around(at: usize, shape: VoxelShape, mut visit: impl FnMut(usize)) {
    let [nx, ny, nz] = shape.0;
    let near = |center: usize, side: usize| center.saturating_sub(1)..(center + 2).min(side);
    let (x, y, z) = (at % nx, at / nx % ny, at / (nx * ny));
    for z in near(z, nz) {
        for y in near(y, ny) {
            for x in near(x, nx) {
                visit(shape.offset([x, y, z]));
            }
        }
    }
}

/// Fills everything outside that has no way, over faces, to the edge of the grid.
pub(super) fn fill_holes(inside: &mut [bool], shape: VoxelShape) {
    let [nx, ny, nz] = shape.0;
    let mut outside = vec![false; inside.len()];
    let mut open = Vec::new();
    let at_edge = |i: usize| {
        let at = [i % nx, i / nx % ny, i / (nx * ny)];
        at.iter()
            .zip([nx, ny, nz])
            .any(|(v, side)| *v == 0 || v + 1 == side)
    };
    for i in (0..inside.len()).filter(|i| at_edge(*i) && !inside[*i]) {
        outside[i] = true;
        open.push(i);
    }
    while let Some(i) = open.pop() {
        let (x, y, z) = (i % nx, i / nx % ny, i / (nx * ny));
        let neighbors = [
            (x > 0).then(|| i - 1),
            (x + 1 < nx).then_some(i + 1),
            (y > 0).then(|| i - nx),
            (y + 1 < ny).then_some(i + nx),
            (z > 0).then(|| i - nx * ny),
            (z + 1 < nz).then_some(i + nx * ny),
        ];
        for next in neighbors.into_iter().flatten() {
            if !inside[next] && !outside[next] {
                outside[next] = true;
                open.push(next);
            }
        }
    }
    for (inside, outside) in inside.iter_mut().zip(outside) {
        *inside = !outside;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: VoxelShape = VoxelShape([5, 5, 5]);

    fn mask(inside: impl Fn([usize; 3]) -> bool) -> Vec<bool> {
        (0..125)
            .map(|i| inside([i % 5, i / 5 % 5, i / 25]))
            .collect()
    }

    #[test]
    fn pieces_that_touch_at_a_corner_are_one() {
        let diagonal = |at: [usize; 3]| at[0] == at[1] && at[1] == at[2];
        let both = mask(|at| diagonal(at) || at == [4, 0, 4] || at == [4, 0, 3]);
        assert_eq!(largest_piece(&both, SHAPE), Some(mask(diagonal)));
        assert_eq!(largest_piece(&mask(|_| false), SHAPE), None);
    }

    #[test]
    fn of_two_equal_pieces_the_first_is_kept() {
        let two = mask(|[x, _, _]| x == 0 || x == 4);
        assert_eq!(largest_piece(&two, SHAPE), Some(mask(|[x, _, _]| x == 0)));
    }

    #[test]
    fn enclosed_holes_are_filled_and_bays_are_not() {
        let shell = |at: [usize; 3]| at.iter().all(|v| (1..4).contains(v)) && at != [2, 2, 2];
        let mut closed = mask(shell);
        fill_holes(&mut closed, SHAPE);
        assert_eq!(closed, mask(|at| shell(at) || at == [2, 2, 2]));
        let mut open = mask(|at| shell(at) && at != [2, 2, 3]);
        fill_holes(&mut open, SHAPE);
        assert_eq!(open, mask(|at| shell(at) && at != [2, 2, 3]));
        // A diagonal gap is no way out.
        let mut diagonal = mask(|at| shell(at) && at != [2, 3, 3]);
        fill_holes(&mut diagonal, SHAPE);
        assert!(diagonal[SHAPE.offset([2, 2, 2])]);
    }
}
