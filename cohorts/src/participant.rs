//! Who was scanned: identifiers, sex and age as types that cannot hold nonsense.
//!
//! Layouts parse them from folder names and tables; everything behind the index relies on them without checking.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::ValueError;

/// Longest identifier, in bytes.
const LONGEST_ID: usize = 128;

/// The largest age there can be, years.
pub const OLDEST_YEARS: f64 = 125.0;

/// A participant's identifier within its cohort, without prefixes such as `sub-`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ParticipantId(String);

impl ParticipantId {
    /// Takes an identifier, spaces around it removed.
    ///
    /// # Errors
    /// If it is empty, longer than 128 bytes or holds control characters.
    pub fn new(text: &str) -> Result<Self, ValueError> {
        clean_id(text, "participant id").map(Self)
    }

    /// The identifier.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A visit's identifier within its participant, without the prefix `ses-`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SessionId(String);

impl SessionId {
    /// Takes an identifier, spaces around it removed.
    ///
    /// # Errors
    /// If it is empty, longer than 128 bytes or holds control characters.
    pub fn new(text: &str) -> Result<Self, ValueError> {
        clean_id(text, "session id").map(Self)
    }

    /// The identifier.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn clean_id(text: &str, what: &'static str) -> Result<String, ValueError> {
    let id = text.trim();
    if id.is_empty() || id.len() > LONGEST_ID || id.chars().any(char::is_control) {
        let found = text
            .chars()
            .take(LONGEST_ID)
            .flat_map(char::escape_debug)
            .collect();
        let expected = "1 to 128 bytes without control characters";
        return Err(ValueError {
            what,
            found,
            expected,
        });
    }
    Ok(id.to_owned())
}

/// Sex as the cohort recorded it.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub enum Sex {
    /// Female.
    #[serde(rename = "F")]
    Female,
    /// Male.
    #[serde(rename = "M")]
    Male,
    /// Recorded as neither.
    #[serde(rename = "O")]
    Other,
    /// Not recorded, or recorded in a code that nothing explains.
    #[default]
    #[serde(rename = "U")]
    Unknown,
}

impl Sex {
    /// The letter in the index: F, M, O or U.
    pub fn letter(self) -> &'static str {
        match self {
            Self::Female => "F",
            Self::Male => "M",
            Self::Other => "O",
            Self::Unknown => "U",
        }
    }

    /// Reads a word or letter in any case; an empty text is unknown. Numbers are codes that differ between cohorts,
    /// so they are not understood here.
    pub fn from_word(word: &str) -> Option<Self> {
        match word.trim().to_ascii_lowercase().as_str() {
            "f" | "female" | "w" | "woman" => Some(Self::Female),
            "m" | "male" | "man" => Some(Self::Male),
            "o" | "other" | "intersex" => Some(Self::Other),
            "" | "u" | "unknown" | "n/a" | "na" | "nan" | "none" | "null" | "." => {
                Some(Self::Unknown)
            }
            _ => None,
        }
    }
}

impl FromStr for Sex {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let expected = "F, M, O or U";
        Self::from_word(text).ok_or_else(|| ValueError {
            what: "sex",
            found: text.to_owned(),
            expected,
        })
    }
}

/// Age at the scan in decimal years, finite and within 0 to 125.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct AgeYears(f64);

impl AgeYears {
    /// Takes an age in years.
    ///
    /// # Errors
    /// If it is not finite or not within 0 to 125.
    pub fn new(years: f64) -> Result<Self, ValueError> {
        if years.is_finite() && (0.0..=OLDEST_YEARS).contains(&years) {
            // Adding zero makes −0 a plain zero.
            return Ok(Self(years + 0.0));
        }
        let expected = "years within 0 to 125";
        Err(ValueError {
            what: "age",
            found: years.to_string(),
            expected,
        })
    }

    /// The age in years.
    pub fn years(self) -> f64 {
        self.0
    }
}

impl FromStr for AgeYears {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        // What is no number is refused as text, so that the message shows it as it was written.
        let number = text.trim().parse();
        number.map_or_else(
            |_unreadable| {
                let expected = "years within 0 to 125";
                Err(ValueError {
                    what: "age",
                    found: text.to_owned(),
                    expected,
                })
            },
            Self::new,
        )
    }
}

impl From<AgeYears> for f64 {
    fn from(age: AgeYears) -> Self {
        age.0
    }
}

impl TryFrom<f64> for AgeYears {
    type Error = ValueError;

    fn try_from(years: f64) -> Result<Self, ValueError> {
        Self::new(years)
    }
}

impl TryFrom<String> for ParticipantId {
    type Error = ValueError;

    fn try_from(text: String) -> Result<Self, ValueError> {
        Self::new(&text)
    }
}

impl TryFrom<String> for SessionId {
    type Error = ValueError;

    fn try_from(text: String) -> Result<Self, ValueError> {
        Self::new(&text)
    }
}

impl From<ParticipantId> for String {
    fn from(id: ParticipantId) -> Self {
        id.0
    }
}

impl From<SessionId> for String {
    fn from(id: SessionId) -> Self {
        id.0
    }
}

impl fmt::Display for ParticipantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Sex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.letter())
    }
}

impl fmt::Display for AgeYears {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_trimmed_and_never_empty_or_on_two_lines() {
        assert_eq!(
            ParticipantId::new(" CC110033 ").unwrap().as_str(),
            "CC110033"
        );
        for bad in ["", "  ", "a\nb", "\u{0}", &"x".repeat(129)] {
            assert!(ParticipantId::new(bad).is_err(), "{bad:?}");
            assert!(SessionId::new(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn ages_are_finite_and_within_a_lifetime() {
        assert_eq!(AgeYears::new(0.0).unwrap().years(), 0.0);
        assert_eq!("38.78".parse::<AgeYears>().unwrap().years(), 38.78);
        for bad in [f64::NAN, f64::INFINITY, -0.1, 125.01, 999.0] {
            assert!(AgeYears::new(bad).is_err(), "{bad}");
        }
        assert_eq!(
            "x".parse::<AgeYears>().unwrap_err().to_string(),
            "age is `x`, expected years within 0 to 125"
        );
    }

    #[test]
    fn sex_is_read_from_words_but_never_guessed_from_numbers() {
        assert_eq!(Sex::from_word("Female"), Some(Sex::Female));
        assert_eq!(Sex::from_word(" m "), Some(Sex::Male));
        assert_eq!(Sex::from_word(""), Some(Sex::Unknown));
        assert_eq!(Sex::from_word("1"), None);
    }
}
