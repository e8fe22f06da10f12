//! Runs as a table: error by data set, network and method, over seeds; published figures beside them, marked as such.

use std::fmt::Write as _;

use serde::Serialize;

use super::config::VisionConfig;
use super::dataset::Dataset;
use super::evaluation::ClassifierEvaluation;
use super::published::{self, NETWORKS, ROWS};
use crate::Error;
use crate::models::{Cuts, NamedCuts, ParameterCounts, Regime};
use crate::nn::weight::WeightForm;

/// A finished run.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its config.
    pub config: VisionConfig,
    /// What came of it.
    pub evaluation: ClassifierEvaluation,
}

/// Runs that differ by their seeds alone.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// Data set.
    pub dataset: Dataset,
    /// Network with its width, such as `ResNet-50 ×0.25`.
    pub network: String,
    /// Form of the weights and regime, as the paper calls them.
    pub method: &'static str,
    /// Where the network was cut, and the heads of its blocks; empty for backprop.
    pub blocks: String,
    /// Errors on the test images by seed, percent.
    pub error_percent: Vec<f64>,
    /// Their mean.
    pub mean: f64,
    /// Their standard deviation; none for a single run.
    pub sd: Option<f64>,
    /// Mean error of each block's head.
    pub by_block: Vec<f64>,
    /// Passes over the training images.
    pub epochs: u64,
    /// Training images.
    pub n_training: usize,
    /// Test images.
    pub n_test: usize,
    /// Numbers of the network.
    pub parameters: ParameterCounts,
    /// The paper's error for this method; only where the whole network and the whole data set are the paper's.
    pub published_percent: Option<f64>,
}

/// All rows.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Table {
    /// By data set, network and method.
    pub rows: Vec<Row>,
}

impl Table {
    /// Groups runs whose configs differ by seed, devices, checkpoints or the place of the data alone.
    pub fn of(entries: &[Entry]) -> Self {
        let mut groups: Vec<(VisionConfig, Vec<&Entry>)> = Vec::new();
        for entry in entries {
            let key = without_seed(&entry.config);
            match groups.iter_mut().find(|(known, _)| *known == key) {
                Some((_, members)) => members.push(entry),
                None => groups.push((key, vec![entry])),
            }
        }
        let mut rows: Vec<Row> = groups
            .iter()
            .map(|(config, members)| row(config, members))
            .collect();
        let key = |row: &Row| {
            (
                row.dataset,
                row.network.clone(),
                order_of(row.method),
                row.blocks.clone(),
            )
        };
        rows.sort_by_key(key);
        Self { rows }
    }

    /// As Markdown: our runs, then the paper's rows of the same data sets.
    pub fn to_markdown(&self) -> String {
        let mut text = String::from(
            "| data | network | method | blocks | error, % (mean ± sd, seeds) | by block, % | epochs | images (test) | parameters: stored | free | inference | published, % |\n\
             |---|---|---|---|--:|--:|--:|--:|--:|--:|--:|--:|\n",
        );
        for row in &self.rows {
            let counts = row.parameters;
            let _written = writeln!(
                text,
                "| {} | {} | {} | {} | {} | {} | {} | {} ({}) | {} | {} | {} | {} |",
                row.dataset.title(),
                row.network,
                row.method,
                row.blocks,
                spread(row),
                numbers(&row.by_block),
                row.epochs,
                thousands(row.n_training),
                thousands(row.n_test),
                thousands(counts.stored),
                thousands(counts.degrees_of_freedom),
                thousands(counts.composed - counts.auxiliary_heads),
                row.published_percent
                    .map_or("–".into(), |error| format!("{error:.2} (published)")),
            );
        }
        let datasets: std::collections::BTreeSet<Dataset> =
            self.rows.iter().map(|row| row.dataset).collect();
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
            "error_percent",
            "sd",
            "n_seeds",
            "by_block",
            "epochs",
            "n_training",
            "n_test",
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
                row.mean.to_string(),
                row.sd.map(|sd| sd.to_string()).unwrap_or_default(),
                row.error_percent.len().to_string(),
                row.by_block
                    .iter()
                    .map(ToString::to_string)
                    .collect::<Vec<_>>()
                    .join(" "),
                row.epochs.to_string(),
                row.n_training.to_string(),
                row.n_test.to_string(),
                counts.stored.to_string(),
                counts.degrees_of_freedom.to_string(),
                (counts.composed - counts.auxiliary_heads).to_string(),
            ])
            .map_err(failed)?;
        }
        let datasets: std::collections::BTreeSet<Dataset> =
            self.rows.iter().map(|row| row.dataset).collect();
        for row in ROWS.iter().filter(|row| datasets.contains(&row.dataset)) {
            for (network, error) in NETWORKS.iter().zip(row.error_percent) {
                let Some(error) = error else { continue };
                let mut record = vec![
                    "published".to_owned(),
                    row.dataset.title().to_owned(),
                    network.title().to_owned(),
                    row.method.to_owned(),
                    String::new(),
                    error.to_string(),
                ];
                record.resize(15, String::new());
                out.write_record(record).map_err(failed)?;
            }
        }
        let bytes = out
            .into_inner()
            .map_err(|error| Error::Data(error.to_string()))?;
        String::from_utf8(bytes).map_err(|error| Error::Data(error.to_string()))
    }
}

/// Whether two runs may stand in one row: their configs differ by seed, devices, checkpoints or the place of the data alone.
pub fn same_recipe(a: &VisionConfig, b: &VisionConfig) -> bool {
    without_seed(a) == without_seed(b)
}

/// The config without what may differ within a row.
fn without_seed(config: &VisionConfig) -> VisionConfig {
    let mut same = config.clone();
    same.train.seed.0 = 0;
    same.train.devices.clear();
    same.train.checkpoint.every_steps = 1;
    same.train.checkpoint.every_minutes = 0.0;
    same.train.checkpoint.keep = 1;
    same.data.root.clear();
    same
}

/// Form of the weights and regime, as the paper calls them.
fn method(config: &VisionConfig) -> &'static str {
    match (config.model.weights, config.train.regime) {
        (WeightForm::Dense, Regime::Backprop) => "BP",
        (WeightForm::Eigen, Regime::Backprop) => "ENN",
        (WeightForm::EigenFilters { .. }, Regime::Backprop) => "DeCEF",
        (WeightForm::EigenFilters { .. }, Regime::Local) => "local, eigen filters",
        (WeightForm::EigenFilters { .. }, Regime::DeepSupervision) => {
            "deep supervision, eigen filters"
        }
        (WeightForm::EigenFilters { .. }, Regime::DirectFeedback) => {
            "direct feedback, eigen filters"
        }
        (WeightForm::Dense, Regime::Local) => "local, dense",
        (WeightForm::Eigen, Regime::Local) => "ENN-ℓ",
        (WeightForm::Dense, Regime::DeepSupervision) => "deep supervision, dense",
        (WeightForm::Eigen, Regime::DeepSupervision) => "deep supervision, eigen",
        (WeightForm::Dense, Regime::DirectFeedback) => "direct feedback, dense",
        (WeightForm::Eigen, Regime::DirectFeedback) => "direct feedback, eigen",
    }
}

fn order_of(method: &str) -> usize {
    let known = [
        "BP",
        "ENN",
        "deep supervision, dense",
        "deep supervision, eigen",
        "local, dense",
        "ENN-ℓ",
    ];
    known
        .iter()
        .position(|name| *name == method)
        .unwrap_or(known.len())
}

fn row(config: &VisionConfig, members: &[&Entry]) -> Row {
    let model = &config.model;
    let errors: Vec<f64> = members
        .iter()
        .map(|entry| entry.evaluation.error_percent)
        .collect();
    let n = errors.len() as f64;
    let mean = errors.iter().sum::<f64>() / n;
    let sum_of_squares: f64 = errors.iter().map(|error| (error - mean).powi(2)).sum();
    let evaluations = || members.iter().map(|entry| &entry.evaluation);
    let n_blocks = evaluations()
        .map(|e| e.error_percent_by_block.len())
        .min()
        .unwrap_or(0);
    let of_block = |block: usize| {
        evaluations()
            .map(|e| e.error_percent_by_block[block])
            .sum::<f64>()
            / n
    };
    let is_whole = model.width == 1.0 && config.data.per_class == 0;
    let width = if model.width == 1.0 {
        String::new()
    } else {
        format!(" ×{}", model.width)
    };
    let blocks = match (config.train.regime, &model.cuts) {
        (Regime::Backprop | Regime::DirectFeedback, _) => String::new(),
        (_, Cuts::Named(name)) => format!("{} ({})", name_of(*name), heads_of(config)),
        (_, Cuts::Before(cuts)) => format!("{cuts:?} ({})", heads_of(config)),
    };
    let first = members.first().map(|entry| &entry.evaluation);
    Row {
        dataset: config.data.dataset,
        network: format!("{}{width}", model.name.title()),
        method: method(config),
        blocks,
        mean,
        sd: (errors.len() > 1).then(|| (sum_of_squares / (n - 1.0)).sqrt()),
        error_percent: errors,
        by_block: (0..n_blocks).map(of_block).collect(),
        epochs: config.train.epochs,
        n_training: first.map_or(0, |evaluation| evaluation.n_training),
        n_test: first.map_or(0, |evaluation| evaluation.n),
        parameters: first
            .map(|evaluation| evaluation.parameters)
            .unwrap_or_default(),
        published_percent: is_whole
            .then(|| published::error_percent(config.data.dataset, model.name, method(config)))
            .flatten(),
    }
}

fn name_of(cuts: NamedCuts) -> &'static str {
    match cuts {
        NamedCuts::Published => "stages",
        NamedCuts::Units => "units",
        NamedCuts::Balanced => "balanced",
    }
}

/// The heads that only train, and what they learn besides the classes.
fn heads_of(config: &VisionConfig) -> String {
    let heads = config.model.head.title();
    let auxiliary = config.train.auxiliary;
    let similarity = match auxiliary.similarity {
        0.0 => String::new(),
        share => format!(", similarity {share}"),
    };
    match config.train.regime {
        Regime::DeepSupervision if auxiliary.weight != 1.0 => {
            format!("{heads}{similarity}, weight {}", auxiliary.weight)
        }
        _ => format!("{heads}{similarity}"),
    }
}

fn spread(row: &Row) -> String {
    match row.sd {
        Some(sd) => format!("{:.2} ± {sd:.2} ({})", row.mean, row.error_percent.len()),
        None => format!("{:.2} (1)", row.mean),
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    use crate::vision::evaluation::Heads;

    const SMALL: &str = include_str!("../../configs/vision/cifar10-resnet18-small.toml");

    fn entry(changes: &[&str], error: f64) -> Entry {
        let changes: Vec<String> = changes.iter().map(|change| (*change).to_owned()).collect();
        Entry {
            config: VisionConfig::parse(SMALL, Path::new("small.toml"), &changes).unwrap(),
            evaluation: ClassifierEvaluation {
                n: 2000,
                heads: Heads::Last,
                error_percent: error,
                error_percent_from_block: vec![error, error],
                error_percent_by_block: vec![60.0, error],
                images_per_second: 1.0,
                n_training: 9000,
                parameters: ParameterCounts {
                    stored: 1_234_567,
                    degrees_of_freedom: 1_000_000,
                    composed: 1_000_100,
                    auxiliary_heads: 100,
                },
            },
        }
    }

    #[test]
    fn runs_of_one_recipe_are_one_row_with_mean_and_sd_over_seeds() {
        let entries = [
            entry(&["train.seed=1"], 30.0),
            entry(&["train.seed=2", "train.devices=[\"cpu:0\"]"], 32.0),
            entry(&["train.regime=backprop"], 25.0),
        ];
        let table = Table::of(&entries);
        assert_eq!(table.rows.len(), 2);
        let methods: Vec<&str> = table.rows.iter().map(|row| row.method).collect();
        assert_eq!(methods, ["ENN", "ENN-ℓ"]);
        let local = &table.rows[1];
        assert_eq!(
            (local.mean, local.by_block.as_slice()),
            (31.0, &[60.0, 31.0][..])
        );
        // √((1 + 1) / (2 − 1)).
        assert!((local.sd.unwrap() - 2.0_f64.sqrt()).abs() < 1e-12);
        assert_eq!(table.rows[0].sd, None);
        let text = table.to_markdown();
        assert!(
            text.contains("31.00 ± 1.41 (2)") && text.contains("1,234,567"),
            "{text}"
        );
    }

    #[test]
    fn a_published_figure_stands_only_beside_the_whole_network_and_is_marked() {
        let narrow = Table::of(&[entry(&["model.name=resnet50"], 30.0)]);
        assert_eq!(narrow.rows[0].published_percent, None);
        let whole = ["model.name=resnet50", "model.width=1.0", "data.per_class=0"];
        let table = Table::of(&[entry(&whole, 30.0)]);
        assert_eq!(table.rows[0].published_percent, Some(4.12));
        assert!(table.to_markdown().contains("4.12 (published)"));
        let csv = table.to_csv().unwrap();
        let lines: Vec<&str> = csv.lines().collect();
        // A heading, our row, and eleven published rows of three networks.
        assert_eq!(lines.len(), 1 + 1 + 33);
        assert!(lines[1].starts_with("runs,CIFAR-10,ResNet-50,ENN-ℓ"));
        assert!(
            lines[2..]
                .iter()
                .all(|line| line.starts_with("published,CIFAR-10,"))
        );
    }
}
