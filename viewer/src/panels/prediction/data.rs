//! What is said of the selected scan, in words and numbers.

use std::time::Duration;

use crate::predictor::Progress;
use crate::subject::{QcLevel, Subject};

/// All that the panel shows.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct PredictionData {
    /// Name of the subject.
    pub(crate) name: String,
    /// The estimate, large; `None` where there is none.
    pub(crate) predicted: Option<String>,
    /// Where the age lies, as the model says.
    pub(crate) interval: Option<String>,
    /// Further facts: name and value.
    pub(crate) facts: Vec<(&'static str, String)>,
    /// Verdict of quality control.
    pub(crate) qc: QcLevel,
    /// Why it is not a pass, in words.
    pub(crate) reasons: Vec<String>,
    /// Why there is no prediction.
    pub(crate) error: Option<String>,
    /// Estimates of the blocks, years.
    pub(crate) block_ages_years: Vec<f64>,
    /// Lower and upper end of the interval.
    pub(crate) interval_years: Option<[f64; 2]>,
    /// Chronological age.
    pub(crate) age_years: Option<f64>,
    /// Whether anything was predicted at all.
    pub(crate) was_asked: bool,
}

impl PredictionData {
    /// Of a subject among all.
    pub(crate) fn of(subject: &Subject, all: &[Subject]) -> Self {
        let years = |value: f64| format!("{value:.1} years");
        let prediction = subject.prediction.clone().unwrap_or_default();
        let mut facts = Vec::new();
        let age = subject.age_years.map_or("unknown".to_owned(), years);
        facts.push(("Chronological age", age));
        if let Some(gap) = subject.gap_years() {
            facts.push((
                "Gap (predicted − chronological)",
                format!("{gap:+.1} years"),
            ));
        }
        if let Some(gap) = prediction.corrected_gap_years {
            facts.push(("Gap, corrected for age bias", format!("{gap:+.1} years")));
        }
        facts.extend(place(subject, all).map(|place| ("Place among all", place)));
        facts.extend(subject.cohort.clone().map(|cohort| ("Cohort", cohort)));
        if !prediction.model.is_empty() {
            facts.push(("Model", prediction.model));
        }
        let between = |[low, high]: [f64; 2]| format!("between {low:.1} and {high:.1} years");
        Self {
            name: subject.name.clone(),
            predicted: prediction.predicted_age_years.map(years),
            interval: prediction.interval_years.map(between),
            facts,
            qc: subject.qc_level(),
            reasons: prediction.qc_reasons,
            error: prediction.error,
            block_ages_years: prediction.block_ages_years,
            interval_years: prediction.interval_years,
            age_years: subject.age_years,
            was_asked: subject.prediction.is_some(),
        }
    }

    /// The estimates of the blocks in one line.
    pub(crate) fn blocks_line(&self) -> String {
        let ages = self.block_ages_years.iter().enumerate();
        let spoken: Vec<String> = ages
            .map(|(i, age)| format!("{}: {age:.1}", i + 1))
            .collect();
        spoken.join("   ")
    }
}

/// Where a gap lies among all others, in words; `None` among fewer than ten.
fn place(subject: &Subject, all: &[Subject]) -> Option<String> {
    let gap = subject.gap_years()?;
    let gaps: Vec<f64> = all.iter().filter_map(Subject::gap_years).collect();
    if gaps.len() < 10 {
        return None;
    }
    let smaller = gaps.iter().filter(|other| **other < gap).count();
    let others = gaps.len() - 1;
    let percent = 100.0 * smaller as f64 / others as f64;
    Some(format!("gap larger than {percent:.0} % of {others} others"))
}

/// What work under way says of itself.
pub(crate) fn progress_words(progress: &Progress, left: Option<Duration>) -> String {
    let stage = &progress.stage;
    match left.map(|left| left.as_secs_f64()) {
        Some(seconds) if seconds >= 1.0 => format!("{stage}, about {seconds:.0} s left"),
        _ => format!("{stage}…"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::subject::Prediction;

    fn subject(age: f64, predicted: f64) -> Subject {
        let mut subject = Subject::from_path("a.nii".into());
        subject.age_years = Some(age);
        subject.prediction = Some(Prediction {
            predicted_age_years: Some(predicted),
            interval_years: Some([predicted - 6.0, predicted + 7.0]),
            ..Prediction::default()
        });
        subject
    }

    #[test]
    fn a_gap_is_placed_among_the_others_once_there_are_enough() {
        let all: Vec<Subject> = (0..11)
            .map(|i| subject(50.0, 50.0 + f64::from(i)))
            .collect();
        let data = PredictionData::of(&all[8], &all);
        let place = data
            .facts
            .iter()
            .find(|(name, _)| *name == "Place among all");
        assert_eq!(place.unwrap().1, "gap larger than 80 % of 10 others");
        assert_eq!(
            data.interval.as_deref(),
            Some("between 52.0 and 65.0 years")
        );
        let few = PredictionData::of(&all[8], &all[..9]);
        assert!(few.facts.iter().all(|(name, _)| *name != "Place among all"));
    }

    #[test]
    fn the_time_left_is_said_once_it_is_a_second() {
        let progress = Progress::new("registering", 0.4);
        let words = |millis| progress_words(&progress, Some(Duration::from_millis(millis)));
        assert_eq!(words(3200), "registering, about 3 s left");
        assert_eq!(words(300), "registering…");
    }
}
