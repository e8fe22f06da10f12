//! Which images a model has learned from: fingerprints that only the holder of an image can compare.
//!
//! People forget what a model was trained on, and predict it. The file therefore keeps the first 64 bits of the BLAKE3
//! hash of each training scan's bytes, and nothing of who was scanned: hashes of participant ids, which are short
//! numbers, could be tried out by anyone who is given the model.

use serde::{Deserialize, Serialize};

/// Digits of a fingerprint.
const DIGITS: usize = 16;

/// Fingerprints of training images, in JSON one text of 16 hex digits each.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TrainingImages {
    /// Rising.
    fingerprints: Vec<u64>,
}

impl TrainingImages {
    /// From the hashes of the scans' bytes, 64 hex digits each; what is no such hash is passed over.
    pub fn of<'a>(file_hashes: impl Iterator<Item = &'a str>) -> Self {
        let mut fingerprints: Vec<u64> = file_hashes.filter_map(fingerprint).collect();
        fingerprints.sort_unstable();
        fingerprints.dedup();
        Self { fingerprints }
    }

    /// Whether the image of this hash is among them.
    pub fn holds(&self, file_hash: &str) -> bool {
        fingerprint(file_hash).is_some_and(|one| self.fingerprints.binary_search(&one).is_ok())
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.fingerprints.len()
    }

    /// Whether nothing is known of the training images.
    pub fn is_empty(&self) -> bool {
        self.fingerprints.is_empty()
    }
}

fn fingerprint(file_hash: &str) -> Option<u64> {
    u64::from_str_radix(file_hash.get(..DIGITS)?, 16).ok()
}

impl From<TrainingImages> for String {
    fn from(images: TrainingImages) -> Self {
        let digits = images.fingerprints.iter().map(|one| format!("{one:016x}"));
        digits.collect()
    }
}

impl TryFrom<String> for TrainingImages {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let chunks = text.as_bytes().chunks(DIGITS);
        let parsed = chunks.map(|digits| {
            let digits = std::str::from_utf8(digits).ok()?;
            (digits.len() == DIGITS).then(|| fingerprint(digits))?
        });
        let mut fingerprints = parsed
            .collect::<Option<Vec<u64>>>()
            .ok_or("training images are no runs of 16 hex digits")?;
        fingerprints.sort_unstable();
        Ok(Self { fingerprints })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_known_by_its_hash_after_a_way_through_json() {
        let hashes: Vec<String> = (0..100_u32)
            .map(|i| blake3::hash(&i.to_le_bytes()).to_hex().to_string())
            .collect();
        let (learned, other) = hashes.split_at(60);
        let images = TrainingImages::of(learned.iter().map(String::as_str));
        let text = serde_json::to_string(&images).unwrap();
        let back: TrainingImages = serde_json::from_str(&text).unwrap();
        assert_eq!(back, images);
        assert_eq!(back.len(), 60);
        assert!(learned.iter().all(|hash| back.holds(hash)));
        assert!(!other.iter().any(|hash| back.holds(hash)));
    }

    #[test]
    fn what_is_no_row_of_fingerprints_is_refused() {
        for text in [
            "\"0123\"",
            "\"zzzzzzzzzzzzzzzz\"",
            "\"0123456789abcdéf\"",
            "7",
        ] {
            assert!(
                serde_json::from_str::<TrainingImages>(text).is_err(),
                "{text}"
            );
        }
        let none: TrainingImages = serde_json::from_str("\"\"").unwrap();
        assert!(none.is_empty() && !none.holds("00"));
    }
}
