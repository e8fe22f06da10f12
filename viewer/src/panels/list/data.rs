//! Which scans the list shows, in which order, and what its rows say.

use std::cmp::Ordering;

use crate::subject::{QcLevel, Subject};

/// A column, which the list may be sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Column {
    Name,
    Cohort,
    Age,
    Predicted,
    Gap,
    Qc,
}

/// Up or down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Rising,
    Falling,
}

/// What one wants to see.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct ListView {
    /// Words and conditions, see [`matches`].
    pub(crate) search: String,
    /// Only these verdicts.
    pub(crate) qc: QcFilter,
    /// Only this cohort.
    pub(crate) cohort: Option<String>,
    /// By what it is sorted; `None` keeps the order given.
    pub(crate) sort: Option<(Column, Direction)>,
}

/// Which verdicts are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum QcFilter {
    #[default]
    All,
    /// Refused, fail and warn.
    Doubtful,
    Only(QcLevel),
}

impl Column {
    /// Above the column.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Name => "Scan",
            Self::Cohort => "Cohort",
            Self::Age => "Age",
            Self::Predicted => "Pred.",
            Self::Gap => "Gap",
            Self::Qc => "QC",
        }
    }

    /// Those worth showing for these subjects.
    pub(crate) fn of(subjects: &[Subject]) -> Vec<Self> {
        let any = |known: &dyn Fn(&Subject) -> bool| subjects.iter().any(known);
        let mut columns = vec![Self::Name];
        let mut add = |column, is_known| {
            if is_known {
                columns.push(column);
            }
        };
        add(Self::Cohort, any(&|subject| subject.cohort.is_some()));
        add(Self::Age, any(&|subject| subject.age_years.is_some()));
        add(
            Self::Predicted,
            any(&|subject| subject.predicted_age_years().is_some()),
        );
        add(Self::Gap, any(&|subject| subject.gap_years().is_some()));
        add(
            Self::Qc,
            any(&|subject| subject.qc_level() != QcLevel::Unknown),
        );
        columns
    }
}

impl QcFilter {
    /// In the order of the menu.
    pub(crate) fn choices() -> Vec<Self> {
        let mut all = vec![Self::All, Self::Doubtful];
        all.extend(QcLevel::ALL.map(Self::Only));
        all
    }

    /// As the menu says it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::All => "QC: all",
            Self::Doubtful => "QC: doubtful",
            Self::Only(QcLevel::Refused) => "QC: refused",
            Self::Only(QcLevel::Fail) => "QC: fail",
            Self::Only(QcLevel::Warn) => "QC: warn",
            Self::Only(QcLevel::Pass) => "QC: pass",
            Self::Only(QcLevel::Unknown) => "QC: unknown",
        }
    }

    /// Whether a verdict is shown.
    pub(crate) fn holds(self, level: QcLevel) -> bool {
        match self {
            Self::All => true,
            Self::Doubtful => matches!(level, QcLevel::Refused | QcLevel::Fail | QcLevel::Warn),
            Self::Only(only) => only == level,
        }
    }
}

impl ListView {
    /// Up, then down, then as given.
    pub(crate) fn sort_by(&mut self, column: Column) {
        self.sort = match self.sort {
            Some((by, Direction::Rising)) if by == column => Some((column, Direction::Falling)),
            Some((by, Direction::Falling)) if by == column => None,
            _ => Some((column, Direction::Rising)),
        };
    }
}

/// Indices of the subjects that are shown, in their order; unknown numbers come last.
pub(crate) fn rows(subjects: &[Subject], view: &ListView) -> Vec<usize> {
    let shown = |subject: &Subject| {
        view.qc.holds(subject.qc_level())
            && (view.cohort.is_none() || view.cohort == subject.cohort)
            && matches(subject, &view.search)
    };
    let mut rows: Vec<usize> = (0..subjects.len())
        .filter(|i| shown(&subjects[*i]))
        .collect();
    let Some((column, direction)) = view.sort else {
        return rows;
    };
    let turned = |order: Ordering| match direction {
        Direction::Rising => order,
        Direction::Falling => order.reverse(),
    };
    let numbers = |a: Option<f64>, b: Option<f64>| match (a, b) {
        (Some(a), Some(b)) => turned(a.total_cmp(&b)),
        (a, b) => b.is_some().cmp(&a.is_some()),
    };
    rows.sort_by(|a, b| {
        let (a, b) = (&subjects[*a], &subjects[*b]);
        match column {
            Column::Name => turned(a.name.cmp(&b.name)),
            Column::Cohort => turned(a.cohort.cmp(&b.cohort)),
            Column::Age => numbers(a.age_years, b.age_years),
            Column::Predicted => numbers(a.predicted_age_years(), b.predicted_age_years()),
            Column::Gap => numbers(a.gap_years(), b.gap_years()),
            Column::Qc => turned(a.qc_level().cmp(&b.qc_level())),
        }
    });
    rows
}

/// Whether a subject has every word of a search: part of its name, cohort or verdict in any case, or a condition such as
/// `age>60`, `pred<=40`, `gap<-5`, `abs>10` (the gap without its sign). Unknown numbers meet no condition.
pub(crate) fn matches(subject: &Subject, search: &str) -> bool {
    search.split_whitespace().all(|word| {
        condition(subject, word).unwrap_or_else(|| {
            let word = word.to_lowercase();
            let cohort = subject.cohort.as_deref().unwrap_or_default();
            let texts = [subject.name.as_str(), cohort, subject.qc_level().name()];
            texts.iter().any(|text| text.to_lowercase().contains(&word))
        })
    })
}

/// Whether a condition is met; `None` for a word that is none.
fn condition(subject: &Subject, word: &str) -> Option<bool> {
    let at = word.find(['<', '>'])?;
    let (name, rest) = word.split_at(at);
    let (larger, rest) = match rest.strip_prefix('>') {
        Some(rest) => (true, rest),
        None => (false, rest.strip_prefix('<')?),
    };
    let (or_equal, number) = match rest.strip_prefix('=') {
        Some(number) => (true, number),
        None => (false, rest),
    };
    let number: f64 = number.parse().ok()?;
    let value = match name.to_lowercase().as_str() {
        "age" => subject.age_years,
        "pred" | "predicted" => subject.predicted_age_years(),
        "gap" => subject.gap_years(),
        "abs" | "|gap|" => subject.gap_years().map(f64::abs),
        _ => return None,
    };
    Some(value.is_some_and(|value| match (larger, or_equal) {
        (true, true) => value >= number,
        (true, false) => value > number,
        (false, true) => value <= number,
        (false, false) => value < number,
    }))
}

/// The cohorts of all subjects, by name.
pub(crate) fn cohorts(subjects: &[Subject]) -> Vec<String> {
    let all = subjects.iter().filter_map(|subject| subject.cohort.clone());
    let all: std::collections::BTreeSet<String> = all.collect();
    all.into_iter().collect()
}

/// What a row says in a column.
pub(crate) fn text(subject: &Subject, column: Column) -> String {
    let number = |value: Option<f64>| value.map_or("–".to_owned(), |value| format!("{value:.1}"));
    match column {
        Column::Name => subject.name.clone(),
        Column::Cohort => subject.cohort.clone().unwrap_or_else(|| "–".to_owned()),
        Column::Age => number(subject.age_years),
        Column::Predicted => number(subject.predicted_age_years()),
        Column::Gap => subject
            .gap_years()
            .map_or("–".to_owned(), |gap| format!("{gap:+.1}")),
        Column::Qc => subject.qc_level().name().to_owned(),
    }
}

/// What a screen reader says of a row.
pub(crate) fn spoken(subject: &Subject) -> String {
    let of = |column| text(subject, column);
    format!(
        "{}, age {}, predicted {}, gap {}, QC {}",
        of(Column::Name),
        of(Column::Age),
        of(Column::Predicted),
        of(Column::Gap),
        of(Column::Qc)
    )
}

/// The shown rows as CSV, in their order.
///
/// # Errors
/// A sentence where a row cannot be written.
pub(crate) fn csv(subjects: &[Subject], rows: &[usize]) -> Result<Vec<u8>, String> {
    let mut table = csv::Writer::from_writer(Vec::new());
    let header = [
        "name",
        "cohort",
        "scan",
        "age_years",
        "predicted_age",
        "predicted_low",
        "predicted_high",
        "gap",
        "corrected_gap",
        "qc",
        "qc_reasons",
        "model",
        "error",
    ];
    table
        .write_record(header)
        .map_err(|error| error.to_string())?;
    let number = |value: Option<f64>| value.map(|value| value.to_string()).unwrap_or_default();
    for subject in rows.iter().filter_map(|i| subjects.get(*i)) {
        let prediction = subject.prediction.clone().unwrap_or_default();
        let [low, high] = match prediction.interval_years {
            Some(ends) => ends.map(Some),
            None => [None; 2],
        };
        let record = [
            subject.name.clone(),
            subject.cohort.clone().unwrap_or_default(),
            subject.path.display().to_string(),
            number(subject.age_years),
            number(prediction.predicted_age_years),
            number(low),
            number(high),
            number(subject.gap_years()),
            number(prediction.corrected_gap_years),
            prediction.qc,
            prediction.qc_reasons.join("; "),
            prediction.model,
            prediction.error.unwrap_or_default(),
        ];
        table
            .write_record(record)
            .map_err(|error| error.to_string())?;
    }
    table.into_inner().map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::subject::Prediction;

    fn subjects() -> Vec<Subject> {
        let all = [
            ("sub-b", Some(50.0), Some(61.0), "pass", "ukbb"),
            ("sub-a", None, Some(40.0), "warn", "camcan"),
            ("Sub-C", Some(30.0), Some(28.0), "fail", "ukbb"),
        ];
        all.map(
            |(name, age_years, predicted_age_years, qc, cohort)| Subject {
                name: name.into(),
                age_years,
                cohort: Some(cohort.into()),
                prediction: Some(Prediction {
                    predicted_age_years,
                    qc: qc.into(),
                    ..Prediction::default()
                }),
                ..Subject::from_path("a.nii".into())
            },
        )
        .to_vec()
    }

    fn sorted(column: Column, direction: Direction) -> Vec<usize> {
        let sort = Some((column, direction));
        rows(
            &subjects(),
            &ListView {
                sort,
                ..ListView::default()
            },
        )
    }

    fn found(search: &str) -> Vec<usize> {
        let search = search.to_owned();
        rows(
            &subjects(),
            &ListView {
                search,
                ..ListView::default()
            },
        )
    }

    #[test]
    fn unknown_ages_come_last_in_both_directions() {
        assert_eq!(sorted(Column::Age, Direction::Rising), [2, 0, 1]);
        assert_eq!(sorted(Column::Age, Direction::Falling), [0, 2, 1]);
        assert_eq!(sorted(Column::Qc, Direction::Rising), [2, 1, 0]);
        assert_eq!(sorted(Column::Cohort, Direction::Rising), [1, 0, 2]);
    }

    #[test]
    fn a_search_is_words_and_conditions_that_must_all_be_met() {
        assert_eq!(found(" SUB "), [0, 1, 2]);
        assert_eq!(found("sub-c"), [2]);
        assert_eq!(found("ukbb gap>5"), [0]);
        assert_eq!(found("gap<=-2"), [2]);
        assert_eq!(found("abs>1"), [0, 2]);
        assert_eq!(found("age>0"), [0, 2], "an unknown age meets no condition");
        assert_eq!(found("warn"), [1]);
        assert_eq!(
            found("age>x"),
            Vec::<usize>::new(),
            "no number, and no name has it"
        );
    }

    #[test]
    fn columns_that_say_nothing_are_left_to_the_names() {
        let mut subjects = subjects();
        assert_eq!(Column::of(&subjects).len(), 6);
        subjects.retain(|subject| subject.age_years.is_none());
        subjects[0].cohort = None;
        let shown = [Column::Name, Column::Predicted, Column::Qc];
        assert_eq!(Column::of(&subjects), shown);
    }

    #[test]
    fn verdicts_and_cohorts_can_be_chosen() {
        let qc = QcFilter::Doubtful;
        let cohort = Some("ukbb".to_owned());
        let view = ListView {
            qc,
            cohort,
            ..ListView::default()
        };
        assert_eq!(rows(&subjects(), &view), [2]);
        assert_eq!(cohorts(&subjects()), ["camcan", "ukbb"]);
    }

    #[test]
    fn a_third_click_gives_the_order_as_it_was() {
        let mut view = ListView::default();
        view.sort_by(Column::Gap);
        view.sort_by(Column::Gap);
        assert_eq!(view.sort, Some((Column::Gap, Direction::Falling)));
        view.sort_by(Column::Gap);
        assert_eq!(view.sort, None);
    }

    #[test]
    fn the_csv_has_the_rows_that_are_shown_and_quotes_what_must_be() {
        let mut subjects = subjects();
        subjects[2].name = "Sub \"C\", again".into();
        let bytes = csv(&subjects, &[2, 0]).unwrap();
        let mut reader = csv::Reader::from_reader(bytes.as_slice());
        let records: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
        assert_eq!(&records[0][0], "Sub \"C\", again");
        assert_eq!((&records[0][7], &records[1][7]), ("-2", "11"));
        assert_eq!(records.len(), 2);
    }
}
