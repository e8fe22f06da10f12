//! Scans, and copies of them spoilt in known ways: the template as a scan always, real ones where they are.

use std::path::Path;

use super::*;
use crate::format::read_scan;
use crate::mask::template_mask_on_scan;
use crate::pyramid::reduce;
use crate::register::{Pose, register};
use crate::space::{Affine, VoxelShape};
use crate::template::template;

/// Two adults, 2 mm.
const REAL: [&str; 2] = ["IXI012-HH-1211", "IXI049-HH-1358"];

fn scans() -> Vec<(String, Volume)> {
    let mut scans = vec![("template".to_owned(), reduce(&template().unwrap().t1, 2.0))];
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    let data = std::env::var_os("BRAINAGE_DATA").map_or(beside, Into::into);
    for name in REAL {
        let path = data.join(format!("mri/ixi/{name}-T1.nii.gz"));
        if path.is_file() {
            scans.push((name.to_owned(), read_scan(&path).unwrap().volume));
        } else {
            println!("skipped: no real scan `{}`", path.display());
        }
    }
    scans
}

fn judged(scan: &Volume) -> Qc {
    let template = template().unwrap();
    let registration = register(scan, template, Pose::Upright).unwrap();
    let evidence = Evidence {
        scan,
        registration: &registration,
        brain: None,
        mask_dice: None,
    };
    judge(&evidence, template)
}

/// Judges a spoilt copy of every scan; the verdict must be at least `least`, and `reason` be among the reasons.
fn check(spoil: impl Fn(&Volume) -> Volume, least: QcVerdict, reason: &str) {
    for (name, scan) in scans() {
        let qc = judged(&spoil(&scan));
        println!("{name}: {qc:?}");
        assert!(qc.verdict >= least, "{name}: {qc:?}");
        let said = qc.reasons.iter().any(|said| said.contains(reason));
        assert!(said, "{name}: {qc:?}");
    }
}

/// The mean of what is bright.
fn bright(scan: &Volume) -> f32 {
    crate::intensity::percentile(&mut scan.values().to_vec(), 99.0).unwrap()
}

fn placed(scan: &Volume, change: Affine) -> Volume {
    let place = change * scan.world_from_voxel();
    Volume::new(scan.values().to_vec(), scan.shape(), place).unwrap()
}

fn ghosted(scan: &Volume, share: f32) -> Volume {
    let [nx, ny, _] = scan.shape().0;
    let mut ghosted = scan.clone();
    for (i, value) in ghosted.values_mut().iter_mut().enumerate() {
        let (y, row) = (i / nx % ny, i / (nx * ny) * ny);
        let other = scan.values()[(row + (y + ny / 2) % ny) * nx + i % nx];
        *value += share * (other - *value);
    }
    ghosted
}

/// Rician noise of `share` of what is bright, the same at each call.
fn noisy(scan: &Volume, share: f32) -> Volume {
    let deviation = f64::from(share * bright(scan));
    let mut state = 7_u64;
    let mut uniform = move || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        ((state >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
    };
    scan.map(|value| {
        let radius = deviation * (-2.0 * uniform().ln()).sqrt();
        let angle = std::f64::consts::TAU * uniform();
        (f64::from(*value) + radius * angle.cos()).hypot(radius * angle.sin()) as f32
    })
}

fn without_top(scan: &Volume, share: f64) -> Volume {
    let [nx, ny, nz] = scan.shape().0;
    let kept = (nz as f64 * (1.0 - share)) as usize;
    let values = scan.values()[..nx * ny * kept].to_vec();
    Volume::new(values, VoxelShape([nx, ny, kept]), scan.world_from_voxel()).unwrap()
}

#[test]
fn untouched_scans_pass() {
    for (name, scan) in scans() {
        let qc = judged(&scan);
        println!("{name}: {qc:?}");
        assert_eq!(qc.verdict, QcVerdict::Pass, "{name}: {qc:?}");
    }
}

#[test]
fn a_brain_cut_by_the_field_of_view_is_warned_of() {
    // The top of the head is where the field of view ends, or 2 to 6 cm below.
    let cut = |scan: &Volume| without_top(scan, 0.3);
    check(cut, QcVerdict::Warn, "outside the field of view");
}

#[test]
fn inverted_contrast_fails() {
    let inverted = |scan: &Volume| {
        let white = bright(scan);
        scan.map(|value| (white - value).max(0.0))
    };
    check(inverted, QcVerdict::Fail, "is it a T1 scan");
    let within_head = |scan: &Volume| {
        let white = bright(scan);
        scan.map(|value| {
            if *value > 0.1 * white {
                (1.1 * white - value).max(0.0)
            } else {
                *value
            }
        })
    };
    check(within_head, QcVerdict::Fail, "is it a T1 scan");
}

#[test]
fn noise_is_warned_of_and_much_noise_fails() {
    check(
        |scan| noisy(scan, 0.12),
        QcVerdict::Warn,
        "the scan is noisy",
    );
    check(
        |scan| noisy(scan, 0.25),
        QcVerdict::Fail,
        "the scan is noisy",
    );
}

#[test]
fn ghosts_in_the_air_are_warned_of() {
    check(
        |scan| ghosted(scan, 0.2),
        QcVerdict::Warn,
        "stands in the air",
    );
}

#[test]
fn a_sheared_affine_is_warned_of_and_a_much_sheared_one_fails() {
    let sheared = |by: f64| {
        Affine::from_rows([
            [1.0, by, 0.0, 0.0],
            [0.0, 1.0, 0.0, 0.0],
            [0.0, 0.0, 1.0, 0.0],
        ])
    };
    check(
        |scan| placed(scan, sheared(0.2)),
        QcVerdict::Warn,
        "sheared",
    );
    check(
        |scan| placed(scan, sheared(0.4)),
        QcVerdict::Fail,
        "sheared",
    );
}

#[test]
fn halved_voxel_sizes_fail() {
    let half = Affine::grid([0.5; 3], [0.0; 3]);
    check(|scan| placed(scan, half), QcVerdict::Fail, "");
}

#[test]
fn a_removed_skull_is_warned_of() {
    let template = template().unwrap();
    let stripped = |scan: &Volume| {
        let mni_from_scan = register(scan, template, Pose::Upright)
            .unwrap()
            .mni_from_scan;
        let mask = template_mask_on_scan(scan, &mni_from_scan, template);
        let mut stripped = scan.clone();
        let values = stripped.values_mut().iter_mut().zip(mask.values());
        values
            .filter(|(_, inside)| !**inside)
            .for_each(|(value, _)| *value = 0.0);
        stripped
    };
    check(stripped, QcVerdict::Warn, "skull");
}

#[test]
fn a_mirrored_scan_has_the_other_asymmetry_and_the_same_verdict() {
    for (name, scan) in scans() {
        let nx = scan.shape().0[0];
        let mut mirrored = scan.clone();
        mirrored
            .values_mut()
            .chunks_exact_mut(nx)
            .for_each(<[f32]>::reverse);
        let (one, other) = (judged(&scan), judged(&mirrored));
        let sum = one.metrics["side_asymmetry"] + other.metrics["side_asymmetry"];
        assert!(sum.abs() < 0.03, "{name}: {one:?} {other:?}");
        assert_eq!(one.verdict, other.verdict, "{name}");
    }
}

#[test]
fn a_learned_mask_at_the_edge_of_the_scan_or_off_the_template_is_noticed() {
    let template = template().unwrap();
    let scan = reduce(&template.t1, 2.0);
    let registration = register(&scan, template, Pose::Upright).unwrap();
    let with_mask = |brain: &Mask, mask_dice: f64| {
        let evidence = Evidence {
            scan: &scan,
            registration: &registration,
            brain: Some(brain),
            mask_dice: Some(mask_dice),
        };
        judge(&evidence, template)
    };
    let brain = template_mask_on_scan(&scan, &registration.mni_from_scan, template);
    assert_eq!(with_mask(&brain, 0.96).verdict, QcVerdict::Pass);
    assert_eq!(with_mask(&brain, 0.92).verdict, QcVerdict::Warn);
    assert_eq!(with_mask(&brain, 0.85).verdict, QcVerdict::Fail);
    let mut cut = brain.clone();
    let slice = scan.shape().0[0] * scan.shape().0[1];
    cut.values_mut()[..slice].fill(true);
    let qc = with_mask(&cut, 0.96);
    assert!(
        qc.metrics["brain_cut"] > 0.1 && qc.verdict == QcVerdict::Fail,
        "{qc:?}"
    );
}

#[test]
fn the_worst_measure_decides_and_what_is_no_number_fails_and_is_not_kept() {
    let mut qc = Qc {
        verdict: QcVerdict::Pass,
        reasons: Vec::new(),
        metrics: BTreeMap::new(),
    };
    let limits = Limits {
        warn: 2.0,
        fail: 1.0,
    };
    qc.at_least("fine", 2.0, limits, "never said");
    assert_eq!((qc.verdict, qc.reasons.len()), (QcVerdict::Pass, 0));
    qc.at_least("low", 1.5, limits, "it is low");
    assert_eq!(
        qc.reasons,
        ["it is low (low is 1.500, expected at least 2)"]
    );
    assert_eq!(qc.verdict, QcVerdict::Warn);
    qc.at_least("none", f64::NAN, limits, "it is unknown");
    assert_eq!(qc.verdict, QcVerdict::Fail);
    assert_eq!(qc.metrics.keys().collect::<Vec<_>>(), ["fine", "low"]);
}
