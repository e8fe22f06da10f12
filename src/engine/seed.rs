//! Keyed random streams: every draw is derived from what it is for, nothing is stored.
//!
//! A stream is named by (seed, purpose, key), so a resumed run draws what the uninterrupted one would have drawn, and
//! no thread's order of work changes a number. There is no global generator.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng as _;
use serde::{Deserialize, Serialize};

/// What a random stream is drawn for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Initial weights; key: place, layer.
    Initialization,
    /// Order of the samples; key: epoch.
    Shuffle,
    /// Samples of an epoch that is balanced; key: epoch.
    Sampling,
    /// Changes of a training volume; key: epoch, sample, and how often it came before if it did.
    Augmentation,
    /// Mixtures of training images; key: epoch, sample, and how often it came before if it did.
    Mixing,
    /// Samples of the training set that only watch; key: sample.
    HoldOut,
    /// Units that are switched off; key: step, place, layer, sample.
    Dropout,
    /// Directions that power iteration starts from; key: step, first unit of the block, layer.
    PowerIteration,
    /// How errors go straight to units; key: unit.
    Feedback,
    /// Waves that stand for labels; key: label.
    LabelWave,
    /// Wrong labels; key: step, sample.
    WrongLabel,
    /// Noise on codes of labels; key: step of the run, block, sample.
    CodeNoise,
    /// Networks of which each is a step from noise to the label; key: step.
    Step,
    /// Batches out of a buffer between blocks; key: step, block.
    Replay,
    /// Places of features that are looked at; key: layer, numbers seen before.
    Calibration,
    /// Made-up volumes that only take time; key: sample.
    Benchmark,
}

impl Purpose {
    /// Part of every key: changing one changes all results, so they are fixed for good.
    fn tag(self) -> &'static [u8] {
        match self {
            Self::Initialization => b"initialization",
            Self::Shuffle => b"shuffle",
            Self::Sampling => b"sampling",
            Self::Augmentation => b"augmentation",
            Self::Mixing => b"mixing",
            Self::HoldOut => b"hold-out",
            Self::Dropout => b"dropout",
            Self::PowerIteration => b"power iteration",
            Self::Feedback => b"feedback",
            Self::LabelWave => b"label wave",
            Self::WrongLabel => b"wrong label",
            Self::CodeNoise => b"code noise",
            Self::Step => b"step",
            Self::Replay => b"replay",
            Self::Calibration => b"calibration",
            Self::Benchmark => b"benchmark",
        }
    }
}

/// The seed of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Seed(pub u64);

impl Seed {
    /// The stream for one purpose and key.
    pub fn stream(self, purpose: Purpose, key: &[u64]) -> ChaCha8Rng {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.0.to_le_bytes());
        hasher.update(&(purpose.tag().len() as u64).to_le_bytes());
        hasher.update(purpose.tag());
        for part in key {
            hasher.update(&part.to_le_bytes());
        }
        ChaCha8Rng::from_seed(*hasher.finalize().as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_chacha::rand_core::Rng as _;

    #[test]
    fn a_stream_depends_on_seed_purpose_and_key_and_on_nothing_else() {
        let draw = |seed, purpose, key: &[u64]| Seed(seed).stream(purpose, key).next_u64();
        let first = draw(1, Purpose::Shuffle, &[3, 4]);
        assert_eq!(first, draw(1, Purpose::Shuffle, &[3, 4]));
        assert_ne!(first, draw(2, Purpose::Shuffle, &[3, 4]));
        assert_ne!(first, draw(1, Purpose::Dropout, &[3, 4]));
        assert_ne!(first, draw(1, Purpose::Shuffle, &[4, 3]));
    }
}
