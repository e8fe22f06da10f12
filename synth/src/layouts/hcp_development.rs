//! HCP Development: folders and tables of the NIMH Data Archive (see [`super::nda`]).
//!
//! The study goes down to 5 years; heads of children are not made, so only its adults are here. No participant of the
//! study has a number that begins with 9.

use super::{Plan, nda, one_visit};
use crate::scanner::HCP;

/// The layout.
pub(crate) const PLAN: Plan = Plan {
    name: "hcp-development",
    people: 8,
    scanner: HCP,
    ages_years: [18.0, 21.9],
    most_subjects: 99_999,
    id: |subject| format!("HCD{:07}", 9_000_001 + subject),
    visit_days: one_visit,
    scan: nda::scan,
    write_tables: nda::write_tables,
};
