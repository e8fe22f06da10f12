//! Single dark spots in the white matter, away from the bands about the ventricles: what small vessels leave with age.
//!
//! Their number is a Poisson draw that grows with the age of the brain, their places are anywhere in the deep and
//! subcortical white matter, their profile is a Gaussian of 1 to 3 mm. Numbers are design values.

use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;

use crate::atlas::Atlas;
use crate::field::STEP_MM;
use crate::population::Person;
use crate::regions::WM;

/// Mean number at 60 years, and its growth a year.
const MEAN_AT_60: f64 = 2.0;
const GROWTH_PER_YEAR: f64 = 0.05;
const MOST: usize = 24;
/// Standard deviation of a spot's profile, mm.
const SIGMA_MM: [f32; 2] = [1.0, 3.0];
/// Share of white matter's brightness above grey matter's that the middle of a spot loses.
const DEPTH: [f32; 2] = [0.3, 1.0];
/// A spot begins where a voxel is white matter by at least this.
const PURE: f32 = 0.9;

/// How much of a spot there is at each voxel of the brain's box, 0 to 1, in the template.
pub(crate) fn spots(atlas: &Atlas, person: &Person, rng: &mut ChaCha8Rng) -> Vec<f32> {
    let brain = atlas.brain;
    let mut field = vec![0.0_f32; brain.n_voxels()];
    let mean = MEAN_AT_60 * (GROWTH_PER_YEAR * (person.brain_age_years - 60.0)).exp();
    let n_spots = poisson(mean, rng).min(MOST);
    let white = atlas.voxels.iter().filter(|voxel| voxel.regions[WM] > PURE);
    let white: Vec<usize> = white.map(|voxel| voxel.index).collect();
    if white.is_empty() {
        return field;
    }
    let [nx, ny, nz] = brain.shape;
    for _ in 0..n_spots {
        let middle = white[rng.random_range(0..white.len())];
        let sigma = rng.random_range(SIGMA_MM[0]..SIGMA_MM[1]) / STEP_MM;
        let depth = rng.random_range(DEPTH[0]..DEPTH[1]);
        let at = [middle % nx, middle / nx % ny, middle / (nx * ny)];
        let reach = (3.0 * sigma).ceil() as usize;
        let range =
            |axis: usize, n: usize| at[axis].saturating_sub(reach)..(at[axis] + reach + 1).min(n);
        for z in range(2, nz) {
            for y in range(1, ny) {
                for x in range(0, nx) {
                    let apart = [(x, at[0]), (y, at[1]), (z, at[2])];
                    let squares = apart.map(|(a, b)| (a.abs_diff(b) * a.abs_diff(b)) as f32);
                    let here = depth * (-0.5 * squares.iter().sum::<f32>() / (sigma * sigma)).exp();
                    let value = &mut field[x + nx * (y + ny * z)];
                    *value = value.max(here);
                }
            }
        }
    }
    field
}

/// A Poisson draw by multiplication of uniform draws (Knuth); means here are small.
fn poisson(mean: f64, rng: &mut ChaCha8Rng) -> usize {
    let limit = (-mean.min(50.0)).exp();
    let (mut n, mut product) = (0, rng.random::<f64>());
    while product > limit {
        n += 1;
        product *= rng.random::<f64>();
    }
    n
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::atlas::atlas;
    use crate::population::{Sex, draw_person};
    use crate::stream::{HeadKey, Stage};

    #[test]
    fn poisson_draws_have_their_mean_as_mean_and_variance() {
        let mut rng = HeadKey::of(1, 1).stream(Stage::Spots);
        let n = 20_000;
        let draws: Vec<f64> = (0..n).map(|_| poisson(3.0, &mut rng) as f64).collect();
        let mean = draws.iter().sum::<f64>() / f64::from(n);
        let variance = draws.iter().map(|d| (d - mean).powi(2)).sum::<f64>() / f64::from(n);
        // Five standard errors: sqrt(3 / n) and sqrt((3 + 2 * 9) / n).
        assert!((mean - 3.0).abs() < 0.062, "{mean}");
        assert!((variance - 3.0).abs() < 0.162, "{variance}");
    }

    #[test]
    fn old_brains_have_more_spots_than_young_ones_and_all_begin_in_white_matter() {
        let atlas = atlas().unwrap();
        let white = |index: usize| {
            let mut voxels = atlas.voxels.iter();
            voxels.any(|voxel| voxel.index == index && voxel.regions[WM] > PURE)
        };
        let filled = |age: f64| -> f32 {
            let sums = (0..10).map(|subject| {
                let key = HeadKey::of(8, subject);
                let person = draw_person(age, Sex::Female, 0.0, &mut key.stream(Stage::Anatomy));
                let field = spots(atlas, &person, &mut key.stream(Stage::Spots));
                let values = field.iter().copied().enumerate();
                let (place, largest) = values.max_by(|a, b| a.1.total_cmp(&b.1)).unwrap();
                assert!(largest == 0.0 || white(place), "{place}");
                assert!(field.iter().all(|value| (0.0..=1.0).contains(value)));
                field.iter().sum::<f32>()
            });
            sums.sum()
        };
        assert!(filled(80.0) > 2.0 * filled(40.0));
    }
}
