//! One scan through one recipe: read, check, find the brain by registration, take out the bias field, mask, resample
//! once, normalize, judge.
//!
//! Sequential and deterministic: the same file gives the same volume, bit for bit. Many scans at once are the business
//! of [`crate::batch`].

use std::ops::ControlFlow;
use std::path::Path;

mod learned;

use crate::error::Error;
use crate::field_of_view::without_neck;
use crate::format::{AffineSource, ReadOptions, read_t1_scan_with};
use crate::intensity::{FEWEST_VOXELS, Unusable, normalize};
use crate::mask::{PlacedMask, template_mask_on_grid};
use crate::prepared::prepare;
use crate::qc::{Evidence, Qc, judge, mask_dice};
use crate::recipe::{Dof, GridSpace, MaskSource, Recipe};
use crate::register::{Pose, Registration, above_lowest_slice_mm, register, register_again};
use crate::resample::resample;
use crate::space::Affine;
use crate::template::Template;
use crate::volume::{Mask, Volume};
use learned::register_learned;

pub(crate) use learned::learned_mask;

/// Version of all steps together: part of every cache key, raised whenever a step gives other numbers.
pub const CODE_VERSION: u32 = 5;

/// Fits with a lower correlation are tried again without trust in the scan's axes: good ones reach 0.75.
const RETRY_BELOW: f64 = 0.65;

/// Slices that were left out below the head, and this near to the brain, may have been part of it or of what registration
/// compares about it: 6 mm at the finest level, 16 mm at the coarsest.
const NEAR_CUT_MM: f64 = 16.0;

/// What a recipe makes of a scan.
#[derive(Clone, Debug)]
pub struct Preprocessed {
    /// On the recipe's grid, normalized within the mask, 0 outside.
    pub volume: Volume,
    /// The brain, as far as it lies in the scan.
    pub mask: Mask,
    /// Scan RAS mm → MNI mm.
    pub mni_from_scan: Affine,
    /// How well it went.
    pub qc: Qc,
    /// BLAKE3 of the scan file.
    pub file_hash: blake3::Hash,
    /// What was odd about the scan, but no reason to refuse it.
    pub warnings: Vec<String>,
    /// Whether the scan says that a program made it.
    pub synthetic: bool,
    /// The brain on the scan's own RAS+ voxels, where the recipe has it learned; `None` also where the result comes from the
    /// cache, which does not keep it.
    pub brain: Option<Mask>,
}

/// Steps of [`preprocess`], in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The file is read, scaled and turned to RAS+.
    Read,
    /// It is brought to the template; with the learned mask, the brain is found first.
    Register,
    /// Quality control.
    Judge,
    /// Bias field and brain mask in the scan's own space, as far as the recipe has them.
    Prepare,
    /// Voxels and mask come to the recipe's grid.
    Resample,
    /// Values are made comparable.
    Normalize,
}

impl Stage {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Read,
        Self::Register,
        Self::Judge,
        Self::Prepare,
        Self::Resample,
        Self::Normalize,
    ];

    /// One word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Register => "register",
            Self::Judge => "judge",
            Self::Prepare => "prepare",
            Self::Resample => "resample",
            Self::Normalize => "normalize",
        }
    }
}

/// Takes a scan through a recipe.
///
/// # Errors
/// [`Error::Read`] where the file is no T1 scan, [`Error::NoHead`] where nothing can be registered,
/// [`Error::NoBrain`] and [`Error::NoContrast`] where nothing can be normalized.
pub fn preprocess(
    path: &Path,
    recipe: &Recipe,
    template: &Template,
) -> Result<Preprocessed, Error> {
    let options = ReadOptions::default();
    preprocess_watched(path, options, recipe, template, &mut go_on)
}

/// Hears of each stage as it ends, and says whether to go on.
pub type AfterStage<'a> = dyn FnMut(Stage) -> ControlFlow<()> + 'a;

/// An [`AfterStage`] that never stops anything.
pub(crate) fn go_on(_: Stage) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

fn go_on_after(answer: ControlFlow<()>, path: &Path) -> Result<(), Error> {
    match answer {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(Error::Stopped {
            path: path.to_path_buf(),
        }),
    }
}

/// As [`preprocess`], of a scan that leaves something open; `after` hears of each stage as it ends, and may stop the work.
///
/// # Errors
/// As [`preprocess`], and [`Error::Stopped`].
pub fn preprocess_watched(
    path: &Path,
    options: ReadOptions,
    recipe: &Recipe,
    template: &Template,
    after: &mut AfterStage<'_>,
) -> Result<Preprocessed, Error> {
    let mut ended = |stage| go_on_after(after(stage), path);
    let mut scan = read_t1_scan_with(path, options)?;
    ended(Stage::Read)?;
    let Dof::Affine12 = recipe.registration.dof;
    let source = scan.header.affine_source;
    let (brain, registration) = match recipe.mask.source {
        MaskSource::Template | MaskSource::Refined => {
            let fit = register_any_pose(&scan.volume, source, template);
            let no_head = || Error::NoHead {
                path: path.to_path_buf(),
            };
            (None, fit.ok_or_else(no_head)?)
        }
        MaskSource::Learned => {
            let found = register_learned(&scan.volume, source, template)?;
            let (brain, fit) = found.ok_or_else(|| Error::NoBrainSeen {
                path: path.to_path_buf(),
            })?;
            (Some(brain), fit)
        }
    };
    ended(Stage::Register)?;
    let mni_from_scan = registration.mni_from_scan;
    // Of the scan as it came, before anything is taken out of it.
    let evidence = Evidence {
        scan: &scan.volume,
        registration: &registration,
        brain: brain.as_ref(),
        mask_dice: brain
            .as_ref()
            .and_then(|brain| mask_dice(brain, &mni_from_scan, template)),
    };
    let qc = judge(&evidence, template);
    ended(Stage::Judge)?;
    let prepared = prepare(
        &mut scan.volume,
        &mni_from_scan,
        recipe,
        template,
        brain.as_ref(),
    );
    ended(Stage::Prepare)?;
    let no_brain = |found| Error::NoBrain {
        found,
        expected: FEWEST_VOXELS,
        path: path.to_path_buf(),
    };
    let (mut volume, mask) = on_recipe_grid(
        &scan.volume,
        &mni_from_scan,
        &prepared.mask,
        recipe,
        template,
    )
    .ok_or_else(|| no_brain(0))?;
    ended(Stage::Resample)?;
    normalize(&mut volume, &mask, &recipe.intensity).map_err(|unusable| match unusable {
        Unusable::TooFewVoxels(found) => no_brain(found),
        Unusable::Constant(value) => Error::NoContrast {
            value,
            path: path.to_path_buf(),
        },
    })?;
    ended(Stage::Normalize)?;
    let mut warnings = scan.header.warnings.clone();
    warnings.extend(prepared.warnings);
    Ok(Preprocessed {
        volume,
        mask,
        mni_from_scan,
        qc,
        file_hash: scan.file_hash,
        synthetic: scan.header.is_synthetic(),
        warnings,
        brain,
    })
}

/// The scan and its brain mask on the recipe's grid; `None` where they don't meet.
fn on_recipe_grid(
    scan: &Volume,
    mni_from_scan: &Affine,
    mask: &PlacedMask<'_>,
    recipe: &Recipe,
    template: &Template,
) -> Option<(Volume, Mask)> {
    let grid = &recipe.grid;
    let (world_from_scan, mask) = match grid.space {
        GridSpace::Mni => {
            let mask = match recipe.mask.source {
                // There and back by the affine would cost the last bits, and with them voxels on the border.
                MaskSource::Template => template_mask_on_grid(grid, template),
                MaskSource::Refined | MaskSource::Learned => {
                    mask.on_recipe_grid(grid, [0.0; 3], mni_from_scan)?
                }
            };
            (*mni_from_scan, mask)
        }
        GridSpace::Scan => {
            let last = scan.shape().0.map(|side| side as f64 - 1.0);
            let center = scan.world_from_voxel().apply(last.map(|last| last / 2.0));
            let same = Affine::identity();
            (same, mask.on_recipe_grid(grid, center, &same)?)
        }
    };
    resample(scan, &world_from_scan, &mask, &recipe.resample)
}

/// Registers the head without its neck. Where that fits poorly, or the axes are only assumed, the whole scan in any
/// pose; the better fit wins.
fn register_any_pose(
    scan: &Volume,
    source: AffineSource,
    template: &Template,
) -> Option<Registration> {
    let upright = match source {
        AffineSource::Sform | AffineSource::Qform | AffineSource::Directions => {
            // Registration looks at the head alone; the voxels that are kept come from the whole scan.
            match without_neck(scan) {
                Some(head) => register(&head, template, Pose::Upright)
                    .map(|fit| with_neck_if_cut(scan, &head, fit, template)),
                None => register(scan, template, Pose::Upright),
            }
        }
        AffineSource::Assumed => None,
    };
    if upright.is_some_and(|fit| fit.correlation >= RETRY_BELOW) {
        return upright;
    }
    let any_pose = register(scan, template, Pose::Unknown);
    match (upright, any_pose) {
        (Some(upright), Some(any)) if any.correlation > upright.correlation => Some(any),
        (upright, any) => upright.or(any),
    }
}

/// The same fit, unless the slices that were left out as neck came close to the brain, as in heads that are larger than most
/// or nod: then that of the whole scan, from there on.
fn with_neck_if_cut(
    scan: &Volume,
    head: &Volume,
    fit: Registration,
    template: &Template,
) -> Registration {
    match above_lowest_slice_mm(head, template, &fit) {
        Some(above_mm) if above_mm < NEAR_CUT_MM => {
            register_again(scan, template, &fit).unwrap_or(fit)
        }
        _ => fit,
    }
}

#[cfg(test)]
mod tests;
