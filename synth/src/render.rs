//! A person's head as a scan shows it: pose, tissues at the scan's voxels, their brightness, storage order.

use brainage_pipelines::Affine;
use nalgebra::{Matrix3, Rotation3, Vector3};
use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;

use crate::atlas::Atlas;
use crate::field::{trilinear, within};
use crate::morph::Morph;
use crate::noise::smooth_noise;
use crate::population::Person;
use crate::scanner::{Scanner, acquire};
use crate::spots::spots;
use crate::stream::{HeadKey, Stage};

/// Field of view of every scan.
const FIELD_OF_VIEW_MM: [f64; 3] = [184.0, 224.0, 192.0];
/// Middle of the field of view in the scanner.
const CENTER_MM: [f64; 3] = [0.0, 0.0, -5.0];
/// Middle of the brain, about which heads turn, in template space.
const PIVOT_MM: [f64; 3] = [0.0, -18.0, 10.0];
/// Real heads against the template at equal volume: wider, lower (five adults).
const ASPECT: [f64; 3] = [1.093, 0.988, 0.926];

/// Voxels and where they lie.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Image {
    /// x-fastest.
    pub(crate) values: Vec<f32>,
    pub(crate) shape: [usize; 3],
    pub(crate) world_from_voxel: Affine,
}

/// The tissues at one voxel of the scan.
#[derive(Clone, Copy, Default)]
struct Point {
    fluid: f32,
    grey: f32,
    white: f32,
    residual: f32,
    outside: f32,
    /// How early this place turns dark where white matter does.
    score: f32,
    /// How much of a single dark spot is here.
    spot: f32,
}

/// Scans a head.
pub(crate) fn render(
    atlas: &Atlas,
    (person, morph): (&Person, &Morph),
    key: HeadKey,
    scanner: &Scanner,
    voxel_size_mm: f64,
) -> Image {
    let shape = FIELD_OF_VIEW_MM.map(|side| ((side / voxel_size_mm).round() as usize).max(8));
    let origin: [f64; 3] = std::array::from_fn(|axis| {
        CENTER_MM[axis] - (shape[axis] - 1) as f64 / 2.0 * voxel_size_mm
    });
    let world_from_voxel = Affine::grid([voxel_size_mm; 3], origin);
    let volume_ml: f64 = morph.volumes_ml.iter().sum();
    let scale = (person.icv_ml / volume_ml).cbrt();
    let template_from_world =
        template_from_world((scale, person.spread), &mut key.stream(Stage::Pose));
    let template_from_voxel = template_from_world * world_from_voxel;
    let mut points = sample(atlas, (person, morph), (shape, &template_from_voxel), key);
    if scanner.defaced {
        remove_face(&mut points, shape, &template_from_voxel);
    }
    let rng = &mut key.stream(Stage::Scan);
    let brightness = brightness(&points, person, scanner, (voxel_size_mm, rng));
    let values = acquire(brightness, shape, scanner, rng);
    store(
        &Image {
            values,
            shape,
            world_from_voxel,
        },
        rng,
    )
}

/// Where a place in the scanner lies in the template, before the brain's own deformation.
fn template_from_world((scale, spread): (f64, f64), rng: &mut ChaCha8Rng) -> Affine {
    let mut normal = || -> f64 { rng.sample(StandardNormal) };
    let aspect = Vector3::from(ASPECT).map(|a| a * (0.025 * spread * normal()).exp());
    let sides = aspect * (scale / aspect.product().cbrt());
    let angles = [6.0, 3.0, 3.0].map(|sd: f64| (sd * normal()).to_radians());
    let shift = Vector3::from([4.0, 8.0, 10.0].map(|sd| sd * normal()));
    let turn = Rotation3::from_euler_angles(angles[0], angles[1], angles[2]);
    let pivot = Vector3::from(PIVOT_MM);
    // world = turn·sides·(template − pivot) + shift + raise, undone.
    let raise = Vector3::new(0.0, 0.0, 10.0);
    let linear = Matrix3::from_diagonal(&sides.map(|side| 1.0 / side)) * turn.matrix().transpose();
    Affine::from_parts(&linear, &(pivot - linear * (shift + raise)))
}

/// Tissues and scores at every voxel of the scan.
fn sample(
    atlas: &Atlas,
    (person, morph): (&Person, &Morph),
    (shape, template_from_voxel): ([usize; 3], &Affine),
    key: HeadKey,
) -> Vec<Point> {
    let brain = atlas.brain;
    let mut rng = key.stream(Stage::Hypointensity);
    let coarse = smooth_noise(&mut rng, brain.shape, 12.0);
    let fine = smooth_noise(&mut rng, brain.shape, 6.0);
    let spots = spots(atlas, person, &mut key.stream(Stage::Spots));
    let odds_and_score: Vec<[f32; 3]> = (0..brain.n_voxels())
        .map(|i| {
            let score = coarse[i] + 0.6 * fine[i] - atlas.ventricle_distance_mm[i] / 5.0;
            [morph.fluid_log_odds[i], score, spots[i]]
        })
        .collect();
    let mut points = Vec::with_capacity(shape.iter().product());
    for_each_place(shape, template_from_voxel, |place_mm| {
        let d = trilinear(
            &morph.backward_mm,
            brain.shape,
            brain.voxel_from_mm(place_mm),
        );
        let at_mm = std::array::from_fn(|axis| place_mm[axis] + d[axis]);
        let at = atlas.head.voxel_from_mm(at_mm);
        if !within(at, atlas.head.shape) {
            points.push(Point::default());
            return;
        }
        let [outside] = trilinear(&atlas.outside, atlas.head.shape, at);
        let [fluid, grey, white, residual] = trilinear(&atlas.tissue, atlas.head.shape, at);
        let sum = fluid + grey + white;
        let mut point = Point {
            outside,
            ..Point::default()
        };
        if sum > 1e-4 {
            let at = brain.voxel_from_mm(at_mm);
            let [log_odds, score, spot] = trilinear(&odds_and_score, brain.shape, at);
            let fluid = fluid * log_odds.exp();
            let keep = sum / (fluid + grey + white).max(1e-6);
            let (fluid, grey, white) = (fluid * keep, grey * keep, white * keep);
            point = Point {
                fluid,
                grey,
                white,
                residual,
                outside,
                score,
                spot,
            };
        }
        points.push(point);
    });
    points
}

/// Calls `f` with the template position of every voxel, in storage order.
fn for_each_place(shape: [usize; 3], template_from_voxel: &Affine, mut f: impl FnMut([f32; 3])) {
    let rows = template_from_voxel.rows();
    for z in 0..shape[2] {
        for y in 0..shape[1] {
            let start: [f64; 3] =
                std::array::from_fn(|r| rows[r][1] * y as f64 + rows[r][2] * z as f64 + rows[r][3]);
            for x in 0..shape[0] {
                f(std::array::from_fn(|r| {
                    (rows[r][0] * x as f64 + start[r]) as f32
                }));
            }
        }
    }
}

/// Empties two half-spaces over face and chin, never the brain.
fn remove_face(points: &mut [Point], shape: [usize; 3], template_from_voxel: &Affine) {
    let mut points = points.iter_mut();
    for_each_place(shape, template_from_voxel, |[_, y, z]| {
        let Some(point) = points.next() else { return };
        let chin = y > 30.0 - 0.9 * (z + 20.0) && z < -18.0;
        let nose = y > 85.0 - 0.5 * (z + 40.0) && z < 10.0;
        if (chin || nose) && point.fluid + point.grey + point.white < 0.05 {
            *point = Point::default();
        }
    });
}

/// Brightness of every voxel, white matter = 1.
fn brightness(
    points: &[Point],
    person: &Person,
    scanner: &Scanner,
    (voxel_size_mm, rng): (f64, &mut ChaCha8Rng),
) -> Vec<f32> {
    let mut normal = || -> f64 { rng.sample(StandardNormal) };
    let grey = person.grey + f64::from(scanner.grey_offset) + 0.025 * person.spread * normal();
    let grey = grey.clamp(0.62, 0.93) as f32;
    let fluid = (person.fluid + 0.06 * person.spread * normal()).clamp(0.1, 0.45) as f32;
    let gamma = (0.25 * normal()).exp() as f32;
    let residual: f32 = rng.random_range(0.5..1.1);
    let [low, high] = scanner.outside;
    let outside: f32 = rng.random_range(low..high);
    let threshold = hypointensity_threshold(points, person, voxel_size_mm);
    points
        .iter()
        .map(|point| {
            let band = if point.white > 0.6 {
                point.white / (1.0 + (-(point.score - threshold) / 0.15).clamp(-30.0, 30.0).exp())
            } else {
                0.0
            };
            let dark = band.max(point.spot * point.white);
            let tissue = point.fluid * fluid
                + point.grey * grey
                + point.white * (1.0 - dark * (1.0 - grey) * 0.9);
            let rest = if point.outside > 0.0 {
                point.outside.powf(gamma)
            } else {
                0.0
            };
            tissue + point.residual * residual * (1.0 - dark) + outside * rest
        })
        .map(|value| value.max(0.0))
        .collect()
}

/// The score above which white matter is dark, so that the person's volume of it is.
fn hypointensity_threshold(points: &[Point], person: &Person, voxel_size_mm: f64) -> f32 {
    let mut scores: Vec<f32> = points
        .iter()
        .filter(|point| point.white > 0.6)
        .map(|point| point.score)
        .collect();
    let wanted = (person.hypointensity_ml * 1000.0 / voxel_size_mm.powi(3)) as usize;
    let n_dark = wanted.min(scores.len() * 3 / 10);
    if n_dark == 0 {
        return f32::INFINITY;
    }
    let place = scores.len() - n_dark;
    let (_, threshold, _) = scores.select_nth_unstable_by(place, f32::total_cmp);
    *threshold
}

/// Axes in an order and direction of their own, as scanners store them; the affine says which.
fn store(image: &Image, rng: &mut ChaCha8Rng) -> Image {
    const ORDERS: [[usize; 3]; 6] = [
        [0, 1, 2],
        [0, 2, 1],
        [1, 0, 2],
        [1, 2, 0],
        [2, 0, 1],
        [2, 1, 0],
    ];
    let order = ORDERS[rng.random_range(0..ORDERS.len())];
    let flipped: [bool; 3] = std::array::from_fn(|_| rng.random_bool(0.5));
    reordered(image, order, flipped)
}

/// Stored axis `k` runs along axis `order[k]` of the image, backward where `flipped[k]`.
fn reordered(image: &Image, order: [usize; 3], flipped: [bool; 3]) -> Image {
    let shape = order.map(|axis| image.shape[axis]);
    let strides = [1, image.shape[0], image.shape[0] * image.shape[1]];
    let source =
        |k: usize, i: usize| strides[order[k]] * if flipped[k] { shape[k] - 1 - i } else { i };
    let mut values = Vec::with_capacity(image.values.len());
    for z in 0..shape[2] {
        for y in 0..shape[1] {
            let row = source(1, y) + source(2, z);
            values.extend((0..shape[0]).map(|x| image.values[row + source(0, x)]));
        }
    }
    let mut rows = [[0.0; 4]; 3];
    for k in 0..3 {
        rows[order[k]][k] = if flipped[k] { -1.0 } else { 1.0 };
        rows[order[k]][3] = if flipped[k] {
            (shape[k] - 1) as f64
        } else {
            0.0
        };
    }
    let world_from_voxel = image.world_from_voxel * Affine::from_rows(rows);
    Image {
        values,
        shape,
        world_from_voxel,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_voxel_keeps_its_place_in_the_world_however_it_is_stored() {
        let image = Image {
            values: (0..24u8).map(f32::from).collect(),
            shape: [2, 3, 4],
            world_from_voxel: Affine::grid([1.0, 2.0, 3.0], [-5.0, 7.0, 1.0]),
        };
        let world = image.world_from_voxel.apply([1.0, 0.0, 3.0]);
        let value = image.values[1 + 2 * 3 * 3];
        let stored = reordered(&image, [1, 2, 0], [true, false, true]);
        assert_eq!(stored.world_from_voxel.orientation(), "PSL");
        let back = stored.world_from_voxel.inverse().unwrap();
        let [x, y, z] = back.apply(world).map(|v| v.round() as usize);
        assert_eq!(
            stored.values[x + stored.shape[0] * (y + stored.shape[1] * z)],
            value
        );
    }

    #[test]
    fn the_volume_of_dark_white_matter_is_the_persons() {
        let key = HeadKey::of(1, 1);
        let mut person = crate::population::draw_person(
            70.0,
            crate::population::Sex::Female,
            1.0,
            &mut key.stream(Stage::Anatomy),
        );
        person.hypointensity_ml = 1.6;
        let points: Vec<Point> = (0..5000u16)
            .map(|i| Point {
                white: 1.0,
                score: f32::from(i),
                ..Point::default()
            })
            .collect();
        let threshold = hypointensity_threshold(&points, &person, 2.0);
        assert_eq!(
            points
                .iter()
                .filter(|point| point.score >= threshold)
                .count(),
            200
        );
    }
}
