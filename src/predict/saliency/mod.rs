//! Where a network looked: how much each voxel of a volume adds to its predicted age.
//!
//! A map has the unit years: what a voxel, or the region around it, adds to the age that the last head predicts.
//! Maps are made on the recipe's grid and know nothing of files.
//!
//! - [`SaliencyMethod::Gradient`]: gradient × input. One pass back; noisy, and blind where the network is saturated.
//! - [`SaliencyMethod::Integrated`]: integrated gradients from an empty head (all voxels 0, the brain's mean) to the
//!   volume; the map sums to the difference between the two predictions (Sundararajan et al. 2017, ICML, axiom
//!   "completeness").
//! - [`SaliencyMethod::Occlusion`]: the prediction less that of the volume with a cube set to 0 (Zeiler & Fergus 2014,
//!   ECCV); no gradient, so it shows what the network does and not how it would change.
//!
//! None of them says why a brain looks old: a map explains the network, and a network that fits noise has a map too
//! (Adebayo et al. 2018, NeurIPS).

mod gradient;
mod occlusion;
pub mod regions;

use std::sync::atomic::AtomicBool;

use burn::tensor::{Tensor, TensorData};

use crate::Error;
use crate::engine::device::Lane;
use crate::model_file::Model;

/// How a map is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum SaliencyMethod {
    /// Gradient × input: one pass back.
    Gradient,
    /// Integrated gradients: 32 passes back.
    Integrated,
    /// Cubes of 16 mm set to the mean: hundreds of passes.
    Occlusion,
}

impl SaliencyMethod {
    /// As it stands in the names of files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Gradient => "gradient",
            Self::Integrated => "integrated",
            Self::Occlusion => "occlusion",
        }
    }
}

/// A volume as a network takes it.
#[derive(Clone, Debug)]
pub struct NetworkInput {
    /// z fastest, 0 outside the brain and at its mean.
    pub voxels: Vec<f32>,
    /// Sides x, y, z.
    pub sides: [usize; 3],
    /// Distances of voxels along x, y, z.
    pub voxel_size_mm: [f64; 3],
}

impl NetworkInput {
    /// Copies of the volume, each with all voxels changed, as one batch.
    fn batch(&self, lane: &Lane, n: usize, change: impl Fn(usize, &mut [f32])) -> Tensor<5> {
        let [x, y, z] = self.sides;
        let mut values = self.voxels.repeat(n);
        for (copy, voxels) in values
            .chunks_exact_mut(self.voxels.len().max(1))
            .enumerate()
        {
            change(copy, voxels);
        }
        Tensor::from_data(TensorData::new(values, [n, 1, x, y, z]), &lane.device)
    }
}

/// A map of what each voxel adds, years; voxels as in the input. `None` where `stop` was set before the end.
///
/// # Errors
/// [`Error::Data`] where the network's answer is no number.
pub fn saliency(
    model: &Model,
    input: &NetworkInput,
    method: SaliencyMethod,
    lane: &Lane,
    stop: &AtomicBool,
) -> Result<Option<Vec<f32>>, Error> {
    let map = lane.pool.install(|| match method {
        SaliencyMethod::Gradient => gradient::times_input(model, input, lane).map(Some),
        SaliencyMethod::Integrated => gradient::integrated(model, input, lane, stop),
        SaliencyMethod::Occlusion => Ok(occlusion::occlusion(model, input, lane, stop)),
    })?;
    if map.iter().flatten().all(|value| value.is_finite()) {
        Ok(map)
    } else {
        Err(Error::Data(
            "the saliency map holds what is no number".into(),
        ))
    }
}

/// Predicted ages of a batch, years.
fn ages_years(model: &Model, input: Tensor<5>) -> Vec<f64> {
    let target = model.description.facts.target;
    let last = model.network.outputs(input).pop();
    let estimates = last.map(|outputs| target.estimates(outputs));
    let estimates = estimates.unwrap_or_default().into_iter();
    estimates.map(|estimate| estimate.age_years).collect()
}

#[cfg(test)]
mod tests;
