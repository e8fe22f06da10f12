//! Lists of participants that decide who is used: who withdrew, who is asked for, who is left out.

use std::path::PathBuf;

use crate::criteria::{Criteria, SkipReason};
use crate::error::Error;
use crate::withdrawals::ParticipantList;

/// Lists of participants that decide who is used.
pub(crate) struct Gates {
    withdrawn: ParticipantList,
    wanted: Option<ParticipantList>,
    excluded: ParticipantList,
}

impl Gates {
    pub(crate) fn read(criteria: &Criteria, withdrawals: &[PathBuf]) -> Result<Self, Error> {
        let wanted = match criteria.participants.as_slice() {
            [] => None,
            lists => Some(ParticipantList::read(lists)?),
        };
        Ok(Self {
            withdrawn: ParticipantList::read(withdrawals)?,
            wanted,
            excluded: ParticipantList::read(&criteria.exclude)?,
        })
    }

    pub(crate) fn refusal(&self, participant: &str) -> Option<SkipReason> {
        if self.withdrawn.contains(participant) {
            Some(SkipReason::Withdrawn)
        } else if self.excluded.contains(participant) {
            Some(SkipReason::OnExcludeList)
        } else {
            let wanted = self.wanted.as_ref();
            wanted
                .is_some_and(|list| !list.contains(participant))
                .then_some(SkipReason::NotOnList)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::criteria::Sessions;
    use crate::layout::Layout;
    use crate::layouts::tree::{Tree, cohort, skipped};
    use crate::listing::list_cohort;

    const SCANS: [&str; 4] = [
        "sub-1/ses-1/anat/sub-1_ses-1_T1w.nii.gz",
        "sub-1/ses-2/anat/sub-1_ses-2_T1w.nii.gz",
        "sub-2/ses-1/anat/sub-2_ses-1_T1w.nii.gz",
        "sub-3/ses-1/anat/sub-3_ses-1_T1w.nii.gz",
    ];
    const TABLE: (&str, &str) = (
        "participants.tsv",
        "participant_id\tsession_id\tage\tsex\tsite\n\
         sub-1\tses-1\t61\tF\tA\nsub-1\tses-2\t63.5\tF\tA\n\
         sub-2\tses-1\t69\tM\tB\nsub-3\tses-1\tn/a\tM\tA\n",
    );

    #[test]
    fn filters_by_site_visit_and_lists_count_what_they_leave_out() {
        let lists = [("only.txt", "sub-1\nsub-2\n"), ("out.txt", "1\n"), TABLE];
        let tree = Tree::new(&SCANS, &lists);
        let check = |criteria: Criteria, n_rows: usize, expected: &[&str]| {
            let mut cohort = cohort(Layout::parse("bids").unwrap(), &tree.path(""));
            cohort.criteria = criteria;
            let listing = list_cohort(&cohort).unwrap();
            assert_eq!(skipped(&listing), expected);
            assert_eq!(listing.rows.len(), n_rows, "{expected:?}");
        };
        let site = |name: &str| Some(vec![name.to_owned()]);
        check(
            Criteria {
                sites: site("a"),
                ..Criteria::default()
            },
            2,
            &["no_age=1", "site_excluded=1"],
        );
        check(
            Criteria {
                sessions: Sessions::First,
                ..Criteria::default()
            },
            2,
            &["later_session=1", "no_age=1"],
        );
        check(
            Criteria {
                participants: vec![tree.path("only.txt")],
                ..Criteria::default()
            },
            3,
            &["not_on_list=1"],
        );
        check(
            Criteria {
                exclude: vec![tree.path("out.txt")],
                ..Criteria::default()
            },
            1,
            &["no_age=1", "on_exclude_list=2"],
        );
    }
}
