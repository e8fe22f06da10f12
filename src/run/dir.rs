//! The folder of one run.
//!
//! ```text
//! runs/2026-11-25-name/
//!   config.toml        resolved, every key present; its presence makes a folder a run
//!   index.csv          as used, with splits
//!   left_out.csv       what the cohorts hold and the training did not use: cohort,reason,n
//!   placement.json     where the network was cut and which device has which blocks, with the times that decided it
//!   metrics.jsonl      one event a line
//!   checkpoints/       the newest states, see engine::checkpoint
//!   diverged.txt       in a study: that and where the loss ceased to be a number; there is no model then
//!   model.safetensors  predictions.csv  evaluation.json  report.html
//! ```

use std::path::{Path, PathBuf};

use brainage_pipelines::atomic::write_atomically;

use crate::Error;

/// The folder of one run.
#[derive(Clone, Debug)]
pub struct RunDir(PathBuf);

impl RunDir {
    /// Makes the folder of a new run. It is one once [`RunDir::write_config`] was called; what else a run begins with is
    /// written before that, so that no kill leaves a run without it.
    ///
    /// # Errors
    /// [`Error::Run`] where there is a run already.
    pub fn create(path: PathBuf) -> Result<Self, Error> {
        let run = Self(path);
        if run.config().exists() {
            let message = "there is a run in this folder already".into();
            return Err(Error::Run {
                path: run.0,
                message,
            });
        }
        fs_err::create_dir_all(&run.0)?;
        Ok(run)
    }

    /// Writes the config, and so makes the folder a run.
    ///
    /// # Errors
    /// What the file system answered.
    pub fn write_config(&self, config_toml: &str) -> Result<(), Error> {
        write_atomically(&self.config(), |out| out.write_all(config_toml.as_bytes()))?;
        Ok(())
    }

    /// The folder of a run that exists.
    ///
    /// # Errors
    /// [`Error::Run`] where it is none.
    pub fn open(path: PathBuf) -> Result<Self, Error> {
        let run = Self(path);
        if run.config().is_file() {
            Ok(run)
        } else {
            let message = "not a run folder (no config.toml in it)".into();
            Err(Error::Run {
                path: run.0,
                message,
            })
        }
    }

    /// The folder itself.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// `config.toml`.
    pub fn config(&self) -> PathBuf {
        self.0.join("config.toml")
    }

    /// `index.csv`.
    pub fn index(&self) -> PathBuf {
        self.0.join("index.csv")
    }

    /// `left_out.csv`.
    pub fn left_out(&self) -> PathBuf {
        self.0.join("left_out.csv")
    }

    /// `placement.json`.
    pub fn placement(&self) -> PathBuf {
        self.0.join("placement.json")
    }

    /// `metrics.jsonl`.
    pub fn metrics(&self) -> PathBuf {
        self.0.join("metrics.jsonl")
    }

    /// `checkpoints/`.
    pub fn checkpoints(&self) -> PathBuf {
        self.0.join("checkpoints")
    }

    /// `diverged.txt`.
    pub fn diverged(&self) -> PathBuf {
        self.0.join("diverged.txt")
    }

    /// `model.safetensors`.
    pub fn model(&self) -> PathBuf {
        self.0.join("model.safetensors")
    }

    /// `predictions.csv`.
    pub fn predictions(&self) -> PathBuf {
        self.0.join("predictions.csv")
    }

    /// `evaluation.json`.
    pub fn evaluation(&self) -> PathBuf {
        self.0.join("evaluation.json")
    }

    /// `report.html`.
    pub fn report(&self) -> PathBuf {
        self.0.join("report.html")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_not_written_over_and_another_folder_is_no_run() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run");
        assert!(RunDir::open(path.clone()).is_err());
        let run = RunDir::create(path.clone()).unwrap();
        assert!(RunDir::open(path.clone()).is_err());
        run.write_config("[data]").unwrap();
        assert_eq!(fs_err::read_to_string(run.config()).unwrap(), "[data]");
        assert!(RunDir::open(path.clone()).is_ok());
        let refused = RunDir::create(path).unwrap_err().to_string();
        assert!(refused.contains("already"), "{refused}");
    }
}
