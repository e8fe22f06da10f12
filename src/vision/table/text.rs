//! The table as Markdown and as comma-separated values.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::super::dataset::Dataset;
use super::super::published::{NETWORKS, ROWS};
use super::{Row, Table};
use crate::Error;

impl Table {
    /// As Markdown: our runs, then the paper's rows of the same data sets.
    pub fn to_markdown(&self) -> String {
        let mut text = String::from(
            "| data | network | method | blocks | settings | error, % (mean ± sd, seeds) | by block, % | together, % | epochs | images (test) | a step, s | speed-up over BP | parameters: stored | free | inference | published, % |\n\
             |---|---|---|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n",
        );
        for row in &self.rows {
            let counts = row.parameters;
            let _written = writeln!(
                text,
                "| {} | {} | {} | {} | {} | {} | {} | {} | {} | {} ({}) | {} | {} | {} | {} | {} | {} |",
                row.dataset.title(),
                row.network,
                row.method,
                row.blocks,
                row.settings,
                spread(row),
                numbers(&row.by_block),
                decimals(row.together, 2),
                row.epochs,
                thousands(row.n_training),
                thousands(row.n_test),
                decimals(row.seconds_per_step, 3),
                decimals(row.speed_up, 2),
                thousands(counts.stored),
                thousands(counts.degrees_of_freedom),
                thousands(counts.composed - counts.auxiliary_heads),
                row.published_percent
                    .map_or("–".into(), |error| format!("{error:.2} (published)")),
            );
        }
        let datasets: BTreeSet<Dataset> = self.rows.iter().map(|row| row.dataset).collect();
        let quoted: Vec<_> = ROWS
            .iter()
            .filter(|row| datasets.contains(&row.dataset))
            .collect();
        if !quoted.is_empty() {
            text.push_str(
                "\nAs published (arXiv 2508.01219, tables 1, 2 and 4; quoted, not run: other recipes, whole networks and data sets), error, %:\n\n",
            );
            let names: Vec<&str> = NETWORKS.iter().map(|name| name.title()).collect();
            let _written = writeln!(
                text,
                "| data | method (published) | {} |\n|---|---|--:|--:|--:|",
                names.join(" | ")
            );
            for row in quoted {
                let cell =
                    |error: &Option<f64>| error.map_or("–".into(), |error| format!("{error:.2}"));
                let cells: Vec<String> = row.error_percent.iter().map(cell).collect();
                let _written = writeln!(
                    text,
                    "| {} | {} | {} |",
                    row.dataset.title(),
                    row.method,
                    cells.join(" | ")
                );
            }
        }
        text
    }

    /// As comma-separated values: a line for each of our rows (`source` is `runs`) and each published figure (`published`).
    ///
    /// # Errors
    /// [`Error::Data`] where a line cannot be made.
    pub fn to_csv(&self) -> Result<String, Error> {
        let mut out = csv::Writer::from_writer(Vec::new());
        let failed = |error: csv::Error| Error::Data(error.to_string());
        out.write_record([
            "source",
            "dataset",
            "network",
            "method",
            "blocks",
            "settings",
            "error_percent",
            "sd",
            "n_seeds",
            "by_seed",
            "by_block",
            "together",
            "epochs",
            "n_training",
            "n_test",
            "seconds_per_step",
            "speed_up",
            "stored",
            "degrees_of_freedom",
            "inference",
        ])
        .map_err(failed)?;
        for row in &self.rows {
            let counts = row.parameters;
            out.write_record([
                "runs".to_owned(),
                row.dataset.title().to_owned(),
                row.network.clone(),
                row.method.to_owned(),
                row.blocks.clone(),
                row.settings.clone(),
                row.mean.to_string(),
                if_any(row.sd),
                row.error_percent.len().to_string(),
                in_full(&row.error_percent),
                in_full(&row.by_block),
                if_any(row.together),
                row.epochs.to_string(),
                row.n_training.to_string(),
                row.n_test.to_string(),
                if_any(row.seconds_per_step),
                if_any(row.speed_up),
                counts.stored.to_string(),
                counts.degrees_of_freedom.to_string(),
                (counts.composed - counts.auxiliary_heads).to_string(),
            ])
            .map_err(failed)?;
        }
        let datasets: BTreeSet<Dataset> = self.rows.iter().map(|row| row.dataset).collect();
        for row in ROWS.iter().filter(|row| datasets.contains(&row.dataset)) {
            for (network, error) in NETWORKS.iter().zip(row.error_percent) {
                let Some(error) = error else { continue };
                let mut record = vec![
                    "published".to_owned(),
                    row.dataset.title().to_owned(),
                    network.title().to_owned(),
                    row.method.to_owned(),
                    String::new(),
                    String::new(),
                    error.to_string(),
                ];
                record.resize(20, String::new());
                out.write_record(record).map_err(failed)?;
            }
        }
        let bytes = out
            .into_inner()
            .map_err(|error| Error::Data(error.to_string()))?;
        String::from_utf8(bytes).map_err(|error| Error::Data(error.to_string()))
    }
}

fn spread(row: &Row) -> String {
    match row.sd {
        Some(sd) => format!("{:.2} ± {sd:.2} ({})", row.mean, row.error_percent.len()),
        None => format!("{:.2} (1)", row.mean),
    }
}

fn decimals(value: Option<f64>, digits: usize) -> String {
    value.map_or("–".into(), |value| format!("{value:.digits$}"))
}

/// All digits of a number, nothing where there is none.
fn if_any(value: Option<f64>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

fn in_full(values: &[f64]) -> String {
    let texts: Vec<String> = values.iter().map(ToString::to_string).collect();
    texts.join(" ")
}

fn numbers(values: &[f64]) -> String {
    let texts: Vec<String> = values.iter().map(|value| format!("{value:.2}")).collect();
    texts.join(" ")
}

/// `1,234,567`.
fn thousands(n: usize) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
