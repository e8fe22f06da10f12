//! What learns from what: where a network is cut into blocks, and whether gradients cross the cuts.

use serde::{Deserialize, Serialize};

use crate::Error;

/// Where the network is cut into blocks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", untagged)]
pub enum Cuts {
    /// By name.
    Named(NamedCuts),
    /// Numbers of the units that begin a new block, such as `[1, 2, 3]`.
    Before(Vec<usize>),
}

/// Cuts that have a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NamedCuts {
    /// As in the paper: each convolutional stage is a block; of a residual network, each stage with what comes before.
    Published,
    /// Each unit is a block.
    Units,
    /// As many blocks as devices, at least two, so that the slowest is as fast as can be by times measured before the
    /// training; the run keeps the unit numbers.
    Balanced,
}

/// Whether gradients cross from block to block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Regime {
    /// One loss at the end; the network is one block.
    Backprop,
    /// Each block learns from its own head; no gradient crosses a cut.
    Local,
    /// The heads of local training on a network that is one block: their losses are summed, and gradients cross all cuts.
    /// What local training is to be compared with (Lee et al., AISTATS 2015).
    DeepSupervision,
    /// One loss at the end, whose error goes to each unit through a fixed random matrix; no gradient crosses from unit to
    /// unit, and the network is one block (direct feedback alignment; Nøkland, NIPS 2016).
    DirectFeedback,
    /// As local training, with all blocks as one, so that a head can look at the unit that follows it: heads that need more
    /// than their own block. One optimizer clips the gradient of all.
    LocalTogether,
    /// Each unit learns to be large for the right label and small for a wrong one; no gradient crosses from unit to unit, and
    /// the network is one block (the Forward-Forward rule; Hinton 2022). See [`super::goodness`].
    ForwardForward,
    /// Each block is a whole network of the config's shape that says the label from the image and a noisy code of the label;
    /// nothing of one block enters the training of another (NoProp; Li et al. 2025). See [`super::denoising`].
    NoProp {
        /// How many blocks there are: steps from noise to the label.
        blocks: usize,
    },
}

impl Regime {
    /// How many blocks a network has that is cut into so many parts.
    pub fn n_blocks(self, n_parts: usize) -> usize {
        match self {
            Self::Local => n_parts,
            Self::NoProp { blocks } => blocks,
            Self::Backprop
            | Self::DeepSupervision
            | Self::DirectFeedback
            | Self::LocalTogether
            | Self::ForwardForward => 1,
        }
    }

    /// Whether the cuts of the config decide where it has heads.
    pub fn is_cut(self) -> bool {
        match self {
            Self::Local | Self::DeepSupervision | Self::LocalTogether => true,
            Self::Backprop | Self::DirectFeedback | Self::ForwardForward | Self::NoProp { .. } => {
                false
            }
        }
    }

    /// How many blocks a network has by its cuts; `None` where that is known once they are measured.
    ///
    /// # Errors
    /// What `starts` answers, which says where the parts begin.
    pub fn n_blocks_of(
        self,
        cuts: &Cuts,
        starts: impl FnOnce() -> Result<Vec<usize>, Error>,
    ) -> Result<Option<usize>, Error> {
        let is_balanced = *cuts == Cuts::Named(NamedCuts::Balanced);
        match (self, is_balanced) {
            (Self::Local, true) => Ok(None),
            (regime, true) => Ok(Some(regime.n_blocks(1))),
            (regime, false) => Ok(Some(regime.n_blocks(starts()?.len()))),
        }
    }
}

/// Numbers of the units that begin a part, from those that begin a new one.
pub(super) fn starts_of(cuts: Vec<usize>, n_units: usize) -> Result<Vec<usize>, Error> {
    let starts: Vec<usize> = std::iter::once(0).chain(cuts).collect();
    let rising = starts.windows(2).all(|pair| pair[0] < pair[1]);
    if !rising || starts.iter().any(|start| *start >= n_units) {
        return Err(refused_cuts(&format!(
            "{starts:?} are not rising unit numbers below {n_units}"
        )));
    }
    Ok(starts)
}

/// Cuts are asked for that have not been measured yet.
pub(super) fn unknown_cuts() -> Error {
    refused_cuts(
        "`balanced` cuts are known once `train` has measured the units, expected `published` or unit numbers",
    )
}

pub(super) fn refused_cuts(message: &str) -> Error {
    Error::Config {
        key: "model.cuts".into(),
        message: message.into(),
    }
}
