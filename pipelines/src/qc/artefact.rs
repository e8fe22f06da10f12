//! Noise, and what stands in the air about the head: ghosts of a head that moved, wrapped parts, noise.

use super::tissue::{Spread, TissueSamples};
use super::{Evidence, Limits, Qc, QcVerdict};
use crate::interpolate::trilinear;
use crate::pyramid::reduce;
use crate::template::Template;
use crate::volume::Volume;

/// White matter over the standard deviation of the noise: 26 to 45 in real scans, with noise of a tenth and a fifth of white
/// matter on top of them, 9 and 4.8.
const SNR: Limits = Limits {
    warn: 10.0,
    fail: 5.0,
};
/// (brain − air) / (brain + air) of the mean values.
const AIR_CONTRAST: Limits = Limits {
    warn: 0.6,
    fail: 0.3,
};
/// How uneven the air is once its noise is averaged away, over white matter: 0.003 to 0.006 in six real scans, 0.007 with as
/// much noise as fails, 0.015 and more with a tenth of the head as ghosts, 0.023 and more with strong motion.
const AIR_STRUCTURE: Limits = Limits {
    warn: 0.02,
    fail: 0.15,
};
/// Scalp, skull and face over white matter: less is no head.
const STRIPPED: f64 = 0.05;
/// Voxels over which the noise of the air is averaged, in mm.
const AVERAGED_MM: f64 = 8.0;
/// The entropy is that of about so many voxels.
const N_LOOKED_AT: usize = 400_000;

pub(super) fn judge(
    qc: &mut Qc,
    evidence: &Evidence<'_>,
    samples: &TissueSamples,
    template: &Template,
) {
    if samples.noise > 0.0 {
        let reason = "the scan is noisy";
        qc.at_least("snr", samples.white.mean / samples.noise, SNR, reason);
    }
    if let Some(contrast) = evidence.registration.contrast {
        let reason = "the brain is hardly brighter than the air";
        qc.at_least("brain_air_contrast", contrast, AIR_CONTRAST, reason);
    }
    let coarse = reduce(evidence.scan, AVERAGED_MM);
    let white = samples.white.mean.max(1e-9);
    let around = spread_at(&coarse, evidence, template.levels().around());
    if let Some(around) = around {
        qc.keep("head_around", around.mean / white);
    }
    if evidence.registration.skull_stripped
        || around.is_some_and(|around| around.mean / white < STRIPPED)
    {
        let reason = "the skull seems to have been removed already";
        qc.note(QcVerdict::Warn, reason.into());
    }
    if let Some(air) = spread_at(&coarse, evidence, template.levels().air()) {
        let reason = "something stands in the air about the head: a ghost of a head that moved, or another artefact";
        qc.at_most(
            "air_structure",
            air.deviation / white,
            AIR_STRUCTURE,
            reason,
        );
    }
    qc.keep("entropy_focus", entropy_focus(evidence.scan));
}

/// What a coarse scan has at some points of the template; `None` where it has none of them.
fn spread_at(coarse: &Volume, evidence: &Evidence<'_>, points: &[[f32; 3]]) -> Option<Spread> {
    let scan_from_mni = evidence.registration.mni_from_scan.inverse()?;
    let voxel_from_mni = coarse.voxel_from_world() * scan_from_mni;
    let at = |point: &[f32; 3]| voxel_from_mni.apply(point.map(f64::from));
    let values = points
        .iter()
        .filter_map(|point| trilinear(coarse.values(), coarse.shape(), at(point)));
    Spread::of(&values.collect::<Vec<_>>())
}

/// Entropy focus criterion: 0 where all energy is in one voxel, 1 where it is spread evenly; ghosts and blur raise it.
///
/// # References
/// Atkinson et al. 1997, IEEE TMI 16(6); normalized by the number of voxels as MRIQC does.
fn entropy_focus(scan: &Volume) -> f64 {
    let every = (scan.values().len() / N_LOOKED_AT).max(1);
    let values = || {
        scan.values()
            .iter()
            .step_by(every)
            .map(|v| f64::from(v.abs()))
    };
    let (energy, count) = values().fold((0.0, 0.0), |(sum, n), v| (sum + v * v, n + 1.0));
    let scale = energy.sqrt();
    let entropy: f64 = values()
        .filter(|v| *v > 0.0)
        .map(|v| v / scale * (v / scale).ln())
        .sum();
    let largest = f64::sqrt(count) * (1.0 / f64::sqrt(count)).ln();
    entropy / largest
}
