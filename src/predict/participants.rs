//! Who trained a model, from the index in its run folder; the model file itself names nobody.

use std::collections::HashSet;
use std::path::Path;

use brainage_cohorts::{CohortIndex, Split};

/// Participants of the training split.
#[derive(Clone, Debug)]
pub(super) struct TrainingParticipants(HashSet<String>);

impl TrainingParticipants {
    /// From the `index.csv` in the folder of the model; `None` where there is none that can be read.
    pub(super) fn beside(model: &Path) -> Option<Self> {
        let index = model.parent()?.join("index.csv");
        let index = CohortIndex::read_csv(&index).ok()?;
        let training = index.rows.iter();
        let training = training.filter(|row| row.split == Some(Split::Train));
        Some(Self(
            training.map(|row| row.participant_id.to_string()).collect(),
        ))
    }

    /// Whether somebody of this id is among them. Cohorts may use the same ids for different people.
    pub(super) fn hold(&self, participant_id: &str) -> bool {
        let bare = participant_id.strip_prefix("sub-");
        self.0.contains(participant_id) || bare.is_some_and(|id| self.0.contains(id))
    }
}
