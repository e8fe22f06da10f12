//! NoProp: each block learns to say the label from the image and a noisy code of the label, and from nothing of other blocks.
//!
//! Li, Teh & Pascanu (2025, arXiv 2503.24322), the loss in discrete time, see [`crate::models::denoising`]: block t minimizes
//! (T/2)·η·(SNR_t − SNR_{t−1})·‖û − u‖²; the last one the loss of the task besides. Codes are fixed (one-hot, or the label itself),
//! so the paper's divergence of z_0 from noise is a constant and left out. All blocks learn from every batch.
//!
//! In training the error of a block is that of û given a noisy code of the truth: it says little about answers, for which
//! codes begin as noise.

use burn::tensor::{Tensor, TensorData};
use rand_distr::{Distribution as _, StandardNormal};

use super::lesson::{Lesson, Taught, mean_error};
use super::objective::Objective;
use super::seed::Purpose;
use crate::Error;
use crate::models::Block;
use crate::nn::pass::Pass;

/// The loss of a block alone.
///
/// # Errors
/// [`Error::Data`] for a block that takes no noise from anything.
pub(super) fn lesson(
    (block, objective): (&Block, &Objective),
    taught: &Taught<'_>,
    features: Tensor<5>,
    pass: &mut Pass,
) -> Result<Lesson, Error> {
    let step = block.denoising();
    let step = step.ok_or_else(|| Error::Data("a block without codes".into()))?;
    let (image, before) = step.opened(features);
    let labels = objective.target.labels(taught.truths, &image.device());
    let noise = Tensor::from_data(noise(objective, taught, before.dims()), &image.device());
    let code = step.noised(labels.clone(), noise);
    let outputs = block.outputs_with_code(image.clone(), code, pass);
    let distance = (step.code(outputs.clone()) - labels.clone()).square();
    let mut total = distance.sum_dim(1).mean() * step.weight();
    if step.is_last() {
        total = total + objective.target.loss(outputs.clone(), labels);
    }
    if let Some(penalty) = objective.penalty_on(block, taught.step) {
        total = total + penalty;
    }
    let value: f32 = total.clone().into_scalar();
    // Blocks that follow make a code of their own of the label.
    let handed_on = step.closed(image.inner(), before.inner());
    Ok(Lesson {
        total,
        losses: vec![f64::from(value)],
        errors: vec![mean_error(objective, outputs.inner(), taught.truths)],
        handed_on,
    })
}

/// Numbers of variance 1, for each member its own.
fn noise(objective: &Objective, taught: &Taught<'_>, dims: [usize; 2]) -> TensorData {
    let [_, n_outputs] = dims;
    let mut values: Vec<f32> = Vec::with_capacity(taught.samples.len() * n_outputs);
    for sample in taught.samples {
        let key = [taught.step, taught.block as u64, *sample];
        let mut rng = objective.seed.stream(Purpose::CodeNoise, &key);
        values.extend((0..n_outputs).map(|_| -> f32 { StandardNormal.sample(&mut rng) }));
    }
    TensorData::new(values, dims)
}
