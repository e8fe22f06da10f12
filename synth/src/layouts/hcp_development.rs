//! HCP Development: folders and tables of the NIMH Data Archive (see [`super::nda`]).
//!
//! The study goes down to 5 years; heads of children are not made, so only its adults are here. No participant of the
//! study has a number that begins with 9.

use super::{Plan, nda};

/// The layout.
pub(crate) const PLAN: Plan = Plan {
    name: "hcp-development",
    people: 8,
    ages_years: [18.0, 21.9],
    id: |subject| format!("HCD{:07}", 9_000_001 + subject),
    ..nda::PLAN
};
