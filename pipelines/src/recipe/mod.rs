//! Recipes: what preprocessing does to a scan, as TOML in which every key is written down.
//!
//! The recipes that come with the program are the files in `configs/recipes`, compiled in. A recipe has no defaults:
//! its text is the whole truth, travels in every cache entry and model file, and its hash is part of the cache key.
//! What is checked here is checked nowhere else.

use std::fmt;
use std::ops::Range;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

mod bias_field;
mod intensity;
mod place;

pub use bias_field::{BiasFieldCorrection, BiasFieldMethod, N4};
pub use intensity::{Intensity, Normalization, StandardScale, WhiteMatterPeak, WhiteStripe};

use crate::error::Error;
use crate::space::{Affine, VoxelShape};

/// The recipes inside the program, sorted by name.
const EMBEDDED: [(&str, &str); 5] = [
    (
        "coarse",
        include_str!("../../../configs/recipes/coarse.toml"),
    ),
    ("fast", include_str!("../../../configs/recipes/fast.toml")),
    ("fine", include_str!("../../../configs/recipes/fine.toml")),
    (
        "published",
        include_str!("../../../configs/recipes/published.toml"),
    ),
    (
        "standard",
        include_str!("../../../configs/recipes/standard.toml"),
    ),
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
    /// How the scan's unevenness is taken away.
    pub bias_field: BiasFieldCorrection,
    /// How the scan's values get to the grid.
    pub resample: Resampling,
    /// How values are made comparable between scans.
    pub intensity: Intensity,
}

/// The grid of the result, aligned with the axes of its space.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutputGrid {
    /// Whose space it lies in.
    pub space: GridSpace,
    /// Voxels along x (right), y (front), z (top).
    #[serde(deserialize_with = "grid_shape")]
    pub shape: VoxelShape,
    /// Distance of neighbours in mm.
    #[serde(deserialize_with = "voxel_sizes")]
    pub voxel_size_mm: [f64; 3],
    /// Position of the center of voxel 0 in the grid's space, in mm.
    #[serde(deserialize_with = "grid_origin")]
    pub origin_mm: [f64; 3],
}

/// Whose space a grid lies in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GridSpace {
    /// The template's: every brain comes to the same place and size.
    Mni,
    /// The scan's own, with the center of its field of view as origin: head size and pose stay.
    Scan,
}

impl OutputGrid {
    /// Voxel indices → mm of the grid's space.
    pub fn world_from_voxel(&self) -> Affine {
        self.about([0.0; 3]).0
    }

    /// Voxel indices → mm of a world where the grid's space has its origin at `origin_mm`, and back.
    pub(crate) fn about(&self, origin_mm: [f64; 3]) -> (Affine, Affine) {
        let sizes = self.voxel_size_mm;
        let first: [f64; 3] = std::array::from_fn(|axis| self.origin_mm[axis] + origin_mm[axis]);
        let inverse = Affine::grid(
            sizes.map(|size| 1.0 / size),
            std::array::from_fn(|axis| -first[axis] / sizes[axis]),
        );
        (Affine::grid(sizes, first), inverse)
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
    /// The same, its border moved to where the scan shows it.
    Refined,
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
    /// The cubic B-spline through all voxels, within their range: keeps what blurs where voxels are of like size.
    Cubic,
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
mod tests;
