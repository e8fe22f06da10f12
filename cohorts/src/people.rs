//! People as tables describe them, by participant and visit, so that scans can be looked up.
//!
//! `demographics` fills [`People`] from tables; a layout asks who a scan shows.

use std::collections::BTreeMap;

use crate::criteria::{Refusal, SkipReason};
use crate::index::AgeSource;
use crate::participant::{AgeYears, Sex};
use crate::withdrawals::comparable;

/// What a table says about someone, at one visit or at all.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Person {
    pub(crate) age: Result<AgeYears, Refusal>,
    pub(crate) age_source: AgeSource,
    pub(crate) sex: Sex,
    pub(crate) site: String,
    pub(crate) scanner: String,
    pub(crate) diagnosis: String,
    pub(crate) family: String,
    pub(crate) note: String,
}

impl Default for Person {
    /// Someone of whom nothing is known.
    fn default() -> Self {
        Self {
            age: Err(SkipReason::NoAge.into()),
            age_source: AgeSource::Unstated,
            sex: Sex::Unknown,
            site: String::new(),
            scanner: String::new(),
            diagnosis: String::new(),
            family: String::new(),
            note: String::new(),
        }
    }
}

/// People by participant and visit.
#[derive(Clone, Debug, Default)]
pub(crate) struct People {
    rows: BTreeMap<String, Vec<(Option<String>, Person)>>,
    /// Identifiers that are numbers, by the number without leading zeros; none where two have the same number.
    by_number: BTreeMap<String, Option<String>>,
}

/// A number without its leading zeros, which spreadsheets drop.
fn number_of(id: &str) -> Option<&str> {
    let is_number = !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| id.trim_start_matches('0'))
}

impl People {
    /// Adds a row. A second row of the same person and visit must say the same.
    pub(crate) fn insert(&mut self, participant: &str, session: &str, person: Person) {
        let session = Some(comparable_session(session)).filter(|session| !session.is_empty());
        let id = comparable(participant);
        if let Some(number) = number_of(&id) {
            let known = self
                .by_number
                .entry(number.to_owned())
                .or_insert_with(|| Some(id.clone()));
            if known.as_ref().is_some_and(|known| *known != id) {
                *known = None;
            }
        }
        let rows = self.rows.entry(id).or_default();
        match rows.iter_mut().find(|(known, _)| *known == session) {
            Some((_, known)) if *known != person => {
                if known.completes(&person) {
                    known.fill_from(person);
                } else {
                    known.age = Err(contradiction(known, &person));
                }
            }
            Some(_) => {}
            None => rows.push((session, person)),
        }
    }

    /// Fills what is not known here from another table.
    pub(crate) fn fill_from(&mut self, other: Self) {
        for (number, id) in other.by_number {
            let known = self.by_number.entry(number).or_insert_with(|| id.clone());
            if *known != id {
                *known = None;
            }
        }
        for (participant, rows) in other.rows {
            let mine = self.rows.entry(participant).or_default();
            for (session, person) in rows {
                match mine.iter_mut().find(|(known, _)| *known == session) {
                    Some((_, known)) => known.fill_from(person),
                    None => mine.push((session, person)),
                }
            }
        }
    }

    /// What is known of someone at a visit: the row of that visit, completed by the row that names no visit.
    /// A scan without visit takes the only row there is. A number is also found with other leading zeros, where only
    /// one participant has it.
    pub(crate) fn find(&self, participant: &str, session: Option<&str>) -> Result<Person, Refusal> {
        let id = comparable(participant);
        let same_number = || {
            let known = self.by_number.get(number_of(&id)?)?.as_ref()?;
            self.rows.get(known)
        };
        let rows = self
            .rows
            .get(&id)
            .or_else(same_number)
            .ok_or(SkipReason::NotInDemographics)?;
        let of = |wanted: Option<&String>| {
            rows.iter()
                .find(|(known, _)| known.as_ref() == wanted)
                .map(|(_, person)| person)
        };
        let general = of(None);
        let session = session.map(comparable_session);
        let special = session.as_ref().and_then(|session| of(Some(session)));
        match (special, general, rows.as_slice()) {
            (Some(special), Some(general), _) => {
                let mut person = special.clone();
                person.fill_from(general.clone());
                Ok(person)
            }
            (Some(person), None, _) | (None, Some(person), _) => Ok(person.clone()),
            (None, None, [(_, only)]) if session.is_none() => Ok(only.clone()),
            (None, None, _) => Err(SkipReason::NoAge.into()),
        }
    }

    /// The row that is about this very visit, and the one that names no visit.
    pub(crate) fn rows_of(
        &self,
        participant: &str,
        session: Option<&str>,
    ) -> (Option<&Person>, Option<&Person>) {
        let rows = self.rows.get(&comparable(participant));
        let of = |wanted: Option<&String>| {
            let mut rows = rows.into_iter().flatten();
            rows.find(|(known, _)| known.as_ref() == wanted)
                .map(|(_, person)| person)
        };
        let session = session.map(comparable_session);
        (
            session.as_ref().and_then(|session| of(Some(session))),
            of(None),
        )
    }

    /// Whether a row is about this very visit.
    pub(crate) fn names_visit(&self, participant: &str, session: &str) -> bool {
        let session = Some(comparable_session(session));
        let rows = self.rows.get(&comparable(participant));
        rows.is_some_and(|rows| rows.iter().any(|(known, _)| *known == session))
    }

    /// Everyone, by their identifier in lower case and without prefix.
    pub(crate) fn into_people(self) -> impl Iterator<Item = (String, Person)> {
        let rows = self.rows.into_iter();
        rows.flat_map(|(id, rows)| {
            rows.into_iter()
                .map(move |(_, person)| (id.clone(), person))
        })
    }

    /// Known ages, in years, in no particular order.
    pub(crate) fn ages(&self) -> impl Iterator<Item = f64> {
        let people = self.rows.values().flatten();
        people.filter_map(|(_, person)| person.age.as_ref().ok().map(|age| age.years()))
    }

    pub(crate) fn people_mut(&mut self) -> impl Iterator<Item = &mut Person> {
        self.rows.values_mut().flatten().map(|(_, person)| person)
    }
}

/// Two rows of one person and visit that do not agree.
fn contradiction(a: &Person, b: &Person) -> Refusal {
    let shown = |person: &Person| match &person.age {
        Ok(age) => format!("{age} years, {}", person.sex),
        Err(refusal) if refusal.reason == SkipReason::NoAge => format!("no age, {}", person.sex),
        Err(refusal) => refusal.detail.clone(),
    };
    let (a, b) = (shown(a), shown(b));
    let detail = if a == b {
        String::new()
    } else {
        format!("{a} and {b}")
    };
    Refusal::new(SkipReason::DuplicateParticipant, detail)
}

impl Person {
    /// Whether the other row says nothing that contradicts this one, and one of them knows no age.
    fn completes(&self, other: &Self) -> bool {
        let no_age = |person: &Self| {
            let age = person.age.as_ref();
            age.is_err_and(|refusal| refusal.reason == SkipReason::NoAge)
        };
        let sexes = [self.sex, other.sex];
        let sexes_agree = sexes.contains(&Sex::Unknown) || sexes[0] == sexes[1];
        sexes_agree && (no_age(self) || no_age(other))
    }

    pub(crate) fn fill_from(&mut self, other: Self) {
        if self
            .age
            .as_ref()
            .is_err_and(|refusal| refusal.reason == SkipReason::NoAge)
        {
            (self.age, self.age_source) = (other.age, other.age_source);
            self.note = other.note;
        }
        if self.sex == Sex::Unknown {
            self.sex = other.sex;
        }
        let texts = [
            (&mut self.site, other.site),
            (&mut self.scanner, other.scanner),
            (&mut self.diagnosis, other.diagnosis),
            (&mut self.family, other.family),
        ];
        for (mine, theirs) in texts {
            if mine.is_empty() {
                *mine = theirs;
            }
        }
    }
}

/// A whole number among decimals is a decimal that happens to be whole.
pub(crate) fn settle_age_sources<'a>(people: impl Iterator<Item = &'a mut Person>) {
    let mut people: Vec<_> = people.collect();
    if people
        .iter()
        .any(|person| person.age_source == AgeSource::ReportedDecimal && person.age.is_ok())
    {
        for person in &mut people {
            if person.age_source == AgeSource::ReportedWholeYears {
                person.age_source = AgeSource::ReportedDecimal;
            }
        }
    }
}

/// A visit's name as it is compared.
pub(crate) fn comparable_session(session: &str) -> String {
    let session = session.trim().to_lowercase();
    session
        .strip_prefix("ses-")
        .map_or(session.clone(), str::to_owned)
}
