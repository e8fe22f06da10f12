//! A run of a classifier with its images and a device: what judging, quantizing and inspecting begin with.

use std::path::{Path, PathBuf};

use crate::engine::device::{DeviceName, Lane, open_one};
use crate::run::dir::RunDir;
use crate::vision::config::{ImageSplits, VisionConfig};

use super::super::study::runs::read_config;
use super::train::first;

/// Where the images are, and what computes.
#[derive(Debug, clap::Args)]
pub(super) struct Place {
    /// Folder of the data set; otherwise the run's
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Device; otherwise the first of the run's
    #[arg(long, value_name = "NAME")]
    device: Option<DeviceName>,
}

/// A run, ready to be looked at.
pub(super) struct Opened {
    pub(super) run: RunDir,
    pub(super) config: VisionConfig,
    pub(super) splits: ImageSplits,
    pub(super) lane: Lane,
}

impl Place {
    /// Opens a run.
    ///
    /// # Errors
    /// Where the folder is no run of a classifier, the data set is not usable, or the device is not there.
    pub(super) fn open(&self, folder: &Path) -> anyhow::Result<Opened> {
        let run = RunDir::open(folder.to_path_buf())?;
        let mut config: VisionConfig = read_config(&run)?;
        if let Some(root) = &self.data {
            config.data.root.clone_from(root);
        }
        let splits = config.data.open()?;
        let device = match self.device {
            Some(device) => device,
            None => first(&config.train.devices)?,
        };
        Ok(Opened {
            run,
            config,
            splits,
            lane: open_one(device)?,
        })
    }
}
