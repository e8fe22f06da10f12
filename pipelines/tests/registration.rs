//! Heads that were moved by a known way are found again, from the file to the affine.

use brainage_pipelines::Affine;
use brainage_pipelines::recipe::Recipe;
use brainage_pipelines::template::template;
use rayon::prelude::*;

mod moved_heads;

use moved_heads::{Draw, Spoilt};

/// The first draws of those that `examples/registration_draws.rs` takes by the hundred; turns of up to 30° about each axis,
/// shifts of 60 mm, sides of 0.8 to 1.25, with bias field, noise, another contrast and a bright blob. 1 mm is half a voxel of
/// the finest level.
#[test]
fn moved_turned_and_stretched_heads_are_found_within_a_millimetre() {
    let (recipe, template) = (Recipe::named("coarse").unwrap(), template().unwrap());
    let folder = tempfile::tempdir().unwrap();
    (0..4_u64).into_par_iter().for_each(|number| {
        let draw = Draw::number(number, Spoilt::Moderately);
        let (head, place) = (&template.t1, Affine::identity());
        let found = draw
            .found(head, place, &recipe, template, folder.path())
            .unwrap();
        assert!(
            found.error_mm < 1.0,
            "draw {number}: {:.2} mm, correlation {:.3}, qc {}",
            found.error_mm,
            found.correlation,
            found.verdict
        );
    });
}
