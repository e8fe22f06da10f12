//! Runs as a table: error by data set, network and method, over seeds; published figures beside them, marked as such.

mod chart;
mod text;

use serde::Serialize;

use super::config::VisionConfig;
use super::dataset::Dataset;
use super::evaluation::ClassifierEvaluation;
use super::published;
use crate::models::head::HeadKind;
use crate::models::{ParameterCounts, Regime};
use crate::nn::weight::WeightForm;
use crate::nn::weight_penalty::WeightPenalty;
use crate::study::cost::Cost;
use crate::study::figures::{mean_and_sd, mean_of};
use crate::study::names::{blocks_of, method, order_of};
use crate::study::recipe::by_recipe;
use crate::study::settings::{Settings, different, settings};

/// Keys that columns of this table show.
const SHOWN: [&str; 3] = ["data.dataset", "model.name", "model.width"];

/// A finished run.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its config.
    pub config: VisionConfig,
    /// What came of it.
    pub evaluation: ClassifierEvaluation,
    /// What it cost.
    pub cost: Cost,
}

/// Runs that differ by their seeds alone.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// Data set.
    pub dataset: Dataset,
    /// Network with its width, such as `ResNet-50 ×0.25`.
    pub network: String,
    /// Method: a name of `train.method`, or form of the weights and regime as the paper calls them.
    pub method: &'static str,
    /// Where the network was cut, and the heads of its blocks; empty for backprop.
    pub blocks: String,
    /// Settings that no other column shows and that not all rows have alike, such as `train.orthogonality.weight=0.001`.
    pub settings: String,
    /// Errors on the test images by seed, percent.
    pub error_percent: Vec<f64>,
    /// Their mean.
    pub mean: f64,
    /// Their standard deviation; none for a single run.
    pub sd: Option<f64>,
    /// Mean error of each block's head.
    pub by_block: Vec<f64>,
    /// Mean error of all heads together; none where there is one head, or where evaluations don't tell it.
    pub together: Option<f64>,
    /// Passes over the training images.
    pub epochs: u64,
    /// Training images.
    pub n_training: usize,
    /// Test images.
    pub n_test: usize,
    /// What a run cost.
    #[serde(flatten)]
    pub cost: Cost,
    /// How many times as fast a step is as that of backprop through dense weights, where the table has such runs of the same
    /// network on images of one side in batches of one size. Each run is measured on its own devices; times of runs that
    /// shared them with others say little.
    pub speed_up: Option<f64>,
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
        let groups = by_recipe(entries, |entry| &entry.config);
        let settings: Vec<Settings> = groups
            .iter()
            .map(|(config, _)| settings(config, &SHOWN))
            .collect();
        let mut rows: Vec<Row> = groups
            .iter()
            .zip(&settings)
            .map(|((config, members), own)| row(config, members, different(own, &settings)))
            .collect();
        let seconds: Vec<Option<f64>> = rows.iter().map(|row| row.cost.seconds_per_step).collect();
        for (row, (config, _)) in rows.iter_mut().zip(&groups) {
            let rivals = groups.iter().zip(&seconds);
            let rivals =
                rivals.filter(|((rival, _), _)| is_plain(rival) && same_work(rival, config));
            let rival = mean_of(rivals.filter_map(|(_, seconds)| *seconds));
            let pair = rival.zip(row.cost.seconds_per_step);
            row.speed_up = pair.map(|(rival, own)| rival / own);
        }
        let key = |row: &Row| {
            (
                row.dataset,
                row.network.clone(),
                order_of(row.method),
                row.blocks.clone(),
                row.settings.clone(),
            )
        };
        rows.sort_by_key(key);
        Self { rows }
    }
}

/// Backprop through dense weights and nothing else.
fn is_plain(config: &VisionConfig) -> bool {
    config.model.weights == WeightForm::Dense
        && config.train.regime == Regime::Backprop
        && config.train.penalty == WeightPenalty::None
        && config.model.last_head == HeadKind::last_of_images()
}

/// Whether a step takes as many images of the same size through the same trunk.
fn same_work(a: &VisionConfig, b: &VisionConfig) -> bool {
    let network =
        |config: &VisionConfig| (config.model.name, config.model.stem, config.model.width);
    let step = |config: &VisionConfig| {
        let (data, train) = (&config.data, &config.train);
        (data.dataset, data.side, train.batch_size, train.accumulate)
    };
    network(a) == network(b) && step(a) == step(b)
}

fn row(config: &VisionConfig, members: &[&Entry], settings: String) -> Row {
    let model = &config.model;
    let errors: Vec<f64> = members
        .iter()
        .map(|entry| entry.evaluation.error_percent)
        .collect();
    let n = errors.len() as f64;
    let (mean, sd) = mean_and_sd(&errors);
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
    let width = if model.width == 1.0 {
        String::new()
    } else {
        format!(" ×{}", model.width)
    };
    let blocks = blocks_of(&config.train, &model.cuts, model.head);
    let method = method(&config.train, model.weights);
    let first = members.first().map(|entry| &entry.evaluation);
    let n_training = first.map_or(0, |evaluation| evaluation.n_training);
    Row {
        dataset: config.data.dataset,
        network: format!("{}{width}", model.name.title()),
        method,
        blocks,
        settings,
        mean,
        sd,
        error_percent: errors,
        by_block: (0..n_blocks).map(of_block).collect(),
        together: mean_of(
            evaluations()
                .filter(|evaluation| evaluation.error_percent_from_block.len() > 1)
                .map(|evaluation| evaluation.error_percent_from_block[0]),
        ),
        epochs: config.train.epochs,
        n_training,
        n_test: first.map_or(0, |evaluation| evaluation.n),
        cost: Cost::of_runs(&members.iter().map(|entry| entry.cost).collect::<Vec<_>>()),
        speed_up: None,
        parameters: first
            .map(|evaluation| evaluation.parameters)
            .unwrap_or_default(),
        published_percent: is_whole(config, n_training)
            .then(|| published::error_percent(config.data.dataset, model.name, method))
            .flatten(),
    }
}

/// Whether a whole network learned from all images that are not held out. Those are drawn one by one, so their share is about
/// that of the config.
fn is_whole(config: &VisionConfig, n_training: usize) -> bool {
    let learning = 1.0 - config.data.validation;
    let has_all = |n: usize| n_training as f64 > 0.98 * learning * n as f64;
    config.model.width == 1.0 && published::n_training(config.data.dataset).is_some_and(has_all)
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
            cost: Cost::default(),
        }
    }

    /// A ResNet-50 that learned from all of CIFAR-10.
    fn whole(changes: &[&str]) -> Entry {
        let network = ["model.name=resnet50", "model.width=1.0"];
        let mut entry = entry(&[&network[..], changes].concat(), 30.0);
        entry.evaluation.n_training = 45_100;
        entry
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
            text.contains("| 31.00 ± 1.41 (2) | 30.00 32.00 |") && text.contains("1,234,567"),
            "{text}"
        );
    }

    #[test]
    fn a_step_is_compared_with_that_of_dense_backprop_of_the_same_network() {
        let timed = |changes: &[&str], seconds| Entry {
            cost: Cost {
                seconds_per_step: Some(seconds),
                cpu_seconds_per_step: Some(2.0 * seconds),
                peak_memory_bytes: Some(123_456_789),
            },
            ..entry(changes, 30.0)
        };
        let plain = ["train.regime=backprop", "model.weights=dense"];
        let lambda = "train.orthogonality.weight=0.01";
        let table = Table::of(&[
            timed(&[&plain[..], &["train.seed=1"]].concat(), 2.0),
            timed(&[&plain[..], &["train.seed=2"]].concat(), 4.0),
            // Of another penalty, which changes nothing for the rival; and of another network, which has none.
            timed(&[lambda], 1.5),
            timed(&["model.width=0.25"], 1.0),
        ]);
        let found: Vec<(&str, Option<f64>)> =
            table.rows.iter().map(|r| (r.method, r.speed_up)).collect();
        // (2 + 4) / 2 = 3 s of the rival.
        assert_eq!(
            found,
            [("BP", Some(1.0)), ("ENN-ℓ", Some(2.0)), ("ENN-ℓ", None)]
        );
        assert!(
            table.rows[1].settings.contains(lambda),
            "{}",
            table.rows[1].settings
        );
        let text = table.to_markdown();
        assert!(
            text.contains("| 3.000 | 6.000 | 123 | 1.00 |")
                && text.contains("| 1.500 | 3.000 | 123 | 2.00 |"),
            "{text}"
        );
        let csv = table.to_csv().unwrap();
        let heading: Vec<&str> = csv.lines().next().unwrap().split(',').collect();
        let place = |name| heading.iter().position(|column| *column == name).unwrap();
        let first: Vec<&str> = csv.lines().nth(1).unwrap().split(',').collect();
        assert_eq!(first[place("cpu_seconds_per_step")], "6");
        assert_eq!(first[place("peak_memory_bytes")], "123456789");
        assert_eq!(first.len(), heading.len());
    }

    #[test]
    fn rows_say_what_settings_they_do_not_share_and_heads_of_backprop_make_no_row() {
        let table = Table::of(&[
            entry(&["train.regime=backprop", "model.head=gap-linear"], 20.0),
            entry(&["train.regime=backprop", "train.seed=2"], 22.0),
            entry(&["train.method=dgl"], 30.0),
            entry(&["train.method=srip"], 25.0),
        ]);
        let found: Vec<(&str, &str)> = table
            .rows
            .iter()
            .map(|r| (r.method, r.settings.as_str()))
            .collect();
        let expected = [
            (
                "SRIP",
                "train.penalty.srip.falls=true, train.penalty.srip.weight=0.01",
            ),
            ("ENN", ""),
            ("DGL", ""),
        ];
        assert_eq!(found, expected);
        assert_eq!(table.rows[1].error_percent, [20.0, 22.0]);
    }

    #[test]
    fn a_figure_names_each_row_and_marks_what_is_published() {
        let rows = [whole(&[]), whole(&["train.method=backprop"])];
        let svg = Table::of(&rows).to_svg().unwrap();
        for part in [
            "<svg",
            "CIFAR-10 · ResNet-50",
            "ENN-ℓ · stages",
            "30.00",
            "published, quoted",
            "</svg>",
        ] {
            assert!(svg.contains(part), "{part}: {svg}");
        }
        // Both rows have a published error, in a color of its own.
        assert_eq!(svg.matches("#D55E00").count(), 2, "{svg}");
    }

    #[test]
    fn a_published_figure_stands_only_beside_the_whole_network_and_is_marked() {
        let mut of_a_part = whole(&[]);
        of_a_part.evaluation.n_training = 9000;
        for part in [whole(&["model.width=0.5"]), of_a_part] {
            assert_eq!(Table::of(&[part]).rows[0].published_percent, None);
        }
        let table = Table::of(&[whole(&[])]);
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
