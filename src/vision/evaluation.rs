//! How a classifier does on images, and how fast.

use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::Instant;

use brainage_pipelines::atomic::write_atomically;
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

/// `evaluation.json` of a classifier.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClassifierEvaluation {
    /// Images.
    pub n: usize,
    /// Share that the last head takes for another class, percent.
    pub error_percent: f64,
    /// The same for each head, first block first.
    pub error_percent_by_block: Vec<f64>,
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

/// Classifies images in batches on a device; other threads decode the next ones.
///
/// # Errors
/// Where there is no image, or one cannot be read.
pub fn evaluate(
    classifier: &Classifier,
    images: &ImageSamples,
    batch_size: usize,
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
    let mut sums = vec![0.0; classifier.network.blocks.len()];
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
    let by_block: Vec<f64> = sums.into_iter().map(|sum| sum / n as f64).collect();
    Ok(ClassifierEvaluation {
        n,
        error_percent: by_block.last().copied().unwrap_or(f64::NAN),
        error_percent_by_block: by_block,
        images_per_second: n as f64 / seconds,
        n_training: classifier.facts.n_training,
        parameters: classifier.parameters,
    })
}

fn add_errors(classifier: &Classifier, batch: Batch, lane: &Lane, sums: &mut [f64]) {
    let outputs = classifier
        .network
        .outputs(batch.volumes.to_device(&lane.device));
    for (outputs, sum) in outputs.into_iter().zip(sums) {
        let estimates = ClassTarget::estimates(outputs)
            .into_iter()
            .zip(&batch.truths);
        *sum += estimates
            .map(|(estimate, truth)| Metric::WrongPercent.error(estimate, *truth))
            .sum::<f64>();
    }
}
