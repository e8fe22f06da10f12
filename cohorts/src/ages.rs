//! Ages as tables write them: a number in some unit, a bound or a range.

use crate::criteria::{Refusal, SkipReason};
use crate::index::AgeSource;
use crate::participant::AgeYears;

/// What a unit of the age column is worth in years.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AgeUnit {
    Years,
    Months,
    Weeks,
    Days,
}

impl AgeUnit {
    fn per_year(self) -> f64 {
        match self {
            Self::Years => 1.0,
            Self::Months => 12.0,
            Self::Weeks => 365.25 / 7.0,
            Self::Days => 365.25,
        }
    }

    /// Reads a unit's name.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        match text.trim().to_lowercase().as_str() {
            "y" | "yr" | "yrs" | "year" | "years" => Some(Self::Years),
            "month" | "months" | "mo" => Some(Self::Months),
            "week" | "weeks" => Some(Self::Weeks),
            "day" | "days" | "d" => Some(Self::Days),
            _ => None,
        }
    }
}

/// Marks of a missing value.
pub(crate) fn is_missing(text: &str) -> bool {
    matches!(
        text.trim().to_lowercase().as_str(),
        "" | "na" | "n/a" | "nan" | "." | "null" | "none"
    )
}

/// An age as a cell has it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct ParsedAge {
    pub(crate) age: AgeYears,
    pub(crate) source: AgeSource,
}

/// Reads an age, also as a bound (`89+`, `>89`) or a range (`26-30`, both ends included). Zero stands for a missing age
/// in several cohorts, so it is refused.
pub(crate) fn parse_age(
    text: &str,
    unit: AgeUnit,
    decimal_comma: bool,
) -> Result<ParsedAge, Refusal> {
    if is_missing(text) {
        return Err(SkipReason::NoAge.into());
    }
    let text = text.trim();
    let bad = || {
        Refusal::new(
            SkipReason::BadAge,
            format!("age is `{}`", text.escape_debug()),
        )
    };
    let bare = text
        .trim_end_matches('+')
        .trim_start_matches(['>', '=', '≥'])
        .trim();
    let number = |text: &str| -> Result<f64, Refusal> {
        let number = if decimal_comma {
            text.replace(',', ".")
        } else {
            text.to_owned()
        };
        number.trim().parse().map_err(|_unreadable| bad())
    };
    let (value, source) = match bare.split_once('-') {
        Some((from, to)) if !from.is_empty() => {
            let (from, to) = (number(from)?, number(to)?);
            // Completed years: the last begins at `to` and is over a year later.
            let middle = (from + to + 1.0) / 2.0;
            (if from < to { middle } else { f64::NAN }, AgeSource::BinMid)
        }
        _ if bare.len() < text.len() => (number(bare)?, AgeSource::Capped),
        _ => {
            let value = number(bare)?;
            let source = match unit {
                AgeUnit::Years if value.fract() == 0.0 => AgeSource::ReportedWholeYears,
                AgeUnit::Years => AgeSource::ReportedDecimal,
                _ => AgeSource::Converted,
            };
            (value, source)
        }
    };
    let years = match unit {
        AgeUnit::Years => value,
        _ => rounded(value / unit.per_year()),
    };
    let age = AgeYears::new(years).map_err(|_outside| bad())?;
    if age.years() == 0.0 {
        return Err(bad());
    }
    Ok(ParsedAge { age, source })
}

/// To a ten-thousandth of a year, which is less than an hour: dates have no more.
pub(crate) fn rounded(years: f64) -> f64 {
    (years * 1e4).round() / 1e4
}
