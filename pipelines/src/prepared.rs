//! The steps in a scan's own space, after registration and before the one resampling: bias field, then brain mask.
//!
//! Shared by [`crate::preprocess`], which needs what comes out, and [`crate::outputs`], which writes it as files: both
//! do the same to the same scan, so what is written is what was used.

use std::borrow::Cow;

use crate::bias_field::{BiasField, TooFewVoxels, estimate_bias_field};
use crate::mask::PlacedMask;
use crate::recipe::{BiasFieldMethod, MaskSource, Recipe};
use crate::space::Affine;
use crate::template::Template;
use crate::volume::{Mask, Volume};

/// What a recipe finds in a scan's own space.
pub(crate) struct Prepared<'a> {
    /// By what the scan was divided; `None` if the recipe doesn't ask for it, or it could not be estimated.
    pub(crate) bias_field: Option<BiasField>,
    /// The brain.
    pub(crate) mask: PlacedMask<'a>,
    /// What could not be done.
    pub(crate) warnings: Vec<String>,
}

/// Takes the bias field out of a scan, in place, and finds its brain; `brain` is the learned mask on the scan's voxels,
/// where the recipe asks for it.
pub(crate) fn prepare<'a>(
    scan: &mut Volume,
    mni_from_scan: &Affine,
    recipe: &Recipe,
    template: &'a Template,
    brain: Option<&'a Mask>,
) -> Prepared<'a> {
    let mut warnings = Vec::new();
    let carried = brain.map_or_else(
        || PlacedMask::of_template(template, mni_from_scan),
        |brain| PlacedMask::of_scan(Cow::Borrowed(brain)),
    );
    let bias_field = match recipe.bias_field.method {
        BiasFieldMethod::None => None,
        BiasFieldMethod::N4(params) => match estimate_bias_field(scan, &carried, &params) {
            Ok(field) => {
                field.correct(scan);
                Some(field)
            }
            Err(TooFewVoxels(found)) => {
                warnings.push(format!(
                    "bias field not corrected: only {found} bright voxels inside the brain mask"
                ));
                None
            }
        },
    };
    let mask = match recipe.mask.source {
        MaskSource::Template | MaskSource::Learned => carried,
        MaskSource::Refined => carried.refined(scan).unwrap_or_else(|| {
            warnings.push("brain mask not refined: the scan shows no clear border".to_owned());
            carried
        }),
    };
    Prepared {
        bias_field,
        mask,
        warnings,
    }
}
