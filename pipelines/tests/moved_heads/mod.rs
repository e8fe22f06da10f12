//! Heads that a known affine has moved, turned and stretched, put in a scanner, and how far off preprocessing finds them.
//!
//! All of a draw is a function of its number. Shared by `tests/registration.rs` (a few draws) and
//! `examples/registration_draws.rs` (as many as one likes).

use std::error::Error;
use std::path::Path;

use brainage_pipelines::format::write_nifti_i16;
use brainage_pipelines::preprocess::preprocess;
use brainage_pipelines::qc::QcVerdict;
use brainage_pipelines::recipe::Recipe;
use brainage_pipelines::resample::resample;
use brainage_pipelines::template::Template;
use brainage_pipelines::{Affine, Mask, Volume, VoxelShape};
use nalgebra::{Matrix3, Rotation3, Vector3};

/// Turns about each axis, either way.
const TURN_DEGREES: f64 = 30.0;
/// Shifts along each axis, either way.
const SHIFT_MM: f64 = 60.0;
/// Size of the head along each of its axes, and its inverse.
const LARGEST_SCALE: f64 = 1.25;
/// The scanner's grid is a cube that holds the largest head at the largest shift.
const SIDE: usize = 148;
const VOXEL_MM: f64 = 3.0;
/// Largest amplitude of each of the bias field's waves, natural logarithm: together a standard deviation of about 0.11, as
/// of the fields in `tools/compare_n4.py`.
const BIAS: f64 = 0.14;
/// Standard deviation of the noise, as a share of the brightest voxel.
const NOISE: f64 = 0.02;
/// Exponents of the contrast, 1 / this to this.
const CONTRAST: f64 = 1.25;
/// Largest radius of a blob in the brain that is as bright as fat.
const BLOB_MM: f64 = 18.0;

/// How much is done to the picture beside moving it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spoilt {
    /// Nothing.
    Not,
    /// Bias field, contrast, noise and a blob.
    Moderately,
    /// The same with twice the bias field and noise.
    Badly,
}

impl Spoilt {
    fn strength(self) -> f64 {
        match self {
            Self::Not => 0.0,
            Self::Moderately => 1.0,
            Self::Badly => 2.0,
        }
    }
}

/// Where one head lies, and what the scanner does to its picture.
pub(crate) struct Draw {
    spoilt: Spoilt,
    /// World mm of the scan ← mm of the head as it lies in its own file.
    pub(crate) moved_from_head: Affine,
    contrast: f64,
    /// Amplitude, waves a metre along each axis, and phase.
    waves: [[f64; 5]; 4],
    blob_center: Vector3<f64>,
    blob_mm: f64,
    noise_key: u64,
}

impl Draw {
    /// The draw of this number.
    pub(crate) fn number(number: u64, spoilt: Spoilt) -> Self {
        let mut stream = blake3::Hasher::new()
            .update(b"moved head")
            .update(&number.to_le_bytes())
            .finalize_xof();
        let mut within = |low: f64, high: f64| {
            let mut bytes = [0; 8];
            stream.fill(&mut bytes);
            let share = (u64::from_le_bytes(bytes) >> 11) as f64 / (1_u64 << 53) as f64;
            low + share * (high - low)
        };
        let mut three = |bound: f64| [(); 3].map(|()| within(-bound, bound));
        let [nod, tilt, turn] = three(TURN_DEGREES).map(f64::to_radians);
        let shift = Vector3::from(three(SHIFT_MM));
        let scales = three(LARGEST_SCALE.ln()).map(f64::exp);
        let linear = Rotation3::from_euler_angles(nod, tilt, turn).into_inner()
            * Matrix3::from_diagonal(&scales.into());
        Self {
            spoilt,
            moved_from_head: Affine::from_parts(&linear, &shift),
            contrast: within(-CONTRAST.ln(), CONTRAST.ln()).exp(),
            waves: [(); 4].map(|()| {
                let [x, y, z] = [(); 3].map(|()| within(-15.0, 15.0));
                [within(-BIAS, BIAS), x, y, z, within(0.0, 6.3)]
            }),
            blob_center: Vector3::new(
                within(-45.0, 45.0),
                within(-75.0, 40.0),
                within(-10.0, 50.0),
            ),
            blob_mm: within(0.0, BLOB_MM),
            noise_key: within(0.0, 9e15) as u64,
        }
    }

    /// The head as the scanner sees it; `head` is any T1 volume in its own world.
    pub(crate) fn scan_of(&self, head: &Volume, recipe: &Recipe) -> Result<Volume, Box<dyn Error>> {
        let shape = VoxelShape([SIDE; 3]);
        let first_mm = -0.5 * VOXEL_MM * (SIDE - 1) as f64;
        let place = Affine::grid([VOXEL_MM; 3], [first_mm; 3]);
        let everywhere = Mask::new(vec![true; shape.n_voxels()], shape, place)?;
        let (mut scan, _) = resample(head, &self.moved_from_head, &everywhere, &recipe.resample)
            .ok_or("the head lies outside the scanner")?;
        let brightest = head.values().iter().copied().fold(0.0, f32::max);
        let brightest = f64::from(brightest);
        let head_from_moved = self.moved_from_head.inverse().ok_or("a flat head")?;
        let head_from_voxel = head_from_moved * place;
        let (linear, translation) = (head_from_voxel.linear(), head_from_voxel.translation());
        let strength = self.spoilt.strength();
        if strength == 0.0 {
            return Ok(scan);
        }
        for (i, value) in scan.values_mut().iter_mut().enumerate() {
            let mut seen = 0.0;
            if *value > 0.0 {
                let voxel = [i % SIDE, i / SIDE % SIDE, i / (SIDE * SIDE)].map(|v| v as f64);
                let voxel = Vector3::from(voxel);
                let mut share = f64::from(*value) / brightest;
                if (linear * voxel + translation - self.blob_center).norm() < self.blob_mm {
                    share = 0.9;
                }
                let at_m = voxel * (VOXEL_MM / 1000.0);
                let wave = |[amplitude, x, y, z, phase]: &[f64; 5]| {
                    amplitude * (x * at_m.x + y * at_m.y + z * at_m.z + phase).sin()
                };
                let bias: f64 = self.waves.iter().map(wave).sum();
                seen = share.powf(self.contrast) * (strength * bias).exp();
            }
            let [real, imaginary] = noise(self.noise_key, i as u64).map(|n| strength * n);
            // Magnitude of a complex signal: Rician noise.
            *value = (1000.0 * (seen + real).hypot(imaginary)) as f32;
        }
        Ok(scan)
    }

    /// Takes the moved head through a recipe, from a file in `folder` on, and compares with where it was put.
    ///
    /// `mni_from_head` is where the head lies on the template as it came: the identity for the template itself.
    pub(crate) fn found(
        &self,
        head: &Volume,
        mni_from_head: Affine,
        recipe: &Recipe,
        template: &Template,
        folder: &Path,
    ) -> Result<Found, Box<dyn Error>> {
        let path = folder.join(format!("{}.nii", self.noise_key));
        write_nifti_i16(&path, &self.scan_of(head, recipe)?, "moved head")?;
        let result = preprocess(&path, recipe, template);
        fs_err::remove_file(&path)?;
        let result = result?;
        let head_from_mni = mni_from_head.inverse().ok_or("a flat head")?;
        let truth = self.moved_from_head * head_from_mni;
        let found = result.mni_from_scan.inverse().ok_or("a flat result")?;
        let measure = |name: &str| result.qc.metrics.get(name).copied();
        Ok(Found {
            error_mm: mean_distance(truth, found, &template.mask),
            correlation: measure("template_correlation").unwrap_or(f64::NAN),
            verdict: result.qc.verdict,
        })
    }
}

/// How a moved head was found.
pub(crate) struct Found {
    /// Mean distance in the scan, over the brain, between where it is and where preprocessing has it.
    pub(crate) error_mm: f64,
    pub(crate) correlation: f64,
    pub(crate) verdict: QcVerdict,
}

/// Over every seventh voxel of the template's brain, in mm of the scan.
fn mean_distance(one: Affine, other: Affine, brain: &Mask) -> f64 {
    let [nx, ny, _] = brain.shape().0;
    let inside = (0..brain.values().len())
        .step_by(7)
        .filter(|i| brain.values()[*i]);
    let (mut sum, mut count) = (0.0, 0_usize);
    for i in inside {
        let voxel = [i % nx, i / nx % ny, i / (nx * ny)].map(|v| v as f64);
        let at = brain.world_from_voxel().apply(voxel);
        let [a, b] = [one, other].map(|map| Vector3::from(map.apply(at)));
        sum += (a - b).norm();
        count += 1;
    }
    sum / count.max(1) as f64
}

/// Two nearly normal numbers of this voxel, standard deviation [`NOISE`].
fn noise(key: u64, voxel: u64) -> [f64; 2] {
    let mut state = key ^ voxel.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    [(); 2].map(|()| {
        // Steele et al. 2014, SplitMix64.
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = state;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^= bits >> 31;
        // Four numbers of 16 bits: their sum has the variance 4/12.
        let sum: u64 = (0..4).map(|i| bits >> (16 * i) & 0xffff).sum();
        (sum as f64 / 65_536.0 - 2.0) * 3.0_f64.sqrt() * NOISE
    })
}
