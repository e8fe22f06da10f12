//! N4 against fields that are known.

use std::borrow::Cow;

use super::*;
use crate::volume::Mask;

const SIDE: usize = 32;

fn params() -> N4 {
    N4 {
        grid_mm: 4.0,
        levels: 4,
        iterations: 50,
        convergence: 1e-3,
        histogram_bins: 200,
        fwhm: 0.15,
        noise: 0.01,
    }
}

/// A head-sized cube of 4 mm voxels whose values are a function of the place, −1 to 1 along each axis.
fn cube(mut f: impl FnMut([f64; 3]) -> f64) -> Volume {
    let shape = VoxelShape([SIDE; 3]);
    let values = (0..shape.n_voxels())
        .map(|i| f(voxel_at(shape, i).map(|at| at as f64 / 15.5 - 1.0)) as f32)
        .collect();
    Volume::new(values, shape, Affine::grid([4.0; 3], [-62.0; 3])).unwrap()
}

fn ball() -> Mask {
    cube(|[x, y, z]| x * x + y * y + z * z).map(|squared| *squared < 0.81)
}

/// Folded layers of three tissues with 3 % noise, as a brain has them; 0 outside the ball.
fn phantom(log_field: impl Fn([f64; 3]) -> f64) -> Volume {
    let mut state = 1_u64;
    let mut noise = move || {
        // The top bits of a linear congruential generator, summed to something bell-shaped.
        let mut next = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f64 / (1_u64 << 24) as f64 - 0.5
        };
        (next() + next() + next() + next()) * 3.0_f64.sqrt()
    };
    let inside = ball();
    let mut voxel = 0;
    cube(|at| {
        voxel += 1;
        if !inside.values()[voxel - 1] {
            return 0.0;
        }
        let [x, y, z] = at;
        let folds = (9.0 * x + 2.0 * (7.0 * y).sin()).sin() + (8.0 * z + y).cos();
        let tissue = match folds {
            f if f < -0.9 => 350.0,
            f if f < 0.25 => 700.0,
            _ => 1000.0,
        };
        (tissue + 25.0 * noise()) * log_field(at).exp()
    })
}

/// Root mean square of the log field found less the true one inside the ball, levels apart; and of the true one.
fn residual(found: &BiasField, true_log: impl Fn([f64; 3]) -> f64) -> (f64, f64) {
    let (inside, expected) = (ball(), cube(true_log));
    let deviation = |values: &[f64]| {
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        (squares / values.len() as f64).sqrt()
    };
    let field = found.to_volume();
    let pairs = field.values().iter().zip(expected.values());
    let (mut left, mut whole) = (Vec::new(), Vec::new());
    for ((found, expected), _) in pairs.zip(inside.values()).filter(|(_, inside)| **inside) {
        left.push(f64::from(found.ln()) - f64::from(*expected));
        whole.push(f64::from(*expected));
    }
    (deviation(&left), deviation(&whole))
}

fn estimated(scan: &Volume) -> BiasField {
    estimate_bias_field(scan, &PlacedMask::of_scan(Cow::Owned(ball())), &params()).unwrap()
}

#[test]
fn smooth_fields_on_layered_tissue_are_recovered() {
    type LogField = fn([f64; 3]) -> f64;
    let fields: [(&str, LogField); 3] = [
        ("slope", |[x, y, _]| 0.3 * x - 0.1 * y),
        ("bowl", |[x, y, z]| 0.4 * (x * x + 0.5 * y * y - z)),
        ("coil", |[x, y, z]| {
            let squared = (x - 0.6).powi(2) + (y - 0.5).powi(2) + (z - 0.4).powi(2);
            0.6 * (-squared).exp()
        }),
    ];
    for (name, field) in fields {
        let (left, whole) = residual(&estimated(&phantom(field)), field);
        println!("{name}: {left:.4} of {whole:.4} is left");
        assert!(left < 0.1 * whole, "{name}: {left} of {whole}");
    }
}

#[test]
fn an_even_scan_stays_even() {
    let (left, _) = residual(&estimated(&phantom(|_| 0.0)), |_| 0.0);
    // Noise and layers alone: a hundredth of the tissues' contrast.
    assert!(left < 0.01, "{left}");
    let flat = ball().map(|inside| if *inside { 500.0 } else { 0.0 });
    let field = estimated(&flat);
    assert!(field.to_volume().values().iter().all(|v| *v == 1.0));
}

#[test]
fn the_unit_of_the_scan_does_not_matter() {
    let scan = phantom(|[x, ..]| 0.3 * x);
    let brighter = scan.map(|value| 37.0 * value);
    let (one, other) = (
        estimated(&scan).to_volume(),
        estimated(&brighter).to_volume(),
    );
    let pairs = one.values().iter().zip(other.values());
    // Logarithms of f32 values: a last bit may move one value to the next bin.
    for (one, other) in pairs {
        assert!((one / other - 1.0).abs() < 1e-3, "{one} {other}");
    }
}

#[test]
fn the_same_scan_gives_the_same_bits() {
    let scan = phantom(|[_, y, _]| 0.2 * y * y);
    assert_eq!(estimated(&scan), estimated(&scan));
}

#[test]
fn correction_divides_by_the_field_and_keeps_the_level() {
    let scan = phantom(|[x, _, z]| 0.3 * x * z + 0.2 * z);
    let field = estimated(&scan);
    let mut corrected = scan.clone();
    field.correct(&mut corrected);
    let factors = field.to_volume();
    let mut log_sum = 0.0;
    for (i, inside) in ball().values().iter().enumerate() {
        let product = corrected.values()[i] * factors.values()[i];
        assert!((product - scan.values()[i]).abs() < 1e-3);
        if *inside {
            log_sum += f64::from(factors.values()[i].ln());
        }
    }
    assert!((log_sum / ball().count() as f64).abs() < 1e-5, "{log_sum}");
}

#[test]
fn finer_voxels_of_the_same_scan_give_the_same_field() {
    // Every voxel eight times: sampled at every second one, the coarse grid sees the same values.
    let field = |[x, y, _]: [f64; 3]| 0.3 * x + 0.2 * y * y;
    let scan = phantom(field);
    let fine_shape = VoxelShape([2 * SIDE; 3]);
    let doubled = (0..fine_shape.n_voxels())
        .map(|i| {
            let at = voxel_at(fine_shape, i).map(|at| at / 2);
            scan.get(at).unwrap()
        })
        .collect();
    let fine = Volume::new(doubled, fine_shape, Affine::grid([2.0; 3], [-63.0; 3])).unwrap();
    let (coarse, fine) = (estimated(&scan).to_volume(), estimated(&fine).to_volume());
    for at in [[16, 16, 16], [8, 20, 12], [22, 10, 16]] {
        let (one, other) = (
            coarse.get(at).unwrap(),
            fine.get(at.map(|at| 2 * at)).unwrap(),
        );
        assert!((one / other - 1.0).abs() < 1e-2, "{one} {other}");
    }
}

#[test]
fn a_mask_without_voxels_is_refused() {
    let empty = ball().map(|_| false);
    let refused = estimate_bias_field(
        &phantom(|_| 0.0),
        &PlacedMask::of_scan(Cow::Owned(empty)),
        &params(),
    );
    assert_eq!(refused, Err(TooFewVoxels(0)));
}
