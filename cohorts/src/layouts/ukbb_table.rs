//! UK Biobank's tables: fields by number in four spellings, and the age at an imaging visit.
//!
//! Tables are read row by row and only people with scans are kept, since an export may be wider and longer than the
//! memory.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use jiff::civil::Date;

use crate::ages::{AgeUnit, is_missing, parse_age};
use crate::criteria::{Refusal, SkipReason};
use crate::dates::{parse_date, parse_month, years_between};
use crate::delimited::{Delimited, cell};
use crate::error::Error;
use crate::index::AgeSource;
use crate::participant::{AgeYears, Sex};
use crate::people::Person;

const SEX: u32 = 31;
const BIRTH_YEAR: u32 = 34;
const BIRTH_MONTH: u32 = 52;
const VISIT_DATE: u32 = 53;
const CENTRE: u32 = 54;
const AGE_AT_VISIT: u32 = 21003;

/// The one scanner model of the imaging study.
const SCANNER: &str = "Siemens Skyra 3T";

/// What a column holds: field and instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Field {
    number: u32,
    instance: u32,
    array: u32,
}

impl Field {
    /// `21003-2.0`, `f.21003.2.0`, `p21003_i2`, `participant.p21003_i2`, `X21003.2.0`.
    fn parse(column: &str) -> Option<Self> {
        let lower = column.trim().to_lowercase();
        let bare = lower.strip_prefix("participant.").unwrap_or(&lower);
        let bare = bare
            .strip_prefix("f.")
            .or_else(|| bare.strip_prefix(['p', 'x']))
            .unwrap_or(bare);
        let mut parts = bare.split(['-', '.', '_']);
        let mut next = |prefix: char| match parts.next() {
            None => Some(0),
            Some(part) => part.strip_prefix(prefix).unwrap_or(part).parse().ok(),
        };
        let (number, instance, array) = (next('\0')?, next('i')?, next('a')?);
        parts.next().is_none().then_some(Self {
            number,
            instance,
            array,
        })
    }

    fn is_read(self) -> bool {
        let read = [
            SEX,
            BIRTH_YEAR,
            BIRTH_MONTH,
            VISIT_DATE,
            CENTRE,
            AGE_AT_VISIT,
        ];
        self.array == 0 && read.contains(&self.number)
    }
}

fn eid_column(table: &Delimited) -> Option<usize> {
    table.column(&["eid", "f_eid", "participant_eid", "xeid", "n_eid"])
}

fn field_columns(table: &Delimited) -> Vec<(usize, Field)> {
    let fields = table
        .headers()
        .iter()
        .enumerate()
        .filter_map(|(column, name)| {
            Some((column, Field::parse(name)?)).filter(|(_, field)| field.is_read())
        });
    fields.collect()
}

/// Whether a table is about participants and has a field that is read.
pub(super) fn has_fields(table: &Delimited) -> bool {
    eid_column(table).is_some() && !field_columns(table).is_empty()
}

/// Cells of one person, by field and instance.
type Cells = BTreeMap<(u32, u32), String>;

/// What the tables say about people with scans.
#[derive(Debug, Default)]
pub(super) struct Visits {
    people: BTreeMap<String, Cells>,
    contradicted: BTreeSet<String>,
}

/// Reads the rows of `wanted` participants.
///
/// # Errors
/// If there is no table, one cannot be read or has no `eid`, or none has ages.
pub(super) fn read_visits(
    root: &Path,
    tables: &[PathBuf],
    wanted: &BTreeSet<String>,
) -> Result<Visits, Error> {
    let mut visits = Visits::default();
    let mut fields = BTreeSet::new();
    let mut first = None;
    for path in tables {
        let mut table = Delimited::open(path)?;
        let Some(eid) = eid_column(&table) else {
            let found = table.shown_headers();
            return Err(Error::NoParticipantColumn {
                expected: "`eid`",
                found,
                path: path.clone(),
            });
        };
        let columns = field_columns(&table);
        fields.extend(columns.iter().map(|(_, field)| field.number));
        first.get_or_insert_with(|| (table.shown_headers(), table.path().to_path_buf()));
        let mut record = csv::ByteRecord::new();
        while table.read_row(&mut record)? {
            let eid = cell(&record, Some(eid));
            if wanted.contains(eid.as_ref()) {
                visits.add(&eid, &columns, &record);
            }
        }
    }
    let has_dates = [BIRTH_YEAR, BIRTH_MONTH, VISIT_DATE]
        .iter()
        .all(|field| fields.contains(field));
    match first {
        _ if has_dates || fields.contains(&AGE_AT_VISIT) => Ok(visits),
        Some((found, path)) => {
            let expected = "field 21003 (age at visit, as `21003-2.0` or `p21003_i2`), \
                            or fields 34, 52 and 53 (dates)";
            Err(Error::NoAgeColumn {
                expected,
                found,
                path,
            })
        }
        None => {
            let expected = "a table with the columns `eid` and `21003-2.0`";
            Err(Error::NoDemographics {
                expected,
                root: root.to_path_buf(),
            })
        }
    }
}

impl Visits {
    fn add(&mut self, eid: &str, columns: &[(usize, Field)], record: &csv::ByteRecord) {
        let cells = self.people.entry(eid.to_owned()).or_default();
        for &(column, field) in columns {
            let text = cell(record, Some(column));
            if is_missing(&text) {
                continue;
            }
            let known = cells
                .entry((field.number, field.instance))
                .or_insert_with(|| text.to_string());
            if *known != text {
                self.contradicted.insert(eid.to_owned());
            }
        }
    }

    /// Who someone was at an imaging visit.
    pub(super) fn person(&self, eid: &str, instance: u32) -> Result<Person, Refusal> {
        let cells = self.people.get(eid).ok_or(SkipReason::NotInDemographics)?;
        if self.contradicted.contains(eid) {
            return Err(SkipReason::DuplicateParticipant.into());
        }
        let text = |field, instance| cells.get(&(field, instance)).map_or("", String::as_str);
        let (age, age_source) = age_at(
            age_from_dates(
                text(BIRTH_YEAR, 0),
                text(BIRTH_MONTH, 0),
                text(VISIT_DATE, instance),
            ),
            text(AGE_AT_VISIT, instance),
        )?;
        let sex = match text(SEX, 0) {
            "0" => Sex::Female,
            "1" => Sex::Male,
            word => Sex::from_word(word).unwrap_or_default(),
        };
        Ok(Person {
            age: Ok(age),
            age_source,
            sex,
            site: centre_code(text(CENTRE, instance)).to_owned(),
            scanner: SCANNER.to_owned(),
            diagnosis: String::new(),
            family: String::new(),
            note: String::new(),
        })
    }
}

/// Joins the two sources. They may differ by a year around the month of birth, whose day is not released.
fn age_at(computed: Option<f64>, reported: &str) -> Result<(AgeYears, AgeSource), Refusal> {
    let reported = match parse_age(reported, AgeUnit::Years, false) {
        Err(refusal) if refusal.reason == SkipReason::NoAge => None,
        Ok(parsed) => Some(parsed.age.years()),
        Err(refusal) => return Err(refusal),
    };
    let (years, source) = match (computed, reported) {
        (Some(computed), Some(reported)) if (computed.floor() - reported.floor()).abs() > 1.0 => {
            let detail = format!("{computed} from dates, {reported} in field 21003");
            return Err(Refusal::new(SkipReason::AgeConflict, detail));
        }
        (Some(computed), _) => (computed, AgeSource::ComputedDates),
        (None, Some(whole)) if whole.fract() == 0.0 => (whole + 0.5, AgeSource::WholeYearsMid),
        (None, Some(decimal)) => (decimal, AgeSource::ReportedDecimal),
        (None, None) => return Err(SkipReason::NoAge.into()),
    };
    let bad = |_outside| Refusal::new(SkipReason::BadAge, format!("{years} years from dates"));
    let age = AgeYears::new(years).map_err(bad)?;
    Ok((age, source))
}

/// Years from the middle of the month of birth to the visit.
fn age_from_dates(year: &str, month: &str, visit: &str) -> Option<f64> {
    let birth = Date::new(year.parse().ok()?, parse_month(month)?, 15).ok()?;
    years_between(birth, parse_date(visit)?)
}

/// Imaging centres by their code, also where the export replaced it by the name.
fn centre_code(text: &str) -> &str {
    const CENTRES: [(&str, &str); 4] = [
        ("cheadle", "11025"),
        ("reading", "11026"),
        ("newcastle", "11027"),
        ("bristol", "11028"),
    ];
    let lower = text.to_lowercase();
    let imaging = lower.contains("imaging");
    let named = CENTRES
        .iter()
        .find(|(name, _)| imaging && lower.starts_with(name));
    named.map_or(text, |(_, code)| code)
}

#[cfg(test)]
mod tests {
    use super::super::tree::Tree;
    use super::super::ukbb::LAYOUT;
    use super::*;
    use proptest::prelude::*;

    const SCAN: &str = "1000001_20252_2_0/T1/T1.nii.gz";

    #[test]
    fn the_four_spellings_of_a_field_are_one() {
        let expected = Field {
            number: 21003,
            instance: 2,
            array: 0,
        };
        for name in [
            "21003-2.0",
            "f.21003.2.0",
            "p21003_i2",
            "participant.p21003_i2",
            "X21003.2.0",
            "x21003_2_0",
        ] {
            assert_eq!(Field::parse(name), Some(expected), "{name}");
        }
        assert_eq!(Field::parse("p22009_a1"), None);
        assert_eq!(Field::parse("eid"), None);
        assert_eq!(Field::parse("p31").map(|field| field.number), Some(31));
    }

    fn check(table: &str, expected: &str) {
        let tree = Tree::new(&[SCAN], &[("ukb.csv", table)]);
        let listing = tree.list(LAYOUT).unwrap();
        let rows = listing.rows.iter().map(|row| {
            format!(
                "{} {} {} {}",
                row.age_years, row.age_source, row.sex, row.site
            )
        });
        let found = rows
            .chain(listing.skipped.keys().cloned())
            .collect::<Vec<_>>()
            .join("|");
        assert_eq!(found, expected, "{table}");
    }

    #[test]
    fn ages_are_computed_from_dates_and_checked_against_the_reported_one() {
        // 15 May 1950 to 14 August 2015: 23 832 days.
        let header = "eid,31-0.0,34-0.0,52-0.0,53-2.0,54-2.0,21003-2.0,21022-0.0\n";
        let row = |cells: &str| format!("{header}\"1000001\",{cells}\n");
        check(
            &row("0,1950,5,2015-08-14,11025,65,58"),
            "65.2485 computed_dates F 11025",
        );
        check(&row("1,1950,5,2015-08-14,11025,60,58"), "age_conflict");
        check(
            &row("1,1950,5,,11025,65,58"),
            "65.5 whole_years_mid M 11025",
        );
        check(&row("1,,,,,,58"), "no_age");
        check(&row("1,,,,,old,58"), "bad_age");
        let two = format!(
            "{}1000001,1,1950,5,2015-08-14,11025,66,58\n",
            row("0,1950,5,2015-08-14,11025,65,58")
        );
        check(&two, "duplicate_participant");
    }

    #[test]
    fn labels_in_place_of_codes_are_understood() {
        let table = "participant.eid\tparticipant.p31\tparticipant.p34\tparticipant.p52\tparticipant.p53_i2\
            \tparticipant.p54_i2\n1000001\tMale\t1950\tMay\t2015-08-14\tCheadle (imaging)\n";
        check(table, "65.2485 computed_dates M 11025");
    }

    #[test]
    fn the_age_at_recruitment_is_no_age_at_the_scan() {
        let tree = Tree::new(
            &[SCAN],
            &[("ukb.csv", "eid,31-0.0,21022-0.0\n1000001,0,58\n")],
        );
        let message = tree.list(LAYOUT).unwrap_err().to_string();
        assert!(
            message.starts_with("no age column, expected field 21003"),
            "{message}"
        );
        assert!(
            message.contains("found `eid`, `31-0.0`, `21022-0.0`"),
            "{message}"
        );
    }

    proptest! {
        #[test]
        fn no_cell_makes_the_parsers_panic(a in ".{0,20}", b in ".{0,12}", c in "[0-9-]{0,12}") {
            Field::parse(&a);
            age_from_dates(&a, &b, &c);
            age_from_dates("1950", "5", &a);
            age_from_dates(&c, "12", "2015-01-01");
            let _age = age_at(None, &a);
        }
    }
}
