//! The best value of a key, by the validation error of the last head after the last epoch; no test set has a part in it.

use std::fmt::Write as _;

use serde::Serialize;

use super::figures::{comma_separated, decimals, if_any};
use crate::Error;
use crate::engine::event::Event;

/// A value that was tried with a combination of other settings.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Trial {
    /// Folder of its run.
    pub run: String,
    /// The other settings, such as `train.method=backprop`; empty where nothing else varies.
    pub combination: String,
    /// The value, such as `train.optimizer.learning_rate=2e-3`.
    pub value: String,
    /// None where the loss ceased to be a number, which is worse than any error.
    pub validation_error: Option<f64>,
    /// Whether the combination is trained with this value: the lowest error, the earlier one of two that are alike.
    pub chosen: bool,
}

/// All that was tried.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Tuning {
    /// What the errors are in.
    pub unit: &'static str,
    /// In the order in which it was tried.
    pub trials: Vec<Trial>,
}

/// Error of the last head at the last validation of a log, in percent or years; `None` where nothing was validated. What is no
/// number is worse than any error.
pub fn last_validation_error(events: &[Event]) -> Option<f64> {
    let last = events.iter().rev().find_map(|event| match event {
        Event::Validation {
            mae_years,
            error_percent,
            ..
        } => mae_years.last().or(error_percent.last()),
        Event::Step { .. } | Event::Epoch { .. } | Event::Checkpoint { .. } => None,
    })?;
    Some(if last.is_nan() { f64::INFINITY } else { *last })
}

impl Tuning {
    /// Chooses the value of each combination; one whose losses all ceased to be numbers has none.
    pub fn new(unit: &'static str, mut trials: Vec<Trial>) -> Self {
        for i in 0..trials.len() {
            let error = |trial: &Trial| trial.validation_error.unwrap_or(f64::INFINITY);
            let of_combination = trials
                .iter()
                .enumerate()
                .filter(|(_, trial)| trial.combination == trials[i].combination);
            // The first of several minima.
            let best = of_combination.min_by(|(_, a), (_, b)| error(a).total_cmp(&error(b)));
            let is_best = best.is_some_and(|(number, _)| number == i);
            trials[i].chosen = is_best && error(&trials[i]).is_finite();
        }
        Self { unit, trials }
    }

    /// Whether a combination is trained with a value.
    pub fn has_chosen(&self, combination: &str, value: &str) -> bool {
        let is_it = |trial: &Trial| trial.combination == combination && trial.value == value;
        self.trials.iter().any(|trial| trial.chosen && is_it(trial))
    }

    /// Combinations without a value that could be chosen, each once.
    pub fn without_value(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for Trial { combination, .. } in &self.trials {
            let has_one = |trial: &Trial| trial.chosen && trial.combination == *combination;
            if !names.contains(&combination.as_str()) && !self.trials.iter().any(has_one) {
                names.push(combination);
            }
        }
        names
    }

    /// As Markdown: a line for each value; without the other settings where none vary.
    pub fn to_markdown(&self) -> String {
        let has_settings = self
            .trials
            .iter()
            .any(|trial| !trial.combination.is_empty());
        let (name, rule) = if has_settings {
            ("| settings ", "|---")
        } else {
            ("", "")
        };
        let mut text = format!(
            "{name}| value | validation error, {} | |\n{rule}|---|--:|---|\n",
            self.unit
        );
        for trial in &self.trials {
            if has_settings {
                let _written = write!(text, "| {} ", trial.combination);
            }
            let _written = writeln!(
                text,
                "| {} | {} | {} |",
                trial.value,
                decimals(trial.validation_error, 2),
                if trial.chosen { "chosen" } else { "" }
            );
        }
        text
    }

    /// As comma-separated values; `validation_error` is empty where the loss ceased to be a number.
    ///
    /// # Errors
    /// [`Error::Data`] where a line cannot be made.
    pub fn to_csv(&self) -> Result<String, Error> {
        let line = |trial: &Trial| {
            vec![
                trial.run.clone(),
                trial.combination.clone(),
                trial.value.clone(),
                if_any(trial.validation_error),
                self.unit.to_owned(),
                trial.chosen.to_string(),
            ]
        };
        let heading = [
            "run",
            "combination",
            "value",
            "validation_error",
            "unit",
            "chosen",
        ];
        comma_separated(&heading, self.trials.iter().map(line))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trial(combination: &str, value: &str, validation_error: Option<f64>) -> Trial {
        Trial {
            run: format!("{combination}_{value}_seed-1"),
            combination: combination.into(),
            value: value.into(),
            validation_error,
            chosen: false,
        }
    }

    #[test]
    fn each_combination_has_its_lowest_error_and_of_two_alike_the_earlier() {
        let tuning = Tuning::new(
            "%",
            vec![
                trial("bp", "1", Some(40.0)),
                trial("bp", "2", Some(30.0)),
                trial("bp", "3", Some(30.0)),
                trial("dgl", "1", None),
                trial("dgl", "2", Some(90.0)),
                trial("dfa", "1", None),
                trial("dfa", "2", Some(f64::INFINITY)),
            ],
        );
        let chosen = tuning.trials.iter().filter(|trial| trial.chosen);
        let chosen: Vec<(&str, &str)> = chosen
            .map(|trial| (trial.combination.as_str(), trial.value.as_str()))
            .collect();
        assert_eq!(chosen, [("bp", "2"), ("dgl", "2")]);
        assert!(tuning.has_chosen("bp", "2") && !tuning.has_chosen("bp", "3"));
        assert_eq!(tuning.without_value(), ["dfa"]);
        let csv = tuning.to_csv().unwrap();
        let lines: Vec<&str> = csv.lines().collect();
        assert_eq!(
            lines[0],
            "run,combination,value,validation_error,unit,chosen"
        );
        assert_eq!(lines[2], "bp_2_seed-1,bp,2,30,%,true");
        assert_eq!(lines[4], "dgl_1_seed-1,dgl,1,,%,false");
        let text = tuning.to_markdown();
        assert!(text.starts_with("| settings | value |"), "{text}");
        assert!(text.contains("| bp | 2 | 30.00 | chosen |"), "{text}");
        let alone = Tuning::new("%", vec![trial("", "1", None), trial("", "2", Some(30.0))]);
        let head = "| value | validation error, % | |\n|---|--:|---|\n";
        let expected = format!("{head}| 1 | – |  |\n| 2 | 30.00 | chosen |\n");
        assert_eq!(alone.to_markdown(), expected);
    }

    #[test]
    fn the_error_is_that_of_the_last_head_at_the_last_validation() {
        let validation = |epoch, mae_years: &[f64], error_percent: &[f64]| Event::Validation {
            epoch,
            step: epoch + 1,
            n: 9,
            mae_years: mae_years.into(),
            error_percent: error_percent.into(),
        };
        let images = [
            validation(0, &[], &[50.0, 20.0]),
            validation(1, &[], &[40.0, 30.0]),
            Event::Checkpoint { step: 2 },
        ];
        assert_eq!(last_validation_error(&images), Some(30.0));
        assert_eq!(
            last_validation_error(&[validation(0, &[9.0, 8.0], &[])]),
            Some(8.0)
        );
        let spoilt = [validation(0, &[f64::NAN], &[])];
        assert_eq!(last_validation_error(&spoilt), Some(f64::INFINITY));
        assert_eq!(last_validation_error(&images[2..]), None);
    }
}
