//! Keyed random streams: one for each stage of each head.
//!
//! A stage draws from its own stream, so that another scanner leaves the anatomy as it is, and the order in which
//! threads make the heads changes nothing.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng as _;

/// What a stream is drawn for. The numbers are part of every key: changing one changes all heads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Age, sex, dates and the like.
    Participant = 1,
    /// Size of the head and of its regions.
    Anatomy = 2,
    /// Shape of the brain.
    Shape = 3,
    /// Where the sulci open.
    Sulci = 4,
    /// Where atrophy is strong.
    Unevenness = 5,
    /// How the head lies in the scanner.
    Pose = 6,
    /// White-matter hypointensities.
    Hypointensity = 7,
    /// Contrast, artefacts, noise and storage.
    Scan = 8,
    /// Single spots in the white matter.
    Spots = 9,
}

/// Names a head: the same key gives the same head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HeadKey {
    /// Seed of the cohort.
    pub(crate) seed: u64,
    /// Number of the participant among all of the seed.
    pub(crate) subject: u64,
    /// Number of the visit, 0 for the first: another position in the scanner, and other noise, of the same head.
    pub(crate) visit: u8,
}

impl HeadKey {
    /// A participant's head at the first visit.
    pub(crate) const fn of(seed: u64, subject: u64) -> Self {
        Self {
            seed,
            subject,
            visit: 0,
        }
    }

    /// The same head at another visit.
    pub(crate) const fn at_visit(self, visit: u8) -> Self {
        Self { visit, ..self }
    }

    /// The stream of one stage.
    pub(crate) fn stream(self, stage: Stage) -> ChaCha8Rng {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&self.seed.to_le_bytes());
        key[8..16].copy_from_slice(&self.subject.to_le_bytes());
        key[16] = stage as u8;
        key[17] = match stage {
            Stage::Pose | Stage::Scan => self.visit,
            Stage::Participant
            | Stage::Anatomy
            | Stage::Shape
            | Stage::Sulci
            | Stage::Unevenness
            | Stage::Hypointensity
            | Stage::Spots => 0,
        };
        key[24..].copy_from_slice(b"headsyn1");
        ChaCha8Rng::from_seed(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_chacha::rand_core::Rng as _;

    #[test]
    fn every_part_of_the_key_changes_the_stream() {
        let draw = |seed, subject, stage| HeadKey::of(seed, subject).stream(stage).next_u64();
        let first = draw(1, 2, Stage::Pose);
        assert_eq!(first, draw(1, 2, Stage::Pose));
        for other in [
            draw(2, 2, Stage::Pose),
            draw(1, 1, Stage::Pose),
            draw(1, 2, Stage::Scan),
        ] {
            assert_ne!(first, other);
        }
    }

    #[test]
    fn another_visit_changes_the_scan_and_not_the_head() {
        let draw = |visit, stage| HeadKey::of(1, 2).at_visit(visit).stream(stage).next_u64();
        assert_eq!(draw(0, Stage::Anatomy), draw(1, Stage::Anatomy));
        assert_ne!(draw(0, Stage::Pose), draw(1, Stage::Pose));
        assert_ne!(draw(0, Stage::Scan), draw(1, Stage::Scan));
    }
}
