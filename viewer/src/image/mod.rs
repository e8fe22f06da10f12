//! From volumes to 2D pictures: which voxels a plane shows, in which order, in which colors.
//!
//! All of it is pure: no window, no texture. [`plane`] says what a plane is and which letters stand on its borders,
//! [`grid`] in which voxels a scene is shown, [`intensities`] how a scan is kept, [`sample`] takes values from volumes,
//! [`scene`] holds what is shown and [`compose`] makes the picture.

pub(crate) mod plane;

pub(crate) mod grid;
pub(crate) mod intensities;
pub(crate) mod sample;
pub(crate) mod window_level;

pub(crate) mod color_map;
pub(crate) mod compose;
pub(crate) mod scene;

#[cfg(test)]
mod orientation_tests;
