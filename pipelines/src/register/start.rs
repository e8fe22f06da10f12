//! Where registration starts: the head's center, under many rotations.

use nalgebra::{Matrix3, Vector3};

use super::level::rotation;
use crate::field_of_view::{TOP_PERCENTILE, foreground};
use crate::intensity::percentile;
use crate::space::Affine;
use crate::volume::Volume;

/// How much of the head, from its top, is taken for its center, in mm: necks differ.
const TOP_MM: f64 = 150.0;
/// Heads are a little smaller than the template.
const SCALE: f64 = 0.95;
/// Rotations about x, y and z that are combined, in degrees: nods are the widest.
const NODS: [f64; 5] = [0.0, -20.0, 20.0, -40.0, 40.0];
const TILTS: [f64; 3] = [0.0, -25.0, 25.0];
const TURNS: [f64; 3] = [0.0, -25.0, 25.0];
/// Shifts along the head's own axis, in mm: the center is only roughly the same.
const SHIFTS_MM: [f64; 3] = [0.0, -25.0, 25.0];

/// The positions of a head's voxels, world mm.
pub(super) struct Head(Vec<Vector3<f64>>);

impl Head {
    /// The foreground of a coarse volume; `None` where there is none.
    pub(super) fn find(coarse: &Volume) -> Option<Self> {
        let [nx, ny, _] = coarse.shape().0;
        let inside = foreground(coarse.values(), coarse.shape());
        let voxel = |i: usize| [i % nx, i / nx % ny, i / (nx * ny)].map(|v| v as f64);
        let world = coarse.world_from_voxel();
        let points: Vec<_> = (0..inside.len())
            .filter(|i| inside[*i])
            .map(|i| Vector3::from(world.apply(voxel(i))))
            .collect();
        (!points.is_empty()).then_some(Self(points))
    }
}

/// The center of what lies at most [`TOP_MM`] below the top, if `up` is where the top is.
pub(super) fn center_of_top(head: &Head, up: [f64; 3]) -> [f64; 3] {
    let up = Vector3::from(up);
    let mut heights: Vec<f32> = head.0.iter().map(|point| up.dot(point) as f32).collect();
    let top = percentile(&mut heights, TOP_PERCENTILE).map_or(0.0, f64::from);
    let upper = head.0.iter().filter(|point| up.dot(point) > top - TOP_MM);
    let (sum, count) = upper.fold((Vector3::zeros(), 0_usize), |(sum, count), point| {
        (sum + point, count + 1)
    });
    (sum / count.max(1) as f64).into()
}

/// How far the axes of a scan can be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pose {
    /// The head's axes are the scan's within about 45°.
    Upright,
    /// Axes may be exchanged and turned in any of 24 ways.
    Unknown,
}

/// All starting points, `scan_from_mni`, that are worth a look.
pub(super) fn candidates(head: &Head, template_center: [f64; 3], pose: Pose) -> Vec<Affine> {
    let axes = match pose {
        Pose::Upright => vec![Matrix3::identity()],
        Pose::Unknown => axis_rotations(),
    };
    let mut found = vec![Affine::identity()];
    for turned in axes {
        for (nod, tilt, turn) in NODS.into_iter().flat_map(|nod| {
            TILTS
                .into_iter()
                .flat_map(move |tilt| TURNS.into_iter().map(move |turn| (nod, tilt, turn)))
        }) {
            let turned = turned * rotation([nod, tilt, turn]);
            let up: Vector3<f64> = turned.column(2).into_owned();
            let center = Vector3::from(center_of_top(head, up.into()));
            let linear = turned * SCALE;
            for shift in SHIFTS_MM {
                let translation = center - linear * Vector3::from(template_center) + up * shift;
                found.push(Affine::from_parts(&linear, &translation));
            }
        }
    }
    found
}

/// The 24 ways to turn a cube onto itself.
fn axis_rotations() -> Vec<Matrix3<f64>> {
    let mut found = Vec::with_capacity(24);
    for (x, y) in (0..6).flat_map(|x| (0..6).map(move |y| (x, y))) {
        let unit = |code: usize| {
            let mut axis = Vector3::zeros();
            axis[code / 2] = if code.is_multiple_of(2) { 1.0 } else { -1.0 };
            axis
        };
        if x / 2 != y / 2 {
            let (right, front) = (unit(x), unit(y));
            found.push(Matrix3::from_columns(&[right, front, right.cross(&front)]));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_24_axis_rotations_and_none_mirrors() {
        let all = axis_rotations();
        assert_eq!(all.len(), 24);
        assert!(
            all.iter()
                .all(|turn| (turn.determinant() - 1.0).abs() < 1e-12)
        );
    }

    #[test]
    fn the_center_of_the_top_ignores_what_is_far_below() {
        let points = (0..100)
            .map(|i| Vector3::new(1.0, 2.0, f64::from(i) * -4.0))
            .collect();
        let center = center_of_top(&Head(points), [0.0, 0.0, 1.0]);
        assert!((center[2] + 75.0).abs() < 4.0, "{center:?}");
    }
}
