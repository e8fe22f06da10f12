//! The Forward-Forward rule: each unit is large for members with their right label written in, and small for those with a
//! wrong one.
//!
//! Hinton (2022, arXiv 2212.13345), sections 2 and 3.3: the loss of a unit is softplus(θ − g) for right labels and
//! softplus(g − θ) for wrong ones, with its goodness g, see [`crate::models::goodness`]. θ is 2. Wrong labels are drawn
//! evenly; those of ages are 10 years off or more. The published networks have layers without normalization; ours stay as they are.

use burn::module::Module as _;
use burn::tensor::Tensor;
use burn::tensor::activation::softplus;
use rand::RngExt as _;

use super::lesson::{Lesson, Taught, mean_error};
use super::objective::Objective;
use super::seed::Purpose;
use crate::Error;
use crate::models::Block;
use crate::nn::pass::Pass;

/// θ: where goodness says neither.
const THRESHOLD: f64 = 2.0;

/// The loss of all units, and the error on a few members: to ask for an answer takes a pass for each label.
///
/// # Errors
/// [`Error::Data`] for a block that is not trained by goodness.
pub(super) fn lesson(
    (block, objective): (&Block, &Objective),
    taught: &Taught<'_>,
    features: Tensor<5>,
    pass: &mut Pass,
) -> Result<Lesson, Error> {
    let goodness = block.goodness();
    let goodness = goodness.ok_or_else(|| Error::Data("a block without labels".into()))?;
    let given = features.clone().inner();
    let n_members = taught.truths.len();
    let (right, wrong) = labels(objective, taught);
    let both = vec![
        goodness.written(features.clone(), &right),
        goodness.written(features, &wrong),
    ];
    pass.repeat_members(2);
    let of_units = block.goodness_apart(Tensor::cat(both, 0), pass);
    let losses = of_units.into_iter().map(|of_unit| {
        let of_right = of_unit.clone().slice_dim(0, 0..n_members);
        let of_wrong = of_unit.slice_dim(0, n_members..2 * n_members);
        let too_small = softplus(-of_right + THRESHOLD, 1.0).mean();
        too_small + softplus(of_wrong - THRESHOLD, 1.0).mean()
    });
    let total = losses.reduce(|sum, loss| sum + loss);
    let mut total = total.ok_or_else(|| Error::Data("a block without units".into()))?;
    if let Some(penalty) = objective.penalty_on(block, taught.step) {
        total = total + penalty;
    }
    let value: f32 = total.clone().into_scalar();
    let n_asked = n_members.div_ceil(goodness.n_labels());
    let (outputs, _) = block
        .valid()
        .answers(given.clone().slice_dim(0, 0..n_asked));
    let errors = outputs.into_iter();
    let errors = errors.map(|outputs| mean_error(objective, outputs, &taught.truths[..n_asked]));
    Ok(Lesson {
        total,
        losses: vec![f64::from(value)],
        errors: errors.collect(),
        handed_on: given,
    })
}

/// For each member its label, and one that is wrong.
fn labels(objective: &Objective, taught: &Taught<'_>) -> (Vec<usize>, Vec<usize>) {
    let members = taught.samples.iter().zip(taught.truths);
    let pairs = members.map(|(sample, truth)| {
        let key = [taught.step, *sample];
        let mut rng = objective.seed.stream(Purpose::WrongLabel, &key);
        let wrong: Vec<usize> = objective.target.wrong_labels(truth);
        let drawn = wrong.get(rng.random_range(0..wrong.len().max(1)));
        let right = objective.target.label(truth);
        (right, drawn.copied().unwrap_or(right))
    });
    pairs.unzip()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::train::{BRAIN_CNN_SMALL, TrainConfig};
    use crate::engine::lesson::Taught;
    use crate::engine::seed::Seed;
    use crate::engine::target::{AgeTarget, Loss};
    use crate::models::parameters::reached;
    use crate::models::{Network, Regime};
    use crate::nn::pass::TrainingPass;
    use burn::tensor::{Device, TensorData};

    fn objective() -> (Objective, Block) {
        let changes = [
            "train.method=forward-forward".to_owned(),
            "train.loss={ soft-labels = { bin_years = 5.0, sd_years = 3.0 } }".to_owned(),
        ];
        let config = TrainConfig::parse(BRAIN_CNN_SMALL, "small.toml".as_ref(), &changes).unwrap();
        let loss = Loss::SoftLabels {
            bin_years: 5.0,
            sd_years: 3.0,
        };
        let target = AgeTarget::of(loss, &[40.0, 60.0]).unwrap();
        let n = target.n_outputs();
        let network = Network::new(
            &config.model,
            n,
            Regime::ForwardForward,
            Seed(1),
            &Device::flex(),
        );
        let block = network.unwrap().blocks.remove(0);
        (config.train.objective(target), block)
    }

    #[test]
    fn wrong_labels_are_drawn_for_each_member_and_at_least_ten_years_off() {
        let (objective, _) = objective();
        let truths: Vec<_> = (0..40).map(|i| (40.0 + f64::from(i % 20)).into()).collect();
        let samples: Vec<u64> = (0..40).collect();
        let taught = |step| Taught {
            step,
            block: 0,
            samples: &samples,
            truths: &truths,
        };
        let (right, wrong) = labels(&objective, &taught(3));
        assert_eq!(
            labels(&objective, &taught(3)),
            (right.clone(), wrong.clone())
        );
        assert_ne!(labels(&objective, &taught(4)).1, wrong);
        assert!(right.iter().zip(&wrong).all(|(a, b)| a.abs_diff(*b) >= 2));
    }

    #[test]
    fn all_units_learn_from_their_own_loss_which_is_that_of_the_paper() {
        let (objective, block) = objective();
        let block = block.train();
        let values: Vec<f32> = (0..2 * 20_usize.pow(3))
            .map(|i| (i as f32 * 0.37).sin())
            .collect();
        let data = TensorData::new(values, [2, 1, 20, 20, 20]);
        let features = Tensor::<5>::from_inner(Tensor::from_data(data, &Device::flex()));
        let truths = [45.0.into(), 55.0.into()];
        let taught = Taught {
            step: 0,
            block: 0,
            samples: &[7, 8],
            truths: &truths,
        };
        let pass = |of: &[u64]| Pass::Training(TrainingPass::new(objective.seed, 0, of.into()));
        let mut members = pass(&[7, 8]);
        let lesson = lesson(
            (&block, &objective),
            &taught,
            features.clone(),
            &mut members,
        )
        .unwrap();

        let goodness = block.goodness().unwrap();
        let (right, wrong) = labels(&objective, &taught);
        let both = vec![
            goodness.written(features.clone(), &right),
            goodness.written(features, &wrong),
        ];
        let of_units = block.goodness_apart(Tensor::cat(both, 0), &mut pass(&[7, 8, 7, 8]));
        let softplus = |v: f64| v.exp().ln_1p();
        let by_hand = of_units.iter().map(|g| {
            let g: Vec<f32> = g.clone().into_data().try_into_vec().unwrap();
            let g = g.into_iter().map(f64::from).collect::<Vec<_>>();
            let of = |sign: f64, g: &[f64]| {
                g.iter().map(|g| softplus(sign * (g - 2.0))).sum::<f64>() / 2.0
            };
            of(-1.0, &g[..2]) + of(1.0, &g[2..])
        });
        let by_hand: f64 = by_hand.sum();
        assert!(
            (lesson.losses[0] - by_hand).abs() < 1e-4 * by_hand,
            "{:?} {by_hand}",
            lesson.losses
        );
        // All but the read-out, which has nothing to be trained.
        let (reached, all) = reached(&block, &lesson.total.backward());
        assert_eq!(reached, all);
    }
}
