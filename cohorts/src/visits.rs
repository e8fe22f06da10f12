//! Visits of participants among the rows of a cohort: their order, those that are there twice, the first of each.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::criteria::{Refusal, SkipReason};
use crate::error::shown;
use crate::index::IndexRow;
use crate::listing::CohortListing;
use crate::participant::ParticipantId;

/// Ages at one and the same visit may differ by this much, years: two and a half weeks.
const SAME_VISIT_YEARS: f64 = 0.05;

/// Sorts by participant, visit and path, numbers by their value.
pub(crate) fn sort_rows(rows: &mut [IndexRow]) {
    rows.sort_by(|a, b| {
        let session = |row: &IndexRow| row.session_id.clone().map_or(String::new(), String::from);
        natord::compare(a.participant_id.as_str(), b.participant_id.as_str())
            .then_with(|| natord::compare(&session(a), &session(b)))
            .then_with(|| a.participant_id.cmp(&b.participant_id))
            .then_with(|| a.scan.cmp(&b.scan))
    });
}

/// Of rows of one participant and visit the first stays. Rows that name no visit are of one visit if the ages agree.
pub(crate) fn skip_duplicates(listing: &mut CohortListing) {
    let mut kept: Vec<IndexRow> = Vec::with_capacity(listing.rows.len());
    for row in std::mem::take(&mut listing.rows) {
        let same_visit = |known: &&IndexRow| {
            let years_apart = (known.age_years.years() - row.age_years.years()).abs();
            known.session_id == row.session_id
                && (row.session_id.is_some() || years_apart < SAME_VISIT_YEARS)
        };
        let mut same_participant = kept
            .iter()
            .rev()
            .take_while(|known| known.participant_id == row.participant_id);
        match same_participant.find(same_visit) {
            Some(known) => {
                let detail = format!("beside `{}`", shown(&known.scan));
                let refusal = Refusal::new(SkipReason::DuplicateSession, detail);
                listing.skip(&refusal, shown(&row.scan));
            }
            None => kept.push(row),
        }
    }
    listing.rows = kept;
}

/// Keeps each participant's scan at the youngest age.
pub(crate) fn keep_first_sessions(listing: &mut CohortListing) {
    let mut first: BTreeMap<ParticipantId, (u64, PathBuf)> = BTreeMap::new();
    for row in &listing.rows {
        // Ages are not negative, so their bits sort as they do.
        let this = (row.age_years.years().to_bits(), row.scan.clone());
        let known = first
            .entry(row.participant_id.clone())
            .or_insert_with(|| this.clone());
        if this < *known {
            *known = this;
        }
    }
    for row in std::mem::take(&mut listing.rows) {
        if first
            .get(&row.participant_id)
            .is_some_and(|(_, scan)| *scan == row.scan)
        {
            listing.rows.push(row);
        } else {
            listing.skip(&SkipReason::LaterSession.into(), shown(&row.scan));
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::layout::Layout;
    use crate::layouts::tree::{Tree, skipped};

    #[test]
    fn a_visit_that_is_there_twice_is_used_once_and_visits_without_name_are_told_apart_by_age() {
        let table = (
            "ages.csv",
            "scan,participant_id,age\na.nii,s1,30\nb.nii,s1,30\nc.nii,s1,34.5\n",
        );
        let tree = Tree::new(&["a.nii", "b.nii", "c.nii"], &[table]);
        let listing = tree.list(Layout::parse("table").unwrap()).unwrap();
        assert_eq!(
            tree.rows(&listing),
            ["s1 - 30 U a.nii", "s1 - 34.5 U c.nii"]
        );
        assert_eq!(skipped(&listing), ["duplicate_session=1"]);
        let example = &listing.skipped_examples["duplicate_session"][0];
        assert!(
            example.contains("b.nii (beside `") && example.ends_with("a.nii`)"),
            "{example}"
        );
    }
}
