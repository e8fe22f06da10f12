//! The designs of heads, by name.

use serde::{Deserialize, Serialize};

/// How far the depth of augmented heads falls from the first to the last unit that has one, as a share.
const PYRAMID: f64 = 0.5;

/// The designs of heads.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HeadKind {
    /// Global average, then one linear layer.
    GapLinear,
    /// Global average, a dense layer with ReLU and dropout, one linear layer: the published head.
    GapMlp,
    /// Strided convolutions, then as above: for blocks that are not the last.
    ConvGapMlp,
    /// Averages, 1×1 convolutions and dense layers: for blocks that are not the last (Belilovsky et al., ICML 2020).
    MlpSr,
    /// Covariance pooling with channel dropout, then one linear layer (Wang et al., NeurIPS 2022).
    DropCov,
    /// Units in the shapes of later units of the trunk, with weights of their own, then as [`Self::GapLinear`]: for blocks
    /// that are not the last (Ma et al., "Scaling Supervised Local Learning with Augmented Auxiliary Networks", ICLR 2024,
    /// arXiv 2402.17318).
    Augmented {
        /// Units after the first unit of the trunk, at most; see `copied_units`.
        depth: usize,
    },
    /// Two copies of the unit that follows, one trained and one that follows the unit slowly, their sum read as by
    /// [`Self::ConvGapMlp`]: for blocks that are not the last, of a network that is on one device (Su et al., "Momentum
    /// Auxiliary Network for Supervised Local Learning", ECCV 2024, arXiv 2407.05623).
    Momentum {
        /// What the slow copy keeps of itself at each step, 0 to 1; published: 0.995.
        decay: f64,
    },
    /// A distribution over states that the block gives, and one over answers for each state: see `head::latent`.
    Latent {
        /// How many states there are.
        states: usize,
    },
}

impl HeadKind {
    /// Whether there is such a head.
    pub fn is_valid(self) -> bool {
        match self {
            Self::Augmented { depth } => depth > 0,
            Self::Momentum { decay } => (0.0..=1.0).contains(&decay),
            Self::Latent { states } => states > 1,
            Self::GapLinear | Self::GapMlp | Self::ConvGapMlp | Self::MlpSr | Self::DropCov => true,
        }
    }

    /// Whether it needs features with neighbors, which tokens have not.
    pub fn convolves(self) -> bool {
        matches!(
            self,
            Self::ConvGapMlp | Self::MlpSr | Self::DropCov | Self::Momentum { .. }
        )
    }

    /// Whether the last head of a network can be one: those that only train need something to follow.
    pub fn can_be_last(self) -> bool {
        !matches!(
            self,
            Self::ConvGapMlp | Self::Augmented { .. } | Self::Momentum { .. }
        )
    }

    /// That of classifiers from before there was a choice.
    pub fn last_of_images() -> Self {
        Self::GapLinear
    }

    /// That of brain networks from before there was a choice, the published one.
    pub fn last_of_volumes() -> Self {
        Self::GapMlp
    }

    /// As configs write it, an augmented one with its depth: `augmented 2`.
    pub fn title(self) -> String {
        match self {
            Self::GapLinear => "gap-linear".into(),
            Self::GapMlp => "gap-mlp".into(),
            Self::ConvGapMlp => "conv-gap-mlp".into(),
            Self::MlpSr => "mlp-sr".into(),
            Self::DropCov => "drop-cov".into(),
            Self::Augmented { depth } => format!("augmented {depth}"),
            Self::Momentum { decay } => format!("momentum {decay}"),
            Self::Latent { states } => format!("latent {states}"),
        }
    }
}

/// Numbers of the units whose shapes an augmented head after a unit of the trunk has: spread evenly over what follows, the
/// last one included. There are the fewer the later the head stands: `depth` after the first unit, half as many before the
/// last (section 3.2 of the paper, pyramid coefficient 0.5), one at least.
pub(in crate::models) fn copied_units(unit: usize, n_units: usize, depth: usize) -> Vec<usize> {
    let n_later = n_units.saturating_sub(unit + 1);
    if n_later == 0 {
        return Vec::new();
    }
    let way = unit as f64 / n_units.saturating_sub(2).max(1) as f64;
    let wanted = ((1.0 - PYRAMID * way) * depth as f64 + 0.5).floor() as usize;
    let n = wanted.clamp(1, n_later);
    (1..=n).map(|i| unit + i * n_later / n).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn augmented_heads_copy_evenly_spread_later_units_and_fewer_of_them_the_later_they_stand() {
        // ResNet-18 in stages: stem, then four stages of two units each.
        assert_eq!(copied_units(2, 9, 3), [4, 6, 8]);
        // 1 − ½·4/7 of three, rounded.
        assert_eq!(copied_units(4, 9, 3), [6, 8]);
        assert_eq!(copied_units(6, 9, 3), [7, 8]);
        // The deepest possible head after the stem is the rest of the trunk.
        assert_eq!(copied_units(0, 9, 8), [1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(copied_units(0, 17, 4), [4, 8, 12, 16]);
        assert_eq!(copied_units(7, 9, 3), [8]);
        assert_eq!(copied_units(0, 2, 5), [1]);
        assert!(copied_units(8, 9, 3).is_empty());
    }

    #[test]
    fn heads_without_units_or_states_or_with_a_decay_beyond_1_are_none() {
        assert!(!HeadKind::Augmented { depth: 0 }.is_valid());
        assert!(HeadKind::Augmented { depth: 1 }.is_valid() && HeadKind::GapLinear.is_valid());
        assert!(!HeadKind::Latent { states: 1 }.is_valid());
        assert!(!HeadKind::Momentum { decay: 1.5 }.is_valid());
    }
}
