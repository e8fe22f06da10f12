//! A brain mask learned from many segmented heads: the two networks of deepbet, with their own weights, in our own code.
//!
//! The first network looks at the whole scan on 128³ voxels and finds the box that holds the brain; the second looks at
//! that box on 256³ voxels and says of each whether it is brain. The voxels are taken as they are, nearest neighbors, so
//! the networks need to know nothing of the scan's voxel size; its axes must be RAS+. The largest piece with its holes
//! filled is the mask, on the scan's own voxels.
//!
//! The convolutions are those of [`brainage_kernels::conv3d`]: no tensors, no gradients, no framework. The mask does not
//! depend on the number of threads. Whether a recipe wants this mask is decided in [`mod@crate::preprocess`].
//!
//! # References
//! Fisch L. et al. 2024, "deepbet: Fast brain extraction of T1-weighted MRI using Convolutional Neural Networks",
//! Computers in Biology and Medicine 179. Weights of version 1.0.2: `assets/README.md`.

use std::sync::OnceLock;

mod geometry;
mod layers;
mod linknet;
mod pieces;
mod threads;
mod weights;

use crate::error::Error;
use crate::space::VoxelShape;
use crate::volume::{Mask, Volume};
use geometry::{IntensityRange, VoxelBox, find_box, resized};
use linknet::LinkNet;
use pieces::{fill_holes, largest_piece};
use weights::Weights;

const WEIGHTS_FILE: &[u8] = include_bytes!("../../../assets/deepbet_f16.safetensors");

/// Voxels along a side of what the first network sees.
const BOX_SIDE: usize = 128;
/// The same for the second.
const BRAIN_SIDE: usize = 256;

/// The two networks.
#[derive(Debug)]
pub struct BrainNetwork {
    box_finder: LinkNet,
    brain_finder: LinkNet,
}

/// The embedded networks, decoded at first use.
///
/// # Errors
/// [`Error::BrainNetwork`] if the embedded weights are not what they should be.
pub fn brain_network() -> Result<&'static BrainNetwork, Error> {
    static NETWORK: OnceLock<Result<BrainNetwork, String>> = OnceLock::new();
    let decoded = NETWORK.get_or_init(|| {
        let weights = Weights::read(WEIGHTS_FILE)?;
        Ok(BrainNetwork {
            box_finder: LinkNet::new(&weights, "box")?,
            brain_finder: LinkNet::new(&weights, "brain")?,
        })
    });
    decoded.as_ref().map_err(|problem| Error::BrainNetwork {
        problem: problem.clone(),
    })
}

/// Hash of the embedded weights: part of the cache key of every recipe that uses them.
pub fn weights_hash() -> blake3::Hash {
    static HASH: OnceLock<blake3::Hash> = OnceLock::new();
    *HASH.get_or_init(|| blake3::hash(WEIGHTS_FILE))
}

impl BrainNetwork {
    /// The brain in a scan, on the scan's voxels; `None` where the networks see none.
    ///
    /// Takes as many threads as the rayon pool of the caller has, but not that pool's own: while a thread of it waited
    /// here, it would begin other scans that wait in the pool, and hold the memory of all of them.
    ///
    /// # Shapes
    /// The scan is RAS+, of any shape and voxel size.
    pub fn brain_mask(&self, scan: &Volume) -> Option<Mask> {
        let values = threads::apart(|| self.inside(scan))?;
        Some(Mask::from_parts(
            values,
            scan.shape(),
            scan.world_from_voxel(),
            scan.voxel_from_world(),
        ))
    }

    fn inside(&self, scan: &Volume) -> Option<Vec<bool>> {
        let whole = VoxelBox::whole(scan.shape());
        let mut seen = resized(scan.values(), scan.shape(), &whole, BOX_SIDE);
        let range = IntensityRange::of(&seen)?;
        range.standardize(&mut seen)?;
        let head = self.box_finder.inside(seen, BOX_SIDE);
        let head = largest_piece(&head, VoxelShape([BOX_SIDE; 3]))?;
        let found = find_box(&head, BOX_SIDE, scan.shape())?;

        let mut seen = resized(scan.values(), scan.shape(), &found, BRAIN_SIDE);
        range.standardize(&mut seen)?;
        let brain = self.brain_finder.inside(seen, BRAIN_SIDE);
        let brain = found.out_of_cube(&brain, BRAIN_SIDE);
        let mut brain = largest_piece(&brain, found.shape())?;
        fill_holes(&mut brain, found.shape());
        Some(found.within(&brain, scan.shape()))
    }
}

#[cfg(test)]
mod tests;
