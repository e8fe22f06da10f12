//! Figures of the method's paper, tables 1, 2 and 4 (Cheng et al., arXiv 2508.01219), to stand beside those of runs.
//!
//! They are quoted, not measured: recipes differ between rows (500 to 1500 epochs for the paper's own rows, other and
//! shorter ones for those taken over from other papers), and the best of all epochs on the test set was reported.

use super::dataset::Dataset;
use crate::models::ImageModelName;

/// Networks of the columns.
pub const NETWORKS: [ImageModelName; 3] = [
    ImageModelName::ResNet50,
    ImageModelName::ResNet101,
    ImageModelName::ResNet152,
];

/// A published row: top-1 test errors of the [`NETWORKS`], percent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PublishedRow {
    /// Data set.
    pub dataset: Dataset,
    /// As the paper calls it.
    pub method: &'static str,
    /// By network; `None` where the paper has none.
    pub error_percent: [Option<f64>; 3],
}

const fn row(dataset: Dataset, method: &'static str, errors: [f64; 3]) -> PublishedRow {
    let [a, b, c] = errors;
    PublishedRow {
        dataset,
        method,
        error_percent: [Some(a), Some(b), Some(c)],
    }
}

use Dataset::{Cifar10, Cifar100, Imagenet, TinyImagenet};

/// All of them.
#[expect(
    clippy::approx_constant,
    reason = "6.28 is a published error, no part of a circle"
)]
pub const ROWS: [PublishedRow; 36] = [
    row(Cifar10, "BP", [7.99, 7.14, 6.35]),
    row(Cifar10, "OCNN", [7.79, 7.57, 6.40]),
    row(Cifar10, "DeCEF", [7.13, 7.07, 6.63]),
    row(Cifar10, "DropCov", [7.11, 7.09, 6.65]),
    row(Cifar10, "SRIP", [7.87, 7.55, 6.28]),
    row(Cifar10, "ENN", [7.06, 7.02, 5.96]),
    row(Cifar10, "BLL", [5.40, 5.12, 4.98]),
    row(Cifar10, "SEDONA", [7.53, 6.59, 6.13]),
    row(Cifar10, "DGL", [8.27, 8.30, 6.39]),
    row(Cifar10, "BWBPF", [4.85, 4.53, 4.48]),
    row(Cifar10, "ENN-ℓ", [4.12, 3.89, 3.74]),
    row(Cifar100, "BP", [32.94, 30.70, 29.18]),
    row(Cifar100, "OCNN", [26.47, 25.69, 22.06]),
    row(Cifar100, "DeCEF", [28.24, 25.16, 22.20]),
    row(Cifar100, "DropCov", [28.74, 24.96, 20.94]),
    row(Cifar100, "SRIP", [26.03, 25.14, 21.94]),
    row(Cifar100, "ENN", [25.78, 24.82, 20.20]),
    row(Cifar100, "BLL", [32.10, 31.74, 30.30]),
    row(Cifar100, "SEDONA", [30.33, 29.87, 28.67]),
    row(Cifar100, "DGL", [31.93, 31.24, 29.94]),
    row(Cifar100, "BWBPF", [29.88, 29.76, 28.79]),
    row(Cifar100, "ENN-ℓ", [27.58, 27.04, 26.11]),
    row(TinyImagenet, "BP", [46.54, 44.50, 39.18]),
    row(TinyImagenet, "BLL", [45.06, 44.86, 44.33]),
    row(TinyImagenet, "SEDONA", [45.60, 40.88, 35.90]),
    row(TinyImagenet, "DGL", [46.04, 46.20, 42.36]),
    row(TinyImagenet, "BWBPF", [35.83, 35.28, 35.01]),
    row(TinyImagenet, "ENN-ℓ", [33.75, 33.96, 33.42]),
    row(Imagenet, "BP", [26.71, 21.62, 21.40]),
    row(Imagenet, "OCNN", [24.36, 18.73, 17.17]),
    row(Imagenet, "DeCEF", [23.39, 17.50, 17.00]),
    row(Imagenet, "DropCov", [21.81, 20.49, 17.74]),
    row(Imagenet, "SRIP", [26.10, 18.94, 16.88]),
    row(Imagenet, "ENN", [20.30, 16.06, 15.57]),
    PublishedRow {
        dataset: Imagenet,
        method: "BWBPF",
        error_percent: [None, Some(20.92), Some(20.08)],
    },
    PublishedRow {
        dataset: Imagenet,
        method: "ENN-ℓ",
        error_percent: [None, Some(17.45), Some(17.11)],
    },
];

/// What the paper has for a method on a whole network.
pub fn error_percent(dataset: Dataset, network: ImageModelName, method: &str) -> Option<f64> {
    let column = NETWORKS.iter().position(|known| *known == network)?;
    let row = ROWS
        .iter()
        .find(|row| row.dataset == dataset && row.method == method)?;
    row.error_percent[column]
}

/// Training images of a whole data set; none for folders, which are whole by themselves.
pub fn n_training(dataset: Dataset) -> Option<usize> {
    match dataset {
        Cifar10 | Cifar100 => Some(50_000),
        TinyImagenet => Some(100_000),
        Imagenet => Some(1_281_167),
        Dataset::Folder => None,
    }
}
