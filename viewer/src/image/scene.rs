//! What is shown: a base picture and layers over it, each with its place in the display grid.

use std::ops::Deref;
use std::sync::Arc;

use brainage_pipelines::Affine;
use brainage_pipelines::volume::Grid;
use serde::{Deserialize, Serialize};

use super::color_map::ColorMap;
use super::grid::DisplayGrid;
use super::intensities::Intensities;
use super::sample::{Cut, Interpolation, values};
use super::window_level::{Presets, WindowLevel};

/// In whose coordinates the scene is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Space {
    /// Those of the scan.
    #[default]
    Scan,
    /// Those of the template (MNI).
    Template,
}

/// Voxels that are shared with whoever else needs them.
#[derive(Debug)]
pub(crate) enum Voxels<T: 'static> {
    /// Read or made at run time.
    Shared(Arc<Grid<T>>),
    /// Part of the program.
    Static(&'static Grid<T>),
}

/// Voxels and their place in a scene.
#[derive(Clone, Debug)]
pub(crate) struct Placed<T: 'static> {
    /// The voxels.
    pub(crate) voxels: Voxels<T>,
    /// Index in the display grid → voxel.
    pub(crate) voxel_from_index: Affine,
}

/// The scan and its place in a scene.
#[derive(Clone, Debug)]
pub(crate) struct PlacedScan {
    /// Its values.
    pub(crate) intensities: Intensities,
    /// Index in the display grid → voxel.
    pub(crate) voxel_from_index: Affine,
}

/// What the swipe shows on its right: the scan after preprocessing.
#[derive(Clone, Debug)]
pub(crate) enum After {
    /// The base divided by the bias field, within the mask.
    Corrected,
    /// A volume of its own.
    Volume(Placed<f32>, WindowLevel),
}

/// Everything that can be shown at once.
#[derive(Clone, Debug)]
pub(crate) struct Scene {
    /// Differs between scenes.
    pub(crate) id: u64,
    /// Whose coordinates.
    pub(crate) space: Space,
    /// The voxels in which slices are made.
    pub(crate) grid: DisplayGrid,
    /// First and last slice with something in it, along each axis.
    pub(crate) content: [[usize; 2]; 3],
    /// The scan.
    pub(crate) base: PlacedScan,
    /// Windows that suit it.
    pub(crate) presets: Presets,
    /// Whether it is nothing outside the mask.
    pub(crate) base_is_masked: bool,
    /// The scan after preprocessing.
    pub(crate) after: Option<After>,
    /// The brain.
    pub(crate) mask: Option<Placed<bool>>,
    /// The template, 0 to 255.
    pub(crate) template: Option<Placed<f32>>,
    /// The bias field, about 1.
    pub(crate) bias_field: Option<Placed<f32>>,
    /// Where the model looked, or any other map, with the values of its lowest and highest color.
    pub(crate) map: Option<(Placed<f32>, WindowLevel)>,
}

/// One layer's switch.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct LayerView {
    /// Whether it is shown.
    pub(crate) shown: bool,
    /// 0 (not seen) to 1 (covers what is below).
    pub(crate) opacity: f32,
}

/// The switches of all layers.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct LayersView {
    /// Outline of the brain mask.
    pub(crate) mask: LayerView,
    /// The template.
    pub(crate) template: LayerView,
    /// The bias field.
    pub(crate) bias_field: LayerView,
    /// The map.
    pub(crate) map: LayerView,
    /// Its colors.
    pub(crate) map_colors: ColorMap,
}

impl Default for LayersView {
    fn default() -> Self {
        let hidden = |opacity| LayerView {
            shown: false,
            opacity,
        };
        Self {
            mask: LayerView {
                shown: true,
                opacity: 1.0,
            },
            template: hidden(0.5),
            bias_field: hidden(0.5),
            map: LayerView {
                shown: true,
                opacity: 0.7,
            },
            map_colors: ColorMap::default(),
        }
    }
}

impl<T> Clone for Voxels<T> {
    fn clone(&self) -> Self {
        match self {
            Self::Shared(voxels) => Self::Shared(Arc::clone(voxels)),
            Self::Static(voxels) => Self::Static(voxels),
        }
    }
}

impl<T> Deref for Voxels<T> {
    type Target = Grid<T>;

    fn deref(&self) -> &Grid<T> {
        match self {
            Self::Shared(voxels) => voxels,
            Self::Static(voxels) => voxels,
        }
    }
}

impl<T> Placed<T> {
    /// Places voxels whose world is reached from that of the scene by `world_from_scene`.
    pub(crate) fn new(voxels: Voxels<T>, world_from_scene: &Affine, grid: &DisplayGrid) -> Self {
        let voxel_from_index = voxel_from_index(voxels.world_from_voxel(), world_from_scene, grid);
        Self {
            voxels,
            voxel_from_index,
        }
    }
}

impl PlacedScan {
    /// As [`Placed::new`].
    pub(crate) fn new(
        intensities: Intensities,
        world_from_scene: &Affine,
        grid: &DisplayGrid,
    ) -> Self {
        let place = intensities.world_from_voxel();
        Self {
            voxel_from_index: voxel_from_index(place, world_from_scene, grid),
            intensities,
        }
    }

    /// Its values on a slice, as [`values`] has them.
    pub(crate) fn values(
        &self,
        grid: &DisplayGrid,
        cut: Cut,
        interpolation: Interpolation,
    ) -> Vec<f32> {
        let map = &self.voxel_from_index;
        match &self.intensities {
            Intensities::Whole(whole) => values(whole, map, grid, cut, interpolation),
            Intensities::Real(real) => values(real, map, grid, cut, interpolation),
        }
    }
}

fn voxel_from_index(
    world_from_voxel: Affine,
    world_from_scene: &Affine,
    grid: &DisplayGrid,
) -> Affine {
    let voxel_from_world = world_from_voxel.inverse();
    voxel_from_world.unwrap_or_else(Affine::identity) * *world_from_scene * grid.world_from_index
}

impl Scene {
    /// A volume alone, in its own space.
    #[cfg(test)]
    pub(crate) fn of_volume(id: u64, volume: brainage_pipelines::Volume, presets: Presets) -> Self {
        Self::of_scan(id, Intensities::of(volume), presets)
    }

    /// A scan alone, in its own space.
    pub(crate) fn of_scan(id: u64, scan: Intensities, presets: Presets) -> Self {
        let grid = DisplayGrid::of(scan.shape(), scan.world_from_voxel());
        let base = PlacedScan::new(scan, &Affine::identity(), &grid);
        Self {
            id,
            space: Space::Scan,
            content: grid.shape.map(|n| [0, n.saturating_sub(1)]),
            grid,
            base,
            presets,
            base_is_masked: false,
            after: None,
            mask: None,
            template: None,
            bias_field: None,
            map: None,
        }
    }

    /// The scan's voxel under an index of the grid; `None` outside the scan.
    pub(crate) fn scan_voxel(&self, index: [usize; 3]) -> Option<[usize; 3]> {
        let at = self.base.voxel_from_index.apply(index.map(|i| i as f64));
        let shape = self.base.intensities.shape().0;
        let mut voxel = [0; 3];
        for axis in 0..3 {
            let nearest = (at[axis] + 0.5).floor();
            if !(nearest >= 0.0 && nearest < shape[axis] as f64) {
                return None;
            }
            voxel[axis] = nearest as usize;
        }
        Some(voxel)
    }

    /// The scan's value under an index of the grid.
    pub(crate) fn value(&self, index: [usize; 3]) -> Option<f32> {
        self.base.intensities.get(self.scan_voxel(index)?)
    }
}
