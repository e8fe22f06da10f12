//! How a classifier does on images, and how fast.

use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::Instant;

use brainage_pipelines::atomic::write_atomically;
use burn::tensor::{Tensor, activation::softmax};
use serde::{Deserialize, Serialize};

use super::model_file::Classifier;
use super::source::ImageSamples;
use crate::Error;
use crate::data::batch::{Batch, BatchSource as _};
use crate::engine::classes::ClassTarget;
use crate::engine::device::Lane;
use crate::engine::target::Metric;
use crate::models::ParameterCounts;

/// Threads that decode images while the network works on others.
const MOST_THREADS: usize = 8;

/// Whose answer counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Heads {
    /// The last head's.
    #[default]
    Last,
    /// That of all heads: the likeliest class by the mean of what they give each class.
    Ensemble,
}

/// `evaluation.json` of a classifier.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClassifierEvaluation {
    /// Images.
    pub n: usize,
    /// Whose error comes next; the last head's in files of earlier versions.
    #[serde(default)]
    pub heads: Heads,
    /// Share that is taken for another class, percent.
    pub error_percent: f64,
    /// The same for each head by itself, first block first.
    pub error_percent_by_block: Vec<f64>,
    /// The same for a head and all later ones together, by the mean of what they give each class; the first is that of all
    /// heads, the last that of the last head alone. None in files of earlier versions.
    #[serde(default)]
    pub error_percent_from_block: Vec<f64>,
    /// Decoded and classified in a second.
    pub images_per_second: f64,
    /// Images that it learned from.
    pub n_training: usize,
    /// Numbers of the network as it was trained.
    pub parameters: ParameterCounts,
}

impl ClassifierEvaluation {
    /// Writes it as JSON.
    ///
    /// # Errors
    /// What the file system answered.
    pub fn write(&self, path: &Path) -> Result<(), Error> {
        write_atomically(path, |out| {
            serde_json::to_writer_pretty(out, self).map_err(std::io::Error::other)
        })?;
        Ok(())
    }

    /// Reads it back.
    ///
    /// # Errors
    /// [`Error::Io`] where it cannot be read, [`Error::Run`] where it is none.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let text = fs_err::read_to_string(path)?;
        serde_json::from_str(&text).map_err(|error| Error::Run {
            path: path.to_path_buf(),
            message: format!("not the evaluation of a classifier ({error})"),
        })
    }
}

/// Sums of errors over images, by head.
struct ErrorSums {
    alone: Vec<f64>,
    /// With all later heads.
    together: Vec<f64>,
}

/// Classifies images in batches on a device; other threads decode the next ones.
///
/// # Errors
/// Where there is no image, or one cannot be read.
pub fn evaluate(
    classifier: &Classifier,
    images: &ImageSamples,
    batch_size: usize,
    heads: Heads,
    lane: &Lane,
) -> Result<ClassifierEvaluation, Error> {
    let n = images.len();
    if n == 0 {
        return Err(Error::Data("the data set has no test images here".into()));
    }
    let all: Vec<usize> = (0..n).collect();
    let batches: Vec<&[usize]> = all.chunks(batch_size.max(1)).collect();
    let n_threads = crate::engine::device::n_cores().clamp(1, MOST_THREADS);
    let clock = Instant::now();
    let n_heads = classifier.network.n_heads();
    let mut sums = ErrorSums {
        alone: vec![0.0; n_heads],
        together: vec![0.0; n_heads],
    };
    thread::scope(|scope| {
        let mut ready = Vec::with_capacity(n_threads);
        for number in 0..n_threads {
            let (hand_over, receiver) = mpsc::sync_channel(1);
            let own: Vec<&[usize]> = batches
                .iter()
                .skip(number)
                .step_by(n_threads)
                .copied()
                .collect();
            scope.spawn(move || {
                for members in own {
                    if hand_over.send(images.batch(members, None)).is_err() {
                        return;
                    }
                }
            });
            ready.push(receiver);
        }
        for number in 0..batches.len() {
            let batch = ready[number % n_threads].recv();
            let batch = batch.unwrap_or_else(|_| Err(Error::Data("no batch is left".into())))?;
            lane.pool
                .install(|| add_errors(classifier, batch, lane, &mut sums));
        }
        Ok::<_, Error>(())
    })?;
    let seconds = clock.elapsed().as_secs_f64();
    let means = |sums: Vec<f64>| -> Vec<f64> { sums.iter().map(|sum| sum / n as f64).collect() };
    let (by_block, from_block) = (means(sums.alone), means(sums.together));
    let of_whom = match heads {
        Heads::Last => by_block.last(),
        Heads::Ensemble => from_block.first(),
    };
    Ok(ClassifierEvaluation {
        n,
        heads,
        error_percent: of_whom.copied().unwrap_or(f64::NAN),
        error_percent_by_block: by_block,
        error_percent_from_block: from_block,
        images_per_second: n as f64 / seconds,
        n_training: classifier.facts.n_training,
        parameters: classifier.parameters,
    })
}

fn add_errors(classifier: &Classifier, batch: Batch, lane: &Lane, sums: &mut ErrorSums) {
    let outputs = classifier
        .network
        .outputs(batch.volumes.to_device(&lane.device));
    let error_sum = |outputs: Tensor<2>| -> f64 {
        let estimates = ClassTarget::estimates(outputs)
            .into_iter()
            .zip(&batch.truths);
        estimates
            .map(|(estimate, truth)| Metric::WrongPercent.error(estimate, *truth))
            .sum()
    };
    let together = means_from_each(&outputs).into_iter();
    for ((outputs, together), (alone, of_all)) in outputs
        .into_iter()
        .zip(together)
        .zip(sums.alone.iter_mut().zip(&mut sums.together))
    {
        *alone += error_sum(outputs);
        *of_all += error_sum(together);
    }
}

/// For each head the mean of its softmax and those of all later heads.
///
/// # Shapes
/// `[batch, n_classes]` each.
fn means_from_each(outputs: &[Tensor<2>]) -> Vec<Tensor<2>> {
    let mut sum: Option<Tensor<2>> = None;
    let mut means: Vec<Tensor<2>> = Vec::with_capacity(outputs.len());
    for outputs in outputs.iter().rev() {
        let shares = softmax(outputs.clone(), 1);
        let total = match sum.take() {
            Some(sum) => sum + shares,
            None => shares,
        };
        means.push(total.clone() / (means.len() + 1) as f64);
        sum = Some(total);
    }
    means.reverse();
    means
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    #[test]
    fn heads_together_give_each_class_the_mean_of_what_they_give_it_alone() {
        let device = Device::flex();
        let shares = [[0.5_f32, 0.3, 0.2], [0.1, 0.7, 0.2], [0.1, 0.2, 0.7]];
        let logits = shares.map(|row| Tensor::<2>::from_data([row.map(f32::ln)], &device));
        let means: Vec<Vec<f32>> = means_from_each(&logits)
            .into_iter()
            .map(|mean| mean.into_data().try_into_vec().unwrap())
            .collect();
        let expected = [
            [0.7 / 3.0, 1.2 / 3.0, 1.1 / 3.0],
            [0.1, 0.45, 0.45],
            [0.1, 0.2, 0.7],
        ];
        for (found, expected) in means.concat().iter().zip(expected.concat()) {
            assert!((found - expected).abs() < 1e-6, "{means:?}");
        }
    }
}
