//! Checkpoints: the state of all blocks after a step, written whole or not at all.
//!
//! ```text
//! checkpoints/
//!   step-000000120/          appears by a rename, when all files in it are complete
//!     block-0.safetensors    parameters.* and optimizer.*, description: version, progress, block, optimizer steps
//!     block-1.safetensors
//! ```

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::worker::BlockState;
use crate::models::parameters::NamedTensors;
use crate::{Error, tensor_file};

const VERSION: u32 = 1;

/// The `[train.checkpoint]` part of a config.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckpointConfig {
    /// Steps between two checkpoints.
    pub every_steps: u64,
    /// How many stay.
    pub keep: usize,
}

/// Where a training stands: what is not in the blocks.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// Steps that were taken.
    pub step: u64,
    /// Samples of the epoch under way that were seen.
    pub n_samples: u64,
    /// Sum of each block's absolute errors over them, standardized.
    pub error_sums: Vec<f64>,
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
        let Checkpoint { progress, blocks } = checkpoint;
        let step = progress.step;
        fs_err::create_dir_all(&self.folder)?;
        let target = self.path(step);
        let temporary = self
            .folder
            .join(format!(".tmp-step-{step:09}-{}", std::process::id()));
        if temporary.exists() {
            fs_err::remove_dir_all(&temporary)?;
        }
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
            fs_err::remove_dir_all(&target)?;
        }
        fs_err::rename(&temporary, &target)?;
        fs_err::File::open(&self.folder)?.sync_all().ok();
        self.remove_old()
    }

    /// The newest complete checkpoint.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] where it is damaged, or has other blocks than `n_blocks`.
    pub fn load_latest(&self, n_blocks: usize) -> Result<Option<Checkpoint>, Error> {
        let Some(step) = self.steps()?.pop() else {
            return Ok(None);
        };
        let mut checkpoint = Checkpoint {
            progress: Progress::default(),
            blocks: Vec::new(),
        };
        for block in 0..n_blocks {
            let (progress, state) = self.load_block(step, block, n_blocks)?;
            checkpoint.progress = progress;
            checkpoint.blocks.push(state);
        }
        Ok(Some(checkpoint))
    }

    /// Steps of all complete checkpoints, rising.
    fn steps(&self) -> Result<Vec<u64>, Error> {
        if !self.folder.is_dir() {
            return Ok(Vec::new());
        }
        let mut steps = Vec::new();
        for entry in fs_err::read_dir(&self.folder)? {
            let name = entry?.file_name();
            let digits = name.to_str().and_then(|name| name.strip_prefix("step-"));
            steps.extend(digits.and_then(|digits| digits.parse::<u64>().ok()));
        }
        steps.sort_unstable();
        Ok(steps)
    }

    fn load_block(
        &self,
        step: u64,
        block: usize,
        n_blocks: usize,
    ) -> Result<(Progress, BlockState), Error> {
        let path = block_path(&self.path(step), block);
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
        if (
            description.progress.step,
            description.block,
            description.n_blocks,
        ) != (step, block, n_blocks)
        {
            return Err(refuse(format!(
                "holds block {} of {} after step {}, expected block {block} of {n_blocks} after step {step}",
                description.block, description.n_blocks, description.progress.step
            )));
        }
        let mut state = BlockState {
            parameters: NamedTensors::new(),
            optimizer: NamedTensors::new(),
            n_steps: description.optimizer_steps,
        };
        for (name, data) in tensors {
            if let Some(name) = name.strip_prefix("parameters.") {
                state.parameters.insert(name.to_owned(), data);
            } else if let Some(name) = name.strip_prefix("optimizer.") {
                state.optimizer.insert(name.to_owned(), data);
            }
        }
        Ok((description.progress, state))
    }

    fn remove_old(&self) -> Result<(), Error> {
        let steps = self.steps()?;
        for step in steps.iter().rev().skip(self.keep) {
            fs_err::remove_dir_all(self.path(*step))?;
        }
        Ok(())
    }

    fn path(&self, step: u64) -> PathBuf {
        self.folder.join(format!("step-{step:09}"))
    }
}

fn block_path(folder: &Path, block: usize) -> PathBuf {
    folder.join(format!("block-{block}.safetensors"))
}

fn joined(state: &BlockState) -> NamedTensors {
    let parameters = state
        .parameters
        .iter()
        .map(|(name, data)| (format!("parameters.{name}"), data.clone()));
    let optimizer = state
        .optimizer
        .iter()
        .map(|(name, data)| (format!("optimizer.{name}"), data.clone()));
    parameters.chain(optimizer).collect()
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
            n_steps: 7,
        }
    }

    fn checkpoint(step: u64, blocks: &[f32]) -> Checkpoint {
        let progress = Progress {
            step,
            n_samples: 3,
            error_sums: vec![0.5; blocks.len()],
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
        assert_eq!(checkpoints.steps().unwrap(), [20, 100]);
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
    fn an_unfinished_checkpoint_is_not_seen_and_a_damaged_one_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let checkpoints = Checkpoints::new(folder.path().to_path_buf(), 2);
        checkpoints.save(&checkpoint(10, &[1.0])).unwrap();
        fs_err::create_dir(folder.path().join(".tmp-step-000000020-1")).unwrap();
        assert_eq!(
            checkpoints.load_latest(1).unwrap().unwrap().progress.step,
            10
        );
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
