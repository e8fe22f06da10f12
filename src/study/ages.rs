//! Trainings on ages as a table: mean absolute error on the test scans by method and settings, over seeds.

use std::fmt::Write as _;

use serde::Serialize;

use super::cost::Cost;
use super::figures::{
    comma_separated, decimals, if_any, in_full, mean_and_sd, mean_of, megabytes, rounded, spread,
    thousands,
};
use super::names::{blocks_of, method, order_of};
use super::recipe::by_recipe;
use super::settings::{Settings, different, settings};
use crate::Error;
use crate::config::train::TrainConfig;
use crate::models::ParameterCounts;

/// Columns of the comma-separated values.
const COLUMNS: [&str; 19] = [
    "method",
    "blocks",
    "settings",
    "mae_years",
    "sd",
    "n_seeds",
    "by_seed",
    "validation_mae_years",
    "validation_by_block",
    "baseline_mae_years",
    "epochs",
    "n_training",
    "n_test",
    "seconds_per_step",
    "cpu_seconds_per_step",
    "peak_memory_bytes",
    "stored",
    "degrees_of_freedom",
    "inference",
];

/// A finished run.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its config.
    pub config: TrainConfig,
    /// Mean absolute error on the test scans, years.
    pub mae_years: f64,
    /// The same on the scans that watched the training.
    pub validation_mae_years: Option<f64>,
    /// The same of each block's head, after the last epoch.
    pub validation_by_block: Vec<f64>,
    /// The same on the test scans of saying the mean training age for everybody.
    pub baseline_mae_years: Option<f64>,
    /// Scans that it learned from.
    pub n_training: usize,
    /// Scans that only judged it.
    pub n_test: usize,
    /// Numbers of the network as it was trained.
    pub parameters: ParameterCounts,
    /// What it cost.
    pub cost: Cost,
}

/// Runs that differ by their seeds alone.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// Method: a name of `train.method`, or form of the weights and regime.
    pub method: &'static str,
    /// Where the network was cut, and the heads of its blocks; empty where it has one head.
    pub blocks: String,
    /// Settings that no other column shows and that not all rows have alike.
    pub settings: String,
    /// Mean absolute errors on the test scans by seed, years.
    pub mae_years: Vec<f64>,
    /// Their mean.
    pub mean: f64,
    /// Their standard deviation; none for a single run.
    pub sd: Option<f64>,
    /// Mean over seeds of the error on the validation scans, years.
    pub validation_mae_years: Option<f64>,
    /// The same of each block's head, after the last epoch; empty where there is one head.
    pub validation_by_block: Vec<f64>,
    /// Mean absolute error on the test scans of saying the mean training age for everybody, years.
    pub baseline_mae_years: Option<f64>,
    /// Passes over the training scans.
    pub epochs: u64,
    /// Training scans.
    pub n_training: usize,
    /// Test scans.
    pub n_test: usize,
    /// What a run cost.
    #[serde(flatten)]
    pub cost: Cost,
    /// Numbers of the network.
    pub parameters: ParameterCounts,
}

/// All rows.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Table {
    /// By method.
    pub rows: Vec<Row>,
}

impl Table {
    /// Groups runs of one recipe.
    pub fn of(entries: &[Entry]) -> Self {
        let groups = by_recipe(entries, |entry| &entry.config);
        let settings: Vec<Settings> = groups
            .iter()
            .map(|(config, _)| settings(config, &[]))
            .collect();
        let pairs = groups.iter().zip(&settings);
        let mut rows: Vec<Row> = pairs
            .map(|((config, members), own)| row(config, members, different(own, &settings)))
            .collect();
        rows.sort_by_key(|row| {
            let (blocks, settings) = (row.blocks.clone(), row.settings.clone());
            (order_of(row.method), blocks, settings)
        });
        Self { rows }
    }

    /// As Markdown.
    pub fn to_markdown(&self) -> String {
        let mut text = String::from(
            "| method | blocks | settings | test MAE, years (mean ± sd, seeds) | by seed | validation MAE | by block | MAE of the mean age | epochs | scans (test) | a step, s | CPU s a step | memory, MB | parameters: stored | free | inference |\n\
             |---|---|---|--:|---|--:|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n",
        );
        for row in &self.rows {
            let counts = row.parameters;
            let _written = writeln!(
                text,
                "| {} | {} | {} | {} | {} | {} | {} | {} | {} | {} ({}) | {} | {} | {} | {} | {} | {} |",
                row.method,
                row.blocks,
                row.settings,
                spread(row.mean, row.sd, row.mae_years.len()),
                rounded(&row.mae_years),
                decimals(row.validation_mae_years, 2),
                rounded(&row.validation_by_block),
                decimals(row.baseline_mae_years, 2),
                row.epochs,
                thousands(row.n_training),
                thousands(row.n_test),
                decimals(row.cost.seconds_per_step, 3),
                decimals(row.cost.cpu_seconds_per_step, 3),
                megabytes(row.cost.peak_memory_bytes),
                thousands(counts.stored),
                thousands(counts.degrees_of_freedom),
                thousands(counts.composed - counts.auxiliary_heads),
            );
        }
        text
    }

    /// As comma-separated values, a line a row.
    ///
    /// # Errors
    /// [`Error::Data`] where a line cannot be made.
    pub fn to_csv(&self) -> Result<String, Error> {
        let line = |row: &Row| {
            let counts = row.parameters;
            vec![
                row.method.to_owned(),
                row.blocks.clone(),
                row.settings.clone(),
                row.mean.to_string(),
                if_any(row.sd),
                row.mae_years.len().to_string(),
                in_full(&row.mae_years),
                if_any(row.validation_mae_years),
                in_full(&row.validation_by_block),
                if_any(row.baseline_mae_years),
                row.epochs.to_string(),
                row.n_training.to_string(),
                row.n_test.to_string(),
                if_any(row.cost.seconds_per_step),
                if_any(row.cost.cpu_seconds_per_step),
                if_any(row.cost.peak_memory_bytes),
                counts.stored.to_string(),
                counts.degrees_of_freedom.to_string(),
                (counts.composed - counts.auxiliary_heads).to_string(),
            ]
        };
        comma_separated(&COLUMNS, self.rows.iter().map(line))
    }
}

fn row(config: &TrainConfig, members: &[&Entry], settings: String) -> Row {
    let mae_years: Vec<f64> = members.iter().map(|entry| entry.mae_years).collect();
    let (mean, sd) = mean_and_sd(&mae_years);
    let first = members.first();
    let mean_of_entries =
        |of: fn(&Entry) -> Option<f64>| mean_of(members.iter().filter_map(|entry| of(entry)));
    Row {
        method: method(&config.train, config.model.weights),
        blocks: blocks_of(&config.train, &config.model.cuts, config.model.head),
        settings,
        mae_years,
        mean,
        sd,
        validation_mae_years: mean_of_entries(|entry| entry.validation_mae_years),
        validation_by_block: by_block(members),
        baseline_mae_years: mean_of_entries(|entry| entry.baseline_mae_years),
        epochs: config.train.epochs,
        n_training: first.map_or(0, |entry| entry.n_training),
        n_test: first.map_or(0, |entry| entry.n_test),
        cost: Cost::of_runs(&members.iter().map(|entry| entry.cost).collect::<Vec<_>>()),
        parameters: first.map(|entry| entry.parameters).unwrap_or_default(),
    }
}

/// Mean over runs of the validation error of each block's head, where there are several.
fn by_block(members: &[&Entry]) -> Vec<f64> {
    let of = |entry: &&Entry| entry.validation_by_block.len();
    let n_heads = members.iter().map(of).min().unwrap_or(0);
    let heads = (0..n_heads).filter(|_| n_heads > 1);
    let errors_of = |head: usize| members.iter().map(move |e| e.validation_by_block[head]);
    heads.filter_map(|head| mean_of(errors_of(head))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::train::BRAIN_CNN_SMALL;

    fn entry(changes: &[&str], mae_years: f64) -> Entry {
        let changes: Vec<String> = changes.iter().map(|change| (*change).to_owned()).collect();
        Entry {
            config: TrainConfig::parse(BRAIN_CNN_SMALL, "small.toml".as_ref(), &changes).unwrap(),
            mae_years,
            validation_mae_years: Some(mae_years - 1.0),
            validation_by_block: vec![mae_years + 1.0, mae_years - 1.0],
            baseline_mae_years: Some(15.0),
            n_training: 1234,
            n_test: 56,
            parameters: ParameterCounts {
                stored: 80_000,
                degrees_of_freedom: 70_000,
                composed: 70_100,
                auxiliary_heads: 100,
            },
            cost: Cost {
                seconds_per_step: None,
                cpu_seconds_per_step: Some(mae_years / 10.0),
                peak_memory_bytes: Some(500_000_000),
            },
        }
    }

    #[test]
    fn rows_are_recipes_over_seeds_with_errors_in_years_and_what_they_cost() {
        let rate = "train.optimizer.learning_rate=1e-3";
        let table = Table::of(&[
            entry(&["train.method=dgl"], 9.0),
            entry(&["train.method=backprop", rate, "train.seed=1"], 6.0),
            entry(&["train.method=backprop", rate, "train.seed=2"], 8.0),
        ]);
        let found: Vec<(&str, f64)> = table.rows.iter().map(|r| (r.method, r.mean)).collect();
        assert_eq!(found, [("BP", 7.0), ("DGL", 9.0)]);
        let bp = &table.rows[0];
        assert_eq!(bp.settings, "train.optimizer.learning_rate=0.001");
        assert_eq!(bp.sd, Some(2.0_f64.sqrt()));
        assert_eq!(bp.validation_mae_years, Some(6.0));
        let text = table.to_markdown();
        let cells = "| 7.00 ± 1.41 (2) | 6.00 8.00 | 6.00 | 8.00 6.00 | 15.00 | 30 | 1,234 (56) | – | 0.700 | 500 | 80,000 | 70,000 | 70,000 |";
        assert!(text.contains(cells), "{text}");
        let csv = table.to_csv().unwrap();
        let fields: Vec<usize> = csv.lines().map(|line| line.split(',').count()).collect();
        assert_eq!(fields[..2], [COLUMNS.len(); 2], "{csv}");
        assert!(
            csv.contains(",7,1.4142135623730951,2,6 8,6,8 6,15,30,1234,56,,0.7"),
            "{csv}"
        );
    }
}
