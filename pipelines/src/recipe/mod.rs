//! Recipes: what preprocessing does to a scan, as TOML in which every key is written down.
//!
//! The recipes that come with the program are the files in `configs/recipes`, compiled in. A recipe has no defaults:
//! its text is the whole truth, travels in every cache entry and model file, and its hash is part of the cache key.
//! What is checked here is checked nowhere else.

use std::fmt;
use std::ops::Range;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

mod place;

use crate::error::Error;
use crate::space::{Affine, VoxelShape};

/// The recipes inside the program, sorted by name.
const EMBEDDED: [(&str, &str); 2] = [
    (
        "coarse",
        include_str!("../../../configs/recipes/coarse.toml"),
    ),
    ("fast", include_str!("../../../configs/recipes/fast.toml")),
];

/// Fewest and most voxels along one side of the output grid.
const SIDES: Range<usize> = 8..513;
/// Smallest and largest voxels of the output grid, in mm.
const VOXEL_SIZES_MM: Range<f64> = 0.2..20.0;
/// How far from the world's origin the grid may begin, in mm.
const ORIGINS_MM: Range<f64> = -1000.0..1000.0;

/// Everything that decides how a scan becomes a volume.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// What it is called: lower-case letters, digits and hyphens.
    #[serde(deserialize_with = "plain_name")]
    pub name: String,
    /// Where the result's voxels lie.
    pub grid: OutputGrid,
    /// How the scan is brought to the template.
    pub registration: Registration,
    /// Where the brain mask comes from.
    pub mask: Masking,
    /// How the scan's values get to the grid.
    pub resample: Resampling,
    /// How values are made comparable between scans.
    pub intensity: Intensity,
}

/// The grid of the result, axis-aligned in MNI space.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutputGrid {
    /// Voxels along x (right), y (front), z (top).
    #[serde(deserialize_with = "grid_shape")]
    pub shape: VoxelShape,
    /// Distance of neighbours in mm.
    #[serde(deserialize_with = "voxel_sizes")]
    pub voxel_size_mm: [f64; 3],
    /// MNI position of the center of voxel 0, in mm.
    #[serde(deserialize_with = "grid_origin")]
    pub origin_mm: [f64; 3],
}

impl OutputGrid {
    /// Voxel indices → MNI mm.
    pub fn world_from_voxel(&self) -> Affine {
        Affine::grid(self.voxel_size_mm, self.origin_mm)
    }
}

/// The `[registration]` part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Registration {
    /// Freedom of the map from scan to template.
    pub dof: Dof,
}

/// Degrees of freedom of the map from scan to template.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub enum Dof {
    /// Translation, rotation, scale and shear: 12.
    Affine12,
}

impl TryFrom<u8> for Dof {
    type Error = String;

    fn try_from(dof: u8) -> Result<Self, String> {
        match dof {
            12 => Ok(Self::Affine12),
            other => Err(format!("{other} degrees of freedom, expected 12")),
        }
    }
}

impl From<Dof> for u8 {
    fn from(dof: Dof) -> Self {
        match dof {
            Dof::Affine12 => 12,
        }
    }
}

/// The `[mask]` part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Masking {
    /// Where the brain mask comes from.
    pub source: MaskSource,
}

/// Where the brain mask comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MaskSource {
    /// The template's mask, carried over by the registration.
    Template,
    /// The scan's own, from [`crate::brain_network`]; registration then looks at the brain alone.
    Learned,
}

/// The `[resample]` part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resampling {
    /// How values between voxels are found.
    pub interpolation: Interpolation,
    /// What is done against aliasing.
    pub prefilter: Prefilter,
}

/// How values between voxels are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Interpolation {
    /// From the eight neighbours.
    Linear,
}

/// What is done against aliasing where the grid is coarser than the scan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Prefilter {
    /// A Gaussian as wide as the ratio of the voxel sizes asks for.
    Gaussian,
    /// Nothing.
    None,
}

/// The `[intensity]` part.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Intensity {
    /// Values outside these percentiles (0–100) of the mask are clipped to them.
    #[serde(deserialize_with = "percentiles")]
    pub clip_percentiles: [f64; 2],
    /// The scale of the result.
    pub normalization: Normalization,
    /// Largest distance from the mean that is kept, in standard deviations.
    #[serde(deserialize_with = "positive")]
    pub clip_z: f64,
}

/// The scale of the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Normalization {
    /// Mean 0 and standard deviation 1 within the mask, 0 outside.
    ZScore,
}

impl Recipe {
    /// The names of the recipes that come with the program, sorted.
    pub fn names() -> Vec<&'static str> {
        EMBEDDED.iter().map(|(name, _)| *name).collect()
    }

    /// A recipe that comes with the program.
    ///
    /// # Errors
    /// [`Error::UnknownRecipe`] with the names there are.
    pub fn named(name: &str) -> Result<Self, Error> {
        let Some((name, text)) = EMBEDDED.iter().find(|(known, _)| *known == name) else {
            let expected = format!("one of `{}`", Self::names().join("`, `"));
            return Err(Error::UnknownRecipe {
                found: name.to_owned(),
                expected,
            });
        };
        Self::parse(text, &format!("configs/recipes/{name}.toml"))
    }

    /// Reads a recipe; `origin` says in errors where the text comes from.
    ///
    /// # Errors
    /// [`Error::Recipe`] with line and key.
    pub fn parse(text: &str, origin: &str) -> Result<Self, Error> {
        toml::from_str(text).map_err(|error| {
            let problem = error
                .message()
                .lines()
                .next()
                .unwrap_or_default()
                .to_owned();
            let at = error.span().map_or(0, |span| span.start);
            let (line, key) = place::place_of(text, at, &problem);
            Error::Recipe {
                problem,
                line,
                key,
                origin: origin.to_owned(),
            }
        })
    }

    /// The recipe as TOML, every key present and in a fixed order; comments are gone.
    #[expect(
        clippy::expect_used,
        reason = "names, numbers and bounded shapes all have a TOML form"
    )]
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("a recipe has a TOML form")
    }

    /// Hash of [`Recipe::to_toml`]: the same for every layout of the same settings.
    pub fn hash(&self) -> blake3::Hash {
        blake3::hash(self.to_toml().as_bytes())
    }
}

fn plain_name<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let name = String::deserialize(from)?;
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if name.is_empty() || name.len() > 64 || !name.chars().all(plain) {
        let text = "expected 1 to 64 lower-case letters, digits and hyphens";
        return Err(D::Error::custom(format!("name is {name:?}, {text}")));
    }
    Ok(name)
}

fn grid_shape<'de, D: Deserializer<'de>>(from: D) -> Result<VoxelShape, D::Error> {
    let shape = VoxelShape::deserialize(from)?;
    shape
        .0
        .iter()
        .try_for_each(|side| within::<_, D::Error>("voxels along a side", *side, &SIDES))?;
    Ok(shape)
}

fn voxel_sizes<'de, D: Deserializer<'de>>(from: D) -> Result<[f64; 3], D::Error> {
    let sizes = <[f64; 3]>::deserialize(from)?;
    sizes
        .iter()
        .try_for_each(|mm| within::<_, D::Error>("mm", *mm, &VOXEL_SIZES_MM))?;
    Ok(sizes)
}

fn grid_origin<'de, D: Deserializer<'de>>(from: D) -> Result<[f64; 3], D::Error> {
    let origin = <[f64; 3]>::deserialize(from)?;
    origin
        .iter()
        .try_for_each(|mm| within::<_, D::Error>("mm", *mm, &ORIGINS_MM))?;
    Ok(origin)
}

fn percentiles<'de, D: Deserializer<'de>>(from: D) -> Result<[f64; 2], D::Error> {
    let [low, high] = <[f64; 2]>::deserialize(from)?;
    if !(0.0 <= low && low < high && high <= 100.0) {
        let text = "expected two ascending numbers from 0 to 100";
        return Err(D::Error::custom(format!(
            "percentiles are {low} and {high}, {text}"
        )));
    }
    Ok([low, high])
}

fn positive<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    let value = f64::deserialize(from)?;
    if !(value.is_finite() && value > 0.0) {
        return Err(D::Error::custom(format!(
            "{value}, expected a number above 0"
        )));
    }
    Ok(value)
}

fn within<T: PartialOrd + Copy + fmt::Display, E: serde::de::Error>(
    what: &str,
    value: T,
    range: &Range<T>,
) -> Result<(), E> {
    if range.contains(&value) {
        return Ok(());
    }
    Err(E::custom(format!(
        "{value} {what}, expected {} to below {}",
        range.start, range.end
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAST: &str = EMBEDDED[1].1;

    /// The error of the recipe `fast` with one text exchanged: problem, line, key.
    fn refusal(old: &str, new: &str) -> (String, usize, String) {
        assert!(FAST.contains(old), "{old}");
        match Recipe::parse(&FAST.replace(old, new), "a.toml") {
            Err(Error::Recipe {
                problem,
                line,
                key,
                origin,
            }) => {
                assert_eq!(origin, "a.toml");
                (problem, line, key)
            }
            other => panic!("{other:?}"),
        }
    }

    fn check(old: &str, new: &str, problem: &str, key: &str) {
        let (found, line, at) = refusal(old, new);
        assert!(found.contains(problem), "{found}");
        assert_eq!(at, key, "{found}");
        let before = FAST.lines().position(|text| text.contains(old)).unwrap();
        assert_eq!(line, before + 1, "{found}");
    }

    #[test]
    fn every_embedded_recipe_is_known_by_the_name_in_its_file() {
        assert_eq!(Recipe::names(), ["coarse", "fast"]);
        for name in Recipe::names() {
            let recipe = Recipe::named(name).unwrap();
            assert_eq!(recipe.name, name);
            // Exchanging left and right must be exact.
            let last = recipe.grid.shape.0[0] - 1;
            let x = |voxel: usize| {
                recipe
                    .grid
                    .world_from_voxel()
                    .apply([voxel as f64, 0.0, 0.0])[0]
            };
            assert_eq!(x(0), -x(last));
        }
    }

    #[test]
    fn an_unknown_name_is_refused_with_the_names_there_are() {
        let error = Recipe::named("best").unwrap_err();
        assert_eq!(
            error.to_string(),
            "unknown recipe `best`, expected one of `coarse`, `fast`"
        );
    }

    #[test]
    fn its_own_toml_gives_the_same_recipe_and_hash() {
        for name in Recipe::names() {
            let recipe = Recipe::named(name).unwrap();
            let again = Recipe::parse(&recipe.to_toml(), "itself").unwrap();
            assert_eq!(again, recipe);
            assert_eq!(again.hash(), recipe.hash());
        }
    }

    #[test]
    fn comments_don_t_change_the_hash_and_every_value_does() {
        let fast = Recipe::named("fast").unwrap();
        let hash_with = |old: &str, new: &str| {
            assert!(FAST.contains(old));
            Recipe::parse(&FAST.replace(old, new), "a.toml")
                .unwrap()
                .hash()
        };
        assert_eq!(hash_with("# in standard deviations", "# sd"), fast.hash());
        for (old, new) in [
            ("\"fast\"", "\"other\""),
            ("shape = [96,", "shape = [95,"),
            ("[2.0, 2.0, 2.0]", "[2.0, 2.0, 2.1]"),
            ("-95.0", "-95.5"),
            ("source = \"template\"", "source = \"learned\""),
            ("prefilter = \"gaussian\"", "prefilter = \"none\""),
            ("99.8", "99.9"),
            ("clip_z = 5.0", "clip_z = 6.0"),
        ] {
            assert_ne!(hash_with(old, new), fast.hash(), "{new}");
        }
    }

    #[test]
    fn errors_name_line_and_key() {
        check(
            "dof = 12",
            "dof = 9",
            "9 degrees of freedom, expected 12",
            "registration.dof",
        );
        check(
            "[96, 112, 96]",
            "[96, 0, 96]",
            "0 voxels along a side, expected 8",
            "grid.shape",
        );
        check("[96, 112, 96]", "[96, -1, 96]", "-1", "grid.shape");
        check(
            "[2.0, 2.0, 2.0]",
            "[2.0, nan, 2.0]",
            "NaN mm",
            "grid.voxel_size_mm",
        );
        check("-128.0", "inf", "inf mm", "grid.origin_mm");
        check(
            "0.1, 99.8",
            "99.8, 0.1",
            "two ascending numbers",
            "intensity.clip_percentiles",
        );
        check(
            "clip_z = 5.0",
            "clip_z = 0.0",
            "0, expected a number above 0",
            "intensity.clip_z",
        );
        check("\"fast\"", "\"Fast one\"", "name is \"Fast one\"", "name");
        check("source =", "sauce =", "unknown field `sauce`", "mask.sauce");
        check(
            "\"linear\"",
            "\"cubic\"",
            "unknown variant `cubic`",
            "resample.interpolation",
        );
        check("clip_z = 5.0", "clip_z = five", "", "intensity.clip_z");
    }

    #[test]
    fn a_missing_key_is_named_with_its_section() {
        let (problem, _, key) = refusal("dof = 12 ", "# ");
        assert_eq!(
            (problem.as_str(), key.as_str()),
            ("missing field `dof`", "registration.dof")
        );
        let (problem, _, key) = refusal("name = \"fast\"", "");
        assert_eq!(
            (problem.as_str(), key.as_str()),
            ("missing field `name`", "name")
        );
    }

    #[test]
    fn an_error_inside_a_list_of_several_lines_names_the_list() {
        let (_, line, key) = refusal("[-95.0, -128.0, -90.0]", "[\n -95.0,\n \"x\",\n -90.0]");
        assert_eq!((line, key.as_str()), (11, "grid.origin_mm"));
    }
}
