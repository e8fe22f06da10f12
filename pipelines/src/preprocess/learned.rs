//! A scan whose brain is found first, and registered then.

use super::RETRY_BELOW;
use crate::brain_network::{BrainNetwork, brain_network};
use crate::error::Error;
use crate::format::AffineSource;
use crate::orient::to_ras_plus;
use crate::register::{Pose, Registration, register, register_brain};
use crate::space::Affine;
use crate::template::Template;
use crate::volume::{Mask, Volume};

/// The brain mask that preprocessing takes for a scan, on the scan's voxels; `None` where no brain is seen.
///
/// # Errors
/// As [`register_learned`].
pub(crate) fn learned_mask(
    scan: &Volume,
    source: AffineSource,
    template: &Template,
) -> Result<Option<Mask>, Error> {
    let found = register_learned(scan, source, template)?;
    Ok(found.map(|(brain, _)| brain))
}

/// Finds the brain and registers it. Where that fits poorly, or the axes are only assumed, the scan is first turned as
/// registering the whole of it in any pose says, since the network knows upright heads only; the better fit wins.
///
/// # Errors
/// [`Error::BrainNetwork`] if the embedded weights are damaged.
pub(super) fn register_learned(
    scan: &Volume,
    source: AffineSource,
    template: &Template,
) -> Result<Option<(Mask, Registration)>, Error> {
    let network = brain_network()?;
    let registered = |brain: Mask, pose| {
        register_brain(scan, &brain, template, pose).map(|registration| (brain, registration))
    };
    let upright = match source {
        AffineSource::Sform | AffineSource::Qform | AffineSource::Directions => network
            .brain_mask(scan)
            .and_then(|brain| registered(brain, Pose::Upright)),
        AffineSource::Assumed => None,
    };
    if matches!(&upright, Some((_, fit)) if fit.correlation >= RETRY_BELOW) {
        return Ok(upright);
    }
    let turned = register(scan, template, Pose::Unknown)
        .and_then(|fit| brain_in_pose(scan, &fit.mni_from_scan, network))
        .and_then(|brain| registered(brain, Pose::Unknown));
    Ok(match (upright, turned) {
        (Some(upright), Some(turned)) if turned.1.correlation > upright.1.correlation => {
            Some(turned)
        }
        (upright, turned) => upright.or(turned),
    })
}

/// The brain of a scan whose axes are those that `mni_from_scan` says, on the scan's own voxels.
fn brain_in_pose(scan: &Volume, mni_from_scan: &Affine, network: &BrainNetwork) -> Option<Mask> {
    let place = *mni_from_scan * scan.world_from_voxel();
    let placed = Volume::new(scan.values().to_vec(), scan.shape(), place).ok()?;
    let (upright, reorientation) = to_ras_plus(&placed);
    let brain = reorientation.undo(&network.brain_mask(&upright)?);
    Mask::new(brain.into_values(), scan.shape(), scan.world_from_voxel()).ok()
}
