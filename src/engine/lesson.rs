//! What a block is to learn from some members of a batch: the forward pass and its losses, before anything is derived.
//! Each kind of regime has its own; what comes after is the same for all.

use burn::tensor::Tensor;

use super::feedback::{self, Feedback};
use super::objective::Objective;
use super::{forward_forward, no_prop};
use crate::Error;
use crate::data::batch::Truth;
use crate::models::block::apart;
use crate::models::{Block, Regime};
use crate::nn::pass::Pass;

/// Some members of a batch, without their features.
pub(super) struct Taught<'a> {
    /// Step of the run.
    pub(super) step: u64,
    /// Number of the block, from 0.
    pub(super) block: usize,
    pub(super) samples: &'a [u64],
    pub(super) truths: &'a [Truth],
}

/// What a block is to learn.
pub(super) struct Lesson {
    /// To be derived.
    pub(super) total: Tensor<1>,
    /// Of each head: its loss, and the penalty on the block's weights.
    pub(super) losses: Vec<f64>,
    /// Of each head the mean error, see [`super::target::Metric`].
    pub(super) errors: Vec<f64>,
    /// For the next block, without a graph.
    pub(super) handed_on: Tensor<5>,
}

/// The lesson of the objective's regime. `features`, and `input`, which is what the network was given, hold no graph.
///
/// # Errors
/// [`Error::Data`] for a block that the regime knows nothing of.
pub(super) fn of_regime(
    (block, objective, feedback): (&Block, &Objective, &Feedback),
    taught: &Taught<'_>,
    (features, input): (Tensor<5>, &Tensor<5>),
    pass: &mut Pass,
) -> Result<Lesson, Error> {
    match objective.regime {
        Regime::ForwardForward => {
            forward_forward::lesson((block, objective), taught, features, pass)
        }
        Regime::NoProp { .. } => no_prop::lesson((block, objective), taught, features, pass),
        Regime::Backprop
        | Regime::Local
        | Regime::LocalTogether
        | Regime::DeepSupervision
        | Regime::DirectFeedback => {
            let of_block = (block, objective, feedback);
            of_heads(of_block, taught, (features, input), pass)
        }
    }
}

/// The losses of the block's heads; where errors go straight to units, what moves these besides.
fn of_heads(
    (block, objective, feedback): (&Block, &Objective, &Feedback),
    taught: &Taught<'_>,
    (features, input): (Tensor<5>, &Tensor<5>),
    pass: &mut Pass,
) -> Result<Lesson, Error> {
    let (of_units, of_heads) = if objective.regime == Regime::DirectFeedback {
        let of_units = block.forward_apart(features, pass);
        let of_head = of_units.last().map(apart);
        (of_units, of_head.into_iter().collect())
    } else {
        (Vec::new(), block.forward_to_heads(features, pass))
    };
    let handed_on = of_heads.last().map(|features| features.clone().inner());
    let handed_on = handed_on.ok_or_else(|| Error::Data("a block without a head".into()))?;
    let said = block.said(of_heads, input, pass);
    let device = handed_on.device().autodiff();
    let loss = objective.loss(block, &said, (taught.step, taught.truths), &device);
    let value: f32 = loss.total.clone().into_scalar();
    let errors = said.iter().map(|said| {
        let outputs = said.outputs.clone().inner();
        mean_error(objective, outputs, taught.truths)
    });
    let errors = errors.collect();
    let losses = loss.values(f64::from(value));
    let outputs = said.last().map(|said| said.outputs.clone());
    let pull = outputs
        .filter(|_| !of_units.is_empty())
        .and_then(|outputs| {
            let target = &objective.target;
            let labels = target.labels(taught.truths, &outputs.device());
            let error = feedback::error_of(outputs, |outputs| target.loss(outputs, labels))?;
            feedback.loss(objective.seed, &error, &of_units)
        });
    Ok(Lesson {
        total: match pull {
            Some(pull) => loss.total + pull,
            None => loss.total,
        },
        losses,
        errors,
        handed_on,
    })
}

/// Mean error of what a head said of members.
pub(super) fn mean_error(objective: &Objective, outputs: Tensor<2>, truths: &[Truth]) -> f64 {
    let metric = objective.target.metric();
    let estimates = objective.target.estimates(outputs);
    let pairs = estimates.iter().zip(truths);
    let errors = pairs.map(|(said, truth)| metric.error(*said, *truth));
    errors.sum::<f64>() / truths.len() as f64
}
