//! Where the template has which tissue, and what a scan has there.

use std::ops::RangeInclusive;

use crate::intensity::percentile;
use crate::space::Affine;
use crate::template::Template;
use crate::volume::{Mask, Volume};

/// Template voxels looked at along each axis: every second.
const STRIDE: usize = 2;
/// Template values of white matter; its peak is at 236.
const WHITE: RangeInclusive<f32> = 222.0..=255.0;
/// Those of grey matter; its peak is at 156.
const GREY: RangeInclusive<f32> = 145.0..=168.0;
/// Those of fluid.
const FLUID: RangeInclusive<f32> = 0.0..=85.0;
/// Fluid is taken from the ventricles alone, within this distance of their center (MNI mm): no affine fits the folds.
const VENTRICLES_CENTER_MM: [f64; 3] = [0.0, -15.0, 10.0];
const VENTRICLES_REACH_MM: [f64; 3] = [28.0, 45.0, 25.0];

/// Points of the template's tissues, MNI mm.
#[derive(Debug)]
pub(crate) struct TissuePoints {
    white: Vec<[f64; 3]>,
    grey: Vec<[f64; 3]>,
    fluid: Vec<[f64; 3]>,
}

impl TissuePoints {
    pub(crate) fn new(t1: &Volume, mask: &Mask) -> Self {
        let mut points = Self {
            white: Vec::new(),
            grey: Vec::new(),
            fluid: Vec::new(),
        };
        let [nx, ny, nz] = t1.shape().0;
        let every = |side: usize| (2..side.saturating_sub(2)).step_by(STRIDE);
        for (z, y) in every(nz).flat_map(|z| every(ny).map(move |y| (z, y))) {
            for x in every(nx).filter(|x| mask.get([*x, y, z]) == Some(true)) {
                let at = t1.world_from_voxel().apply([x, y, z].map(|v| v as f64));
                if deep_in(t1, [x, y, z], 1, &WHITE) {
                    points.white.push(at);
                } else if deep_in(t1, [x, y, z], 0, &GREY) {
                    points.grey.push(at);
                } else if near_ventricles(at) && deep_in(t1, [x, y, z], 2, &FLUID) {
                    points.fluid.push(at);
                }
            }
        }
        points
    }
}

/// Whether a voxel, and those `reach` away from it along the axes, have values in this range.
fn deep_in(t1: &Volume, at: [usize; 3], reach: usize, range: &RangeInclusive<f32>) -> bool {
    let is_in = |at| t1.get(at).is_some_and(|value| range.contains(&value));
    is_in(at)
        && (0..3).all(|axis| {
            let (mut ahead, mut behind) = (at, at);
            ahead[axis] += reach;
            behind[axis] = behind[axis].saturating_sub(reach);
            is_in(ahead) && is_in(behind)
        })
}

fn near_ventricles(at: [f64; 3]) -> bool {
    (0..3).all(|axis| (at[axis] - VENTRICLES_CENTER_MM[axis]).abs() <= VENTRICLES_REACH_MM[axis])
}

/// Mean and standard deviation of some voxels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Spread {
    pub(super) mean: f64,
    pub(super) deviation: f64,
}

impl Spread {
    /// `None` for no values.
    pub(super) fn of(values: &[f32]) -> Option<Self> {
        let count = values.len() as f64;
        let mean = values.iter().map(|v| f64::from(*v)).sum::<f64>() / count;
        let squares: f64 = values.iter().map(|v| (f64::from(*v) - mean).powi(2)).sum();
        (!values.is_empty()).then(|| Self {
            mean,
            deviation: (squares / count).sqrt(),
        })
    }
}

/// What a scan has where the template has its tissues; nearest voxels.
#[derive(Debug)]
pub(super) struct TissueSamples {
    pub(super) white: Spread,
    pub(super) grey: Spread,
    /// The median: where ventricles are narrow, half of the voxels may be others.
    pub(super) fluid: f64,
    /// Standard deviation of the noise in white matter, see [`noise`].
    pub(super) noise: f64,
}

/// Fewest voxels of a tissue that say something about it.
const FEWEST: usize = 50;

impl TissueSamples {
    /// `None` where one of the tissues lies outside the scan, or the affine has no inverse.
    pub(super) fn take(scan: &Volume, mni_from_scan: &Affine, template: &Template) -> Option<Self> {
        let points = template.tissues();
        let voxel_from_mni = scan.voxel_from_world() * mni_from_scan.inverse()?;
        let values = |points: &[[f64; 3]]| {
            let at = |point: &[f64; 3]| nearest(scan, voxel_from_mni.apply(*point));
            let values: Vec<f32> = points.iter().filter_map(at).collect();
            (values.len() >= FEWEST).then_some(values)
        };
        let spread = |points: &[[f64; 3]]| Spread::of(&values(points)?);
        Some(Self {
            white: spread(&points.white)?,
            grey: spread(&points.grey)?,
            fluid: f64::from(percentile(&mut values(&points.fluid)?, 50.0)?),
            noise: noise(scan, &points.white, &voxel_from_mni)?,
        })
    }
}

/// The scan's voxel next to a position; `None` outside.
pub(super) fn nearest(scan: &Volume, at: [f64; 3]) -> Option<f32> {
    scan.get(voxel(at)?)
}

fn voxel(at: [f64; 3]) -> Option<[usize; 3]> {
    // Written so that NaN is outside.
    let rounded = at.map(f64::round);
    rounded
        .iter()
        .all(|v| *v >= 0.0 && *v < 1e9)
        .then(|| rounded.map(|v| v as usize))
}

/// Standard deviation of the noise, from how much voxels of white matter differ from the mean of two opposite neighbors.
///
/// Whatever changes slowly (the bias field, the tissue itself) drops out. Scans that were interpolated or smoothed look less noisy than they were.
///
/// # References
/// Gasser, Sroka and Jennen-Steinmetz 1986, Biometrika 73(3): residuals of second differences have 3/2 of the variance.
fn noise(scan: &Volume, white: &[[f64; 3]], voxel_from_mni: &Affine) -> Option<f64> {
    let mut differences = Vec::with_capacity(3 * white.len());
    for at in white
        .iter()
        .filter_map(|point| voxel(voxel_from_mni.apply(*point)))
    {
        for axis in 0..3 {
            let (mut ahead, mut behind) = (at, at);
            ahead[axis] += 1;
            behind[axis] = behind[axis].wrapping_sub(1);
            if let (Some(value), Some(ahead), Some(behind)) =
                (scan.get(at), scan.get(ahead), scan.get(behind))
            {
                differences.push((value - f32::midpoint(ahead, behind)).abs());
            }
        }
    }
    // The mean distance from the mean of a normal distribution is √(2/π) deviations. A median would be 0 for scans that are
    // stored in few grey values.
    let mean = Spread::of(&differences)?.mean;
    Some(mean / (2.0 / std::f64::consts::PI).sqrt() / 1.5_f64.sqrt())
}
