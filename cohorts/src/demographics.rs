//! Tables of people as typed values: age, sex, site, diagnosis, family.
//!
//! A layout says which columns mean what; the rows become [`People`], which scans are looked up in. A cell that
//! cannot be understood spoils only its row.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::ages::{AgeUnit, ParsedAge, is_missing, parse_age};
use crate::criteria::{Refusal, SkipReason};
use crate::delimited::{Delimited, cell};
use crate::error::Error;
use crate::index::AgeSource;
use crate::layout::LayoutFindings;
use crate::participant::Sex;
use crate::people::{People, Person, settle_age_sources};

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
    pub(crate) fn age_of(&self, record: &csv::ByteRecord) -> Result<ParsedAge, Refusal> {
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

/// Which tables a cohort is described by, in words for who has to find them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ExpectedTables {
    /// Such as "`participants.tsv` with a column `age`".
    pub(crate) table: &'static str,
    /// Such as "`age`".
    pub(crate) age: &'static str,
    /// Whether ages may be known from elsewhere, so that tables without them are no error.
    pub(crate) ages_elsewhere: bool,
}

/// Reads tables of people as one: the first table that knows something goes before the others. The tables are entered
/// among those that were used.
///
/// # Errors
/// If a table cannot be read, or none has ages.
pub(crate) fn read_all_people(
    tables: Vec<PathBuf>,
    names: &ColumnNames,
    codebook: impl Fn(&Path, &mut Vec<String>) -> Codebook,
    expected: ExpectedTables,
    (root, findings): (&Path, &mut LayoutFindings),
) -> Result<People, Error> {
    let mut people = People::default();
    let mut ages_known = expected.ages_elsewhere;
    let mut without_age = None;
    for path in &tables {
        let codes = codebook(path, &mut findings.warnings);
        let table = read_people(path, names, &codes, &mut findings.warnings)?;
        ages_known |= table.has_age;
        if !table.has_age {
            without_age.get_or_insert((table.shown_headers, path.clone()));
        }
        people.fill_from(table.people);
    }
    findings.demographics_used.extend(tables);
    match without_age {
        _ if ages_known => Ok(people),
        Some((found, path)) => Err(Error::NoAgeColumn {
            expected: expected.age,
            found,
            path,
        }),
        None => Err(Error::NoDemographics {
            expected: expected.table,
            root: root.to_path_buf(),
        }),
    }
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
