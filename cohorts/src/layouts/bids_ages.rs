//! The age at a scan of a BIDS data set, from the most special table that knows it.
//!
//! `scans.tsv` goes before `sessions.tsv`, and that before `participants.tsv`. An age in `participants.tsv` alone is
//! that at the first scan; where days are known, the time since then is added for the others. Ages that contradict
//! each other are refused: at one visit they may differ by a year, as rounded and exact ages do, and nobody grows
//! younger.

use std::collections::BTreeMap;
use std::path::Path;

use jiff::civil::Date;

use super::bids_scans::ScanTables;
use crate::ages::rounded;
use crate::criteria::{Refusal, SkipReason};
use crate::dates::years_between;
use crate::index::AgeSource;
use crate::participant::AgeYears;
use crate::people::{People, Person};

/// Ages of one visit may differ by this much.
const TOLERANCE_YEARS: f64 = 1.0;

/// All that is known of people, visits and scans.
pub(super) struct Known {
    people: People,
    scans: ScanTables,
    /// The day of each participant's first scan, where days are known.
    first_days: BTreeMap<String, Date>,
}

/// An age and where it is from.
type Sourced = (AgeYears, AgeSource, &'static str);

impl Known {
    /// Joins the tables; `scans` are those of all participants, with their visits.
    pub(super) fn new<'a>(
        people: People,
        tables: ScanTables,
        scans: impl Iterator<Item = (&'a str, Option<&'a str>, &'a Path)>,
    ) -> Self {
        let mut first_days = tables.first_visits();
        for (subject, session, scan) in scans {
            if let Some(day) = tables.day_of(scan, subject, session) {
                let first = first_days.entry(subject.to_owned()).or_insert(day);
                *first = day.min(*first);
            }
        }
        Self {
            people,
            scans: tables,
            first_days,
        }
    }

    /// Whether any age is known.
    pub(super) fn has_ages(&self) -> bool {
        self.people.ages().next().is_some() || self.scans.has_ages()
    }

    /// Who a scan shows, at the age of the scan.
    pub(super) fn person(
        &self,
        subject: &str,
        session: Option<&str>,
        scan: &Path,
    ) -> Result<Person, Refusal> {
        let own = match self.scans.of(scan).and_then(|facts| facts.age.clone()) {
            None => None,
            Some(age) => age.map(|age| Some((age.age, age.source, "in scans.tsv")))?,
        };
        let mut person = match (self.people.find(subject, session), own) {
            (Err(refusal), Some(_)) if says_nothing(&refusal) => Person::default(),
            (person, _) => person?,
        };
        let (at_visit, general) = self.people.rows_of(subject, session);
        let of = |person: Option<&Person>, table| -> Option<Sourced> {
            let person = person?;
            Some((person.age.clone().ok()?, person.age_source, table))
        };
        let at_visit = of(at_visit, "at the visit");
        let general = of(general, "in participants.tsv");
        if let (Some(own), Some(at_visit)) = (own, at_visit)
            && (own.0.years() - at_visit.0.years()).abs() > TOLERANCE_YEARS
        {
            return Err(conflict(own, at_visit));
        }
        if let (Some(special), Some(general)) = (own.or(at_visit), general) {
            // Later visits are older than the age in the general table.
            if special.0.years() < general.0.years() - TOLERANCE_YEARS {
                return Err(conflict(special, general));
            }
        }
        if let Some((age, source, _)) = own {
            person.age = Ok(age);
            person.age_source = source;
        } else if let (None, Some(general)) = (at_visit, general)
            && let Some(years) = self.years_since_first(subject, session, scan)
        {
            let years = rounded(general.0.years() + years);
            let bad = |_outside| Refusal::new(SkipReason::BadAge, format!("{years} years"));
            person.age = Ok(AgeYears::new(years).map_err(bad)?);
            // A range or a bound stays one.
            if !matches!(general.1, AgeSource::BinMid | AgeSource::Capped) {
                person.age_source = AgeSource::BaselinePlusInterval;
            }
        }
        Ok(person)
    }

    /// Time since the participant's first scan; none where it is that one, or a day is not known.
    fn years_since_first(&self, subject: &str, session: Option<&str>, scan: &Path) -> Option<f64> {
        let day = self.scans.day_of(scan, subject, session)?;
        let first = *self.first_days.get(subject)?;
        years_between(first, day).filter(|years| *years > 0.0)
    }
}

fn says_nothing(refusal: &Refusal) -> bool {
    let nothing = [SkipReason::NoAge, SkipReason::NotInDemographics];
    nothing.contains(&refusal.reason)
}

fn conflict(a: Sourced, b: Sourced) -> Refusal {
    let detail = format!("{} years {}, {} years {}", a.0, a.2, b.0, b.2);
    Refusal::new(SkipReason::AgeConflict, detail)
}

#[cfg(test)]
mod tests {
    use super::super::bids::LAYOUT;
    use super::super::tree::{Tree, skipped};
    use crate::{AgeSource, CohortListing};

    const FIRST: &str = "sub-1/ses-1/anat/sub-1_ses-1_T1w.nii.gz";
    const SECOND: &str = "sub-1/ses-2/anat/sub-1_ses-2_T1w.nii.gz";

    /// A participant of 40 years at two visits, with these tables.
    fn listed(tables: &[(&str, &str)]) -> (Tree, CohortListing) {
        let people = (
            "participants.tsv",
            "participant_id\tage\tsex\nsub-1\t40\tF\n",
        );
        let tables: Vec<_> = [people].iter().chain(tables).copied().collect();
        let tree = Tree::new(&[FIRST, SECOND], &tables);
        let listing = tree.list(LAYOUT).unwrap();
        (tree, listing)
    }

    #[test]
    fn the_age_of_a_scan_goes_before_that_of_the_visit_and_that_before_the_participants() {
        let scans = (
            "sub-1/ses-2/sub-1_ses-2_scans.tsv",
            // The ending from before the scans were compressed; a measure of quality that is nobody's age.
            "filename\tacq_time\tage\tquality\nanat/sub-1_ses-2_T1w.nii\tn/a\t42.75\t3\n",
        );
        let sessions = ("sub-1/sub-1_sessions.tsv", "session_id\tage\nses-2\t42.5\n");
        let (tree, listing) = listed(&[scans, sessions]);
        let expected = [format!("1 1 40 F {FIRST}"), format!("1 2 42.75 F {SECOND}")];
        assert_eq!(tree.rows(&listing), expected);
        assert_eq!(listing.warnings, Vec::<String>::new());
        let used = tree.path(scans.0);
        assert!(
            listing.demographics_used.contains(&used),
            "{:?}",
            listing.demographics_used
        );
    }

    #[test]
    fn ages_of_a_scan_and_its_visit_that_contradict_each_other_are_refused_with_both_values() {
        let scans = (
            "sub-1/ses-2/sub-1_ses-2_scans.tsv",
            "filename\tage\nanat/sub-1_ses-2_T1w.nii.gz\t45\n",
        );
        let sessions = ("sub-1/sub-1_sessions.tsv", "session_id\tage\nses-2\t42.5\n");
        let (_, listing) = listed(&[scans, sessions]);
        assert_eq!(skipped(&listing), ["age_conflict=1"]);
        let example = &listing.skipped_examples["age_conflict"][0];
        let values = "(45 years in scans.tsv, 42.5 years at the visit)";
        assert!(example.ends_with(values), "{example}");
    }

    #[test]
    fn nobody_is_younger_at_a_visit_than_in_the_table_of_participants() {
        let sessions = ("sub-1/sub-1_sessions.tsv", "session_id\tage\nses-2\t38\n");
        let (_, listing) = listed(&[sessions]);
        assert_eq!(skipped(&listing), ["age_conflict=1"]);
        let example = &listing.skipped_examples["age_conflict"][0];
        let values = "(38 years at the visit, 40 years in participants.tsv)";
        assert!(example.ends_with(values), "{example}");
    }

    #[test]
    fn two_ages_of_one_scan_in_the_table_of_scans_are_refused_with_both_values() {
        let scans = (
            "sub-1/ses-2/sub-1_ses-2_scans.tsv",
            "filename\tage\nanat/sub-1_ses-2_T1w.nii.gz\t42\nanat/sub-1_ses-2_T1w.nii.gz\t43\n",
        );
        let (_, listing) = listed(&[scans]);
        assert_eq!(skipped(&listing), ["age_conflict=1"]);
        let example = &listing.skipped_examples["age_conflict"][0];
        assert!(
            example.ends_with("(42 and 43 years in scans.tsv)"),
            "{example}"
        );
    }

    #[test]
    fn where_only_the_participant_has_an_age_the_time_since_the_first_scan_is_added() {
        // 731 days apart, and shifted into the past as the standard allows.
        let days = [("1", "1901-03-01T10:00:00"), ("2", "1903-03-02T10:00:00")];
        let tables = days.map(|(visit, day)| {
            let name = format!("sub-1/ses-{visit}/sub-1_ses-{visit}_scans.tsv");
            let scan = format!("anat/sub-1_ses-{visit}_T1w.nii.gz");
            (name, format!("filename\tacq_time\n{scan}\t{day}\n"))
        });
        let tables = tables
            .each_ref()
            .map(|(name, text)| (name.as_str(), text.as_str()));
        let (tree, listing) = listed(&tables);
        let years = 40.0 + 731.0 / 365.25;
        let expected = [
            format!("1 1 40 F {FIRST}"),
            format!("1 2 {years:.4} F {SECOND}"),
        ];
        assert_eq!(tree.rows(&listing), expected);
        assert_eq!(listing.rows[1].age_source, AgeSource::BaselinePlusInterval);
        // The same days in the table of visits.
        let text = format!(
            "session_id\tacq_time\nses-1\t{}\nses-2\t{}\n",
            days[0].1, days[1].1
        );
        let (tree, listing) = listed(&[("sub-1/sub-1_sessions.tsv", &text)]);
        assert_eq!(tree.rows(&listing), expected);
    }

    #[test]
    fn ages_of_scans_alone_are_enough_and_their_unit_is_that_of_the_json_at_the_root() {
        let tree = Tree::new(
            &["sub-1/anat/sub-1_T1w.nii.gz"],
            &[
                (
                    "sub-1/sub-1_scans.tsv",
                    "filename\tage\nanat/sub-1_T1w.nii.gz\t126\n",
                ),
                ("scans.json", r#"{"age": {"Units": "months"}}"#),
            ],
        );
        let listing = tree.list(LAYOUT).unwrap();
        assert_eq!(
            tree.rows(&listing),
            ["1 - 10.5 U sub-1/anat/sub-1_T1w.nii.gz"]
        );
    }

    #[test]
    fn of_several_images_of_a_visit_the_note_says_which_rule_decided() {
        let choose = |names: [&str; 2], rule: &str| {
            let scans = names.map(|name| format!("sub-1/anat/sub-1_{name}T1w.nii.gz"));
            let table = ("participants.tsv", "participant_id\tage\nsub-1\t40\n");
            let tree = Tree::new(&scans.each_ref().map(String::as_str), &[table]);
            let listing = tree.list(LAYOUT).unwrap();
            assert_eq!(listing.rows[0].scan, tree.path(&scans[0]), "{rule}");
            let note = format!("1 of 2 images of the visit: {rule}");
            assert_eq!(listing.rows[0].note, note);
            assert_eq!(listing.choices.iter().collect::<Vec<_>>(), [(&rule, &1)]);
        };
        choose(["run-1_", "run-2_"], "lowest run");
        choose(["run-2_", "ce-gad_run-1_"], "no contrast agent");
        choose(
            ["run-2_", "acq-UNI_"],
            "no MP2RAGE inversion or unified image",
        );
        choose(["rec-norm_run-2_", "run-1_"], "normalized (rec-norm)");
        choose(["acq-a_", "acq-b_"], "first by name");
    }
}
