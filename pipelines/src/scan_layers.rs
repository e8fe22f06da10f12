//! What preprocessing saw in a scan, on the scan's own voxels: brain mask and bias field, for eyes.
//!
//! The same steps as in [`mod@crate::preprocess`], taken again from a registration that is known; nothing is written.

use crate::error::Error;
use crate::format::AffineSource;
use crate::prepared::prepare;
use crate::preprocess::learned_mask;
use crate::recipe::{MaskSource, Recipe};
use crate::space::Affine;
use crate::template::Template;
use crate::volume::{Mask, Volume};

/// Mask and bias field of a scan.
#[derive(Clone, Debug)]
pub struct ScanLayers {
    /// The brain, on the scan's voxels.
    pub mask: Mask,
    /// By what the scan is divided, on its voxels; `None` if the recipe does not ask for it.
    pub bias_field: Option<Volume>,
}

/// Finds mask and bias field of a scan as `recipe` does.
///
/// # Units
/// `mni_from_scan` maps scan RAS mm to MNI mm.
/// # Errors
/// [`Error::BrainNetwork`] if the embedded weights are damaged. Where the learned mask sees no brain, the template's is
/// taken.
pub fn scan_layers(
    scan: &Volume,
    source: AffineSource,
    mni_from_scan: &Affine,
    recipe: &Recipe,
    template: &Template,
) -> Result<ScanLayers, Error> {
    let brain = match recipe.mask.source {
        MaskSource::Template | MaskSource::Refined => None,
        MaskSource::Learned => learned_mask(scan, source, template)?,
    };
    let mut corrected = scan.clone();
    let prepared = prepare(
        &mut corrected,
        mni_from_scan,
        recipe,
        template,
        brain.as_ref(),
    );
    Ok(ScanLayers {
        mask: prepared.mask.on_grid_of(scan),
        bias_field: prepared.bias_field.map(|field| field.to_volume()),
    })
}
