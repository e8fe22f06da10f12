//! Heads that were moved by a known way are found again, from the file to the affine.

use brainage_pipelines::Affine;
use brainage_pipelines::recipe::Recipe;
use brainage_pipelines::template::template;
use rayon::prelude::*;

mod moved_heads;

use moved_heads::{Draw, Spoilt};

/// The first draws of those that `examples/registration_draws.rs` takes by the hundred: turns of up to 30° about each axis,
/// shifts of 60 mm, sides of 0.8 to 1.25. With bias field, noise, another contrast and a bright blob 1 mm is allowed, half a
/// voxel of the finest level; a badly spoilt picture must still be found, within two voxels of that level.
#[test]
fn moved_turned_and_stretched_heads_are_found_within_a_millimetre() {
    let (recipe, template) = (Recipe::named("coarse").unwrap(), template().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let draws = [
        (0, Spoilt::Not, 1.0),
        (1, Spoilt::Not, 1.0),
        (2, Spoilt::Moderately, 1.0),
        (3, Spoilt::Badly, 4.0),
    ];
    draws
        .into_par_iter()
        .for_each(|(number, spoilt, allowed_mm)| {
            let draw = Draw::number(number, spoilt);
            let (head, place) = (&template.t1, Affine::identity());
            let found = draw
                .found(head, place, &recipe, template, folder.path())
                .unwrap();
            let (mm, correlation) = (found.error_mm, found.correlation);
            println!("draw {number}, spoilt {spoilt:?}: {mm:.3} mm");
            assert!(
                mm < allowed_mm,
                "draw {number}, spoilt {spoilt:?}: {mm:.2} mm, correlation {correlation:.3}, qc {}",
                found.verdict
            );
        });
}
