//! Maps from gradients of the predicted age.

use std::sync::atomic::{AtomicBool, Ordering};

use burn::module::Module as _;
use burn::tensor::Tensor;

use super::NetworkInput;
use crate::Error;
use crate::engine::device::Lane;
use crate::model_file::Model;
use crate::models::Network;

/// Points along the way of integrated gradients.
pub(super) const N_STEPS: usize = 32;

/// A network whose outputs can be derived by its input. Its own numbers are held fixed.
struct Derivable<'a> {
    model: &'a Model,
    network: Network,
}

impl<'a> Derivable<'a> {
    fn of(model: &'a Model) -> Self {
        let blocks = model.network.blocks.iter();
        let fixed = blocks.map(|block| block.clone().train().no_grad());
        let network = Network {
            blocks: fixed.collect(),
        };
        Self { model, network }
    }

    /// ∂(predicted age in years) / ∂(voxel), z fastest.
    fn gradient(&self, input: Tensor<5>) -> Result<Vec<f32>, Error> {
        let input = Tensor::from_inner(input).require_grad();
        let target = self.model.description.facts.target;
        let outputs = self.network.outputs(input.clone()).pop();
        let age = outputs.map(|outputs| target.ages(outputs).sum());
        let gradients = age.map(|age| age.backward());
        let gradient = gradients.and_then(|gradients| input.grad(&gradients));
        let values = gradient.map(|gradient| gradient.into_data().try_into_vec::<f32>());
        match values {
            Some(Ok(values)) => Ok(values),
            _ => Err(Error::Data(
                "the prediction does not depend on the volume".into(),
            )),
        }
    }
}

/// Gradient × input.
///
/// # References
/// Shrikumar et al. 2016, arXiv 1605.01713, section 3.
pub(super) fn times_input(
    model: &Model,
    input: &NetworkInput,
    lane: &Lane,
) -> Result<Vec<f32>, Error> {
    let gradient = Derivable::of(model).gradient(input.batch(lane, 1, |_, _| ()))?;
    Ok(product(&gradient, &input.voxels))
}

/// Integrated gradients from an empty head, by the midpoint rule: input × mean of the gradients at (k + ½)/n of it.
///
/// # References
/// Sundararajan et al. 2017, ICML 70:3319, equation 3.
pub(super) fn integrated(
    model: &Model,
    input: &NetworkInput,
    lane: &Lane,
    stop: &AtomicBool,
) -> Result<Option<Vec<f32>>, Error> {
    let derivable = Derivable::of(model);
    let mut sum = vec![0.0_f64; input.voxels.len()];
    for step in 0..N_STEPS {
        if stop.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let share = (step as f32 + 0.5) / N_STEPS as f32;
        let part = input.batch(lane, 1, |_, voxels| {
            for voxel in voxels {
                *voxel *= share;
            }
        });
        let gradient = derivable.gradient(part)?;
        for (sum, value) in sum.iter_mut().zip(gradient) {
            *sum += f64::from(value);
        }
    }
    let mean: Vec<f32> = sum
        .iter()
        .map(|sum| (sum / N_STEPS as f64) as f32)
        .collect();
    Ok(Some(product(&mean, &input.voxels)))
}

fn product(a: &[f32], b: &[f32]) -> Vec<f32> {
    a.iter().zip(b).map(|(a, b)| a * b).collect()
}
