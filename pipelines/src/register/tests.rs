//! What registration promises, on the template itself: the truth is known there.

use nalgebra::{Rotation3, Vector3};

use super::{Pose, register};
use crate::space::{Affine, VoxelShape};
use crate::template::template;
use crate::volume::Volume;

/// Every other voxel of the template, moved in the world by `scan_from_mni`.
fn moved_template(scan_from_mni: Affine) -> Volume {
    let t1 = &template().unwrap().t1;
    let [nx, ny, nz] = t1.shape().0.map(|side| side.div_ceil(2));
    let mut values = Vec::with_capacity(nx * ny * nz);
    for z in 0..nz {
        for y in 0..ny {
            values.extend((0..nx).map(|x| t1.get([2 * x, 2 * y, 2 * z]).unwrap()));
        }
    }
    let every_other = t1.world_from_voxel() * Affine::grid([2.0; 3], [0.0; 3]);
    Volume::new(
        values,
        VoxelShape([nx, ny, nz]),
        scan_from_mni * every_other,
    )
    .unwrap()
}

/// Mean distance in mm between where the map puts points of the brain and where they belong.
fn mean_error_mm(scan_from_mni: Affine) -> f64 {
    let found = register(
        &moved_template(scan_from_mni),
        template().unwrap(),
        Pose::Upright,
    )
    .unwrap();
    let round_trip = found.mni_from_scan * scan_from_mni;
    let points = [
        [-50.0, -60.0, 0.0],
        [50.0, -60.0, 0.0],
        [0.0, 60.0, 10.0],
        [0.0, -20.0, 70.0],
        [0.0, -40.0, -40.0],
    ];
    let distance = |p: [f64; 3]| (Vector3::from(round_trip.apply(p)) - Vector3::from(p)).norm();
    points.iter().map(|p| distance(*p)).sum::<f64>() / points.len() as f64
}

#[test]
fn a_template_in_place_stays_in_place() {
    let error = mean_error_mm(Affine::identity());
    // A quarter of the finest level's voxels.
    assert!(error < 0.5, "{error} mm");
}

#[test]
fn a_known_affine_is_found_again() {
    let rotation = Rotation3::from_euler_angles(0.2, -0.15, 0.1).into_inner();
    let stretch = nalgebra::Matrix3::from_diagonal(&Vector3::new(1.08, 0.95, 1.04));
    let known = Affine::from_parts(&(rotation * stretch), &Vector3::new(12.0, -9.0, 15.0));
    let error = mean_error_mm(known);
    // Half of the finest level's voxels, averaged over the brain's edge where errors are largest.
    assert!(error < 1.0, "{error} mm");
}

#[test]
fn an_empty_scan_has_no_place() {
    let empty = Volume::new(
        vec![0.0; 32_768],
        VoxelShape([32; 3]),
        Affine::grid([4.0; 3], [-64.0; 3]),
    )
    .unwrap();
    assert!(register(&empty, template().unwrap(), Pose::Upright).is_none());
}
