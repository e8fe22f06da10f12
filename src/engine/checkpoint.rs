//! Checkpoints: the state of all blocks after a step, written whole or not at all.
//!
//! ```text
//! checkpoints/
//!   step-000000120/          appears by a rename, when all files in it are complete
//!     block-0.safetensors    parameters.*, optimizer.* and average.*, description: version, progress, block, optimizer steps
//!     block-1.safetensors
//!   best-000000012/          the same after the epoch with the lowest validation error, where that is asked for
//!   .tmp-…/                  being written or removed; what a kill left of one goes when the next is written
//! ```

use std::path::{Path, PathBuf};
use std::time::Duration;

use brainage_pipelines::atomic::TEMPORARY_PREFIX;
use serde::{Deserialize, Serialize};

use super::worker::BlockState;
use crate::models::parameters::NamedTensors;
use crate::{Error, tensor_file};

const VERSION: u32 = 1;
/// How checkpoints of a step are called, before its number.
const STEP: &str = "step-";
/// How states after the best epoch are called.
const BEST: &str = "best-";
/// States after best epochs that stay.
const BEST_KEPT: usize = 2;

/// The `[train.checkpoint]` part of a config.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckpointConfig {
    /// Steps between two checkpoints.
    pub every_steps: u64,
    /// Minutes after which there is one in any case; 0: only by steps.
    pub every_minutes: f64,
    /// How many stay.
    pub keep: usize,
}

impl CheckpointConfig {
    /// Whether a checkpoint is due after `n_steps` steps, `since` the one before.
    pub fn is_due(self, n_steps: u64, since: Duration) -> bool {
        n_steps.is_multiple_of(self.every_steps)
            || self.every_minutes > 0.0 && since.as_secs_f64() >= 60.0 * self.every_minutes
    }
}

/// Where a training stands: what is not in the blocks.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// Steps that were taken.
    pub step: u64,
    /// Samples of the epoch under way that were seen.
    pub n_samples: u64,
    /// Sum of each head's errors over them, see [`super::target::Metric`].
    pub error_sums: Vec<f64>,
    /// The epoch with the lowest validation error so far.
    pub best: Option<BestEpoch>,
}

/// An epoch and how good the last block was after it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct BestEpoch {
    /// From 0.
    pub epoch: u64,
    /// Mean error of the last block on the validation set, see [`super::target::Metric`].
    #[serde(alias = "mae_years")]
    pub error: f64,
}

/// The state of a training.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    /// Where it stands.
    pub progress: Progress,
    /// All blocks, in order.
    pub blocks: Vec<BlockState>,
}

/// The checkpoints of a run.
#[derive(Clone, Debug)]
pub struct Checkpoints {
    folder: PathBuf,
    keep: usize,
}

#[derive(Serialize, Deserialize)]
struct Description {
    version: u32,
    progress: Progress,
    block: usize,
    n_blocks: usize,
    optimizer_steps: u64,
}

impl Checkpoints {
    /// Those in `folder`; the last `keep` stay (one at least).
    pub fn new(folder: PathBuf, keep: usize) -> Self {
        Self {
            folder,
            keep: keep.max(1),
        }
    }

    /// Writes a state and removes checkpoints that are too old.
    ///
    /// # Errors
    /// What the file system answered; earlier checkpoints are then still there.
    pub fn save(&self, checkpoint: &Checkpoint) -> Result<(), Error> {
        self.write(checkpoint, &name_of(STEP, checkpoint.progress.step))?;
        self.remove_old(STEP, self.keep)
    }

    /// Writes the state after the best epoch so far. The one before stays too, since the newest checkpoint may be older
    /// than this epoch.
    ///
    /// # Errors
    /// What the file system answered.
    pub fn save_best(&self, checkpoint: &Checkpoint, epoch: u64) -> Result<(), Error> {
        self.write(checkpoint, &name_of(BEST, epoch))?;
        self.remove_old(BEST, BEST_KEPT)
    }

    fn write(&self, checkpoint: &Checkpoint, name: &str) -> Result<(), Error> {
        let Checkpoint { progress, blocks } = checkpoint;
        fs_err::create_dir_all(&self.folder)?;
        self.remove_unfinished()?;
        let target = self.folder.join(name);
        let temporary = self.folder.join(format!("{TEMPORARY_PREFIX}{name}"));
        fs_err::create_dir(&temporary)?;
        for (block, state) in blocks.iter().enumerate() {
            let description = Description {
                version: VERSION,
                progress: progress.clone(),
                block,
                n_blocks: blocks.len(),
                optimizer_steps: state.n_steps,
            };
            let path = block_path(&temporary, block);
            tensor_file::write(&path, &description, &joined(state)).map_err(|error| {
                Error::Checkpoint {
                    path,
                    message: error.to_string(),
                }
            })?;
        }
        if target.exists() {
            // A resumed run comes by the same step with the same bits; what is there is whole.
            fs_err::remove_dir_all(&temporary)?;
        } else {
            fs_err::rename(&temporary, &target)?;
        }
        fs_err::File::open(&self.folder)?.sync_all().ok();
        Ok(())
    }

    /// The newest complete checkpoint, to go on from. What a kill kept [`Self::save`] from removing goes now.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] where it is damaged, or has other blocks than `n_blocks`.
    pub fn load_latest(&self, n_blocks: usize) -> Result<Option<Checkpoint>, Error> {
        let Some(step) = self.numbers(STEP)?.pop() else {
            return Ok(None);
        };
        let checkpoint = self.load(&name_of(STEP, step), n_blocks)?;
        self.remove_unfinished()?;
        self.remove_old(STEP, self.keep)?;
        self.remove_old(BEST, BEST_KEPT)?;
        Ok(Some(checkpoint))
    }

    /// The state after the best epoch.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] where it is missing or damaged.
    pub fn load_best(&self, best: BestEpoch, n_blocks: usize) -> Result<Checkpoint, Error> {
        self.load(&name_of(BEST, best.epoch), n_blocks)
    }

    fn load(&self, name: &str, n_blocks: usize) -> Result<Checkpoint, Error> {
        let mut checkpoint = Checkpoint {
            progress: Progress::default(),
            blocks: Vec::new(),
        };
        for block in 0..n_blocks {
            let (progress, state) = self.load_block(name, block, n_blocks)?;
            if block > 0 && progress != checkpoint.progress {
                return Err(Error::Checkpoint {
                    path: self.folder.join(name),
                    message: "its blocks are of different steps".into(),
                });
            }
            checkpoint.progress = progress;
            checkpoint.blocks.push(state);
        }
        Ok(checkpoint)
    }

    /// Numbers of all complete checkpoints of a kind, rising.
    fn numbers(&self, kind: &str) -> Result<Vec<u64>, Error> {
        if !self.folder.is_dir() {
            return Ok(Vec::new());
        }
        let mut numbers = Vec::new();
        for entry in fs_err::read_dir(&self.folder)? {
            let name = entry?.file_name();
            let digits = name.to_str().and_then(|name| name.strip_prefix(kind));
            numbers.extend(digits.and_then(|digits| digits.parse::<u64>().ok()));
        }
        numbers.sort_unstable();
        Ok(numbers)
    }

    fn load_block(
        &self,
        name: &str,
        block: usize,
        n_blocks: usize,
    ) -> Result<(Progress, BlockState), Error> {
        let path = block_path(&self.folder.join(name), block);
        let refuse = |message: String| Error::Checkpoint {
            path: path.clone(),
            message,
        };
        let (description, tensors) =
            tensor_file::read::<Description>(&path).map_err(|error| refuse(error.to_string()))?;
        if description.version != VERSION {
            return Err(refuse(format!(
                "version is {}, expected {VERSION}",
                description.version
            )));
        }
        if (description.block, description.n_blocks) != (block, n_blocks) {
            return Err(refuse(format!(
                "holds block {} of {}, expected block {block} of {n_blocks}",
                description.block, description.n_blocks
            )));
        }
        let mut state = BlockState {
            parameters: NamedTensors::new(),
            optimizer: NamedTensors::new(),
            average: None,
            n_steps: description.optimizer_steps,
        };
        for (name, data) in tensors {
            if let Some(name) = name.strip_prefix("parameters.") {
                state.parameters.insert(name.to_owned(), data);
            } else if let Some(name) = name.strip_prefix("optimizer.") {
                state.optimizer.insert(name.to_owned(), data);
            } else if let Some(name) = name.strip_prefix("average.") {
                let average = state.average.get_or_insert_default();
                average.insert(name.to_owned(), data);
            }
        }
        Ok((description.progress, state))
    }

    fn remove_old(&self, kind: &str, keep: usize) -> Result<(), Error> {
        let numbers = self.numbers(kind)?;
        for number in numbers.iter().rev().skip(keep) {
            // Under its own name a checkpoint is whole, to the end.
            let name = name_of(kind, *number);
            let leaving = self.folder.join(format!("{TEMPORARY_PREFIX}{name}"));
            fs_err::rename(self.folder.join(name), &leaving)?;
            fs_err::remove_dir_all(leaving)?;
        }
        Ok(())
    }

    /// Removes what a killed program had begun to write or to remove.
    fn remove_unfinished(&self) -> Result<(), Error> {
        for entry in fs_err::read_dir(&self.folder)? {
            let entry = entry?;
            let name = entry.file_name();
            if name
                .to_str()
                .is_some_and(|name| name.starts_with(TEMPORARY_PREFIX))
            {
                fs_err::remove_dir_all(entry.path())?;
            }
        }
        Ok(())
    }
}

fn name_of(kind: &str, number: u64) -> String {
    format!("{kind}{number:09}")
}

fn block_path(folder: &Path, block: usize) -> PathBuf {
    folder.join(format!("block-{block}.safetensors"))
}

fn joined(state: &BlockState) -> NamedTensors {
    let under = |prefix: &'static str, tensors: &NamedTensors| {
        let tensors = tensors.iter();
        let named = tensors.map(|(name, data)| (format!("{prefix}.{name}"), data.clone()));
        named.collect::<Vec<_>>()
    };
    let mut joined = under("parameters", &state.parameters);
    joined.extend(under("optimizer", &state.optimizer));
    if let Some(average) = &state.average {
        joined.extend(under("average", average));
    }
    joined.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::TensorData;

    fn state(value: f32) -> BlockState {
        let tensors =
            |v: f32| NamedTensors::from([("a.b".to_owned(), TensorData::new(vec![v, -v], [2]))]);
        BlockState {
            parameters: tensors(value),
            optimizer: tensors(value / 2.0),
            average: Some(tensors(value / 4.0)),
            n_steps: 7,
        }
    }

    fn checkpoint(step: u64, blocks: &[f32]) -> Checkpoint {
        let progress = Progress {
            step,
            n_samples: 3,
            error_sums: vec![0.5; blocks.len()],
            best: None,
        };
        Checkpoint {
            progress,
            blocks: blocks.iter().map(|value| state(*value)).collect(),
        }
    }

    #[test]
    fn the_newest_checkpoint_comes_back_and_old_ones_go() {
        let folder = tempfile::tempdir().unwrap();
        let checkpoints = Checkpoints::new(folder.path().join("checkpoints"), 2);
        assert!(checkpoints.load_latest(2).unwrap().is_none());
        for step in [10, 20, 100] {
            checkpoints
                .save(&checkpoint(step, &[step as f32, 0.5]))
                .unwrap();
        }
        assert_eq!(checkpoints.numbers(STEP).unwrap(), [20, 100]);
        let Checkpoint { progress, blocks } = checkpoints.load_latest(2).unwrap().unwrap();
        assert_eq!(
            (progress.step, progress.n_samples, progress.error_sums),
            (100, 3, vec![0.5; 2])
        );
        assert_eq!((blocks.len(), blocks[0].n_steps), (2, 7));
        assert_eq!(
            blocks[0].parameters["a.b"].as_slice::<f32>().unwrap(),
            [100.0, -100.0]
        );
        assert_eq!(
            blocks[0].optimizer["a.b"].as_slice::<f32>().unwrap(),
            [50.0, -50.0]
        );
    }

    #[test]
    fn what_a_kill_left_of_older_checkpoints_goes_when_the_run_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        // Killed before the third one could go, and in the middle of writing a fourth.
        let killed = Checkpoints::new(folder.path().to_path_buf(), 3);
        for step in [10, 20, 30] {
            killed.save(&checkpoint(step, &[0.5])).unwrap();
        }
        let unfinished = folder.path().join(format!("{TEMPORARY_PREFIX}step"));
        fs_err::create_dir(&unfinished).unwrap();
        let resumed = Checkpoints::new(folder.path().to_path_buf(), 2);
        let latest = resumed.load_latest(1).unwrap().unwrap();
        assert_eq!(latest.progress.step, 30);
        assert_eq!(resumed.numbers(STEP).unwrap(), [20, 30]);
        assert!(!unfinished.exists());
    }

    #[test]
    fn an_unfinished_checkpoint_is_not_seen_and_a_damaged_one_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let checkpoints = Checkpoints::new(folder.path().to_path_buf(), 2);
        checkpoints.save(&checkpoint(10, &[1.0])).unwrap();
        let unfinished = folder.path().join(".tmp-step-000000020");
        fs_err::create_dir(&unfinished).unwrap();
        let newest = || checkpoints.load_latest(1).unwrap().unwrap();
        assert_eq!(newest().progress.step, 10);
        checkpoints.save(&newest()).unwrap();
        assert!(!unfinished.exists(), "it is to go with the next one");
        let file = folder.path().join("step-000000010/block-0.safetensors");
        let bytes = fs_err::read(&file).unwrap();
        fs_err::write(&file, &bytes[..bytes.len() - 3]).unwrap();
        let refused = checkpoints.load_latest(1).unwrap_err().to_string();
        assert!(refused.contains("block-0.safetensors"), "{refused}");
    }

    #[test]
    fn a_checkpoint_of_another_network_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let checkpoints = Checkpoints::new(folder.path().to_path_buf(), 2);
        checkpoints.save(&checkpoint(10, &[1.0, 2.0])).unwrap();
        let refused = checkpoints.load_latest(1).unwrap_err().to_string();
        assert!(
            refused.contains("of 2") && refused.contains("of 1"),
            "{refused}"
        );
    }
}
