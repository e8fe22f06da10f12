//! Cohort folders and their tables as one index of scans.
//!
//! The data's way: [`list_cohort`] walks a cohort's folder as its [`Layout`] lies on disk, looks every scan up in the
//! cohort's tables, leaves out who withdrew or does not fit the [`Criteria`], and counts every reason. The rows of all
//! cohorts are one [`CohortIndex`], whose groups [`assign_splits`] divides.
//!
//! Nothing here opens an image: a scan is a path. Nothing is written but the index.

mod ages;
mod archive;
mod criteria;
mod dates;
mod delimited;
mod demographics;
mod detect;
mod error;
mod files;
mod gates;
mod index;
mod layout;
mod layouts;
mod listing;
mod participant;
mod people;
mod shared_text;
mod split;
mod visits;
mod withdrawals;

pub use criteria::{CoarseAges, Criteria, Sessions, SkipReason};
pub use error::{Error, ValueError};
pub use index::{AgeSource, CohortIndex, INDEX_COLUMNS, IndexRow, Split};
pub use layout::{Layout, LayoutChoice};
pub use listing::{Cohort, CohortListing, list_cohort};
pub use participant::{AgeYears, OLDEST_YEARS, ParticipantId, SessionId, Sex};
pub use shared_text::SharedText;
pub use split::{
    AGE_BIN_YEARS, SplitCounts, SplitFractions, SplitProtocol, SplitSummary, Stratum,
    assign_splits, assign_splits_by, check_leakage,
};
pub use withdrawals::ParticipantList;
