//! Tables of ages, and how they are joined with predictions.
//!
//! Any CSV (or TSV) with a column `age_years` or `age`, and `scan` or `participant_id`: an `index.csv`, the `ages.csv` of
//! a synthetic folder, or one's own. `session_id`, `sex`, `cohort`, `site` and `group_key` are used where they are there. A
//! prediction finds its row by the scan's path, else by its file name where only one row has it, else by participant
//! and session.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::eval::Case;
use crate::predict::predictor::Visit;
use crate::predict::row::PredictionRow;

use super::CliError;

/// Oldest age that is taken for one, years.
const OLDEST_YEARS: f64 = 125.0;
/// Names of the column with ages.
const AGE_COLUMNS: [&str; 2] = ["age_years", "age"];

/// One row of a table of ages.
#[derive(Clone, Debug, PartialEq)]
struct AgeRow {
    scan: String,
    participant_id: String,
    session_id: String,
    age_years: f64,
    sex: String,
    cohort: String,
    site: String,
    group_key: String,
}

/// A table of ages with its keys; a key of several rows with different ages finds none.
#[derive(Debug)]
pub struct AgeTable {
    rows: Vec<AgeRow>,
    by_scan: BTreeMap<String, Option<usize>>,
    by_name: BTreeMap<String, Option<usize>>,
    by_participant: BTreeMap<(String, String), Option<usize>>,
}

/// Predictions whose ages are known, and how many could not be judged.
#[derive(Debug, Default)]
pub struct Joined {
    /// To be judged.
    pub cases: Vec<Case>,
    /// Scans without a prediction.
    pub n_refused: usize,
    /// Predictions without an age.
    pub n_without_age: usize,
}

impl AgeTable {
    /// Reads a table.
    ///
    /// # Errors
    /// Where it cannot be read, has no column with ages or with keys, or an age is none; empty ages are left out.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let text = fs_err::read_to_string(path)?;
        let delimiter = match text.lines().next() {
            Some(header) if header.contains('\t') => b'\t',
            Some(header) if header.contains(';') && !header.contains(',') => b';',
            _ => b',',
        };
        let text = text.trim_start_matches('\u{feff}');
        let mut reader = csv::ReaderBuilder::new()
            .delimiter(delimiter)
            .trim(csv::Trim::All)
            .from_reader(text.as_bytes());
        let malformed = || format!("table is malformed: `{}`", path.display());
        let columns: Vec<String> = reader
            .headers()
            .with_context(malformed)?
            .iter()
            .map(str::to_lowercase)
            .collect();
        let column = |name: &str| columns.iter().position(|found| found == name);
        let Some(age) = AGE_COLUMNS.iter().find_map(|name| column(name)) else {
            let message = format!(
                "no age column, expected age_years or age, found {}: `{}`",
                columns.join(", "),
                path.display()
            );
            return Err(CliError::failed(
                message,
                "name the column with ages in years `age_years`",
            )
            .into());
        };
        if column("scan").is_none() && column("participant_id").is_none() {
            let message = format!(
                "no key column, expected scan or participant_id, found {}: `{}`",
                columns.join(", "),
                path.display()
            );
            return Err(CliError::failed(
                message,
                "add a column that says which scan an age is of",
            )
            .into());
        }
        let mut rows = Vec::new();
        for record in reader.records() {
            let record = record.with_context(malformed)?;
            let field = |name: &str| {
                column(name)
                    .and_then(|i| record.get(i))
                    .unwrap_or_default()
                    .to_owned()
            };
            let age_text = record.get(age).unwrap_or_default();
            if matches!(age_text, "" | "n/a" | "NA" | "NaN") {
                continue;
            }
            let age_years = age_text
                .parse()
                .ok()
                .filter(|age| (0.0..=OLDEST_YEARS).contains(age));
            let line = record.position().map_or(0, csv::Position::line);
            let Some(age_years) = age_years else {
                let message = format!(
                    "age is `{age_text}`, expected years from 0 to 125 (line {line}): `{}`",
                    path.display()
                );
                return Err(CliError::failed(message, "correct the age, or leave it empty").into());
            };
            rows.push(AgeRow {
                scan: field("scan"),
                participant_id: field("participant_id"),
                session_id: field("session_id"),
                age_years,
                sex: field("sex"),
                cohort: field("cohort"),
                site: field("site"),
                group_key: field("group_key"),
            });
        }
        Ok(Self::with_keys(rows))
    }

    fn with_keys(rows: Vec<AgeRow>) -> Self {
        let mut table = Self {
            by_scan: BTreeMap::new(),
            by_name: BTreeMap::new(),
            by_participant: BTreeMap::new(),
            rows: Vec::new(),
        };
        for (i, row) in rows.iter().enumerate() {
            let agrees = |other: usize| rows[other].age_years == row.age_years;
            if !row.scan.is_empty() {
                insert(&mut table.by_scan, row.scan.clone(), i, agrees);
                insert(&mut table.by_name, file_name(&row.scan), i, agrees);
            }
            if !row.participant_id.is_empty() {
                let key = (row.participant_id.clone(), row.session_id.clone());
                insert(&mut table.by_participant, key, i, agrees);
            }
        }
        table.rows = rows;
        table
    }

    fn find(&self, prediction: &PredictionRow) -> Option<&AgeRow> {
        let by_participant = || {
            let participant = prediction.participant_id.clone()?;
            let session = prediction.session_id.clone().unwrap_or_default();
            *self
                .by_participant
                .get(&(participant.clone(), session))
                .or_else(|| self.by_participant.get(&(participant, String::new())))?
        };
        let known = |found: Option<&Option<usize>>| found.copied().flatten();
        let i = known(self.by_scan.get(&prediction.scan))
            .or_else(|| known(self.by_name.get(&file_name(&prediction.scan))))
            .or_else(by_participant)?;
        self.rows.get(i)
    }

    /// Who is in a scan that nothing was predicted for yet; nothing is known of a scan that the table does not name.
    pub fn visit_of(&self, scan: &Path) -> Visit {
        let scan = scan.display().to_string();
        let unknown = PredictionRow {
            scan,
            ..PredictionRow::default()
        };
        let known = |text: &String| (!text.is_empty()).then(|| text.clone());
        self.find(&unknown)
            .map(|row| Visit {
                participant_id: known(&row.participant_id),
                session_id: known(&row.session_id),
                age_years: Some(row.age_years),
            })
            .unwrap_or_default()
    }

    /// Who is meant by names that a scan's path holds: with or without `sub-` and `ses-`.
    pub fn visit_of_participant(&self, named: &Visit) -> Option<Visit> {
        let bare = |id: &Option<String>, prefix: &str| {
            let id = id.as_deref()?;
            Some(id.strip_prefix(prefix).unwrap_or(id).to_owned())
        };
        let participants = [
            named.participant_id.clone(),
            bare(&named.participant_id, "sub-"),
        ];
        let sessions = [
            named.session_id.clone(),
            bare(&named.session_id, "ses-"),
            None,
        ];
        for participant_id in participants.into_iter().flatten() {
            for session_id in &sessions {
                let row = PredictionRow {
                    participant_id: Some(participant_id.clone()),
                    session_id: session_id.clone(),
                    ..PredictionRow::default()
                };
                if let Some(found) = self.find(&row) {
                    return Some(Visit {
                        participant_id: Some(participant_id),
                        session_id: named.session_id.clone(),
                        age_years: Some(found.age_years),
                    });
                }
            }
        }
        None
    }
}

/// Joins predictions with ages; without a table, with the ages that the predictions carry themselves.
pub fn join(predictions: &[PredictionRow], ages: Option<&AgeTable>) -> Joined {
    let mut joined = Joined::default();
    for prediction in predictions {
        let Some(predicted_age_years) = prediction.predicted_age_years else {
            joined.n_refused += 1;
            continue;
        };
        let row = ages.and_then(|ages| ages.find(prediction));
        let known = if ages.is_some() {
            row.map(|row| row.age_years)
        } else {
            prediction.age_years
        };
        let Some(age_years) = known else {
            joined.n_without_age += 1;
            continue;
        };
        // A corrected gap belongs to the age that it was computed with.
        let corrected_gap = prediction
            .corrected_gap_years
            .filter(|_| prediction.age_years == Some(age_years));
        let text = |of: fn(&AgeRow) -> &String| row.map(of).cloned().unwrap_or_default();
        let participant_id = prediction
            .participant_id
            .clone()
            .unwrap_or_else(|| text(|row| &row.participant_id));
        let (cohort, group_key) = (text(|row| &row.cohort), text(|row| &row.group_key));
        let key = [group_key, participant_id.clone(), prediction.scan.clone()];
        joined.cases.push(Case {
            scan: prediction.scan.clone(),
            participant_id,
            session_id: prediction
                .session_id
                .clone()
                .unwrap_or_else(|| text(|row| &row.session_id)),
            age_years,
            predicted_age_years,
            corrected_age_years: corrected_gap.map(|gap| age_years + gap),
            head_sd_years: prediction.head_sd_years,
            interval_years: prediction.interval_years(),
            coverage: prediction.coverage,
            group_key: key
                .into_iter()
                .find(|key| !key.is_empty())
                .unwrap_or_default(),
            cohort: named(cohort),
            site: text(|row| &row.site),
            sex: named(text(|row| &row.sex)),
        });
    }
    joined
}

fn named(text: String) -> String {
    if text.is_empty() {
        "unknown".into()
    } else {
        text
    }
}

fn file_name(scan: &str) -> String {
    let path = PathBuf::from(scan);
    path.file_name()
        .map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}

fn insert<K: Ord>(
    keys: &mut BTreeMap<K, Option<usize>>,
    key: K,
    i: usize,
    agrees: impl Fn(usize) -> bool,
) {
    keys.entry(key)
        .and_modify(|known| *known = known.filter(|other| agrees(*other)))
        .or_insert(Some(i));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(text: &str) -> anyhow::Result<AgeTable> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ages.csv");
        fs_err::write(&path, text).unwrap();
        AgeTable::read(&path)
    }

    fn prediction(scan: &str, participant: Option<&str>, predicted: Option<f64>) -> PredictionRow {
        PredictionRow {
            scan: scan.into(),
            participant_id: participant.map(str::to_owned),
            predicted_age_years: predicted,
            ..PredictionRow::default()
        }
    }

    #[test]
    fn a_prediction_finds_its_age_by_path_then_by_name_then_by_participant() {
        let ages = table(
            "scan,participant_id,age_years,sex\na/x.nii,p1,30,F\nb/x.nii,p2,40,M\nb/y.nii,p3,50,F\n,p4,60,M\n",
        )
        .unwrap();
        let age = |scan, participant| {
            let joined = join(&[prediction(scan, participant, Some(1.0))], Some(&ages));
            joined.cases.first().map(|case| case.age_years)
        };
        assert_eq!(age("b/x.nii", None), Some(40.0));
        assert_eq!(age("c/y.nii", None), Some(50.0));
        assert_eq!(
            age("c/x.nii", None),
            None,
            "two rows have this name, and different ages"
        );
        assert_eq!(age("c/x.nii", Some("p1")), Some(30.0));
        assert_eq!(age("z.nii", Some("p4")), Some(60.0));
        let named = Visit {
            participant_id: Some("sub-p4".into()),
            ..Visit::default()
        };
        let found = ages.visit_of_participant(&named).unwrap();
        assert_eq!(
            (found.participant_id.as_deref(), found.age_years),
            (Some("p4"), Some(60.0))
        );
        assert_eq!(ages.visit_of_participant(&Visit::default()), None);
        let visit = ages.visit_of(Path::new("b/y.nii"));
        assert_eq!(
            (visit.participant_id.as_deref(), visit.age_years),
            (Some("p3"), Some(50.0))
        );
        assert_eq!(ages.visit_of(Path::new("c/x.nii")), Visit::default());
    }

    #[test]
    fn what_cannot_be_judged_is_counted() {
        let ages = table("participant_id\tage\np1\t30\np2\tn/a\n").unwrap();
        let rows = [
            prediction("a.nii", Some("p1"), Some(33.0)),
            prediction("b.nii", Some("p2"), Some(44.0)),
            prediction("c.nii", Some("p1"), None),
        ];
        let joined = join(&rows, Some(&ages));
        assert_eq!(
            (joined.cases.len(), joined.n_without_age, joined.n_refused),
            (1, 1, 1)
        );
        assert_eq!(joined.cases[0].group_key, "p1");
        assert_eq!(joined.cases[0].sex, "unknown");
    }

    #[test]
    fn a_corrected_gap_is_kept_only_for_the_age_it_was_computed_with() {
        let ages = table("scan,age_years\na.nii,30\n").unwrap();
        let mut row = prediction("a.nii", None, Some(33.0));
        row.corrected_gap_years = Some(1.0);
        for (age_years, expected) in [(30.0, Some(31.0)), (31.0, None)] {
            row.age_years = Some(age_years);
            let joined = join(std::slice::from_ref(&row), Some(&ages));
            assert_eq!(joined.cases[0].corrected_age_years, expected);
        }
        assert_eq!(join(&[row], None).cases[0].age_years, 31.0);
    }

    #[test]
    fn a_table_without_ages_or_keys_or_with_an_impossible_age_is_refused_with_what_was_found() {
        for (text, expected) in [
            ("participant_id,sex\np1,F\n", "found participant_id, sex"),
            ("age,sex\n30,F\n", "expected scan or participant_id"),
            (
                "scan,age\na.nii,300\n",
                "age is `300`, expected years from 0 to 125 (line 2)",
            ),
            ("scan,age\na.nii,old\n", "age is `old`"),
        ] {
            let refused = table(text).unwrap_err().to_string();
            assert!(refused.contains(expected), "{refused}");
        }
    }
}
