//! What heads that only train learn besides the task, each by a branch that reads the same features.

use burn::tensor::{Device, Tensor};
use rand_chacha::ChaCha8Rng;

use super::{Head, IMAGE_CHANNELS};
use crate::models::block::{Said, apart};
use crate::nn::contrast::Contrast;
use crate::nn::conv3d::{Conv3d, Conv3dShape, Extent};
use crate::nn::pass::Pass;
use crate::nn::reconstruction::Reconstruction;
use crate::nn::similarity::SimilarityBranch;
use crate::nn::weight::WeightForm;

/// Tell the draws of branches from those of their head.
const SIMILARITY_BRANCH: u64 = 1;
const RECONSTRUCTION_BRANCH: u64 = 2;
const CONTRAST_BRANCH: u64 = 3;

/// What heads that only train learn besides the task.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Branches {
    /// Whether they learn how alike the members of a batch are.
    pub similarity: bool,
    /// Factors on the reconstruction loss at the first and the last of them; those between lie evenly between. 0: none.
    pub reconstruction: [f64; 2],
    /// Whether they tell the members of a batch apart.
    pub contrast: bool,
}

impl Branches {
    /// The factor on the reconstruction loss of head `number`, from 0, of `n`.
    fn reconstruction_factor(self, number: usize, n: usize) -> f64 {
        let [first, last] = self.reconstruction;
        let way = number as f64 / n.saturating_sub(1).max(1) as f64;
        first + (last - first) * way
    }
}

impl Head {
    /// Head `number`, from 0, of `n` that only train, with its branches; `stream` gives each its draws, by its key.
    pub(in crate::models) fn with_branches(
        self,
        (number, n): (usize, usize),
        branches: Branches,
        form: WeightForm,
        (stream, device): (impl Fn(u64) -> ChaCha8Rng, &Device),
    ) -> Self {
        let (extent, input_channels) = if self.reads_volumes {
            (Extent::Volume, 1)
        } else {
            (Extent::Image, IMAGE_CHANNELS)
        };
        let similarity = branches.similarity.then(|| {
            // Tokens have no neighbors.
            let kernel = if self.first_token { 1 } else { 3 };
            let channels = [self.channels; 2];
            let shape = Conv3dShape::even(extent, channels, kernel, 1, kernel / 2);
            let mut rng = stream(SIMILARITY_BRANCH);
            SimilarityBranch::new(Conv3d::new(shape, form, &mut rng, device))
        });
        let factor = branches.reconstruction_factor(number, n);
        let reconstruction = (factor > 0.0).then(|| {
            let channels = (extent, self.channels, input_channels);
            let mut rng = stream(RECONSTRUCTION_BRANCH);
            Reconstruction::new(channels, factor, form, &mut rng, device)
        });
        let contrast = branches.contrast.then(|| {
            let mut rng = stream(CONTRAST_BRANCH);
            Contrast::new(self.channels, form, &mut rng, device)
        });
        Self {
            similarity,
            reconstruction,
            contrast,
            ..self
        }
    }

    /// What it says in training, its branches included; `input` is what the network was given.
    ///
    /// # Shapes
    /// `[batch, channels, x, y, z]`, both.
    pub(in crate::models) fn say(
        &self,
        features: Tensor<5>,
        input: &Tensor<5>,
        pass: &mut Pass,
    ) -> Said {
        let similarity = self.similarity.as_ref();
        let reconstruction = self.reconstruction.as_ref();
        let contrast = self.contrast.as_ref();
        Said {
            similarity: similarity.map(|branch| branch.forward(features.clone())),
            reconstruction: reconstruction.map(|branch| branch.loss(features.clone(), input)),
            directions: contrast.map(|branch| branch.forward(features.clone())),
            outputs: match contrast {
                Some(_) => self.forward(apart(&features), pass),
                None => self.forward(features, pass),
            },
        }
    }

    /// Whether it needs what the network was given.
    pub(in crate::models) fn looks_at_input(&self) -> bool {
        self.reconstruction.is_some()
    }
}
