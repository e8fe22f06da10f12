//! What a block minimizes: what its heads say against what they should have said, and penalties on its weights.
//!
//! ```text
//! of a head   (1 − s)·task + s·similarity + r·reconstruction + c·contrast      s, r, c: 0 for the last head of a network
//! of a block  last head + w·Σ inner heads + λ·Σ ‖QᵀQ − I‖² + ‖PᵀP − I‖² + penalty on weights
//! ```
//!
//! Further terms belong in `Objective::of_head`, where they look at a head, or in [`WeightPenalty`], where they look at
//! weights.

use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use super::optimizer::OptimizerConfig;
use super::seed::Seed;
use super::target::Target;
use crate::data::batch::Truth;
use crate::models::block::Said;
use crate::models::head::Branches;
use crate::models::{Block, Regime};
use crate::nn::contrast::contrast_loss;
use crate::nn::similarity::similarity_loss;
use crate::nn::weight_penalty::WeightPenalty;

/// What all blocks of a run have in common.
#[derive(Clone, Debug)]
pub struct Objective {
    /// Seed of the run.
    pub seed: Seed,
    /// What heads learn to say.
    pub target: Target,
    /// What heads that only train learn besides.
    pub auxiliary: AuxiliaryConfig,
    /// How bases are kept orthonormal.
    pub orthogonality: OrthogonalityConfig,
    /// What is minimized of weights besides.
    pub penalty: WeightPenalty,
    /// What learns from what.
    pub regime: Regime,
    /// Batches in a buffer between blocks, out of which they draw, see `engine::replay`; 0: none.
    pub replay: usize,
    /// Steps of the training, where it is one: what falls with time knows by them.
    pub n_steps: Option<u64>,
    /// Settings of the optimizer.
    pub optimizer: OptimizerConfig,
    /// Parts of a batch that go through a block one after the other, for one update.
    pub accumulate: usize,
    /// Decay of a running mean of the weights that is used for inference; 0: none.
    pub average: f64,
}

/// The `train.auxiliary` part of a config: the heads that only train, which are all but the last one of a network.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuxiliaryConfig {
    /// Share of the similarity loss in what they minimize, 0 to 1; 0: none. Published with cross-entropy: 0.99 (Nøkland &
    /// Eidnes, ICML 2019, arXiv 1901.06656: predsim).
    pub similarity: f64,
    /// Factor on the loss of each of them in deep supervision, where the losses of a block are summed.
    pub weight: f64,
    /// Factors on the loss of the reconstructed input at the first and at the last of them; those between lie evenly between.
    /// 0: none (Wang et al., ICLR 2021, arXiv 2101.10832: InfoPro).
    #[serde(default)]
    pub reconstruction: [f64; 2],
    /// Factor on the contrastive loss, which then alone moves their blocks; 0: none.
    #[serde(default)]
    pub contrast: f64,
}

impl AuxiliaryConfig {
    /// That of configs from before there was a choice: the task alone.
    pub fn task_alone() -> Self {
        Self {
            similarity: 0.0,
            weight: 1.0,
            reconstruction: [0.0; 2],
            contrast: 0.0,
        }
    }

    /// What heads need for it.
    pub fn branches(self) -> Branches {
        Branches {
            similarity: self.similarity > 0.0,
            reconstruction: self.reconstruction,
            contrast: self.contrast > 0.0,
        }
    }
}

/// The `[train.orthogonality]` part of a config.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OrthogonalityConfig {
    /// Factor λ of the penalty; published: 2e-4.
    pub weight: f64,
    /// What keeps Q and P orthonormal.
    pub mode: OrthogonalityMode,
}

/// What keeps Q and P orthonormal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OrthogonalityMode {
    /// λ(‖QᵀQ − I‖² + ‖PᵀP − I‖²) in the loss of each block.
    Penalty,
    /// A Newton–Schulz step towards the nearest orthonormal basis after each update, and no penalty.
    Retract,
    /// Both.
    Both,
}

impl OrthogonalityConfig {
    /// λ, where the loss has the penalty.
    fn penalty_weight(self) -> Option<f64> {
        match self.mode {
            OrthogonalityMode::Penalty | OrthogonalityMode::Both => Some(self.weight),
            OrthogonalityMode::Retract => None,
        }
    }

    pub(super) fn retracts(self) -> bool {
        match self.mode {
            OrthogonalityMode::Penalty => false,
            OrthogonalityMode::Retract | OrthogonalityMode::Both => true,
        }
    }
}

/// What a block minimizes for some members of a batch.
pub(super) struct BlockLoss {
    /// To be derived.
    pub(super) total: Tensor<1>,
    /// The penalty on the weights, where there is one; part of the total.
    pub(super) penalty: Option<Tensor<1>>,
    /// Loss of each head, from the input on, without factor and penalty.
    pub(super) of_heads: Vec<Tensor<1>>,
}

impl BlockLoss {
    /// Loss of each head with the penalty, as the training tells them; `total` is the value of the total.
    pub(super) fn values(&self, total: f64) -> Vec<f64> {
        if self.of_heads.len() == 1 {
            return vec![total];
        }
        let value = |loss: &Tensor<1>| {
            let loss = match &self.penalty {
                Some(penalty) => loss.clone() + penalty.clone(),
                None => loss.clone(),
            };
            f64::from(loss.into_scalar::<f32>())
        };
        self.of_heads.iter().map(value).collect()
    }
}

/// What heads should have said of some members of a batch.
struct Labels {
    /// `[batch, n_outputs]`.
    outputs: Tensor<2>,
    /// How alike the members are, `[batch, batch]`; only where a head learns it.
    similarity: Option<Tensor<2>>,
}

impl Objective {
    /// The loss of a block whose heads said `said` of members with the given truths. Members are alike or not within a part
    /// of a batch: those of another replica, or of another part where batches are learned in parts, are not seen.
    pub(super) fn loss(
        &self,
        block: &Block,
        said: &[Said],
        (step, truths): (u64, &[Truth]),
        device: &Device,
    ) -> BlockLoss {
        let compares = |said: &Said| said.similarity.is_some() || said.directions.is_some();
        let learns_similarity = said.iter().any(compares);
        let labels = Labels {
            outputs: self.target.labels(truths, device),
            similarity: learns_similarity.then(|| self.target.similarities(truths, device)),
        };
        let of_heads: Vec<Tensor<1>> = said
            .iter()
            .map(|said| self.of_head(said, &labels))
            .collect();
        let last = of_heads.len().saturating_sub(1);
        let mut total = of_heads[last].clone();
        if self.auxiliary.weight > 0.0 {
            for inner in &of_heads[..last] {
                total = total + inner.clone() * self.auxiliary.weight;
            }
        }
        let penalty = self.penalty_on(block, step);
        if let Some(penalty) = &penalty {
            total = total + penalty.clone();
        }
        BlockLoss {
            total,
            penalty,
            of_heads,
        }
    }

    fn of_head(&self, said: &Said, labels: &Labels) -> Tensor<1> {
        let task = self
            .target
            .loss(said.outputs.clone(), labels.outputs.clone());
        let mut loss = match (&said.similarity, &labels.similarity) {
            (Some(by_features), Some(by_labels)) => {
                let share = self.auxiliary.similarity;
                let similarity = similarity_loss(by_features.clone(), by_labels.clone());
                task * (1.0 - share) + similarity * share
            }
            _ => task,
        };
        if let (Some(directions), Some(alike)) = (&said.directions, &labels.similarity) {
            let contrast = contrast_loss(directions.clone(), alike.clone());
            loss = loss + contrast * self.auxiliary.contrast;
        }
        match &said.reconstruction {
            Some(reconstruction) => loss + reconstruction.clone(),
            None => loss,
        }
    }

    /// What is minimized of the block's weights, whatever the batch.
    pub(super) fn penalty_on(&self, block: &Block, step: u64) -> Option<Tensor<1>> {
        let weight = self.orthogonality.penalty_weight();
        let of_bases = weight.and_then(|weight| Some(block.orthogonality_penalty()? * weight));
        let done = self.n_steps.map_or(0.0, |n| step as f64 / n.max(1) as f64);
        let of_weights = self.penalty.of(&block.penalized(self.seed, step, done));
        [of_bases, of_weights]
            .into_iter()
            .flatten()
            .reduce(|sum, penalty| sum + penalty)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::train::{BRAIN_CNN_SMALL, TrainConfig};
    use crate::engine::target::AgeTarget;
    use crate::models::Network;

    fn objective(similarity: f64, weight: f64) -> (Objective, Block) {
        let changes = [
            format!("train.auxiliary={{ similarity = {similarity}, weight = {weight} }}"),
            "model.weights=dense".into(),
            "train.loss=mae".into(),
        ];
        let config = TrainConfig::parse(BRAIN_CNN_SMALL, "small.toml".as_ref(), &changes).unwrap();
        let target = AgeTarget::of(config.train.loss, &[40.0, 60.0]).unwrap();
        let network = Network::new(&config.model, 1, Regime::Backprop, Seed(1), &Device::flex());
        let block = network.unwrap().blocks.remove(0);
        (config.train.objective(target), block)
    }

    fn said(outputs: [f32; 2], alike: Option<f32>) -> Said {
        let device = Device::flex();
        let outputs = outputs.map(|output| [output]);
        Said {
            outputs: Tensor::from_data(outputs, &device),
            similarity: alike.map(|alike| Tensor::from_data([[1.0, alike], [alike, 1.0]], &device)),
            reconstruction: None,
            directions: None,
        }
    }

    #[test]
    fn a_block_minimizes_its_last_head_and_the_inner_ones_by_weight_each_with_its_share_of_similarity()
     {
        // Ages 40 and 60, mean 50, sd 10: −1 and 1. Twenty years apart: exp(−2).
        let truths = [40.0.into(), 60.0.into()];
        let heads = [said([0.0, 0.0], Some(0.5)), said([-1.0, 0.0], None)];
        let (task_inner, task_last) = (1.0, 0.5);
        let similarity = 0.5 * (0.5 - (-2.0_f64).exp()).powi(2);
        for (share, weight) in [(0.0, 1.0), (0.9, 1.0), (0.9, 0.3), (1.0, 2.0), (0.5, 0.0)] {
            let (objective, block) = objective(share, weight);
            let loss = objective.loss(&block, &heads, (0, &truths), &Device::flex());
            let total = f64::from(loss.total.clone().into_scalar::<f32>());
            let inner = (1.0 - share) * task_inner + share * similarity;
            assert!(
                (total - task_last - weight * inner).abs() < 1e-6,
                "{share} {weight}: {total}"
            );
            let values = loss.values(total);
            assert!((values[0] - inner).abs() < 1e-6 && (values[1] - task_last).abs() < 1e-6);
        }
    }
}
