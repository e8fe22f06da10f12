//! Tables of people as typed values: age, sex, site, diagnosis, family.
//!
//! A layout says which columns mean what; the rows become [`People`], which scans are looked up in. A cell that
//! cannot be understood spoils only its row.

use std::collections::BTreeMap;
use std::path::Path;

use crate::criteria::{Refusal, SkipReason};
use crate::delimited::{Delimited, cell};
use crate::error::Error;
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

/// What numbers and letters in a sex column mean, in lower case, where the cohort says so.
pub(crate) type SexCodes = BTreeMap<String, Sex>;

/// Names of columns, as [`plain_name`] makes them; the first that is there is taken.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ColumnNames {
    pub(crate) participant: &'static [&'static str],
    pub(crate) session: &'static [&'static str],
    pub(crate) age: &'static [&'static str],
    pub(crate) sex: &'static [&'static str],
    pub(crate) site: &'static [&'static str],
    pub(crate) scanner: &'static [&'static str],
    pub(crate) diagnosis: &'static [&'static str],
    pub(crate) family: &'static [&'static str],
}

/// Names that most tables use.
pub(crate) const USUAL_COLUMNS: ColumnNames = ColumnNames {
    participant: &[
        "participant_id",
        "subject_id",
        "participant",
        "subject",
        "mrid",
        "ixi_id",
        "id",
        "eid",
        "ccid",
        "subjectid",
        "ptid",
        "observations",
    ],
    session: &["session_id", "session", "visit", "ses", "timepoint"],
    age: &[
        "age_years",
        "age",
        "age_at_scan",
        "age_at_session",
        "age_in_years",
        "age_in_yrs",
        "age_at_mri",
        "age_yrs",
        "ageatscan",
        "age_months",
        "age_in_months",
    ],
    sex: &[
        "sex",
        "gender",
        "gender_text",
        "sex_id",
        "gender_code",
        "sex_code",
    ],
    site: &["site", "site_id", "centre", "center"],
    scanner: &[
        "scanner",
        "scanner_id",
        "scanner_model",
        "manufacturers_model_name",
    ],
    diagnosis: &["diagnosis", "dx", "group", "diagnostic_group"],
    family: &["family_id", "family"],
};

/// Where the columns of one table are.
#[derive(Clone, Debug)]
pub(crate) struct PersonColumns {
    pub(crate) participant: Option<usize>,
    pub(crate) session: Option<usize>,
    pub(crate) age: Option<usize>,
    /// A second column of ages at the scan, which must agree with the first.
    other_age: Option<usize>,
    age_unit: AgeUnit,
    sex: Option<usize>,
    sex_codes: SexCodes,
    site: Option<usize>,
    scanner: Option<usize>,
    diagnosis: Option<usize>,
    family: Option<usize>,
    decimal_comma: bool,
}

impl PersonColumns {
    /// Finds the columns. A unit or code that the column's name explains itself is taken from there: `age_months`,
    /// `SEX_ID (1=m, 2=f)`.
    pub(crate) fn find(table: &Delimited, names: &ColumnNames) -> Self {
        let age = table.column(names.age);
        let sex = table.column(names.sex);
        let header = |column: Option<usize>| {
            column
                .and_then(|column| table.headers().get(column))
                .map_or("", String::as_str)
        };
        let in_months = |column| header(column).to_lowercase().contains("month");
        let months = in_months(age);
        let other_age = names
            .age
            .iter()
            .filter_map(|name| table.column(&[name]))
            .find(|&other| Some(other) != age && in_months(Some(other)) == months);
        Self {
            participant: table.column(names.participant),
            session: table.column(names.session),
            age,
            other_age,
            age_unit: if months {
                AgeUnit::Months
            } else {
                AgeUnit::Years
            },
            sex,
            sex_codes: codes_in_header(header(sex)),
            site: table.column(names.site),
            scanner: table.column(names.scanner),
            diagnosis: table.column(names.diagnosis),
            family: table.column(names.family),
            decimal_comma: table.decimal_comma(),
        }
    }

    /// Codes that something beside the table explains.
    pub(crate) fn with_sex_codes(mut self, codes: &SexCodes) -> Self {
        self.sex_codes
            .extend(codes.iter().map(|(code, &sex)| (code.clone(), sex)));
        self
    }

    /// A unit that something beside the table states.
    pub(crate) fn with_age_unit(mut self, unit: Option<AgeUnit>) -> Self {
        self.age_unit = unit.unwrap_or(self.age_unit);
        self
    }

    /// One row; also says whether the sex is in a code that nothing explains.
    pub(crate) fn person(&self, record: &csv::ByteRecord) -> (Person, bool) {
        let text = |column| {
            let text = cell(record, column);
            if is_missing(&text) {
                String::new()
            } else {
                text.into_owned()
            }
        };
        let age = self.age_of(record);
        let word = cell(record, self.sex).to_lowercase();
        let sex = self
            .sex_codes
            .get(&word)
            .copied()
            .or_else(|| Sex::from_word(&word));
        let age_source = age.as_ref().map_or(AgeSource::Unstated, |age| age.source);
        let person = Person {
            age: age.map(|age| age.age),
            age_source,
            sex: sex.unwrap_or_default(),
            site: text(self.site),
            scanner: text(self.scanner),
            diagnosis: text(self.diagnosis),
            family: text(self.family),
            note: String::new(),
        };
        (person, sex.is_none())
    }

    /// The age of a row. Where two columns hold ages, they may differ by a year, as rounded and exact ages do.
    fn age_of(&self, record: &csv::ByteRecord) -> Result<ParsedAge, Refusal> {
        let parse = |column| parse_age(&cell(record, column), self.age_unit, self.decimal_comma);
        let first = parse(self.age);
        let Some(other) = self.other_age.map(|column| parse(Some(column))) else {
            return first;
        };
        match (first, other) {
            (Ok(a), Ok(b)) if (a.age.years() - b.age.years()).abs() > 1.0 => {
                let detail = format!("{} and {} years in two columns", a.age, b.age);
                Err(Refusal::new(SkipReason::AgeConflict, detail))
            }
            (Err(missing), other) if missing.reason == SkipReason::NoAge => other,
            (first, _) => first,
        }
    }
}

/// `SEX_ID (1=m, 2=f)` → 1: male, 2: female.
fn codes_in_header(header: &str) -> SexCodes {
    let inner = header
        .split_once('(')
        .map_or("", |(_, inner)| inner)
        .trim_end_matches(')');
    let pairs = inner.split([',', ';']).filter_map(|pair| {
        let (code, word) = pair.split_once('=')?;
        Some((code.trim().to_lowercase(), Sex::from_word(word)?))
    });
    pairs.collect()
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

/// What is known beside a table.
#[derive(Clone, Debug, Default)]
pub(crate) struct Codebook {
    pub(crate) sex_codes: SexCodes,
    pub(crate) age_unit: Option<AgeUnit>,
    /// How the identifiers of the cohort begin; other rows, such as a second header line, are passed over.
    pub(crate) id_prefix: &'static str,
}

/// Reads a table with one row for each person, or each person and visit. `None` ages are allowed where the table has
/// no such column: another one may.
///
/// # Errors
/// If the table cannot be read or has no participant column.
pub(crate) fn read_people(
    path: &Path,
    names: &ColumnNames,
    codebook: &Codebook,
    warnings: &mut Vec<String>,
) -> Result<PeopleTable, Error> {
    let mut table = Delimited::open(path)?;
    let columns = PersonColumns::find(&table, names)
        .with_sex_codes(&codebook.sex_codes)
        .with_age_unit(codebook.age_unit);
    let Some(participant) = columns.participant else {
        let found = table.shown_headers();
        let expected = "`participant_id` or the like";
        return Err(Error::NoParticipantColumn {
            expected,
            found,
            path: path.to_path_buf(),
        });
    };
    let mut people = People::default();
    let (mut unexplained, mut n_bad, mut n_rows) = (0, 0, 0);
    let mut record = csv::ByteRecord::new();
    while table.read_row(&mut record)? {
        let id = cell(&record, Some(participant));
        if is_missing(&id) || !id.starts_with(codebook.id_prefix) {
            continue;
        }
        let (person, unknown_code) = columns.person(&record);
        n_rows += 1;
        unexplained += usize::from(unknown_code);
        let is_bad = |refusal: &Refusal| refusal.reason == SkipReason::BadAge;
        n_bad += usize::from(person.age.as_ref().is_err_and(is_bad));
        people.insert(&id, &cell(&record, columns.session), person);
    }
    settle_age_sources(people.people_mut());
    warn_of_codes(unexplained, path, warnings);
    if n_rows > 0 && n_bad * 2 > n_rows {
        warnings.push(format!(
            "{n_bad} of {n_rows} ages are not within 0 to 125 years; are they months or days? `{}`",
            crate::error::shown(path)
        ));
    }
    let has_age = columns.age.is_some();
    Ok(PeopleTable {
        people,
        has_age,
        shown_headers: table.shown_headers(),
    })
}

/// Says that codes for sex were not understood.
pub(crate) fn warn_of_codes(n: usize, path: &Path, warnings: &mut Vec<String>) {
    if n > 0 {
        warnings.push(format!(
            "{n} rows have a sex in a code that nothing explains; taken as unknown: `{}`",
            crate::error::shown(path)
        ));
    }
}

/// A table that was read.
#[derive(Clone, Debug)]
pub(crate) struct PeopleTable {
    pub(crate) people: People,
    pub(crate) has_age: bool,
    pub(crate) shown_headers: String,
}
