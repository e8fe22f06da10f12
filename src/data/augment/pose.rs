//! Where a volume lies: mirrored, turned, scaled and shifted about its center, in one trilinear resample.

use std::ops::Range;

/// How a volume is moved. Turns and shifts are in mm, so that they mean the same on every grid.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Pose {
    /// Left and right exchanged.
    pub mirrored: bool,
    /// Turns about x, y, z through the center, radians; about x first.
    pub rotation_radians: [f64; 3],
    /// Factor on lengths; above 1 the brain grows.
    pub scale: f64,
    /// Along x, y, z, mm.
    pub shift_mm: [f64; 3],
}

/// x ↦ `linear` · x + `offset`.
#[derive(Clone, Copy, Debug)]
struct Map {
    linear: [[f64; 3]; 3],
    offset: [f64; 3],
}

impl Pose {
    /// Whether voxels stay on voxels.
    fn is_on_grid(&self) -> bool {
        self.rotation_radians == [0.0; 3] && self.scale == 1.0 && self.shift_mm == [0.0; 3]
    }

    /// Rz · Ry · Rx.
    fn rotation(&self) -> [[f64; 3]; 3] {
        let [(sx, cx), (sy, cy), (sz, cz)] = self.rotation_radians.map(f64::sin_cos);
        [
            [cz * cy, cz * sy * sx - sz * cx, cz * sy * cx + sz * sx],
            [sz * cy, sz * sy * sx + cz * cx, sz * sy * cx - cz * sx],
            [-sy, cy * sx, cy * cx],
        ]
    }

    /// Which voxel of the source comes to a voxel of the target.
    ///
    /// About the center and in mm, the target is R · s · F · source + shift with F the mirror; this is its inverse,
    /// F · Rᵀ / s · (target − shift).
    fn source_from_target(&self, sides: [usize; 3], voxel_size_mm: [f64; 3]) -> Map {
        let center = sides.map(|side| (side as f64 - 1.0) / 2.0);
        let rotation = self.rotation();
        let mirror = [if self.mirrored { -1.0 } else { 1.0 }, 1.0, 1.0];
        let linear: [[f64; 3]; 3] = std::array::from_fn(|to| {
            std::array::from_fn(|from| {
                let per_mm = mirror[to] * rotation[from][to] / (self.scale * voxel_size_mm[to]);
                per_mm * voxel_size_mm[from]
            })
        });
        let offset = std::array::from_fn(|to| {
            let from_center = |from: usize| {
                linear[to][from] * (center[from] + self.shift_mm[from] / voxel_size_mm[from])
            };
            center[to] - (0..3).map(from_center).sum::<f64>()
        });
        Map { linear, offset }
    }
}

/// The volume in another pose; what comes from outside is 0.
///
/// A pose that leaves voxels on voxels is an exact copy, mirrored or not.
///
/// # Shapes
/// `volume` has `sides` x, y, z with z fastest, as has the result.
pub(super) fn posed(
    volume: Vec<f32>,
    sides: [usize; 3],
    voxel_size_mm: [f64; 3],
    pose: &Pose,
) -> Vec<f32> {
    if !pose.is_on_grid() {
        return resampled(
            &volume,
            sides,
            &pose.source_from_target(sides, voxel_size_mm),
        );
    }
    if !pose.mirrored {
        return volume;
    }
    let slabs = volume.chunks_exact((sides[1] * sides[2]).max(1));
    slabs.rev().flatten().copied().collect()
}

fn resampled(volume: &[f32], sides: [usize; 3], source_from_target: &Map) -> Vec<f32> {
    let mut result = vec![0.0; volume.len()];
    let Some(brain) = Brain::cut_out(volume, sides) else {
        return result;
    };
    let Map { linear, offset } = source_from_target;
    let step = std::array::from_fn(|axis| fixed(linear[axis][2]));
    for (row, target) in result.chunks_exact_mut(sides[2]).enumerate() {
        let (x, y) = ((row / sides[1]) as f64, (row % sides[1]) as f64);
        let start = std::array::from_fn(|axis| {
            fixed(offset[axis] + linear[axis][0] * x + linear[axis][1] * y - brain.corner[axis])
        });
        brain.fill(target, &Line { start, step });
    }
    result
}

/// Coordinates in fixed point, 2⁻³² voxels: sums are exact, and the integer part is there without a conversion.
const FRACTION_BITS: u32 = 32;

fn fixed(voxels: f64) -> i64 {
    (voxels * f64::from(FRACTION_BITS).exp2()).round() as i64
}

/// Points start + z · step, z = 0, 1, 2 …, in fixed-point voxels of the brain's box.
struct Line {
    start: [i64; 3],
    step: [i64; 3],
}

/// The box of what is not 0, with a rim of zeros, so that every point in it lies between eight voxels.
struct Brain {
    values: Vec<f32>,
    sides: [usize; 3],
    /// Place of the box's first voxel in the volume; −1 where the rim lies outside of it.
    corner: [f64; 3],
}

impl Brain {
    fn cut_out(volume: &[f32], [nx, ny, nz]: [usize; 3]) -> Option<Self> {
        let (mut first, mut last) = ([usize::MAX; 3], [0; 3]);
        for (row, values) in volume.chunks_exact(nz.max(1)).enumerate() {
            let Some(from) = values.iter().position(|value| *value != 0.0) else {
                continue;
            };
            let to = values.iter().rposition(|v| *v != 0.0).unwrap_or(from);
            for (axis, (low, high)) in [(row / ny, row / ny), (row % ny, row % ny), (from, to)]
                .into_iter()
                .enumerate()
            {
                first[axis] = first[axis].min(low);
                last[axis] = last[axis].max(high);
            }
        }
        if first[0] >= nx {
            return None;
        }
        let sides: [usize; 3] = std::array::from_fn(|axis| last[axis] - first[axis] + 3);
        let mut values = vec![0.0; sides.iter().product()];
        let within = first[2]..=last[2];
        for x in first[0]..=last[0] {
            for y in first[1]..=last[1] {
                let to = ((x - first[0] + 1) * sides[1] + y - first[1] + 1) * sides[2] + 1;
                let row = &volume[(x * ny + y) * nz..][within.clone()];
                values[to..to + row.len()].copy_from_slice(row);
            }
        }
        Some(Self {
            values,
            sides,
            corner: first.map(|side| side as f64 - 1.0),
        })
    }

    /// The points of a line, of the first `n`, that lie between eight voxels of the box; one run, since it is convex.
    fn span(&self, line: &Line, n: usize) -> Range<usize> {
        let (mut first, mut end) = (0, n as i64);
        for axis in 0..3 {
            let (start, step) = (line.start[axis], line.step[axis]);
            let last = ((self.sides[axis] as i64 - 1) << FRACTION_BITS) - 1;
            // What is left to the far face, seen in the direction of the line.
            let (behind, ahead) = if step < 0 {
                (last - start, start)
            } else {
                (start, last - start)
            };
            match step.abs() {
                0 if behind < 0 || ahead < 0 => end = 0,
                0 => {}
                step => {
                    first = first.max(-behind.div_euclid(step));
                    end = end.min(ahead.div_euclid(step) + 1);
                }
            }
        }
        first.min(end).max(0) as usize..end.max(0) as usize
    }

    fn fill(&self, target: &mut [f32], line: &Line) {
        let (stride_x, stride_y) = (self.sides[1] * self.sides[2], self.sides[2]);
        let reach = stride_x + stride_y + 2;
        let span = self.span(line, target.len());
        let from = span.start as i64;
        let mut at: [i64; 3] =
            std::array::from_fn(|axis| line.start[axis] + from * line.step[axis]);
        for value in &mut target[span] {
            let [x, y, z] = at.map(|at| (at >> FRACTION_BITS) as usize);
            let [fx, fy, fz] = at.map(fraction);
            let base = x * stride_x + y * stride_y + z;
            // One check of bounds for all eight voxels.
            let near = &self.values[base..base + reach];
            let along_z = |at: usize| near[at] + (near[at + 1] - near[at]) * fz;
            let along_y = |at: usize| {
                let (a, b) = (along_z(at), along_z(at + stride_y));
                a + (b - a) * fy
            };
            let (a, b) = (along_y(0), along_y(stride_x));
            *value = a + (b - a) * fx;
            for (at, step) in at.iter_mut().zip(line.step) {
                *at += step;
            }
        }
    }
}

/// The part of a coordinate after the point, to f32's 24 bits.
fn fraction(at: i64) -> f32 {
    const UNIT: f32 = 1.0 / (1 << f32::MANTISSA_DIGITS) as f32;
    ((at as u32) >> (FRACTION_BITS - f32::MANTISSA_DIGITS)) as f32 * UNIT
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const STILL: Pose = Pose {
        mirrored: false,
        rotation_radians: [0.0; 3],
        scale: 1.0,
        shift_mm: [0.0; 3],
    };

    fn numbered(sides: [usize; 3]) -> Vec<f32> {
        (1..=sides.iter().product())
            .map(|i: usize| i as f32)
            .collect()
    }

    fn index(sides: [usize; 3], [x, y, z]: [usize; 3]) -> usize {
        (x * sides[1] + y) * sides[2] + z
    }

    /// Where a point comes to, step by step: mirror, scale, turn about x, y, z, shift.
    fn forward(pose: &Pose, from_mm: [f64; 3]) -> [f64; 3] {
        let mut p = from_mm.map(|mm| mm * pose.scale);
        if pose.mirrored {
            p[0] = -p[0];
        }
        for (axis, angle) in pose.rotation_radians.into_iter().enumerate() {
            let (a, b) = ((axis + 1) % 3, (axis + 2) % 3);
            let (sin, cos) = angle.sin_cos();
            (p[a], p[b]) = (p[a] * cos - p[b] * sin, p[a] * sin + p[b] * cos);
        }
        std::array::from_fn(|axis| p[axis] + pose.shift_mm[axis])
    }

    /// Trilinear as in the textbook, with 0 outside.
    fn interpolated(volume: &[f32], sides: [usize; 3], at: [f64; 3]) -> f64 {
        let mut sum = 0.0;
        for corner in 0..8_i64 {
            let voxel: [i64; 3] =
                std::array::from_fn(|axis| at[axis].floor() as i64 + (corner >> axis & 1));
            let weight: f64 = (0..3)
                .map(|axis| 1.0 - (at[axis] - voxel[axis] as f64).abs())
                .product();
            if (0..3).all(|axis| (0..sides[axis] as i64).contains(&voxel[axis])) {
                let value = volume[index(sides, voxel.map(|v| v as usize))];
                sum += weight * f64::from(value);
            }
        }
        sum
    }

    fn any_pose() -> impl Strategy<Value = Pose> {
        let turn = -3.2..3.2_f64;
        let shift = -9.0..9.0_f64;
        (
            any::<bool>(),
            [turn.clone(), turn.clone(), turn],
            0.5..2.0_f64,
            [shift.clone(), shift.clone(), shift],
        )
            .prop_map(|(mirrored, rotation_radians, scale, shift_mm)| Pose {
                mirrored,
                rotation_radians,
                scale,
                shift_mm,
            })
    }

    proptest! {
        #[test]
        fn the_way_back_leads_to_where_the_way_there_began(pose in any_pose(), target in [0.0..9.0_f64, 0.0..9.0, 0.0..9.0]) {
            let (sides, mm) = ([9, 10, 11], [1.0, 2.0, 3.5]);
            let Map { linear, offset } = pose.source_from_target(sides, mm);
            let to_mm = |p: [f64; 3]| -> [f64; 3] {
                std::array::from_fn(|axis| (p[axis] - (sides[axis] as f64 - 1.0) / 2.0) * mm[axis])
            };
            let source = std::array::from_fn(|axis| offset[axis] + (0..3).map(|from| linear[axis][from] * target[from]).sum::<f64>());
            for (found, expected) in forward(&pose, to_mm(source)).iter().zip(to_mm(target)) {
                prop_assert!((found - expected).abs() < 1e-9, "{found} {expected}");
            }
        }

        #[test]
        fn any_pose_gives_what_the_textbook_gives(pose in any_pose(), dark in 0usize..5) {
            let (sides, mm) = ([6, 7, 5], [2.0, 2.0, 3.0]);
            let mut volume = numbered(sides);
            // The brain does not fill the volume.
            volume[..dark * 35].fill(0.0);
            let Map { linear, offset } = pose.source_from_target(sides, mm);
            let moved = posed(volume.clone(), sides, mm, &pose);
            for x in 0..sides[0] {
                for y in 0..sides[1] {
                    for z in 0..sides[2] {
                        let target = [x as f64, y as f64, z as f64];
                        let at = std::array::from_fn(|axis| offset[axis] + (0..3).map(|from| linear[axis][from] * target[from]).sum::<f64>());
                        let expected = interpolated(&volume, sides, at);
                        let found = f64::from(moved[index(sides, [x, y, z])]);
                        prop_assert!((found - expected).abs() < 1e-3, "{found} {expected} at {target:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn an_unmoved_volume_has_its_bits_even_through_the_resample() {
        let sides = [4, 5, 6];
        let map = STILL.source_from_target(sides, [2.0; 3]);
        assert_eq!(
            posed(numbered(sides), sides, [2.0; 3], &STILL),
            numbered(sides)
        );
        assert_eq!(resampled(&numbered(sides), sides, &map), numbered(sides));
    }

    #[test]
    fn a_mirrored_volume_is_the_same_by_copy_and_by_resample() {
        let (sides, mm) = ([4, 5, 6], [2.0; 3]);
        let mirrored = Pose {
            mirrored: true,
            ..STILL
        };
        let copy = posed(numbered(sides), sides, mm, &mirrored);
        assert_eq!(
            copy[index(sides, [0, 2, 3])],
            numbered(sides)[index(sides, [3, 2, 3])]
        );
        let map = mirrored.source_from_target(sides, mm);
        assert_eq!(resampled(&numbered(sides), sides, &map), copy);
    }

    #[test]
    fn a_shift_of_whole_voxels_in_mm_moves_voxels_whole_and_brings_in_zeros() {
        let sides = [4, 5, 6];
        let shift = Pose {
            shift_mm: [2.0, -6.0, 4.0],
            ..STILL
        };
        let moved = posed(numbered(sides), sides, [2.0, 3.0, 4.0], &shift);
        for x in 0..4 {
            for y in 0..5 {
                for z in 0..6 {
                    let expected = if x >= 1 && y + 2 < 5 && z >= 1 {
                        numbered(sides)[index(sides, [x - 1, y + 2, z - 1])]
                    } else {
                        0.0
                    };
                    assert_eq!(moved[index(sides, [x, y, z])], expected, "{x} {y} {z}");
                }
            }
        }
    }

    #[test]
    fn a_quarter_turn_about_z_brings_x_to_y() {
        let sides = [5, 5, 3];
        let quarter = Pose {
            rotation_radians: [0.0, 0.0, std::f64::consts::FRAC_PI_2],
            ..STILL
        };
        let mut volume = vec![0.0; 75];
        volume[index(sides, [4, 2, 1])] = 1.0;
        let moved = posed(volume, sides, [2.0; 3], &quarter);
        assert!((moved[index(sides, [2, 4, 1])] - 1.0).abs() < 1e-6);
        assert!((moved.iter().sum::<f32>() - 1.0).abs() < 1e-6);
    }

    #[test]
    fn a_volume_without_a_brain_stays_empty() {
        let grown = Pose {
            scale: 1.1,
            ..STILL
        };
        assert_eq!(
            posed(vec![0.0; 24], [2, 3, 4], [2.0; 3], &grown),
            vec![0.0; 24]
        );
    }
}
