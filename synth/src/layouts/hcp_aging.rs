//! HCP Aging: folders and tables of the NIMH Data Archive (see [`super::nda`]).
//!
//! Every third participant comes again after two years. No participant of the study has a number that begins with 00.

use super::{Plan, nda, repeated};

/// The layout.
pub(crate) const PLAN: Plan = Plan {
    name: "hcp-aging",
    people: 7,
    ages_years: [36.0, 89.9],
    id: |subject| format!("HCA{:07}", subject + 1),
    visit_days: |subject| repeated(subject, 3, &[731]),
    ..nda::PLAN
};
