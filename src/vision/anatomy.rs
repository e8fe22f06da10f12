//! What a trained classifier looks like inside: singular values of its weight matrices, how correlated the channels of its
//! features are, and how far its bases are from orthonormal ones.
//!
//! Matrices are those of the folded network, W = Q·diag(Λ)·Pᵀ where weights are factorized: their singular values are the |Λ|
//! as far as Q and P are orthonormal.

use burn::tensor::{Tensor, TensorData};
use nalgebra::DMatrix;
use serde::Serialize;

use super::source::ImageSamples;
use crate::Error;
use crate::data::batch::BatchSource as _;
use crate::engine::device::Lane;
use crate::engine::event::Event;
use crate::models::Network;
use crate::nn::pass::Pass;
use crate::nn::pool3d::global_average;

/// Singular values of a weight matrix.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Spectrum {
    /// Its place, such as `block.0.units.1.layers.0.convolution`; units are numbered within their block.
    pub layer: String,
    /// Outputs.
    pub rows: usize,
    /// Inputs, times the voxels of a kernel.
    pub columns: usize,
    /// Falling.
    pub singular_values: Vec<f64>,
}

/// How correlated the channels of the features before a head are over images, each channel averaged over its positions.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Correlation {
    /// From 1.
    pub head: usize,
    /// Channels that are not the same for all images.
    pub n_channels: usize,
    /// Mean of |r| over all pairs of them; 0: no two of them say the same.
    pub mean_absolute: f64,
    /// exp of the entropy of the eigenvalues of the correlation matrix, by the number of channels (Roy & Vetterli, EUSIPCO 2007):
    /// 1 where all are independent.
    pub effective_rank_share: f64,
}

/// How far the bases of a block are from orthonormal ones, see [`crate::nn::weight::Weight::orthogonality_error`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Orthogonality {
    /// From 1.
    pub block: usize,
    /// Factorized layers.
    pub n_layers: usize,
    /// Mean over them.
    pub mean: f64,
    /// That of the worst.
    pub largest: f64,
}

impl Spectrum {
    /// Largest over smallest.
    pub fn condition(&self) -> f64 {
        let smallest = self.singular_values.last().copied().unwrap_or(f64::NAN);
        self.singular_values.first().copied().unwrap_or(f64::NAN) / smallest
    }

    /// Σσ²/max σ²: how many directions carry the matrix.
    pub fn stable_rank(&self) -> f64 {
        let largest = self.singular_values.first().copied().unwrap_or(f64::NAN);
        let squares: f64 = self.singular_values.iter().map(|value| value.powi(2)).sum();
        squares / largest.powi(2)
    }
}

/// Spectra of all weight matrices of a folded network, heads included, in the order of their places.
pub fn spectra(network: &Network) -> Vec<Spectrum> {
    let tensors = network.tensors().into_iter();
    let matrices = tensors.filter_map(|(name, data)| {
        let layer = place_of(name.strip_suffix(".weight.Dense.matrix")?);
        let [rows, columns] = <[usize; 2]>::try_from(data.shape().to_vec()).ok()?;
        let values = data.try_into_vec::<f32>().ok()?;
        let values = values.into_iter().map(f64::from);
        Some(Spectrum {
            layer,
            rows,
            columns,
            singular_values: singular_values(DMatrix::from_row_iterator(rows, columns, values)),
        })
    });
    let mut spectra: Vec<Spectrum> = matrices.collect();
    spectra.sort_by(|a, b| natord::compare(&a.layer, &b.layer));
    spectra
}

/// A path within the network without the kinds of units, which stand in it in capitals.
fn place_of(path: &str) -> String {
    let is_kind = |part: &str| part.starts_with(|c: char| c.is_ascii_uppercase());
    let parts = path.split('.').filter(|part| !is_kind(part));
    parts.collect::<Vec<_>>().join(".")
}

/// As bases were at the end of the last epoch that a log tells of; none for blocks without factorized layers.
pub fn orthogonality(events: &[Event]) -> Vec<Orthogonality> {
    let of_epoch = |event: &Event| match event {
        Event::Epoch {
            orthogonality_error,
            ..
        } => Some(orthogonality_error.clone()),
        Event::Step { .. } | Event::Validation { .. } | Event::Checkpoint { .. } => None,
    };
    let last = events.iter().rev().find_map(of_epoch).unwrap_or_default();
    let blocks = last
        .iter()
        .enumerate()
        .filter(|(_, errors)| !errors.is_empty());
    let orthogonality = blocks.map(|(number, errors)| Orthogonality {
        block: number + 1,
        n_layers: errors.len(),
        mean: errors.iter().sum::<f64>() / errors.len() as f64,
        largest: errors.iter().copied().fold(0.0, f64::max),
    });
    orthogonality.collect()
}

/// Spectra as comma-separated values with a heading: a line for each singular value.
///
/// # Errors
/// [`Error::Data`] where a line cannot be made.
pub fn to_csv(spectra: &[Spectrum]) -> Result<String, Error> {
    let failed = |error: csv::Error| Error::Data(error.to_string());
    let mut out = csv::Writer::from_writer(Vec::new());
    out.write_record(["layer", "rows", "columns", "number", "singular_value"])
        .map_err(failed)?;
    for spectrum in spectra {
        for (number, value) in spectrum.singular_values.iter().enumerate() {
            let Spectrum { rows, columns, .. } = spectrum;
            out.serialize((&spectrum.layer, rows, columns, number + 1, value))
                .map_err(failed)?;
        }
    }
    let bytes = out
        .into_inner()
        .map_err(|error| Error::Data(error.to_string()))?;
    String::from_utf8(bytes).map_err(|error| Error::Data(error.to_string()))
}

/// Falling. The longer side is first reduced by QR.
fn singular_values(matrix: DMatrix<f64>) -> Vec<f64> {
    let tall = if matrix.nrows() < matrix.ncols() {
        matrix.transpose()
    } else {
        matrix
    };
    let triangle = tall.qr().unpack_r();
    let mut values: Vec<f64> = triangle.singular_values().iter().copied().collect();
    values.sort_by(|a, b| b.total_cmp(a));
    values
}

/// Correlations at each head over images, decoded in batches.
///
/// # Errors
/// Where an image cannot be read, or there are fewer than two.
pub fn correlations(
    network: &Network,
    images: &ImageSamples,
    batch_size: usize,
    lane: &Lane,
) -> Result<Vec<Correlation>, Error> {
    let all: Vec<usize> = (0..images.len()).collect();
    if all.len() < 2 {
        return Err(Error::Data(
            "fewer than two images, nothing to correlate".into(),
        ));
    }
    let mut by_head: Vec<Vec<f64>> = vec![Vec::new(); network.n_heads()];
    for members in all.chunks(batch_size.max(1)) {
        let batch = images.batch(members, None)?;
        let input = batch.volumes.to_device(&lane.device);
        let features = lane.pool.install(|| pooled(network, input));
        for (sums, features) in by_head.iter_mut().zip(features) {
            sums.extend(features);
        }
    }
    let n_images = all.len();
    let numbered = by_head.into_iter().enumerate();
    let of_head = numbered.map(|(head, values)| {
        let channels = values.len() / n_images;
        let matrix = DMatrix::from_row_iterator(n_images, channels, values);
        correlation(head + 1, &matrix)
    });
    Ok(of_head.collect())
}

/// For each head `[batch, channels]`, row by row.
fn pooled(network: &Network, input: Tensor<5>) -> Vec<Vec<f64>> {
    let mut features = input;
    let mut by_head = Vec::with_capacity(network.n_heads());
    for block in &network.blocks {
        let of_heads = block.forward_to_heads(features.clone(), &mut Pass::Inference);
        features = match (block.denoising(), of_heads.last()) {
            (None, Some(last)) => last.clone(),
            _ => block.forward(features, &mut Pass::Inference),
        };
        for features in of_heads {
            let data: TensorData = global_average(features).into_data();
            let values = data.try_into_vec::<f32>().unwrap_or_default();
            by_head.push(values.into_iter().map(f64::from).collect());
        }
    }
    by_head
}

/// `[images, channels]`.
fn correlation(head: usize, features: &DMatrix<f64>) -> Correlation {
    let n = features.nrows() as f64;
    let columns = features.column_iter().filter_map(|column| {
        let centred = column.add_scalar(-column.sum() / n);
        let length = centred.norm();
        // What all images have alike correlates with nothing.
        (length > 1e-9 * (1.0 + column.norm())).then(|| centred / length)
    });
    let columns: Vec<_> = columns.collect();
    let n_channels = columns.len();
    if n_channels < 2 {
        return Correlation {
            head,
            n_channels,
            mean_absolute: 0.0,
            effective_rank_share: 1.0,
        };
    }
    let unit = DMatrix::from_columns(&columns);
    let matrix = unit.transpose() * &unit;
    let sum: f64 = matrix.iter().map(|r| r.abs()).sum::<f64>() - n_channels as f64;
    let eigenvalues = matrix.symmetric_eigenvalues();
    let shares = eigenvalues
        .iter()
        .map(|value| value.max(0.0) / n_channels as f64);
    let entropy: f64 = shares
        .filter(|share| *share > 0.0)
        .map(|share| -share * share.ln())
        .sum();
    Correlation {
        head,
        n_channels,
        mean_absolute: sum / (n_channels * (n_channels - 1)) as f64,
        effective_rank_share: entropy.exp() / n_channels as f64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::seed::Seed;
    use crate::models::{NetworkDraw, Regime};
    use crate::vision::config::VisionConfig;
    use burn::tensor::Device;

    #[test]
    fn singular_values_of_a_wide_matrix_are_those_of_the_textbook() {
        // Rows (3, 0, 0) and (0, 0, −4): 4 and 3.
        let matrix = DMatrix::from_row_slice(2, 3, &[3.0, 0.0, 0.0, 0.0, 0.0, -4.0]);
        let spectrum = Spectrum {
            layer: "x".into(),
            rows: 2,
            columns: 3,
            singular_values: singular_values(matrix),
        };
        let [a, b] = spectrum.singular_values[..] else {
            panic!("two of them");
        };
        assert!((a - 4.0).abs() < 1e-12 && (b - 3.0).abs() < 1e-12);
        assert!((spectrum.condition() - 4.0 / 3.0).abs() < 1e-12);
        assert!((spectrum.stable_rank() - 25.0 / 16.0).abs() < 1e-12);
    }

    #[test]
    fn channels_that_say_the_same_correlate_and_those_that_do_not_are_independent() {
        // The second column is the first one upside down, the third is orthogonal to both, the fourth is constant.
        let rows = [
            [1.0, -2.0, 1.0, 5.0],
            [2.0, -4.0, -1.0, 5.0],
            [3.0, -6.0, -1.0, 5.0],
            [4.0, -8.0, 1.0, 5.0],
        ];
        let found = correlation(1, &DMatrix::from_row_slice(4, 4, &rows.concat()));
        assert_eq!(found.n_channels, 3);
        // One pair of three.
        assert!((found.mean_absolute - 1.0 / 3.0).abs() < 1e-12, "{found:?}");
        // Eigenvalues 2, 1, 0.
        let third = 1.0_f64 / 3.0;
        let entropy = -2.0 * third * (2.0 * third).ln() - third * third.ln();
        assert!(
            (found.effective_rank_share - entropy.exp() / 3.0).abs() < 1e-9,
            "{found:?}"
        );
    }

    #[test]
    fn a_folded_network_has_the_singular_values_that_its_factors_have() {
        let text = include_str!("../../configs/vision/cifar10-resnet18-small.toml");
        let changes = ["model.width=0.0625".to_owned()];
        let config = VisionConfig::parse(text, "small.toml".as_ref(), &changes).unwrap();
        let draw = NetworkDraw {
            n_outputs: 10,
            regime: Regime::Local,
            seed: Seed(1),
            device: &Device::flex(),
        };
        let network = config.model.network(16, draw).unwrap();
        let found = spectra(&network.fold());
        let factors = network.tensors().into_iter();
        let mut lambdas: Vec<(String, Vec<f32>)> = factors
            .filter_map(|(name, data)| {
                let layer = place_of(name.strip_suffix(".weight.Eigen.lambda")?);
                Some((layer, data.try_into_vec().unwrap()))
            })
            .collect();
        lambdas.sort_by(|a, b| natord::compare(&a.0, &b.0));
        assert!(found.len() > 20);
        assert_eq!(found.len(), lambdas.len());
        for (spectrum, (layer, mut lambda)) in found.iter().zip(lambdas) {
            assert_eq!(spectrum.layer, layer);
            lambda.sort_by(|a, b| b.total_cmp(a));
            assert_eq!(spectrum.singular_values.len(), lambda.len());
            let largest = f64::from(lambda[0]);
            for (value, lambda) in spectrum.singular_values.iter().zip(lambda) {
                // Single precision of factors and matrix.
                assert!(
                    (value - f64::from(lambda).abs()).abs() < 1e-5 * largest,
                    "{layer}"
                );
            }
        }
        let csv = to_csv(&found).unwrap();
        let n_values: usize = found
            .iter()
            .map(|spectrum| spectrum.singular_values.len())
            .sum();
        assert_eq!(csv.lines().count(), 1 + n_values);
        assert!(
            csv.starts_with("layer,rows,columns,number,singular_value\nblock.0.head."),
            "{csv}"
        );
    }

    #[test]
    fn bases_are_told_of_as_the_last_epoch_left_them() {
        let epoch = |epoch: u64, orthogonality_error: Vec<Vec<f64>>| Event::Epoch {
            epoch,
            step: epoch + 1,
            mae_years: Vec::new(),
            error_percent: Vec::new(),
            orthogonality_error,
            data_wait_share: 0.0,
            busy_share: Vec::new(),
            queue_fill: Vec::new(),
            seconds_per_step: None,
            cpu_seconds_per_step: None,
            peak_memory_bytes: None,
        };
        let events = [
            epoch(0, vec![vec![9.0], vec![9.0]]),
            epoch(1, vec![Vec::new(), vec![0.25, 0.75]]),
            Event::Checkpoint { step: 2 },
        ];
        let expected = Orthogonality {
            block: 2,
            n_layers: 2,
            mean: 0.5,
            largest: 0.75,
        };
        assert_eq!(orthogonality(&events), [expected]);
        assert!(orthogonality(&[]).is_empty());
    }
}
