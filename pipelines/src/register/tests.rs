//! Known maps must be found again.

use super::level::rotation;
use super::*;
use crate::interpolate::trilinear;
use crate::space::VoxelShape;
use crate::template::template;

/// The template, seen through `scan_from_mni` by a scanner with 3 mm voxels.
fn scan_of_template(scan_from_mni: Affine, shape: [usize; 3], origin_mm: [f64; 3]) -> Volume {
    let t1 = &template().unwrap().t1;
    let smooth = reduce(t1, 3.0);
    let world_from_voxel = Affine::grid([3.0; 3], origin_mm);
    let at = smooth.voxel_from_world() * scan_from_mni.inverse().unwrap() * world_from_voxel;
    let shape = VoxelShape(shape);
    let [nx, ny, _] = shape.0;
    let values = (0..shape.n_voxels()).map(|i| {
        let voxel = [i % nx, i / nx % ny, i / (nx * ny)].map(|v| v as f64);
        trilinear(smooth.values(), smooth.shape(), at.apply(voxel)).unwrap_or(0.0)
    });
    Volume::new(values.collect(), shape, world_from_voxel).unwrap()
}

/// Mean distance in mm over the template's brain between where two maps put it.
fn mean_distance(one: Affine, other: Affine) -> f64 {
    let brain = &template().unwrap().levels().brain;
    let distance = |point: &[f32; 3]| {
        let point = point.map(f64::from);
        let (a, b) = (one.apply(point), other.apply(point));
        (0..3)
            .map(|axis| (a[axis] - b[axis]).powi(2))
            .sum::<f64>()
            .sqrt()
    };
    brain.iter().map(distance).sum::<f64>() / brain.len() as f64
}

fn check_recovered(scan_from_mni: Affine, pose: Pose) {
    let scan = scan_of_template(scan_from_mni, [80, 92, 80], [-120.0, -140.0, -110.0]);
    let found = register(&scan, template().unwrap(), pose).unwrap();
    let missed = mean_distance(found.mni_from_scan.inverse().unwrap(), scan_from_mni);
    assert!(
        missed < 1.0,
        "{missed:.2} mm, correlation {:.3}",
        found.correlation
    );
    assert!(found.correlation > 0.95 && !found.skull_stripped);
}

fn turned(degrees: [f64; 3], scale: [f64; 3], shift_mm: [f64; 3]) -> Affine {
    let stretch = nalgebra::Matrix3::from_diagonal(&scale.into());
    Affine::from_parts(&(rotation(degrees) * stretch), &shift_mm.into())
}

#[test]
fn an_aligned_template_stays_where_it_is() {
    let found = register(&template().unwrap().t1, template().unwrap(), Pose::Upright).unwrap();
    let missed = mean_distance(found.mni_from_scan, Affine::identity());
    assert!(missed < 0.3, "{missed} mm");
    assert!(
        found.correlation > 0.99 && found.brain_inside > 0.99,
        "{found:?}"
    );
}

#[test]
fn a_nod_of_20_degrees_with_scale_and_shift_is_recovered() {
    check_recovered(
        turned([20.0, -8.0, 10.0], [0.92, 0.97, 0.9], [12.0, -20.0, 18.0]),
        Pose::Upright,
    );
}

#[test]
fn turns_and_tilts_of_20_degrees_are_recovered() {
    check_recovered(
        turned([-18.0, 20.0, -20.0], [1.0, 0.93, 0.96], [-15.0, 10.0, -9.0]),
        Pose::Upright,
    );
}

#[test]
fn a_head_that_lies_on_its_side_is_recovered_in_any_pose() {
    check_recovered(
        turned([5.0, 90.0, 0.0], [0.95, 0.95, 0.95], [10.0, 0.0, 0.0]),
        Pose::Unknown,
    );
}

#[test]
fn a_brain_without_skull_is_recognized_and_recovered() {
    let scan_from_mni = turned([8.0, 4.0, -6.0], [0.93, 0.95, 0.9], [6.0, -4.0, 12.0]);
    let mut scan = scan_of_template(scan_from_mni, [80, 92, 80], [-120.0, -140.0, -110.0]);
    let template = template().unwrap();
    let mask =
        crate::mask::template_mask_on_scan(&scan, &scan_from_mni.inverse().unwrap(), template);
    scan.values_mut()
        .iter_mut()
        .zip(mask.values())
        .filter(|(_, m)| !**m)
        .for_each(|(v, _)| *v = 0.0);
    let found = register(&scan, template, Pose::Upright).unwrap();
    let missed = mean_distance(found.mni_from_scan.inverse().unwrap(), scan_from_mni);
    assert!(
        found.skull_stripped && missed < 1.0,
        "{missed} mm, {found:?}"
    );
}

#[test]
fn an_empty_scan_has_no_registration() {
    let shape = VoxelShape([30, 30, 30]);
    let empty = Volume::new(
        vec![0.0; shape.n_voxels()],
        shape,
        Affine::grid([6.0; 3], [-90.0; 3]),
    )
    .unwrap();
    assert_eq!(register(&empty, template().unwrap(), Pose::Upright), None);
}
