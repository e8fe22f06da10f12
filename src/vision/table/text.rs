//! The table as Markdown and as comma-separated values.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::super::dataset::Dataset;
use super::super::published::{NETWORKS, ROWS};
use super::Table;
use crate::Error;
use crate::study::figures::{
    comma_separated, decimals, if_any, in_full, megabytes, rounded, spread, thousands,
};

/// Columns of the comma-separated values.
const COLUMNS: [&str; 22] = [
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
    "cpu_seconds_per_step",
    "peak_memory_bytes",
    "speed_up",
    "stored",
    "degrees_of_freedom",
    "inference",
];

impl Table {
    /// As Markdown: our runs, then the paper's rows of the same data sets.
    pub fn to_markdown(&self) -> String {
        let mut text = String::from(
            "| data | network | method | blocks | settings | error, % (mean ± sd, seeds) | by seed | by block, % | together, % | epochs | images (test) | a step, s | CPU s a step | memory, MB | speed-up over BP | parameters: stored | free | inference | published, % |\n\
             |---|---|---|---|---|--:|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n",
        );
        for row in &self.rows {
            let counts = row.parameters;
            let _written = writeln!(
                text,
                "| {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} ({}) | {} | {} | {} | {} | {} | {} | {} | {} |",
                row.dataset.title(),
                row.network,
                row.method,
                row.blocks,
                row.settings,
                spread(row.mean, row.sd, row.error_percent.len()),
                rounded(&row.error_percent),
                rounded(&row.by_block),
                decimals(row.together, 2),
                row.epochs,
                thousands(row.n_training),
                thousands(row.n_test),
                decimals(row.cost.seconds_per_step, 3),
                decimals(row.cost.cpu_seconds_per_step, 3),
                megabytes(row.cost.peak_memory_bytes),
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
        let ours = self.rows.iter().map(|row| {
            let counts = row.parameters;
            vec![
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
                if_any(row.cost.seconds_per_step),
                if_any(row.cost.cpu_seconds_per_step),
                if_any(row.cost.peak_memory_bytes),
                if_any(row.speed_up),
                counts.stored.to_string(),
                counts.degrees_of_freedom.to_string(),
                (counts.composed - counts.auxiliary_heads).to_string(),
            ]
        });
        let datasets: BTreeSet<Dataset> = self.rows.iter().map(|row| row.dataset).collect();
        let quoted = ROWS.iter().filter(|row| datasets.contains(&row.dataset));
        let published = quoted.flat_map(|row| {
            let networks = NETWORKS.iter().zip(row.error_percent);
            networks.filter_map(|(network, error)| {
                Some(vec![
                    "published".to_owned(),
                    row.dataset.title().to_owned(),
                    network.title().to_owned(),
                    row.method.to_owned(),
                    String::new(),
                    String::new(),
                    error?.to_string(),
                ])
            })
        });
        comma_separated(&COLUMNS, ours.chain(published))
    }
}
